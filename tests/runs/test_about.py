"""What a store says of its data stands with it: where the data are not known, or the description is damaged."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save

from mixnam.data import catalogue
from mixnam.data.own import read_table
from mixnam.models import LinearSettings
from mixnam.paper.presets import load_preset
from mixnam.runs.fitting import fit
from mixnam.runs.frame import frame
from mixnam.runs.results import about_file
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store


@pytest.fixture
def stored(tmp_path):
    """A stored result on an own table, and its registration taken back."""
    rows = pd.DataFrame({"a": np.arange(60.0), "b": ["x", "y", "z"] * 20, "y": np.arange(60.0) ** 2})
    table = read_table(rows, "y", name="folds", unit="kg")
    catalogue.register(table)
    (result,) = fit([RunSpec("folds", LinearSettings(), "holdout", 0)], device="cpu")
    store = Store(tmp_path)
    yield store, store.put(result), table
    catalogue.REGISTRY.pop("folds", None)


def test_a_name_of_the_presets_own_is_no_trouble(stored):
    load_preset.cache_clear()
    assert load_preset("quick").number("folds") == 5


def test_results_on_a_table_whose_name_nobody_knows_are_read(stored):
    store, result, table = stored
    catalogue.REGISTRY.pop("folds")
    again = Store(store.root)
    found = frame(again)
    assert list(found.index) == [result.key] and not again.problems
    assert found["result"].iloc[0].about == table.about
    with pytest.raises(ValueError, match="dataset must be one of"):
        RunSpec("folds", LinearSettings(), "holdout", 1)


def test_a_damaged_description_is_passed_over_and_mended(stored):
    store, result, table = stored
    path = about_file(result.folder.parent, table.checksum)
    targets = result.targets
    for damage in ("", "{", "{}", '{"categories": 1}'):
        path.write_text(damage)
        path.with_suffix(".safetensors").write_bytes(b"damaged")
        read = store.get(result.spec)
        vars(read).pop("about", None), vars(read).pop("targets", None)
        assert read.about == table.about, damage
        assert np.array_equal(read.targets, targets)
    store.describe(table)
    assert path.read_text().startswith("{\n")
    catalogue.REGISTRY.pop("folds")
    read = next(iter(Store(store.root)))
    vars(read).pop("about", None)
    assert read.about == table.about


def test_test_rows_of_a_split_that_came_later_are_added(stored):
    store, result, table = stored
    path = about_file(result.folder.parent, table.checksum).with_suffix(".safetensors")
    whole = path.read_bytes()
    path.write_bytes(save({"of another split": np.zeros(3)}))
    store.describe(table)
    assert path.read_bytes() == whole


def test_better_names_of_the_same_rows_replace_the_old_ones(stored):
    store, result, _ = stored
    rows = pd.DataFrame({"size": np.arange(60.0), "b": ["x", "y", "z"] * 20, "y": np.arange(60.0) ** 2})
    better = read_table(rows, "y", name="folds", unit="g")
    catalogue.register(better)
    assert catalogue.load("folds").unit == "g"
    for known in (store, Store(store.root)):
        read = known.get(result.spec)
        vars(read).pop("about", None)
        assert read.about == better.about, "results need not be trained again for their names"
    store.describe(better)
    catalogue.REGISTRY.pop("folds")
    vars(read).pop("about", None)
    assert read.about.features == ("size", "b")


def test_a_frame_that_is_changed_leaves_the_next_one_alone(stored):
    store, result, _ = stored
    found = frame(store)
    found.drop(found.index, inplace=True)  # noqa: PD002
    assert list(frame(store).index) == [result.key]
