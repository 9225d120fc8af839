"""`fit` makes of a spec a result that can be trusted: the same each time, scored on the right rows."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
import torch
from every import every
from scipy.special import expit
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss, mean_absolute_error, r2_score, roc_auc_score, root_mean_squared_error

from mixnam.data import catalogue
from mixnam.data.splits import TEST, TRAIN, VALIDATION, split_rows
from mixnam.data.table import DataMissing, Table
from mixnam.data.transforms import Preprocessing
from mixnam.explain.measures import explainer
from mixnam.models import LinearSettings, MixNAMSettings, NAMSettings, make_network
from mixnam.runs import model as trainer
from mixnam.runs.compare import compare
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

SETTINGS = {
    "Linear": LinearSettings(),
    "NAM": NAMSettings(hidden=(4,), epochs=3, batch_size=64, learning_rate=0.01),
    "MixNAM": MixNAMSettings(width=4, layers=1, epochs=3, batch_size=64, learning_rate=0.01),
}


def spec(model, seed=0, **changes):
    return RunSpec("diabetes", dataclasses.replace(SETTINGS[model], **changes), "holdout", seed)


def fitted(*specs, **options):
    return list(fit(specs, "cpu", **options))


@pytest.fixture(scope="module")
def trained():
    """One result a model, fitted together: that may make no difference to any of them."""
    return {result.spec.model: result for result in fitted(*map(spec, SETTINGS), preset="smoke")}


@pytest.fixture(scope="module")
def diabetes():
    return catalogue.load("diabetes")


def same_bits(one, other):
    assert one.metrics == other.metrics
    assert one.measures == other.measures
    assert one.history == other.history
    for arrays, others in ((one.arrays, other.arrays), (one.weights, other.weights)):
        assert arrays.keys() == others.keys()
        for name, array in arrays.items():
            assert array.dtype == others[name].dtype, name
            assert array.shape == others[name].shape, name
            assert array.tobytes() == others[name].tobytes(), name


@every("model", SETTINGS)
def test_a_result_holds_every_field_of_the_schema(model, trained, diabetes):
    result = trained[model]
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["schema"] == 1
    assert content["key"] == result.spec.key
    assert content["status"] == "ok"
    assert content["spec"].keys() == {"dataset", "model", "settings", "split", "seed"}
    assert content["metrics"].keys() == {"train", "validation", "test"}
    for scores in content["metrics"].values():
        assert scores.keys() >= {"rmse", "mse", "mae", "r2"}
    assert content["measures"].keys() >= {"additivity", "tightness", "variability", "bounds", "importance"}
    assert content["history"].keys() >= {"best_epoch", "epochs", "stopped_early"}
    assert content["cost"].keys() >= {"fit_seconds", "seconds_per_step", "peak_memory_mb", "parameters", "stack"}
    provenance = content["provenance"]
    assert provenance.keys() >= {"preset", "device", "threads", "versions", "git_commit", "dirty", "created"}
    assert provenance["preset"] == "smoke"
    assert provenance["threads"] == 1
    assert provenance["device_type"] == "cpu"
    assert provenance["versions"]["torch"] == torch.__version__
    assert provenance["data_sha256"] == diabetes.checksum
    assert provenance["data_source"] == "bundled with scikit-learn"
    assert content["cost"]["stack"] == 1
    assert content["cost"]["peak_memory_mb"] > 10
    assert content["cost"]["parameters"] == sum(
        array.size for name, array in result.weights.items() if not name.endswith((".mean", ".variance"))
    )
    needed = {"test_prediction", "grid", "grid_lower", "grid_upper", "grid_mean", "density", "sample_contributions"}
    assert result.arrays.keys() >= needed
    assert ("grid_experts" in result.arrays) == (result.spec.model == "MixNAM")


@every("model", SETTINGS)
def test_the_same_spec_gives_the_same_bits(model, trained):
    result = trained[model]
    torch.manual_seed(5)  # no global generator may matter
    (again,) = fitted(result.spec)
    same_bits(result, again)


def test_each_run_draws_values_of_its_own_for_additivity(trained, diabetes):
    result = trained["MixNAM"]
    prep = Preprocessing(diabetes, split_rows(diabetes, "holdout", 0).train, 0)
    x, network = torch.tensor(prep.inputs(diabetes.x)), make_network(result.spec.settings, 10)
    tensors = {name: torch.tensor(w)[None] for name, w in result.weights.items()}
    stored = result.value("measures.additivity.marginal")
    own, other = (
        explainer(network, tensors, x, prep.target_scale, name).additivity().mean
        for name in (result.key, spec("MixNAM", seed=1).key)
    )
    assert own == pytest.approx(stored, rel=1e-6)
    assert other != pytest.approx(stored, rel=1e-6)


# Test scores of known specs at known revisions. A change of code that moves one of these gives other results
# under the old keys: raise the part's revision in settings.py, then write the new score and revision here.
# Tolerances allow for what other processors and another order of additions round off: 0.1 %, and for NAM 3 %.
# A bias before a batch norm has no gradient but rounding error, which Adam makes a step of full size; what the
# network computes in training does not depend on it, but the running mean lags behind it.
PINNED = {
    "Linear": ({"preprocessing": 1, "linear": 1}, 58.34336821, 1e-3),
    "NAM": ({"preprocessing": 1, "training": 1, "additive": 1}, 95.16267363, 3e-2),
    "MixNAM": ({"preprocessing": 1, "training": 1, "mixture": 1}, 61.54748751, 1e-3),
}


@every("model", SETTINGS)
def test_results_change_only_with_a_revision(model, trained):
    result = trained[model]
    revisions, score, tolerance = PINNED[model]
    assert result.revisions == revisions
    assert result.metrics["test"]["rmse"] == pytest.approx(score, rel=tolerance)


def test_another_seed_gives_another_model(trained):
    for model in ("NAM", "MixNAM"):
        (other,) = fitted(spec(model, seed=1))
        assert other.metrics != trained[model].metrics
        assert other.key != trained[model].key


@every("model", SETTINGS)
def test_metrics_are_those_of_the_stored_predictions(model, trained, diabetes):
    result = trained[model]
    y = diabetes.y[split_rows(diabetes, "holdout", 0).test]
    prediction = result.arrays["test_prediction"]
    assert prediction.shape == y.shape
    scores = {
        "rmse": root_mean_squared_error(y, prediction),
        "mse": root_mean_squared_error(y, prediction) ** 2,
        "mae": mean_absolute_error(y, prediction),
        "r2": r2_score(y, prediction),
    }
    # predictions are stored in single precision
    assert result.metrics["test"] == pytest.approx(scores, rel=1e-5)


def test_metrics_and_history_are_those_of_the_best_epoch(trained, diabetes):
    scale = diabetes.y[split_rows(diabetes, "holdout", 0).train].std()
    for model in ("NAM", "MixNAM"):
        history = trained[model].history
        epochs, scores = zip(*history["validation_scores"], strict=True)
        assert epochs == (1, 2, 3)
        assert history["best_epoch"] == 1 + int(np.argmin(scores))
        assert trained[model].metrics["validation"]["rmse"] == pytest.approx(min(scores) * scale, rel=1e-5)


@every("model", SETTINGS)
def test_stored_weights_give_the_stored_predictions(model, trained, diabetes):
    result = trained[model]
    split = split_rows(diabetes, "holdout", 0)
    prep = Preprocessing(diabetes, split.train, 0)
    x = torch.tensor(prep.inputs(diabetes.x[split.test]))
    network = make_network(result.spec.settings, 10)
    with torch.no_grad():
        output = network({name: torch.tensor(w)[None] for name, w in result.weights.items()}, x[None]).prediction[0]
    prediction = output.double().numpy() * prep.target_scale + prep.target_mean
    assert result.arrays["test_prediction"] == pytest.approx(prediction, rel=1e-5)


def test_linear_predicts_what_scikit_learn_predicts(trained, diabetes):
    split = split_rows(diabetes, "holdout", 0)
    x = Preprocessing(diabetes, split.train, 0).inputs(diabetes.x).astype(float)
    model = LinearRegression().fit(x[split.train], diabetes.y[split.train])
    assert trained["Linear"].arrays["test_prediction"] == pytest.approx(model.predict(x[split.test]), rel=1e-5)


def test_classification_is_scored_by_log_odds():
    (result,) = fitted(RunSpec("breast_cancer", LinearSettings(), "fold0", 0))
    dataset = catalogue.load("breast_cancer")
    y = dataset.y[split_rows(dataset, "fold0", 0).test]
    odds = result.arrays["test_prediction"].astype(float)
    assert result.revisions == PINNED["Linear"][0]
    assert result.metrics["test"]["log_loss"] == pytest.approx(0.07013156, rel=1e-3)  # as pinned above
    assert result.metrics["test"].keys() == {"auc", "average_precision", "log_loss", "accuracy"}
    assert result.metrics["test"]["auc"] == pytest.approx(roc_auc_score(y, odds))
    assert result.metrics["test"]["auc"] > 0.9
    assert result.metrics["test"]["accuracy"] == np.mean((odds > 0) == y)
    assert result.metrics["test"]["log_loss"] == pytest.approx(log_loss(y, expit(odds)), rel=1e-4)


def test_additive_models_measure_as_additive(trained):
    for model in ("Linear", "NAM"):
        assert trained[model].value("measures.additivity.marginal") == pytest.approx(1.0)
        assert trained[model].value("measures.bounds.width") == 0.0
        assert math.isnan(trained[model].value("measures.tightness.range"))
    assert trained["MixNAM"].value("measures.additivity.marginal") < 0.999


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_is_restored(two_threads):
    (result,) = fitted(spec("Linear"))
    assert result.provenance["threads"] == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(FloatingPointError):
        fitted(spec("MixNAM", learning_rate=1e6))
    assert torch.get_num_threads() == 2
    unfinished = fit([spec("Linear"), spec("Linear", seed=1)], "cpu")
    next(unfinished)
    unfinished.close()
    assert torch.get_num_threads() == 2


@every("model", ["MixNAM", "NAM"])
def test_a_run_that_diverges_says_what_to_do(model):
    diverging = spec(model, learning_rate=1e6)
    with pytest.raises(FloatingPointError, match=r"lower learning_rate \(1e\+06\)") as caught:
        fitted(diverging)
    assert str(diverging) in str(caught.value)


@pytest.fixture
def barely_tested():
    """Register tables whose test part has one row, or one class; return their runs."""
    numbers, ones = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2.0
    parts, folds = np.repeat([TRAIN, VALIDATION, TEST], [40, 19, 1]), np.where((ones == 1) & (np.arange(60) < 12), 0, 1)
    one_row = Table("one_row", "", "regression", "rmse", numbers[:, :1], numbers[:, 1], ("a",), "y", "", parts=parts)
    one_class = Table("one_class", "", "classification", "auc", numbers[:, :1], ones, ("a",), "y", "", folds=folds)
    for table in (one_row, one_class):
        catalogue.register(table)
    yield [RunSpec("one_row", LinearSettings(), "holdout", 0), RunSpec("one_class", LinearSettings(), "fold0", 0)]
    for table in (one_row, one_class):
        del catalogue.REGISTRY[table.name]


def test_a_metric_that_is_not_defined_is_null_and_told_and_the_others_are_stored(barely_tested, tmp_path):
    for run, lacking in zip(barely_tested, (["r2"], ["auc", "average_precision"]), strict=True):
        lines = []
        (result,) = fitted(run, progress=lines.append)
        stored = Store(tmp_path).put(result)
        assert [k for k, v in stored.metrics["test"].items() if v is None] == lacking
        assert all(math.isfinite(v) for v in stored.metrics["validation"].values())
        told = ", ".join(f"test {k}" for k in lacking)
        assert lines == [f"{run}: stored as null, for so few rows or one class have none: {told}"]
        assert math.isnan(Store(tmp_path).get(run).value(f"metrics.test.{lacking[0]}"))
        assert "the same bits" in compare(stored, result).text


def test_what_a_library_cannot_predict_is_no_divergence(monkeypatch):
    original = trainer.fit_linear

    def fit_linear(*arguments):
        return {k: v * math.inf for k, v in original(*arguments).items()}

    monkeypatch.setattr(trainer, "fit_linear", fit_linear)
    with pytest.raises(
        FloatingPointError, match=r"442 of 442 predictions are not finite; rescale the columns"
    ) as caught:
        fitted(spec("Linear"))
    assert not re.search("diverged|learning_rate|nan", str(caught.value))


def test_missing_data_are_reported_before_training(monkeypatch, tmp_path):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9/")  # where nobody answers
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(DataMissing, match="Remedy"):
        fitted(RunSpec("housing", LinearSettings(), "holdout", 0))
