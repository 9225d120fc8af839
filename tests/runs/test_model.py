"""A trained model predicts new rows, says what each feature adds, and is the same after it was saved."""

import dataclasses
import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
import torch
from every import every

import mixnam
from mixnam.data.own import TableError, read_table
from mixnam.data.splits import split_rows
from mixnam.models import MixNAMSettings, make_settings
from mixnam.models.recipe import recommended
from mixnam.runs.fitting import fit
from mixnam.runs.model import Job, Member, load_model, train, train_members
from mixnam.runs.spec import RunSpec

SETTINGS = {
    "MixNAM": {"width": 8, "epochs": 5, "batch_size": 64, "layers": 2, "learning_rate": 0.01},
    "MixNAM-D": {"width": 8, "epochs": 2, "batch_size": 64, "layers": 2, "experts": 3, "active_experts": 3},
    "MixNAM-E": {"width": 8, "epochs": 2, "batch_size": 64, "layers": 2, "experts": 4, "active_experts": 2},
    "NAM": {"hidden": [8], "epochs": 5, "batch_size": 64, "learning_rate": 0.01},
    "NBM": {"hidden": [8], "bases": 4, "epochs": 2, "batch_size": 64},
    "NODE-GAM": {
        "trees": 4,
        "epochs": 30,
        "layers": 1,
        "depth": 2,
        "batch_size": 64,
        "anneal_steps": 10,
        "patience_steps": 40,
    },
    "Linear": {},
    "Spline": {"knots": 5},
    "EBM": {"max_rounds": 20, "outer_bags": 2},
    "XGBoost": {"trees": 5},
    "LightGBM": {"trees": 5},
    "CatBoost": {"trees": 5},
    "EB2M": {"max_rounds": 20, "outer_bags": 2, "interactions": 1},
    "NA2M": {"hidden": [8], "epochs": 2, "batch_size": 64},
    "MLP": {"hidden": [8], "epochs": 2, "batch_size": 64},
}
if importlib.util.find_spec("catboost") is None:
    del SETTINGS["CatBoost"]
NO_SUM = ("XGBoost", "LightGBM", "CatBoost", "EB2M", "NA2M", "MLP")
BOOSTED = ("XGBoost", "LightGBM", "CatBoost")
BOUNDED = ("MixNAM", "MixNAM-D", "MixNAM-E")


def houses(rows=240):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"size": draw.normal(100, 20, rows), "kind": draw.choice(["flat", "house", "hut"], rows)})
    frame["floor"] = draw.integers(0, 4, rows)
    frame["price"] = 2 * frame["size"] + 50 * (frame["kind"] == "house") + draw.normal(0, 5, rows)
    frame["dear"] = np.where(frame["price"] > frame["price"].median(), "yes", "no")
    return frame


@pytest.fixture(scope="module")
def frame():
    return houses()


@pytest.fixture(scope="module")
def models(frame):
    """Return every model of each task."""
    tables = {
        "price": read_table(frame, "price", drop=["dear"], categorical=["floor"]),
        "dear": read_table(frame, "dear", drop=["price"], categorical=["floor"]),
    }
    return {
        (target, name): train(table, make_settings(name, given), device="cpu")
        for target, table in tables.items()
        for name, given in SETTINGS.items()
    }


def test_a_saved_model_predicts_the_same_numbers_in_another_process(models, frame, elsewhere, tmp_path):
    new = frame.drop(columns=["price", "dear"]).head(7)
    new.to_csv(tmp_path / "new.csv", index=False)
    for (target, name), model in models.items():
        model.save(tmp_path / f"{target} {name}")
    found = elsewhere(
        "import pathlib, mixnam, pandas as pd, torch\n"
        f"folder = pathlib.Path({str(tmp_path)!r}); new = pd.read_csv(folder / 'new.csv')\n"
        "torch.set_num_threads(1)\n"
        "answer = {p.name: mixnam.load_model(p).predict(new).tolist() for p in folder.iterdir() if p.is_dir()}"
    )
    assert len(found) == len(models)
    for (target, name), model in models.items():
        assert found[f"{target} {name}"] == model.predict(pd.read_csv(tmp_path / "new.csv")).tolist(), name


def test_contributions_and_intercept_sum_to_the_prediction(models, frame):
    for (target, name), model in models.items():
        if name in NO_SUM:
            with pytest.raises(TypeError, match=f"{name} is no sum over single features"):
                model.contributions(frame)
            continue
        found = model.contributions(frame)
        assert list(found.columns) == ["size", "kind", "floor"] and found.index.equals(frame.index)
        whole = found.sum(axis=1) + model.intercept
        np.testing.assert_allclose(whole, model.predict(frame, log_odds=True), atol=1e-4, err_msg=f"{target} {name}")


def test_bounds_hold_contributions_and_only_mixtures_have_them(models, frame):
    for (_, name), model in models.items():
        if name not in BOUNDED:
            with pytest.raises(TypeError, match=f"{name} has no bounds"):
                model.bounds(frame)
            continue
        lower, upper = model.bounds(frame)
        found = model.contributions(frame)
        slack = 1e-4 * (1 + found.abs().max().max())
        assert ((lower - slack <= found) & (found <= upper + slack)).all(axis=None), name
        assert (upper > lower).any(axis=None), name


def test_metrics_are_those_of_the_rows_of_each_part(models, frame):
    for (target, name), model in models.items():
        assert set(model.metrics) == {"train", "validation", "test"}
        table = read_table(frame, target, drop=["dear" if target == "price" else "price"], categorical=["floor"])
        whole = model.score(table)
        low, high = (pick(part[table.metric] for part in model.metrics.values()) for pick in (min, max))
        assert low - 0.1 * abs(low) <= whole[table.metric] <= high + 0.1 * abs(high), name
        prediction = model.predict(table)
        assert prediction.shape == (len(frame),)
        if target == "dear":
            assert ((prediction >= 0) & (prediction <= 1)).all()


def test_a_model_is_what_a_run_of_the_same_settings_trains():
    settings = MixNAMSettings(width=8, epochs=3, batch_size=64, layers=2)
    (result,) = fit([RunSpec("diabetes", settings, "holdout", 1)], device="cpu")
    model = train(mixnam.load_data("diabetes"), settings, "holdout", 1, device="cpu")
    assert model.metrics["test"] == pytest.approx(result.metrics["test"], rel=1e-5)
    for name, weights in result.weights.items():
        assert np.array_equal(model.tensors[name][0].numpy(), weights), name


def test_an_unseen_category_counts_as_the_mean_target(models, frame):
    new = frame.head(3).copy()
    new["kind"], new["floor"] = "castle", 17
    for (_, name), model in models.items():
        assert np.isfinite(model.predict(new)).all(), name
    model = models["price", "Linear"]
    codes = model.transforms.inputs(np.array([[100.0, -1.0, -1.0]]))
    prior = model.transforms.prior
    means = model.transforms.encodings[1]
    assert means[-1] == prior and means[:-1].min() < prior < means[:-1].max()
    assert np.isfinite(codes).all()


def test_rows_are_read_by_name_whatever_their_order_and_type(models, frame):
    model = models["price", "MixNAM"]
    wanted = model.predict(frame)
    assert np.array_equal(model.predict(frame[["floor", "kind", "size"]]), wanted)
    changed = frame.astype({"floor": float, "kind": "category", "size": object})
    changed["size"] = changed["size"].astype(float)
    assert np.array_equal(model.predict(changed), wanted)
    table = read_table(frame, "price", drop=["dear"], categorical=["floor"])
    assert np.array_equal(model.predict(table), wanted)
    assert np.array_equal(model.predict(table.x), wanted)
    # another table's codes are other categories: labels decide
    part = frame[frame["kind"] != "flat"]
    again = read_table(part, "price", drop=["dear"], categorical=["floor"])
    assert np.allclose(model.predict(again), wanted[(frame["kind"] != "flat").to_numpy()], rtol=1e-12)


@every(
    "change, message",
    [
        (lambda f: f.drop(columns="size"), "rows lack column 'size'; the model takes size, kind, floor"),
        (
            lambda f: f.assign(size=np.nan),
            "column 'size' holds 240 missing values, and had none in training; fill them",
        ),
        (lambda f: f.assign(kind=None), "column 'kind' holds 240 missing values"),
        (lambda f: f.assign(size="big"), "column 'size' holds 'big' in row 1, expected numbers"),
        (lambda f: f.assign(size=np.inf), "column 'size' holds infinite values"),
        (lambda f: np.zeros((3, 2)), r"rows must be \(rows, 3\), got \(3, 2\)"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_by_column(models, frame, change, message):
    with pytest.raises(TableError, match=message):
        models["price", "MixNAM"].predict(change(frame))


def test_what_is_no_model_is_refused_by_name(models, tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} holds no model of mixnam"):
        load_model(tmp_path)
    for name in ("MixNAM", "XGBoost"):
        folder = tmp_path / name
        models["price", name].save(folder)
        assert sorted(p.suffix for p in folder.iterdir()) == [".json"] * (1 + (name == "XGBoost")) + [".safetensors"]
        content = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(content | {"format": 2}))
        with pytest.raises(ValueError, match="format 2, this version reads 1; update mixnam"):
            load_model(folder)
        (folder / "model.json").write_text(json.dumps(content))
        (folder / "arrays.safetensors").write_bytes(b"damaged")
        with pytest.raises(ValueError, match="can be read"):
            load_model(folder)


def test_weights_of_one_change_nothing_and_weights_of_zero_leave_rows_out(frame):
    table = read_table(frame, "price", drop=["dear"])
    for name in SETTINGS.keys() & {"MixNAM", "NAM", "NODE-GAM", "Linear", "Spline", "EBM", *BOOSTED}:
        settings = make_settings(name, SETTINGS[name])
        plain = train(table, settings, device="cpu").predict(table)
        ones = train(table, settings, sample_weight=np.ones(len(frame)), device="cpu").predict(table)
        np.testing.assert_allclose(ones, plain, rtol=1e-3, err_msg=name)
        odd = train(table, settings, sample_weight=np.where(np.arange(len(frame)) % 2, 1.0, 3.0), device="cpu")
        assert not np.allclose(odd.predict(table), plain, rtol=1e-6), name


def test_weights_reach_the_validation_rows_of_networks_on_any_scale(frame):
    table, rows = read_table(frame, "price", drop=["dear"]), np.arange(240)
    settings, validation = make_settings("NAM", SETTINGS["NAM"] | {"epochs": 30}), rows % 4 == 0
    plain = train(table, settings, validation=validation, device="cpu")
    models, few = {}, np.isin(rows, (4, 8))
    for name, weighing in {"few": few, "scaled": 2.0**-9 * few, "none": 0 * rows, "alike": 7 + 0 * rows}.items():
        weights = np.where(validation, weighing, 1.0)
        models[name] = train(table, settings, sample_weight=weights, validation=validation, device="cpu")
    for name in ("none", "alike"):  # training rows weigh the same throughout
        assert np.array_equal(models[name].predict(table), plain.predict(table)), name
    assert np.array_equal(models["few"].predict(table), models["scaled"].predict(table))
    errors = [np.mean((model.predict(table)[few] - table.y[few]) ** 2) for model in (models["few"], plain)]
    assert errors[0] < errors[1]


def test_where_log_loss_picks_the_epoch_validation_rows_may_be_of_one_class(frame):
    table = read_table(frame, "dear", drop=["price"])
    of_one, by_loss = (
        np.flatnonzero(table.y == 1)[:20],
        make_settings("NAM", SETTINGS["NAM"] | {"selection": "log_loss"}),
    )
    model = train(table, by_loss, validation=of_one, device="cpu")
    assert np.isfinite(model.predict(table)).all()
    half = np.arange(240) < 120
    weights = np.where(half & (table.y == 1), 0.0, 1.0)  # of the validation rows only those of one class count
    train(table, by_loss, validation=half, sample_weight=weights, device="cpu")
    by_auc = make_settings("NAM", SETTINGS["NAM"])
    with pytest.raises(ValueError, match=r"validation part has \d+ rows that weigh more than 0 of one class"):
        train(table, by_auc, validation=half, sample_weight=weights, device="cpu")
    with pytest.raises(ValueError, match=r"training part has \d+ rows that weigh more than 0 of one class"):
        train(table, by_loss, validation=~half, sample_weight=weights, device="cpu")
    with pytest.raises(ValueError, match="training part has 20 rows of one class"):
        train(table, by_loss, validation=np.setdiff1d(np.arange(240), of_one), device="cpu")


def test_a_job_tells_the_epochs_of_its_members(frame):
    table, settings, told = read_table(frame, "price", drop=["dear"]), make_settings("NAM", SETTINGS["NAM"]), []
    members = [Member(table, settings, split_rows(table, "holdout", seed), seed) for seed in range(3)]
    job = Job(torch.device("cpu"), advance=told.append)
    for done, _ in enumerate(train_members(members, job), 1):
        assert sum(told) == done * settings.epochs
    assert len(told) > 3


def test_weights_and_validation_rows_that_do_not_fit_are_refused(frame):
    table, settings = read_table(frame, "price", drop=["dear"]), make_settings("Linear", {})
    for weights in (np.ones(3), -np.ones(len(frame)), np.zeros(len(frame)), np.full(len(frame), np.nan)):
        with pytest.raises(ValueError, match="sample_weight must be"):
            train(table, settings, sample_weight=weights)
    for rows in ([-1], [len(frame)], [0.5], [[1]]):
        with pytest.raises(ValueError, match="validation must be row numbers from 0 to 239"):
            train(table, settings, validation=rows)
    with pytest.raises(ValueError, match="split is 'holdout', but validation already says"):
        train(table, settings, "holdout", validation=[1])


def test_training_that_diverges_says_so(frame):
    table = read_table(frame, "price", drop=["dear"])
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        train(table, make_settings("NAM", SETTINGS["NAM"] | {"learning_rate": 1e30}), device="cpu")


def test_the_face_loads_nothing_before_it_is_asked_and_nothing_that_draws(elsewhere):
    assert elsewhere("answer = loaded") == []
    assert set(mixnam.__all__) <= set(dir(mixnam))
    with pytest.raises(AttributeError, match="module 'mixnam' has no attribute 'trian'"):
        _ = mixnam.trian


def test_threads_are_given_back(frame):
    before = torch.get_num_threads()
    train(read_table(frame, "price", drop=["dear"]), make_settings("Linear", {}), device="cpu")
    assert torch.get_num_threads() == before


def test_labels_mean_the_same_in_whatever_form_they_come(models, frame):
    model = models["price", "MixNAM"]
    wanted = model.predict(frame)
    for form in (float, object, str, "category"):
        changed = frame.assign(floor=frame["floor"].astype(form))
        assert np.array_equal(model.predict(changed), wanted), form
    floats = frame["floor"].astype(float)
    for column in (floats.astype(object), floats.astype(str), floats.astype("category")):
        assert np.array_equal(model.predict(frame.assign(floor=column)), wanted), column.dtype
    truths = pd.DataFrame({"a": [True, False] * 20, "y": np.arange(40.0)})
    truth = train(read_table(truths, "y"), make_settings("Linear", {}))
    for form in (lambda a: a.astype(int), lambda a: a.astype(str).str.lower(), lambda a: a.astype(object)):
        assert np.array_equal(truth.predict(truths.assign(a=form(truths["a"]))), truth.predict(truths))
    one = frame.iloc[0].to_frame().T  # of object dtype
    assert model.predict(one) == pytest.approx(wanted[:1], rel=1e-6)


def test_codes_that_are_none_are_refused_and_minus_one_is_unseen(models, frame):
    model = models["price", "Linear"]
    assert np.isfinite(model.predict(np.array([[100.0, -1.0, -1.0]]))).all()
    for code in (3.0, -2.0, 0.5):
        with pytest.raises(TableError, match="feature 'kind' must hold codes 0 to 2, or -1"):
            model.predict(np.array([[100.0, code, 0.0]]))
    with pytest.raises(TableError, match="rows hold no row"):
        model.predict(frame.head(0))
    with pytest.raises(TableError, match="two columns are called 'size'"):
        model.predict(pd.concat([frame, frame[["size"]]], axis=1))


def test_a_score_is_of_the_same_target_alone(models, frame):
    dear = read_table(frame, "dear", drop=["price"], categorical=["floor"])
    with pytest.raises(
        TableError, match=r"the table's target is 'dear = yes' \(classification\), the model predicts 'pri"
    ):
        models["price", "MixNAM"].score(dear)
    other = read_table(frame.replace({"dear": {"yes": "a"}}), "dear", drop=["price"], categorical=["floor"])
    with pytest.raises(TableError, match="the table's target is 'dear = no'"):
        models["dear", "MixNAM"].score(other)
    with pytest.raises(TypeError, match="table must be a Table"):
        models["dear", "MixNAM"].score(frame)


def test_what_cannot_be_trained_is_refused_before_it_is(frame):
    table, settings = read_table(frame, "price", drop=["dear"]), make_settings("MixNAM", SETTINGS["MixNAM"])
    classes = read_table(frame, "dear", drop=["price"])
    with pytest.raises(TypeError, match="table must be a Table"):
        train(frame, settings)
    with pytest.raises(TypeError, match="settings must be a model's settings"):
        train(table, "MixNAM")
    for seed in (True, -1, 1.5, "a"):
        with pytest.raises(ValueError, match="seed must be an integer >= 0"):
            train(table, settings, seed=seed)
    for split in ("fold0", "repeat1-fold0", "", "test"):
        with pytest.raises(ValueError, match="split of table must be one of holdout, got"):
            train(table, settings, split)
    with pytest.raises(ValueError, match="the training part has 0 rows"):
        train(table, settings, validation=np.arange(240))
    with pytest.raises(ValueError, match="the validation part has 0 rows"):
        train(table, settings, validation=np.array([], int))
    with pytest.raises(ValueError, match="the validation part has 20 rows of one class"):
        train(classes, settings, validation=np.flatnonzero(classes.y == 1)[:20])
    mask = np.arange(240) < 60
    linear = make_settings("Linear", {})
    one, two = train(table, linear, validation=mask), train(table, linear, validation=np.arange(60))
    assert one.metrics == two.metrics
    with pytest.raises(ValueError, match="not all of them 0 on training rows"):
        train(table, linear, validation=mask, sample_weight=mask.astype(float))


def test_weights_may_be_zero_and_on_any_scale(frame):
    table = read_table(frame, "dear", drop=["price"])
    weights = np.where(np.arange(240) % 3, 1.0, 0.0)
    for name in SETTINGS.keys() & {"Linear", "Spline", "EBM", "NAM", *BOOSTED}:
        settings = make_settings(name, SETTINGS[name])
        one = train(table, settings, sample_weight=weights, device="cpu").predict(table)
        np.testing.assert_allclose(
            train(table, settings, sample_weight=0.001 * weights, device="cpu").predict(table),
            one,
            atol=1e-5,
            err_msg=name,
        )


def test_a_model_of_our_recipe_keeps_its_pieces_when_it_is_saved(tmp_path):
    table = mixnam.load_data("diabetes")
    model = train(table, dataclasses.replace(recommended(20_000, table.task), epochs=2, bins=16))
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert np.array_equal(again.predict(table), model.predict(table))
    contributions, (lower, upper) = model.contributions(table), model.bounds(table)
    assert model.predict(table) == pytest.approx(contributions.sum(axis=1) + model.intercept, abs=1e-3)
    assert ((contributions >= lower - 1e-3) & (contributions <= upper + 1e-3)).all(axis=None)
    edges = model.tensors["encoding.edges"][0, :, 0].numpy().astype(float)  # on the network's scale
    inputs = model.transforms.inputs(table.x).astype(float)
    assert (edges >= inputs.min(axis=0)[:, None] - 1e-6).all()
    assert (edges <= inputs.max(axis=0)[:, None] + 1e-6).all()
    back = model.transforms.inputs(model.transforms.numbers(edges.T))
    assert back == pytest.approx(edges.T, abs=0.2)  # noise separates the quantiles that ties share
