"""All models, and all data sets, train through the same `fit`; the data sets' files are generated."""

import generated
import numpy as np
import pytest
from every import every

from mixnam.data import catalogue
from mixnam.explain import additivity, measures
from mixnam.models import MODELS
from mixnam.paper.claim import claims
from mixnam.paper.experiments import EXPERIMENTS, cases, specs_of
from mixnam.paper.plan import PLAN
from mixnam.paper.published import table
from mixnam.runs.fitting import fit

#: Baselines that the paper does not have.
TODAYS = {"LightGBM", "CatBoost"}
TABLES = ("income", "bike")
OTHERS = [name for name, entry in catalogue.REGISTRY.items() if not entry.simulated and name not in TABLES]
FEATUREWISE = ("Linear", "Spline", "EBM", "NAM", "NBM", "NODE-GAM", "MixNAM", "MixNAM-D", "MixNAM-E")
#: Fewer rows and values where measures are taken: that they are right is tested elsewhere.
FEW = {(measures, "GRID"): 4, (measures, "BACKGROUND"): 12, (additivity, "ROUND"): 8, (additivity, "ERROR"): 1}


def fitted(dataset, model):
    """Fit a model and check what every result holds."""
    (result,) = fit([specs_of(dataset, model, "smoke")[0]], "cpu")
    data = catalogue.load(dataset)
    scores = [result.metrics[part][data.metric] for part in ("train", "validation", "test")]
    assert np.isfinite(scores).all()
    assert result.cost["parameters"] > 0
    assert result.provenance["data_sha256"] == catalogue.checksum(dataset) == data.checksum
    if not catalogue.credentialed(dataset):
        assert 0 < len(result.arrays["test_prediction"]) < len(data.y) / 2
    assert ("grid_mean" in result.arrays) == (model in FEATUREWISE)
    if model in FEATUREWISE:
        assert len(result.measures["importance"]["per_feature"]) == data.x.shape[1]
    if model in ("NAM", "NBM", "NODE-GAM", "MixNAM-D"):
        assert result.measures["additivity"]["marginal"] == pytest.approx(1, abs=1e-4)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Small files of every data set, and quick measures."""
    for (module, name), value in FEW.items():
        monkeypatch.setattr(module, name, value)
    generated.use(monkeypatch, tmp_path, rows=150)


@every("dataset", TABLES)
@every("model", MODELS)
def test_every_model_trains_on_categories_and_classes_and_on_a_regression(dataset, model, small):
    if model == "CatBoost":
        pytest.importorskip("catboost", reason="remedy: pip install 'mixnam[catboost]'")
    fitted(dataset, model)


@every("dataset", OTHERS)
@every("model", ["MixNAM", "Linear"])
def test_every_other_data_set_trains_a_network_and_a_library_model(dataset, model, small):
    fitted(dataset, model)


def test_the_accuracy_page_has_every_model_of_tables_1_and_6():
    printed = set(table("table1_accuracy")["model"])
    shown = {case.published for case in cases("accuracy", "paper")} - {""}
    assert shown == printed
    assert {case.model for case in cases("accuracy", "paper")} == set(MODELS) - TODAYS


def test_baselines_of_today_are_in_no_experiment_and_no_claim_of_the_paper():
    shown = {case.model for name in EXPERIMENTS for case in cases(name, "quick")}
    judged = {subject["model"] for claim in claims() if not claim.own for subject in claim.subjects}
    assert not (shown | judged | {model for step in PLAN for model in step.models}) & TODAYS
