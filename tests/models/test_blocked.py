"""One member in cache-sized blocks, forward and backward by hand, computes what the general formulation does."""

import functools
import itertools
import math

import pytest
import torch
from every import every
from hypothesis import example, given
from hypothesis import strategies as st
from stacks_by_hand import assert_same, by_autograd, data

from mixnam.models import MixNAMDSettings, MixNAMESettings, MixNAMSettings, MLPSettings, NAMSettings, make_network
from mixnam.models.base import EVALUATED
from mixnam.models.encoding import EDGES
from mixnam.models.fast import blocked, columns
from mixnam.models.fast.blocked import BLOCK, Blocked, evaluate, split
from mixnam.models.fast.columns import Columns, Piece
from mixnam.models.layers import Draws
from mixnam.training import trainer as training
from mixnam.training.optimizers import AdamW
from mixnam.training.trainer import Fold, Trainer, predict

CPU = torch.device("cpu")
SMALL = {"layers": 2, "width": 5, "experts": 3, "active_experts": 3}
SPARSE = {"layers": 3, "width": 6, "experts": 5, "active_experts": 2}
PIECES = {"encoding": "piecewise_linear", "bins": 6}
BATCHED = {"normalization": "batch_norm"}
RECIPE = PIECES | {"activation": "silu", "shared_normalization": False}
#: settings and number of features; widths that 4 does not divide begin a block's masks amid a draw
NETWORKS = {
    "dense": (MixNAMSettings(**SMALL), 3),
    "dense sparse": (MixNAMSettings(**SPARSE), 4),
    "one layer": (MixNAMSettings(**SMALL | {"layers": 1, "width": 7}), 3),
    "one expert": (MixNAMSettings(**SMALL | {"experts": 1, "active_experts": 1}), 3),
    "many experts": (MixNAMSettings(**SMALL | {"experts": 20, "active_experts": 4}), 3),
    "width 4": (MixNAMSettings(**SMALL | {"width": 4}), 2),
    "width 1": (MixNAMSettings(**SMALL | {"width": 1}), 3),
    "one feature": (MixNAMSettings(**SMALL), 1),
    "shared": (MixNAMSettings(**SMALL, router="shared"), 3),
    "shared sparse, standard": (MixNAMSettings(**SPARSE, router="shared", initialization="standard"), 2),
    "shared, one feature": (MixNAMSettings(**SMALL, router="shared"), 1),
    "diagonal": (MixNAMDSettings(**SMALL), 3),
    "diagonal sparse": (MixNAMDSettings(**SPARSE), 4),
    "diagonal, one feature": (MixNAMDSettings(**SMALL), 1),
    "diagonal, one expert": (MixNAMDSettings(**SMALL | {"experts": 1, "active_experts": 1}), 2),
    "even": (MixNAMESettings(**SPARSE), 3),
    "even shared": (MixNAMESettings(**SPARSE, router="shared"), 3),
    "even, all experts": (MixNAMESettings(**SMALL), 2),
    "pieces": (MixNAMSettings(**SMALL, **PIECES), 3),
    "one bin, one layer": (MixNAMSettings(**SMALL | {"layers": 1, "width": 1}, **PIECES | {"bins": 1}), 3),
    "silu": (MixNAMSettings(**SPARSE, activation="silu"), 3),
    "norms": (MixNAMSettings(**SMALL, shared_normalization=False), 4),
    "recipe": (MixNAMSettings(**SMALL, **RECIPE), 4),
    "recipe, sparse shared, one feature": (MixNAMSettings(**SPARSE, **RECIPE, router="shared"), 1),
    "recipe, diagonal": (MixNAMDSettings(**SMALL, **RECIPE), 3),
    "recipe, even": (MixNAMESettings(**SPARSE, **RECIPE), 4),
    "batch": (MixNAMSettings(**SMALL, **BATCHED), 4),
    "batch, one layer": (MixNAMSettings(**SMALL | {"layers": 1, "width": 7}, **BATCHED), 3),
    "batch, width 2": (MixNAMSettings(**SMALL | {"width": 2}, **BATCHED), 3),
    "batch, sparse shared, one feature": (MixNAMSettings(**SPARSE, **BATCHED, router="shared"), 1),
    "batch, norms": (MixNAMESettings(**SPARSE, **BATCHED, shared_normalization=False), 3),
    "batch, recipe": (MixNAMDSettings(**SMALL, **BATCHED, **RECIPE), 4),
}
ROWS, BATCH = 23, 9
TOLERANCE = 1e-8  # of weights after 200 steps: Adam blows up the rounding of small gradients, to 2e-10 at most here


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def table(rows, distinct):
    """Rows of one feature for each entry: None for a column without repetition, else its number of values."""
    x = normal(rows, len(distinct), seed=4)
    for i, count in enumerate(distinct):
        if count is not None:
            x[:, i] = x[:count, i][torch.arange(rows) * 7 % count]
    return x


def few(n):
    """A table that pays to gather: constants, pairs and, among more than two, one column without repetition."""
    return table(ROWS, [(1, 2, None, 4)[i % 4] for i in range(n)])


def with_gaps(x):
    """Let values of x, (..., n), be missing: every third of the first feature, and one of the last."""
    x = x.clone()
    x[..., ::3, 0] = x[..., 1, -1] = torch.nan
    return x


def fitted(network, tensors, x):
    """Let edges, if there are any, be those of every other row of x, (N, n): other values lie beyond them."""
    return tensors | network.fitted(x[None, ::2])


def joined(network, tensors):
    return torch.cat([tensors[name].reshape(1, -1) for name in network.parameters], dim=1)


def named(network, flat, tensors):
    """The parameters in `flat`, and the buffers of `tensors`."""
    parts = flat.split([p.size for p in network.parameters.values()], dim=1)
    return tensors | {name: t.view(1, *p.shape) for (name, p), t in zip(network.parameters.items(), parts, strict=True)}


def batches(rows=ROWS, batch=BATCH):
    """A full batch, a short one, a full one again, one row three times over, a single row."""
    order = torch.arange(rows) * 5 % rows if rows % 5 else torch.arange(rows).flip(0)
    parts = order.split(batch)
    return [parts[0], parts[-1], parts[0].flip(0), torch.full((min(3, batch, rows),), rows - 1), order[:1]]


def drawing(rates):
    """Draws of one step, the same each time it is called; None without rates: evaluation mode."""
    if rates is None:
        return lambda: None
    tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in rates.items()}
    return lambda: Draws([6], 2, tensors)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


def assert_agrees(engine, network, tensors, flat, x, chosen, rates):
    """Compare experts, scores and buffers, and the gradient of a random sum of both, with the general formulation."""
    draws, leaf, rows = drawing(rates), flat.clone().requires_grad_(True), x[chosen][None]
    # each has statistics of its own, which training moves
    ours, once, again = (tensors | {name: tensors[name].clone() for name in network.buffers} for _ in range(3))
    general = network(named(network, leaf, once), rows, draws()).experts
    again = named(network, leaf, again)
    general_scores = network._scores(again, network.encode(again, rows, draws()))
    experts, scores = engine.forward(flat, ours, chosen, draws())
    assert_close(experts, general)
    assert_close(scores, general_scores)
    for name in network.buffers:
        assert_close(ours[name], once[name])
    if not engine.keep:
        return
    kept = experts.clone(), scores.clone()
    upstream = [normal(*t.shape, seed=i) for i, t in enumerate((experts, scores, leaf[:, -1]))]
    total = sum((t * u).sum() for t, u in zip((general, general_scores, leaf[:, -1]), upstream, strict=True))
    assert_close(engine.backward(*upstream), torch.autograd.grad(total, leaf)[0])
    assert torch.equal(experts, kept[0])  # what the caller holds is no buffer
    assert torch.equal(scores, kept[1])


# --- forward and backward


#: activations of a block, and experts and scores at a time; the last two are for some networks
SIZES = [(1 << 16, 1 << 18), (53, 40), (1 << 16, 200), (17, 1 << 18)]
SIZED = [(case, *size, False) for case in NETWORKS for size in SIZES[:2]]
SIZED += [(case, *size, False) for case in ("dense", "one feature", "shared", "diagonal") for size in SIZES[2:]]
SIZED += [(case, *SIZES[1], True) for case in ("one layer", "shared", "diagonal sparse", "even", "norms", "pieces")]
SIZED += [(case, *SIZES[1], True) for case in NETWORKS if case.startswith(("recipe", "one bin", "batch"))]
#: nothing is dropped where values are gathered
MODES = {"dropout": {"dropout": 0.3}, "evaluation": None, "gathered": {}}


@every("mode", MODES)
@every("case, block, head, gaps", SIZED)
def test_experts_scores_and_gradients_equal_the_general_formulation(build, case, block, head, gaps, mode):
    settings, n = NETWORKS[case]
    network, tensors = build(settings, n, gaps=gaps)
    flat = joined(network, tensors)
    x = few(n) if mode == "gathered" else table(ROWS, [None] * n)
    x = with_gaps(x) if gaps else x
    tensors, gather = fitted(network, tensors, x), mode == "gathered"
    engine = Blocked(network, x, BATCH, True, gather, tensors.get(EDGES), block=block, head=head)
    assert engine.columns.gathers == (mode == "gathered")
    if block == 17 and mode != "gathered":
        assert engine.limit < engine.columns.most  # or one block would hold all rows
    for chosen in batches():
        assert_agrees(engine, network, tensors, flat, x, chosen, MODES[mode])


@given(st.data())
def test_any_shape_equals_the_general_formulation(build, data):
    def integer(low, high):
        return data.draw(st.integers(low, high))

    experts = integer(1, 5)
    shape = {"layers": integer(1, 3), "width": integer(1, 9), "experts": experts}
    shape["active_experts"] = integer(1, experts)
    kind = data.draw(st.sampled_from(["dense", "shared", "diagonal", "even"]))
    router = {"router": "shared"} if kind == "shared" else {}
    for name, value in {"bins": integer(1, 9), **BATCHED, **RECIPE}.items():
        if name == "bins" or data.draw(st.booleans()):
            shape[name] = value
    settings = {"diagonal": MixNAMDSettings, "even": MixNAMESettings}.get(kind, MixNAMSettings)(**shape, **router)
    n, rows, batch = integer(1, 5), integer(1, 40), integer(1, 25)
    gather = data.draw(st.booleans())
    counts = st.one_of(st.none(), st.integers(1, min(6, rows)))
    x, gaps = table(rows, data.draw(st.lists(counts, min_size=n, max_size=n))), data.draw(st.booleans())
    x = x.masked_fill(normal(rows, n, seed=5) > 0.5, torch.nan) if gaps else x
    rates = data.draw(st.sampled_from([None, {}] if gather else [None, {"dropout": 0.5}, {"dropout": 0.05}]))
    network, tensors = build(settings, n, gaps=gaps)
    tensors = fitted(network, tensors, x)
    sizes = {"block": integer(1, 200), "head": integer(1, 400)}
    engine = Blocked(network, x, batch, keep=True, gather=gather, edges=tensors.get(EDGES), **sizes)
    for chosen in batches(rows, batch):
        assert_agrees(engine, network, tensors, joined(network, tensors), x, chosen, rates)


@every("case", ["dense", "silu", "batch"])
def test_masks_do_not_depend_on_the_blocks(build, case):
    settings, n = NETWORKS[case]
    network, tensors = build(settings, n)
    flat, x, found = joined(network, tensors), table(ROWS, [None] * n), []
    for block in (1 << 16, 15, 35, 60):  # blocks of all rows, and of 3, 7 and 12: no multiple of 4 times 5 values
        engine = Blocked(network, x, BATCH, keep=True, gather=False, block=block)
        experts, scores = engine.forward(flat, tensors, torch.arange(BATCH), drawing({"dropout": 0.4})())
        found.append((experts, scores, engine.backward(experts, scores, flat[:, -1]).clone()))
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            assert_close(first, second)
    # and they are masks: a code is 0 more often than without
    assert not torch.allclose(found[0][0], engine.forward(flat, tensors, torch.arange(BATCH))[0])


@every("case", ["dense sparse", "recipe", "batch, recipe"])
def test_rates_and_modes_may_change_from_call_to_call(build, case):
    settings, n = NETWORKS[case]
    network, tensors = build(settings, n)
    x = table(ROWS, [None] * n)
    tensors = fitted(network, tensors, x)
    engine = Blocked(network, x, BATCH, keep=True, gather=False, edges=tensors.get(EDGES))
    several = [{"dropout": 0.5}, None, {"dropout": 0.1}, {}, {"dropout": 0.5}, {"expert_dropout": 0.5}]
    for i, rates in enumerate(several):
        flat = joined(network, tensors) * (1 + 0.1 * i)
        assert_agrees(engine, network, tensors, flat, x, torch.arange(BATCH - i % 2), rates)


@every("case", ["diagonal", "recipe", "batch"])
def test_the_gradient_of_one_batch_does_not_linger_in_the_next(build, case):
    settings, n = NETWORKS[case]
    network, tensors = build(settings, n)
    flat = joined(network, tensors)
    for x in (few(n), table(ROWS, [None] * n)):
        engine = Blocked(network, x, BATCH, keep=True, gather=True, edges=fitted(network, tensors, x).get(EDGES))
        experts, scores = engine.forward(flat, tensors, torch.arange(BATCH))
        assert engine.backward(experts, scores, flat[:, -1]).abs().max() > 0
        engine.forward(flat, tensors, torch.arange(4))
        nothing = [torch.zeros_like(t[:, :4]) for t in (experts, scores)]
        assert torch.equal(engine.backward(*nothing, torch.zeros(1)), torch.zeros_like(flat))


@every("block", [1 << 16, 25])
@every("gather", [True, False])
@every(
    "case", ["dense sparse", "one feature", "shared", "diagonal", "even", "recipe", "recipe, diagonal", "batch, norms"]
)
def test_predictions_for_a_table_equal_the_general_formulation(build, case, gather, block):
    settings, n = NETWORKS[case]
    network, tensors = build(settings, n)
    for x in (few(n), table(ROWS, [None] * n), table(1, [None] * n)):
        tensors = fitted(network, tensors, x)
        for batch in (BATCH, 100):
            engine = Blocked(network, x, batch, keep=False, gather=gather, edges=tensors.get(EDGES), block=block)
            assert_close(engine.predict(joined(network, tensors), tensors), network(tensors, x[None]).prediction)


def test_sampled_predictions_of_mixnam_d_are_those_of_the_same_parts(build):
    settings = MixNAMDSettings(**SMALL, sample_at_prediction=True)
    network, tensors = build(settings, 3)
    x = table(ROWS, [None, 2, 3])
    engine = Blocked(network, x, BATCH, keep=False, gather=True)
    expected = torch.cat([network(tensors, part).prediction for part in x[None].split(BATCH, dim=1)], dim=1)
    assert_close(engine.predict(joined(network, tensors), tensors), expected)


@every("members", [1, 2])
@every(
    "settings",
    [
        *(settings for settings, _ in NETWORKS.values()),
        NAMSettings(hidden=(3,), **PIECES),
        NAMSettings(hidden=(3,)),
        MLPSettings(hidden=(3,)),
    ],
)
def test_outputs_in_parts_are_those_of_the_network_called_on_all_rows(build, settings, members):
    network, tensors = build(settings, 4, range(members))
    x = few(4).expand(members, -1, -1) + torch.arange(members)[:, None, None]
    tensors |= network.fitted(x[:, ::2])
    expected, parts = network(tensors, x), list(evaluate(network, tensors, x, BATCH))
    assert [part.prediction.shape[1] for part in parts] == [9, 9, 5]
    for name in ("prediction", "contributions", "experts", "relevance"):
        assert_close(torch.cat([getattr(part, name) for part in parts], dim=1), getattr(expected, name))
    assert {part.averaged for part in parts} == {expected.averaged}
    (whole,) = evaluate(network, tensors, x)
    assert_close(whole.prediction, expected.prediction)
    assert_close(predict(network, tensors, x), expected.prediction)


def test_predictions_encode_each_value_once_and_hold_the_activations_of_one_block(monkeypatch, build):
    settings, n = NETWORKS["dense sparse"]
    network, tensors = build(settings, n)
    made = []

    class Kept(Columns):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(blocked, "Columns", Kept)
    predict(network, tensors, few(n)[None])
    assert [one.gathers for one in made] == [True]
    for gather in (True, False):
        engine = Blocked(network, few(n), BATCH, keep=False, gather=gather, block=30)
        assert {len(t) for t in (*engine.normal, *engine.code, *engine.inverse)} == {engine.limit}
        assert len({t.data_ptr() for t in engine.normal}) == 1  # the layers share one buffer


# --- which networks


@every("case", [case for case in NETWORKS if case not in ("many experts", "width 1")])
def test_a_mixture_is_covered_as_one_member_on_a_processor(case):
    settings, n = NETWORKS[case]
    network = make_network(settings, n)
    assert Blocked.covers(network, 1, CPU)
    assert not Blocked.covers(network, 2, CPU)
    assert not Blocked.covers(network, 1, torch.device("cuda"))


@every(
    "settings",
    [
        NAMSettings(hidden=(3,)),
        MLPSettings(hidden=(3,)),
    ],
)
def test_what_is_not_covered_is_trained_in_the_general_formulation(settings):
    assert not Blocked.covers(make_network(settings, 3), 1, CPU)
    one = Trainer(make_network(settings, 3), [settings], [0], data(), "regression")
    assert one.blocked is None
    assert one.evaluated is None


def test_a_trainer_takes_the_fast_path_for_one_member_and_gathers_where_no_code_is_dropped():
    def trainer(members=1, fast=True, **changed):
        settings = MixNAMSettings(**SMALL, batch_size=8, **changed)
        fold = few_values(data(members))
        return Trainer(make_network(settings, 3), [settings] * members, list(range(members)), fold, "regression",
                       blocked=fast)  # fmt: skip

    gathering, dropping = trainer(dropout=0.0, expert_dropout=0.5), trainer(dropout=0.1)
    assert gathering.blocked.columns.gathers
    assert not dropping.blocked.columns.gathers
    for one in (gathering, dropping):  # nothing is dropped in validation
        assert one.evaluated.columns.gathers
        assert one.blocked.keep
        assert not one.evaluated.keep
    for one in (trainer(2), trainer(fast=False)):
        assert one.blocked is None
        assert one.evaluated is None


# --- cutting into blocks


@st.composite
def pieces(draw):
    """Pieces in the order of features, with gaps where a short batch leaves rows unused."""
    parts, at = [], draw(st.integers(0, 3))
    for feature, rows in enumerate(draw(st.lists(st.integers(0, 40), min_size=1, max_size=8))):
        parts.append(Piece(at, at + rows, feature, draw(st.integers(0, 2))))
        at += rows + draw(st.sampled_from([0, 0, 0, 5]))
    return tuple(parts)


@given(pieces(), st.integers(1, 50))
def test_blocks_cover_each_row_once_in_order_and_keep_to_the_limit(whole, limit):
    blocks = split(whole, limit)
    rows = [(row, p.feature, p.offset + row - p.start) for p in whole for row in range(p.start, p.stop)]
    parts = [p for block in blocks for p in block]
    assert [(row, p.feature, p.offset + row - p.start) for p in parts for row in range(p.start, p.stop)] == rows
    for block in blocks:
        assert 0 < block[-1].stop - block[0].start <= limit
        for first, second in itertools.pairwise(block):
            assert first.stop == second.start  # a block is one stretch of rows
            assert first.feature < second.feature  # a product takes one stretch a feature
    for piece in whole:  # in no more parts than it takes, of about one size
        own, rows = [p.stop - p.start for p in parts if p.feature == piece.feature], piece.stop - piece.start
        assert len(own) <= math.ceil(rows / limit)
        assert all(size <= math.ceil(rows / math.ceil(rows / limit)) for size in own)


@given(pieces(), st.integers(1, 50))
@example(tuple(Piece(3 * i, 3 * i + 3, i) for i in range(5)), 6)
def test_short_neighbours_share_a_block(whole, limit):
    for first, second in itertools.pairwise(split(whole, limit)):
        if first[-1].stop == second[0].start:
            assert second[0].stop - first[0].start > limit


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 80))
def test_equally_long_parts_in_one_block_hold_the_same_rows_of_neighbouring_features(rows, n, limit):
    # one product takes them together, and puts what it yields into the same batch rows
    for block in split(tuple(Piece(i * rows, (i + 1) * rows, i) for i in range(n)), limit):
        if len({p.stop - p.start for p in block}) == 1:
            assert len({p.offset for p in block}) == 1
            assert [p.feature for p in block] == list(range(block[0].feature, block[0].feature + len(block)))


# --- whole training steps


def few_values(fold):
    """A fold whose second feature has two values and whose third has one."""
    changed = {}
    for name in ("x", "x_validation"):
        x = getattr(fold, name).clone()
        x[..., 1], x[..., 2] = x[..., 1].sign(), 0.5
        changed[name] = x
    return Fold(changed["x"], fold.y, changed["x_validation"], fold.y_validation)


def trainer(settings, fold, task, fast):
    network = make_network(settings, fold.x.shape[2], gaps=bool(fold.x.isnan().any()))
    return Trainer(network, [settings], [3], fold, task, torch.float64, fast)


STEPS = {"batch_size": 8, "learning_rate": 0.01, "weight_decay": 0.1, "output_penalty": 0.05, "variation_penalty": 0.7}
NOISY = STEPS | {"dropout": 0.2, "expert_dropout": 0.3}
QUIET = STEPS | {"dropout": 0.0, "expert_dropout": 0.0}
MEAN = QUIET | {"expert_dropout": 0.5, "averaging": 0.97}
#: without dropout of codes, values are gathered
CASES = {
    "dense": (MixNAMSettings(**SMALL, **NOISY), "regression"),
    "dense, classes": (MixNAMSettings(**SMALL, **NOISY), "classification"),
    "dense, gathered": (MixNAMSettings(**SMALL, **QUIET), "regression"),
    "sparse, gathered": (MixNAMSettings(**SPARSE, **QUIET | {"expert_dropout": 0.3}), "classification"),
    "experts dropped without a scale": (MixNAMSettings(**SPARSE, **NOISY, expert_dropout_mode="drop"), "regression"),
    "experts renormalised": (MixNAMSettings(**SMALL, **NOISY, expert_dropout_mode="renormalize"), "classification"),
    "shared": (MixNAMSettings(**SPARSE, **NOISY, router="shared"), "regression"),
    "shared, gathered": (MixNAMSettings(**SMALL, **QUIET, router="shared"), "classification"),
    "one expert": (MixNAMSettings(**SMALL | {"experts": 1, "active_experts": 1}, **NOISY), "regression"),
    "diagonal": (MixNAMDSettings(**SMALL, **NOISY, temperature=1.0), "regression"),
    "diagonal, gathered": (MixNAMDSettings(**SPARSE, **QUIET, temperature=1.0), "classification"),
    "even": (MixNAMESettings(**SPARSE, **NOISY), "classification"),
    "even, gathered": (MixNAMESettings(**SPARSE, **QUIET, router="shared"), "regression"),
    "pieces, gathered": (MixNAMSettings(**SMALL, **QUIET, **PIECES), "classification"),
    "silu": (MixNAMSettings(**SMALL, **NOISY, activation="silu"), "regression"),
    "norms": (MixNAMSettings(**SMALL, **NOISY, shared_normalization=False), "regression"),
    "recipe": (MixNAMSettings(**SMALL, **MEAN, **RECIPE), "regression"),
    "recipe, codes dropped": (MixNAMSettings(**SPARSE, **NOISY, **RECIPE, averaging=0.97), "classification"),
    "recipe, gathered": (MixNAMSettings(**SPARSE, **MEAN, **RECIPE), "regression"),
    "recipe, diagonal": (MixNAMDSettings(**SMALL, **MEAN, **RECIPE, temperature=1.0), "regression"),
    "recipe, even": (MixNAMESettings(**SPARSE, **MEAN, **RECIPE), "classification"),
    "batch": (MixNAMSettings(**SMALL, **NOISY, **BATCHED), "classification"),
    "batch, gathered": (MixNAMSettings(**SMALL, **MEAN, **BATCHED, shared_normalization=False), "regression"),
    "batch, silu": (MixNAMESettings(**SPARSE, **NOISY, **BATCHED, activation="silu"), "regression"),
    "gaps, batch, recipe": (MixNAMSettings(**SPARSE, **NOISY, **BATCHED, **RECIPE, averaging=0.97), "regression"),
    "gaps, batch, diagonal, gathered": (
        MixNAMDSettings(**SMALL, **MEAN, **BATCHED, **RECIPE, temperature=1.0),
        "classification",
    ),
    "gaps": (MixNAMSettings(**SPARSE, **NOISY), "regression"),
    "gaps, gathered": (MixNAMSettings(**SMALL, **QUIET, router="shared"), "classification"),
    "gaps, diagonal, gathered": (MixNAMDSettings(**SMALL, **QUIET, temperature=1.0), "regression"),
    "gaps, even": (MixNAMESettings(**SPARSE, **NOISY), "regression"),
    "gaps, recipe, gathered": (MixNAMSettings(**SMALL, **MEAN, **RECIPE), "classification"),
    "gaps, recipe, diagonal": (MixNAMDSettings(**SMALL, **MEAN, **RECIPE, temperature=1.0), "regression"),
    "gaps, recipe, even": (MixNAMESettings(**SPARSE, **NOISY, **RECIPE), "regression"),
}


def fold_for(case):
    fold = data(task=CASES[case][1])
    fold = few_values(fold) if "gathered" in case else fold
    return Fold(with_gaps(fold.x), fold.y, with_gaps(fold.x_validation), fold.y_validation) if "gaps" in case else fold


@every("block", [1 << 16, 31])
@every("case", CASES)
def test_the_gradient_of_a_step_equals_the_general_formulation(case, block):
    settings, task = CASES[case]
    fast, general = (trainer(settings, fold_for(case), task, blocked) for blocked in (True, False))
    in_blocks(fast, block)
    assert fast.blocked.columns.gathers == ("gathered" in case)
    for step, chosen in enumerate(batches(27, 8)):
        for one in (fast, general):  # initial gains of 1 and shifts of 0 would hide what is mixed up
            one.state.flat = general.state.flat + 0.1 * normal(*general.state.flat.shape, seed=step)
        draws = [Draws([3], step, one.rates) for one in (fast, general)]
        found, expected = (one.gradient(chosen[None], d) for one, d in zip((fast, general), draws, strict=True))
        assert_close(found, expected)
        assert draws[0].asked == draws[1].asked  # a GPU's table of keys knows these streams


def in_blocks(one, block):
    """Let a trainer's engines handle so many activations at a time."""
    network, fold, gather = one.network, one.fold, "dropout" not in one.dropped
    edges = one.state.buffers.get(EDGES)
    one.blocked = Blocked(network, fold.x[0], one.settings.batch_size, True, gather, edges, block=block)
    one.evaluated = Blocked(network, fold.x_validation[0], EVALUATED, False, True, edges, block=block)


def train(case, fast, block=BLOCK):
    """Take 200 steps in 50 epochs, each with its short last batch."""
    settings, task = CASES[case]
    one = trainer(settings, fold_for(case), task, fast)
    if fast:
        in_blocks(one, block)
    for _ in range(50):
        one.epoch()
    assert one.state.optimizer.steps == 200
    return one


def by_update(self, flat, gradient, rate, decay, fixed=0):
    self.steps += 1
    self.update(flat, gradient, rate, decay, *self.corrections(self.steps))


@functools.cache
def plainly_trained(case):
    """Nothing by hand: the general formulation, autograd, AdamW written out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdamW, "step", by_update)
        return train(case, fast=False)


def assert_same_training(found, expected):
    moved = (found.state.flat - trainer(found.settings, found.fold, found.task, False).state.flat).abs().mean()
    assert moved > 0.01  # it has learnt something
    states = found.state, expected.state
    for kind in ("averaged", "flat") if len(found.state.averaged) else ("flat",):
        ours, theirs = (found.tensors(getattr(state, kind), state.buffers) for state in states)
        assert_same(ours, theirs, TOLERANCE)
        prediction = found.network(ours, found.fold.x_validation).prediction
        assert_close(found.evaluated.predict(getattr(found.state, kind), found.state.buffers), prediction)
    for moment in ("first", "second"):
        ours, theirs = (getattr(state.optimizer, moment) for state in states)
        torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE / 10)


#: One of each kind; a step of the others is compared above.
LONG = [
    "dense", "dense, gathered", "diagonal", "even", "shared, gathered", "recipe", "recipe, diagonal", "recipe, even",
    "gaps", "gaps, diagonal, gathered", "gaps, recipe, gathered", "gaps, recipe, even",
    "batch", "batch, gathered", "gaps, batch, recipe", "gaps, batch, diagonal, gathered",
]  # fmt: skip


@every("case", LONG)
def test_200_steps_equal_those_of_the_general_formulation(case):
    assert_same_training(train(case, fast=True, block=31), plainly_trained(case))


@pytest.mark.slow
@every("case", [case for case in CASES if case not in LONG])
def test_200_steps_of_all_others_equal_those_of_the_general_formulation(case):
    assert_same_training(train(case, fast=True, block=31), plainly_trained(case))


@every("case", ["dense", "dense, gathered", "shared, gathered"])
@every("switch", ["one block", "not gathered", "autograd", "AdamW written out"])
def test_each_part_of_the_fast_path_can_be_left_out(monkeypatch, case, switch):
    if switch == "not gathered":
        monkeypatch.setattr(columns, "WORTH_GATHERING", -1.0)
    if switch == "autograd":
        monkeypatch.setattr(training, "head_gradients", by_autograd)
    if switch == "AdamW written out":
        monkeypatch.setattr(AdamW, "step", by_update)
    found = train(case, fast=True)
    assert found.blocked.columns.gathers == ("gathered" in case and switch != "not gathered")
    assert_same_training(found, plainly_trained(case))


def test_torch_s_fused_optimizer_alone_changes_nothing():
    found, expected = train("dense", fast=False), plainly_trained("dense")
    assert_same(*(one.tensors(one.state.flat, {}) for one in (found, expected)), TOLERANCE)


@every("case", ["dense, classes", "dense, gathered", "diagonal", "recipe", "recipe, gathered", "batch, gathered"])
def test_runs_return_the_same_epochs_scores_and_weights(monkeypatch, case):
    settings, task = CASES[case]
    settings = type(settings)(**settings.all() | {"epochs": 12})
    (fast,) = trainer(settings, fold_for(case), task, True).run()
    monkeypatch.setattr(Blocked, "covers", lambda *_: False)
    one = trainer(settings, fold_for(case), task, True)
    assert one.blocked is one.evaluated is None
    (general,) = one.run()
    assert (fast.best_epoch, fast.epochs, fast.steps) == (general.best_epoch, general.epochs, general.steps)
    assert [score for _, score in fast.scores] == pytest.approx([score for _, score in general.scores], rel=1e-9)
    assert_same(fast.tensors, general.tensors)
