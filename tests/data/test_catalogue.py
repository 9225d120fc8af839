"""The registry: where data sets are looked for, what identifies them, and what is said where they are missing."""

import dataclasses
import os

import generated
import pytest
from every import every

from mixnam.data import catalogue, publishers
from mixnam.data.own import TableError, read_table
from mixnam.data.splits import FOLD_FILES, FOLDS, HOLDOUT, HOLDOUTS, REPEATS
from mixnam.data.table import DataMissing
from mixnam.models import LinearSettings
from mixnam.paper.presets import load_preset
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec

HOUSING = catalogue.REGISTRY["housing"].checksum


def test_housing_is_found_in_the_directory_of_the_environment(published, tmp_path, monkeypatch):
    (tmp_path / "cal_housing.data").write_bytes(published("cal_housing.data"))
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    assert catalogue.directory() == tmp_path
    assert catalogue.load("housing", download=False).checksum == HOUSING


def test_the_data_directory_defaults_to_data(monkeypatch):
    monkeypatch.delenv("MIXNAM_DATA", raising=False)
    assert str(catalogue.directory()) == "data"
    monkeypatch.setenv("MIXNAM_DATA", "")
    assert str(catalogue.directory()) == "data"


def test_missing_data_are_not_remembered(published, network, tmp_path):
    with pytest.raises(DataMissing):
        catalogue.load("housing", tmp_path)
    (tmp_path / "cal_housing.data").write_bytes(published("cal_housing.data"))
    assert catalogue.load("housing", tmp_path).checksum == HOUSING


def test_a_data_directory_that_is_a_file_is_reported(network, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataMissing, match="Remedy"):
        catalogue.load("housing", tmp_path / "file")


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"one of housing, mimic2, mimic3, income, credit, .*, got 'boston'"):
        catalogue.load("boston")


@every("name, shape", [("diabetes", (442, 10)), ("breast_cancer", (569, 30))])
def test_bundled_data_need_neither_files_nor_network(name, shape, network, tmp_path):
    dataset = catalogue.load(name, tmp_path)
    assert dataset.x.shape == shape
    assert dataset.checksum == catalogue.REGISTRY[name].checksum
    assert (dataset.task, dataset.metric) == (catalogue.REGISTRY[name].task, catalogue.REGISTRY[name].metric)
    assert network.asked == []


def test_a_checksum_is_the_registrys_else_that_of_the_data():
    assert catalogue.checksum("housing") == HOUSING
    assert catalogue.REGISTRY["sim_noise"].checksum == ""
    assert catalogue.checksum("sim_noise") == catalogue.load("sim_noise").checksum
    with pytest.raises(ValueError, match="dataset must be one of"):
        catalogue.checksum("boston")


@every("name", ["housing", "income"])
@every("download", [True, False])
def test_missing_data_say_where_they_belong_and_are_asked_for_where_they_may_be(name, download, network, tmp_path):
    where = tmp_path / "nowhere"
    with pytest.raises(DataMissing, match=f"Remedy: put {catalogue.REGISTRY[name].files[0]}") as caught:
        catalogue.load(name, where, download)
    assert str(where) in str(caught.value)
    assert not where.exists() or not list(where.iterdir())
    assert bool(network.asked) == download
    network.asked.clear()


@every("name", ["mimic2", "mimic3", "credit", "year", "support2", "bike"])
def test_missing_data_name_their_files_and_are_never_downloaded(name, network, tmp_path):
    with pytest.raises(DataMissing) as caught:
        catalogue.load(name, tmp_path)
    assert all(file in str(caught.value) for file in catalogue.REGISTRY[name].files)
    if name.startswith("mimic"):
        assert "PhysioNet" in str(caught.value) and "NODE-GAM" in str(caught.value)
    assert network.asked == []


@every(
    "name, more",
    [
        ("housing", HOLDOUTS), ("bike", HOLDOUTS), ("diabetes", HOLDOUTS), ("income", REPEATS), ("mimic2", REPEATS),
        ("breast_cancer", REPEATS), ("year", ()), ("sim_noise", ()),
    ],
)  # fmt: skip
def test_other_partitions_of_the_rows_stand_beside_a_data_sets_own_splits(name, more):
    known = catalogue.entry(name)
    assert known.splits in (HOLDOUT, FOLDS)
    assert known.every_split == known.splits + more


def test_the_order_of_the_registry_is_the_papers_then_ours():
    names = list(catalogue.REGISTRY)
    assert names[:10] == [
        "housing", "mimic2", "mimic3", "income", "credit", "year", "support2", "bike", "diabetes", "breast_cancer",
    ]  # fmt: skip
    assert [name for name in names if catalogue.REGISTRY[name].ours] == ["support2", "bike"]
    assert all("(open, ours)" in catalogue.REGISTRY[name].title for name in ("support2", "bike"))
    assert set(publishers.FILES) == set(publishers.EXPECTED) | {"income", "housing"}


def test_incomes_pinned_checksum_stands_only_without_fold_files(published, tmp_path, monkeypatch):
    (tmp_path / "adult.data").write_bytes(published("adult.data"))
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    pinned = catalogue.REGISTRY["income"].checksum
    assert catalogue.checksum("income") == pinned
    before = RunSpec("income", LinearSettings(), "fold0", 0).key
    generated.write_folds(tmp_path / "adult", 32561)
    assert catalogue.checksum("income") == catalogue.load("income").checksum != pinned
    assert RunSpec("income", LinearSettings(), "fold0", 0).key != before
    fold = tmp_path / "adult" / "test0.txt"
    fold.write_text(fold.read_text().partition("\n")[2])
    assert catalogue.checksum("income") is None, "what cannot be loaded identifies nothing"
    for file in FOLD_FILES:
        (tmp_path / "adult" / file).unlink()
    assert catalogue.checksum("income") == pinned
    assert RunSpec("income", LinearSettings(), "fold0", 0).key == before


def test_what_is_at_hand_is_told_without_loading(small):
    assert not any(catalogue.at_hand(name) for name in generated.WRITERS)
    assert catalogue.at_hand("diabetes") and catalogue.at_hand("sim_noise")
    for name in generated.WRITERS:
        generated.put(small / catalogue.REGISTRY[name].files[-1], ["what no loader would take"])
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


def test_a_registered_table_is_known_by_its_name(frame, registry):
    name = catalogue.register(read_table(frame, "price", name="mine", group="street"))
    assert name == "mine"
    assert catalogue.load("mine").checksum == catalogue.checksum("mine")
    assert not catalogue.entry("mine").bundled
    (result,) = fit([RunSpec(name, LinearSettings(), "fold0", 0)], device="cpu")
    assert result.provenance["data_source"] == "a data frame"
    assert result.metrics["test"]["rmse"] > 0
    assert load_preset("quick").settings("mine", "MixNAM") == load_preset("quick").settings("other", "MixNAM")


def test_a_taken_name_is_refused_but_for_the_same_data(frame, registry):
    first = read_table(frame, "price", name="mine")
    catalogue.register(first)
    catalogue.register(read_table(frame, "price", name="mine"))  # a notebook's cell run twice
    with pytest.raises(TableError, match="name 'mine' is taken by other data"):
        catalogue.register(read_table(frame[1:], "price", name="mine"))
    with pytest.raises(TableError, match="name 'diabetes' is taken"):
        catalogue.register(dataclasses.replace(first, name="diabetes"))
    with pytest.raises(TableError, match="name must be"):
        catalogue.register(dataclasses.replace(first, name="sim_mine"))


def test_a_name_has_one_meaning_whatever_its_case_and_its_source(frame, registry, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    with pytest.raises(
        TableError, match="name 'housing' is taken by other data; give the table another name than 'Hou"
    ):
        catalogue.register(read_table(frame, "price", name="Housing"))
    first = read_table(frame, "price", name="Mine_2")
    catalogue.register(first)
    frame.to_csv(tmp_path / "sales.csv", index=False)
    (tmp_path / "Mine_2.toml").write_text('table = "sales.csv"\ntarget = "price"\n')
    assert catalogue.entry("Mine_2").checksum == first.checksum, "the same data may be registered and described"
    (tmp_path / "mine_2.toml").write_text('table = "sales.csv"\ntarget = "price"\n')
    for ask in (lambda: catalogue.entry("mine_2"), lambda: catalogue.register(first)):
        with pytest.raises(
            TableError, match=r"name '[Mm]ine_2' is taken by other data; give the table another name than"
        ):
            ask()
    (tmp_path / "mine_2.toml").unlink()
    (tmp_path / "Mine_2.toml").write_text('table = "sales.csv"\ntarget = "price"\ndrop = ["area"]\n')
    with pytest.raises(
        TableError, match=r"'Mine_2' is registered, and .*Mine_2.toml describes other data by that name"
    ):
        catalogue.entry("Mine_2")


@pytest.mark.parametrize("change", ["unit", "title", "names of columns", "words for the classes"])
def test_a_table_registered_again_has_its_new_names(change, frame, registry):
    sold = change == "words for the classes"
    catalogue.register(
        read_table(frame, "sold" if sold else "price", name="mine", drop=["price"] if sold else ["sold"])
    )
    again = {"unit": {"unit": "pounds"}, "title": {"title": "Houses"}}.get(change, {})
    if sold:
        frame["sold"] = frame["sold"].replace({"no": "died", "yes": "survived"})
    if change == "names of columns":
        frame = frame.rename(columns={"area": "rooms", "rooms": "area"})
    table = read_table(frame, "sold" if sold else "price", name="mine", drop=["price"] if sold else ["sold"], **again)
    catalogue.register(table)
    assert catalogue.load("mine").about == table.about
    assert catalogue.entry("mine").title == table.title


@every(
    "name, hint",
    [
        ("my-data", r"got 'my-data'; name must be .*\(no hyphen\).*: my_data would do"),
        ("a" * 300, "got 'a{120}'; name must be .* at most 100"),
        ("nosuch", "or described by .*nosuch.toml, got 'nosuch'$"),
    ],
)
def test_a_name_that_is_not_known_is_refused_with_what_is_wrong_with_it(name, hint, tmp_path):
    with pytest.raises(ValueError, match=hint):
        catalogue.entry(name, tmp_path)


def test_a_description_with_a_byte_order_mark_is_read(frame, tmp_path):
    frame.to_csv(tmp_path / "own.csv", index=False)
    (tmp_path / "own.toml").write_bytes(b"\xef\xbb\xbftable = 'own.csv'\ntarget = 'price'\n")
    assert catalogue.load("own", tmp_path).features[0] == "area"
