"""Draws are a pure function of seed, stream, step and index, and look like independent noise."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from mixnam import randomness
from mixnam.networks.stacked import Draws

CPU = torch.device("cpu")
MANY = 1 << 18


def correlation(a, b):
    return float(np.corrcoef(a.double().numpy(), b.double().numpy())[0, 1])


def keeps(seed, stream, step, p=0.3, count=MANY):
    return randomness.keep_mask([randomness.key(seed, stream, step)], torch.tensor([p]), (count,), torch.float32)[0]


def splitmix(start, index):
    word = 2**64 - 1
    z = (start + index * 0x9E3779B97F4A7C15) & word
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & word
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
    return z ^ (z >> 31)


def unsigned(draws):
    return draws.numpy().view(np.uint64).tolist()


def test_keys_and_draws_are_what_they_always_were():
    assert randomness.key(0, "order") == 6942163024847554866
    assert randomness.key(7, "dropout/1", 3) == 7758959524196504110
    keys = [randomness.key(7, "dropout/1", 3)]
    assert randomness.bits(keys, 3).tolist() == [[979752077660058640, -7781485350373606025, 8312279851490706603]]
    assert randomness.uniform([randomness.key(0, "order")], 2).tolist() == [[0.0890018943421812, 0.09051485786016278]]
    mask = randomness.keep_mask(keys, torch.tensor([0.5]), (12,), torch.int64)
    assert mask.tolist() == [[0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]]


def test_bits_equal_the_published_splitmix64():
    # the test vector that goes round with splitmix64.c; its first output is the counter's second
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert unsigned(randomness.bits([1234567], 5)[0, 1:]) == expected


def test_bits_equal_python_integers_across_chunks():
    start = randomness.key(5, "anything", 2)
    draws = unsigned(randomness.bits([start], (1 << 16) + 3)[0])
    for index in (0, 1, 4097, (1 << 16) - 1, 1 << 16, (1 << 16) + 2):
        assert draws[index] == splitmix(start, index)


@pytest.mark.parametrize("draw", [randomness.bits, randomness.uniform, randomness.normal])
def test_draws_of_a_key_depend_on_neither_the_stack_nor_the_count(draw):
    keys = [randomness.key(seed, "x") for seed in range(3)]
    together = draw(keys, 100_001)
    for row, key in zip(together, keys, strict=True):
        assert torch.equal(row[:70_001], draw([key], 70_001)[0])


def test_masks_of_a_key_depend_on_neither_the_stack_nor_the_count():
    keys = [randomness.key(seed, "x") for seed in range(3)]
    drop = torch.tensor([0.1, 0.0, 0.7])
    together = randomness.keep_mask(keys, drop, (5, 80_001), torch.float64)
    assert together.shape == (3, 5, 80_001)
    for i, key in enumerate(keys):
        alone = randomness.keep_mask([key], drop[i : i + 1], (5 * 80_001 + 7,), torch.float64)
        assert torch.equal(together[i].flatten(), alone[0, : 5 * 80_001])


@pytest.mark.parametrize("p", [0.001, 0.05, 0.1, 0.2, 1 / 3, 0.5, 0.9, 0.999])
def test_keep_rates_are_within_binomial_error(p):
    count = 1 << 20
    kept = float(keeps(3, "rate", 0, p, count).double().mean())
    assert abs(kept - (1 - p)) < 5 * math.sqrt(p * (1 - p) / count) + 2**-17


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("p", [0.0, 1 - 2.0**-18])
def test_the_ends_of_the_permitted_rates_keep_everything_or_nearly_nothing(members, p):
    mask = randomness.keep_mask(list(range(members)), torch.full((members,), p), (10_000,), torch.float32)
    assert float(mask.mean()) == pytest.approx(1 - p, abs=1e-3 if p else 0)


def test_streams_steps_and_seeds_are_independent():
    sources = [(0, "dropout/0", 0), (0, "dropout/1", 0), (0, "dropout/0", 1), (1, "dropout/0", 0), (1, "order", 7)]
    masks = [keeps(*source) for source in sources]
    values = [randomness.uniform([randomness.key(*source)], MANY)[0] for source in sources]
    limit = 5 / math.sqrt(MANY)
    for i in range(len(sources)):
        for j in range(i):
            assert abs(correlation(masks[i], masks[j])) < limit
            assert abs(correlation(values[i], values[j])) < limit


def test_neighbouring_draws_are_independent():
    mask, values = keeps(0, "a", 0), randomness.uniform([randomness.key(0, "a")], MANY)[0]
    for lag in (1, 2, 3, 4, 5, 64):  # four lanes come from one draw
        assert abs(correlation(mask[lag:], mask[:-lag])) < 5 / math.sqrt(MANY - lag)
        assert abs(correlation(values[lag:], values[:-lag])) < 5 / math.sqrt(MANY - lag)


def test_keys_differ():
    streams = ["order", "dropout/0", "dropout/1", "expert_dropout", "initial/router.weight"]
    keys = {randomness.key(seed, stream, step) for seed in range(20) for stream in streams for step in range(20)}
    assert len(keys) == 20 * len(streams) * 20


def test_each_bit_is_unbiased():
    draws = randomness.bits([randomness.key(2, "bits")], MANY)[0]
    for position in range(64):
        share = float(((draws >> position) & 1).double().mean())
        assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(MANY), f"bit {position}"


def test_uniform_draws_are_uniform():
    values = randomness.uniform([randomness.key(4, "uniform")], MANY)[0].numpy()
    assert abs(values.mean() - 0.5) < 5 * math.sqrt(1 / 12 / MANY)
    assert abs(values.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / MANY)
    assert scipy.stats.kstest(values, "uniform").pvalue > 1e-3


def test_uniform_draws_never_reach_0_or_1(monkeypatch):
    extremes = torch.tensor([[0, -1, 2**63 - 1, -(2**63)]])
    monkeypatch.setattr(randomness, "bits", lambda *_: extremes)
    values = randomness.uniform([0], 4)
    assert values.tolist() == [[2.0**-53, 1 - 2.0**-53, 0.5 - 2.0**-53, 0.5 + 2.0**-53]]
    assert torch.isfinite(randomness.normal([0], 4)).all()


def test_normal_draws_are_normal():
    values = randomness.normal([randomness.key(4, "normal")], MANY)[0].numpy()
    assert abs(values.mean()) < 5 / math.sqrt(MANY)
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / MANY)
    assert scipy.stats.kstest(values, "norm").pvalue > 1e-3


def test_permutations_are_permutations():
    keys = [randomness.key(seed, "order", 3) for seed in range(4)]
    orders = randomness.permutation(keys, 1001)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(1001).expand(4, -1))
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[2:3], randomness.permutation(keys[2:3], 1001))


def test_every_order_is_equally_likely():
    orders = randomness.permutation([randomness.key(0, "order", step) for step in range(12_000)], 4)
    counts = np.unique(orders.numpy(), axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_dropout_of_a_member_is_that_of_the_member_alone():
    rates = torch.tensor([0.25, 0.0, 0.5], dtype=torch.float64)
    x = torch.ones(3, 20, 500, dtype=torch.float64)
    together = Draws([7, 8, 9], 5, {"dropout": rates}).dropout(x, "dropout/0", "dropout")
    for i, seed in enumerate([7, 8, 9]):
        alone = Draws([seed], 5, {"dropout": rates[i : i + 1]}).dropout(x[:1], "dropout/0", "dropout")
        assert torch.equal(together[i], alone[0])
        assert set(together[i].unique().tolist()) == ({1.0} if rates[i] == 0 else {0.0, float(1 / (1 - rates[i]))})


def test_dropout_changes_with_the_step_and_leaves_x_alone_where_nothing_is_dropped():
    x = torch.ones(1, 1000)
    rates = {"dropout": torch.tensor([0.5])}
    first, second = (Draws([0], step, rates).dropout(x, "s", "dropout") for step in (0, 1))
    assert not torch.equal(first, second)
    assert Draws([0], 0, {}).dropout(x, "s", "dropout") is x
