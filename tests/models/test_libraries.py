import dataclasses
import math
import sys

import numpy as np
import pytest
from every import every
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import root_mean_squared_error
from sklearn.preprocessing import SplineTransformer

from mixnam.models import (
    CatBoostSettings,
    EB2MSettings,
    EBMSettings,
    LightGBMSettings,
    LinearSettings,
    SplineSettings,
    XGBoostSettings,
)
from mixnam.models.libraries import EBM_027, PENALTIES, Rows, boosting_machine, fit_library, restore
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec

xgboost = pytest.importorskip("xgboost")
interpret = pytest.importorskip("interpret")
glassbox = pytest.importorskip("interpret.glassbox")
lightgbm = pytest.importorskip("lightgbm")
try:
    import catboost
except ModuleNotFoundError:
    catboost = None
needs_catboost = pytest.mark.skipif(catboost is None, reason="no catboost; remedy: pip install 'mixnam[catboost]'")

SETTINGS = {
    "Spline": SplineSettings(knots=5),
    "XGBoost": XGBoostSettings(trees=20, max_depth=3, subsample=0.8),
    "LightGBM": LightGBMSettings(trees=20, num_leaves=7, subsample=0.8),
    "CatBoost": CatBoostSettings(trees=20, depth=3, learning_rate=0.3),
    "EBM": EBMSettings(outer_bags=2, max_rounds=40),
    "EBM 0.2.7": EBMSettings(outer_bags=1, max_rounds=40, release="0.2.7"),
    "EB2M": EB2MSettings(outer_bags=1, max_rounds=40, interactions=2),
}
SETTINGS = {name: given for name, given in SETTINGS.items() if catboost or name != "CatBoost"}
ADDITIVE = ("Spline", "EBM", "EBM 0.2.7")
TREES = [name for name in ("XGBoost", "LightGBM", "CatBoost") if name in SETTINGS]
TASKS = ("regression", "classification")


def made(task, rows=400, seed=0):
    """Two curved features, an interaction, noise, and columns of one, two and five values."""
    noise = np.random.default_rng(seed)
    x = noise.standard_normal((rows, 6))
    x[:, 3] = np.where(x[:, 3] > 0, 1.0, -1.0)
    x[:, 4] = noise.integers(0, 5, rows)
    x[:, 5] = 0.25
    y = np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] ** 2 + 0.5 * x[:, 0] * x[:, 3] + 0.3 * (x[:, 4] == 2)
    y = (y - y.mean()) / y.std() + 0.1 * noise.standard_normal(rows)
    y = y if task == "regression" else (noise.random(rows) < expit(2 * y)).astype(float)
    half = rows // 2
    return Rows(x[:half], y[:half], x[half:], y[half:])


def with_gaps(rows):
    """Values of the first column are missing at random, those of the fifth where the target is great."""
    for x, y in ((rows.x, rows.y), (rows.x_validation, rows.y_validation)):
        x[::5, 0] = x[(y > y.mean()) & (np.arange(len(y)) % 2 == 0), 4] = np.nan
    return rows


@pytest.fixture(params=SETTINGS)
def settings(request):
    return SETTINGS[request.param]


@every("task", TASKS)
@every("name", ADDITIVE)
def test_contributions_and_one_intercept_make_the_prediction(name, task):
    rows = made(task)
    model = fit_library(SETTINGS[name], rows, task, 0)
    parts = model.contributions(rows.x_validation)
    assert parts.shape == rows.x_validation.shape
    left = model.predict(rows.x_validation) - parts.sum(axis=1)
    assert left == pytest.approx(left[0], abs=1e-6)
    assert np.ptp(parts[:, 0]) > 0.1


@every("name", ADDITIVE)
def test_a_contribution_depends_on_its_own_feature_alone(name):
    rows = made("regression")
    model = fit_library(SETTINGS[name], rows, "regression", 0)
    moved = rows.x_validation.copy()
    moved[:, 0] = -moved[:, 0]
    before, after = model.contributions(rows.x_validation), model.contributions(moved)
    assert np.array_equal(before[:, 1:], after[:, 1:])
    assert not np.allclose(before[:, 0], after[:, 0])


def test_only_sums_over_features_have_contributions():
    rows = made("regression")
    for name, settings in SETTINGS.items():
        model = fit_library(settings, rows, "regression", 0)
        assert (model.contributions is not None) == (name in ADDITIVE)


@every("task", TASKS)
def test_the_same_seed_gives_the_same_bits(settings, task):
    rows = made(task)
    one, two = (fit_library(settings, rows, task, 3) for _ in range(2))
    prediction = one.predict(rows.x_validation)
    assert prediction.dtype == np.float64
    assert prediction.tobytes() == two.predict(rows.x_validation).tobytes()
    assert (one.rounds, one.parameters) == (two.rounds, two.parameters)


@every("name", [*TREES, "EBM", "EB2M"])
def test_another_seed_gives_another_model(name):
    rows = made("regression")
    one, two = (fit_library(SETTINGS[name], rows, "regression", seed).predict(rows.x) for seed in (0, 1))
    assert not np.array_equal(one, two)


@every("task", TASKS)
def test_models_learn(settings, task):
    rows = made(task)
    if isinstance(settings, EBMSettings):
        settings = dataclasses.replace(settings, max_rounds=400)
    prediction = fit_library(settings, rows, task, 0).predict(rows.x_validation)
    if task == "regression":
        assert root_mean_squared_error(rows.y_validation, prediction) < 0.8 * rows.y_validation.std()
    else:
        assert np.mean((prediction > 0) == rows.y_validation) > 0.65


def test_xgboost_gives_log_odds():
    rows = made("classification")
    model = xgboost.XGBClassifier(n_estimators=20, max_depth=3, subsample=0.8, n_jobs=1, random_state=0)
    probability = model.fit(rows.x, rows.y).predict_proba(rows.x_validation)[:, 1]
    prediction = fit_library(SETTINGS["XGBoost"], rows, "classification", 0).predict(rows.x_validation)
    assert prediction == pytest.approx(logit(probability.astype(float)), abs=1e-4)


def test_lightgbm_gives_log_odds():
    rows = made("classification")
    model = lightgbm.LGBMClassifier(n_estimators=20, num_leaves=7, n_jobs=1, verbose=-1)
    probability = model.fit(rows.x, rows.y).predict_proba(rows.x_validation)[:, 1]
    settings = dataclasses.replace(SETTINGS["LightGBM"], subsample=1.0)
    prediction = fit_library(settings, rows, "classification", 0).predict(rows.x_validation)
    assert prediction == pytest.approx(logit(probability), abs=1e-6)


@needs_catboost
def test_catboost_names_the_remedy_for_a_target_of_one_value():
    x = np.random.default_rng(0).normal(size=(30, 2))
    rows = Rows(x, np.zeros(30), x, np.zeros(30))
    with pytest.raises(ValueError, match="needs two values of the target in the training rows, got one; take another"):
        fit_library(CatBoostSettings(trees=2), rows, "regression", 0)


@needs_catboost
def test_catboost_gives_log_odds():
    rows = made("classification")
    options = {"random_seed": 0, "thread_count": 1, "verbose": False, "allow_writing_files": False}
    model = catboost.CatBoostClassifier(iterations=20, depth=3, learning_rate=0.3, **options)
    probability = model.fit(rows.x, rows.y).predict_proba(rows.x_validation)[:, 1]
    prediction = fit_library(SETTINGS["CatBoost"], rows, "classification", 0).predict(rows.x_validation)
    assert prediction == pytest.approx(logit(probability), abs=1e-9)


@every("task", TASKS)
@every("name", TREES[1:])
def test_the_defaults_are_the_librarys_own(name, task):
    rows, kind = made(task), "Regressor" if task == "regression" else "Classifier"
    if name == "LightGBM":
        model = getattr(lightgbm, f"LGBM{kind}")(n_jobs=1, verbose=-1, random_state=0).fit(rows.x, rows.y)
        expected = model.predict(rows.x_validation, raw_score=True)
        prediction = fit_library(LightGBMSettings(), rows, task, 0).predict(rows.x_validation)
    else:
        options = {"iterations": 30, "random_seed": 0, "verbose": False, "allow_writing_files": False}
        model = getattr(catboost, f"CatBoost{kind}")(**options).fit(rows.x, rows.y)
        expected = model.predict(rows.x_validation, prediction_type="RawFormulaVal")
        prediction = fit_library(CatBoostSettings(trees=30), rows, task, 0).predict(rows.x_validation)
        assert (
            CatBoostSettings().trees
            == catboost.CatBoost({"allow_writing_files": False}).fit(rows.x, rows.y, verbose=False).tree_count_
        )
    assert prediction == pytest.approx(expected, abs=1e-6)


@needs_catboost
def test_each_setting_of_catboost_makes_another_model():
    rows = made("classification")
    others = {
        "depth": 2, "learning_rate": 0.02, "l2_leaf_reg": 0.0, "random_strength": 0.0, "bagging_temperature": 0.5,
        "leaf_estimation_iterations": 7,
    }  # fmt: skip
    settings = [SETTINGS["CatBoost"], *(dataclasses.replace(SETTINGS["CatBoost"], **{k: v}) for k, v in others.items())]
    found = {fit_library(one, rows, "classification", 0).predict(rows.x).tobytes() for one in settings}
    assert len(found) == 1 + len(others)


@every("name", TREES)
def test_restored_trees_predict_the_same_bits(name):
    rows = made("regression")
    model = fit_library(SETTINGS[name], rows, "regression", 0)
    again = restore(SETTINGS[name], model.state, model.text)
    assert again.predict(rows.x_validation).tobytes() == model.predict(rows.x_validation).tobytes()


def test_ebm_gives_log_odds():
    rows = made("classification")
    model = glassbox.ExplainableBoostingClassifier(
        interactions=0, outer_bags=2, max_rounds=40, n_jobs=1, random_state=0, feature_types=["continuous"] * 6
    )
    probability = model.fit(rows.x, rows.y.astype(int)).predict_proba(rows.x_validation)[:, 1]
    prediction = fit_library(SETTINGS["EBM"], rows, "classification", 0).predict(rows.x_validation)
    assert prediction == pytest.approx(logit(probability), abs=1e-9)


@every("task", TASKS)
@every("name", ["EBM", "EBM 0.2.7", "EB2M"])
def test_ebm_takes_missing_values_as_the_library_does(name, task):
    rows = with_gaps(made(task))
    model, ours = (make(SETTINGS[name], rows, task, 0) for make in (boosting_machine, fit_library))
    raw = model.predict if task == "regression" else model.decision_function
    assert ours.predict(rows.x_validation) == pytest.approx(raw(rows.x_validation), abs=1e-12)


@every("task", TASKS)
def test_missing_values_are_learnt_and_restored(settings, task):
    rows = with_gaps(made(task))
    model = fit_library(settings, rows, task, 0)
    again = restore(settings, model.state, model.text)
    assert again.predict(rows.x_validation).tobytes() == model.predict(rows.x_validation).tobytes()
    at = np.zeros((2, 6))
    at[0, 4] = np.nan
    assert np.diff(model.predict(at))[0] < -0.1  # the target is greater where the fifth is missing


@every("column", [np.full(80, np.nan), np.where(np.arange(80) % 2, 1.0, np.nan)])
def test_a_column_without_values_or_with_one_beside_its_gaps_is_fitted(settings, column):
    x = np.column_stack([np.random.default_rng(0).normal(size=80), column])
    y = x[:, 0] + np.isnan(column)
    model = fit_library(settings, Rows(x, y, x, y), "regression", 0)
    assert np.isfinite(model.predict(x)).all()


def splines(x, knots=5):
    return SplineTransformer(n_knots=knots, knots="quantile").fit(x)


def test_spline_is_ridge_on_scikit_learns_splines():
    rows = made("regression")
    basis = splines(rows.x[:, :3])
    model = RidgeCV(PENALTIES).fit(basis.transform(rows.x[:, :3]), rows.y)
    narrow = dataclasses.replace(rows, x=rows.x[:, :3])
    prediction = fit_library(SETTINGS["Spline"], narrow, "regression", 0).predict(rows.x_validation[:, :3])
    # the knots differ by less than the distance of two neighbouring values
    assert prediction == pytest.approx(model.predict(basis.transform(rows.x_validation[:, :3])), abs=0.05)


def test_spline_gives_log_odds():
    rows = made("classification")
    basis = splines(rows.x[:, :3])
    narrow = dataclasses.replace(rows, x=rows.x[:, :3])
    prediction = fit_library(SETTINGS["Spline"], narrow, "classification", 0).predict(rows.x_validation[:, :3])

    def odds(penalty):
        model = LogisticRegression(C=1 / penalty, solver="newton-cholesky").fit(basis.transform(narrow.x), rows.y)
        return logit(model.predict_proba(basis.transform(rows.x_validation[:, :3]))[:, 1])

    # one of the penalties was chosen, and the knots differ a little, as above
    assert min(np.abs(odds(penalty) - prediction).max() for penalty in PENALTIES) < 0.1 * np.ptp(prediction)


def few_valued(kind, rows=200):
    noise = np.random.default_rng(1)
    column = {
        "two": np.where(noise.random(rows) < 0.5, 1.0, -1.0),
        "three": noise.integers(0, 3, rows).astype(float),
        "rare": (np.arange(rows) == 7).astype(float),
        "mostly zero": np.where(noise.random(rows) < 0.9, 0.0, noise.standard_normal(rows)),
        "constant": np.full(rows, 2.0),
    }[kind]
    x = np.stack([noise.standard_normal(rows), column], axis=1)
    return x, x[:, 0] + column - column.mean()


@every("kind", ["two", "three", "rare", "mostly zero", "constant"])
def test_a_column_of_few_values_is_fitted(kind, settings):
    x, y = few_valued(kind)
    model = fit_library(settings, Rows(x, y, x, y), "regression", 0)
    if model.contributions is not None:
        parts = model.contributions(x)
        assert np.isfinite(parts).all()
        # boosted trees leave a value alone that fewer rows have than a leaf needs
        if kind != "rare" or settings.model == "Spline":
            assert (np.ptp(parts[:, 1]) == 0) == (kind == "constant")
    elsewhere = np.array([[0.0, -9.0], [0.0, 0.5], [9.0, 9.0]])  # beyond and between what was seen
    assert np.isfinite(model.predict(elsewhere)).all()
    if settings.model == "Spline":
        assert model.predict(x) == pytest.approx(y, abs=0.15)


@every("name", TREES)
def test_early_stopping_stops_at_the_best_validation_score(name):
    rows = made("regression")
    plain = dataclasses.replace(SETTINGS[name], learning_rate=0.3)
    stopping = dataclasses.replace(plain, trees=500, early_stopping_rounds=5)
    model = fit_library(stopping, rows, "regression", 0)
    assert model.rounds < 400
    prediction = model.predict(rows.x_validation)
    exact = fit_library(dataclasses.replace(plain, trees=model.rounds), rows, "regression", 0)
    assert np.array_equal(prediction, exact.predict(rows.x_validation))
    assert model.parameters == exact.parameters
    for trees in (model.rounds - 1, model.rounds + 1, model.rounds + 5):
        other = fit_library(dataclasses.replace(plain, trees=trees), rows, "regression", 0)
        assert other.rounds == trees
        worse = root_mean_squared_error(rows.y_validation, other.predict(rows.x_validation))
        assert root_mean_squared_error(rows.y_validation, prediction) < worse


@every("name", SETTINGS)
def test_validation_rows_are_for_early_stopping_alone(name):
    rows = made("regression")
    other = dataclasses.replace(rows, y_validation=-rows.y_validation)
    one, two = (fit_library(SETTINGS[name], r, "regression", 0).predict(rows.x) for r in (rows, other))
    assert np.array_equal(one, two)


@every("name", TREES)
def test_leaves_and_splits_are_counted(name):
    stumps = {
        "XGBoost": XGBoostSettings(trees=4, max_depth=1),
        "LightGBM": LightGBMSettings(trees=4, num_leaves=2),
        "CatBoost": CatBoostSettings(trees=4, depth=1),
    }
    model = fit_library(stumps[name], made("regression"), "regression", 0)
    assert (model.rounds, model.parameters) == (4, 4 * 3)


@needs_catboost
def test_a_split_that_all_nodes_of_a_level_share_counts_once():
    model = fit_library(CatBoostSettings(trees=5, depth=3), made("regression"), "regression", 0)
    assert model.parameters == 5 * (8 + 3)


@pytest.mark.parametrize("release", ["today", "0.2.7"])
def test_ebm_takes_the_arguments_of_its_release(release, monkeypatch):
    taken = []

    class Recorded(glassbox.ExplainableBoostingRegressor):
        def __init__(self, **arguments):
            taken.append(arguments)
            super().__init__(**arguments | {"max_rounds": 2})

    monkeypatch.setattr(glassbox, "ExplainableBoostingRegressor", Recorded)
    rows = made("regression")
    given = {"outer_bags": 3, "max_rounds": 7, "learning_rate": 0.1, "max_leaves": 4, "min_samples_leaf": 9}
    given["max_interaction_bins"] = 8
    for settings in (EBMSettings(release), EB2MSettings(release, **given, interactions=1)):
        fit_library(settings, rows, "regression", 5)
    ours = {"n_jobs": 1, "random_state": 5, "feature_types": ["continuous"] * 6}
    old = EBM_027 if release == "0.2.7" else {}
    assert taken[0] == old | ours | {"interactions": 0}
    assert taken[1] == old | ours | given | {"interactions": 1}


def test_more_interactions_than_pairs_are_no_error():
    x, y = few_valued("three")
    model = fit_library(EB2MSettings(outer_bags=1, max_rounds=5), Rows(x, y, x, y), "regression", 0)
    assert np.isfinite(model.predict(x)).all()


def test_an_unknown_model_is_refused():
    with pytest.raises(
        ValueError, match="no library model 'Linear'; there are Spline, XGBoost, LightGBM, CatBoost, EBM and EB2M"
    ):
        fit_library(LinearSettings(), made("regression"), "regression", 0)


@every(
    "settings, package, extra",
    [
        (XGBoostSettings(), "xgboost", "baselines"),
        (LightGBMSettings(), "lightgbm", "baselines"),
        (CatBoostSettings(), "catboost", "catboost"),
        (EBMSettings(), "interpret", "baselines"),
    ],
)
def test_a_missing_library_comes_with_its_remedy(settings, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*pip install 'mixnam\[{extra}\]'"):
        fit_library(settings, made("regression"), "regression", 0)


SHOWN = {"grid", "grid_mean", "contribution_mean", "density", "density_range"}
SHOWN |= {"sample_rows", "sample_x", "sample_contributions"}


@every("dataset, split", [("diabetes", "holdout"), ("breast_cancer", "fold0")])
def test_a_result_holds_what_its_model_has(settings, dataset, split):
    (result,) = fit([RunSpec(dataset, settings, split, 0)], "cpu")
    scores = [score for part in result.metrics.values() for score in part.values()]
    assert result.metrics.keys() == {"train", "validation", "test"}
    assert all(map(math.isfinite, scores))
    additive = settings.model not in ("EB2M", *TREES)
    assert result.arrays.keys() == {"test_prediction"} | (SHOWN if additive else set())
    assert result.measures.keys() == {"revision", "rows"} | ({"importance"} if additive else set())
    assert result.weights == {}
    assert result.cost["parameters"] > 10
    assert result.history["epochs"] >= 1
    assert (result.history["epochs"] == 1) == (settings.model == "Spline")
    if additive:
        features = result.arrays["sample_x"].shape[1]
        assert result.arrays["grid_mean"].shape == result.arrays["grid"].shape
        assert len(result.arrays["grid"]) == features
        assert np.array_equal(np.isnan(result.arrays["grid"]), np.isnan(result.arrays["grid_mean"]))
    versions = result.provenance["versions"]
    own = {"Spline": {}, "XGBoost": {"xgboost": xgboost.__version__}}
    own |= {"LightGBM": {"lightgbm": lightgbm.__version__}}
    own |= {"CatBoost": {"catboost": catboost.__version__}} if catboost else {}
    assert versions.keys() >= {"python", "mixnam", "torch", "numpy", "scikit-learn"}
    expected = own.get(settings.model, {"interpret": interpret.__version__})
    assert {k: v for k, v in versions.items() if k in ("xgboost", "lightgbm", "catboost", "interpret")} == expected
