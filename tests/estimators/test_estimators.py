"""Estimators: what they take, what their parameters do, what they refuse, and what is saved."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError

from mixnam import MixNAMClassifier, MixNAMRegressor, NAMClassifier, NAMRegressor
from mixnam.data.table import TableError
from mixnam.estimators.reading import Rows
from mixnam.models import MixNAMESettings, make_settings
from mixnam.models.recipe import recommended
from mixnam.runs.model import train

FAST = {"width": 4, "layers": 1, "epochs": 2, "n_members": 2, "random_state": 0, "verbose": False}
SAVED = Path(__file__).parent.parent / "saved"


def table(rows=120, seed=0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": random.normal(50, 9, rows).round(1),
            "floors": random.integers(1, 4, rows),
            "kind": random.choice(["house", "flat", "hut"], rows),
            "garden": random.random(rows) < 0.5,
        }
    )
    frame["price"] = frame["size"] + 10 * (frame["kind"] == "house") + random.normal(size=rows)
    return frame.drop(columns="price"), frame["price"]


@pytest.fixture(scope="module")
def fitted():
    X, y = table()
    return MixNAMRegressor(**FAST).fit(X, y), X, y


@pytest.fixture(scope="module")
def irises():
    X, y = load_iris(return_X_y=True, as_frame=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    return MixNAMClassifier(**FAST | {"epochs": 30, "learning_rate": 0.02}).fit(X, names), X, names


def test_defaults_are_our_recipe_by_the_tables_size():
    X, y = load_diabetes(return_X_y=True)
    assert MixNAMRegressor()._settings(400) == recommended(400, "regression")
    assert MixNAMRegressor()._settings(9000) == recommended(9000, "regression")
    chosen = MixNAMClassifier()._settings(400)
    assert chosen.selection == "log_loss" and chosen.experts == recommended(400, "classification").experts
    assert [MixNAMRegressor()._count(rows) for rows in (100, 20_000, 20_001)] == [4, 4, 1]
    model = MixNAMRegressor(variant="e", experts=6, epochs=1, n_members=1, verbose=False).fit(X, y)
    assert isinstance(model.settings_, MixNAMESettings) and model.settings_.active_experts == 3


def test_members_are_trained_as_runs_are(fitted):
    model, X, y = fitted
    member = model.members_[0].models[0]
    rows = Rows(np.zeros((len(y), 1)), y.to_numpy(), ("a",), {})
    seeds = [int(seed) for seed in np.random.RandomState(0).randint(2**31 - 1, size=2)]
    parts = rows.parts(0.15, seeds[0], False)
    from mixnam.data.own import read_table

    same = read_table(X.assign(price=y), "price")
    again = train(same, model.settings_, seed=seeds[0], validation=parts.validation)
    assert np.array_equal(again.predict(X), member.predict(X))


def test_the_mean_of_members_predicts(fitted):
    model, X, _ = fitted
    each = model.predict_members(X)
    assert each.shape == (2, len(X)) and not np.array_equal(*each)
    assert np.allclose(model.predict(X), each.mean(axis=0), rtol=1e-12)
    assert list(model.feature_names_in_) == list(X) and model.n_features_in_ == 4 and len(model.n_iter_) == 2


def test_contributions_add_up_and_lie_within_bounds(fitted):
    model, X, _ = fitted
    told = model.explain_local(X)
    whole = told.contributions.sum(axis=-1) + model.intercept_[:, None]
    assert np.allclose(whole, model.predict(X)[None], rtol=1e-10)
    assert (told.lower - 1e-9 <= told.contributions).all() and (told.contributions <= told.upper + 1e-9).all()


def test_two_labels_and_their_probabilities():
    X, y = table()
    labels = np.where(y > y.median(), "dear", "cheap")
    model = MixNAMClassifier(**FAST | {"epochs": 30, "learning_rate": 0.02}).fit(X, labels)
    assert list(model.classes_) == ["cheap", "dear"] and model.score(X, labels) > 0.9
    odds, probable = model.decision_function(X), model.predict_proba(X)
    assert odds.shape == (120,) and np.allclose(probable[:, 1], 1 / (1 + np.exp(-odds)))
    assert np.allclose(probable.sum(axis=1), 1) and (model.predict(X) == model.classes_[(odds > 0).astype(int)]).all()
    assert model.predict_members(X).shape == (2, 120, 2) and model.about_.target == "y = dear"


def test_more_classes_are_each_learnt_against_the_rest(irises):
    model, X, names = irises
    assert model.score(X, names) > 0.9 and len(model.members_) == 3
    odds, probable = model.decision_function(X), model.predict_proba(X)
    assert odds.shape == (150, 3) and np.allclose(probable.sum(axis=1), 1)
    assert (model.predict(X) == model.classes_[odds.argmax(axis=1)]).all()
    # the first class against the rest is the model of two classes, of the same rows for validation
    part = MixNAMClassifier(**FAST | {"epochs": 30, "learning_rate": 0.02})
    split = Rows(X.to_numpy(), names, tuple(X), {}).parts(0.15, 7, True)
    sets = {"eval_set": (X.iloc[split.validation], names[split.validation])}
    both = part.fit(X.iloc[split.train], names[split.train], **sets).decision_function(X)
    two = np.where(names == "setosa", "z", "rest")
    sets = {"eval_set": (X.iloc[split.validation], two[split.validation])}
    assert np.allclose(part.fit(X.iloc[split.train], two[split.train], **sets).decision_function(X), both[:, 0])


@pytest.mark.parametrize("kind", [NAMRegressor, NAMClassifier])
def test_a_nam_is_a_sum_of_lines(kind):
    X, y = table()
    y = y if kind is NAMRegressor else (y > y.median()).astype(int)
    model = kind(hidden=(4,), epochs=2, n_members=2, random_state=0, verbose=False).fit(X, y)
    told = model.explain_local(X)
    assert np.array_equal(told.lower, told.contributions) and np.array_equal(told.upper, told.contributions)
    assert model.settings_.hidden == (4,) and np.isfinite(model.predict_members(X)).all()


def test_a_seed_makes_the_same_model_in_one_process_and_in_two(fitted):
    model, X, y = fitted
    assert np.array_equal(MixNAMRegressor(**FAST).fit(X, y).predict(X), model.predict(X))
    assert np.array_equal(MixNAMRegressor(**FAST, n_jobs=2).fit(X, y).predict(X), model.predict(X))
    other = MixNAMRegressor(**FAST | {"random_state": 1}).fit(X, y)
    assert not np.array_equal(other.predict(X), model.predict(X))


def test_rows_of_weight_0_are_left_out_and_weights_are_learnt_from(fitted):
    _, X, y = fitted
    weight = np.ones(len(y))
    weight[::3] = 0
    odd = y.copy()
    odd[::3] = 1e6
    found = MixNAMRegressor(**FAST).fit(X, odd, weight).predict(X)
    kept = weight > 0
    assert np.array_equal(found, MixNAMRegressor(**FAST).fit(X[kept], y[kept]).predict(X))
    heavy = np.where(y > y.median(), 50.0, 1.0)
    longer = MixNAMRegressor(**FAST | {"epochs": 20, "learning_rate": 0.02})
    assert longer.fit(X, y, heavy).predict(X).mean() > longer.fit(X, y).predict(X).mean()


def test_class_weights_are_weights_of_rows():
    X, y = table()
    labels = np.where(y > y.quantile(0.8), "dear", "cheap")
    weights = {"cheap": 1.0, "dear": 4.0}
    by_class = MixNAMClassifier(**FAST, class_weight=weights).fit(X, labels)
    by_row = MixNAMClassifier(**FAST).fit(X, labels, sample_weight=np.where(labels == "dear", 4.0, 1.0))
    assert np.array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
    assert not np.array_equal(MixNAMClassifier(**FAST).fit(X, labels).predict_proba(X), by_row.predict_proba(X))
    balanced = MixNAMClassifier(**FAST, class_weight="balanced").fit(X, labels)
    assert balanced.predict_proba(X)[:, 1].mean() > by_class.predict_proba(X)[:, 1].mean() - 0.2


def test_an_eval_set_picks_the_epoch_and_is_not_trained_on(fitted):
    _, X, y = fitted
    train_on, other = slice(0, 80), slice(80, 120)
    options = FAST | {"epochs": 12, "learning_rate": 0.05, "n_members": 1}
    found = MixNAMRegressor(**options).fit(X[train_on], y[train_on], eval_set=(X[other], y[other]))
    far = MixNAMRegressor(**options).fit(X[train_on], y[train_on], eval_set=(X[other], -100 * y[other]))
    scale = [m.members_[0].models[0].transforms.target_mean for m in (found, far)]
    assert scale == [y[train_on].mean()] * 2
    assert not np.array_equal(found.predict(X), far.predict(X))  # another epoch is the best
    with pytest.raises(ValueError, match=r"pair \(X, y\)"):
        MixNAMRegressor(**options).fit(X, y, eval_set=X)


def test_validation_rows_are_drawn_by_class_and_by_group():
    codes = np.repeat([0.0, 1.0, 2.0], [60, 30, 1])
    rows = Rows(np.zeros((91, 1)), codes, ("a",), {})
    for seed in range(5):
        part = rows.parts(0.2, seed, True)
        assert np.bincount(codes[part.validation].astype(int), minlength=3).tolist() == [12, 6, 0]
        assert sorted([*part.train, *part.validation]) == list(range(91))
    groups = np.arange(91) // 10
    part = Rows(np.zeros((91, 1)), codes, ("a",), {}, groups=groups).parts(0.2, 3, True)
    assert not set(groups[part.train]) & set(groups[part.validation]) and len(part.validation) > 0
    assert set(codes[part.train]) == {0, 1, 2}


@pytest.mark.parametrize("count", [2, 3, 4, 6, 40])
def test_few_groups_leave_one_to_validate_on_and_one_to_train_on(count):
    groups = np.arange(120) % count
    part = Rows(np.zeros((120, 1)), np.zeros(120), ("a",), {}, groups=groups).parts(0.15, 3, False)
    assert len(set(groups[part.validation])) == max(1, round(0.15 * count))
    assert len(set(groups[part.train])) == count - len(set(groups[part.validation]))


def test_groups_that_say_nothing_are_refused(fitted):
    _, X, y = fitted
    with pytest.raises(ValueError, match="groups has one group; it needs two or more"):
        MixNAMRegressor(**FAST).fit(X, y, groups=np.zeros(120))
    with pytest.raises(ValueError, match="groups lacks 40 values"):
        MixNAMRegressor(**FAST).fit(X, y, groups=["a", "b", None] * 40)


def test_categories_of_an_eval_set_of_another_dtype_keep_their_order():
    X, y = table()
    sizes = pd.Categorical(["low", "mid", "high", "mid"] * 30, ["low", "mid", "high"], ordered=True)
    levels = pd.Categorical([3, 1, 2, 1] * 30)
    X = X.assign(size_class=sizes, level=levels)
    other = X[80:].assign(size_class=["low", "huge"] * 20, level=[1, 4] * 20)
    model = MixNAMRegressor(**FAST).fit(X[:80], y[:80], eval_set=(other, y[80:]), groups=np.arange(80))
    assert model.about_.categories[4] == ("low", "mid", "high")
    assert model.about_.categories[5] == ("1", "2", "3")


def test_names_that_are_no_text_are_taken_by_place():
    X, y = table()
    numbered = X.set_axis(range(4), axis=1)
    model = MixNAMRegressor(**FAST).fit(numbered, y)
    assert not hasattr(model, "feature_names_in_") and model.about_.features == ("0", "1", "2", "3")
    assert np.array_equal(model.predict(numbered), model.predict(numbered.to_numpy()))
    assert len(model.what_if(numbered.iloc[0], 0, [10, 20.5])) == 2
    array = X[["size", "floors"]].to_numpy()
    model = MixNAMRegressor(**FAST).fit(array, y)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        assert np.array_equal(model.predict(X[["size", "floors"]]), model.predict(array))


def test_categories_and_missing_values_that_training_had_not(fitted):
    model, X, y = fitted
    new = X.head(3).assign(kind=["castle", "hut", "flat"])
    average = model.predict(new)
    refusing = MixNAMRegressor(**FAST, unseen="refuse").fit(X, y)
    with pytest.raises(TableError, match=r"'kind' holds 'castle' in row 1"):
        refusing.predict(new)
    gap = X.head(3).assign(size=[np.nan, 50, 60], kind=[None, "hut", "flat"])
    with pytest.warns(UserWarning, match=r"'size' holds 1 missing values.*average"):
        assert np.isfinite(model.predict(gap)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert model.explain_local(gap).contributions[0, 0, 2] == pytest.approx(
            model.explain_local(new).contributions[0, 0, 2], abs=5
        )
    with pytest.raises(TableError, match=r"'size' holds 1 missing values"):
        refusing.predict(gap)
    assert np.isfinite(average).all()


def test_columns_of_numbers_are_categories_where_they_are_named(fitted):
    _, X, y = fitted
    for named in (["floors"], [1], [False, True, False, False]):
        found = MixNAMRegressor(**FAST | {"epochs": 1}, categorical_features=named).fit(X, y)
        assert found.about_.categories[1] == ("1", "2", "3") and set(found.about_.categories) == {1, 2, 3}
    for named in (["floor"], [4], "floors"):
        with pytest.raises(ValueError, match="categorical_features"):
            MixNAMRegressor(**FAST, categorical_features=named).fit(X, y)


def test_what_if_asks_the_model(fitted, irises):
    model, X, _ = fitted
    found = model.what_if(X.iloc[[5]], "kind", ["hut", "house"])
    for value, predicted in zip(found["value"], found["prediction"], strict=True):
        assert model.predict(X.iloc[[5]].assign(kind=value))[0] == pytest.approx(predicted)
    assert (found["lower"] <= found["contribution"]).all() and list(found["value"]) == ["hut", "house"]
    assert len(model.what_if(X.iloc[5], 0, [10, 20.5])) == 2
    many, flowers, _ = irises
    told = many.what_if(flowers.iloc[[0]], 2, [1.0, 6.0])
    assert list(told["class"].unique()) == ["setosa", "versicolor", "virginica"]
    assert np.allclose(told.groupby("value")["prediction"].sum(), 1)
    with pytest.raises(ValueError, match="got 'kinds'; did you mean 'kind'"):
        model.what_if(X.iloc[[5]], "kinds", ["hut"])
    with pytest.raises(ValueError, match="one row"):
        model.what_if(X.head(2), "kind", ["hut"])


def test_measures_are_those_of_the_paper(fitted):
    model, X, _ = fitted
    found = model.measures(X)
    assert list(found.index) == list(X)
    told = model.explain_local(X)
    assert np.allclose(found["bounds_width"], (told.upper - told.lower)[0].mean(axis=0), rtol=1e-6)
    assert found["additivity"].between(0, 1).all() and found["tightness"].between(0, 1).all()


def test_what_is_saved_predicts_and_explains_the_same_bits(fitted, irises, tmp_path):
    for number, (model, X, _) in enumerate((fitted, irises)):
        model.save(tmp_path / str(number))
        again = type(model).load(tmp_path / str(number))
        assert np.array_equal(again.predict(X), model.predict(X)) and again.get_params() == model.get_params()
        assert again.n_iter_ == model.n_iter_ and list(again.feature_names_in_) == list(model.feature_names_in_)
        pd.testing.assert_frame_equal(again.explain_global().frame(), model.explain_global().frame())
        pd.testing.assert_frame_equal(again.explain_local(X).frame(), model.explain_local(X).frame())


def test_no_row_is_saved(fitted, tmp_path):
    model, X, _ = fitted
    model.save(tmp_path)
    arrays = load_file(tmp_path / "curves.safetensors")
    assert not any(array.shape == (len(X), X.shape[1]) for array in arrays.values())


def test_parameters_of_any_form_are_saved(tmp_path):
    X, y = table()
    labels = (y > y.median()).astype(int)
    weights = {0: 2.0, 1: 1.0}
    model = MixNAMClassifier(**FAST | {"n_members": 1}, class_weight=weights, categorical_features=np.array([1]))
    model.fit(X, labels).save(tmp_path)
    again = MixNAMClassifier.load(tmp_path)
    assert again.class_weight == weights and again.categorical_features == [1] and again.classes_.dtype.kind == "i"
    for columns in (pd.Index(["floors"]), pd.Series([1]), ("floors",)):
        nam = NAMRegressor(hidden=(4,), epochs=1, n_members=1, categorical_features=columns).fit(X, y)
        nam.save(tmp_path / "nam")
        again = NAMRegressor.load(tmp_path / "nam")
        assert again.hidden == (4,) and list(again.categorical_features) == list(columns)


def test_what_cannot_be_loaded_is_refused_with_its_reason(fitted, tmp_path):
    model, _, _ = fitted
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"it is a MixNAMRegressor; load it by MixNAMRegressor\.load"):
        MixNAMClassifier.load(tmp_path / "model")
    with pytest.raises(ValueError, match="holds no MixNAMRegressor"):
        MixNAMRegressor.load(tmp_path)
    path = tmp_path / "model" / "estimator.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(ValueError, match="format is 99, this version reads 1; update mixnam"):
        MixNAMRegressor.load(tmp_path / "model")
    path.write_text(json.dumps(content))
    shutil.rmtree(tmp_path / "model" / "class0" / "member1")
    with pytest.raises(ValueError, match="member1"):
        MixNAMRegressor.load(tmp_path / "model")


@pytest.mark.parametrize("kind", [MixNAMRegressor, MixNAMClassifier])
def test_estimators_of_earlier_versions_are_read(kind):
    folder = SAVED / kind.__name__
    model = kind.load(folder)
    rows = pd.read_csv(folder / "rows.csv")
    wanted = rows.pop("predicted").to_numpy()
    found = model.predict(rows) if kind is MixNAMRegressor else model.predict_proba(rows)[:, 1]
    assert np.allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize(
    "options, error",
    [
        ({"variant": "f"}, "variant must be one of 'mixnam', 'd', 'e', got 'f'"),
        ({"n_members": 0}, 'n_members must be "auto" or an integer >= 1, got 0'),
        ({"validation_fraction": 1.0}, "validation_fraction must be above 0 and below 1, got 1.0"),
        ({"unseen": "ignore"}, 'unseen must be "average" or "refuse"'),
        ({"width": 0}, "width must be >= 1, got 0"),
        ({"encoding": "spline"}, "encoding must be one of 'scalar', 'piecewise_linear', got 'spline'"),
        ({"active_experts": 9, "experts": 3}, "active_experts must be <= experts"),
        ({"device": "tpu"}, "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
        ({"epochs": 5, "learning_rate": 1e30}, "lower learning_rate"),
    ],
)
def test_wrong_parameters_are_named(options, error):
    X, y = table()
    with pytest.raises((ValueError, FloatingPointError), match=error):
        MixNAMRegressor(**FAST | options).fit(X, y)


def test_what_cannot_be_learnt_from_is_named():
    X, y = table()
    with pytest.raises(TableError, match="column 'size' holds times"):
        MixNAMRegressor(**FAST).fit(X.assign(size="2024-01-02"), y)
    with pytest.raises(ValueError, match=r"one class, 'a'"):
        MixNAMClassifier(**FAST).fit(X, np.full(120, "a"))
    with pytest.raises(ValueError, match="at least one non-zero number"):
        MixNAMRegressor(**FAST).fit(X, y, np.zeros(120))
    with pytest.raises(ValueError, match="2 labels are missing"):
        MixNAMClassifier(**FAST).fit(X, pd.Series(["a", None, "b", None] + ["a", "b"] * 58))
    with pytest.raises(NotFittedError):
        MixNAMRegressor().predict(X)
    with pytest.raises(TableError, match="two columns are called 'size'"):
        MixNAMRegressor(**FAST).fit(pd.concat([X, X[["size"]]], axis=1), y)


def test_settings_of_variants_can_be_made():
    for variant, name in (("mixnam", "MixNAM"), ("d", "MixNAM-D"), ("e", "MixNAM-E")):
        assert MixNAMRegressor(variant=variant)._settings(500).model == make_settings(name, {}).model


def test_contributions_to_rows_are_those_of_the_curves(fitted):
    """Both are centred: what a NAM says of a row lies on its curve."""
    X, y = table()
    model = NAMRegressor(hidden=(4,), epochs=5, n_members=2, random_state=0, verbose=False).fit(X, y)
    assert model.predict(X).mean() == pytest.approx(model.intercept_[0])
    told, shapes = model.explain_local(X), model.explain_global().frame()
    floors = shapes[shapes["feature"] == "floors"].set_index("value")["contribution"].astype(float)
    assert np.allclose(told.contributions[0, :, 1], floors[X["floors"].astype(float)], atol=1e-4)
    assert np.allclose(told.contributions.mean(axis=1), 0, atol=1e-9)


def test_an_eval_set_is_read_as_rows_to_predict_are():
    X, y = table()
    X = X.assign(kind=X["kind"].astype(pd.CategoricalDtype(["hut", "flat", "house"], ordered=True)))
    train_on, more = X[:90], X[90:].assign(kind="castle", size=np.nan, garden=1)
    options = FAST | {"n_members": 1}
    with pytest.warns(UserWarning, match=r"'size' holds 30 missing values"):
        found = MixNAMRegressor(**options).fit(train_on, y[:90], eval_set=(more, y[90:]))
    assert found.about_.categories[2] == ("hut", "flat", "house") and found.about_.gaps == ()
    assert found.explain_global().frame().query("feature == 'floors'")["rows"].sum() == 90
    two = X[["size", "floors"]]
    named = MixNAMRegressor(**options).fit(two[:90], y[:90], eval_set=(two[90:], y[90:]))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        plain = MixNAMRegressor(**options).fit(two[:90], y[:90], eval_set=(two[90:].to_numpy(), y[90:].to_numpy()))
    assert np.array_equal(named.predict(two), plain.predict(two))
    refusing = MixNAMRegressor(**options, unseen="refuse")
    with pytest.raises(TableError, match="castle"):
        refusing.fit(train_on, y[:90], eval_set=(X[90:].assign(kind="castle"), y[90:]))


def test_a_class_without_weight_is_named():
    X, y = table()
    labels = np.where(y > y.median(), "dear", "cheap")
    with pytest.raises(ValueError, match="class_weight must be finite and >= 0"):
        MixNAMClassifier(**FAST, class_weight={"dear": -1, "cheap": 1}).fit(X, labels)
    with pytest.raises(ValueError, match="class 'dear' has no row with a weight above 0"):
        MixNAMClassifier(**FAST).fit(X, labels, sample_weight=(labels == "cheap") * 1.0)
    with pytest.raises(ValueError, match="class 'free' is in eval_set and not in y"):
        MixNAMClassifier(**FAST).fit(X, labels, eval_set=(X[:2], ["free", "dear"]))
    model = MixNAMClassifier(**FAST).fit(X, labels)
    with pytest.raises(ValueError, match="class 'free' is none of those learnt"):
        model.explain_local(X[:2], ["free", "dear"])
    assert model.explain_local(X[:2], labels[:2]).y.tolist() == [float(label == "dear") for label in labels[:2]]


def test_a_save_that_fails_leaves_what_was_there(fitted, irises, tmp_path):
    model, X, _ = fitted
    model.save(tmp_path / "model")
    odd = MixNAMRegressor(**FAST)
    odd.fit(*table(seed=1)).set_params(random_state=object())
    with pytest.raises(ValueError, match="cannot be saved as JSON"):
        odd.save(tmp_path / "model")
    assert np.array_equal(MixNAMRegressor.load(tmp_path / "model").predict(X), model.predict(X))
    irises[0].save(tmp_path / "model")
    model.save(tmp_path / "model")  # over one of three classes
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "class0", "curves.safetensors", "estimator.json",
    ]  # fmt: skip


def test_categories_with_an_order_are_drawn_in_it():
    X, y = table()
    kinds = pd.CategoricalDtype(["hut", "flat", "house"], ordered=True)
    model = MixNAMRegressor(**FAST, categorical_features=["floors"]).fit(X.assign(kind=X["kind"].astype(kinds)), y)
    assert model.about_.ordered == (1, 2)
    figure = model.explain_global().plot(["kind", "floors"])
    named = [[label.get_text() for label in ax.get_xticklabels()] for ax in figure.axes[:2]]
    assert named == [["hut", "flat", "house"], ["1", "2", "3"]]


def test_importances_are_those_that_are_explained(irises):
    model, X, _ = irises
    told = model.explain_global().importance().groupby("feature")["importance"].mean()
    assert np.allclose(model.feature_importances_, told[list(X)])
