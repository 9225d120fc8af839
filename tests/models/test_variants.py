"""MixNAM-D, MixNAM-E, a shared router and the MLP compute the paper's Appendices D, F, G and H."""

import dataclasses
import itertools
import json
import math

import naive
import numpy as np
import pytest
import scipy.stats
import torch
from compared import arrays, assert_close, assert_outputs, clones, mixed_difference, normal, printed, ranges
from every import every
from hypothesis import given
from hypothesis import strategies as st
from stacks_by_hand import MEMBERS, Killed, assert_identical, assert_same, data, kill, part, settings_list, trainer

from mixnam import randomness
from mixnam.explain import measures
from mixnam.models import MLP, Featurewise, MixNAMDSettings, MixNAMESettings, MixNAMSettings, MLPSettings, make_network
from mixnam.models.layers import Draws
from mixnam.models.mixture import extra_parameters
from mixnam.paper import published
from mixnam.runs.fitting import fit, measure_again
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store
from mixnam.training.trainer import loss

CPU = torch.device("cpu")
ROWS = 7
SMALL = {"layers": 2, "width": 5, "experts": 3, "active_experts": 3}
SPARSE = {"layers": 2, "width": 4, "experts": 5, "active_experts": 2}
BATCH_NORM = {"normalization": "batch_norm", "shared_normalization": False}
ONE = {"layers": 1, "width": 3, "experts": 1, "active_experts": 1}
#: settings, features, members
CASES = {
    "diagonal": (MixNAMDSettings(**SMALL), 3, 2),
    "diagonal_sparse": (MixNAMDSettings(**SPARSE), 3, 1),
    "diagonal_warm": (MixNAMDSettings(**SMALL, **BATCH_NORM, temperature=2.0), 2, 2),
    "diagonal_one": (MixNAMDSettings(**ONE), 2, 1),
    "diagonal_narrow": (
        MixNAMDSettings(layers=2, width=1, experts=3, active_experts=3, normalization="batch_norm"),
        3,
        2,
    ),
    "even": (MixNAMESettings(**SPARSE), 3, 2),
    "even_all": (MixNAMESettings(**SMALL, **BATCH_NORM), 2, 1),
    "even_one": (MixNAMESettings(**ONE), 3, 1),
    "even_shared": (MixNAMESettings(**SPARSE, router="shared"), 3, 1),
    "shared": (MixNAMSettings(**SMALL, router="shared"), 4, 2),
    "shared_sparse": (MixNAMSettings(**SPARSE, **BATCH_NORM, router="shared"), 2, 1),
    "shared_one": (MixNAMSettings(**ONE, router="shared"), 2, 1),
}
#: (settings class, further settings) of every mixture
KINDS = {
    "dense": (MixNAMSettings, {}),
    "shared": (MixNAMSettings, {"router": "shared"}),
    "diagonal": (MixNAMDSettings, {}),
    "even": (MixNAMESettings, {}),
}
PENALTIES = {name: torch.tensor([0.1], dtype=torch.float64) for name in ("output_penalty", "variation_penalty")}


def noise(seeds, step, shape):
    """MixNAM-D's Gumbel noise in a step of training: (M, B, n, C)."""
    keys = [randomness.key(seed, "gumbel", step) for seed in seeds]
    return randomness.gumbel(keys, math.prod(shape)).view(len(seeds), *shape)


def predictor(network, tensors):
    return lambda rows: network(tensors, rows).prediction


def leaves(tensors, buffers=()):
    return {k: t if k in buffers else t.clone().requires_grad_(True) for k, t in tensors.items()}


# --- against the reference


@every("case", CASES)
def test_evaluation_equals_the_reference(build, case):
    settings, n, members = CASES[case]
    network, tensors = build(settings, n, range(members))
    x = normal(members, ROWS, n)
    before = clones(tensors)
    outputs = network(tensors, x)
    for m in range(members):
        assert_outputs(outputs, m, naive.forward(arrays(tensors, m), settings, x[m].numpy()))
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)


@every("mode", ["scale", "renormalize"])
@every("case", CASES)
def test_a_training_pass_equals_the_reference(build, case, mode):
    settings, n, members = CASES[case]
    settings = type(settings)(**settings.all() | {"expert_dropout_mode": mode})
    network, tensors = build(settings, n, range(members))
    x = normal(members, ROWS, n)
    rates = {"dropout": torch.tensor([0.3, 0.1][:members]), "expert_dropout": torch.tensor([0.4, 0.2][:members])}
    rates = {name: rate.double() for name, rate in rates.items()}
    draws = Draws([8, 3][:members], 4, rates)
    shape = (n, ROWS, settings.width)
    kept = [draws.keep(f"dropout/{layer}", "dropout", shape, torch.float64) for layer in range(settings.layers)]
    shape = (ROWS, n, settings.experts)
    kept_experts = draws.keep("expert_dropout", "expert_dropout", shape, torch.float64)
    gumbel = noise(draws.seeds, 4, shape).numpy() if settings.model == "MixNAM-D" else [None] * members
    weights = [arrays(tensors, m) for m in range(members)]
    outputs = network(tensors, x, draws)
    for m in range(members):
        encoder = [mask[m].numpy() for mask in kept]
        rate, expert_rate = (float(rates[name][m]) for name in ("dropout", "expert_dropout"))
        masks = naive.Masks(encoder, kept_experts[m].numpy(), rate, expert_rate)
        assert_outputs(outputs, m, naive.forward(weights[m], settings, x[m].numpy(), masks, gumbel[m]))
        for name in network.buffers:
            assert_close(tensors[name][m], weights[m][name])


@every("task", ["regression", "classification"])
@every("case", CASES)
def test_loss_equals_the_reference(build, case, task):
    settings, n, members = CASES[case]
    network, tensors = build(settings, n, range(members))
    x, y = normal(members, ROWS, n), normal(members, ROWS, seed=1)
    y = (y > 0).double() if task == "classification" else y
    penalties = {"output_penalty": [0.3, 0.7], "variation_penalty": [2.0, 0.5]}
    tensor_penalties = {name: torch.tensor(v[:members], dtype=torch.float64) for name, v in penalties.items()}
    losses = loss(network(tensors, x), y, task, tensor_penalties)
    for m in range(members):
        expected = naive.forward(arrays(tensors, m), settings, x[m].numpy())
        gamma, penalty = (penalties[name][m] for name in ("output_penalty", "variation_penalty"))
        assert_close(losses[m], naive.loss(expected, y[m].numpy(), task, gamma, penalty))


@every("case", CASES)
def test_combining_responses_gives_what_the_network_gives(build, case):
    settings, n, members = CASES[case]
    network, tensors = build(settings, n, range(members))
    x = normal(members, ROWS, n)
    experts, shares = network.responses(tensors, x)
    assert shares.shape == (members, n, ROWS, n * settings.experts)
    scores = shares.sum(dim=1) + network.score_bias(tensors)[:, None]
    combined, outputs = network.combine(tensors, experts.transpose(1, 2), scores), network(tensors, x)
    for name in ("prediction", "contributions", "experts", "relevance", "lower", "upper"):
        assert_close(getattr(combined, name), getattr(outputs, name))
    moved = x.clone()
    moved[..., 1] += 1
    for before, after in zip((experts, shares), network.responses(tensors, moved), strict=True):
        assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(experts[:, 1], network.responses(tensors, moved)[0][:, 1])


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 5))
def test_contributions_lie_within_bounds_and_add_up(build, kind, seed, experts, active):
    make, further = KINDS[kind]
    settings = make(layers=1, width=3, experts=experts, active_experts=min(active, experts), **further)
    network, tensors = build(settings, 3, (seed, seed + 1))
    x = 3 * normal(2, ROWS, 3, seed=seed)
    for outputs in (network(tensors, x), network(tensors, x, Draws([0, 1], seed, {}))):
        assert bool((outputs.contributions >= outputs.lower - 1e-12).all())
        assert bool((outputs.contributions <= outputs.upper + 1e-12).all())
        assert_close(outputs.prediction, tensors["bias"][:, None] + outputs.contributions.sum(dim=2))
        assert_close(outputs.relevance.sum(dim=-1), 1.0)
        assert float(outputs.relevance.min()) >= 0
        assert int((outputs.relevance > 0).sum(dim=-1).max()) <= settings.active_experts


@every("kind", KINDS)
def test_one_expert_makes_an_additive_network_without_a_variance_term(build, kind):
    make, further = KINDS[kind]
    network, tensors = build(make(**ONE, **further), 3)
    x, y = normal(1, ROWS, 3), normal(1, ROWS, seed=1)
    weights = arrays(tensors, 0)
    functions = [
        naive.encoder(weights, network.settings, i, x[0, :, i].numpy()) @ weights["experts.weight"][i]
        + weights["experts.bias"][i]
        for i in range(3)
    ]
    draws = Draws([0], 0, {})
    for outputs in (network(tensors, x), network(tensors, x, draws)):
        assert bool((outputs.relevance == 1).all())
        assert torch.equal(outputs.lower, outputs.upper)
        assert_close(outputs.prediction[0], weights["bias"] + sum(functions)[:, 0])
    parts = {k: v * 0 if k == "variation_penalty" else v for k, v in PENALTIES.items()}
    moved = leaves(tensors)
    total = loss(network(moved, x, draws), y, "regression", PENALTIES)
    assert float(total.detach()) == float(loss(network(tensors, x, draws), y, "regression", parts))
    for gradient in torch.autograd.grad(total.sum(), list(moved.values()), allow_unused=True):
        assert gradient is None or bool(torch.isfinite(gradient).all())


@every("sparse", [False, True])
@every("size", [1.0, 1e2, 1e6])
@every("kind", KINDS)
def test_scores_of_any_size_give_finite_losses_and_gradients(kind, size, sparse):
    make, further = KINDS[kind]
    network = make_network(make(**(SPARSE if sparse else SMALL), **further), 3)
    parameters, _ = network.initialize([0], CPU)  # single precision, as in training
    parameters["router.weight"] *= size
    parameters = leaves(parameters)
    outputs = network(parameters, normal(1, 200, 3).float(), Draws([0], 1, {"expert_dropout": torch.tensor([0.3])}))
    penalties = {name: value.float() for name, value in PENALTIES.items()}
    total = loss(outputs, normal(1, 200, seed=1).float(), "regression", penalties).sum()
    assert bool(torch.isfinite(total))
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        assert gradient is None or bool(torch.isfinite(gradient).all()), name


# --- MixNAM-D: Appendix G


@pytest.mark.parametrize("experts", [SMALL, SPARSE])
def test_mixnam_d_is_strictly_additive_and_routes_by_the_feature_alone(build, experts):
    network, tensors = build(MixNAMDSettings(**experts), 3)
    dense, dense_tensors = build(MixNAMSettings(**experts), 3)
    x = normal(1, 50, 3)
    for i, j in itertools.combinations(range(3), 2):
        for steps in ((0.7, -1.1), (3.0, 2.0)):
            assert float(mixed_difference(predictor(network, tensors), x, i, j, steps).abs().max()) < 1e-12
            assert float(mixed_difference(predictor(dense, dense_tensors), x, i, j, steps).abs().max()) > 1e-3
    moved = x.clone()
    moved[..., 1] -= 2
    before, after = network(tensors, x), network(tensors, moved)
    for name in ("relevance", "contributions", "experts"):
        first, second = getattr(before, name), getattr(after, name)
        assert torch.equal(first[:, :, [0, 2]], second[:, :, [0, 2]])
        assert not torch.equal(first[:, :, 1], second[:, :, 1])


def test_mixnam_d_uses_its_router(build):
    network, tensors = build(MixNAMDSettings(**SMALL), 2)
    x = normal(1, ROWS, 2)
    for name in ("router.weight", "router.bias"):
        changed = tensors | {name: normal(*tensors[name].shape, seed=5)}
        assert not torch.allclose(network(changed, x).relevance, network(tensors, x).relevance)


@pytest.mark.parametrize("initialization", ["authors", "standard"])
def test_initial_values_of_mixnam_d_have_their_ranges(initialization):
    n, d, count = 6, 16, 4
    settings = MixNAMDSettings(layers=2, width=d, experts=count, active_experts=2, initialization=initialization)
    parameters, _ = make_network(settings, n).initialize(range(40), CPU)
    expected = ranges(initialization, n, d, count)  # the router as the experts
    expected |= {f"router.{name}": expected[f"experts.{name}"] for name in ("weight", "bias")}
    assert parameters["router.weight"].shape == (40, n, d, count)
    assert parameters["router.bias"].shape == (40, n, count)
    for name, bound in expected.items():
        values = parameters[name].double().flatten()
        share = 1 - 20 / len(values)
        assert bound * share < float(values.max()) <= bound * (1 + 1e-6), name
        assert -bound * share > float(values.min()) >= -bound * (1 + 1e-6), name
        assert abs(float(values.std()) * math.sqrt(3) / bound - 1) < 5 / math.sqrt(len(values)), name
    assert not torch.equal(parameters["router.weight"], parameters["experts.weight"])


@pytest.mark.parametrize("initialization", ["authors", "standard"])
def test_initial_values_of_a_shared_router_have_their_ranges(initialization):
    n, d, count = 6, 16, 4
    settings = MixNAMSettings(width=d, initialization=initialization, router="shared")
    parameters, _ = make_network(settings, n).initialize(range(40), CPU)
    weight, bias = (parameters[f"router.{name}"].double() for name in ("weight", "bias"))
    assert weight.shape == (40, n * d, count)
    assert bias.shape == (40, count)
    deviation = math.sqrt(2 / (n * d + count)) if initialization == "authors" else 1 / math.sqrt(3 * n * d)
    assert float(weight.std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * weight.numel()))
    assert 0.9 / math.sqrt(n * d) < float(bias.abs().max()) <= 1 / math.sqrt(n * d)


def test_parameters_of_mixnam_d_are_counted():
    n, d, count = 5, 8, 6
    diagonal = make_network(MixNAMDSettings(width=d, experts=count, active_experts=count), n)
    shared = make_network(MixNAMSettings(width=d, experts=count, active_experts=count, router="shared"), n)
    dense = make_network(MixNAMSettings(width=d, experts=count, active_experts=count), n)

    def extra(network):
        return sum(p.size for name, p in network.parameters.items() if name.startswith(("experts", "router")))

    assert extra(diagonal) == extra_parameters(n, count, d, diagonal=True) == n * count * (2 * d + 2)
    assert extra(dense) == extra_parameters(n, count, d) == n * count * ((n + 1) * d + 2)
    assert extra(shared) == n * count * (d + 1) + count * (n * d + 1)
    assert len({network.parameter_count() - extra(network) for network in (diagonal, shared, dense)}) == 1


@every("model", ["mixnam", "mixnam_d"])
@every("row", published.table("table9_complexity").to_dict("records"))
def test_extra_parameters_are_those_of_table_9(row, model):
    diagonal = model == "mixnam_d"
    settings = MixNAMDSettings() if diagonal else MixNAMSettings()
    count = extra_parameters(row["features"], settings.experts, settings.width, diagonal=diagonal)
    assert printed(count, row[f"{model}_extra_parameters"], 1000) == row[f"{model}_extra_parameters"]
    assert printed(4 * count, row[f"{model}_extra_memory"], 1024) == row[f"{model}_extra_memory"]


def test_training_of_mixnam_d_samples_experts_by_their_relevance(build):
    settings = MixNAMDSettings(**SMALL, temperature=1e-3)  # so cold that one expert takes all
    network, tensors = build(settings, 2)
    rows = 20_000
    x = normal(1, 1, 2).expand(1, rows, 2)
    relevance = network(tensors, x[:, :1]).relevance[0, 0].numpy()
    sampled = network(tensors, x, Draws([0], 0, {})).relevance[0]
    assert float((sampled.amax(dim=-1) > 0.999).double().mean()) > 0.98
    for i in range(2):
        counts = np.bincount(sampled[:, i].argmax(dim=-1).numpy(), minlength=3)
        assert scipy.stats.chisquare(counts, rows * relevance[i]).pvalue > 1e-3
    same = (sampled[:, 0].argmax(dim=-1) == sampled[:, 1].argmax(dim=-1)).double().mean()  # features are independent
    assert float(same) == pytest.approx(relevance[0] @ relevance[1], abs=5 * 0.5 / math.sqrt(rows))


def test_samples_differ_between_rows_features_steps_and_members_and_can_be_repeated(build):
    network, tensors = build(MixNAMDSettings(**SMALL), 2, (0, 1))
    for tensor in tensors.values():
        tensor[1] = tensor[0]
    x = torch.full((2, 4, 2), 0.3, dtype=torch.float64)

    def sampled(step, seeds=(0, 1)):
        return network(tensors, x, Draws(seeds, step, {})).relevance

    first = sampled(0)
    assert torch.equal(first, sampled(0))
    assert not torch.allclose(first, sampled(1))
    assert not torch.allclose(first[0], first[1])
    assert not torch.allclose(first[:, 0], first[:, 1])
    assert torch.equal(sampled(0, (1, 0)).flip(0), first)


@pytest.mark.parametrize("experts", [SMALL, SPARSE], ids=["dense", "sparse"])
def test_gradients_of_mixnam_d_in_training_equal_finite_differences(build, experts):
    network, tensors = build(MixNAMDSettings(**experts, temperature=0.5), 2)
    x, y, draws = normal(1, ROWS, 2), normal(1, ROWS, seed=1), Draws([0], 3, {})

    def total(router):
        return loss(network(tensors | router, x, draws), y, "regression", PENALTIES).sum()

    router = {name: tensors[name].clone().requires_grad_(True) for name in ("router.weight", "router.bias")}
    gradients = torch.autograd.grad(total(router), list(router.values()))
    with torch.no_grad():
        for name, gradient in zip(router, gradients, strict=True):
            assert float(gradient.abs().max()) > 1e-4
            for index in itertools.islice(np.ndindex(*gradient.shape), 0, None, 5):
                values = []
                for sign in (1, -1):
                    moved = tensors[name].clone()
                    moved[index] += sign * 1e-6
                    values.append(float(total({name: moved})))
                assert float(gradient[index]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_predictions_of_mixnam_d_are_sampled_only_when_asked(build):
    plain, tensors = build(MixNAMDSettings(**SMALL), 3, (0, 1))
    sampling, _ = build(MixNAMDSettings(**SMALL, sample_at_prediction=True), 3, (0, 1))
    x = normal(2, 50, 3)
    expected, first, second = plain(tensors, x), sampling(tensors, x), sampling(tensors, x)
    assert torch.equal(first.prediction, second.prediction)
    assert not torch.allclose(first.prediction, expected.prediction)
    assert torch.equal(first.experts, expected.experts)
    assert bool(
        (first.contributions >= first.lower - 1e-12).all() and (first.contributions <= first.upper + 1e-12).all()
    )
    keys = [randomness.key(0, "gumbel/prediction")]  # one noise for all members: a stack predicts as its members do
    drawn = randomness.gumbel(keys, 50 * 3 * 3).view(50, 3, 3).numpy()
    for m in range(2):
        wanted = naive.forward(arrays(tensors, m), sampling.settings, x[m].numpy(), noise=drawn)
        assert_close(first.prediction[m], wanted["prediction"] if isinstance(wanted, dict) else wanted.prediction)
    # contributions, and what the measures combine, are not sampled
    assert torch.equal(first.contributions, expected.contributions)
    experts, shares = sampling.responses(tensors, x)
    scores = shares.sum(dim=1) + sampling.score_bias(tensors)[:, None]
    assert_close(sampling.combine(tensors, experts.transpose(1, 2), scores).prediction, expected.prediction)


# --- the Gumbel distribution


def test_gumbel_draws_are_gumbel():
    values = randomness.gumbel([randomness.key(4, "gumbel", 2)], 1 << 18)[0].numpy()
    count = len(values)
    assert values.dtype == np.float64
    assert abs(values.mean() - np.euler_gamma) < 5 * math.sqrt(math.pi**2 / 6 / count)
    # kurtosis 12/5 + 3: Var(s²) = (5.4 − 1) σ⁴ / count
    assert abs(values.var() - math.pi**2 / 6) < 5 * math.pi**2 / 6 * math.sqrt(4.4 / count)
    assert scipy.stats.kstest(values, scipy.stats.gumbel_r.cdf).pvalue > 1e-3


def test_gumbel_draws_depend_on_neither_the_stack_nor_the_count():
    keys = [randomness.key(seed, "x") for seed in range(3)]
    together = randomness.gumbel(keys, 70_001)
    for row, key in zip(together, keys, strict=True):
        assert torch.equal(row[:9_001], randomness.gumbel([key], 9_001)[0])
    assert not torch.equal(together[0], together[1])


def test_gumbel_draws_are_finite_at_the_ends(monkeypatch):
    monkeypatch.setattr(randomness, "bits", lambda *_: torch.tensor([[0, -1]]))
    low, high = randomness.gumbel([0], 2)[0].tolist()
    assert low == pytest.approx(-math.log(53 * math.log(2)))
    assert high == pytest.approx(53 * math.log(2), rel=1e-6)


# --- MixNAM-E: Appendix H


@every("active", [1, 2, 3, 5])
def test_relevance_of_mixnam_e_is_exactly_one_kth_on_the_k_largest_scores(build, active):
    network, tensors = build(MixNAMESettings(**SPARSE | {"active_experts": active}), 3, (0, 1))
    x = normal(2, ROWS, 3)
    _, shares = network.responses(tensors, x)
    scores = (shares.sum(dim=1) + network.score_bias(tensors)[:, None]).unflatten(2, (3, 5)).numpy()
    relevance = network(tensors, x).relevance.numpy()
    for cell in itertools.product(range(2), range(ROWS), range(3)):
        largest = np.argsort(scores[cell])[5 - active :]
        expected = np.zeros(5)
        expected[largest] = 1 / active
        assert relevance[cell].tolist() == expected.tolist()
    trained = network(tensors, x, Draws([0, 1], 0, {})).relevance.numpy()
    np.testing.assert_allclose(trained, relevance, rtol=1e-15, atol=0)


def test_ties_leave_exactly_k_experts_of_mixnam_e():
    network = make_network(MixNAMESettings(**SPARSE), 1)
    relevance = network.relevance(torch.zeros(4, 5))
    assert ((relevance == 0.5).sum(dim=-1) == 2).all()
    assert ((relevance == 0).sum(dim=-1) == 3).all()


@every("active", [1, 2, 5])
def test_gradients_of_mixnam_e_are_those_of_a_softmax_at_equal_weights(build, active):
    network, tensors = build(MixNAMESettings(**SPARSE | {"active_experts": active}), 3)
    x = normal(1, ROWS, 3)
    router = {name: tensors[name].clone().requires_grad_(True) for name in ("router.weight", "router.bias")}
    outputs = network(tensors | router, x, Draws([0], 0, {}))
    by_weight, by_bias = torch.autograd.grad(outputs.prediction.sum(), list(router.values()))
    codes = network.encode(tensors, x, None)[0].transpose(0, 1).flatten(1)  # (B, n·d)
    by_score = torch.zeros(ROWS, 3, 5, dtype=torch.float64)
    for b, j in itertools.product(range(ROWS), range(3)):
        chosen = outputs.relevance[0, b, j] > 0
        o = outputs.experts[0, b, j].detach()[chosen]
        jacobian = torch.eye(active, dtype=torch.float64) / active - 1 / active**2  # ∂r/∂φ over active experts
        by_score[b, j, chosen] = jacobian @ o
    assert_close(by_bias[0], by_score.sum(dim=0).flatten())
    assert_close(by_weight[0], codes.T @ by_score.flatten(1))
    assert (float(by_bias.abs().max()) > 1e-3) == (active > 1)


def test_bounds_of_mixnam_e_are_the_extremes_of_all_choices(build):
    network, tensors = build(MixNAMESettings(**SPARSE), 3)
    outputs = network(tensors, 2 * normal(1, 40, 3))
    cells = outputs.experts[0].numpy()
    means = np.array([cells[..., list(chosen)].mean(axis=-1) for chosen in itertools.combinations(range(5), 2)])
    assert len(means) == 10
    assert_close(outputs.lower[0], means.min(axis=0))
    assert_close(outputs.upper[0], means.max(axis=0))
    distance = np.abs(means - outputs.contributions[0].numpy()).min(axis=0)
    assert distance.max() < 1e-14  # the output is one of them
    assert bool((outputs.lower > outputs.experts.amin(dim=-1)).any())


def test_mixnam_e_with_all_experts_is_additive(build):
    network, tensors = build(MixNAMESettings(**SMALL), 3)
    x = normal(1, 30, 3)
    for i, j in itertools.combinations(range(3), 2):
        assert float(mixed_difference(predictor(network, tensors), x, i, j, (1.3, -2.0)).abs().max()) < 1e-12
    outputs = network(tensors, x)
    assert float((outputs.upper - outputs.lower).abs().max()) < 1e-14


# --- a shared router: Equation (16)


@pytest.mark.parametrize("experts", [SMALL, SPARSE], ids=["dense", "sparse"])
def test_a_shared_router_makes_a_mixture_of_additive_models(build, experts):
    settings = MixNAMSettings(**experts, router="shared")
    network, tensors = build(settings, 3)
    x = normal(1, 20, 3)
    outputs = network(tensors, x)
    share = outputs.relevance[:, :, :1]
    torch.testing.assert_close(outputs.relevance, share.expand_as(outputs.relevance), rtol=1e-14, atol=0)
    weights = arrays(tensors, 0)
    for b in range(20):
        z = [naive.encoder(weights, settings, i, x[0, b : b + 1, i].numpy())[0] for i in range(3)]
        scores = weights["router.bias"] + np.concatenate(z) @ weights["router.weight"]
        pi = naive.softmax(scores + naive.top_k(scores, settings.active_experts))
        models = sum(z[i] @ weights["experts.weight"][i] + weights["experts.bias"][i] for i in range(3))
        assert_close(outputs.prediction[0, b], weights["bias"] + pi @ models)


# --- Appendix F: what the router can express


@every("settings", [MixNAMSettings, MixNAMDSettings])
@every("experts", [2, 4])
def test_log_ratios_of_the_relevance_are_sums_over_features(build, settings, experts):
    network, tensors = build(settings(layers=2, width=6, experts=experts, active_experts=experts), 4)
    x = normal(1, 50, 4)

    def ratios(rows):
        logarithms = network(tensors, rows).relevance.log()
        return logarithms[..., 1:] - logarithms[..., :1]

    scale = float(ratios(x).abs().max())
    for i, j in itertools.combinations(range(4), 2):
        for steps in ((0.9, -1.3), (-2.0, 0.4)):
            assert float(mixed_difference(ratios, x, i, j, steps).abs().max()) <= 1e-9 * scale


@pytest.mark.parametrize("router", ["dense", "shared"])
def test_log_ratios_of_active_experts_are_sums_over_features_where_they_stay_active(build, router):
    network, tensors = build(MixNAMSettings(**SPARSE, router=router), 3)
    x, steps = normal(1, 200, 3), (0.3, -0.2)

    def logarithms(rows):
        return network(tensors, rows).relevance.log()

    checked = 0
    for i, j in itertools.combinations(range(3), 2):
        for a, b in itertools.combinations(range(5), 2):
            # differs from a number where one of the two is inactive at any of the four points
            found = mixed_difference(lambda rows, a=a, b=b: (r := logarithms(rows))[..., a] - r[..., b], x, i, j, steps)
            found = found[torch.isfinite(found)]
            assert bool((found.abs() <= 1e-9).all())
            checked += len(found)
    assert checked > 500


# --- the MLP


@every("hidden", [(6, 5), (4,), (5, 1, 3)])
@every("features", [1, 3])
def test_mlp_equals_the_reference(build, hidden, features):
    network, tensors = build(MLPSettings(hidden=hidden), features, (0, 1))
    x = normal(2, ROWS, features)
    outputs = network(tensors, x)
    for m in range(2):
        assert_close(outputs.prediction[m], naive.mlp(arrays(tensors, m), hidden, x[m].numpy()))
    assert outputs.contributions.numel() == outputs.experts.numel() == outputs.lower.numel() == 0
    assert not isinstance(network, Featurewise)


def test_a_training_pass_of_the_mlp_equals_the_reference(build):
    hidden = (6, 5)
    network, tensors = build(MLPSettings(hidden=hidden), 3, (0, 1))
    weights = [arrays(tensors, m) for m in range(2)]
    rates = torch.tensor([0.3, 0.1], dtype=torch.float64)
    for step in range(3):  # several, so that the running statistics are seen to accumulate
        x = normal(2, ROWS + step, 3, seed=step)
        draws = Draws([4, 9], step, {"dropout": rates})
        kept = [
            draws.keep(f"dropout/{layer}", "dropout", (1, ROWS + step, width), torch.float64)
            for layer, width in enumerate(hidden)
        ]
        outputs = network(tensors, x, draws)
        for m in range(2):
            masks = [mask[m, 0].numpy() for mask in kept]
            expected = naive.mlp(weights[m], hidden, x[m].numpy(), masks, float(rates[m]))
            assert_close(outputs.prediction[m], expected)
            for name in network.buffers:
                assert_close(tensors[name][m], weights[m][name])


def test_loss_of_the_mlp_is_the_error_alone(build):
    network, tensors = build(MLPSettings(hidden=(4,)), 2)
    x, y = normal(1, ROWS, 2), normal(1, ROWS, seed=1)
    prediction = network(tensors, x).prediction
    assert_close(loss(network(tensors, x), y, "regression", {}), (prediction - y).square().mean(dim=1))


def test_parameters_of_the_mlp_are_counted_and_have_their_ranges():
    network = MLP(MLPSettings(hidden=(30, 20)), 5)
    assert network.parameter_count() == 5 * 30 + 30 + 30 * 20 + 20 + 20 + 1 + 2 * (30 + 20)
    parameters, buffers = network.initialize(range(20), CPU)
    for layer, inner in enumerate((5, 30, 20)):
        for name in ("weight", "bias"):
            values = parameters[f"layer.{layer}.{name}"]
            assert 0.8 / math.sqrt(inner) < float(values.abs().max()) <= (1 + 1e-6) / math.sqrt(inner)
    assert {name: set(b.flatten().tolist()) for name, b in buffers.items()} == {
        f"norm.{layer}.{part}": {value} for layer in range(2) for part, value in (("mean", 0.0), ("variance", 1.0))
    }


# --- training

_TRAINED = {"layers": 2, "width": 6, "experts": 3, "batch_size": 8, "epochs": 8}
TRAINED = {
    "diagonal": (MixNAMDSettings, MEMBERS, _TRAINED | {"active_experts": 3}),
    "diagonal_sampling": (MixNAMDSettings, MEMBERS, _TRAINED | {"active_experts": 3, "sample_at_prediction": True}),
    "diagonal_sparse": (MixNAMDSettings, MEMBERS, _TRAINED | {"active_experts": 2}),
    "even": (MixNAMESettings, MEMBERS, _TRAINED | {"active_experts": 2}),
    "shared": (MixNAMSettings, MEMBERS, _TRAINED | {"active_experts": 2, "router": "shared"}),
    "one": (MixNAMSettings, MEMBERS, _TRAINED | {"experts": 1, "active_experts": 1}),
    "MLP": (
        MLPSettings,
        [{k: m[k] for k in ("learning_rate", "weight_decay", "dropout")} for m in MEMBERS],
        {"hidden": (5, 4), "batch_size": 8, "epochs": 8},
    ),
}


@every("case", TRAINED)
def test_a_stack_equals_its_members_trained_singly(case):
    kind, members, shared = TRAINED[case]
    settings, fold, seeds = settings_list(kind, members, **shared), data(3), [4, 0, 9]
    stack = trainer(settings, fold, seeds)
    singles = [trainer(settings[m], part(fold, m), [seeds[m]]) for m in range(3)]
    start = stack.state.flat.clone()
    for one in (stack, *singles):
        for _ in range(5):
            one.epoch()
        assert one.state.optimizer.steps == 20
    assert bool(torch.isfinite(stack.state.flat).all())
    assert not torch.allclose(stack.state.flat, start)
    together = stack.tensors(stack.state.flat, stack.state.buffers)
    for m, single in enumerate(singles):
        assert_same(
            {k: t[m : m + 1] for k, t in together.items()}, single.tensors(single.state.flat, single.state.buffers)
        )


@every("case", ["diagonal", "diagonal_sampling", "MLP"])
def test_stacked_runs_return_what_single_runs_return(case):
    kind, members, shared = TRAINED[case]
    settings, fold = settings_list(kind, members, **shared), data(3)
    for m, found in enumerate(trainer(settings, fold, [4, 0, 9]).run()):
        (alone,) = trainer(settings[m], part(fold, m), [[4, 0, 9][m]]).run()
        assert_same(found.tensors, alone.tensors)
        assert found.best_epoch == alone.best_epoch
        assert found.best_score == pytest.approx(alone.best_score, rel=1e-9)


@every("case", ["diagonal", "even", "MLP"])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(monkeypatch, tmp_path, case):
    kind, members, shared = TRAINED[case]
    settings, fold, path = kind(**shared | members[0]), data(), tmp_path / "run.pt"
    (expected,) = trainer(settings, fold, [2], dtype=torch.float32).run()
    one = trainer(settings, fold, [2], dtype=torch.float32)
    kill(monkeypatch, one, 2, 1)
    with pytest.raises(Killed):
        one.run(checkpoint=path, checkpoint_seconds=0)
    (found,) = trainer(settings, fold, [2], dtype=torch.float32).run(checkpoint=path, checkpoint_seconds=0)
    assert expected.epochs > 2
    assert_identical(found, expected)


# --- from spec to stored result

BACKGROUND = 40  # rows: fewer than usual, for speed
TINY = {"width": 4, "layers": 1, "epochs": 3, "batch_size": 64, "learning_rate": 0.01}
FITTED = {
    "diagonal": MixNAMDSettings(**TINY, experts=17, active_experts=17),
    "diagonal_sampling": MixNAMDSettings(**TINY, experts=4, active_experts=4, sample_at_prediction=True),
    "even": MixNAMESettings(**TINY, experts=6, active_experts=2),
    "even_all": MixNAMESettings(**TINY, experts=3, active_experts=3),
    "shared": MixNAMSettings(**TINY, router="shared"),
    "one": MixNAMSettings(**TINY, experts=1, active_experts=1),
    "MLP": MLPSettings(hidden=(6, 4), epochs=3, batch_size=64, learning_rate=0.01),
}


@pytest.fixture(scope="module")
def results():
    specs = {name: RunSpec("diabetes", settings, "holdout", 0) for name, settings in FITTED.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "BACKGROUND", BACKGROUND)
        return dict(zip(specs, fit(list(specs.values()), "cpu"), strict=True))


@every("case", FITTED)
def test_a_result_is_finite_and_can_be_stored_and_measured_again(monkeypatch, results, tmp_path, case):
    monkeypatch.setattr(measures, "BACKGROUND", BACKGROUND)
    result, settings = results[case], FITTED[case]
    for scores in result.metrics.values():
        assert all(math.isfinite(score) for score in scores.values())
    stored = Store(tmp_path).put(result)
    found = Store(tmp_path).get(RunSpec("diabetes", settings, "holdout", 0))
    assert found is not None
    assert found.spec == result.spec == stored.spec
    whole = dataclasses.replace(result, sha256=stored.sha256)
    content = [json.loads(json.dumps(one.to_json(), allow_nan=False)) for one in (found, whole)]
    assert content[0] == content[1]
    assert found.arrays.keys() == result.arrays.keys()
    for name, array in result.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    again = measure_again(found, "cpu")
    assert again.measures == result.measures
    assert again.arrays.keys() == result.arrays.keys()
    weights = {name: array.size for name, array in result.weights.items()}
    trained = sum(size for name, size in weights.items() if not name.endswith((".mean", ".variance")))
    assert result.cost["parameters"] == trained


def test_results_hold_the_measures_and_arrays_of_their_kind(results):
    for case, result in results.items():
        if case == "MLP":
            continue
        assert result.measures.keys() >= {"additivity", "tightness", "variability", "bounds", "importance", "routing"}
        assert result.measures["bounds"]["violations"] == 0
        wanted = {"grid", "grid_lower", "grid_upper", "grid_mean", "density", "relevance", "active"}
        assert result.arrays.keys() >= wanted
        experts = FITTED[case].experts
        assert ("grid_experts" in result.arrays) == (1 < experts <= 16)
        assert result.arrays["relevance"].shape == (10, experts)
        assert result.arrays["relevance"].sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        additive = case in ("diagonal", "diagonal_sampling", "even_all", "one")
        assert (result.value("measures.additivity.marginal") >= 0.9995) == additive
        assert (result.value("measures.variability.mean") < 1e-4) == additive
    for case in ("one", "even_all"):
        assert results[case].measures["tightness"]["range"] is None
        assert results[case].measures["tightness"]["left_out"] == 1000
        assert results[case].value("measures.bounds.width") < 1e-3
    assert results["diagonal"].value("measures.tightness.range") < 1e-4
    assert results["diagonal"].value("measures.bounds.width") > 0.1


def test_a_result_of_the_mlp_has_neither_importance_nor_curves(results):
    result = results["MLP"]
    assert result.arrays.keys() == {"test_prediction"}
    assert result.measures.keys() == {"revision", "grid", "background", "rows", "additivity", "variability"}
    assert 0 < result.value("measures.additivity.marginal") < 0.999
    assert result.value("measures.variability.mean") > 0
    with pytest.raises(KeyError, match="holds no"):
        result.value("measures.tightness.range")
