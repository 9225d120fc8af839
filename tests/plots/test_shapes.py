"""Shape plots: planted curves come out as lines and strokes, in original units, and what is lacking is said."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
from curves import WAVE, legend, lines, planted, texts, without

from mixnam.data import catalogue
from mixnam.data.table import Table
from mixnam.explain import cells
from mixnam.models import NAMSettings
from mixnam.paper.experiments import specs_of
from mixnam.plots import look, shapes
from mixnam.report import pictures
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec

UPPER, LOWER = "experts' bounds: upper", "experts' bounds: lower"


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
    np.testing.assert_allclose(lines(panels["MixNAM"])[UPPER], WAVE + 1, atol=1e-6)
    np.testing.assert_allclose(lines(panels["MixNAM"])[LOWER], WAVE - 1, atol=1e-6)
    assert texts(panels["MLP"]) == ["no shape functions"]
    assert texts(panels["MixNAM-D"]) == ["not run"]
    assert panels["EBM"].get_ylim() == panels["MixNAM"].get_ylim()
    assert shapes.scales(figure) == "All panels share one scale."
    additive = {"shape function of EBM", "shape function of NAM"}
    assert set(legend(figure)) == additive | {"rows", UPPER, LOWER, "mean"}
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
    assert set(lines(bounds)) == {UPPER, LOWER, "mean"}


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


def on(values, rows=None, **more):
    """Return a Result whose second feature has these values, its bounds one about their numbers, and rows there."""
    result = planted("sim_unimodal", WAVE + 1, WAVE - 1)
    arrays = {name: array.copy() for name, array in result.arrays.items()}
    arrays["grid"] = np.full((2, 120), np.nan)
    arrays["grid"][1, : len(values)] = values
    for name, off in (("grid_upper", 1), ("grid_lower", -1), ("grid_mean", 0)):
        arrays[name] = np.full((2, 120), np.nan)
        arrays[name][1, : len(values)] = np.arange(len(values)) + off
    arrays["density_range"][1] = cells.histogram_range(np.asarray(values if rows is None else rows)[:, None]).ravel()
    if rows is not None:
        arrays["sample_x"] = np.column_stack([np.zeros(len(rows)), rows])
        arrays["sample_contributions"] = np.zeros((len(rows), 2))
    return dataclasses.replace(result, fresh=(arrays | more, {}))


def drawn_on(result):
    """Return the panel of the second feature, its upper strokes' ends on paper, and its labels."""
    figure = shapes.shape_plots(result, [1])
    ax = figure.axes[0]
    figure.draw_without_rendering()
    found = {c.get_label(): c for c in ax.collections}
    ends = [s[:, 0] for s in found[UPPER].get_segments()] if UPPER in found else []
    place = ax.xaxis.get_transform()
    low, high = place.transform(np.array(ax.get_xlim()))
    ends = place.transform(np.ravel(ends)).reshape(-1, 2)
    return ax, (ends - low) / (high - low), [t.get_text() for t in ax.get_xticklabels()]


def test_unevenly_spaced_values_keep_their_places():
    ax, ends, labels = drawn_on(on([0, 1, 2, 10, 50]))
    assert (ends[1:, 0] > ends[:-1, 1]).all()  # none over another
    strokes = {c.get_label(): c for c in ax.collections}[UPPER].get_segments()
    np.testing.assert_allclose([s[:, 0].mean() for s in strokes], [0, 1, 2, 10, 50])
    assert [s[0, 1] for s in strokes] == [1, 2, 3, 4, 5] and ax.get_xscale() == "linear"
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 1, 1e6], ["0", "1", "1,000,000"]),
        ([2020.1, 2020.2, 2050], ["2020.1", "2020.2", "2050"]),
        ([-1e9, 0, 1e-6], ["−1,000,000,000", "0", "1e−06"]),
    ],
)
def test_values_that_would_lie_on_each_other_stand_side_by_side_at_their_own_labels(values, labels):
    ax, ends, shown = drawn_on(on(values))
    assert shown == labels and ax.get_xlabel().endswith("(not to scale)")
    np.testing.assert_allclose(np.diff(ends.mean(axis=1)), 1 / 3)
    assert (np.diff(ends, axis=1) > 0.2).all()
    table = pictures.drawn(ax.figure)  # the CSV has the values
    np.testing.assert_allclose(table.loc[table["series"] == "mean", "x"].astype(float), values, atol=1e-7)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([7], ["7"]),
        ([0, 1], ["0", "1"]),
        ([-2, -1, 0], ["−2", "−1", "0"]),
        ([2020.001, 2020.002, 2020.003], ["2020.001", "2020.002", "2020.003"]),
        ([1e-6, 2e-6, 3e-6], ["1e−06", "2e−06", "3e−06"]),
        ([20240101, 20240102], ["20,240,101", "20,240,102"]),
    ],
)
def test_labels_of_few_values_are_whole_and_differ(values, labels):
    ax, ends, shown = drawn_on(on(values))
    assert shown == labels and not ax.xaxis.get_offset_text().get_text()
    assert len(ends) == len(values) and (np.diff(ends, axis=1) > 0.05).all()


def test_a_rare_value_is_drawn_with_its_rows():
    ax, ends, labels = drawn_on(on([0, 1], np.r_[np.zeros(999), 1]))
    assert labels == ["0", "1"] and len(ends) == 2
    rows = np.asarray({c.get_label(): c for c in ax.collections}["rows"].get_offsets())
    assert len(rows) == 1000 and (rows[:, 0] > 0.5).sum() == 1


SKEWED = np.exp(3 * np.random.default_rng(0).normal(size=2000))


@pytest.mark.parametrize(
    "rows", [SKEWED, -SKEWED, np.where(np.arange(2000) % 30 == 0, 2e6, 1e6 + SKEWED), np.repeat([*range(40), 1e6], 50)]
)
def test_a_line_whose_values_crowd_in_a_corner_is_spaced_evenly(rows):
    grid = cells.curve_grid(rows)
    ax, _, labels = drawn_on(on(grid[~np.isnan(grid)], rows))
    at = ax.xaxis.get_transform().transform(np.quantile(rows, [0.1, 0.5, 0.9]))
    assert (np.diff(at) > 0.1 * np.ptp(ax.xaxis.get_transform().transform(np.array(ax.get_xlim())))).all()
    assert ax.get_xlabel().endswith("(not to scale)") and len(set(labels)) == len(labels) >= 4


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_labels_of_a_line_are_whole_and_differ_at_any_scale(scale):
    for offset in (0.0, 1000.0):
        rows = scale * (offset + np.random.default_rng(0).normal(size=500))
        grid = cells.curve_grid(rows)
        ax, _, labels = drawn_on(on(grid[~np.isnan(grid)], rows))
        inside = [
            t.get_text() for t in ax.get_xticklabels() if ax.get_xlim()[0] <= t.get_position()[0] <= ax.get_xlim()[1]
        ]
        assert len(inside) >= 2 and len(set(labels)) == len(labels) and not ax.xaxis.get_offset_text().get_text()
        assert ax.get_xscale() == "linear" and "density (central 99 %)" in legend(ax.figure)


def test_missing_values_stand_beside_the_axis_of_numbers():
    rows = np.r_[np.linspace(-1, 1, 50), np.full(11, np.nan)]
    gaps = {"missing_mean": [np.nan, 5.0], "missing_lower": [np.nan, 4.0], "missing_upper": [np.nan, 6.0]}
    gaps = {name: np.array(values, np.float32) for name, values in gaps.items()} | {"missing_rows": np.array([0, 11])}
    result = on([-1, 0, 1], np.nan_to_num(rows), **gaps, contribution_mean=np.array([3.0, 2.0]))
    result.arrays["sample_x"][:, 1] = rows
    assert not shapes.shape_plots(on([-1, 0, 1]), [1]).axes[0].child_axes
    figure = shapes.shape_plots(result, [1])
    (side,) = figure.axes[0].child_axes
    assert [t.get_text() for t in side.get_xticklabels()] == ["missing"]
    assert side.get_ylim() == figure.axes[0].get_ylim() and side.get_ylim()[1] >= 4
    found = {c.get_label(): c for c in side.collections}
    strokes = {name: found[name].get_segments()[0][0, 1] for name in (UPPER, LOWER, "mean")}
    assert strokes == {UPPER: 4, LOWER: 2, "mean": 3}
    assert len(found["rows"].get_offsets()) == 11
    table = pictures.drawn(figure)
    assert set(table.loc[table["x"] == "missing", "series"]) == {
        UPPER,
        LOWER,
        "mean",
        "rows",
    }
    assert "mean from −2 at −1 to 3 at missing" in pictures.told(figure)
    line = shapes.shape_plots(without(result, "missing_upper", "missing_lower"), [1], 1).axes[0].child_axes[0]
    assert "shape function of MixNAM" in {c.get_label() for c in line.collections}


BAND = "members' band (± 1 sd)"


def test_the_members_band_stands_apart_from_the_experts_bounds():
    spread = {"grid_spread": np.full((2, 120), 0.25), "missing_spread": np.array([np.nan, 0.5])}
    gaps = {f"missing_{kind}": np.array([np.nan, 5.0]) for kind in ("mean", "lower", "upper")}
    result = planted("sim_unimodal", WAVE + 1, WAVE - 1)
    arrays = result.arrays | spread | gaps | {"missing_rows": np.array([0, 11])}
    result = dataclasses.replace(result, fresh=(arrays, {}))
    figure = shapes.shape_plots(result, [0, 1])
    line, strokes = figure.axes
    band = [found for found in line.lines if found.get_label() == BAND]
    np.testing.assert_allclose([found.get_ydata() for found in band], [WAVE - 0.25, WAVE + 0.25], atol=1e-6)
    (side,) = strokes.child_axes
    for ax, ends in ((strokes, [[-1.25, -0.75], [0.75, 1.25]]), (side, [[4.5, 5.5]])):
        (bars,) = (c for c in ax.collections if c.get_label() == BAND)
        assert [s[:, 1].tolist() for s in bars.get_segments()] == ends
    assert {UPPER, LOWER, BAND} <= set(legend(figure))
    colors = {found.get_color() for found in line.lines if found.get_label() in (UPPER, LOWER, "mean")}
    assert len(colors) == 3 and band[0].get_color() not in colors
    alone = shapes.shape_plots(without(result, "grid_upper", "grid_lower"), [0])
    assert set(legend(alone)) == {"shape function of MixNAM", "rows", BAND}
    single = dataclasses.replace(result, fresh=(arrays | {"grid_spread": np.full((2, 120), np.nan)}, {}))
    assert BAND not in legend(shapes.shape_plots(single, [0]))


def test_days_written_as_numbers_are_stored_whole_and_far_apart_values_with_their_rows():
    days = 20240101.0 + np.arange(300) % 31
    table = Table(
        "days", "D", "regression", "rmse", np.column_stack([days, days % 3 * 1e5 ** (days % 3)]), days, ("a", "b"), "y"
    )
    catalogue.register(table)
    (result,) = fit([RunSpec("days", NAMSettings(hidden=(4,), epochs=1, batch_size=64), "holdout", 0)], "cpu")
    assert result.arrays["grid"][0, :31].tolist() == np.unique(days).tolist()
    shapes.shape_plots(result, [0, 1])
    counts = [int((table.x[:, 1] == value).sum()) for value in np.unique(table.x[:, 1])]
    assert result.arrays["rows_at"][1, :3].tolist() == counts


def test_the_most_frequent_of_many_categories_are_drawn():
    counts = np.ones(250, int)
    counts[[1, 2, 3, 200]] = 50, 56, 41, 60
    codes = np.repeat(np.arange(250), counts).astype(float)
    x = np.column_stack([np.linspace(0, 1, len(codes)), codes])
    table = Table(
        "many",
        "M",
        "regression",
        "rmse",
        x,
        x[:, 0],
        ("a", "k"),
        "y",
        categories={1: tuple(f"$k{i}$" for i in range(250))},
    )
    catalogue.register(table)
    (result,) = fit([RunSpec("many", NAMSettings(hidden=(4,), epochs=1, batch_size=64), "holdout", 0)], "cpu")
    ax = shapes.shape_plots(result, [1]).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()][:4] == ["$k200$", "$k2$", "$k1$", "$k3$"]
    assert ax.get_xlabel() == "k (16 most frequent of 250)"


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
    strokes = [s[:, 1].tolist() for s in found[UPPER].get_segments()]
    assert strokes[:3] == [[9.0, 9.0], [5.0, 5.0], [2.0, 2.0]]  # codes 7, 3, 0, raised by 2
    rows = np.asarray(found["rows"].get_offsets())
    order = np.array([7, 3, 0, 1, 2, 4, 5, 6, *range(8, 16)])
    np.testing.assert_array_equal(order[np.round(rows[:, 0]).astype(int)], np.round(rows[:, 1]))
    assert len(np.unique(rows[:, 0])) == len(rows)  # spread
    again = {c.get_label(): c for c in shapes.shape_plots(categorical, [1, 0]).axes[0].collections}
    np.testing.assert_array_equal(rows, again["rows"].get_offsets())
    assert set(lines(numeric)) == {UPPER, LOWER, "mean"}
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
    assert set(found) == {UPPER, LOWER, "mean"}
    assert ax.get_xlabel() == catalogue.load("diabetes").features[2]
    assert (found[UPPER] >= found[LOWER]).all()
    assert sorted(shapes.most_important(result, 10)) == list(range(10))
    sweep = shapes.sweep_shapes({0.0: result, 0.1: result}, 2)
    assert [ax.get_title() for ax in sweep.axes] == ["λ = 0", "λ = 0.1"]
    assert sweep.axes[0].get_ylim() == sweep.axes[1].get_ylim()
