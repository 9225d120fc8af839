"""The mean of members, of stored results and of trained models: exact sums, bounds, spread, and what is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from planted import on_split, result

from mixnam.data import catalogue
from mixnam.data.own import read_table
from mixnam.data.splits import split_rows
from mixnam.models import make_settings
from mixnam.runs.members import Members, load_mean, mean_of, train_mean
from mixnam.runs.model import scores, train

SMALL = {"width": 8, "epochs": 3, "batch_size": 64, "layers": 2, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def diabetes():
    return catalogue.load("diabetes")


@pytest.fixture(scope="module")
def members(diabetes):
    return train_mean(diabetes, make_settings("MixNAM", SMALL), 3)


def test_contributions_and_intercept_are_the_prediction(members, diabetes):
    whole = members.contributions(diabetes).sum(axis=1) + members.intercept
    assert np.allclose(whole, members.predict(diabetes), atol=1e-3)
    assert members.score(diabetes) == pytest.approx(scores(members.predict(diabetes), diabetes.y, "regression"))


def test_of_classes_log_odds_are_averaged(tmp_path):
    frame = pd.DataFrame({"a": np.linspace(0, 1, 120), "b": np.tile([0.0, 1.0, 2.0], 40)})
    frame["y"] = np.where(frame["a"] + 0.2 * frame["b"] > 0.7, "yes", "no")
    table = read_table(frame, target="y")
    members = train_mean(table, make_settings("MixNAM", SMALL), 2)
    odds = np.mean([m.predict(frame, log_odds=True) for m in members.models], axis=0)
    assert np.allclose(members.predict(frame, log_odds=True), odds)
    assert np.allclose(members.predict(frame), 1 / (1 + np.exp(-odds)))
    assert np.allclose(members.contributions(frame).sum(axis=1) + members.intercept, odds, atol=1e-4)


def test_mean_contributions_lie_within_mean_bounds(members, diabetes):
    lower, upper = members.bounds(diabetes)
    found = members.contributions(diabetes)
    assert (found >= lower - 1e-4).all(axis=None) and (found <= upper + 1e-4).all(axis=None)


def test_the_extremes_of_averaged_experts_are_no_bounds(members, diabetes):
    scale = members.models[0].transforms.target_scale
    each = [m._outputs(m._inputs(diabetes), "experts")[0] * scale for m in members.models]  # (rows, n, C)
    averaged, found = np.mean(each, axis=0), members.contributions(diabetes).to_numpy()
    assert (found > averaged.max(axis=-1) + 1e-2).any() and (found < averaged.min(axis=-1) - 1e-2).any()


def test_spread_is_that_of_members(members, diabetes):
    each = np.stack([model.contributions(diabetes) for model in members.models])
    assert np.allclose(members.spread(diabetes), each.std(axis=0, ddof=1))
    assert np.isnan(Members(members.models[:1]).spread(diabetes)).all(axis=None)


def test_saved_members_are_the_same(members, diabetes, tmp_path):
    members.save(tmp_path / "mean")
    again = load_mean(tmp_path / "mean")
    assert np.array_equal(again.predict(diabetes), members.predict(diabetes))
    pd.testing.assert_frame_equal(again.contributions(diabetes), members.contributions(diabetes))
    with pytest.raises(ValueError, match="no members"):
        load_mean(tmp_path)
    Members(members.models[:1]).save(tmp_path / "mean")  # over what had more
    assert len(load_mean(tmp_path / "mean").models) == 1


@pytest.mark.parametrize("model, options", [("Linear", {}), ("XGBoost", {"trees": 5, "subsample": 0.5})])
def test_baselines_are_members_too(diabetes, model, options):
    members = train_mean(diabetes, make_settings(model, options), 2)
    assert np.allclose(members.predict(diabetes), np.mean([m.predict(diabetes) for m in members.models], axis=0))
    if model == "Linear":
        whole = members.contributions(diabetes).sum(axis=1) + members.intercept
        assert np.allclose(whole, members.predict(diabetes), atol=1e-3)
    else:
        with pytest.raises(TypeError, match="no sum over single features"):
            members.contributions(diabetes)
    with pytest.raises(TypeError, match="bounds"):
        train_mean(diabetes, make_settings("XGBoost", {"trees": 2}), 1).bounds(diabetes)


def test_members_of_other_data_or_none_are_refused(members, diabetes):
    other = train(catalogue.load("breast_cancer"), make_settings("Linear", {}))
    with pytest.raises(ValueError, match="same features and target"):
        Members((*members.models, other))
    with pytest.raises(ValueError, match="got none"):
        Members(())
    for wrong in (0, True, 1.5):
        with pytest.raises(ValueError, match="members must be an integer >= 1"):
            train_mean(diabetes, make_settings("Linear", {}), wrong)


def stored(seed, shift=0.0, grid=None, dataset="diabetes", **options):
    """A result on diabetes whose predictions and curves are known."""
    table = catalogue.load(dataset)
    test = split_rows(table, "holdout" if table.task == "regression" else "fold0", seed).test
    grid = np.array([[0.0, 1.0, 2.0]]) if grid is None else np.array([grid])
    curve = grid + shift
    arrays = {
        "test_prediction": (table.y[test] + shift).astype(np.float32),
        "grid": grid, "grid_mean": curve, "grid_lower": curve - 1 - shift, "grid_upper": curve + 1 + shift,
        "contribution_mean": np.array([shift]), "density": np.ones((1, 4)), "density_range": np.array([[0.0, 2.0]]),
    }  # fmt: skip
    return result(dataset, seed=seed, arrays=arrays, score=1.0, **options)


def test_a_mean_of_results_averages_predictions_and_curves():
    found = mean_of([stored(0, 1.0), stored(1, 3.0)])
    assert found.metrics["test"]["rmse"] == pytest.approx(2.0, abs=1e-4)
    assert found.value("metrics.test.mae") == pytest.approx(2.0, abs=1e-4)
    assert np.allclose(found.arrays["grid_mean"], [[2.0, 3.0, 4.0]])
    assert np.allclose(found.arrays["grid_lower"], [[-1.0, 0.0, 1.0]])
    assert np.allclose(found.arrays["grid_upper"], [[5.0, 6.0, 7.0]])
    assert np.allclose(found.arrays["grid_spread"], 0.0)  # the same shape, moved: what is drawn is centred
    assert found.keys == (stored(0, 1.0).key, stored(1, 3.0).key)
    assert found.key not in found.keys and not found.outdated


def test_curves_of_another_grid_are_moved_onto_the_first():
    found = mean_of([stored(0, 0.0, [0.0, 1.0, np.nan]), stored(1, 2.0, [0.0, 0.5, 2.0])])
    assert np.allclose(found.arrays["grid"], [[0.0, 1.0, np.nan]], equal_nan=True)
    assert np.allclose(found.arrays["grid_mean"], [[1.0, 2.0, np.nan]], equal_nan=True)


def test_the_mean_of_opposite_errors_is_better_than_its_members():
    first, second = stored(0, 1.0), stored(1, -1.0)
    assert mean_of([first, second]).metrics["test"]["rmse"] == pytest.approx(0.0, abs=1e-4)
    assert mean_of([first]).metrics["test"]["rmse"] == pytest.approx(1.0, abs=1e-4)


def test_what_differs_in_more_than_the_seed_is_named():
    first = stored(0)
    moved = dataclasses.replace(first, provenance=first.provenance | {"data_sha256": "f" * 64})
    bare = result("diabetes", seed=1, score=1.0)
    for wrong, named in (
        ([first, stored(1, variation_penalty=7.0)], r"settings .*variation_penalty.*7\.0"),
        ([first, on_split(stored(1), "holdout2")], r"split \(holdout and holdout2\)"),
        ([first, stored(0, dataset="breast_cancer")], r"data set \(diabetes and breast_cancer\)"),
        ([first, moved], "data "),
        ([first, stored(0)], "a seed each, got seeds 0, 0"),
        ([first, bare], "no predictions"),
        ([], "got none"),
    ):
        with pytest.raises(ValueError, match=named):
            mean_of(wrong)


def test_a_baseline_without_curves_has_a_mean():
    table = catalogue.load("diabetes")
    test = split_rows(table, "holdout", 0).test
    found = [
        result("diabetes", "XGBoost", seed, 1.0, arrays={"test_prediction": table.y[test] + seed}) for seed in (0, 1)
    ]
    assert {*mean_of(found).arrays} == {"test_prediction"}
