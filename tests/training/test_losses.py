"""The loss is Equation (8), and its gradient, by hand or by autograd, is that of the formulas written out."""

import math

import torch
from every import every
from hypothesis import given
from hypothesis import strategies as st
from stacks_by_hand import by_autograd

from mixnam import randomness
from mixnam.models import MixNAMDSettings, MixNAMESettings, MixNAMSettings, Outputs, make_network
from mixnam.models.layers import Draws
from mixnam.models.mixture import top_k_mask
from mixnam.training import losses
from mixnam.training.losses import head_gradients, loss

SMALL = {"layers": 1, "width": 2, "experts": 4, "active_experts": 4}
SPARSE = {"layers": 1, "width": 2, "experts": 5, "active_experts": 2}
#: settings and number of features
NETWORKS = {
    "dense": (MixNAMSettings(**SMALL), 3),
    "dense sparse": (MixNAMSettings(**SPARSE), 3),
    "one expert": (MixNAMSettings(**SMALL | {"experts": 1, "active_experts": 1}), 3),
    "one feature": (MixNAMSettings(**SMALL), 1),
    "many experts": (MixNAMSettings(**SMALL | {"experts": 20, "active_experts": 20}), 2),
    "many experts, sparse": (MixNAMSettings(**SMALL | {"experts": 17, "active_experts": 4}), 2),
    "shared": (MixNAMSettings(**SMALL, router="shared"), 3),
    "shared sparse": (MixNAMSettings(**SPARSE, router="shared"), 2),
    "shared, one feature": (MixNAMSettings(**SMALL, router="shared"), 1),
    "shared, one expert": (MixNAMSettings(**SMALL | {"experts": 1, "active_experts": 1}, router="shared"), 3),
    "diagonal": (MixNAMDSettings(**SMALL, temperature=0.7), 3),
    "diagonal sparse": (MixNAMDSettings(**SPARSE, temperature=0.7), 2),
    "even": (MixNAMESettings(**SPARSE), 3),
    "even shared": (MixNAMESettings(**SPARSE, router="shared"), 3),
    "even, many experts": (MixNAMESettings(**SMALL | {"experts": 20, "active_experts": 7}), 2),
}
ROWS, SEED, STEP = 6, 4, 7


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def float64(values):
    return torch.tensor(values, dtype=torch.float64)


def labels(task, *shape):
    y = normal(*shape, seed=9)
    return y if task == "regression" else (y > 0).double()


def as_rates(values, members=1):
    return {name: torch.full((members,), value, dtype=torch.float64) for name, value in values.items()}


def inputs(network, members=1):
    """Experts, scores and bias as they come from an encoder."""
    settings, n = network.settings, network.features
    targets = settings.experts if getattr(settings, "router", "") == "shared" else n * settings.experts
    return normal(members, ROWS, n, settings.experts), normal(members, ROWS, targets, seed=1), normal(members, seed=2)


def written_out(network, experts, scores, bias, y, task, output_penalty, variation_penalty, expert_rate=0.0):
    """One member's loss in training from the method's formulas, in small steps that autograd can follow."""
    settings, (rows, n, count) = network.settings, experts.shape
    scores = scores[:, None].expand(rows, n, count) if scores.shape[1] == count else scores.view(rows, n, count)
    least = scores.sort(dim=-1).values[..., count - settings.active_experts, None]
    mask = torch.where(scores >= least, 0.0, -math.inf)  # Equation (5)
    if settings.model == "MixNAM-E":  # Equation (23)
        powers = (scores - scores.detach() + mask).exp()
    elif settings.model == "MixNAM-D":  # Equation (22)
        noise = randomness.gumbel([randomness.key(SEED, "gumbel", STEP)], scores.numel()).view_as(scores)
        first = (scores - scores.max()).exp() * mask.exp()
        powers = (first / first.sum(dim=-1, keepdim=True) * noise.exp()) ** (1 / settings.temperature)
    else:  # Equation (6)
        powers = (scores + mask).exp()
    relevance = powers / powers.sum(dim=-1, keepdim=True)
    if expert_rate:
        keys, drop = [randomness.key(SEED, "expert_dropout", STEP)], torch.tensor([expert_rate])
        relevance = relevance * randomness.keep_mask(keys, drop, (rows, n, count), torch.float64)[0]
        if settings.expert_dropout_mode == "scale":
            relevance = relevance / (1 - expert_rate)
        if settings.expert_dropout_mode == "renormalize":
            total = relevance.sum(dim=-1, keepdim=True)
            relevance = relevance / torch.where(total > 0, total, 1.0)
    contributions = sum(relevance[..., k] * experts[..., k] for k in range(count))  # Equation (3)
    prediction = bias + sum(contributions[:, i] for i in range(n))  # Equation (7)
    return equation_8(prediction, contributions, experts, y, task, output_penalty, variation_penalty)


def equation_8(prediction, contributions, experts, y, task, output_penalty, variation_penalty):
    """The loss of (B,), (B, n) and (B, n, C), with λ·C/(C-1) on the biased variance, as the authors' code has it."""
    if task == "regression":
        total = sum((a - b) ** 2 for a, b in zip(prediction, y, strict=True)) / len(y)
    else:
        probability = 1 / (1 + torch.exp(-prediction))
        total = -(y * probability.log() + (1 - y) * (1 - probability).log()).sum() / len(y)
    total = total + output_penalty * (contributions**2).sum() / contributions.numel()
    count = experts.shape[-1]
    if count > 1:
        centre = sum(experts[..., k] for k in range(count)) / count
        biased = sum((experts[..., k] - centre) ** 2 for k in range(count)) / count
        total = total + variation_penalty * count / (count - 1) * biased.sum() / biased.numel()
    return total


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


# --- the loss


@every("task", ["regression", "classification"])
@every("count", [1, 2, 5])
def test_the_loss_of_each_member_is_equation_8_with_its_own_penalties(task, count):
    experts, contributions, prediction = normal(3, 7, 4, count), normal(3, 7, 4, seed=1), normal(3, 7, seed=2)
    y, gammas, lambdas = labels(task, 3, 7), [0.3, 0.0, 2.0], [0.0, 0.7, 10.0]
    penalties = {
        "output_penalty": float64(gammas),
        "variation_penalty": float64(lambdas),
        "dropout": float64([9.0] * 3),
    }
    found = loss(Outputs(prediction, contributions, experts, torch.ones_like(experts)), y, task, penalties)
    parts = zip(prediction, contributions, experts, y, [task] * 3, gammas, lambdas, strict=True)
    assert_close(found, torch.stack([equation_8(*part) for part in parts]))


@every("names", [[], ["output_penalty"], ["variation_penalty"]])
def test_a_network_without_a_penalty_has_none(names):
    experts, contributions, prediction, y = (
        normal(1, 7, 4, 3),
        normal(1, 7, 4),
        normal(1, 7),
        labels("regression", 1, 7),
    )
    penalties = {name: float64([0.5]) for name in names}
    found = loss(Outputs(prediction, contributions, experts, experts), y, "regression", penalties)
    weights = [0.5 if name in names else 0.0 for name in ("output_penalty", "variation_penalty")]
    assert_close(found[0], equation_8(prediction[0], contributions[0], experts[0], y[0], "regression", *weights))


def test_the_loss_of_extreme_logits_is_what_is_lost_and_not_infinite():
    prediction, none = float64([[800.0, -800.0, 800.0, -800.0]]), torch.zeros(1, 4, 0)
    y = float64([[1.0, 0.0, 0.0, 1.0]])
    found = loss(Outputs(prediction, none, none[..., None], none[..., None]), y, "classification", {})
    assert found.tolist() == [(800 + 800) / 4]


# --- its gradient


@every("task", ["regression", "classification"])
@every("mode", ["none", "scale", "drop", "renormalize"])
@every("case", NETWORKS)
def test_head_gradients_are_those_of_the_formulas_written_out(case, mode, task):
    settings, n = NETWORKS[case]
    rates = {} if mode == "none" else {"expert_dropout": 0.4}
    if rates:
        settings = type(settings)(**settings.all() | {"expert_dropout_mode": mode})
    network = make_network(settings, n)
    experts, scores, bias = (t.requires_grad_(True) for t in inputs(network))
    y, penalties = labels(task, 1, ROWS), {"output_penalty": 0.6, "variation_penalty": 1.7}
    value = written_out(network, experts[0], scores[0], bias[0], y[0], task, *penalties.values(), *rates.values())
    expected = torch.autograd.grad(value, (experts, scores, bias))
    draws = Draws([SEED], STEP, as_rates(rates))
    found = head_gradients(
        network, experts.detach(), scores.detach(), bias.detach(), y, task, as_rates(penalties), draws
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert_close(ours, theirs)
    assert draws.asked == (["gumbel"] if settings.model == "MixNAM-D" else []) + list(rates)


@given(st.data())
def test_the_gradient_by_hand_equals_autograd_for_any_shape(data):
    experts = data.draw(st.one_of(st.integers(1, 6), st.integers(15, 18)))
    shape = {"width": 2, "layers": 1, "experts": experts, "active_experts": data.draw(st.integers(1, experts))}
    mode, router = data.draw(st.sampled_from(["scale", "drop"])), data.draw(st.sampled_from(["dense", "shared"]))
    settings = data.draw(st.sampled_from([MixNAMSettings, MixNAMESettings]))
    network = make_network(settings(**shape, router=router, expert_dropout_mode=mode), data.draw(st.integers(1, 5)))
    rows, task = data.draw(st.integers(1, ROWS)), data.draw(st.sampled_from(["regression", "classification"]))
    e, s, bias = inputs(network)
    penalties = {name: data.draw(st.sampled_from([0.0, 0.1, 50.0])) for name in ("output_penalty", "variation_penalty")}
    rates = data.draw(st.sampled_from([{}, {"expert_dropout": 0.05}, {"expert_dropout": 0.9}]))
    arguments = (network, e[:, :rows], s[:, :rows], bias, labels(task, 1, rows), task, as_rates(penalties))
    found, expected = (f(*arguments, Draws([SEED], STEP, as_rates(rates))) for f in (losses._by_hand, by_autograd))
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs)


@every("case", NETWORKS)
@every("mode", ["scale", "drop", "renormalize"])
def test_one_member_of_mixnam_and_mixnam_e_has_its_gradient_by_hand_and_nothing_else_has(monkeypatch, case, mode):
    settings, n = NETWORKS[case]
    network = make_network(type(settings)(**settings.all() | {"expert_dropout_mode": mode}), n)
    taken = []
    monkeypatch.setattr(losses, "_by_hand", lambda *_: taken.append(True))
    for members in (1, 2):
        taken.clear()
        penalties = as_rates({"output_penalty": 0.1, "variation_penalty": 0.1}, members)
        draws = Draws([SEED] * members, STEP, as_rates({"expert_dropout": 0.4}, members))
        y = labels("regression", members, ROWS)
        found = head_gradients(network, *inputs(network, members), y, "regression", penalties, draws)
        assert bool(taken) == (members == 1 and "diagonal" not in case and mode != "renormalize")
        assert (found is None) == bool(taken)


@every("case", ["dense", "shared sparse", "diagonal", "even"])
def test_head_gradients_of_members_side_by_side_are_those_of_each_alone(case):
    settings, n = NETWORKS[case]
    network = make_network(settings, n)
    y, seeds = labels("regression", 3, ROWS), [4, 0, 8]
    rates = {"expert_dropout": float64([0.1, 0.0, 0.6])}
    penalties = {"output_penalty": float64([0.3, 0.0, 2.0]), "variation_penalty": float64([0.0, 0.7, 10.0])}
    together = head_gradients(network, *inputs(network, 3), y, "regression", penalties, Draws(seeds, STEP, rates))
    for m in range(3):
        own = slice(m, m + 1)
        draws = Draws(seeds[own], STEP, {"expert_dropout": rates["expert_dropout"][own]})
        mine = [t[own] for t in inputs(network, 3)]
        alone = head_gradients(network, *mine, y[own], "regression", {k: p[own] for k, p in penalties.items()}, draws)
        for one, all_members in zip(alone, together, strict=True):
            assert_close(all_members[own], one)


@every("case", NETWORKS)
def test_head_gradients_leave_what_they_are_given_alone(case):
    settings, n = NETWORKS[case]
    network = make_network(settings, n)
    arguments = [*inputs(network), labels("classification", 1, ROWS)]
    before = [t.clone() for t in arguments]
    penalties = as_rates({"output_penalty": 0.6, "variation_penalty": 1.7})
    head_gradients(
        network, *arguments, "classification", penalties, Draws([SEED], STEP, as_rates({"expert_dropout": 0.4}))
    )
    for after, was in zip(arguments, before, strict=True):
        assert torch.equal(after, was)
        assert not after.requires_grad


def test_expert_dropout_drops_the_experts_it_would_drop_anywhere():
    network = make_network(MixNAMSettings(**SMALL), 3)
    experts, scores, bias = inputs(network)
    draws = Draws([SEED], STEP, as_rates({"expert_dropout": 0.5}))
    none = as_rates({"output_penalty": 0.0, "variation_penalty": 0.0})
    found = head_gradients(network, experts, scores, bias, labels("regression", 1, ROWS), "regression", none, draws)
    keys = [randomness.key(SEED, "expert_dropout", STEP)]
    kept = randomness.keep_mask(keys, torch.tensor([0.5]), (ROWS, 3, 4), torch.float64)
    assert torch.equal(found[0] != 0, kept == 1)
    assert 0 < kept.mean() < 1


@every("dtype", [torch.float32, torch.float64])
@every("count", [2, 15, 16, 17, 40])
@every("tied", [False, True])
def test_exactly_k_of_the_largest_scores_are_active_however_many_experts_there_are(count, tied, dtype):
    scores = normal(2, 6, 3, count).to(dtype)
    scores = scores.round() if tied else scores
    for active in {1, 2, count // 2, count - 1, count}:
        for given_scores in (scores, scores.clone().requires_grad_(True), scores.movedim(0, 2)):
            mask = top_k_mask(given_scores, active)
            assert mask.shape == given_scores.shape
            assert (mask.sum(dim=-1) == active).all()
            least = given_scores.masked_fill(~mask, math.inf).amin(dim=-1)
            assert (given_scores.masked_fill(mask, -math.inf).amax(dim=-1) <= least).all()


def test_experts_that_are_not_active_have_no_gradient_in_the_scores():
    network = make_network(MixNAMSettings(**SPARSE), 3)
    experts, scores, bias = inputs(network)
    none = as_rates({"output_penalty": 0.0, "variation_penalty": 0.0})
    arguments = (labels("regression", 1, ROWS), "regression", none, Draws([SEED], STEP, {}))
    found = head_gradients(network, experts, scores, bias, *arguments)
    for gradient in (found[0], found[1].view_as(experts)):
        assert ((gradient != 0).sum(dim=-1) == 2).all()


def test_a_row_of_weight_two_counts_as_two_rows_with_their_penalties():
    repeated = torch.tensor([0, 0, 1, 2, 2, 3, 4, 5])
    weights = torch.bincount(repeated).double()[None] * ROWS / len(repeated)
    for case, (settings, n) in NETWORKS.items():
        network = make_network(settings, n)
        penalties = as_rates({"output_penalty": 0.3, "variation_penalty": 0.7})
        for task in ("regression", "classification"):
            experts, scores, bias = inputs(network)
            y, draws = labels(task, 1, ROWS), None
            weighed = loss(network.finish({"bias": bias}, experts, scores, draws), y, task, penalties, weights)
            taken = network.finish({"bias": bias}, experts[:, repeated], scores[:, repeated], draws)
            torch.testing.assert_close(weighed, loss(taken, y[:, repeated], task, penalties), msg=f"{case}, {task}")
            if settings.model == "MixNAM-D":
                continue  # it samples in training
            draws = Draws([SEED], STEP, {})
            found = head_gradients(network, experts, scores, bias, y, task, penalties, draws, weights)
            expected = by_autograd(network, experts, scores, bias, y, task, penalties, draws, weights)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, msg=f"{case}, {task}")
