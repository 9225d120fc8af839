"""All sixteen models train through the same `fit` on every data set; files that are not ours are generated."""

import generated
import numpy as np
import pytest

from mixnam.data import catalogue
from mixnam.explain import additivity, measures
from mixnam.models import MODELS
from mixnam.paper.experiments import cases, specs_of
from mixnam.paper.published import table
from mixnam.runs.fitting import fit

REAL = [name for name, entry in catalogue.REGISTRY.items() if not entry.simulated]
#: Fewer rows and values where measures are taken: that they are right is tested elsewhere.
FEW = {(measures, "GRID"): 4, (measures, "BACKGROUND"): 12, (additivity, "ROUND"): 8, (additivity, "ERROR"): 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("dataset", REAL)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_on_every_data_set(model, dataset, folder, monkeypatch):
    for (module, name), value in FEW.items():
        monkeypatch.setattr(module, name, value)
    if not catalogue.REGISTRY[dataset].bundled:
        generated.use(monkeypatch, folder, rows=300, names=(dataset,))
    spec = specs_of(dataset, model, "smoke")[0]
    (result,) = fit([spec], "cpu")
    metric = catalogue.entry(dataset).metric
    scores = [result.metrics[part][metric] for part in ("train", "validation", "test")]
    assert np.isfinite(scores).all()
    data = catalogue.load(dataset)
    assert result.cost["parameters"] > 0
    if not catalogue.credentialed(dataset):
        assert 0 < len(result.arrays["test_prediction"]) < len(data.y) / 2
    featurewise = model in ("Linear", "Spline", "EBM", "NAM", "NBM", "NODE-GAM", "MixNAM", "MixNAM-D", "MixNAM-E")
    assert ("grid_mean" in result.arrays) == featurewise
    if featurewise:
        assert len(result.measures["importance"]["per_feature"]) == data.x.shape[1]
    if model in ("NAM", "NBM", "NODE-GAM", "MixNAM-D"):
        assert result.measures["additivity"]["marginal"] == pytest.approx(1, abs=1e-4)


def test_the_accuracy_page_has_every_model_of_tables_1_and_6():
    printed = set(table("table1_accuracy")["model"])
    shown = {case.published for case in cases("accuracy", "paper")} - {""}
    assert shown == printed
    assert {case.model for case in cases("accuracy", "paper")} == set(MODELS)
