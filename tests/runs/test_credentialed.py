"""Of data that need credentials no result holds a row: on generated files in MIMIC's formats."""

import dataclasses
import functools
import json

import generated
import matplotlib.pyplot as plt
import numpy as np
import pytest
from every import every

from mixnam.data import catalogue
from mixnam.explain.cells import CELLS, CURVE, LEAST_ROWS, cell_quantiles
from mixnam.models import EBMSettings, LinearSettings, MixNAMSettings, MLPSettings, NA2MSettings, NAMSettings
from mixnam.plots import shapes
from mixnam.report import slider
from mixnam.runs.fitting import fit, measure_again
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

ROWS = 411
SMALL = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01}
MODELS = {
    "MixNAM": MixNAMSettings(**SMALL, layers=1, width=4),
    "NAM": NAMSettings(**SMALL, hidden=(4,)),
    "MLP": MLPSettings(**SMALL, hidden=(4,)),
    "NA2M": NA2MSettings(**SMALL, hidden=(3,)),
    "Linear": LinearSettings(),
    "EBM": EBMSettings(outer_bags=1, max_rounds=5),
}
NAMES = ("mimic2", "mimic3")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return a function from a data set and a model to its result, trained once."""
    with pytest.MonkeyPatch.context() as patch:
        generated.use(patch, tmp_path_factory.mktemp("data"), ROWS, NAMES)
        yield functools.cache(lambda name, model: next(fit([RunSpec(name, MODELS[model], "fold0", 0)], "cpu")))


def lists(content):
    if isinstance(content, dict):
        content = list(content.values())
    if not isinstance(content, list):
        return []
    return [content, *(one for part in content for one in lists(part))]


#: What a result on credentialed data may hold: values by feature, expert, grid point or cell, none by row.
CURVES = {"grid", "grid_experts", "grid_lower", "grid_upper", "grid_mean", "relevance", "active"}
CELLWISE = {"density", "density_range", "low_share", "cell_quantiles", "contribution_mean"}
PAIRED = {"pairs", "pair_values", "pair_effect", "pair_interaction", "pair_rows"}


def counts_of(column):
    return dict(zip(*np.unique(column.astype(np.float32), return_counts=True), strict=True))


@every("name, model", [*(("mimic2", model) for model in MODELS), ("mimic3", "NAM"), ("mimic3", "EBM")])
def test_no_row_and_no_number_of_few_rows_is_stored(name, model, fitted, tmp_path):
    assert catalogue.credentialed(name)
    result = Store(tmp_path).put(fitted(name, model))
    data, arrays = catalogue.load(name), result.arrays
    assert arrays.keys() <= CURVES | CELLWISE | PAIRED
    points, cells, n = CURVE, CELLS, len(data.features)
    for key in arrays.keys() & (CURVES | CELLWISE):
        assert len(arrays[key]) == n, key
        assert max(arrays[key].shape) <= max(points, cells, n), key
    for key in ("density", "pair_rows"):
        counts = arrays.get(key, np.zeros(1))
        assert not ((counts > 0) & (counts < LEAST_ROWS)).any(), key
    for i in range(n):
        rows = counts_of(data.x[:, i])
        told = arrays["grid"][i] if "grid" in arrays and i not in data.categories else []
        for pair, values in zip(arrays.get("pairs", ()), arrays.get("pair_values", ()), strict=True):
            told = [*told, *values[pair == i].ravel()]
        if len(rows) <= 40:
            assert all(rows.get(v, LEAST_ROWS) >= LEAST_ROWS for v in told), data.features[i]
        else:  # cells' middles, and quantiles between the rows' values
            assert not {np.float32(data.x[:, i].min()), np.float32(data.x[:, i].max())} & set(told)
    content = json.loads(result.path(".json").read_text())
    assert max(map(len, lists(content))) <= max(100, n)


def test_shares_of_few_rows_are_not_stored(fitted):
    result, data = fitted("mimic2", "MixNAM"), catalogue.load("mimic2")
    low, high = result.arrays["density_range"].T
    for i, shares in enumerate(result.arrays["low_share"]):
        counts = np.histogram(data.x[:, i], CELLS, (low[i], high[i]))[0]
        assert np.isnan(shares[counts < LEAST_ROWS]).all()
        assert np.isfinite(shares).any() or (counts < LEAST_ROWS).all()


def test_a_result_of_an_older_release_loses_its_rows_when_it_is_measured_again(fitted, tmp_path):
    fresh = fitted("mimic2", "MixNAM")
    rows = {"test_prediction": np.zeros(122, np.float32), "sample_x": np.zeros((100, 3), np.float32)}
    old = Store(tmp_path).put(dataclasses.replace(fresh, fresh=(fresh.arrays | rows, fresh.weights)))
    again = measure_again(old, "cpu")
    assert again.arrays.keys() == fresh.arrays.keys()
    assert again.measures == fresh.measures


def test_open_data_keep_their_rows():
    (result,) = fit([RunSpec("diabetes", MODELS["MixNAM"], "holdout", 0)], "cpu")
    assert len(result.arrays["test_prediction"]) == 89
    assert {"sample_x", "sample_rows", "sample_contributions"} <= result.arrays.keys()
    assert "cell_quantiles" not in result.arrays


@every("name, model", [("mimic2", "MixNAM"), ("mimic3", "NAM")])
def test_pictures_show_quantiles_instead_of_rows(name, model, fitted):
    result = fitted(name, model)
    data = catalogue.load(name)
    features = [*list(data.categories)[:1], *(i for i in range(3) if i not in data.categories)][:3]
    figure = shapes.shape_plots(result, features)
    labels = {text for ax in figure.axes for text in ax.get_legend_handles_labels()[1]}
    assert "5 % to 95 % of the rows" in labels
    assert "rows" not in labels
    plt.close(figure)
    content = slider.payload({0.1: result, 1.0: result}, data.features, "log-odds")
    assert all(feature["rows"] == [] for feature in content["features"])
    assert all(step["rows"] == [] for feature in content["features"] for step in feature["at"])


def test_quantiles_are_those_of_each_cell_that_has_rows_enough():
    generator = np.random.default_rng(0)
    x = np.column_stack([generator.normal(size=900), generator.integers(0, 4, 900), np.full(900, 3.0)])
    contributions = generator.normal(size=(900, 3))
    found = cell_quantiles(x, contributions, {1: ()})
    assert found.shape == (3, CELLS, 3)
    low, high = np.quantile(x[:, 0], [0.005, 0.995])
    edges = np.linspace(low, high, CELLS + 1)
    counts = np.histogram(x[:, 0], edges)[0]
    assert 0 < (counts < LEAST_ROWS).sum() < CELLS
    for cell in range(CELLS):
        above = x[:, 0] <= edges[cell + 1] if cell == CELLS - 1 else x[:, 0] < edges[cell + 1]
        inside = contributions[(x[:, 0] >= edges[cell]) & above, 0]
        if len(inside) < LEAST_ROWS:
            assert np.isnan(found[0, cell]).all()
        else:
            assert found[0, cell] == pytest.approx(np.quantile(inside, [0.05, 0.5, 0.95]), rel=1e-6)
    for code in range(4):
        assert found[1, code] == pytest.approx(np.quantile(contributions[x[:, 1] == code, 1], [0.05, 0.5, 0.95]))
    assert np.isnan(found[1, 4:]).all()
