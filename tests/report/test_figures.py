"""The figures that set results beside each other: planted curves come out as lines, gaps are said."""

import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from curves import WAVE, dashed, legend, lines, planted, texts
from scipy import stats

from mixnam.data import laws
from mixnam.paper.experiments import specs_of
from mixnam.plots import look, routing, shapes
from mixnam.report import figures, pictures
from mixnam.runs.files import root
from mixnam.runs.fitting import fit


@pytest.fixture
def modes():
    two = planted("sim_multimodal", abs(WAVE), -abs(WAVE), experts=(WAVE + 5, -WAVE))
    one = planted("sim_unimodal", WAVE, model="NAM")
    return {"sim_unimodal": {"NAM": one, "MixNAM": None}, "sim_multimodal": {"MixNAM": two}}


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
    np.testing.assert_allclose(lines(mixture)["experts' bounds: upper"], abs(WAVE), atol=1e-6)
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
    one, two = (li for li in figure.axes[1].lines if li.get_label().startswith("expert"))
    assert not {one.get_color(), two.get_color()} & {look.UPPER, look.LOWER}  # those are bounds
    assert (one.get_linestyle(), two.get_linestyle()) == ("-", "-.")


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
    figure = figures.simulation_shapes(results)
    shape = figure.axes[0].get_gridspec().get_geometry()
    assert shape == ((2, 3) if count == 3 else (5, 2))
    panels = np.reshape(figure.axes, shape)
    at = panels[0, 2] if count == 3 else panels[2, 0]
    np.testing.assert_allclose(lines(at)["experts' bounds: upper"], 3 * abs(WAVE), atol=1e-6)
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
    cells = {"paper": paper, "ours": ours, "nothing": ours * np.nan}
    figure = figures.scaling_heatmaps(cells)
    left, right, bar = figure.axes
    assert texts(left) == ["0.479", "0.459", "", "0.451"]
    assert texts(right) == ["0.467", "–", "", "0.900"]
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
    told = figures.scaling_told(cells)
    assert "paper: 3 cells, 0.451 (C = 4, K = 4) to 0.479 (C = 2, K = 2)" in told
    assert told.endswith("nothing: nothing run.")


def test_words_name_each_panel_and_the_range_of_what_it_draws(modes):
    told = pictures.told(figures.simulation_shapes(modes), "What x1 contributes")
    assert told.startswith("What x1 contributes. one mode, NAM: ") and "shape function" in told
    assert "one mode, MixNAM: not run." in told
    assert "two modes, MixNAM" in told and "experts' bounds: upper from" in told and "0.9945" in told


def test_words_on_the_use_of_experts_name_each_feature(modes):
    told = figures.usage_told(modes["sim_multimodal"]["MixNAM"])
    assert told.endswith("x1 0.75 to 0.00, x2 0.75 to 0.00.")


def test_training_curves_keep_the_epoch_with_the_least_error():
    def run(label, source, scores):
        history = {"validation_scores": [[e, s] for e, s in enumerate(scores, 1)]} if scores else {}
        return {"row": label, "source": source, "result": SimpleNamespace(history=history)}

    runs = [run("NAM", "ours", [0.9, 0.5, 0.7]), run("NAM", "paper", [0.8, 0.6]), run("EBM", "ours", [])]
    runs.append(run("MixNAM", "ours", [0.9, 0.4]))
    figure = figures.training_curves(pd.DataFrame(runs), {"ours": "#00568f", "paper": "#c15b00"})
    assert [ax.get_title() for ax in figure.axes] == ["NAM", "MixNAM"]
    first, kept, *_ = figure.axes[0].lines
    np.testing.assert_allclose(first.get_xydata(), [[1, 0.9], [2, 0.5], [3, 0.7]])
    np.testing.assert_allclose(kept.get_xydata(), [[2, 0.5]])
    assert legend(figure) == ["ours", "paper"]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 2
    nothing = figures.training_curves(pd.DataFrame(runs[2:3]), {})
    assert not nothing.axes[0].lines


def test_figures_draw_what_a_fit_gives():
    def trained(dataset, model):
        return next(fit(specs_of(dataset, model, "smoke", seeds=1)[:1], "cpu"))

    models = {m: trained("diabetes", m) for m in ("Linear", "NAM", "MixNAM", "MLP")}
    assert len(shapes.compare_shapes(models, 2).axes) == 4
    for result in models.values():
        routing.usage(result)
    mixture = trained("sim_multimodal", "MixNAM")
    assert len(figures.simulation_shapes({"sim_multimodal": {"MixNAM": mixture}}).axes) == 1
    ax = figures.simulation_experts({"sim_multimodal": {"MixNAM": mixture}}).axes[0]
    assert len(ax.lines) == mixture.arrays["grid_experts"].shape[-1] + 2
    law = "sim_variability_1"
    figures.variability_grid({law: {"MixNAM": trained(law, "MixNAM")}})


def test_nothing_run_is_said_in_every_panel():
    for draw in (figures.simulation_shapes, figures.simulation_experts, figures.variability_grid):
        figure = draw({f"sim_variability_{count}": {"NAM": None, "MixNAM": None} for count in (1, 2, 4, 8, 16)})
        assert [texts(ax) for ax in figure.axes] == [["not run"]] * 10
        assert not figure.legends


def test_measures_are_drawn_over_the_penalty_0_at_the_left_end_each_run_a_dot():
    rows = [("paper", "rmse", 0.0, 0.45, 0.01, ""), ("paper", "rmse", 10.0, 0.5, np.nan, "")]
    rows.append(("ours", "width", 1.0, 3.0, 0.1, (2.9, 3.1)))
    table = pd.DataFrame(rows, columns=["source", "measure", "penalty", "mean", "sd", "numbers"])
    colors = {"paper": "#c15b00", "ours": "#00568f"}
    figure = figures.sweep_plot(table, {"rmse": "test RMSE", "width": "width of bounds"}, colors)
    first, second = figure.axes
    np.testing.assert_allclose(first.lines[0].get_xydata()[:, 0], [1e-4, 10], rtol=0.2)
    np.testing.assert_allclose(first.lines[0].get_xydata()[:, 1], [0.45, 0.5])
    np.testing.assert_allclose(second.lines[0].get_xydata()[:, 0], [1], rtol=0.2)
    assert (first.get_ylabel(), second.get_xlabel()) == ("test RMSE", "variation penalty λ")
    assert legend(figure) == ["paper", "ours"]
    assert [ax.lines[0].get_color() for ax in figure.axes] == list(colors.values())
    (dots,) = [c for c in second.collections if c.get_gid()]
    np.testing.assert_allclose(dots.get_offsets()[:, 1], [2.9, 3.1])
    assert dots.get_zorder() < second.lines[0].get_zorder()  # the line stands over them
    data = pictures.drawn(figure)
    assert data[data["series"] == "ours, each run"][["panel", "x", "y"]].to_numpy().tolist() == [
        ["width of bounds", "1", 2.9], ["width of bounds", "1", 3.1]
    ]  # fmt: skip
    assert data[data["series"] == "ours, low end"]["y"].tolist() == pytest.approx([2.9])
    assert pictures.told(figure).startswith("test RMSE, over variation penalty λ: paper from 0.45 at 0 to 0.5 at 10.")


def test_differences_are_told_apart_by_their_intervals_whichever_way_is_better():
    rows = [("a", -0.01, -0.02, -0.001), ("b", 0.0, -0.1, 0.1), ("c", 0.02, 0.01, 0.03)]
    rows.append(("one run", 0.02, np.nan, np.nan))
    table = pd.DataFrame(rows, columns=["label", "mean", "low", "high"])
    table["seeds"] = [np.array([mean - 0.01, mean + 0.01]) for mean in table["mean"]]
    green, red, grey = look.COLORS[3], look.LOWER, look.GREY
    for sign, names in ((-1, ["lower: better", "higher: worse"]), (1, ["lower: worse", "higher: better"])):
        figure = figures.difference_plot(table, "difference of test RMSE (100,000 dollars)", sign)
        (ax,) = figure.axes
        assert legend(figure) == [*names, "not told apart"]
        points = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
        seeds = [line.get_xdata() for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 2]
        np.testing.assert_allclose(seeds, np.stack(table["seeds"]))
        low, high = (green, red) if sign < 0 else (red, green)
        assert [line.get_color() for line in points] == [low, grey, high, grey]
        assert "100,000 dollars" in ax.get_xlabel()
    assert "c +0.020 (+0.010 to +0.030)" in figures.difference_told(table)


def test_the_methods_drawings_have_an_anchor_and_words_and_run_nothing():
    page = (root() / "book" / "method.md").read_text()
    drawings = re.findall(r"```{image} (\S+)\n:name: (\S+)\n.*?:alt: (.+?)\n", page, re.DOTALL)
    assert [name for _, name, _ in drawings] == ["figure-1", "figure-2"]
    for path, _, words in drawings:
        assert len(words) > 100
        for node in ElementTree.parse(root() / "book" / path).iter():
            assert not node.tag.endswith(("script", "foreignObject", "image"))
            assert not any(name.startswith("on") or name.endswith("href") for name in node.attrib)
