"""Trees compute the formulas of NODE and NODE-GAM: a slow reference's, and those of the authors' package."""

import itertools
import math

import numpy as np
import pytest
import torch
from compared import arrays, assert_close, clones, mixed_difference
from compared import normal as values_of
from every import every

from benchmarks import nodegam
from mixnam.explain.measures import explainer
from mixnam.models import make_network, make_settings
from mixnam.models.fast.entmax import entmax15, entmoid15, entmoid15_
from mixnam.models.fast.oblivious import Respond, respond
from mixnam.models.layers import Draws, Parameter
from mixnam.training.trainer import loss

ROWS = 9
MODELS = ["NODE", "NODE-GAM", "NODE-GA2M"]
SMALL = {"layers": 2, "trees": 5, "depth": 3}
ANNEALED = {"anneal_steps": 10, "min_temperature": 0.01}
#: settings by what they exercise
CASES = {
    "plain": SMALL,
    "one_layer": SMALL | {"layers": 1, "depth": 1},
    "three_layers": SMALL | {"layers": 3, "depth": 4},
    "outputs": SMALL | {"layers": 3, "extra_outputs": 2},
    "last": SMALL | {"last_linear": True, "extra_outputs": 1},
    "columns": SMALL | {"layers": 3, "colsample_bytree": 0.5, "last_linear": True},
    "one_column": SMALL | {"colsample_bytree": 0.01},
}
ATTENTION = {"attention": 3}


def settings_of(model, values):
    return make_settings(model, values | ({} if model == "NODE" else ANNEALED))


def built(model, values, members=1, features=4):
    """A network with weights of every kind away from their initial values, in float64."""
    network = make_network(settings_of(model, values), features)
    parameters, buffers = network.initialize(range(members), torch.device("cpu"))
    source = torch.Generator().manual_seed(1)
    for name, tensor in parameters.items():
        spread = 1.0 if name.startswith(("logits", "key", "query", "threshold")) else 0.4
        tensor += spread * torch.randn(tensor.shape, generator=source)
    return network, {name: t.double() for name, t in (parameters | buffers).items()}


def cases():
    yield from itertools.product(MODELS, CASES.items())
    yield from itertools.product(MODELS[1:], ((f"{k}_attention", v | ATTENTION) for k, v in CASES.items()))


ALL = [(model, values) for model, (_, values) in cases()]


# --- reference: one row, one tree, one leaf at a time ---------------------------------------------------------------


def reference_entmax(z):
    """Search tau along the first axis by bisection."""
    z = np.asarray(z, dtype=float) / 2
    low, high = z.max(axis=0) - 1, z.max(axis=0)
    for _ in range(80):
        middle = (low + high) / 2
        above = (np.maximum(z - middle, 0) ** 2).sum(axis=0) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.maximum(z - low, 0) ** 2


def reference_entmoid(x):
    return reference_entmax([x, np.zeros_like(x)])[0]


def reference_choice(weights, layer, temperature, hard):
    """Return (inputs, kinds, trees)."""
    columns = weights.get(f"columns.{layer}")
    logits = weights.get(f"logits.{layer}")
    if logits is None:
        return columns[:, None, :]
    if columns is not None:
        logits = np.where(columns[:, None, :] > 0, logits, -20.0)
    choice = np.zeros_like(logits)
    for kind, tree in itertools.product(range(logits.shape[1]), range(logits.shape[2])):
        column = logits[:, kind, tree]
        if hard:
            choice[column.argmax(), kind, tree] = 1
        else:
            choice[:, kind, tree] = reference_entmax(column / temperature)
    return choice


def reference_alike(a, b):
    """How far two trees, (n, kinds) each, chose the same."""
    if a.shape[1] == 1:
        return float(a[:, 0] @ b[:, 0])
    straight = (a[:, 0] @ b[:, 0]) * (a[:, 1] @ b[:, 1])
    return float(min(1.0, straight + (a[:, 1] @ b[:, 0]) * (a[:, 0] @ b[:, 1])))


def reference_weights(weights, settings, layer, choice, before, additive):
    """Return the weights (all inputs, kinds, trees) of a layer's sums over features and earlier outputs."""
    trees, outputs = settings.trees, 1 + settings.extra_outputs
    if not additive:
        return choice
    result = []
    for tree in range(trees):
        own = choice[:, :, tree]
        alike = [reference_alike(c[:, :, t], own) for c in before for t in range(trees) for _ in range(outputs)]
        if before and settings.attention:
            scores = weights[f"key.{layer}"] @ weights[f"query.{layer}"][:, tree]
            alike = alike * reference_entmax(np.log(np.array(alike) + 1e-6) + scores)
        every = np.concatenate([own, np.repeat(np.array(alike)[:, None], own.shape[1], axis=1)])
        if not settings.attention:
            every = every / every.sum(axis=0)
        result.append(every)
    return np.stack(result, axis=2)


def reference_trees(weights, settings, x, additive, temperature=1.0, hard=False):
    """Return the trees' outputs for the rows x, leaf by leaf: (rows, layers, trees, outputs)."""
    found, before = np.zeros((len(x), settings.layers, settings.trees, 1 + settings.extra_outputs)), []
    for layer in range(settings.layers):
        choice = reference_choice(weights, layer, temperature, hard)
        mix = reference_weights(weights, settings, layer, choice, before, additive)
        before.append(choice)
        threshold, log_temperature = weights[f"threshold.{layer}"], weights[f"log_temperature.{layer}"]
        depth = len(threshold)
        inputs = np.concatenate([x, found[:, :layer].reshape(len(x), -1)], axis=1)
        for tree in range(settings.trees):
            passed = []
            for d in range(depth):
                value = inputs @ mix[:, d % mix.shape[1], tree]
                passed.append(reference_entmoid((value - threshold[d, tree]) * math.exp(-log_temperature[d, tree])))
            for leaf, turns in enumerate(itertools.product((0, 1), repeat=depth)):
                weight = math.prod(p if turn else 1 - p for p, turn in zip(passed, turns, strict=True))
                found[:, layer, tree] += np.outer(weight, weights[f"response.{layer}"][tree, :, leaf])
    return found


def reference_prediction(weights, settings, trees):
    if settings.last_linear:
        return float(weights["bias"]) + (trees * weights["last"]).sum(axis=(1, 2, 3))
    return float(weights["bias"]) + trees[..., 0].mean(axis=(1, 2))


# --- entmax and the kernel -------------------------------------------------------------------------------------------


@every("features", [1, 2, 5, 40, 3000])
def test_entmax_equals_bisection_and_sums_to_1(features):
    logits = 3 * values_of(2, features, 3)
    found = entmax15(logits)
    for m, column in itertools.product(range(2), range(3)):
        assert_close(found[m, :, column], reference_entmax(logits[m, :, column].numpy()), 1e-9)
    assert_close(found.sum(dim=1), np.ones((2, 3)), 1e-12)
    assert torch.equal(entmax15(logits.requires_grad_(True)).detach(), found)


def test_entmax_of_equal_and_of_distant_logits():
    assert_close(entmax15(torch.zeros(1, 4, 1, dtype=torch.float64))[0, :, 0], [0.25] * 4)
    assert_close(entmax15(torch.tensor([[0.0, 1e4, -20.0]], dtype=torch.float64))[0], [0.0, 1.0, 0.0])


def test_entmax_s_gradient_by_hand_equals_finite_differences():
    logits = values_of(2, 6, 3).requires_grad_(True)
    assert torch.autograd.gradcheck(entmax15, (logits,))


def test_entmax_is_the_same_in_parts(monkeypatch):
    logits = values_of(2, 6, 5, 7)
    whole = entmax15(logits)
    monkeypatch.setattr("mixnam.models.fast.entmax._CELLS", 40)
    assert_close(entmax15(logits), whole.numpy(), 1e-12)


def test_entmoid_is_entmax_of_two_outcomes_and_its_slope_is_right():
    x = torch.linspace(-3, 3, 61, dtype=torch.float64, requires_grad=True)
    y = entmoid15(x)
    assert_close(y.detach(), [reference_entmoid(v) for v in x.detach().tolist()], 1e-7)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    by_hand, slope = x.detach().clone(), torch.empty(61, dtype=torch.float64)
    entmoid15_(by_hand, slope, torch.empty_like(slope))
    assert_close(by_hand, y.detach().numpy())
    assert_close(slope / 4, gradient.numpy())
    assert torch.autograd.gradcheck(entmoid15, (values_of(7).requires_grad_(True),))


@every("cells", [1, 60, 1 << 20])
@every("depth, kinds", [(1, 1), (2, 2), (3, 1), (3, 2), (4, 4), (5, 2), (6, 1)])
@every("members, outputs", [(1, 1), (2, 3)])
def test_the_kernel_by_hand_equals_plain_operations_in_value_and_gradient(
    monkeypatch, depth, kinds, members, outputs, cells
):
    monkeypatch.setattr("mixnam.models.fast.oblivious._CELLS", cells)
    shapes = [(members, kinds, 4, ROWS), (members, depth, 4), (members, depth, 4), (members, 4, outputs, 2**depth)]
    tensors = [values_of(*shape, seed=i).requires_grad_(True) for i, shape in enumerate(shapes)]
    weights = values_of(members, 4, outputs, ROWS, seed=9)
    ours, plain = Respond.apply(*tensors), respond(*tensors)
    assert_close(ours.detach(), plain.detach().numpy())
    gradients = (torch.autograd.grad((out * weights).sum(), tensors) for out in (ours, plain))
    for found, expected in zip(*gradients, strict=True):
        assert_close(found, expected.numpy())


# --- networks --------------------------------------------------------------------------------------------------------


@every("model, values", ALL)
def test_evaluation_equals_the_reference(model, values):
    network, tensors = built(model, values, 2)
    x, before = values_of(2, ROWS, 4), clones(tensors)
    outputs = network(tensors, x)
    for m in range(2):
        weights = arrays(tensors, m)
        additive = model != "NODE"
        trees = reference_trees(weights, network.settings, x[m].numpy(), additive, hard=additive)
        assert_close(outputs.prediction[m], reference_prediction(weights, network.settings, trees), 1e-7)
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)


#: soft choices of every network; the softest and the hard ones of every third, for the reference is slow
STEPS = [(*case, step) for i, case in enumerate(ALL) for step in ((0, 4, 10) if i % 3 == 0 else (4,))]


@every("model, values, step", STEPS)
def test_a_training_pass_equals_the_reference(model, values, step):
    network, tensors = built(model, values, 2)
    x = values_of(2, ROWS, 4)
    outputs = network(tensors, x, Draws([0, 1], step, {}))
    temperature = 1.0 if model == "NODE" else 0.01 ** (step / 10)
    for m in range(2):
        weights, settings = arrays(tensors, m), network.settings
        hard = model != "NODE" and step == 10
        trees = reference_trees(weights, settings, x[m].numpy(), model != "NODE", temperature, hard)
        assert_close(outputs.prediction[m], reference_prediction(weights, settings, trees), 1e-7)
        penalised = trees if settings.last_linear else trees[..., :1]
        assert_close(outputs.contributions[m], penalised.reshape(ROWS, -1), 1e-7)


def test_the_penalty_is_the_mean_square_of_the_trees_outputs():
    network, tensors = built("NODE", CASES["outputs"])
    x, y = values_of(1, ROWS, 4), values_of(1, ROWS, seed=1)
    outputs = network(tensors, x, Draws([0], 0, {}))
    trees = reference_trees(arrays(tensors, 0), network.settings, x[0].numpy(), additive=False)
    penalties = {"output_penalty": torch.tensor([0.3], dtype=torch.float64)}
    expected = ((outputs.prediction[0].numpy() - y[0].numpy()) ** 2).mean() + 0.3 * (trees[..., 0] ** 2).mean()
    assert_close(loss(outputs, y, "regression", penalties)[0], expected, 1e-7)


@every("model", MODELS)
def test_dropout_takes_whole_outputs_away_before_later_layers_and_the_sum(model):
    values = SMALL | {"dropout": 0.4, "last_linear": True, "last_dropout": 0.5}
    network, tensors = built(model, values)
    rates = {"dropout": torch.tensor([0.4], dtype=torch.float64), "last_dropout": torch.tensor([0.5]).double()}
    x, draws = values_of(1, ROWS, 4), Draws([7], 3, rates)
    outputs = network(tensors, x, draws)
    first = network.grow(tensors, x.transpose(1, 2), network.mix(tensors, draws), Draws([7], 3, {}))[0]
    keep = draws.keep("dropout/0", "dropout", (5, 1, ROWS), torch.float64)
    assert 0 < keep.mean() < 1
    dropped = outputs.contributions.transpose(1, 2)
    assert_close(dropped[:, :5], (first * keep / 0.6)[:, :, 0].numpy())
    keep = draws.keep("last_dropout", "last_dropout", (2, 5, 1), torch.float64)
    weights = (tensors["last"] * keep / 0.5).flatten(1)
    assert_close(outputs.prediction, (torch.einsum("mtb,mt->mb", dropped, weights) + tensors["bias"]).numpy())


def test_the_choice_hardens_exponentially_and_stays_hard():
    network, tensors = built("NODE-GAM", SMALL)
    assert [network.temperature(step) for step in (-1, 0, 5, 10, 11)] == pytest.approx([1, 1, 0.1, 0, 0])
    assert network.temperature(9) > 0.01
    choices = [network.mix(tensors, Draws([0], step, {}))[0].choice for step in (0, 9, 10)]
    hard = network.mix(tensors, None)[0].choice
    assert torch.equal(choices[2], hard)
    assert torch.equal(hard.sum(dim=1), torch.ones(1, 1, 5).double())
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert (choices[0] > 0).sum() > (choices[1] > 0).sum() >= 5
    at_once = make_network(make_settings("NODE-GAM", SMALL | {"anneal_steps": 0}), 4)
    assert [at_once.temperature(step) for step in (-1, 0, 1)] == [1, 0, 0]


@every("model", MODELS)
def test_choices_get_a_gradient_until_they_are_hard(model):
    network, tensors = built(model, SMALL)
    for tensor in tensors.values():
        tensor.requires_grad_(True)
    for step in (0, 10):
        total = network(tensors, values_of(1, ROWS, 4), Draws([0], step, {})).prediction.sum()
        names = [name for name in tensors if name.startswith("logits")]
        gradients = torch.autograd.grad(total, [tensors[name] for name in names], allow_unused=True)
        frozen = model != "NODE" and step == 10
        assert all((g is None) == frozen for g in gradients)
        assert network.fixed(step) == (sum(network.parameters[name].size for name in names) if frozen else 0)
    assert list(network.parameters)[: len(names)] == names  # they come first, so that a count says which are fixed


@every("name", [name for name in CASES if name != "one_layer"])
@every("attention", [0, 3])
def test_node_gam_is_a_sum_over_features(name, attention):
    network, tensors = built("NODE-GAM", CASES[name] | {"attention": attention})
    x = values_of(1, ROWS, 4)
    outputs = network(tensors, x)
    total = outputs.contributions.sum(dim=2) + tensors["bias"][:, None]
    assert_close(outputs.prediction, total.numpy())
    for i in range(4):
        moved = x.clone()
        moved[..., i] += 1.0
        changed = (network(tensors, moved).contributions != outputs.contributions).any(dim=1)[0]
        assert changed.tolist() in ([j == i for j in range(4)], [False] * 4)
    assert (outputs.contributions != 0).any(dim=(0, 1)).sum() > 1
    for i, j in itertools.combinations(range(4), 2):
        difference = mixed_difference(lambda x: network(tensors, x).prediction, x, i, j, (0.8, -0.5))
        assert difference.abs().max() < 1e-12
    soft = mixed_difference(lambda x: network(tensors, x, Draws([0], 0, {})).prediction, x, 0, 1, (0.8, -0.5))
    assert soft.abs().max() > 1e-3 or name == "one_column"


@pytest.mark.parametrize("attention", [0, 3])
def test_node_ga2m_has_differences_of_two_features_but_none_of_three(attention):
    values = SMALL | {"trees": 12, "depth": 4, "layers": 3, "attention": attention}
    network, tensors = built("NODE-GA2M", values)
    x = values_of(1, ROWS, 4)

    def predict(x):
        return network(tensors, x).prediction

    pairs = [mixed_difference(predict, x, i, j, (0.8, -0.5)) for i, j in itertools.combinations(range(4), 2)]
    assert max(float(p.abs().max()) for p in pairs) > 1e-3
    for i, j, k in itertools.combinations(range(4), 3):
        moved = x.clone()
        moved[..., k] += 0.7
        third = mixed_difference(predict, moved, i, j, (0.8, -0.5)) - mixed_difference(predict, x, i, j, (0.8, -0.5))
        assert third.abs().max() < 1e-12


def test_trees_of_two_features_are_deep_enough_for_them_and_may_choose_two():
    network = make_network(make_settings("NODE-GA2M", SMALL | {"depth": 1, "colsample_bytree": 0.01}), 5)
    assert network.depth == 2
    assert network.buffers["columns.0"].scale == 2
    assert make_network(make_settings("NODE-GA2M", SMALL), 1).parameters["logits.0"].shape == (1, 2, 5)
    assert "logits.0" not in make_network(make_settings("NODE-GAM", SMALL | {"colsample_bytree": 0.0}), 5).parameters


@every("model", MODELS)
def test_forward_and_reverse_derivatives_of_an_evaluation_agree(model):
    network, tensors = built(model, SMALL)
    x, tangent = values_of(1, ROWS, 4), torch.zeros(1, ROWS, 4).double()
    tangent[..., 1] = 1.0
    _, slope = torch.func.jvp(lambda x: network(tensors, x).prediction, (x,), (tangent,))
    leaf = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(tensors, leaf).prediction.sum(), leaf)
    assert_close(slope[0], gradient[0, :, 1].numpy())
    assert slope.abs().max() > 0.01


def test_node_gam_answers_what_explanations_ask():
    network, tensors = built("NODE-GAM", SMALL)
    told = explainer(network, tensors, values_of(30, 4), 1.0, "a run")
    assert told.additivity().per_feature == pytest.approx([1] * 4, abs=1e-9)
    assert told.interventions()["variability"] == pytest.approx([0] * 4, abs=1e-12)
    shapes, _ = network.responses(tensors, values_of(1, 6, 4))
    assert shapes.shape == (1, 4, 6, 1)


def test_node_answers_what_explanations_ask():
    network, tensors = built("NODE", SMALL)
    told = explainer(network, tensors, values_of(30, 4), 1.0, "a run")
    assert 0 < told.measures({})["additivity"]["marginal"] < 1


@every("model", MODELS)
def test_weights_are_chosen_anew_when_parameters_change_in_place(model):
    network, tensors = built(model, SMALL)
    x = values_of(1, ROWS, 4)
    first = network(tensors, x).prediction
    assert torch.equal(network(tensors, x).prediction, first)
    tensors["logits.0"].copy_(tensors["logits.0"].flip(1))
    changed = network(tensors, x).prediction
    assert not torch.equal(changed, first)
    assert torch.equal(make_network(network.settings, 4)(tensors, x).prediction, changed)
    other = clones(tensors)
    other["logits.0"] = other["logits.0"].flip(1)
    assert torch.equal(network(other, x).prediction, first)


def test_subsets_and_positive_values_are_drawn_as_declared():
    mask = Parameter((7, 400), "subset", 3).initialize("m", [1, 2], torch.device("cpu"))
    assert mask.shape == (2, 7, 400)
    assert torch.equal(mask.sum(dim=1), torch.full((2, 400), 3.0))
    assert (mask.mean(dim=2) - 3 / 7).abs().max() < 0.1
    assert not torch.equal(mask[0], mask[1])
    values = Parameter((1000,), "positive", 2.0).initialize("p", [1], torch.device("cpu"))
    assert 0 < values.min() < 0.05
    assert 1.95 < values.max() < 2
    assert values.mean() == pytest.approx(1, abs=0.05)


@every("model", MODELS)
def test_thresholds_are_percentiles_and_temperatures_reach_the_farthest_row(model):
    values = SMALL | {"layers": 2, "trees": 300, "depth": 4}
    network = make_network(settings_of(model, values), 4)
    parameters, buffers = network.initialize([0, 1], torch.device("cpu"))
    tensors = {name: t.double() for name, t in (parameters | buffers).items()}
    x = values_of(2, 50, 4)
    network.settle(tensors, x, [0, 1], {})
    draws, outputs = Draws([0, 1], 0, {}), []
    for layer, mix in enumerate(network.mix(tensors, draws)):
        compared = mix.values(x.transpose(1, 2), outputs)
        compared = torch.stack([compared[:, d % compared.shape[1]] for d in range(4)], dim=1)
        threshold = tensors[f"threshold.{layer}"][..., None]
        reach = (compared - threshold).abs().amax(dim=-1) + 1e-6
        assert_close(tensors[f"log_temperature.{layer}"], reach.log().numpy(), 1e-9)
        place = (compared < threshold).double().mean(dim=-1).flatten()  # a percentile's level, uniform
        assert_close(torch.quantile(place, torch.tensor([0.1, 0.5, 0.9]).double()), [0.1, 0.5, 0.9], 0.04)
        assert not torch.equal(threshold[0], threshold[1])
        outputs.append(network.layer(tensors, layer, mix.values(x.transpose(1, 2), outputs), draws))


@every("model, values", ALL)
def test_a_stack_evaluates_as_its_members_do(model, values):
    network, tensors = built(model, values, 3)
    x = values_of(3, ROWS, 4)
    together = network(tensors, x, Draws([0, 1, 2], 4, {})).prediction
    for m in range(3):
        own = {name: t[m : m + 1] for name, t in tensors.items()}
        alone = network(own, x[m : m + 1], Draws([m], 4, {})).prediction
        assert_close(together[m], alone[0].numpy(), 1e-10)


def test_member_bytes_and_work_count_trees():
    small, large = (make_network(make_settings("NODE", SMALL | {"trees": t}), 4) for t in (5, 50))
    assert large.row_cells == 10 * small.row_cells
    assert large.passes("threshold.0") >= 1
    assert make_network(make_settings("NODE-GAM", SMALL | {"trees": 50}), 4).passes("threshold.1") > 8


# --- the authors' package ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authors():
    """The package's own trees."""
    place = nodegam.folder()
    if place is None:
        pytest.skip(f"no nodegam here: {nodegam.VARIABLE} may name a folder that holds the package")
    with nodegam.modules(place) as found:
        yield found


def copy_weights(tensors, network, settings):
    """Write one member's weights into theirs: axes in their order, a leaf's lowest bit is 0 where the first passes."""
    depth = tensors["threshold.0"].shape[1]
    leaves = [sum((1 - (leaf >> d & 1)) << (depth - 1 - d) for d in range(depth)) for leaf in range(2**depth)]
    for i, layer in enumerate(network):
        if f"logits.{i}" in tensors:
            layer.feature_selection_logits.data = tensors[f"logits.{i}"][0].transpose(1, 2).clone()
        if f"columns.{i}" in tensors:
            layer.colsample.data = tensors[f"columns.{i}"][0][..., None].clone()
        layer.feature_thresholds.data = tensors[f"threshold.{i}"][0].T.clone()
        layer.log_temperatures.data = tensors[f"log_temperature.{i}"][0].T.clone()
        layer.response.data = tensors[f"response.{i}"][0][..., leaves].clone()
        layer.bin_codes_1hot.data = layer.bin_codes_1hot.data.double()
        if f"key.{i}" in tensors:
            layer.att_key.data, layer.att_query.data = tensors[f"key.{i}"][0].clone(), tensors[f"query.{i}"][0].clone()
        layer._is_initialized_tensor.data.fill_(1)
    if settings.last_linear:
        network.last_w.data = tensors["last"][0].reshape(-1, 1).clone()
    network.bias.data = tensors["bias"][0].clone()


@every("step", [0, 4, 10, None])
@every("model, values", ALL)
def test_outputs_penalty_and_gradients_equal_the_authors_package(authors, model, values, step):
    network, tensors = built(model, values | {"output_penalty": 0.3})
    settings, x = network.settings, values_of(1, ROWS, 4)
    other, choice = nodegam.build(authors, settings, 4)
    copy_weights(tensors, other, settings)
    other.train(step is not None)
    leaves = {name: t.requires_grad_(True) for name, t in tensors.items()}
    draws = None if step is None else Draws([0], step, {})
    if model != "NODE":  # theirs are float32
        choice.discrete_op = lambda logits, dim=-1: authors.nn_utils.my_one_hot(logits, dim=dim).double()
    if model != "NODE" and step is not None:
        choice.temp_step_callback(step)
        choice.tau.data = torch.tensor(settings.min_temperature if step >= 10 else 0.01 ** (step / 10)).double()
    ours = network(leaves, x, draws)
    expected, penalty = other(x[0], return_outputs_penalty=True)
    assert_close(ours.prediction[0].detach(), expected.detach().numpy(), 1e-6)
    if step is None:
        return
    assert_close(0.3 * ours.contributions.square().mean().detach(), penalty.detach().numpy(), 1e-6)
    names = [name for name in network.parameters if not (network.fixed(step) and name.startswith("logits"))]
    gradients = torch.autograd.grad(ours.prediction.square().sum(), [leaves[name] for name in names])
    expected.square().sum().backward()
    found = {name: g.detach() for name, g in zip(names, gradients, strict=True)}
    for i, layer in enumerate(other):
        assert_close(found[f"threshold.{i}"][0].T, layer.feature_thresholds.grad.numpy(), 1e-6)
        assert_close(found[f"log_temperature.{i}"][0].T, layer.log_temperatures.grad.numpy(), 1e-6)
        if f"logits.{i}" in found:
            assert_close(found[f"logits.{i}"][0].transpose(1, 2), layer.feature_selection_logits.grad.numpy(), 1e-6)
        if f"key.{i}" in found:
            assert_close(found[f"key.{i}"][0], layer.att_key.grad.numpy(), 1e-6)
            assert_close(found[f"query.{i}"][0], layer.att_query.grad.numpy(), 1e-6)


def test_entmax_and_entmoid_equal_the_authors_package(authors):
    logits, x = 2 * values_of(1, 20, 6), 3 * values_of(50)
    for ours, their, at in (
        (entmax15, lambda z: authors.nn_utils.entmax15(z, dim=1), logits),
        (entmoid15, authors.nn_utils.entmoid15, x),
    ):
        first, second = at.clone().requires_grad_(True), at.clone().requires_grad_(True)
        found, expected = ours(first), their(second)
        assert_close(found.detach(), expected.detach().numpy(), 1e-9)
        weights = values_of(*at.shape, seed=3)
        gradients = [torch.autograd.grad((y * weights).sum(), z)[0] for y, z in ((found, first), (expected, second))]
        assert_close(gradients[0], gradients[1].numpy(), 1e-7)
