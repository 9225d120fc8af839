"""The networks compute the paper's formulas, in stacks as alone."""

import itertools
import math

import naive
import pytest
import torch
from compared import arrays, assert_close, assert_outputs, clones, member, mixed_difference, normal, printed, ranges
from every import every
from hypothesis import given
from hypothesis import strategies as st

from mixnam.models import LinearSettings, MixNAM, MixNAMSettings, NAMSettings, make_network
from mixnam.models.layers import Draws
from mixnam.models.mixture import extra_parameters, top_k_mask
from mixnam.paper import published
from mixnam.training.trainer import loss

ROWS = 7
SMALL = {"layers": 2, "width": 5, "experts": 3, "active_experts": 3}
SPARSE = {"layers": 3, "width": 4, "experts": 5, "active_experts": 2}
RECIPE = {"encoding": "piecewise_linear", "bins": 4, "activation": "silu", "shared_normalization": False}
#: settings, features, members
CASES = {
    "dense": (SMALL, 3, 1),
    "sparse": (SPARSE, 4, 2),
    "sparse_batch_norm": (SPARSE | {"normalization": "batch_norm"}, 2, 2),
    "own_batch_norms": (SMALL | {"normalization": "batch_norm", "shared_normalization": False}, 3, 1),
    "own_layer_norms": (SMALL | {"shared_normalization": False}, 3, 2),
    "own_layer_norms_alone": (SPARSE | {"shared_normalization": False}, 2, 1),
    "our_recipe": (SMALL | RECIPE, 3, 2),
    "in_pieces": (SPARSE | {"encoding": "piecewise_linear", "bins": 3}, 2, 1),
    "silu": (SMALL | {"activation": "silu", "normalization": "batch_norm"}, 2, 1),
    "one_expert_one_feature": ({"layers": 1, "width": 3, "experts": 1, "active_experts": 1}, 1, 1),
}


@every("gaps", [False, True])
@every("case", CASES)
def test_evaluation_equals_the_reference(build, case, gaps):
    values, n, members = CASES[case]
    settings = MixNAMSettings(**values)
    network, tensors = build(settings, n, range(members), gaps=gaps)
    x = normal(members, ROWS, n)
    if gaps:
        x[:, ::3, 0] = torch.nan
    before = clones(tensors)
    outputs = network(tensors, x)
    for m in range(members):
        assert_outputs(outputs, m, naive.forward(arrays(tensors, m), settings, x[m].numpy()))
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)


@every("mode", ["scale", "drop", "renormalize"])
@every("case", CASES)
def test_a_training_pass_equals_the_reference(build, case, mode):
    values, n, members = CASES[case]
    settings = MixNAMSettings(**values, expert_dropout_mode=mode)
    network, tensors = build(settings, n, range(members))
    x = normal(members, ROWS, n)
    rates = {"dropout": torch.tensor([0.3, 0.1][:members]), "expert_dropout": torch.tensor([0.4, 0.2][:members])}
    rates = {name: rate.double() for name, rate in rates.items()}
    draws = Draws(list(range(members)), 4, rates)
    kept = [
        draws.keep(f"dropout/{layer}", "dropout", (n, ROWS, settings.width), torch.float64)
        for layer in range(settings.layers)
    ]
    kept_experts = draws.keep("expert_dropout", "expert_dropout", (ROWS, n, settings.experts), torch.float64)
    weights = [arrays(tensors, m) for m in range(members)]
    outputs = network(tensors, x, draws)
    for m in range(members):
        encoder = [mask[m].numpy() for mask in kept]
        rate, expert_rate = (float(rates[name][m]) for name in ("dropout", "expert_dropout"))
        masks = naive.Masks(encoder, kept_experts[m].numpy(), rate, expert_rate)
        assert_outputs(outputs, m, naive.forward(weights[m], settings, x[m].numpy(), masks))
        for name in network.buffers:  # the reference has updated its copy of the running statistics
            assert_close(tensors[name][m], weights[m][name])


@every("task", ["regression", "classification"])
@every("case", CASES)
def test_loss_equals_the_reference(build, case, task):
    values, n, members = CASES[case]
    settings = MixNAMSettings(**values)
    network, tensors = build(settings, n, range(members))
    x, y = normal(members, ROWS, n), normal(members, ROWS, seed=1)
    y = (y > 0).double() if task == "classification" else y
    penalties = {"output_penalty": [0.3, 0.7], "variation_penalty": [2.0, 0.5]}
    tensor_penalties = {name: torch.tensor(v[:members], dtype=torch.float64) for name, v in penalties.items()}
    losses = loss(network(tensors, x), y, task, tensor_penalties)
    for m in range(members):
        expected = naive.loss(
            naive.forward(arrays(tensors, m), settings, x[m].numpy()),
            y[m].numpy(), task, penalties["output_penalty"][m], penalties["variation_penalty"][m],
        )  # fmt: skip
        assert_close(losses[m], expected)


@every("case", CASES)
def test_combining_responses_gives_what_the_network_gives(build, case):
    values, n, members = CASES[case]
    network, tensors = build(MixNAMSettings(**values), n, range(members))
    x = normal(members, ROWS, n)
    experts, shares = network.responses(tensors, x)
    scores = shares.sum(dim=1) + network.score_bias(tensors)[:, None]
    combined, outputs = network.combine(tensors, experts.transpose(1, 2), scores), network(tensors, x)
    for name in ("prediction", "contributions", "experts", "relevance"):
        assert_close(getattr(combined, name), getattr(outputs, name))


def test_responses_of_a_feature_depend_on_that_feature_only(build):
    network, tensors = build(MixNAMSettings(**SPARSE), 3)
    x = normal(1, ROWS, 3)
    moved = x.clone()
    moved[..., 1] += 1
    for before, after in zip(network.responses(tensors, x), network.responses(tensors, moved), strict=True):
        assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
        assert not torch.equal(before[:, 1], after[:, 1])


@pytest.mark.parametrize("training", [False, True])
def test_nam_equals_torch_modules(build, training):
    settings = NAMSettings(hidden=(6, 5))
    network, tensors = build(settings, 3, (0, 1))
    nets = [naive.torch_nam(tensors, m, 3) for m in range(2)]
    for step in range(4):  # several, so that the running statistics are seen to accumulate
        x = normal(2, 5 + step, 3, seed=step)
        outputs = network(tensors, x, Draws([0, 1], step, {}) if training else None)
        for m, i in itertools.product(range(2), range(3)):
            net = nets[m][i].train(training)
            assert_close(outputs.contributions[m, :, i], net(x[m, :, i : i + 1]).detach().squeeze(1))
            for layer in range(2):
                assert_close(tensors[f"norm.{layer}.mean"][m, i], net[3 * layer + 1].running_mean)
                assert_close(tensors[f"norm.{layer}.variance"][m, i], net[3 * layer + 1].running_var)
        assert_close(outputs.prediction, tensors["bias"][:, None] + outputs.contributions.sum(dim=2))


def test_nam_drops_units_after_each_activation(build):
    network, tensors = build(NAMSettings(hidden=(6, 5)), 2)
    x = normal(1, 8, 2)
    draws = Draws([3], 1, {"dropout": torch.tensor([0.25], dtype=torch.float64)})
    nets = naive.torch_nam(tensors, 0, 2)
    outputs = network(tensors, x, draws)
    for i, net in enumerate(nets):
        h = x[0, :, i : i + 1]
        for layer, width in enumerate((6, 5)):
            mask = draws.keep(f"dropout/{layer}", "dropout", (2, 8, width), torch.float64)[0, i]
            h = net[3 * layer : 3 * layer + 3](h) * mask / 0.75
        assert_close(outputs.contributions[0, :, i], net[-1](h).detach().squeeze(1))


def test_linear_network_is_the_weighted_sum(build):
    network, tensors = build(LinearSettings(), 3, (0, 1))
    x = normal(2, ROWS, 3)
    assert_close(network(tensors, x).prediction, (x @ tensors["weight"][..., None])[..., 0] + tensors["bias"][:, None])


def test_batch_norm_of_mixnam_is_torch_batch_norm_over_rows_and_width(build):
    settings = MixNAMSettings(layers=1, width=4, experts=2, active_experts=2, normalization="batch_norm")
    network, tensors = build(settings, 3)
    norm = torch.nn.BatchNorm1d(3, dtype=torch.float64)
    norm.weight.data, norm.bias.data = tensors["norm.gain"][0].clone(), tensors["norm.shift"][0].clone()
    norm.running_mean.copy_(tensors["norm.mean"][0])
    norm.running_var.copy_(tensors["norm.variance"][0])
    x = normal(1, ROWS, 3)
    h = x[0, :, :, None] * tensors["encoder.0.weight"][0, :, 0] + tensors["encoder.0.bias"][0]
    code = network.encode(tensors, x, Draws([0], 0, {}))
    assert_close(code[0].transpose(0, 1), torch.relu(norm(h)).detach())
    assert_close(tensors["norm.mean"][0], norm.running_mean)
    assert_close(tensors["norm.variance"][0], norm.running_var)


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=9), st.data())
def test_mask_holds_exactly_k_of_the_largest_scores_even_with_ties(scores, data):
    active = data.draw(st.integers(1, len(scores)))
    mask = top_k_mask(torch.tensor([scores, scores[::-1]], dtype=torch.float64), active)
    assert mask.sum(dim=-1).tolist() == [active, active]
    chosen = sorted(s for s, kept in zip(scores, mask[0], strict=True) if kept)
    assert chosen == sorted(scores)[-active:]


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9), st.data())
def test_relevance_lies_on_the_simplex(scores, data):
    active = data.draw(st.integers(1, len(scores)))
    network = make_network(MixNAMSettings(experts=len(scores), active_experts=active, width=2), 1)
    relevance = network.relevance(torch.tensor(scores, dtype=torch.float64))
    assert abs(float(relevance.sum()) - 1) < 1e-12
    assert float(relevance.min()) >= 0
    assert int((relevance > 0).sum()) <= active


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 4), st.sampled_from([{}, RECIPE]))
def test_contributions_lie_within_bounds_and_add_up(build, seed, experts, active, recipe):
    settings = MixNAMSettings(layers=1, width=3, experts=experts, active_experts=min(active, experts), **recipe)
    network, tensors = build(settings, 3, (seed, seed + 1))
    outputs = network(tensors, 3 * normal(2, ROWS, 3, seed=seed))
    assert bool((outputs.contributions >= outputs.lower - 1e-12).all())
    assert bool((outputs.contributions <= outputs.upper + 1e-12).all())
    assert_close(outputs.prediction, tensors["bias"][:, None] + outputs.contributions.sum(dim=2))


def test_members_of_a_stack_compute_what_each_computes_alone(build):
    settings = MixNAMSettings(**SPARSE, normalization="batch_norm")
    network, tensors = build(settings, 3, (4, 5, 6))
    x = normal(3, ROWS, 3)
    rates = {"dropout": torch.tensor([0.2, 0.0, 0.6]), "expert_dropout": torch.tensor([0.0, 0.5, 0.3])}
    parts = [clones(member(tensors, m)) for m in range(3)]
    together = network(tensors, x, Draws([4, 5, 6], 2, rates))
    for m, part in enumerate(parts):
        alone = network(part, x[m : m + 1], Draws([4 + m], 2, {k: r[m : m + 1] for k, r in rates.items()}))
        assert_close(together.prediction[m], alone.prediction[0])
        assert_close(together.relevance[m], alone.relevance[0])


def test_a_feature_that_lost_every_expert_adds_nothing(build):
    network, tensors = build(MixNAMSettings(**SMALL, expert_dropout_mode="renormalize"), 2)
    draws = Draws([0], 0, {"expert_dropout": torch.tensor([0.9], dtype=torch.float64)})
    outputs = network(tensors, normal(1, 50, 2), draws)
    sums = outputs.relevance.sum(dim=-1)
    lost = sums == 0
    assert bool(lost.any()) and not bool(lost.all())
    assert bool((outputs.contributions[lost] == 0).all())
    assert_close(sums[~lost], 1.0)


def test_gradients_stay_finite_where_a_feature_lost_every_expert(build):
    network, tensors = build(MixNAMSettings(**SMALL, expert_dropout_mode="renormalize"), 2)
    leaves = {name: t.float().requires_grad_(True) for name, t in tensors.items()}
    draws = Draws([0], 0, {"expert_dropout": torch.tensor([0.9])})
    outputs = network(leaves, normal(1, 50, 2).float(), draws)
    assert bool((outputs.relevance.sum(dim=-1) == 0).any())
    total = 100 * outputs.prediction.sum()  # a row's share of the loss, in a last batch of one row
    for gradient in torch.autograd.grad(total, list(leaves.values()), allow_unused=True):
        assert gradient is None or bool(torch.isfinite(gradient).all())


@every("recipe", [{}, RECIPE])
def test_one_expert_makes_a_plain_additive_network(build, recipe):
    settings = MixNAMSettings(layers=2, width=5, experts=1, active_experts=1, **recipe)
    network, tensors = build(settings, 3)
    x = normal(1, ROWS, 3)

    def predict(rows):
        return network(tensors, rows).prediction

    weights = arrays(tensors, 0)
    functions = [
        naive.encoder(weights, settings, i, x[0, :, i].numpy()) @ weights["experts.weight"][i]
        + weights["experts.bias"][i]
        for i in range(3)
    ]
    assert_close(predict(x)[0], weights["bias"] + sum(functions)[:, 0])
    for i, j in itertools.combinations(range(3), 2):
        assert float(mixed_difference(predict, x, i, j, (0.7, -1.1)).abs().max()) < 1e-12
    routed = tensors | {"router.weight": normal(1, 15, 3), "router.bias": normal(1, 3)}
    assert torch.equal(network(routed, x).prediction, predict(x))


@every("recipe", [{}, RECIPE])
def test_logit_of_the_relevance_is_additive_for_two_experts(build, recipe):
    network, tensors = build(MixNAMSettings(layers=2, width=6, experts=2, active_experts=2, **recipe), 4)
    x = normal(1, 50, 4)

    def logits(rows):
        return network(tensors, rows).relevance[..., 0].logit()

    def predict(rows):
        return network(tensors, rows).prediction

    scale = float(logits(x).abs().max())
    for i, j in itertools.combinations(range(4), 2):
        assert float(mixed_difference(logits, x, i, j, (0.9, -1.3)).abs().max()) <= 1e-9 * scale
        # the prediction is not additive, or nothing would have been tested
        assert float(mixed_difference(predict, x, i, j, (0.9, -1.3)).abs().max()) > 1e-3


@pytest.mark.parametrize("initialization", ["authors", "standard"])
def test_initial_values_have_their_ranges(initialization):
    n, d, count = 6, 16, 4
    settings = MixNAMSettings(layers=2, width=d, experts=count, active_experts=2, initialization=initialization)
    network = make_network(settings, n)
    parameters, _ = network.initialize(range(40), torch.device("cpu"))
    expected = ranges(initialization, n, d, count)
    if initialization == "standard":
        expected["router.weight"] = 1 / math.sqrt(n * d)
    for name, bound in expected.items():
        values = parameters.pop(name).double().flatten()
        share = 1 - 20 / len(values)
        assert bound * share < float(values.max()) <= bound * (1 + 1e-6), name
        assert -bound * share > float(values.min()) >= -bound * (1 + 1e-6), name
        error = 5 / math.sqrt(len(values))
        assert abs(float(values.std()) * math.sqrt(3) / bound - 1) < error, name
        assert abs(float(values.mean()) / bound) < error, name
    if initialization == "authors":
        router = parameters.pop("router.weight").double()
        expected_deviation = math.sqrt(2 / (n * d + n * count))
        assert float(router.std()) == pytest.approx(expected_deviation, rel=5 / math.sqrt(2 * router.numel()))
        assert float(router.abs().max()) > 3 * expected_deviation  # normal, not uniform
    constants = {name: set(values.flatten().tolist()) for name, values in parameters.items()}
    assert constants == {"norm.gain": {1.0}, "norm.shift": {0.0}, "bias": {0.0}}


def test_parameters_start_from_different_draws():
    network = make_network(MixNAMSettings(layers=3, width=8), 2)
    parameters, _ = network.initialize([0, 1], torch.device("cpu"))
    assert not torch.equal(parameters["encoder.1.weight"], parameters["encoder.2.weight"])
    assert not torch.equal(parameters["router.weight"][0], parameters["router.weight"][1])
    again, _ = network.initialize([1], torch.device("cpu"))
    assert torch.equal(parameters["router.weight"][1], again["router.weight"][0])


@every("shared, norm", [(True, "layer_norm"), (False, "layer_norm"), (False, "batch_norm")])
def test_parameter_count_is_the_sum_of_its_parts(shared, norm):
    n, d, count, layers = 5, 8, 3, 4
    settings = MixNAMSettings(
        layers=layers, width=d, experts=count, active_experts=2, normalization=norm, shared_normalization=shared
    )
    encoders = n * (2 * d + (layers - 1) * (d * d + d))
    norms = 2 * d if shared else 2 * n * layers * (d if norm == "layer_norm" else 1)
    experts, router = n * (d * count + count), n * d * n * count + n * count
    network = MixNAM(settings, n)
    assert network.parameter_count() == encoders + norms + experts + router + 1
    assert extra_parameters(n, count, d) == experts + router
    parts = [p.size for name, p in network.parameters.items() if name.startswith(("experts", "router"))]
    assert extra_parameters(n, count, d) == sum(parts)


@every("row", published.table("table9_complexity").to_dict("records"))
def test_extra_parameters_are_those_of_table_9(row):
    settings = MixNAMSettings(**published.settings(row["dataset"], "MixNAM"))
    count = extra_parameters(row["features"], settings.experts, settings.width)
    assert printed(count, row["mixnam_extra_parameters"], 1000) == row["mixnam_extra_parameters"]
    assert printed(4 * count, row["mixnam_extra_memory"], 1024) == row["mixnam_extra_memory"]
