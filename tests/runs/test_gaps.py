"""A missing value is a point of its own: learnt by every model, drawn, saved and measured as any other."""

import dataclasses

import numpy as np
import pytest
import torch
from every import every

from mixnam.data import catalogue
from mixnam.data.table import Table
from mixnam.explain import additivity, measures
from mixnam.models import MODELS, make_network, make_settings
from mixnam.runs.fitting import fit, measure_again
from mixnam.runs.members import mean_of
from mixnam.runs.model import load_model, train
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store
from mixnam.training.trainer import Fold, OutOfTime
from mixnam.training.tree_trainer import trainer_class

ROWS = 400
#: Fewer rows and values where measures are taken.
FEW = {(measures, "GRID"): 4, (measures, "BACKGROUND"): 12, (additivity, "ROUND"): 8, (additivity, "ERROR"): 1}
NETWORK = {"learning_rate": 0.01, "batch_size": 64, "epochs": 30, "dropout": 0.0}
MIXTURE = NETWORK | {"width": 8, "layers": 2, "expert_dropout": 0.0}
TREES = {"trees": 16, "depth": 2, "layers": 1, "batch_size": 64, "learning_rate": 0.05, "patience_steps": 80}
TREES |= {"evaluation_steps": 20, "epochs": 40}
GAM = TREES | {"anneal_steps": 60, "warmup_steps": 5}
PIECES = {"encoding": "piecewise_linear", "bins": 8}
SETTINGS = {
    "MixNAM": MIXTURE,
    "MixNAM-D": MIXTURE | {"experts": 4, "active_experts": 4},
    "MixNAM-E": MIXTURE | {"experts": 4, "active_experts": 2},
    "NAM": NETWORK | {"hidden": (16,)},
    "NA2M": NETWORK | {"hidden": (8,)},
}
SETTINGS |= {f"{name} in pieces": values | PIECES for name, values in SETTINGS.items()}
SETTINGS |= {
    "NBM": NETWORK | {"hidden": (16,), "bases": 8},
    "NB2M": NETWORK | {"hidden": (16,), "bases": 8},
    "MLP": NETWORK | {"hidden": (16,)},
    "NODE": TREES,
    "NODE-GAM": GAM,
    "NODE-GA2M": GAM,
    "Linear": {},
    "Spline": {"knots": 5},
    "EBM": {"release": "0.2.7", "outer_bags": 1},
    "EB2M": {"release": "0.2.7", "outer_bags": 1, "interactions": 1},
    "XGBoost": {"trees": 20},
    "LightGBM": {"trees": 60},
    "CatBoost": {"trees": 100},
}
BOUNDED = ("MixNAM", "MixNAM-D", "MixNAM-E")


def settings(case, **changes):
    model = case.removesuffix(" in pieces")
    for package in {"XGBoost": "xgboost", "LightGBM": "lightgbm", "CatBoost": "catboost"}.get(model, "").split():
        pytest.importorskip(package)
    if model in ("EBM", "EB2M"):
        pytest.importorskip("interpret")
    return make_settings(model, SETTINGS[case] | changes)


@pytest.fixture(scope="module")
def table():
    """The target is 3 where the first feature is missing, else 0; the second has gaps that say nothing."""
    draw = np.random.default_rng(0)
    x = np.column_stack([draw.normal(size=(ROWS, 2)), draw.integers(0, 3, ROWS)])
    gone = draw.random(ROWS) < 0.25
    x[gone, 0] = x[draw.random(ROWS) < 0.1, 1] = np.nan
    y = 3 * gone + 0.1 * draw.normal(size=ROWS)
    names, categories = ("a", "b", "c"), {2: ("p", "q", "r")}
    made = Table("gapped", "Gapped", "regression", "rmse", x, y, names, "y", categories=categories, own=True)
    catalogue.register(made)
    yield made
    del catalogue.REGISTRY["gapped"]


def test_every_model_is_here():
    assert {case.removesuffix(" in pieces") for case in SETTINGS} == set(MODELS)


@every("case", SETTINGS)
def test_a_missing_value_is_learnt_apart_from_all_others_and_saved(table, case, tmp_path):
    model = train(table, settings(case), device="cpu")
    x = np.array([[a, 0.1, 1] for a in (np.nan, np.nanmedian(table.x[:, 0]), -1.5, -0.7, 0.7, 1.5)])
    found = model.predict(x)
    assert found[0] == pytest.approx(3, abs=0.3) and found[1:] == pytest.approx(0, abs=0.35)
    model.save(tmp_path / "saved")
    again = load_model(tmp_path / "saved")
    assert again.predict(x).tobytes() == found.tobytes()
    if type(model.settings).attributes:
        own = again.contributions(x)["a"].to_numpy()
        # a mixture may let the value move other contributions, too
        assert own[0] - own[1:] == pytest.approx(3, abs=1 if "MixNAM" in case else 0.2) and np.ptp(own[1:]) < 0.3
        whole = model.contributions(table).sum(axis=1) + model.intercept
        assert whole.to_numpy() == pytest.approx(model.predict(table), abs=1e-4)


def finite(values):
    """Whether every number in nested values is finite; None stands for what does not exist."""
    if isinstance(values, (dict, list)):
        return all(map(finite, values.values() if isinstance(values, dict) else values))
    return not isinstance(values, float) or np.isfinite(values)


@every("case", SETTINGS)
def test_a_result_says_what_a_missing_value_adds(table, case, monkeypatch):
    for (module, name), few in FEW.items():
        monkeypatch.setattr(module, name, few)
    quick = {"epochs": 4} if "epochs" in SETTINGS[case] else {}
    (result,) = fit([RunSpec("gapped", settings(case, **quick), "holdout", 0)], "cpu")
    arrays, model = result.arrays, result.spec.model
    assert finite(result.measures) and finite(result.metrics)
    if "grid_mean" not in arrays:
        assert not [name for name in arrays if name.startswith("missing")]
        return
    assert arrays["missing_rows"].tolist() == np.isnan(table.x).sum(axis=0).tolist()
    assert arrays["density"].sum(axis=1) == pytest.approx(0.99 * (ROWS - arrays["missing_rows"]), abs=7)
    bounds = ("lower", "upper") if "grid_lower" in arrays else ()
    for kind in ("mean", *bounds):
        missing, curve = arrays[f"missing_{kind}"], arrays[f"grid_{kind}"]
        assert missing.dtype == np.float32 and curve.shape == arrays["grid"].shape
        assert np.isnan(missing).tolist() == [False, False, True]
        assert (np.isnan(curve) == np.isnan(arrays["grid"])).all()
    gone = np.isnan(arrays["sample_x"])
    own = np.where(gone, arrays["sample_contributions"], np.nan)[:, :2]
    assert np.isfinite(arrays["sample_contributions"]).all() and gone[:, :2].any(axis=0).all()
    if bounds:
        low, high, mean = (arrays[f"missing_{kind}"][:2] for kind in ("lower", "upper", "mean"))
        assert (low <= mean + 1e-5).all() and (mean <= high + 1e-5).all()
        assert (np.nanmin(own, axis=0) >= low - 1e-5).all() and (np.nanmax(own, axis=0) <= high + 1e-5).all()
        assert ((high - low > 1e-3) == (model in BOUNDED)).all()
    if model not in BOUNDED[::2]:  # each missing value adds the same
        assert own[gone[:, 0], 0] == pytest.approx(arrays["missing_mean"][0], abs=1e-4)


def test_measures_and_curves_of_stored_weights_are_those_of_the_run(table, tmp_path):
    spec = RunSpec("gapped", settings("MixNAM in pieces", epochs=3), "holdout", 0)
    (result,) = fit([spec], "cpu")
    again = measure_again(result, "cpu")
    assert again.measures == result.measures and again.arrays.keys() == result.arrays.keys()
    for name, array in again.arrays.items():
        assert array.tobytes() == result.arrays[name].tobytes(), name


@every("case", [case for case, values in SETTINGS.items() if "learning_rate" in values])
def test_members_of_a_stack_are_what_they_are_alone(table, case):
    made, draw = settings(case), torch.Generator().manual_seed(0)
    x = torch.tensor(table.x[None, :90]).expand(2, -1, -1)
    fold = Fold(x[:, :60], torch.randn(2, 60, generator=draw).double(), x[:, 60:], torch.zeros(2, 30).double())

    def predicted(members):
        network, own = make_network(made, 3, gaps=True), Fold(*(t[members] for t in list(vars(fold).values())[:4]))
        one = trainer_class(made)(network, [made] * len(members), members, own, "regression", torch.float64)
        one.epoch()
        return network(one.tensors(one.state.flat, one.state.buffers), x[members]).prediction

    together, alone = predicted([0, 1]), torch.cat([predicted([0]), predicted([1])])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-7)


def test_an_interrupted_training_goes_on(table, tmp_path):
    spec = RunSpec("gapped", settings("MixNAM", epochs=6), "holdout", 0)
    checkpoint = Store(tmp_path).checkpoint
    with pytest.raises(OutOfTime):
        list(fit([spec], "cpu", checkpoint=checkpoint, deadline=0.0))
    assert checkpoint(spec, False).exists()
    (resumed,), (whole,) = list(fit([spec], "cpu", checkpoint=checkpoint)), list(fit([spec], "cpu"))
    assert all(resumed.weights[name].tobytes() == weights.tobytes() for name, weights in whole.weights.items())


def test_the_mean_of_members_has_what_a_missing_value_adds(table):
    specs = [RunSpec("gapped", settings("MixNAM", epochs=2), "holdout", seed) for seed in (0, 1)]
    results = list(fit(specs, "cpu"))
    mean = mean_of(results).arrays
    for name in ("missing_mean", "missing_lower", "missing_upper"):
        expected = np.mean([result.arrays[name].astype(float) for result in results], axis=0)
        np.testing.assert_allclose(mean[name], expected, rtol=1e-6)
    apart = [result.arrays["missing_mean"] - result.arrays["contribution_mean"] for result in results]
    np.testing.assert_allclose(mean["missing_spread"], np.std(apart, axis=0, ddof=1), rtol=1e-4, atol=1e-6)
    assert mean["missing_rows"].tolist() == np.isnan(table.x).sum(axis=0).tolist()


def test_a_table_without_gaps_has_networks_and_results_without_them(table):
    whole = dataclasses.replace(table, name="whole", x=np.nan_to_num(table.x))
    network = train(whole, settings("MixNAM", epochs=1), device="cpu").network
    assert not network.gaps and network.parameters["encoder.0.weight"].shape[1] == 1
    catalogue.register(whole)
    (result,) = fit([RunSpec("whole", settings("MixNAM", epochs=1), "holdout", 0)], "cpu")
    del catalogue.REGISTRY["whole"]
    assert not [name for name in result.arrays if name.startswith("missing")]
