"""Of data that need credentials no result holds a row: on generated files in MIMIC's formats."""

import json

import generated
import matplotlib.pyplot as plt
import numpy as np
import pytest

from mixnam import additivity, datasets, interactive, plots
from mixnam.explanations import CELLS, LEAST_ROWS, cell_quantiles
from mixnam.fitting import fit, measure_again
from mixnam.results import RunSpec, Store
from mixnam.settings import EBMSettings, LinearSettings, MixNAMSettings, MLPSettings, NA2MSettings, NAMSettings

ROWS = 611
SMALL = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01}
MODELS = {
    "MixNAM": MixNAMSettings(**SMALL, layers=1, width=4),
    "NAM": NAMSettings(**SMALL, hidden=(4,)),
    "MLP": MLPSettings(**SMALL, hidden=(4,)),
    "NA2M": NA2MSettings(**SMALL, hidden=(3,)),
    "Linear": LinearSettings(),
    "EBM": EBMSettings(outer_bags=1, max_rounds=5),
}


@pytest.fixture(params=["mimic2", "mimic3"])
def name(request, tmp_path, monkeypatch):
    generated.accept(monkeypatch, tmp_path)
    monkeypatch.setattr(additivity, "ROUND", 8)  # that measures are right is tested elsewhere
    monkeypatch.setattr(additivity, "ERROR", 1)
    generated.WRITERS[request.param](tmp_path, ROWS)
    return request.param


def numbers(content):
    if isinstance(content, dict):
        return [n for value in content.values() for n in numbers(value)]
    if isinstance(content, list):
        return [n for value in content for n in numbers(value)]
    return [content] if isinstance(content, float) else []


def lists(content):
    if isinstance(content, dict):
        content = list(content.values())
    if not isinstance(content, list):
        return []
    return [content, *(one for part in content for one in lists(part))]


@pytest.mark.parametrize("model", MODELS)
def test_no_array_and_no_list_has_an_entry_a_row(name, model, tmp_path):
    assert datasets.entry(name).credentialed
    (fresh,) = fit([RunSpec(name, MODELS[model], "fold0", 0)], "cpu")
    result = Store(tmp_path / "results").put(fresh)
    arrays = result.arrays | (result.weights if model not in ("EBM",) else {})
    data = datasets.load(name)
    parts = {ROWS, *(round(ROWS * share) for share in (0.2, 0.16, 0.64)), 122, 123, 97, 98, 391}
    longest = max(len(data.features) ** 2, 100)  # weights of pairs, and points of a curve
    for key, array in arrays.items():
        assert not parts & set(array.shape), (key, array.shape)
        assert not key.startswith(("sample", "test_")), key
        assert max(array.shape, default=0) <= longest, (key, array.shape)
    content = json.loads(result.path(".json").read_text())
    assert max(map(len, lists(content))) <= max(100, len(data.features))


def test_no_extreme_value_of_a_row_is_stored(name, tmp_path):
    (result,) = fit([RunSpec(name, MODELS["MixNAM"], "fold0", 0)], "cpu")
    data = datasets.load(name)
    held = np.concatenate([a.ravel() for a in result.arrays.values()])
    for i in range(len(data.features)):
        if i not in data.categories and len(np.unique(data.x[:, i])) > 100:
            for extreme in (data.x[:, i].min(), data.x[:, i].max()):
                assert np.float32(extreme) not in held, data.features[i]
                assert extreme not in numbers(json.loads(json.dumps(result.to_json())))


def test_open_data_keep_their_rows():
    (result,) = fit([RunSpec("diabetes", MODELS["MixNAM"], "holdout", 0)], "cpu")
    assert len(result.arrays["test_prediction"]) == 89
    assert {"sample_x", "sample_rows", "sample_contributions"} <= result.arrays.keys()
    assert "cell_quantiles" not in result.arrays


def test_pictures_show_quantiles_instead_of_rows(name):
    results = list(fit([RunSpec(name, MODELS["MixNAM"], "fold0", 0)], "cpu"))
    data = datasets.load(name)
    features = [*list(data.categories)[:1], *(i for i in range(3) if i not in data.categories)][:3]
    figure = plots.shape_plots(results[0], features)
    labels = {text for ax in figure.axes for text in ax.get_legend_handles_labels()[1]}
    assert "5 % to 95 % of the rows" in labels
    assert "rows" not in labels
    plt.close(figure)
    content = interactive.payload({0.1: results[0], 1.0: results[0]}, data.features, "log-odds")
    assert all(feature["rows"] == [] for feature in content["features"])
    assert all(step["rows"] == [] for feature in content["features"] for step in feature["at"])


def test_measures_are_taken_again_without_rows(name, tmp_path):
    (fresh,) = fit([RunSpec(name, MODELS["MixNAM"], "fold0", 0)], "cpu")
    result = Store(tmp_path / "results").put(fresh)
    again = measure_again(result, "cpu")
    assert again.arrays.keys() == result.arrays.keys()
    assert again.measures == result.measures


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
