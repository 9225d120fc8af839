"""Draws are a pure function of seed, stream, step and index, and look like independent noise."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from every import every
from hypothesis import example, given
from hypothesis import strategies as st

from mixnam import randomness
from mixnam.models.layers import Draws

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
    part = randomness.keep_part(keys[0], 0.5, 5, torch.empty(7, dtype=torch.int64))
    assert part.tolist() == [1, 0, 0, 0, 1, 1, 1]
    assert int(randomness.bits(keys, 70_001)[0, -1]) == 8759050476580503870
    assert randomness.gumbel(keys, 2)[0].tolist() == pytest.approx([-1.076824517380454, 0.6016692960616165], rel=1e-12)
    assert randomness.normal(keys, 2)[0].tolist() == pytest.approx([-1.6153961516131983, 0.197200892514772], rel=1e-12)
    assert randomness.permutation(keys, 8).tolist() == [[1, 6, 3, 0, 7, 5, 2, 4]]


def test_bits_equal_the_published_splitmix64():
    # the test vector that goes round with splitmix64.c; its first output is the counter's second
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert unsigned(randomness.bits([1234567], 5)[0, 1:]) == expected


def test_bits_equal_python_integers_across_chunks():
    start = randomness.key(5, "anything", 2)
    draws = unsigned(randomness.bits([start], (1 << 16) + 3)[0])
    for index in (0, 1, 4097, (1 << 16) - 1, 1 << 16, (1 << 16) + 2):
        assert draws[index] == splitmix(start, index)


@every("draw", [randomness.bits, randomness.uniform, randomness.normal])
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


@every("p", [0.001, 0.05, 0.1, 0.2, 1 / 3, 0.5, 0.9, 0.999])
def test_keep_rates_are_within_binomial_error(p):
    count = 1 << 20
    kept = float(keeps(3, "rate", 0, p, count).double().mean())
    assert abs(kept - (1 - p)) < 5 * math.sqrt(p * (1 - p) / count) + 2**-17


@every("members", [1, 2])
@every("p", [0.0, 1 - 2.0**-18])
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


def key_of(draw):
    """Return the key whose first draw is this: splitmix64's mixing, undone."""
    word = 2**64 - 1
    z = draw & word
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        mixed = z
        for _ in range(64 // shift):
            z = mixed ^ (z >> shift)
        z = z * pow(factor, -1, 2**64) & word
    return z - 2**64 if z >> 63 else z


def test_uniform_draws_never_reach_0_or_1():
    extremes = [0, -1, 2**63 - 1, -(2**63)]
    keys = [key_of(draw) for draw in extremes]
    assert randomness.bits(keys, 1)[:, 0].tolist() == extremes
    values = randomness.uniform(keys, 1)[:, 0]
    assert values.tolist() == [2.0**-53, 1 - 2.0**-53, 0.5 - 2.0**-53, 0.5 + 2.0**-53]
    assert torch.isfinite(randomness.normal(keys, 1)).all()


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


# --- keys that lie on the device, and masks in parts


@every("draw", [randomness.bits, randomness.uniform, randomness.normal, randomness.gumbel])
def test_draws_of_keys_in_a_tensor_are_those_of_the_numbers(draw):
    keys = [randomness.key(seed, "x") for seed in range(3)] + [0, -1, 2**63 - 1, -(2**63)]
    before = torch.tensor(keys)
    tensor = before.clone()
    for count in (0, 1, 7, (1 << 16) + 5):
        assert torch.equal(draw(tensor, count), draw(keys, count))
    assert torch.equal(tensor, before)
    assert torch.equal(randomness.permutation(tensor, 99), randomness.permutation(keys, 99))
    drop = torch.linspace(0, 0.9, len(keys))
    first, second = (randomness.keep_mask(k, drop, (3, 5), torch.float64) for k in (tensor, keys))
    assert torch.equal(first, second)


def test_draws_handed_out_are_not_overwritten_by_the_next():
    first = randomness.bits([1], 100)
    before = first.clone()
    randomness.bits([2], 100)
    assert torch.equal(first, before)
    first = randomness.keep_part(1, 0.5, 0, torch.empty(100))
    before = first.clone()
    randomness.keep_part(2, 0.5, 0, torch.empty(100))
    assert torch.equal(first, before)


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(0, 1 - 2.0**-20),
    st.integers(0, 600),
    st.lists(st.integers(0, 9), min_size=1, max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.int64]),
)
@example(2**63 - 1, 0.3, 599, [9, 9, 9], torch.float32)
@example(-(2**63), 0.3, 0, [1], torch.float32)
def test_any_part_of_a_mask_is_that_slice_of_the_whole(key, drop, start, shape, dtype):
    out = torch.full(shape, 7, dtype=dtype)
    found = randomness.keep_part(key, drop, start, out)
    size = math.prod(shape)
    rate = torch.tensor([drop], dtype=torch.float64)
    whole = randomness.keep_mask([key], rate, (start + size,), dtype)[0]
    assert found is out  # nothing is allocated
    assert torch.equal(out.flatten(), whole[start:])


@every("lead", [0, 1, 2, 3])
def test_parts_across_the_chunks_of_the_whole_are_its_slices(lead):
    key, start = randomness.key(3, "dropout/0", 12), 4 * (1 << 16) - 8 + lead
    whole = randomness.keep_mask([key], torch.tensor([0.35]), (start + 301,), torch.float32)[0]
    for size in (1, 2, 4, 301):
        part = randomness.keep_part(key, 0.35, start, torch.empty(size))
        assert torch.equal(part, whole[start : start + size])
    assert torch.equal(
        randomness.keep_part(key, 0.35, lead, torch.empty(3, 65537)).flatten(), whole[lead:][: 3 * 65537]
    )


@every("drop", [0.0, 1 / 65536, 0.5 / 65536, 1.5 / 65536, 0.1, 0.5, 1 - 2.0**-16, 1 - 2.0**-18])
def test_parts_round_a_probability_as_the_whole_does(drop):
    key, count = randomness.key(8, "x"), 1 << 18
    for dtype in (torch.float32, torch.float64):
        rate = torch.tensor([drop], dtype=dtype)
        whole = randomness.keep_mask([key], rate, (count,), torch.float32)[0]
        assert torch.equal(randomness.keep_part(key, float(rate), 0, torch.empty(count)), whole)


def test_parts_one_after_the_other_make_the_whole_whatever_their_sizes():
    key = randomness.key(1, "dropout/2", 40)
    whole = randomness.keep_mask([key], torch.tensor([0.2]), (1000,), torch.float64)[0]
    at = 0
    for size in (5, 13, 1, 5, 40, 7, 128, 2, 3, 6, 9, 11, 5, 400, 365):
        part = randomness.keep_part(key, 0.2, at, torch.empty(size, dtype=torch.float64))
        assert torch.equal(part, whole[at : at + size])
        at += size
    assert at == 1000


def test_masks_drawn_ahead_are_those_of_their_steps():
    rates, ahead = {"dropout": torch.tensor([0.25], dtype=torch.float64)}, {}
    for step, shape, seed in itertools.product([0, 1, 15, 16, 40, 39, 3, 3], [(9, 7), (4,)], [5, 6]):
        found, expected = (Draws([seed], step, rates, ahead=a).keep("s", "dropout", shape, torch.float32)
                           for a in (ahead, None))  # fmt: skip
        assert torch.equal(found, expected)
        found.zero_()  # as who takes it may


@every("seeds", [[5], [5, 0, 7]])
def test_draws_from_a_table_of_keys_are_those_of_seeds_and_step(seeds):
    rates = {"dropout": torch.tensor([0.25, 0.0, 0.5], dtype=torch.float64)[: len(seeds)]}
    keys = {name: torch.tensor([randomness.key(seed, name, 6) for seed in seeds]) for name in ("dropout/0", "gumbel")}
    tabled, plain = Draws([], 0, rates, keys), Draws(seeds, 6, rates)
    first, second = (one.keep("dropout/0", "dropout", (9, 7), torch.float32) for one in (tabled, plain))
    assert first.shape == (len(seeds), 9, 7)
    assert torch.equal(first, second)
    x = torch.ones(len(seeds), 9, 7, dtype=torch.float64)
    assert torch.equal(*(one.dropout(x, "dropout/0", "dropout") for one in (tabled, plain)))
    assert torch.equal(*(randomness.gumbel(one.keys("gumbel"), 5) for one in (tabled, plain)))
    assert plain.asked == ["dropout/0", "gumbel"]  # each once, however often it is drawn from
