import dataclasses
import gzip
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import generated
import numpy as np
import pandas as pd
import pytest

import mixnam
from mixnam.data import catalogue, publishers
from mixnam.data.splits import FOLD_FILES, FOLDS, HOLDOUT, YEAR_FOLDERS, split_rows
from mixnam.data.table import DataError, DataMissing, Table
from mixnam.models import LinearSettings
from mixnam.paper import experiments
from mixnam.paper.running import run
from mixnam.report import book, status
from mixnam.report.parameters import Parameters
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

SHAPES = {
    "mimic2": (17, 7, "classification", "auc"),
    "mimic3": (57, 0, "classification", "auc"),
    "income": (14, 8, "classification", "auc"),
    "credit": (30, 0, "classification", "auc"),
    "year": (90, 0, "regression", "mse"),
    "support2": (29, 5, "classification", "auc"),
    "bike": (12, 0, "regression", "rmse"),
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A data directory in which files of any size and content are taken for the publishers'."""
    generated.accept(monkeypatch, tmp_path)
    return tmp_path


def zipped(path, name):
    """Pack a file into an archive beside it and remove it."""
    archive = path.parent / name
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
        bundle.write(path, f"inside/{path.name}")
        bundle.writestr("Readme.txt", "about the data")
    path.unlink()
    return archive


@pytest.mark.parametrize("name", SHAPES)
def test_each_format_is_read(name, small):
    generated.WRITERS[name](small)
    data = catalogue.load(name)
    features, categorical, task, metric = SHAPES[name]
    assert data.x.shape == (300, features)
    assert (len(data.categories), data.task, data.metric) == (categorical, task, metric)
    assert data.x.dtype == data.y.dtype == np.float64
    known = catalogue.REGISTRY[name]
    assert (known.title, known.task, known.metric) == (data.title, data.task, data.metric)
    assert known.splits == (FOLDS if task == "classification" else HOLDOUT)
    assert catalogue.checksum(name) == data.checksum
    for split in known.splits:
        rows = split_rows(data, split, 0)
        assert np.array_equal(np.sort(np.concatenate([rows.train, rows.validation, rows.test])), np.arange(300))
        if task == "classification":
            assert all(set(data.y[part]) == {0, 1} for part in (rows.train, rows.validation, rows.test))


@pytest.mark.parametrize("name", SHAPES)
def test_each_place_in_which_a_file_may_lie_is_looked_at(name, small):
    seen = set()
    for file in catalogue.REGISTRY[name].files:
        folder = small / file.replace("/", "-")
        path = Path(file)
        if path.suffix == ".zip":  # holds the file of the first place
            zipped(generated.WRITERS[name](folder, name=catalogue.REGISTRY[name].files[0]), path.name)
        else:
            generated.WRITERS[name](folder, name=file)
        assert catalogue.at_hand(name, folder)
        data = catalogue.load(name, folder)
        assert path.name in data.source
        seen.add(data.checksum)
    assert len(seen) == 1


def test_the_order_of_the_registry_is_the_papers_then_ours():
    names = list(catalogue.REGISTRY)
    assert names[:10] == [
        "housing", "mimic2", "mimic3", "income", "credit", "year", "support2", "bike", "diabetes", "breast_cancer",
    ]  # fmt: skip
    assert [name for name in names if catalogue.REGISTRY[name].ours] == ["support2", "bike"]
    assert all("(open, ours)" in catalogue.REGISTRY[name].title for name in ("support2", "bike"))
    assert set(publishers.FILES) == set(publishers.EXPECTED) | {"income", "housing"}


# values


def test_credits_numbers_are_exact_and_its_class_may_be_quoted(small):
    path = generated.write_credit(small)
    written = [line.split(",") for line in path.read_text().splitlines()[1:]]
    credit = catalogue.load("credit")
    assert credit.features[0] == "Time" and credit.features[-1] == "Amount"
    assert credit.x.tolist() == [[float(v) for v in row[:-1]] for row in written]
    assert credit.y.tolist() == [float(row[-1].strip('"')) for row in written]
    assert credit.source == "creditcard.csv, folds of ours"
    for old, new in (('"', ""), ("'", "")):  # no quotes, and OpenML's
        text = path.read_text()
        path.write_text(text.replace('"0"', f"{new}0{new}").replace('"1"', f"{new}1{new}").replace(old, new))
        assert catalogue.load("credit").checksum == credit.checksum


def test_years_first_column_is_the_target_and_its_last_rows_the_test_set(small, monkeypatch):
    path = generated.write_year(small)
    written = np.loadtxt(path, delimiter=",")
    monkeypatch.setitem(publishers.EXPECTED, "year", {"rows": 300, "test rows": 40})
    year = catalogue.load("year")
    assert np.array_equal(year.y, written[:, 0]) and np.array_equal(year.x, written[:, 1:])
    assert year.unit == "years" and len(set(year.features)) == 90
    assert (year.features[11], year.features[12], year.features[-1]) == (
        "timbre average 12", "timbre covariance 1", "timbre covariance 78",
    )  # fmt: skip
    one, other = (split_rows(year, "holdout", seed) for seed in (0, 1))
    assert one.test.tolist() == other.test.tolist() == list(range(260, 300))
    assert len(one.validation) == len(other.validation) == 52
    assert set(one.validation) != set(other.validation)
    assert np.array_equal(one.validation, split_rows(year, "holdout", 0).validation)
    assert year.source == "YearPredictionMSD.txt, validation rows drawn"


@pytest.mark.parametrize("folder", YEAR_FOLDERS)
def test_nodes_validation_rows_are_taken_where_they_are(folder, small):
    generated.write_year(small)
    drawn = catalogue.load("year")
    train, validation = generated.write_year_rows(small / folder)
    year = catalogue.load("year")
    assert year.checksum != drawn.checksum
    assert catalogue.checksum("year") == year.checksum
    for seed in (0, 1):
        rows = split_rows(year, "holdout", seed)
        assert np.array_equal(rows.train, train) and np.array_equal(rows.validation, validation)
        assert rows.test.tolist() == list(range(270, 300))
    assert "validation rows of NODE" in year.source


def test_mimic2s_categories_keep_the_order_of_their_numbers(small):
    path = generated.write_mimic2(small)
    lines = path.read_text().splitlines()
    lines[0] = " ".join(["10" if i == 1 else v for i, v in enumerate(lines[0].split(" "))])
    path.write_text("\n".join(lines))
    mimic2 = catalogue.load("mimic2")
    assert [mimic2.features[i] for i in mimic2.categories] == [
        "GCS", "Temperature", "Renal", "AdmissionType", "AIDS", "MetastaticCancer", "Lymphoma",
    ]  # fmt: skip
    assert mimic2.categories[1] == ("0", "1", "2", "3", "10")
    assert mimic2.x[0, 1] == 4
    assert mimic2.source == "mimic2.data, folds of ours"


def test_mimic3s_columns_are_found_by_name(small):
    path = generated.write_mimic3(small)
    table = pd.read_csv(path, compression="gzip")
    mimic3 = catalogue.load("mimic3")
    assert mimic3.features[:2] == ("age", "first_hosp_stay") and mimic3.features[-1] == "wbc"
    assert np.array_equal(mimic3.x[:, 0], table["age"]) and np.array_equal(mimic3.x[:, -1], table["wbc"])
    assert np.array_equal(mimic3.y, table["mort_icu"])


def test_what_support2_lacks_is_filled_with_normal_values_medians_or_a_category(small):
    path = generated.write_support2(small)
    table = pd.read_csv(path, skipinitialspace=True)
    table.loc[table.index[:5], "glucose"] = np.nan
    path.write_text(table.to_csv().replace(",age", "age", 1))
    data = catalogue.load("support2")
    column = dict(zip(data.features, data.x.T, strict=True))
    for name, value in publishers.NORMAL.items():
        empty = table[name].isna().to_numpy()
        assert empty.any() and set(column[name][empty]) == {value}
        assert np.array_equal(column[name][~empty], table[name][~empty])
    assert set(column["glucose"][:5]) == {table["glucose"].median()}
    for name in ("income", "race"):
        labels = data.categories[data.features.index(name)]
        empty = table[name].isna().to_numpy()
        assert empty.any() and set(column[name][empty]) == {labels.index("missing")}


def test_nothing_that_leaks_the_outcome_is_among_support2s_features():
    kept = set(publishers._SUPPORT2_FEATURES)
    removed = set(generated.SUPPORT2_HEADER) - kept - {"hospdead"}
    assert removed == {
        "death", "slos", "d.time", "sfdm2", "charges", "totcst", "totmcst", "avtisst", "dnr", "dnrday", "aps", "sps",
        "surv2m", "surv6m", "prg2m", "prg6m", "dzgroup",
    }  # fmt: skip
    assert kept <= set(generated.SUPPORT2_HEADER)


def test_bike_is_split_by_time_whatever_the_seed(small):
    generated.write_bike(small, 1000)
    bike = catalogue.load("bike")
    for seed in (0, 5):
        rows = split_rows(bike, "holdout", seed)
        assert rows.train.tolist() == list(range(700))
        assert rows.validation.tolist() == list(range(700, 800))
        assert rows.test.tolist() == list(range(800, 1000))
    assert not {"casual", "registered", "instant", "dteday"} & set(bike.features)


# the publishers' files


def real(file):
    path = catalogue.directory() / file
    if not path.exists():
        pytest.skip(f"{path.absolute()} is not there; set MIXNAM_DATA to a directory that holds it")
    catalogue._load.cache_clear()


def test_support2_is_the_published_table():
    real("support2.csv")
    data = catalogue.load("support2")
    assert data.checksum == catalogue.REGISTRY["support2"].checksum
    assert data.x.shape == (9105, 29) and data.y.sum() == 2360
    first = dict(zip(data.features, data.x[0], strict=True))
    assert (first["age"], first["meanbp"], first["pafi"]) == (62.84998, 97.0, 388.0)
    assert (first["bun"], first["urine"]) == (6.51, 2502.0), "not measured"
    labels = {data.features[i]: names for i, names in data.categories.items()}
    assert labels["income"] == ("$11-$25k", "$25-$50k", ">$50k", "missing", "under $11k")
    income = data.x[:, data.features.index("income")]
    assert int((income == 3).sum()) == 2982
    splits = [split_rows(data, fold, 0) for fold in FOLDS]
    assert sorted(np.concatenate([s.test for s in splits])) == list(range(9105))


def test_bike_is_the_published_table():
    real("hour.csv")
    data = catalogue.load("bike")
    assert data.checksum == catalogue.REGISTRY["bike"].checksum
    assert data.x.shape == (17379, 12) and data.y.sum() == 3292679
    rows = split_rows(data, "holdout", 3)
    assert [len(part) for part in (rows.train, rows.validation, rows.test)] == [12165, 1738, 3476]
    year = data.x[:, data.features.index("yr")]
    assert set(year[rows.test]) == {1} and set(year[rows.train]) == {0, 1}, "the test year is not new to a model"


@pytest.mark.parametrize("name", ["support2", "bike"])
def test_a_changed_digit_of_the_open_data_is_noticed(name, tmp_path):
    file = catalogue.REGISTRY[name].files[0]
    real(file)
    raw = (catalogue.directory() / file).read_bytes()
    (tmp_path / file).write_bytes(raw.replace(b"0.24,", b"0.25,", 1).replace(b"62.84998", b"62.84999", 1))
    with pytest.raises(DataError, match=f"expected {catalogue.REGISTRY[name].checksum}"):
        catalogue.load(name, tmp_path)


# what is refused


WRONG = {
    "credit": [
        (lambda text: text.replace('"V28",', "", 1), r"has 30 columns \(Time, V1, .*expected 31"),
        (lambda text: text.replace('"Time"', '"Times"', 1), "expected 31: Time, V1 to V28, Amount and Class"),
        (lambda text: text.replace(",", ";"), "has 1 columns"),
        (lambda text: text.replace('"0"', '"no"', 1), "column 'Class' holds 'no', expected numbers"),
        (lambda text: text.replace('"0"', '"2"', 1), "must hold both classes 0 and 1, found 0, 1, 2"),
        (lambda text: text[: len(text) // 2], "creditcard.csv"),
        (lambda text: "", "creditcard.csv is not what it should be: No columns"),
        (lambda text: "<!DOCTYPE html><p>please log in", "has 1 columns"),
        (lambda text: text.replace('"1"', '"0"'), "both classes"),
    ],
    "year": [
        (lambda text: text.replace(",", " "), "creating|convert|columns"),
        (lambda text: "\n".join(line.partition(",")[2] for line in text.splitlines()), "has 90 columns"),
        (lambda text: "\n".join(f"{line[5:]},{line[:4]}" for line in text.splitlines()), "expected years"),
        (lambda text: text.replace(",", ",x", 1), "could not convert string to float"),
        (lambda text: text[: len(text) - 300], "lacks|missing"),
        (lambda text: "", "No columns"),
    ],
    "mimic2": [
        (lambda text: text.replace(" ", ","), "has 1 columns, expected 17 features and the label"),
        (lambda text: text.replace(" ", " NaN ", 1), "mimic2.data"),
        (lambda text: "NaN" + text[text.index(" ") :], "column 'Age' lacks 1 values"),
        (lambda text: "1 NaN" + text[text.index(" ", text.index(" ") + 1) :], "column 'GCS' lacks 1 values"),
        (lambda text: "old" + text[text.index(" ") :], "column 'Age' holds 'old', expected numbers"),
        (lambda text: text[:-30], "lacks|columns|expected"),
    ],
    "support2": [
        (lambda text: text.replace("hospdead", "dead", 1), "it lacks the columns hospdead"),
        (lambda text: text.replace("num.co,edu", "num_co,education", 1), "it lacks the columns num.co, edu"),
        (lambda text: text[: text.rindex(",")] + ",fifty\n", "column 'adlsc' holds 'fifty', expected numbers"),
        (lambda text: text[:200], "support2.csv"),
    ],
    "bike": [
        (lambda text: text.replace("cnt", "count", 1), "lacks 1 columns, such as 'cnt'; it has instant"),
        (lambda text: text.replace("2011-01-01", "2012-01-01", 1), "not in the order of a column dteday"),
        (lambda text: text.replace("dteday", "day", 1), "not in the order of a column dteday"),
        (lambda text: text.replace("2011-01-01", "someday", 1), "hour.csv"),
    ],
}
CASES = [(name, *case) for name, cases in WRONG.items() for case in cases]


@pytest.mark.parametrize(("name", "damage", "message"), CASES, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(CASES)])
def test_another_table_is_refused_by_name_file_and_remedy(name, damage, message, small):
    path = generated.WRITERS[name](small)
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        catalogue.load(name)
    assert not isinstance(caught.value, DataMissing)
    assert str(caught.value).startswith(f"{name}: ")
    if "both classes" not in message and "missing" not in message:
        assert str(path) in str(caught.value) and "replace or remove the file" in str(caught.value)


@pytest.mark.parametrize("cut", [10, 500, -20])
def test_a_damaged_archive_is_refused(cut, small):
    path = generated.write_mimic3(small)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"adult_icu\.gz is not what it should be: .*; replace or remove the file"):
        catalogue.load("mimic3")
    archive = zipped(generated.write_year(small), "YearPredictionMSD.txt.zip")
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"YearPredictionMSD\.txt\.zip is not what it should be"):
        catalogue.load("year")


def test_an_archive_of_something_else_and_a_plain_file_called_gz_are_refused(small):
    zipped(generated.put(small / "other.csv", ["a,b"]), "creditcardfraud.zip")
    with pytest.raises(DataError, match=r"the archive holds no creditcard\.csv"):
        catalogue.load("credit")
    path = generated.write_mimic3(small)
    path.write_bytes(gzip.decompress(path.read_bytes()))
    with pytest.raises(DataError, match="Not a gzipped file"):
        catalogue.load("mimic3")


def test_mimic3_without_a_column_is_refused(small):
    path = generated.write_mimic3(small)
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(text.replace("tempc_mean", "tempf_mean", 1).encode()))
    with pytest.raises(DataError, match="lacks 1 columns, such as 'tempc_mean'"):
        catalogue.load("mimic3")


@pytest.mark.parametrize("name", publishers.EXPECTED)
def test_a_file_of_another_size_is_refused_with_both_sizes(name, tmp_path, monkeypatch):
    expected = dict(publishers.EXPECTED[name])
    generated.use(monkeypatch, tmp_path, 300, [name])
    monkeypatch.setitem(publishers.EXPECTED, name, expected)
    with pytest.raises(DataError, match=f"holds 300 rows.*expected {expected['rows']:,} rows.*; replace or remove"):
        catalogue.load(name)


def test_another_number_of_frauds_is_refused_with_what_was_found(small, monkeypatch):
    generated.write_credit(small)
    monkeypatch.setitem(publishers.EXPECTED, "credit", {"rows": 300, "of class 1": 21})
    with pytest.raises(DataError, match="holds 300 rows, 20 of class 1, expected 300 rows, 21 of class 1"):
        catalogue.load("credit")


def test_expected_sizes_are_table_4s():
    table = pd.read_csv(Path(mixnam.__file__).parent / "paper" / "published" / "table4_datasets.csv").set_index(
        "dataset"
    )
    for name in ("mimic2", "mimic3", "credit", "year"):
        assert publishers.EXPECTED[name]["rows"] == table.loc[name, "instances"]
        assert SHAPES[name][:2] == (table.loc[name, "features"], table.loc[name, "categorical_features"])


def test_year_in_another_order_is_noticed_by_the_training_rows_target(small, monkeypatch):
    path = generated.write_year(small)
    y = np.loadtxt(path, delimiter=",")[:270, 0]
    expected = {"rows": 300, "test rows": 30, "mean": y.mean(), "deviation": y.std()}
    monkeypatch.setitem(publishers.EXPECTED, "year", expected)
    catalogue.load("year")
    catalogue._load.cache_clear()
    monkeypatch.setitem(publishers.EXPECTED, "year", expected | {"deviation": y.std() + 0.06})
    with pytest.raises(DataError, match=r"270 training rows of .* target of deviation .*, expected .* within 0\.05"):
        catalogue.load("year")
    monkeypatch.setitem(publishers.EXPECTED, "year", expected)
    path.write_text("\n".join(sorted(path.read_text().splitlines())))
    with pytest.raises(DataError, match=r"target of mean .* rows in another order\? replace or remove the file"):
        catalogue.load("year")


def test_nodes_training_rows_are_held_to_the_same_target(small, monkeypatch):
    path = generated.write_year(small)
    y = np.loadtxt(path, delimiter=",")[:270, 0]
    monkeypatch.setitem(publishers.EXPECTED, "year", {"test rows": 30, "mean": y.mean(), "deviation": y.std()})
    generated.write_year_rows(small / "year")
    order = np.argsort(y)
    generated.put(small / "year" / "stratified_train_idx.txt", map(str, order[:200]))
    generated.put(small / "year" / "stratified_valid_idx.txt", map(str, order[200:]))
    with pytest.raises(DataError, match=r"the 200 training rows of .* have a target of mean"):
        catalogue.load("year")


# fold files


@pytest.mark.parametrize("name", generated.FOLDERS)
def test_the_publishers_folds_are_read(name, small):
    generated.WRITERS[name](small)
    ours = catalogue.load(name)
    folds = generated.write_folds(small / generated.FOLDERS[name])
    data = catalogue.load(name)
    assert np.array_equal(data.folds, folds) and ours.folds is None
    assert data.checksum != ours.checksum
    assert catalogue.checksum(name) == data.checksum
    assert data.source.endswith(", folds from files")
    for k, split in enumerate(FOLDS):
        rows = split_rows(data, split, 0)
        assert rows.test.tolist() == np.flatnonzero(folds == k).tolist()
        assert len(rows.train) + len(rows.validation) == 240


def edit(path, change):
    rows = change([int(v) for v in path.read_text().split()])
    path.write_text("\n".join(map(str, rows)))
    return rows


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "test3.txt").unlink(), r"has fold files but lacks test3\.txt; put all ten"),
        (
            lambda folder: [edit(folder / name, lambda rows: [r + 1 for r in rows]) for name in FOLD_FILES],
            "holds row numbers .* to 300, expected 0 to 299",
        ),
        (
            lambda folder: generated.put(folder / "test0.txt", map(str, range(1, 301))),
            r"row numbers 1 to 300, expected 0 to 299; are they counted from 1\?",
        ),
        (
            lambda folder: edit(folder / "test1.txt", lambda rows: rows + edit(folder / "test0.txt", sorted)[:1]),
            r"test1\.txt names 1 rows, such as \d+, that test0\.txt names too",
        ),
        (lambda folder: edit(folder / "test1.txt", lambda rows: rows[1:]), "leave out 1 of 300 rows, such as"),
        (lambda folder: edit(folder / "train1.txt", lambda rows: rows[1:]), r"not the rest beside test1\.txt, 1 rows"),
        (lambda folder: edit(folder / "test2.txt", lambda rows: [*rows, rows[0]]), "names 1 rows more than once"),
        (lambda folder: edit(folder / "test2.txt", lambda rows: [-1, *rows[1:]]), "holds row numbers -1 to"),
        (lambda folder: (folder / "test2.txt").write_text(""), r"test2\.txt holds no row numbers"),
        (lambda folder: (folder / "test2.txt").write_text("one\ntwo"), "cannot be read as row numbers"),
        (lambda folder: (folder / "train2.txt").write_bytes(b"\xff\xfe"), "cannot be read as row numbers"),
    ],
)  # fmt: skip
def test_folds_that_do_not_share_out_the_rows_are_refused(damage, message, small):
    generated.write_credit(small)
    generated.write_folds(small / "credit")
    damage(small / "credit")
    with pytest.raises(DataError, match=message) as caught:
        catalogue.load("credit")
    assert str(small / "credit") in str(caught.value) and "remove" in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "stratified_valid_idx.txt").unlink(), "lacks stratified_valid_idx.txt beside strat"),
        (lambda folder: edit(folder / "stratified_train_idx.txt", lambda rows: rows[2:]), "leave out 2 of 270 rows"),
        (
            lambda folder: (folder / "stratified_valid_idx.txt").write_text(
                (folder / "stratified_train_idx.txt").read_text()
            ),
            "name 216 rows",
        ),
        (lambda folder: edit(folder / "stratified_train_idx.txt", lambda rows: [*rows, 270]), "expected 0 to 269"),
    ],
)
def test_nodes_files_that_do_not_share_out_the_rows_are_refused(damage, message, small):
    generated.write_year(small)
    generated.write_year_rows(small / "YEAR")
    damage(small / "YEAR")
    with pytest.raises(DataError, match=message) as caught:
        catalogue.load("year")
    assert str(caught.value).startswith("year: ") and str(small / "YEAR") in str(caught.value)


def test_incomes_pinned_checksum_stands_only_without_fold_files(tmp_path, monkeypatch):
    real("adult.data")
    (tmp_path / "adult.data").write_bytes((catalogue.directory() / "adult.data").read_bytes())
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    pinned = catalogue.REGISTRY["income"].checksum
    assert catalogue.checksum("income") == pinned == catalogue.load("income").checksum
    before = RunSpec("income", LinearSettings(), "fold0", 0).key
    generated.write_folds(tmp_path / "adult", 32561)
    assert catalogue.checksum("income") == catalogue.load("income").checksum != pinned
    assert RunSpec("income", LinearSettings(), "fold0", 0).key != before
    edit(tmp_path / "adult" / "test0.txt", lambda rows: rows[1:])
    assert catalogue.checksum("income") is None, "what cannot be loaded identifies nothing"
    for file in FOLD_FILES:
        (tmp_path / "adult" / file).unlink()
    assert catalogue.checksum("income") == pinned
    assert RunSpec("income", LinearSettings(), "fold0", 0).key == before


def test_another_adult_table_is_refused_with_fold_files_too(tmp_path, monkeypatch):
    generated.write_income(tmp_path)
    generated.write_folds(tmp_path / "adult")
    with pytest.raises(DataError, match=f"expected {catalogue.REGISTRY['income'].checksum}"):
        catalogue.load("income", tmp_path)


def test_income_is_not_downloaded_beside_fold_files(tmp_path, monkeypatch):
    monkeypatch.setattr("mixnam.data.publishers.fetch", lambda *arguments: pytest.fail("downloaded"))
    generated.write_folds(tmp_path / "adult")
    with pytest.raises(DataMissing, match=r"Remedy: put adult\.data"):
        catalogue.load("income", tmp_path)


# data that are not at hand


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "empty"))
    return tmp_path


@pytest.mark.parametrize("name", ["mimic2", "mimic3", "credit", "year"])
def test_missing_data_are_skipped_and_nothing_is_raised(name, nothing):
    outcome = run("accuracy", dataset=name, preset="smoke", results=nothing / "results", device="cpu")
    assert outcome.missing == outcome.specs != []
    assert outcome.results == []
    assert f"Remedy: {catalogue.REGISTRY[name].remedy}" in outcome.skipped
    assert str(nothing / "empty") in outcome.skipped
    assert not list((nothing / "results").glob("*/*"))
    assert experiments.stored(Store(nothing / "results"), name, "MixNAM", "smoke") == []
    assert len(set(outcome.specs)) == len(outcome.specs)


def test_without_its_data_a_run_has_no_key(nothing, monkeypatch):
    spec = RunSpec("credit", LinearSettings(), "fold0", 0)
    with pytest.raises(DataMissing, match="without its data a run has no key. Remedy: download creditcard.csv"):
        _ = spec.key
    generated.use(monkeypatch, nothing, 300, ["credit"])
    assert len(spec.key) == 64


@pytest.mark.parametrize("name", ["mimic2", "mimic3", "credit", "year", "support2", "bike"])
def test_missing_data_name_their_files_and_are_never_downloaded(name, nothing, monkeypatch):
    monkeypatch.setattr("mixnam.data.publishers.fetch", lambda *arguments: pytest.fail("downloaded"))
    with pytest.raises(DataMissing) as caught:
        catalogue.load(name)
    assert all(file in str(caught.value) for file in catalogue.REGISTRY[name].files)
    if name.startswith("mimic"):
        assert "PhysioNet" in str(caught.value) and "NODE-GAM" in str(caught.value)


def test_damaged_data_are_skipped_too_and_read_once(small, nothing, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(small))
    generated.put(small / "creditcard.csv", ["a,b", "1,2"])
    reads = []
    counted = dataclasses.replace(
        catalogue.REGISTRY["credit"], load=lambda *a: [reads.append(1), publishers.credit(*a)][1]
    )
    monkeypatch.setitem(catalogue.REGISTRY, "credit", counted)
    outcome = run("accuracy", dataset="credit", preset="smoke", results=small / "r", device="cpu")
    assert "has 2 columns (a, b, ...)" in outcome.skipped
    assert len(reads) == 2, "once for all keys, once for the reason"


def test_pages_can_tell_what_is_at_hand_without_loading(small, monkeypatch):
    monkeypatch.setattr(catalogue, "_load", lambda *arguments: pytest.fail("loaded"))
    assert not any(catalogue.at_hand(name) for name in generated.WRITERS)
    assert catalogue.at_hand("diabetes") and catalogue.at_hand("sim_noise")
    for name, write in generated.WRITERS.items():
        write(small)
        assert catalogue.at_hand(name)
    assert not catalogue.at_hand("credit", small / "elsewhere")
    with pytest.raises(ValueError, match="dataset must be one of"):
        catalogue.at_hand("boston")


def test_a_replaced_file_is_read_again(small):
    generated.write_credit(small)
    one = catalogue.checksum("credit")
    path = generated.write_credit(small, seed=1)
    os.utime(path, ns=(1, 1))
    assert catalogue.checksum("credit") == catalogue.load("credit").checksum != one
    path.unlink()
    assert catalogue.checksum("credit") is None


def test_the_status_table_and_estimate_stand_without_the_data(nothing, monkeypatch):
    parameters = Parameters("housing", "smoke", "cpu", nothing / "results", False)
    table = status.status_table(parameters)
    assert {"accuracy_credit", "accuracy_year", "accuracy_bike"} <= set(table["page"])
    text = book.estimate(["credit"], "smoke", nothing / "results", 1)
    assert "will be skipped: credit: " in text and "Kaggle" in text


@pytest.mark.parametrize("name", SHAPES)
def test_a_model_is_trained_on_each(name, small):
    generated.WRITERS[name](small)
    spec = RunSpec(name, LinearSettings(), catalogue.REGISTRY[name].splits[0], 0)
    (result,) = fit([spec], device="cpu")
    assert np.isfinite(result.metrics["test"][SHAPES[name][3]])
    assert result.provenance["data_sha256"] == catalogue.checksum(name)


# parts


PARTS = np.array([1, 1, 2, 3, 0])


def parted(parts, task="regression"):
    y = np.arange(len(parts)) % 2.0
    return Table("mine", "Mine", task, "rmse", np.ones((len(parts), 1)), y, ("a",), "y", parts=parts)


def test_rows_left_open_are_drawn_beside_the_fixed_ones():
    parts = np.repeat([1, 2, 3, 0], [10, 5, 20, 50])
    for task in ("regression", "classification"):
        rows = split_rows(parted(parts, task), "holdout", 1)
        assert rows.test.tolist() == list(range(15, 35))
        assert set(range(10)) <= set(rows.train) and set(range(10, 15)) <= set(rows.validation)
        assert (len(rows.train), len(rows.validation)) == (50, 15)


@pytest.mark.parametrize("parts", [[1, 1, 2], [1, 3, 3], [2, 3, 3], [3, 3, 3], [0, 0, 4], [0, 3, -1], [0, 0, 0]])
def test_parts_that_leave_one_empty_are_refused(parts):
    with pytest.raises(DataError, match=r"mine: parts must hold 3 \(test\) and 0 \(drawn\), or 1, 2 and 3"):
        parted(np.array(parts))


def test_parts_of_another_length_are_refused():
    with pytest.raises(DataError, match=r"parts are \(5,\), y \(4,\); they must agree in rows"):
        dataclasses.replace(parted(PARTS), x=np.ones((4, 1)), y=np.arange(4.0))


def test_parts_are_part_of_the_checksum_where_there_are_any():
    base = parted(PARTS)
    other = parted(np.array([1, 2, 1, 3, 0]))
    none = dataclasses.replace(base, parts=None)
    folds = dataclasses.replace(base, parts=None, folds=PARTS)
    assert len({d.checksum for d in (base, other, none, folds)}) == 4


# full size


FULL = """
import sys, time
from pathlib import Path
from mixnam import datasets, loaders
name, folder = sys.argv[1], Path(sys.argv[2])
loaders.EXPECTED[name] = {k: v for k, v in loaders.EXPECTED[name].items() if k in ("rows", "test rows")}
started = time.perf_counter()
data = datasets.load(name, folder)
data.checksum
peak = int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 2**20
print(*data.x.shape, f"{peak:.2f}", f"{time.perf_counter() - started:.0f}")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
@pytest.mark.parametrize(
    ("name", "gigabytes", "packed"), [("credit", 1.0, ""), ("year", 2.0, ""), ("year", 2.0, "zip")]
)
def test_the_full_size_is_read_in_little_memory(name, gigabytes, packed, tmp_path):
    rows = int(publishers.EXPECTED[name]["rows"])
    path = generated.WRITERS[name](tmp_path, 1000)
    *head, body = path.read_text().split("\n", 1) if name == "credit" else [path.read_text()]
    lines = body.splitlines()
    with path.open("w") as out:  # the same lines over and over: sizes count, not values
        out.write("".join(line + "\n" for line in head))
        for start in range(0, rows, 1000):
            out.write("\n".join(lines[: rows - start]) + "\n")
    if packed:
        zipped(path, "YearPredictionMSD.txt.zip")
    command = [sys.executable, "-c", FULL, name, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(mixnam.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True, env=environment)
    count, features, peak, seconds = done.stdout.split()
    assert (int(count), int(features)) == (rows, SHAPES[name][0])
    assert float(peak) < gigabytes, done.stdout
    assert float(seconds) < 180
    print(done.stdout)
