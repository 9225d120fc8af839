"""Each publisher's format is read as it is, and anything else is refused by name, file and remedy."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import generated
import numpy as np
import pandas as pd
import pytest
from every import every

import mixnam
from mixnam.data import catalogue, files, publishers
from mixnam.data.splits import FOLDS, HOLDOUT, split_rows
from mixnam.data.table import DataError, DataMissing

SHAPES = {
    "mimic2": (17, 7, "classification", "auc"),
    "mimic3": (57, 0, "classification", "auc"),
    "income": (14, 8, "classification", "auc"),
    "credit": (30, 0, "classification", "auc"),
    "year": (90, 0, "regression", "mse"),
    "support2": (29, 5, "classification", "auc"),
    "bike": (12, 0, "regression", "rmse"),
}


def zipped(path, name):
    """Pack a file into an archive beside it and remove it."""
    archive = path.parent / name
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
        bundle.write(path, f"inside/{path.name}")
        bundle.writestr("Readme.txt", "about the data")
    path.unlink()
    return archive


@every("name", SHAPES)
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


@every("name", SHAPES)
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


HOUSING = "0ddcd71747ec0d39cc20d106ca0b47b8b38b589d7bf25ca682663eccbf351c74"


# a stand-in for the table where the real file is not needed: random numbers of its shape
@pytest.fixture(scope="session")
def other_table():
    values = np.random.default_rng(0).uniform(1, 100, (300, 9))
    return "\n".join(",".join(f"{v:.4f}" for v in row) for row in values).encode() + b"\n"


def archive(content, member="CaliforniaHousing/cal_housing.data"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as bundle:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        bundle.addfile(info, io.BytesIO(content))
    return out.getvalue()


@every("name, packed", [("cal_housing.data", bytes), ("cal_housing.tgz", archive)])
def test_housing_arrays_are_the_same_from_file_and_archive(name, packed, published, tmp_path):
    (tmp_path / name).write_bytes(packed(published("cal_housing.data")))
    housing = catalogue.load("housing", tmp_path)
    assert housing.x.shape == (20640, 8)
    assert housing.y.shape == (20640,)
    assert housing.x.dtype == housing.y.dtype == np.float64
    assert housing.features[0] == "MedInc"
    assert housing.features[-2:] == ("Latitude", "Longitude")
    # as scikit-learn prints them
    first = [8.3252, 41.0, 6.98412698, 1.02380952, 322.0, 2.55555556, 37.88, -122.23]
    assert housing.x[0] == pytest.approx(first, rel=1e-8)
    assert housing.y[0] == 4.526
    assert housing.y.mean() == pytest.approx(2.068558, abs=5e-7)
    assert housing.checksum == HOUSING


def test_other_content_is_refused_with_what_was_expected_and_found(other_table, tmp_path):
    (tmp_path / "cal_housing.data").write_bytes(other_table)
    with pytest.raises(DataError) as caught:
        catalogue.load("housing", tmp_path)
    message = str(caught.value)
    assert f"expected {HOUSING}" in message
    assert "300 rows x 8 features with SHA-256" in message
    assert "cal_housing.data" in message
    assert str(tmp_path) in message
    assert "replace or remove the file" in message


@pytest.mark.filterwarnings("ignore:loadtxt")
@every(
    "how, damage",
    [
        ("cut within a line", lambda table: table[: len(table) // 2 - 3]),
        ("cut at a line", lambda table: table[: table.index(b"\n", 1000) + 1]),
        ("empty", lambda table: b""),
        ("a page of the network's", lambda table: b"<!DOCTYPE html><p>not found, sorry"),
        ("binary", lambda table: bytes(range(256)) * 9),
        ("three columns", lambda table: b"1,2,3\n4,5,6\n"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_remedy(how, damage, other_table, tmp_path):
    path = tmp_path / "cal_housing.data"
    path.write_bytes(damage(other_table))
    with pytest.raises(DataError, match="remove") as caught:
        catalogue.load("housing", tmp_path)
    assert path.name in str(caught.value)


@every(
    "how, damage",
    [
        ("half", lambda content: content[: len(content) // 2]),
        ("five bytes", lambda content: content[:5]),
        ("empty", lambda content: b""),
        ("wrong check sum", lambda content: content[:-8] + bytes(8)),
        ("a page of the network's", lambda content: b"<!DOCTYPE html><p>not found, sorry"),
    ],
)
def test_a_damaged_archive_is_refused_by_name_and_remedy(how, damage, other_table, tmp_path):
    path = tmp_path / "cal_housing.tgz"
    path.write_bytes(damage(archive(other_table)))
    with pytest.raises(DataError, match="remove") as caught:
        catalogue.load("housing", tmp_path)
    assert path.name in str(caught.value)


# what decompression raises depends on where the damage lies: zlib.error, BadGzipFile, or wrong numbers
def test_an_archive_overwritten_anywhere_is_refused(other_table, tmp_path):
    path, content = tmp_path / "cal_housing.tgz", archive(other_table)
    for start in range(12, len(content) - 40, 97):
        path.write_bytes(content[:start] + b"\xff" * 40 + content[start + 40 :])
        with pytest.raises(DataError, match="remove"):
            catalogue.load("housing", tmp_path)


def test_an_archive_without_the_table_is_refused(other_table, tmp_path):
    (tmp_path / "cal_housing.tgz").write_bytes(archive(other_table, member="elsewhere.data"))
    with pytest.raises(DataError, match=r"CaliforniaHousing/cal_housing\.data"):
        catalogue.load("housing", tmp_path)


@every("name", ["cal_housing.data", "cal_housing.tgz"])
def test_a_file_that_cannot_be_opened_is_reported_by_name(name, tmp_path):
    (tmp_path / name).mkdir()  # stands for a file without read permission, which root reads all the same
    with pytest.raises(DataError, match=name):
        catalogue.load("housing", tmp_path)


def test_housing_is_asked_for_where_it_is_missing_and_another_archive_is_not_kept(other_table, network, tmp_path):
    url = "https://ndownloader.figshare.com/files/5976036"
    network.pages[url] = archive(other_table)
    with pytest.raises(DataError, match=f"housing: {url} sent other content than expected"):
        catalogue.load("housing", tmp_path)
    assert network.asked == [url]
    assert list(tmp_path.iterdir()) == []


def test_income_is_the_published_table(published, tmp_path):
    (tmp_path / "adult.data").write_bytes(published("adult.data"))
    income = catalogue.load("income", tmp_path, download=False)
    assert income.x.shape == (32561, 14)
    assert (income.task, income.metric, income.y.sum()) == ("classification", "auc", 7841)
    assert [income.features[i] for i in income.categories] == [
        "workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country",
    ]  # fmt: skip
    unknown = {
        income.features[i]: int((income.x[:, i] == labels.index("?")).sum())
        for i, labels in income.categories.items()
        if "?" in labels
    }
    assert unknown == {"workclass": 1836, "occupation": 1843, "native-country": 583}
    assert all(list(labels) == sorted(labels) for labels in income.categories.values())
    first = [income.categories[i][int(v)] if i in income.categories else v for i, v in enumerate(income.x[0])]
    assert first == [
        39, "State-gov", 77516, "Bachelors", 13, "Never-married", "Adm-clerical", "Not-in-family", "White", "Male",
        2174, 0, 40, "United-States",
    ]  # fmt: skip
    assert income.x[:, 0].mean() == pytest.approx(38.5816, abs=5e-5)
    assert income.y[:8].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert income.folds is None and catalogue.REGISTRY["income"].splits == FOLDS

    splits = [split_rows(income, name, 0) for name in FOLDS]
    assert sorted(np.concatenate([s.test for s in splits])) == list(range(32561))
    for split in splits:
        assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(32561))
        assert income.y[split.test].mean() == pytest.approx(0.2408, abs=0.015)
        assert income.y[split.validation].mean() == pytest.approx(income.y[split.train].mean(), abs=1e-3)


@every(
    "how, damage, message",
    [
        ("cut within a line", lambda table: table[: len(table) // 2 - 9], "expected 15"),
        ("cut at a line", lambda table: table[: table.index(b"\n", 9000) + 1], "replace or remove"),
        ("empty", lambda table: b"", "rows of no columns, expected 15"),
        ("a page", lambda table: b"<!DOCTYPE html><p>not found, sorry", "rows of 2 columns"),
        ("binary", lambda table: b"\xff" + table, "decode"),
        ("a word for a number", lambda table: table.replace(b"39,", b"old,", 1), "could not convert"),
        ("one class", lambda table: table.replace(b">50K", b"<=50K"), "both classes"),
    ],
)
def test_another_adult_table_is_refused_by_name_and_remedy(how, damage, message, tmp_path):
    line = b"39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40,"
    table = (line + b" United-States, <=50K\n" + line + b" United-States, >50K\n") * 100
    (tmp_path / "adult.data").write_bytes(damage(table + b"\n"))
    with pytest.raises(DataError, match=message) as caught:
        catalogue.load("income", tmp_path)
    assert "adult.data" in str(caught.value)
    assert "remove" in str(caught.value)


def test_income_is_downloaded_where_it_is_missing(published, network, tmp_path):
    url = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.data"
    network.pages[url] = published("adult.data")
    assert catalogue.load("income", tmp_path).y.sum() == 7841
    assert network.asked == [url]
    assert [path.name for path in tmp_path.iterdir()] == ["adult.data"]


def test_another_adult_table_is_refused_with_fold_files_too(tmp_path):
    generated.write_income(tmp_path)
    generated.write_folds(tmp_path / "adult")
    with pytest.raises(DataError, match=f"expected {catalogue.REGISTRY['income'].checksum}"):
        catalogue.load("income", tmp_path)


def test_income_is_not_downloaded_beside_fold_files(network, tmp_path):
    generated.write_folds(tmp_path / "adult")
    with pytest.raises(DataMissing, match=r"Remedy: put adult\.data"):
        catalogue.load("income", tmp_path)
    assert network.asked == []


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


def test_years_first_column_is_the_target_and_its_last_rows_the_test_set(tmp_path, monkeypatch):
    generated.accept(monkeypatch, tmp_path, year={"rows": 300, "test rows": 40})
    written = np.loadtxt(generated.write_year(tmp_path), delimiter=",")
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


def test_support2_is_the_published_table(published):
    published("support2.csv")
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


def test_bike_is_the_published_table(published):
    published("hour.csv")
    data = catalogue.load("bike")
    assert data.checksum == catalogue.REGISTRY["bike"].checksum
    assert data.x.shape == (17379, 12) and data.y.sum() == 3292679
    rows = split_rows(data, "holdout", 3)
    assert [len(part) for part in (rows.train, rows.validation, rows.test)] == [12165, 1738, 3476]
    year = data.x[:, data.features.index("yr")]
    assert set(year[rows.test]) == {1} and set(year[rows.train]) == {0, 1}, "the test year is not new to a model"


@every("name, digits, others", [
    ("housing", b"8.325200", b"8.325300"), ("support2", b"62.84998", b"62.84999"), ("bike", b"0.24,", b"0.25,"),
])  # fmt: skip
def test_a_changed_digit_of_the_open_data_is_noticed(name, digits, others, published, tmp_path):
    file = catalogue.REGISTRY[name].files[0]
    (tmp_path / file).write_bytes(published(file).replace(digits, others, 1))
    with pytest.raises(DataError, match=f"expected {catalogue.REGISTRY[name].checksum}"):
        catalogue.load(name, tmp_path)


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


@every("name, damage, message", [(name, *case) for name, cases in WRONG.items() for case in cases])
def test_another_table_is_refused_by_name_file_and_remedy(name, damage, message, small):
    path = generated.WRITERS[name](small)
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        catalogue.load(name)
    assert not isinstance(caught.value, DataMissing)
    assert str(caught.value).startswith(f"{name}: ")
    if "both classes" not in message and "missing" not in message:
        assert str(path) in str(caught.value) and "replace or remove the file" in str(caught.value)


@every("cut", [10, 500, -20])
def test_a_damaged_archive_is_refused(cut, small):
    path = generated.write_mimic3(small)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"adult_icu\.gz is not what it should be: .*; replace or remove the file"):
        catalogue.load("mimic3")
    archive = zipped(generated.write_year(small), "YearPredictionMSD.txt.zip")
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"YearPredictionMSD\.txt\.zip is not what it should be"):
        catalogue.load("year")


@every(
    "name, file", [("mimic3", "adult_icu.gz"), ("year", "YearPredictionMSD.txt.zip"), ("housing", "cal_housing.tgz")]
)
def test_an_archive_that_would_fill_the_memory_is_refused(name, file, small, monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 2**20)
    zeros = bytes(2**23)
    if file.endswith("zip"):
        (small / "YearPredictionMSD.txt").write_bytes(zeros)
        zipped(small / "YearPredictionMSD.txt", file)
    else:
        (small / file).write_bytes(archive(zeros) if name == "housing" else gzip.compress(zeros))
    assert (small / file).stat().st_size < 2**17
    with pytest.raises(DataError, match=rf"{file} is not .*: it unpacks to more than [\d.e-]+ GiB"):
        catalogue.load(name)


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


@every("name", publishers.EXPECTED)
def test_a_file_of_another_size_is_refused_with_both_sizes(name, tmp_path, monkeypatch):
    expected = publishers.EXPECTED[name]
    generated.accept(monkeypatch, tmp_path, **{name: expected})
    generated.WRITERS[name](tmp_path)
    with pytest.raises(DataError, match=f"holds 300 rows.*expected {expected['rows']:,} rows.*; replace or remove"):
        catalogue.load(name)


def test_another_number_of_frauds_is_refused_with_what_was_found(tmp_path, monkeypatch):
    generated.accept(monkeypatch, tmp_path, credit={"rows": 300, "of class 1": 21})
    generated.write_credit(tmp_path)
    with pytest.raises(DataError, match="holds 300 rows, 20 of class 1, expected 300 rows, 21 of class 1"):
        catalogue.load("credit")


def test_expected_sizes_are_table_4s():
    table = pd.read_csv(Path(mixnam.__file__).parent / "paper" / "published" / "table4_datasets.csv").set_index(
        "dataset"
    )
    for name in ("mimic2", "mimic3", "credit", "year"):
        assert publishers.EXPECTED[name]["rows"] == table.loc[name, "instances"]
        assert SHAPES[name][:2] == (table.loc[name, "features"], table.loc[name, "categorical_features"])


def test_year_in_another_order_is_noticed_by_the_training_rows_target(tmp_path, monkeypatch):
    path = generated.write_year(tmp_path)
    y = np.loadtxt(path, delimiter=",")[:270, 0]
    expected = {"rows": 300, "test rows": 30, "mean": y.mean(), "deviation": y.std()}
    generated.accept(monkeypatch, tmp_path, year=expected)
    catalogue.load("year")
    generated.accept(monkeypatch, tmp_path, year=expected | {"deviation": y.std() + 0.06})
    with pytest.raises(DataError, match=r"270 training rows of .* target of deviation .*, expected .* within 0\.05"):
        catalogue.load("year")
    generated.accept(monkeypatch, tmp_path, year=expected)
    path.write_text("\n".join(sorted(path.read_text().splitlines())))
    with pytest.raises(DataError, match=r"target of mean .* rows in another order\? replace or remove the file"):
        catalogue.load("year")


def test_nodes_training_rows_are_held_to_the_same_target(tmp_path, monkeypatch):
    y = np.loadtxt(generated.write_year(tmp_path), delimiter=",")[:270, 0]
    generated.accept(monkeypatch, tmp_path, year={"test rows": 30, "mean": y.mean(), "deviation": y.std()})
    order = np.argsort(y)
    generated.put(tmp_path / "year" / "stratified_train_idx.txt", map(str, order[:200]))
    generated.put(tmp_path / "year" / "stratified_valid_idx.txt", map(str, order[200:]))
    with pytest.raises(DataError, match=r"the 200 training rows of .* have a target of mean"):
        catalogue.load("year")


FULL = """
import sys, time
from pathlib import Path
from mixnam.data import catalogue, publishers
name, folder = sys.argv[1], Path(sys.argv[2])
expected = publishers.EXPECTED[name]
publishers.EXPECTED[name] = {k: v for k, v in expected.items() if k in ("rows", "test rows")}
started = time.perf_counter()
data = catalogue.load(name, folder)
data.checksum
peak = int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 2**20
print(*data.x.shape, f"{peak:.2f}", f"{time.perf_counter() - started:.0f}")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
@every("name, gigabytes, packed", [("credit", 1.0, ""), ("year", 2.0, ""), ("year", 2.0, "zip")])
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
