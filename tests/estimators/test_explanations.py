"""Explanations: frames hold what the model says, pictures show it, and interpret draws it."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest
from curves import legend

from mixnam.data.table import About
from mixnam.estimators.explanations import GlobalExplanation, LocalExplanation

X = np.linspace(0.0, 10.0, 40)
UPPER, LOWER, BAND = "experts' bounds: upper", "experts' bounds: lower", "members' band (± 1 sd)"
REGRESSION = About(
    "t", "T", "regression", "rmse", ("size", "kind", "wet"), "rent", "pounds", {1: ("flat", "house", "missing")}, (0,)
)
TWO = dataclasses.replace(REGRESSION, task="classification", metric="auc", target="let = yes", unit="")
MORE = dataclasses.replace(TWO, target="band")
CASES = {"regression": (REGRESSION, ()), "two classes": (TWO, ()), "three classes": (MORE, ("low", "mid", "top"))}


def arrays(shift=0.0, bounds=1.0):
    """Return curves of three features: a line with missing values, three categories, and 0 and 1; all raised by 5."""
    grid, mean = np.full((2, 3, 40), np.nan)
    grid[0], grid[1, :3], grid[2, :2] = X, [0, 1, 2], [0, 1]
    mean[0], mean[1, :3], mean[2, :2] = X + shift, [1, 2, -3], [-1, 1]
    mean += 5
    rows = np.zeros((3, 40), int)
    rows[0], rows[1, :3], rows[2, :2] = 1, [20, 15, 10], [30, 15]
    missing = np.array([7.0, np.nan, np.nan])
    return {
        "grid": grid, "grid_mean": mean, "grid_lower": mean - bounds, "grid_upper": mean + 2 * bounds,
        "grid_spread": np.where(np.isnan(mean), np.nan, 0.25), "contribution_mean": np.full(3, 5.0),
        "missing_mean": missing, "missing_lower": missing - bounds, "missing_upper": missing + 2 * bounds,
        "missing_spread": np.array([0.5, np.nan, np.nan]), "missing_rows": np.array([5, 0, 0]),
        "importance": np.array([2.0, 1.5, 3.0 - shift]), "density": np.ones((3, 50), int), "rows_at": rows,
        "density_range": np.array([[0.0, 10.0], [0.0, 2.0], [0.0, 1.0]]),
    }  # fmt: skip


def shapes(case="regression", **more):
    about, classes = CASES[case]
    return GlobalExplanation("MixNAM", about, classes, tuple(arrays(k, **more) for k in range(len(classes) or 1)))


def rows(case="regression", count=4, y=None):
    about, classes = CASES[case]
    frame = pd.DataFrame(
        {"size": [3.0, np.nan, 4.5, 5.0], "kind": ["flat", None, "house", "flat"], "wet": [0, 1, 1, 0]}
    )
    frame.index = ["a", "b", "c", "d"]
    parts = np.random.default_rng(0).normal(size=(len(classes) or 1, 4, 3))[:, :count]
    intercept = np.arange(len(parts)) + 0.5
    prediction = parts.sum(axis=2) + intercept[:, None]
    spread = np.full_like(parts, 0.1)
    return LocalExplanation(
        "MixNAM", about, classes, frame[:count], parts, parts - 1, parts + 2, spread, intercept, prediction, y
    )


def test_curves_come_as_a_frame_centred_with_bounds_spread_rows_and_labels():
    frame = shapes().frame()
    assert list(frame) == ["feature", "value", "contribution", "lower", "upper", "spread", "rows"]
    size, kind, wet = (frame[frame["feature"] == name] for name in REGRESSION.features)
    assert len(size) == 41 and len(kind) == 3 and len(wet) == 2
    np.testing.assert_allclose(size["contribution"][:40], X)
    assert size.iloc[-1][["contribution", "lower", "upper", "spread", "rows"]].tolist() == [2, 1, 4, 0.5, 5]
    assert pd.isna(size.iloc[-1]["value"])
    assert kind["value"].tolist() == ["flat", "house", "missing"] and kind["rows"].tolist() == [20, 15, 10]
    np.testing.assert_allclose(frame["contribution"] - frame["lower"], 1)
    np.testing.assert_allclose(frame["upper"] - frame["contribution"], 2)
    several = shapes("three classes").frame()
    assert next(iter(several)) == "class" and several["class"].unique().tolist() == ["low", "mid", "top"]
    assert len(several) == 3 * len(frame)


def test_rows_of_a_line_are_unknown_where_they_are_not_stored():
    bare = arrays()
    del bare["rows_at"]
    frame = GlobalExplanation("MixNAM", REGRESSION, (), (bare,)).frame()
    assert frame.loc[frame["feature"] == "size", "rows"].isna().tolist() == [True] * 40 + [False]
    assert frame.loc[frame["feature"] == "kind", "rows"].notna().all()


def test_importance_is_sorted_and_of_several_classes_by_their_mean():
    assert shapes().importance()["feature"].tolist() == ["wet", "size", "kind"]
    several = shapes("three classes").importance()
    assert several["feature"].tolist() == [*["size"] * 3, *["wet"] * 3, *["kind"] * 3]  # wet has 3, 2, 1
    assert several["class"].tolist() == ["low", "mid", "top"] * 3


def test_shapes_are_drawn_the_most_important_first_with_bounds_and_band_or_without():
    figure = shapes().plot()
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_visible()] == ["wet", "size", "kind"]
    assert {UPPER, LOWER, BAND} <= set(legend(figure))
    assert figure.get_supylabel() == "contribution to rent\n(pounds)"
    assert set(legend(shapes().plot(bounds=False))) & {UPPER, LOWER, BAND} == {BAND}
    assert BAND not in legend(shapes().plot(spread=False))
    assert [ax.get_xlabel() for ax in shapes().plot(["kind", 0]).axes] == ["kind", "size"]
    assert len(shapes().plot("kind").axes) == 1
    nam = dataclasses.replace(shapes(bounds=0.0), model="NAM")
    assert {"shape function of NAM", BAND} <= set(legend(nam.plot())) and UPPER not in legend(nam.plot())


def test_of_several_classes_one_is_drawn_and_named():
    assert shapes("two classes").plot("wet").get_supylabel() == "contribution to let = yes\n(log-odds)"
    (ax,) = shapes("three classes").plot("size", of="top").axes
    assert ax.figure.get_supylabel() == "contribution to band = top\n(log-odds)"
    (mean,) = (line.get_ydata() for line in ax.lines if line.get_label() == "mean")
    np.testing.assert_allclose(mean, X + 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": ["sise"]}, "feature must be a name or a number from 0 to 2, got 'sise'; did you mean 'size'"),
        ({"features": [3]}, "got 3"),
        ({"features": []}, "features must name one feature at least"),
        ({"of": "huge"}, "of must be one of low, mid, top, got 'huge'"),
    ],
)
def test_a_feature_or_class_that_is_not_there_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        shapes("three classes").plot(**arguments)
    with pytest.raises(ValueError, match="more than two classes"):
        rows().plot(of="low")


@pytest.mark.parametrize("case", CASES)
def test_rows_come_as_a_frame_whose_contributions_sum_to_the_prediction(case):
    local = rows(case)
    frame = local.frame()
    named = ["class"] if local.classes else []
    assert list(frame) == ["row", *named, "feature", "value", "contribution", "lower", "upper", "spread"]
    sums = frame.groupby(["row", *named], sort=False)["contribution"].sum().to_numpy().reshape(4, -1)
    np.testing.assert_allclose(sums + local.intercept, local.prediction.T)
    own = frame[frame["row"] == "c"]
    assert own["value"].tolist() == [4.5, "house", 1] * (len(local.classes) or 1)
    np.testing.assert_array_equal(own["lower"], local.lower[:, 2].ravel())


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_a_waterfall_says_values_missing_ones_the_unit_and_for_classes_the_probability():
    figure = rows().plot(1)
    assert figure.axes[0].get_xlabel() == "rent (pounds)"
    assert labels(figure)[0] == "intercept" and labels(figure)[-1] == "prediction"
    assert set(labels(figure)[1:-1]) == {"size = missing", "kind = missing", "wet = 1"}
    two = rows("two classes")
    probability = 1 / (1 + np.exp(-two.prediction[0, 0]))
    assert labels(two.plot(0))[-1] == f"prediction\nprobability {probability:.3f}"
    assert two.plot(0).axes[0].get_xlabel() == "log-odds of let = yes"
    more = rows("three classes")
    likely = more.classes[int(more.prediction[:, 0].argmax())]
    assert more.plot(0).axes[0].get_xlabel() == f"log-odds of band = {likely}"
    assert more.plot(0, of="low").axes[0].get_xlabel() == "log-odds of band = low"
    with pytest.raises(ValueError, match="row must be a place from 0 to 3, got 4"):
        two.plot(4)


@pytest.mark.parametrize("case", CASES)
def test_interpret_draws_curves_with_the_experts_bounds_and_missing_values(case):
    pytest.importorskip("interpret")
    found = shapes(case)
    told = found.to_interpret()
    names = ["size", "size: missing", "kind", "wet"]
    wanted = [f"{name} · {of}" for of in found.classes for name in names] or names
    assert told.feature_names == told.selector["Name"].tolist() == wanted
    assert told.feature_types[:4] == ["continuous", "nominal", "nominal", "continuous"] and "experts'" in told.name
    (overall,) = told.visualize(None).data
    expected = found.importance().groupby("feature")["importance"].mean()
    assert dict(zip(overall.y, overall.x, strict=True)) == pytest.approx(expected.to_dict())
    for entry in range(len(wanted)):
        assert "experts' bounds" in told.visualize(entry).layout.title.text
    line = {trace.name: np.array(trace.y, float) for trace in told.visualize(0).data}
    np.testing.assert_allclose(line[UPPER] - line[LOWER], 3)
    missing, kind = told.visualize(1).data[0], told.visualize(2).data[0]
    assert (list(missing.x), list(missing.y)) == (["missing"], [2]) and list(kind.x) == ["flat", "house", "missing"]
    assert list(kind.y) == [1, 2, -3]
    assert (list(kind.error_y.array), list(kind.error_y.arrayminus)) == ([2, 2, 2], [1, 1, 1])
    assert told.data(0)["density"]["names"][-1] == 10 and len(told.data(0)["density"]["scores"]) == 50


def test_interpret_draws_a_model_without_bounds():
    pytest.importorskip("interpret")
    told = shapes(bounds=0.0).to_interpret()
    names = [[trace.name for trace in told.visualize(entry).data] for entry in range(4)]
    assert UPPER not in names[0] and told.data(0)["upper_bounds"] is None


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("known", [True, False])
def test_interpret_draws_rows_with_their_outcome(case, known):
    pytest.importorskip("interpret")
    local = rows(case, y=np.array([0, 1, 1, 0]) if known else None)
    told = local.to_interpret()
    assert told.feature_names == ["size", "kind", "wet"] and len(told.selector) == 4
    assert told.visualize(None) is None
    figure = told.visualize(1)
    assert len(figure.data) == (len(local.classes) or 1)
    found = dict(zip((str(name) for name in figure.data[0].y), figure.data[0].x, strict=True))
    shown = {"size (missing)", "kind (missing)", "wet (1.00)", "Intercept"} if len(local.classes) < 3 else None
    assert shown is None or set(found) == shown
    assert sum(found.values()) == pytest.approx(local.prediction[0, 1])
    assert ("Actual" in figure.layout.title.text) == known
    outcome = told.data(1)["perf"]
    if case == "regression":
        assert outcome["predicted"] == pytest.approx(local.prediction[0, 1])
    else:
        label = told.data(1)["meta"]["label_names"][outcome["predicted"]]
        assert label == (local.classes or ("not let = yes", "let = yes"))[outcome["predicted"]]
        assert f"Predicted Class: {label}" in figure.layout.title.text


def test_where_interpret_is_absent_the_remedy_is_said(monkeypatch):
    monkeypatch.delitem(sys.modules, "mixnam.estimators.interpreted", raising=False)
    monkeypatch.delattr("mixnam.estimators.interpreted", raising=False)
    monkeypatch.setitem(sys.modules, "interpret.api.templates", None)
    for explanation in (shapes(), rows()):
        with pytest.raises(ImportError, match=r"remedy: pip install 'interpret-core\[plotly\]'"):
            explanation.to_interpret()
