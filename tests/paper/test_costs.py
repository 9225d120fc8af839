"""The work of a training is counted, and the time of runs alike is told."""

from mixnam.data import catalogue
from mixnam.paper import costs
from mixnam.paper.experiments import specs_of


def test_the_work_of_a_linear_layer_is_counted():
    (spec,) = specs_of("diabetes", "MLP", "smoke", {"hidden": (16,)}, seeds=1)
    parameters = 10 * 16 + 16 + 16 + 16 + 16 + 1
    rows = len(catalogue.load("diabetes").x)
    assert costs.training_work(spec) == 6 * parameters * rows * spec.settings.epochs
    assert costs.training_work(specs_of("diabetes", "XGBoost", "smoke")[0]) == 0
