"""Own tables: every branch of read_table, names, and descriptions."""

import gzip
import os

import numpy as np
import pandas as pd
import pytest
from every import every

from mixnam.data import catalogue, files
from mixnam.data.own import TableError, read_table
from mixnam.data.splits import FOLDS, HOLDOUT, split_rows, splits_of
from mixnam.data.table import DataError
from mixnam.models import LinearSettings
from mixnam.paper import experiments
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

EVERYTHING = ["area", "rooms", "district", "heating", "garden", "street", "part", "sold"]


def test_columns_are_numbers_or_categories(frame):
    dataset = read_table(frame, "price", categorical=["district"], drop=["street", "part", "sold"], unit="euros")
    assert dataset.features == ("area", "rooms", "district", "heating", "garden")
    assert dataset.categories == {
        2: ("9", "10", "100"),  # numbers by value
        3: ("gas", "none at all", "oil"),
        4: ("False", "True"),
    }
    assert np.array_equal(dataset.x[:, :2], frame[["area", "rooms"]])
    for i in (2, 3, 4):
        labels = np.array(dataset.categories[i])[dataset.x[:, i].astype(int)]
        assert list(labels) == [str(v) for v in frame[dataset.features[i]]]
    assert np.array_equal(dataset.y, frame["price"])
    assert (dataset.task, dataset.metric, dataset.target, dataset.unit) == ("regression", "rmse", "price", "euros")
    assert (dataset.name, dataset.title, dataset.folds) == ("table", "table", None)
    assert dataset.x.dtype == dataset.y.dtype == np.float64


@every("kind", ["category", "string", "object"])
def test_text_of_every_type_is_categorical(frame, kind):
    other = frame[["area", "heating", "price"]].astype({"heating": kind})
    dataset = read_table(other, "price")
    assert dataset.checksum == read_table(frame[["area", "heating", "price"]], "price").checksum
    assert list(dataset.categories) == [1]


@every("kind", ["Int64", "Float32", "int8", "float32"])
def test_numbers_of_every_type_are_numbers(frame, kind):
    other = frame[["rooms", "price"]].astype({"rooms": kind})
    assert read_table(other, "price").checksum == read_table(frame[["rooms", "price"]], "price").checksum


@every(
    "values, one",
    [
        (["no", "yes"], "yes"),
        ([1, 2], "2"),
        ([0, 1], "1"),
        ([False, True], "True"),
        ([-1.5, 10.0], "10"),
    ],
)
def test_two_values_are_classes_the_later_one_being_1(frame, values, one):
    is_one = np.arange(len(frame)) % 3 == 0
    frame["outcome"] = np.array(values)[is_one.astype(int)]
    dataset = read_table(frame[["area", "outcome"]], "outcome")
    assert (dataset.task, dataset.metric) == ("classification", "auc")
    assert np.array_equal(dataset.y, is_one)
    assert dataset.target == f"outcome = {one}"


def test_task_overrides_what_the_values_suggest(frame):
    frame["flag"] = np.arange(len(frame)) % 2 + 1
    dataset = read_table(frame[["area", "flag"]], "flag", task="regression")
    assert (dataset.task, dataset.target) == ("regression", "flag")
    assert np.array_equal(dataset.y, frame["flag"])
    with pytest.raises(TableError, match=r"target 'rooms' has 8 classes \(1, 2, 3, 4, 5, ...\); merge them into two"):
        read_table(frame[["area", "rooms"]], "rooms", task="classification")
    with pytest.raises(TableError, match="task must be regression or classification, got 'ranking'"):
        read_table(frame, "price", task="ranking")


def test_fold_column_gives_the_test_folds_in_sorted_order(frame, registry):
    dataset = read_table(frame, "price", name="mine", fold="part", drop=["sold"])
    assert "part" not in dataset.features
    assert list(dataset.folds[:6]) == [2, 0, 1, 2, 0, 1]  # c, a, b
    catalogue.register(dataset)
    assert catalogue.entry("mine").splits == ("fold0", "fold1", "fold2")
    split = split_rows(dataset, "fold2", 0)
    assert set(frame["part"].iloc[split.test]) == {"part c"}
    assert len(split.test) == 20
    with pytest.raises(ValueError, match="split of mine must be one of fold0, fold1, fold2, got 'fold3'"):
        RunSpec("mine", LinearSettings(), "fold3", 0)


def test_folds_are_as_many_as_the_column_has_values(frame, registry):
    frame["fold"] = np.arange(len(frame)) % 12
    dataset = read_table(frame, "price", name="mine", fold="fold")
    catalogue.register(dataset)
    assert catalogue.entry("mine").splits == tuple(f"fold{k}" for k in range(12))
    assert set(frame["fold"].iloc[split_rows(dataset, "fold11", 0).test]) == {11}
    assert len(experiments.specs_of("mine", "Linear", "quick")) == 12
    assert len(experiments.specs_of("mine", "Linear", "smoke")) == 2
    with pytest.raises(TableError, match="column 'fold' has one value; it needs two or more"):
        read_table(frame.assign(fold=1), "price", fold="fold")
    frame.loc[7, "fold"] = 99
    with pytest.raises(
        TableError, match="each part of fold12 must hold two rows or more; of 60 rows the test part gets 1"
    ):
        read_table(frame, "price", fold="fold")


@every("target", ["price", "sold"])
def test_groups_are_never_split_across_parts(target, frame):
    drop = ["sold" if target == "price" else "price"]
    dataset = read_table(frame.sample(frac=1, random_state=1), target, group="street", drop=drop)
    assert "street" not in dataset.features
    assert splits_of(dataset) == FOLDS
    streets = frame.sample(frac=1, random_state=1)["street"].to_numpy()
    tested = []
    for name in FOLDS:
        for seed in range(3):
            split = split_rows(dataset, name, seed)
            parts = [set(streets[rows]) for rows in (split.train, split.validation, split.test)]
            assert all(parts) and sum(map(len, parts)) == 12 == len(set.union(*parts))
        tested.extend(split.test)
    assert sorted(tested) == list(range(len(frame)))
    drawn = {tuple(sorted(set(streets[split_rows(dataset, "fold0", seed).validation]))) for seed in range(9)}
    assert len(drawn) > 1, "the seed draws the validation groups"
    other = read_table(frame.sample(frac=1, random_state=1), target, drop=[*drop, "street"])
    assert other.checksum != dataset.checksum


def test_there_are_as_many_folds_as_groups_where_these_are_few(frame):
    assert splits_of(read_table(frame, "price", group="part")) == FOLDS[:3]
    with pytest.raises(
        TableError, match="group column 'garden' has 2 groups; training, validation and test need three"
    ):
        read_table(frame, "price", group="garden")


def test_a_part_of_one_class_is_refused(frame):
    frame["fold"] = (frame["sold"] == "yes").astype(int)
    message = "each part of fold0 must hold two rows or more of both classes; of 60 rows the train part gets"
    with pytest.raises(TableError, match=message):
        read_table(frame, "sold", fold="fold")
    frame["fold"] = np.where(np.arange(60) < 4, 0, np.arange(60) % 3 + 1)
    frame.loc[:3, "sold"] = "no"
    with pytest.raises(TableError, match="the test part gets 4, all of one class: merge folds or groups, or add rows"):
        read_table(frame, "sold", fold="fold")


def test_shuffled_folds_have_both_classes_in_every_part_and_too_few_rows_of_one_are_refused(frame):
    frame = frame.assign(sold=np.where(np.arange(60) < 10, "yes", "no"))
    dataset = read_table(frame, "sold")
    assert splits_of(dataset) == FOLDS
    for name in FOLDS:
        for seed in range(20):
            parts = split_rows(dataset, name, seed)
            assert all(len(np.unique(dataset.y[rows])) == 2 for rows in vars(parts).values())
            assert dataset.y[parts.test].sum() == 2
    frame.loc[0, "sold"] = "no"
    with pytest.raises(TableError, match=r"only 9 rows are of class 1 \(sold = yes\); 10 are needed"):
        read_table(frame, "sold")
    with pytest.raises(TableError, match=r"only 9 rows are other than class 1 \(sold = yes\); 10 are needed"):
        read_table(frame.assign(sold=np.where(np.arange(60) < 9, "no", "yes")), "sold")


@every("rows, fits", [(10, True), (9, False), (3, False)])
def test_a_table_that_is_too_small_to_split_is_refused(rows, fits, frame):
    if fits:
        read_table(frame[:rows], "price")
    else:
        with pytest.raises(TableError, match=f"each part of holdout must hold two rows or more[,;].* {rows} rows"):
            read_table(frame[:rows], "price")


@every("target, splits", [("price", HOLDOUT), ("sold", FOLDS)])
def test_without_folds_or_groups_the_task_decides(frame, target, splits):
    assert splits_of(read_table(frame, target)) == splits


@every(
    "change, arguments, message",
    [
        ({}, {"target": "cost"}, "no column is called 'cost'; there are 'area', 'rooms'"),
        ({}, {"drop": ["roof"]}, "no column is called 'roof'"),
        ({}, {"categorical": ["roof"]}, "no column is called 'roof'"),
        ({}, {"fold": "roof"}, "no column is called 'roof'"),
        ({}, {"group": "roof"}, "no column is called 'roof'"),
        ({}, {"categorical": ["price"]}, "column 'price' is named for more than one purpose"),
        ({}, {"drop": ["area"], "categorical": ["area"]}, "column 'area' is named for more than one purpose"),
        ({}, {"fold": "part", "group": "street"}, "both fold 'part' and group 'street' are given"),
        ({}, {"drop": EVERYTHING}, "no feature is left besides 'price'"),
        ({"price": np.nan}, {}, "target 'price' holds 2 missing values, the first in row 4; drop those rows"),
        ({"sold": None}, {"target": "sold"}, "target 'sold' holds 2 missing values, the first in row 4; drop"),
        ({"street": None}, {"group": "street"}, "column 'street' holds 2 missing values, the first in row 4; drop"),
        ({"part": None}, {"fold": "part"}, "column 'part' holds 2 missing values, the first in row 4; drop those rows"),
        ({"area": np.inf}, {}, "column 'area' holds inf in row 4; replace it, or leave the cell empty"),
        ({"price": 1e200}, {}, r"target 'price' holds numbers up to 1e\+200; rescale it"),
        ({}, {"unseen": "ignore"}, "unseen must be average or refuse, got 'ignore'"),
        ({}, {"missing": "?"}, r"missing must be a list of texts, got '\?'; write"),
        ({}, {"target": "heating"}, r"target 'heating' holds 3 classes that are no numbers \(gas, none at all, oil\)"),
        ({}, {"name": "My-table"}, "name must be letters, .*no hyphen.*: My_table would do, got 'My-table'"),
        ({}, {"name": "sim_own"}, "name must be .* got 'sim_own'"),
        ({}, {"name": "accuracy\n"}, "name must be"),
        ({}, {"name": "simulations"}, "name must be .* got 'simulations'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(frame, change, arguments, message):
    frame = frame.copy()
    for column, value in change.items():
        frame.loc[[3, 5], column] = value
    with pytest.raises(TableError, match=message):
        read_table(frame, **{"target": "price", **arguments})


def test_odd_columns_are_refused(frame):
    with pytest.raises(TableError, match="two columns are called 'area'; rename one"):
        read_table(frame.rename(columns={"rooms": "area"}), "price")
    with pytest.raises(TableError, match="target 'price' has 1 value, 1; it needs two or more"):
        read_table(frame.assign(price=1.0), "price")
    with pytest.raises(TableError, match="table: the table has no rows"):
        read_table(frame[:0], "price")
    with pytest.raises(TableError, match="column 'when' holds times, such as '2026-01-01' in row 1; turn times into"):
        read_table(frame.assign(when=pd.Timestamp("2026-01-01")), "price")
    many = pd.DataFrame({"id": [f"row {i}" for i in range(1001)], "price": np.arange(1001.0)})
    with pytest.raises(TableError, match="column 'id' has 1001 categories, at most 1000 can be shown; drop it"):
        read_table(many, "price")
    assert read_table(many[1:], "price").x.shape == (1000, 1)


@every("suffix", ["csv", "tsv", "parquet"])
def test_files_hold_what_the_frame_held(frame, suffix, tmp_path):
    path = tmp_path / f"table.{suffix}"
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="pandas reads parquet files with pyarrow")
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="," if suffix == "csv" else "\t")
    read = read_table(path, "price", categorical=["district"])
    expected = read_table(frame, "price", categorical=["district"])
    assert np.array_equal(read.x, expected.x)
    assert read.y == pytest.approx(expected.y, rel=1e-14)
    assert read.categories == expected.categories
    assert read.source == path.name


@every(
    "name, content, message",
    [
        ("table.xlsx", b"", r"must end in .csv, .tsv \(or either with .gz\) or .parquet; pass pandas.read_excel"),
        ("table.txt", b"", "must end in .csv, .tsv .*; convert it, or pass a data frame"),
        ("table", b"", "must end in .csv"),
        ("table.csv", None, "table.csv cannot be read: FileNotFoundError"),
        ("table.csv", b"", "table.csv holds nothing"),
        ("table.csv", b"a,price\n", "the table has no rows"),
        ("table.csv", b"a,price\n\xff\xfe,2\n", "table.csv is no text in UTF-8: .*; save it in UTF-8"),
        ("table.csv", "a,price\n1,2\n".encode("utf-16"), "table.csv is no text in UTF-8"),
        ("table.csv.gz", b"a,price\n1,2\n", "table.csv.gz cannot be read: BadGzipFile"),
        ("table.parquet", b"PAR1", "table.parquet cannot be read: "),
    ],
)
def test_files_that_cannot_be_read_are_named(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path / name, "price")


@every("name", ["rows.csv.gz", "line.csv.gz", "rows.parquet"])
def test_a_packed_file_that_would_fill_the_memory_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 2**20)
    path = tmp_path / name
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(b"a,price\n" + (b"1,2\n" if name.startswith("rows") else b"1") * 2**21))
    else:
        pd.DataFrame({"a": np.zeros(2**18), "price": 1.0}).to_parquet(path)
    assert path.stat().st_size < 2**17
    with pytest.raises(TableError, match=rf"{name} cannot be read: .*unpacks to more than [\d.e-]+ GiB; unpack it"):
        read_table(path, "price")


@every(
    "rows, scale, message",
    [
        (8, 1.0, "each part of holdout must hold two rows or more; of 8 rows the validation part gets 1: add rows"),
        (2, 1.0, "each part of holdout must hold two rows or more, and 2 rows are too few; add rows"),
        (60, 1e40, "target 'price' holds numbers up to .*e[+]4.; rescale it"),
        (60, 1e200, "target 'price' holds numbers up to .*e[+]20.; rescale it"),
    ],
)
def test_what_no_model_could_be_scored_on_is_refused(rows, scale, message, frame):
    part = frame[:rows].assign(price=frame["price"] * scale)[["area", "price"]]
    with pytest.raises(TableError, match=message):
        read_table(part, "price", task="regression")


@pytest.fixture
def folder(frame, tmp_path, monkeypatch):
    """A data directory with a described table, in a folder of its own."""
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    (tmp_path / "tables").mkdir()
    frame.to_csv(tmp_path / "tables" / "sales.csv", index=False)
    text = 'table = "tables/sales.csv"\ntarget = "sold"\ncategorical = ["district"]\ndrop = ["price"]\n'
    (tmp_path / "houses.toml").write_text(text + 'fold = "part"\ntitle = "Houses"\n')
    return tmp_path


def test_a_described_table_is_known_by_its_files_name(folder, frame, tmp_path):
    dataset = catalogue.load("houses")
    expected = read_table(frame, "sold", name="houses", categorical=["district"], drop=["price"], fold="part")
    assert dataset.features == expected.features
    assert dataset.categories == expected.categories
    assert np.array_equal(dataset.folds, expected.folds)
    assert dataset.x == pytest.approx(expected.x, rel=1e-14)
    entry = catalogue.entry("houses")
    assert (entry.title, entry.metric, entry.splits) == ("Houses", "auc", ("fold0", "fold1", "fold2"))
    assert catalogue.checksum("houses") == dataset.checksum
    assert catalogue.load("houses") is dataset, "the table is read once"
    assert "houses" not in catalogue.REGISTRY
    specs = experiments.specs_of("houses", "Linear", "smoke")
    results = [Store(tmp_path / "results").put(result) for result in fit(specs, device="cpu")]
    assert [r.spec.split for r in results] == ["fold0", "fold1"]
    assert all(0 <= r.metrics["test"]["auc"] <= 1 for r in results)
    assert len(list(Store(tmp_path / "results"))) == 2


def test_a_changed_table_or_description_is_read_again(folder, frame):
    before = RunSpec("houses", LinearSettings(), "fold0", 0).key
    table = folder / "tables" / "sales.csv"
    frame[:-1].to_csv(table, index=False)
    os.utime(table, ns=(1, 1))  # so that the test does not hang on the clock's steps
    assert len(catalogue.load("houses").y) == len(frame) - 1
    after = RunSpec("houses", LinearSettings(), "fold0", 0).key
    assert after != before
    path = folder / "houses.toml"
    path.write_text(path.read_text().replace("Houses", "Homes"))
    assert catalogue.entry("houses").title == "Homes"


def test_another_directory_has_its_own_descriptions(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"or described by .*nowhere.houses.toml, got 'houses'"):
        catalogue.entry("houses")
    assert catalogue.load("houses", folder).title == "Houses"
    for name in ("../houses", "tables/houses", ""):
        with pytest.raises(ValueError, match="dataset must be one of"):
            catalogue.entry(name, folder)


@every(
    "text, message",
    [
        ('table = "tables/sales.csv"', "target is missing"),
        ('target = "sold"', "table is missing"),
        ('table = "sales.csv"\ntarget = "sold"', "No such file"),
        ('table = "tables/sales.csv"\ntarget = "sold"\ngroups = "street"', "unknown key 'groups'; known are table,"),
        ('table = "tables/sales.csv"\ntarget = "sold"\ndrop = "price"', "drop must be a list of texts, got 'price'"),
        ('table = "tables/sales.csv"\ntarget = "sold"\ndrop = [1]', r"drop must be a list of texts, got \[1\]"),
        ('table = "tables/sales.csv"\ntarget = 3', "target must be a text, got 3"),
        ('table = "tables/sales.csv"\ntarget = "cost"', "no column is called 'cost'"),
        ("table = ", "Invalid value"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused_by_name(text, message, folder):
    (folder / "houses.toml").write_text(text)
    with pytest.raises(TableError, match=message) as caught:
        catalogue.entry("houses")
    assert "houses.toml" in str(caught.value)
    with pytest.raises(DataError, match=message):
        catalogue.load("houses")


def test_a_description_cannot_take_a_name_with_another_meaning(folder):
    (folder / "houses.toml").rename(folder / "sim_houses.toml")
    with pytest.raises(ValueError, match=r"got 'sim_houses'; name must be .* neither sim_\.\.\. nor"):
        catalogue.entry("sim_houses")


def test_a_table_shows_what_was_decided(frame):
    frame["rooms"] = frame["rooms"].astype(object).where(frame["rooms"] != 3)
    frame["id"] = range(1000, 1060)
    frame["code"] = [f"{i % 7:03d}" for i in range(60)]
    frame.loc[3, "heating"] = None
    table = read_table(frame, "sold", group="street", drop=["part", "price"], title="Houses")
    shown = table.columns().set_index("name")
    assert list(shown.columns) == ["role", "type", "distinct", "missing", "range", "example", "note"]
    lost = int(frame["rooms"].isna().sum())
    assert list(shown.loc["rooms"]) == [
        "feature",
        "numbers",
        7,
        lost,
        "1 to 8",
        f"{frame['rooms'].dropna().iloc[0]}",
        "",
    ]
    often = [*frame["heating"].value_counts(sort=True, dropna=True).index, "missing"]
    assert shown.loc["heating", "range"] == ", ".join(often)
    assert shown.loc["heating", ["type", "distinct", "missing"]].tolist() == ["categories", 4, 1]
    assert shown.loc["id", "note"] == "it counts the rows: if it is no feature, drop it"
    assert shown.loc["code", "note"] == "numbers with leading zeros are kept as codes"
    assert shown.loc["sold = yes", ["role", "type"]].tolist() == ["target", "classes"]
    assert shown.loc[["street", "part", "price"], "role"].tolist() == ["group", "left out", "left out"]
    first, *rest = str(table).splitlines()
    ones = (frame["sold"] == "yes").sum()
    assert first == f"Houses: 60 rows, 7 features; classification; class 1 is sold = yes ({ones} rows)"
    assert len(rest) == 1 + len(shown)
    assert str(read_table(frame[["area", "price"]], "price", unit="euros")).startswith(
        "table: 60 rows, 1 feature; regression of price (euros)\n"
    )


@every(
    "column, note",
    [
        ([7] * 60, "one value only: it tells nothing"),
        ([f"house {i}" for i in range(60)], "each value once: if it names the rows, drop it"),
        (list(range(60)), "it counts the rows: if it is no feature, drop it"),
        (list(range(59, -1, -1)), ""),
    ],
)
def test_odd_columns_that_can_be_used_get_a_note(column, note, frame):
    assert read_table(frame.assign(odd=column), "price").notes.get("odd", "") == note


def test_whole_numbers_of_a_parquet_file_stay_whole_beside_missing_ones(tmp_path):
    """pandas reads them as numbers of 64 bits with a point, in which 2**53 + 1 is 2**53."""
    pytest.importorskip("pyarrow", reason="pandas reads parquet files with pyarrow")
    frame = pd.DataFrame({"id": pd.array([2**53 + 1, None] * 10, "Int64"), "y": range(20)})
    frame.to_parquet(tmp_path / "table.parquet")
    with pytest.raises(TableError, match="column 'id' holds '9007199254740993' in row 1: whole numbers beyond"):
        read_table(tmp_path / "table.parquet", "y")


@every("name", ["Houses", "houses_2024", "2024_houses", "häuser", "H"])
def test_names_have_letters_digits_and_underscores(name, frame):
    assert read_table(frame, "price", name=name).name == name


@every("target, key", [("2", {"group": 0}), (2, {"group": "0"}), (2, {"fold": 0}), ("2", {"drop": [0]})])
def test_columns_whose_names_are_numbers_can_be_named_by_either(target, key):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({0: np.arange(200) % 5, 1: generator.normal(size=200), 2: generator.normal(size=200)})
    table = read_table(frame, target, **key)
    assert table.features == ("1",)
    assert (table.folds is not None) == ("drop" not in key)


@every(
    "values, order, one",
    [
        (["low", "high"], ["low", "high"], "high"),
        (["high", "low"], ["low", "high"], "high"),
        ([9, 10], [9, 10], "10"),
        (["b", "a"], ["b", "a"], "a"),
    ],
)
def test_the_class_that_is_1_is_the_later_in_the_columns_own_order(values, order, one, frame):
    outcome = pd.Categorical(np.array(values, object)[np.arange(60) % 2], order, ordered=True)
    table = read_table(frame[["area"]].assign(t=outcome), "t")
    assert table.target == f"t = {one}"
    assert np.array_equal(table.y, [str(v) == one for v in outcome])


def test_more_classes_than_two_are_refused_in_plain_words(frame):
    three = pd.Categorical(np.arange(60) % 3, ordered=True)
    for target in (three, np.array(["a", "b", "c"])[np.arange(60) % 3]):
        with pytest.raises(
            TableError, match=r"target 't' holds 3 classes.*merge them into two, for more are not taken"
        ):
            read_table(frame[["area"]].assign(t=target), "t")


def test_missing_values_are_gaps_of_numbers_and_a_category_of_words(frame):
    frame.loc[[3, 5], "area"] = np.nan
    frame.loc[[4], "heating"] = None
    table = read_table(frame, "price", drop=["sold"])
    assert table.gaps == table.about.gaps == (0,)
    assert np.flatnonzero(np.isnan(table.x).any(axis=1)).tolist() == [3, 5]
    heating = table.features.index("heating")
    assert table.categories[heating] == ("gas", "none at all", "oil", "missing")
    assert table.x[4, heating] == 3


@every(
    "values",
    [
        [f"P{i:05d}" for i in range(1500)],
        ["12", "A7", "9", "x"],
        ["2019-20", "2020-21", "2021-22"],
        [2**60, 2**60 + 1, 5],
    ],
)
def test_groups_and_folds_may_have_any_names(values):
    rows = max(60, len(values))
    frame = pd.DataFrame({"a": np.arange(rows) % 7, "y": np.arange(rows) / 7})
    frame["g"] = np.array(values, object)[np.arange(rows) % len(values)]
    table = read_table(frame, "y", group="g")
    assert len(np.unique(table.groups)) == len(values)
    if len(values) < 9:
        assert splits_of(read_table(frame, "y", fold="g")) == FOLDS[: len(values)] if len(values) < 5 else True


@every(
    "values, one", [(["5+", "<5"], "<5"), (["2019-20", "2020-21"], "2020-21"), (["$1", "$2"], "$2"), (["0", "1"], "1")]
)
def test_two_values_of_any_form_are_classes(values, one, frame):
    table = read_table(frame[["area"]].assign(t=np.array(values)[np.arange(60) % 2]), "t")
    assert table.target == f"t = {one}"
    assert table.y.tolist() == [0, 1] * 30


def test_a_target_is_not_told_to_be_categorical(frame):
    with pytest.raises(TableError, match="column 't' holds numbers written as text, such as '1,5' in row 1") as caught:
        read_table(frame[["area"]].assign(t=np.array(["1,5", "2,5", "3,5"])[np.arange(60) % 3]), "t")
    assert "categorical" not in str(caught.value)
    with pytest.raises(TableError, match=r"target 'price' holds numbers up to .*; rescale it"):
        read_table(frame[["area", "price"]].assign(price=frame["price"] * 1e-200), "price")


def test_missing_values_may_be_named_by_their_number(frame):
    frame.loc[3, "rooms"] = -999
    table = read_table(frame, "price", missing=[-999], drop=["sold"])
    assert table.gaps == (table.features.index("rooms"),)
    assert table.missing == ("-999",)


def test_all_columns_of_a_name_are_dropped(frame):
    twice = frame.rename(columns={"rooms": "area"})
    assert "area" not in read_table(twice, "price", drop=["area", "sold"]).features


@every("table", [np.zeros((3, 2)), pd.Series([1]), {"a": [1]}, None])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(TableError, match="table must be a data frame or the path of a file, got"):
        read_table(table, "y")


@pytest.mark.slow
def test_groups_of_mostly_one_class_are_split_where_they_can_be():
    generator, refused = np.random.default_rng(0), 0
    for _ in range(20):
        group = np.repeat(np.arange(8), 15)
        y = generator.random(120) < np.where(group % 2, 0.9, 0.1)
        table = read_table(pd.DataFrame({"a": generator.normal(size=120), "g": group, "y": y}), "y", group="g")
        for name in splits_of(table):
            for seed in range(5):
                parts = split_rows(table, name, seed)
                refused += any(len(np.unique(table.y[rows])) < 2 for rows in vars(parts).values())
    assert refused == 0
