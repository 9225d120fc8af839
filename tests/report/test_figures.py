"""The figures that set results beside each other: planted curves come out as lines, gaps are said."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mixnam.data import catalogue, laws
from mixnam.data.table import DataMissing, Table
from mixnam.models import make_settings
from mixnam.paper.experiments import specs_of
from mixnam.plots import shapes
from mixnam.report import figures
from mixnam.runs.fitting import fit
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec

X = np.linspace(0, 1, 61)
WAVE = np.sin(4 * np.pi * X)


def planted(law, upper, lower=None, model="MixNAM", experts=None, features=2):
    """Return a Result whose first feature has these curves, raised by 3, which centring must take off."""
    lower = upper if lower is None else lower
    grid = np.full((features, 70), np.nan)
    grid[0, :61], grid[1:, :2] = X, [-1, 1]
    curves = np.full((3, features, 70), np.nan)
    curves[:, 0, :61] = np.stack([upper, lower, (upper + lower) / 2]) + 3
    curves[:, 1:, :2] = [-1, 1]
    rows = np.column_stack([X, *(np.where(np.arange(61) % 3 == i % 3, 1.0, -1.0) for i in range(1, features))])
    contributions = rows.copy()
    contributions[:, 0] = np.where(rows[:, 1] > 0, upper, lower) + 3
    arrays = {
        "grid": grid,
        "contribution_mean": np.array([3.0] + [0.0] * (features - 1)),
        "density": np.ones((features, 50), int),
        "density_range": np.array([[0.0, 1.0]] + [[-1.0, 1.0]] * (features - 1)),
        "sample_x": rows,
        "sample_contributions": contributions,
        "relevance": np.tile([0.25, 0.0, 0.75], (features, 1)),
        "active": np.tile([0.5, 0.0, 1.0], (features, 1)),
    } | dict(zip(("grid_upper", "grid_lower", "grid_mean"), curves, strict=True))
    if experts is not None:
        arrays["grid_experts"] = np.full((features, 70, len(experts)), np.nan)
        arrays["grid_experts"][0, :61] = np.column_stack(experts)
    spec = RunSpec(law, make_settings(model, {}), "holdout", 0)
    return Result(spec, {}, {}, {}, {}, {}, key="planted", fresh=(arrays, {}))


def without(result, *names):
    return dataclasses.replace(result, fresh=({k: v for k, v in result.arrays.items() if k not in names}, {}))


def lines(ax):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}


def texts(ax):
    return [t.get_text() for t in ax.texts]


def legend(figure):
    (found,) = figure.legends
    return [t.get_text() for t in found.get_texts()]


def dashed(ax):
    return [np.asarray(line.get_ydata()) for line in ax.lines if line.get_linestyle() == "--"]


@pytest.fixture
def modes():
    two = planted("sim_multimodal", abs(WAVE), -abs(WAVE), experts=(WAVE + 5, -WAVE))
    one = planted("sim_unimodal", WAVE, model="NAM")
    return {"sim_unimodal": {"NAM": one, "MixNAM": None}, "sim_multimodal": {"MixNAM": two}}


def test_shapes_of_models_stand_on_shared_axes_in_original_units():
    additive = without(planted("sim_unimodal", WAVE, model="EBM"), "grid_upper", "grid_lower", "relevance", "active")
    mlp = without(additive, *[k for k in additive.arrays if k != "relevance"])
    results = {"EBM": additive, "NAM": planted("sim_unimodal", WAVE, model="NAM"), "MLP": mlp, "MixNAM-D": None}
    results["MixNAM"] = planted("sim_unimodal", WAVE + 1, WAVE - 1)
    figure = figures.compare_shapes(results, 0)
    panels = dict(zip(results, figure.axes, strict=False))
    assert [ax.get_title() for ax in figure.axes if ax.get_visible()] == list(results)
    for model in ("EBM", "NAM"):
        assert list(lines(panels[model])) == ["shape function"]
        np.testing.assert_allclose(lines(panels[model])["shape function"], WAVE, atol=1e-6)
    np.testing.assert_allclose(lines(panels["MixNAM"])["upper bound"], WAVE + 1, atol=1e-6)
    np.testing.assert_allclose(lines(panels["MixNAM"])["lower bound"], WAVE - 1, atol=1e-6)
    assert texts(panels["MLP"]) == ["no shape functions"]
    assert texts(panels["MixNAM-D"]) == ["not run"]
    assert panels["EBM"].get_ylim() == panels["MixNAM"].get_ylim()
    assert set(legend(figure)) == {"rows", "shape function", "upper bound", "lower bound", "mean"}
    assert panels["MixNAM"].get_xlabel() == "x1"
    assert figure.get_supylabel() == "contribution to y"  # no unit, and no log-odds either
    assert not plt.get_fignums()  # closed: a notebook shows it once


def test_simulated_contributions_stand_beside_the_true_modes(modes):
    figure = figures.simulation_shapes(modes)
    (nam, missing), (absent, mixture) = np.reshape(figure.axes, (2, 2))
    assert texts(missing) == texts(absent) == ["not run"]
    assert nam.get_title() == "NAM"
    assert (nam.get_ylabel(), absent.get_ylabel()) == ("one mode", "two modes")
    np.testing.assert_allclose(lines(nam)["shape function"], WAVE, atol=1e-6)
    (truth,) = dashed(nam)
    np.testing.assert_allclose(truth, WAVE, atol=1e-6)
    plus, minus = dashed(mixture)
    np.testing.assert_allclose([plus, minus], [WAVE, -WAVE], atol=1e-6)
    np.testing.assert_allclose(lines(mixture)["upper bound"], abs(WAVE), atol=1e-6)
    rows = {c.get_label(): c for c in mixture.collections}
    assert set(rows) == {"rows, x2 = −1", "rows, x2 = +1"}
    np.testing.assert_allclose(rows["rows, x2 = +1"].get_offsets()[:, 1], abs(WAVE)[1::3], atol=1e-6)
    assert (rows["rows, x2 = +1"].get_facecolor() != rows["rows, x2 = −1"].get_facecolor()).any()
    assert len(legend(figure)) == len(set(legend(figure))) == 6


def test_experts_are_centred_each_by_its_own_mean_and_models_without_any_are_left_out(modes):
    figure = figures.simulation_experts(modes)
    assert [ax.get_title() for ax in figure.axes] == ["MixNAM", ""]
    assert texts(figure.axes[0]) == ["not run"]
    found = lines(figure.axes[1])
    np.testing.assert_allclose(found["expert 1"], WAVE - WAVE.mean(), atol=1e-6)
    np.testing.assert_allclose(found["expert 2"], WAVE.mean() - WAVE, atol=1e-6)
    assert len(dashed(figure.axes[1])) == 2


def test_many_experts_and_unstored_ones():
    many = planted("sim_sparse_5", WAVE + 1, WAVE - 1, experts=[WAVE * k for k in range(4)])
    bare = planted("sim_sparse_5", WAVE + 1, WAVE - 1)
    figure = figures.simulation_experts({"sim_sparse_5": {"C = 4": many}, "sim_sparse_1": {"C = 4": bare}})
    assert len({line.get_color() for line in figure.axes[0].lines if line.get_linestyle() == "-"}) == 4
    assert texts(figure.axes[1]) == ["experts not stored"]


@pytest.mark.parametrize("count", [3, 5])
def test_more_than_four_columns_run_down_the_page(count):
    results = {
        f"sim_sparse_{share}": {
            f"C = {2**k}": planted(f"sim_sparse_{share}", k * abs(WAVE), -k * abs(WAVE)) for k in range(1, count + 1)
        }
        for share in (25, 1)
    }
    figure = figures.sparsity_grid(results)
    shape = figure.axes[0].get_gridspec().get_geometry()
    assert shape == ((2, 3) if count == 3 else (5, 2))
    panels = np.reshape(figure.axes, shape)
    at = panels[0, 2] if count == 3 else panels[2, 0]
    np.testing.assert_allclose(lines(at)["upper bound"], 3 * abs(WAVE), atol=1e-6)
    titles, sides = [a.get_title() for a in panels[0]], [a.get_ylabel() for a in panels[:, 0]]
    assert {"25 % have x2 = +1", "1 % have x2 = +1"} == set(sides if count == 3 else titles)
    assert [a.get_xlabel() for a in panels[-1]] == ["x1"] * shape[1]
    assert figure.get_supylabel().startswith("contribution of x1")


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16])
def test_quantiles_are_those_of_the_law(count):
    low, high = laws.quantiles(f"sim_variability_{count}", np.array([0.125, 0.375, 0.5]))
    signs = np.random.default_rng(0).choice([-1, 1], (200_000, count)).sum(axis=1)
    expected = np.quantile(64 / count * signs, [0.01, 0.99], method="inverted_cdf")
    np.testing.assert_allclose(low, [expected[0], expected[0], 0], atol=1e-9)
    np.testing.assert_allclose(high, [expected[1], expected[1], 0], atol=1e-9)


def test_variability_is_drawn_with_its_quantiles():
    results = {"sim_noise": {"MixNAM": planted("sim_noise", WAVE, -WAVE)}}  # of another scale: left out
    for count in (1, 4):
        law = f"sim_variability_{count}"
        results[law] = {"NAM": None, "MixNAM": planted(law, WAVE, -WAVE, features=count + 1)}
    figure = figures.variability_grid(results)
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 2)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["1 modifier", "4 modifiers"]
    assert texts(figure.axes[0]) == ["not run"]
    low, high = dashed(figure.axes[3])
    assert high.max() == pytest.approx(16 * (2 * stats.binom.ppf(0.99, 4, 0.5) - 4), rel=1e-3)
    np.testing.assert_allclose(low, -high)
    assert "truth, 1 % and 99 %" in legend(figure)


def test_heat_maps_share_a_scale_and_say_what_was_not_run():
    paper = pd.DataFrame([[0.479, 0.459], [np.nan, 0.451]], index=[2, 4], columns=[2, 4])
    ours = pd.DataFrame([[0.467, np.nan], [np.nan, 0.9]], index=[2, 4], columns=[2, 4])
    figure = figures.scaling_heatmaps({"paper": paper, "ours": ours})
    left, right, bar = figure.axes
    assert texts(left) == ["0.479", "0.459", "", "0.451"]
    assert texts(right) == ["0.467", "not run", "", "0.900"]
    assert left.images[0].get_clim() == right.images[0].get_clim()
    assert left.images[0].get_clim()[0] == pytest.approx(0.451)
    assert left.images[0].get_clim()[1] < 0.6  # one far value does not flatten the others
    assert (left.get_xlabel(), left.get_ylabel(), right.get_title()) == ("experts C", "active experts K", "ours")
    assert "100,000 dollars" in bar.get_ylabel()
    for ax in (left, right):
        for text, value in zip(ax.texts, ax.images[0].get_array().ravel(), strict=True):
            if np.ma.is_masked(value) or not np.isfinite(value):
                continue
            shade = np.dot(ax.images[0].cmap(ax.images[0].norm(value))[:3], [0.299, 0.587, 0.114])
            assert (text.get_color() == "white") == (shade < 0.5)


def test_usage_orders_experts_and_marks_idle_ones():
    result = planted("sim_multimodal", WAVE, -WAVE)
    figure = figures.usage(result)
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.75, 0.25, 0.0]] * 2)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x1", "x2"]
    assert sorted(map(tuple, ax.collections[0].get_offsets().tolist())) == [(2, 0), (2, 1)]
    assert legend(figure) == ["active in no row"]
    assert texts(figures.usage(without(result, "relevance", "active")).axes[0]) == ["no routing"]


def test_differences_are_told_apart_by_their_intervals():
    table = pd.DataFrame(
        [
            ("a", -0.01, -0.02, -0.001),
            ("b", 0.0, -0.1, 0.1),
            ("c", 0.02, 0.01, 0.03),
            ("d", np.nan, np.nan, np.nan),
            ("one run", 0.02, np.nan, np.nan),
        ],
        columns=["label", "mean", "low", "high"],
    )
    figure = figures.difference_plot(table, "difference of test RMSE (100,000 dollars)")
    ax = figure.axes[0]
    assert legend(figure) == ["lower: better", "not told apart", "higher: worse"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c", "d", "one run"]
    assert texts(ax) == ["not run"]
    points = [(*map(float, line.get_xydata()[0]), line.get_color()) for line in ax.lines if line.get_marker() == "o"]
    colors = [shapes.COLORS[3], shapes.COLORS[2], shapes.LOWER, shapes.COLORS[2]]
    assert points == [(v, i, c) for v, i, c in zip((-0.01, 0.0, 0.02, 0.02), (0, 1, 2, 4), colors, strict=True)]
    assert "100,000 dollars" in ax.get_xlabel()
    assert ax.yaxis_inverted()


@pytest.fixture
def categorical(monkeypatch):
    """Return a Result whose second feature has 20 categories, code 7 the most frequent."""
    names = tuple(f"category {'long ' * (i == 7)}{i}" for i in range(20))
    codes = np.concatenate([np.arange(20), np.full(30, 7), np.full(9, 3)]).astype(float)
    x = np.column_stack([np.linspace(0, 1, len(codes)), codes])
    y = (np.arange(len(codes)) % 2).astype(float)
    data = Table("d", "D", "classification", "auc", x, y, ("size", "kind"), "yes", categories={1: names})
    monkeypatch.setattr(catalogue, "load", lambda name, where=None, download=True: data)
    result = planted("sim_multimodal", WAVE + 1, WAVE - 1)
    arrays = dict(result.arrays)
    for name, curve in (("grid", 0), ("grid_upper", 2), ("grid_lower", -2), ("grid_mean", 0)):
        arrays[name] = arrays[name].copy()
        arrays[name][1] = np.nan
        arrays[name][1, :20] = np.arange(20) + curve
    arrays["sample_x"] = x
    arrays["sample_contributions"] = x.copy()
    return dataclasses.replace(result, fresh=(arrays, {}))


def test_categories_are_named_strokes_the_most_frequent_first(categorical):
    figure = shapes.shape_plots(categorical, [1, 0])
    ax, numeric = figure.axes
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert labels == ["category long…", "category 3", *(f"category {i}" for i in range(16) if i not in (3, 7))]
    assert ax.get_xlabel() == "kind\n(16 most frequent of 20)"
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
    assert ax.get_ylabel() == "contribution to yes\n(log-odds)"


def test_categories_of_an_additive_model_and_in_a_comparison(categorical):
    additive = without(categorical, "grid_upper", "grid_lower")
    figure = figures.compare_shapes({"EBM": additive, "MixNAM": categorical, "NAM": None}, 1)
    assert "shape function" in {c.get_label() for c in figure.axes[0].collections}
    assert len(figure.axes[1].get_xticklabels()) == 16
    assert texts(figure.axes[2]) == ["not run"]


def test_without_the_data_set_a_shape_is_still_drawn(monkeypatch):
    def missing(name, where=None, download=True):
        raise DataMissing("not here")

    monkeypatch.setattr(catalogue, "load", missing)
    ax = shapes.shape_plots(planted("sim_unimodal", WAVE + 1, WAVE - 1), [0, 1]).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 0", "contribution")


def test_figures_draw_what_a_fit_gives():
    def trained(dataset, model):
        return next(fit(specs_of(dataset, model, "smoke", seeds=1)[:1], "cpu"))

    models = {m: trained("diabetes", m) for m in ("Linear", "NAM", "MixNAM", "MLP")}
    assert len(figures.compare_shapes(models, 2).axes) == 6
    for result in models.values():
        figures.usage(result)
    mixture = trained("sim_multimodal", "MixNAM")
    assert len(figures.simulation_shapes({"sim_multimodal": {"MixNAM": mixture}}).axes) == 1
    ax = figures.simulation_experts({"sim_multimodal": {"MixNAM": mixture}}).axes[0]
    assert len(ax.lines) == mixture.arrays["grid_experts"].shape[-1] + 2
    law = "sim_variability_1"
    figures.variability_grid({law: {"MixNAM": trained(law, "MixNAM")}})


@pytest.mark.parametrize("draw", [figures.simulation_shapes, figures.simulation_experts, figures.variability_grid])
def test_nothing_run_is_said_in_every_panel(draw):
    figure = draw({f"sim_variability_{count}": {"NAM": None, "MixNAM": None} for count in (1, 2, 4, 8, 16)})
    assert [texts(ax) for ax in figure.axes] == [["not run"]] * 10
    assert not figure.legends


def test_the_unit_of_contributions_is_the_targets_or_log_odds():
    assert shapes.feature_names("diabetes")[1] == "points"
    assert shapes.feature_names("breast_cancer")[1] == "log-odds"
    assert shapes.feature_names("sim_unimodal") == (("x1", "x2"), "")  # a regression without a unit has no log-odds


def surfaced(dataset, first, second, pairs=((1, 2),)):
    """Return a Result with the surface 10 a + b over each pair, a of the first value's number, b of the second's."""
    values = np.full((len(pairs), 2, 5), np.nan)
    values[:, 0, : len(first)], values[:, 1, : len(second)] = first, second
    effect = np.full((len(pairs), 5, 5), np.nan)
    effect[:, : len(first), : len(second)] = 10.0 * np.arange(len(first))[:, None] + np.arange(len(second))
    effect += 100 * np.arange(len(pairs))[:, None, None]
    rows = np.zeros(effect.shape)
    rows[:, : len(first), : len(second)] = 1
    rows[:, 0, 0] = 0
    arrays = {"pairs": np.array(pairs), "pair_values": values, "pair_effect": effect, "pair_interaction": -effect}
    spec = RunSpec(dataset, make_settings("NA2M", {}), "holdout" if dataset == "diabetes" else "fold0", 0)
    return Result(spec, {}, {}, {}, {}, {}, key="planted", fresh=(arrays | {"pair_rows": rows}, {}))


def drawn(ax):
    """Return a picture's numbers as rows from below."""
    (mesh,) = ax.collections
    return np.ma.filled(mesh.get_array().reshape(mesh._coordinates.shape[0] - 1, -1), np.nan)


def test_a_surface_shows_cells_with_rows_and_the_interaction_beside_them():
    figure = figures.pair_surfaces(surfaced("diabetes", [1.0, 2.0, 3.0], [5.0, 6.0]))
    both, alone, *_ = figure.axes
    np.testing.assert_allclose(drawn(both), [[np.nan, 10, 20], [1, 11, 21]])
    np.testing.assert_allclose(drawn(alone), -drawn(both))
    names = catalogue.load("diabetes").features
    assert (both.get_xlabel(), both.get_ylabel()) == (names[1], names[2])
    plt.close(figure)


def test_a_surface_turns_to_the_pair_that_was_asked_for():
    result = surfaced("diabetes", [1.0, 2.0, 3.0], [5.0, 6.0], ((0, 1), (1, 2)))
    figure = figures.pair_surfaces(result, (2, 1))
    np.testing.assert_allclose(drawn(figure.axes[0]), [[np.nan, 101], [110, 111], [120, 121]])
    names = catalogue.load("diabetes").features
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (names[2], names[1])
    plt.close(figure)
    figure = figures.pair_surfaces(result, (4, 5))  # none of these: the pair that interacts most
    assert figure.axes[0].get_xlabel() == names[0]
    plt.close(figure)


def test_a_surface_names_categories(monkeypatch):
    x = np.tile([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0]], (3, 1))
    data = Table(
        "diabetes", "t", "regression", "rmse", x, x[:, 0] + np.arange(6), ("a", "kind", "c"), "y",
        categories={1: ("red", "an exceedingly long name of a category")},
    )  # fmt: skip
    monkeypatch.setattr(shapes.catalogue, "load", lambda name, **options: data)
    figure = figures.pair_surfaces(surfaced("diabetes", [0.0, 1.0], [1.0, 2.0, 3.0]))
    labels = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert labels == ["red", "an exceedingly…"]
    plt.close(figure)
