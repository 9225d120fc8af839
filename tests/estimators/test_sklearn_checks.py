"""The four estimators pass scikit-learn's own checks, and work in what scikit-learn builds of estimators."""

import pickle

import numpy as np
import pandas as pd
import pytest
from every import every
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import BaggingClassifier, VotingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mixnam import EXPECTED_FAILED_CHECKS, MixNAMClassifier, MixNAMRegressor, NAMClassifier, NAMRegressor
from mixnam.estimators.base import expected_failed_checks

#: Enough epochs to learn what the checks ask for, and few more.
NUMBERS = {"epochs": 8, "batch_size": 16, "learning_rate": 0.05, "n_members": 1, "random_state": 0}
CLASSES = NUMBERS | {"epochs": 4, "batch_size": 32, "learning_rate": 0.1}
ESTIMATORS = [
    MixNAMRegressor(width=4, layers=1, experts=2, **NUMBERS),
    MixNAMClassifier(width=4, layers=1, experts=2, **CLASSES),
    NAMRegressor(hidden=(8,), **NUMBERS),
    NAMClassifier(hidden=(8,), **CLASSES),
]
REGRESSORS, CLASSIFIERS = ESTIMATORS[::2], ESTIMATORS[1::2]


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failed_checks)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_one_check_may_fail_and_its_reason_is_told():
    assert list(EXPECTED_FAILED_CHECKS) == ["check_sample_weight_equivalence_on_dense_data"]
    for estimator in ESTIMATORS:
        assert expected_failed_checks(estimator) == EXPECTED_FAILED_CHECKS
    assert all(len(reason) > 20 for reason in EXPECTED_FAILED_CHECKS.values())


@pytest.fixture(scope="module")
def frame():
    """Rows of numbers, truths, gaps and categories, with a number and a label that they tell something of."""
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"a": draw.normal(size=120), "b": draw.choice(["x", "y", "z"], 120), "c": draw.random(120) < 0.4}
    )
    rows["y"] = rows["a"] + 2 * (rows["b"] == "x") - rows["c"] + draw.normal(0, 0.1, 120)
    rows["label"] = np.where(rows["y"] > rows["y"].median(), "high", "low")
    rows.loc[::7, "a"] = np.nan
    return rows


@pytest.fixture(scope="module")
def x(frame):
    return frame[["a", "b", "c"]]


def target(estimator, frame):
    return frame["label" if hasattr(estimator, "predict_proba") else "y"]


@every("estimator", ESTIMATORS)
def test_a_clone_has_the_parameters_and_nothing_that_was_learnt(estimator, frame, x):
    fitted = clone(estimator).fit(x, target(estimator, frame))
    again = clone(fitted)
    assert again.get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        again.predict(x)
    assert np.array_equal(again.fit(x, target(estimator, frame)).predict(x), fitted.predict(x))


@every("estimator", ESTIMATORS)
def test_a_pickled_estimator_says_the_same_to_the_bit(estimator, frame, x):
    fitted = clone(estimator).fit(x, target(estimator, frame))
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_members(x), fitted.predict_members(x))
    curves = zip(again.explain_global().curves, fitted.explain_global().curves, strict=True)
    for one, other in curves:
        assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in other.items()}


def test_a_pipeline_scores_and_tells_columns_by_name(frame, x):
    columns = make_column_transformer(
        (StandardScaler(), ["a"]), remainder="passthrough", verbose_feature_names_out=False
    )
    model = clone(REGRESSORS[0]).set_params(epochs=30)
    pipeline = make_pipeline(columns.set_output(transform="pandas"), model).fit(x, frame["y"])
    assert pipeline[-1].feature_names_in_.tolist() == ["a", "b", "c"]
    assert pipeline.score(x, frame["y"]) > 0.5
    plain = clone(model).fit(x, frame["y"])
    assert plain.predict(x) == pytest.approx(pipeline.predict(x), abs=0.05)  # ranks do not see a scale


@pytest.mark.parametrize("jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_grid_is_searched_in_one_process_or_two(frame, x, jobs):
    grid = {"variation_penalty": [0.01, 10.0]}
    search = GridSearchCV(REGRESSORS[0], grid, cv=2, n_jobs=jobs).fit(x, frame["y"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    expected = clone(REGRESSORS[0]).set_params(**search.best_params_).fit(x, frame["y"])
    assert np.array_equal(search.predict(x), expected.predict(x))
    first = search.cv_results_["split0_test_score"][0]
    fold = cross_val_score(clone(REGRESSORS[0]).set_params(**search.cv_results_["params"][0]), x, frame["y"], cv=2)
    assert first == fold[0]  # the same bits in another process


@every("estimator", ESTIMATORS)
def test_folds_are_scored_by_what_scikit_learn_measures(estimator, frame, x):
    metrics = ["roc_auc", "neg_log_loss", "accuracy"] if estimator in CLASSIFIERS else ["r2", "neg_mean_absolute_error"]
    found = cross_validate(estimator, x, target(estimator, frame), cv=3, scoring=metrics, error_score="raise")
    for name in metrics:
        assert np.isfinite(found[f"test_{name}"]).all(), name
    assert found[f"test_{metrics[0]}"].mean() > (0.6 if estimator in CLASSIFIERS else -1)


@every("estimator", ESTIMATORS)
def test_weights_are_routed_to_fit_and_to_scores(estimator, frame, x):
    weights, y = np.where(np.arange(120) % 3, 1.0, 5.0), target(estimator, frame)
    with config_context(enable_metadata_routing=True):
        routed = clone(estimator).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(routed, {"weight_decay": [1e-3]}, cv=2).fit(x, y, sample_weight=weights)
        pipeline = make_pipeline("passthrough", routed).fit(x, y, sample_weight=weights)
    direct = clone(estimator).set_params(weight_decay=1e-3).fit(x, y, sample_weight=weights)
    plain = clone(estimator).fit(x, y)
    members = [model.predict_members(x) for model in (search.best_estimator_, direct, pipeline[-1], plain)]
    assert np.array_equal(members[0], members[1])
    assert np.array_equal(members[2], clone(estimator).fit(x, y, sample_weight=weights).predict_members(x))
    assert not np.allclose(members[2], members[3])


def test_groups_and_rows_to_validate_on_are_routed_where_they_are_asked_for(frame, x):
    with config_context(enable_metadata_routing=True):
        routed = clone(REGRESSORS[0]).set_fit_request(groups=True, eval_set=True)
        groups = np.arange(120) // 4
        pipeline = make_pipeline(routed).fit(x, frame["y"], groups=groups)
    assert np.array_equal(pipeline.predict(x), clone(REGRESSORS[0]).fit(x, frame["y"], groups=groups).predict(x))


def test_votes_are_means_and_bags_and_transformed_targets_train(frame, x):
    voting = VotingRegressor([("one", REGRESSORS[0]), ("other", REGRESSORS[1])]).fit(x, frame["y"])
    each = [clone(estimator).fit(x, frame["y"]).predict(x) for estimator in REGRESSORS]
    assert voting.predict(x) == pytest.approx(np.mean(each, axis=0), rel=1e-12)
    soft = VotingClassifier([("one", CLASSIFIERS[0]), ("other", CLASSIFIERS[1])], voting="soft").fit(x, frame["label"])
    each = [clone(estimator).fit(x, frame["label"]).predict_proba(x) for estimator in CLASSIFIERS]
    assert soft.predict_proba(x) == pytest.approx(np.mean(each, axis=0), rel=1e-12)
    bags = BaggingClassifier(CLASSIFIERS[0], n_estimators=2, random_state=0).fit(x, frame["label"])
    assert bags.predict_proba(x).shape == (120, 2)
    scaled = TransformedTargetRegressor(REGRESSORS[0], transformer=StandardScaler()).fit(x, frame["y"])
    assert np.isfinite(scaled.predict(x)).all()


def test_scikit_learn_looks_into_the_estimators(frame, x):
    model = clone(REGRESSORS[0]).set_params(epochs=30).fit(x, frame["y"])
    drop = permutation_importance(model, x, frame["y"], n_repeats=2, random_state=0)
    assert drop.importances_mean.argmin() == 2
    curve = partial_dependence(model, x.dropna(), ["b"], categorical_features=["b"], kind="average")
    assert curve["average"][0].argmax() == 0  # "x" adds 2
