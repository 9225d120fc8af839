"""Shape plots: planted curves come out as lines and strokes, in original units, and what is lacking is said."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
from curves import WAVE, legend, lines, planted, texts, without

from mixnam.data import catalogue
from mixnam.data.table import Table
from mixnam.paper.experiments import specs_of
from mixnam.plots import look, shapes
from mixnam.runs.fitting import fit


def test_shapes_of_models_stand_on_shared_axes_in_original_units():
    additive = without(planted("sim_unimodal", WAVE, model="EBM"), "grid_upper", "grid_lower", "relevance", "active")
    mlp = without(additive, *[k for k in additive.arrays if k != "relevance"])
    results = {"EBM": additive, "NAM": planted("sim_unimodal", WAVE, model="NAM"), "MLP": mlp, "MixNAM-D": None}
    results["MixNAM"] = planted("sim_unimodal", WAVE + 1, WAVE - 1)
    figure = shapes.compare_shapes(results, 0)
    panels = dict(zip(results, figure.axes, strict=False))
    assert [ax.get_title() for ax in figure.axes if ax.get_visible()] == list(results)
    for model in ("EBM", "NAM"):
        assert list(lines(panels[model])) == [f"shape function of {model}"]
        np.testing.assert_allclose(lines(panels[model])[f"shape function of {model}"], WAVE, atol=1e-6)
        assert panels[model].lines[0].get_color() == look.MODEL_COLORS[model]
    np.testing.assert_allclose(lines(panels["MixNAM"])["upper bound"], WAVE + 1, atol=1e-6)
    np.testing.assert_allclose(lines(panels["MixNAM"])["lower bound"], WAVE - 1, atol=1e-6)
    assert texts(panels["MLP"]) == ["no shape functions"]
    assert texts(panels["MixNAM-D"]) == ["not run"]
    assert panels["EBM"].get_ylim() == panels["MixNAM"].get_ylim()
    assert shapes.scales(figure) == "All panels share one scale."
    additive = {"shape function of EBM", "shape function of NAM"}
    assert set(legend(figure)) == additive | {"rows", "upper bound", "lower bound", "mean"}
    assert panels["MixNAM"].get_xlabel() == "x1"
    assert figure.get_supylabel() == "contribution to y"  # no unit, and no log-odds either
    assert not plt.get_fignums()  # closed: a notebook shows it once


def test_a_flat_curve_beside_wide_bounds_has_its_own_scale():
    flat = without(planted("sim_unimodal", WAVE / 10, model="NAM"), "grid_upper", "grid_lower")
    figure = shapes.compare_shapes({"NAM": flat, "MixNAM": planted("sim_unimodal", WAVE + 1, WAVE - 1)}, 0)
    nam, mixture = figure.axes
    assert np.ptp(nam.get_ylim()) < 0.3 < 2 < np.ptp(mixture.get_ylim())
    assert nam.get_xlim() == mixture.get_xlim()
    assert shapes.scales(figure) == "Each panel has its own scale of contributions."


def test_a_mixture_may_stand_as_one_line_beside_its_bounds():
    result = planted("sim_unimodal", WAVE + 1, WAVE - 1, model="MixNAM-D")
    panels = {"EBM": None, "NAM": None, "MixNAM-D": result, "MixNAM-D with bounds": result}
    figure = shapes.compare_shapes(panels, 0, plain=["MixNAM-D"])
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 2)  # Figure 8's four
    *_, line, bounds = figure.axes
    assert list(lines(line)) == ["shape function of MixNAM-D"]
    np.testing.assert_allclose(lines(line)["shape function of MixNAM-D"], WAVE, atol=1e-6)
    assert set(lines(bounds)) == {"upper bound", "lower bound", "mean"}


def test_two_values_are_two_strokes_at_their_places_not_a_line():
    ax = shapes.shape_plots(planted("sim_unimodal", WAVE + 1, WAVE - 1), [1]).axes[0]
    assert not ax.lines
    found = {c.get_label(): c for c in ax.collections}
    strokes = found["shape function of MixNAM"].get_segments()
    assert [s[:, 1].tolist() for s in strokes] == [[-1, -1], [1, 1]]
    assert [s[:, 0].mean() for s in strokes] == [-1, 1]
    rows = np.asarray(found["rows"].get_offsets())
    assert len(rows) == 61 and (np.abs(np.abs(rows[:, 0]) - 1) < 0.8).all()
    np.testing.assert_array_equal(np.sign(rows[:, 0]), rows[:, 1])  # each above or below its own value
    assert ax.get_xticks().tolist() == [-1, 1]


def test_unevenly_spaced_values_keep_their_places_and_those_beyond_the_range_are_left_out():
    result = planted("sim_unimodal", WAVE + 1, WAVE - 1)
    result.arrays["grid"][1, :5] = [0, 1, 2, 10, 90]
    for name, off in (("grid_upper", 1), ("grid_lower", -1), ("grid_mean", 0)):
        result.arrays[name][1, :5] = np.arange(5) + off
    result.arrays["density_range"][1] = 0, 10
    ax = shapes.shape_plots(result, [1]).axes[0]
    strokes = {c.get_label(): c for c in ax.collections}["upper bound"].get_segments()
    np.testing.assert_allclose([s[:, 0].mean() for s in strokes], [0, 1, 2, 10])
    ends = np.array([s[:, 0] for s in strokes])
    assert (ends[1:, 0] > ends[:-1, 1]).all()  # none over another
    assert [s[0, 1] for s in strokes] == [1, 2, 3, 4]


def test_pages_begin_with_longitude_where_there_is_one_else_with_the_most_important():
    result = planted("sim_unimodal", WAVE)
    result = dataclasses.replace(result, measures={"importance": {"per_feature": [0.1, 0.3]}})
    assert shapes.featured(result) == 1
    data = Table("h", "H", "regression", "rmse", np.eye(2), np.arange(2.0), ("Longitude", "b"), "y")
    placed = dataclasses.replace(result, table=data, provenance={"data_sha256": data.checksum})
    assert shapes.featured(placed) == 0


@pytest.fixture
def categorical():
    """Return a Result whose second feature has 20 categories, code 7 the most frequent."""
    names = tuple(f"category {'long long ' * (i == 7)}{i}" for i in range(20))
    codes = np.concatenate([np.arange(20), np.full(30, 7), np.full(9, 3)]).astype(float)
    x = np.column_stack([np.linspace(0, 1, len(codes)), codes])
    y = (np.arange(len(codes)) % 2).astype(float)
    data = Table("d", "D", "classification", "auc", x, y, ("size", "kind"), "yes", categories={1: names})
    result = planted("sim_multimodal", WAVE + 1, WAVE - 1)
    arrays = {name: array.copy() for name, array in result.arrays.items()}
    for name, curve in (("grid", 0), ("grid_upper", 2), ("grid_lower", -2), ("grid_mean", 0)):
        arrays[name][1] = np.nan
        arrays[name][1, :20] = np.arange(20) + curve
    arrays["density"][1] = np.histogram(codes, 50, (0, 19))[0]
    arrays["density_range"][1] = 0, 19
    arrays |= {"sample_x": x, "sample_contributions": x.copy()}
    origin = {"data_sha256": data.checksum}
    return dataclasses.replace(result, fresh=(arrays, {}), table=data, provenance=origin)


def test_categories_are_named_strokes_the_most_frequent_first(categorical):
    figure = shapes.shape_plots(categorical, [1, 0])
    ax, numeric = figure.axes
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert labels == ["category long lon…", "category 3", *(f"category {i}" for i in range(16) if i not in (3, 7))]
    assert ax.get_xlabel() == "kind (16 most frequent of 20)"
    assert {t.get_rotation() for t in ax.get_xticklabels()} == {90}
    found = {c.get_label(): c for c in ax.collections}
    assert not ax.lines
    strokes = [s[:, 1].tolist() for s in found["upper bound"].get_segments()]
    assert strokes[:3] == [[9.0, 9.0], [5.0, 5.0], [2.0, 2.0]]  # codes 7, 3, 0, raised by 2
    rows = np.asarray(found["rows"].get_offsets())
    order = np.array([7, 3, 0, 1, 2, 4, 5, 6, *range(8, 16)])
    np.testing.assert_array_equal(order[np.round(rows[:, 0]).astype(int)], np.round(rows[:, 1]))
    assert len(np.unique(rows[:, 0])) == len(rows)  # spread
    again = {c.get_label(): c for c in shapes.shape_plots(categorical, [1, 0]).axes[0].collections}
    np.testing.assert_array_equal(rows, again["rows"].get_offsets())
    assert set(lines(numeric)) == {"upper bound", "lower bound", "mean"}
    assert figure.get_supylabel() == "contribution to yes\n(log-odds)"


def test_categories_of_an_additive_model_and_in_a_comparison(categorical):
    additive = without(categorical, "grid_upper", "grid_lower")
    figure = shapes.compare_shapes({"EBM": additive, "MixNAM": categorical, "NAM": None}, 1)
    assert "shape function of MixNAM" in {c.get_label() for c in figure.axes[0].collections}
    assert len(figure.axes[1].get_xticklabels()) == 16
    assert texts(figure.axes[2]) == ["not run"]


def test_without_its_data_a_shape_is_still_drawn():
    result = planted("sim_unimodal", WAVE + 1, WAVE - 1)
    result = dataclasses.replace(result, provenance={"data_sha256": "of data that nobody has"})
    figure = shapes.shape_plots(result, [0, 1])
    assert (figure.axes[0].get_xlabel(), figure.get_supylabel()) == ("feature 0", "contribution")


def test_the_unit_of_contributions_is_the_targets_or_log_odds():
    def unit(dataset):
        return look.unit(catalogue.load(dataset).about)

    assert [unit(name) for name in ("diabetes", "breast_cancer")] == ["points", "log-odds"]
    assert unit("sim_unimodal") == ""  # a regression without a unit has no log-odds


def test_a_fitted_model_is_drawn_with_bounds_rows_and_labels():
    (result,) = fit(specs_of("diabetes", "MixNAM", "smoke", seeds=1)[:1], "cpu")
    ax = shapes.shape_plots(result, [2, 0]).axes[0]
    found = lines(ax)
    assert set(found) == {"upper bound", "lower bound", "mean"}
    assert ax.get_xlabel() == catalogue.load("diabetes").features[2]
    assert (found["upper bound"] >= found["lower bound"]).all()
    assert sorted(shapes.most_important(result, 10)) == list(range(10))
    sweep = shapes.sweep_shapes({0.0: result, 0.1: result}, 2)
    assert [ax.get_title() for ax in sweep.axes] == ["λ = 0", "λ = 0.1"]
    assert sweep.axes[0].get_ylim() == sweep.axes[1].get_ylim()
