"""The synthetic laws, against formulas written out row by row and against Monte Carlo."""

import math

import numpy as np
import pytest
from every import every

from mixnam import randomness
from mixnam.data import catalogue, laws
from mixnam.data.laws import SIMULATIONS
from mixnam.models import LinearSettings
from mixnam.runs.spec import RunSpec

TWO_FEATURES = [name for name in SIMULATIONS if "variability" not in name]
VARIABILITY = [name for name in SIMULATIONS if "variability" in name]


def slow(name, row):
    """The law at one row, in plain Python; None where a switch is hidden."""
    x1, *rest = map(float, row)
    wave = math.sin(4 * math.pi * x1)
    if name in ("sim_unimodal", "sim_noise"):
        return wave + rest[0]
    if "variability" in name:
        return sum(64 / len(rest) * x * wave for x in rest)
    return None if name == "sim_hidden" else rest[0] * wave + rest[0]


@every("name", SIMULATIONS)
def test_shape_and_ranges(name):
    dataset = catalogue.load(name)
    modifiers = int(name.rsplit("_", 1)[1]) if name in VARIABILITY else 1
    assert dataset.x.shape == (2000 * modifiers if name in VARIABILITY else 10000, 1 + modifiers)
    assert dataset.features == tuple(f"x{i + 1}" for i in range(1 + modifiers))
    assert (dataset.task, dataset.metric, dataset.categories) == ("regression", "rmse", {})
    x1 = dataset.x[:, 0]
    assert 0 <= x1.min() < 0.01 and 0.99 < x1.max() <= 1
    assert np.histogram(x1, 10, (0, 1))[0] == pytest.approx(len(x1) / 10, abs=5 * math.sqrt(len(x1) / 10))
    assert set(np.unique(dataset.x[:, 1:])) == {-1.0, 1.0}


@every("name", [n for n in SIMULATIONS if n != "sim_hidden"])
def test_rows_follow_the_law_up_to_its_noise(name):
    dataset = catalogue.load(name)
    expected = np.array([slow(name, row) for row in dataset.x])
    assert laws.truth(name, dataset.x) == pytest.approx(expected, abs=1e-12)
    noise = dataset.y - expected
    if name == "sim_noise":
        noise = noise / (0.1 + dataset.x[:, 0]) * 0.1
    count = len(noise)
    assert noise.mean() == pytest.approx(0, abs=5 * 0.1 / math.sqrt(count))
    assert noise.std() == pytest.approx(0.1, rel=5 / math.sqrt(2 * count))
    assert (np.abs(noise) < 0.1).mean() == pytest.approx(math.erf(math.sqrt(0.5)), abs=5 * 0.47 / math.sqrt(count))
    columns = np.column_stack([noise, dataset.x])
    assert np.abs(np.corrcoef(columns.T)[0, 1:]).max() < 5 / math.sqrt(count), "noise depends on a feature"


def test_the_hidden_switch_is_no_feature():
    dataset = catalogue.load("sim_hidden")
    wave, x2 = np.sin(4 * np.pi * dataset.x[:, 0]), dataset.x[:, 1]
    left = dataset.y - x2
    clear = np.abs(wave) > 0.6  # six standard deviations: the switch can be read off
    switch = np.sign(left[clear] * wave[clear])
    assert (left[clear] - switch * wave[clear]).std() == pytest.approx(0.1, rel=0.05)
    bound = 5 / math.sqrt(clear.sum())
    assert abs(switch.mean()) < bound
    assert np.abs(np.corrcoef([switch, x2[clear], dataset.x[clear, 0]])[0, 1:]).max() < bound
    assert laws.truth("sim_hidden", dataset.x) == pytest.approx(x2)


@every("share, rows", [(25, 2500), (5, 500), (1, 100)])
def test_shares_are_counted(share, rows):
    x1, x2 = catalogue.load(f"sim_sparse_{share}").x.T
    assert (x2 == 1).sum() == rows
    assert np.flatnonzero(x2 == 1).mean() == pytest.approx(5000, abs=5 * 2900 / math.sqrt(rows))
    assert x1[x2 == 1].mean() == pytest.approx(0.5, abs=5 * 0.29 / math.sqrt(rows))


@every("name", [n for n in SIMULATIONS if "sparse" not in n])
def test_signs_have_equal_odds(name):
    signs = catalogue.load(name).x[:, 1:]
    assert np.abs(signs.mean(axis=0)).max() < 5 / math.sqrt(len(signs))


def test_columns_and_laws_are_drawn_independently():
    dataset = catalogue.load("sim_variability_16")
    apart = np.corrcoef(dataset.x.T) - np.eye(17)
    assert np.abs(apart).max() < 5 / math.sqrt(len(dataset.x))
    x1 = np.array([catalogue.load(name).x[:2000, 0] for name in SIMULATIONS])
    assert np.abs(np.corrcoef(x1) - np.eye(len(x1))).max() < 5 / math.sqrt(2000)


def test_draws_are_the_hashs():
    x1 = randomness.uniform([randomness.key(0, "simulation/sim_unimodal/x1")], 10000)[0].numpy()
    assert np.array_equal(catalogue.load("sim_unimodal").x[:, 0], x1.round(6))


@every("name", SIMULATIONS)
def test_values_are_rounded_so_that_platforms_agree(name):
    dataset = catalogue.load(name)
    assert np.array_equal(dataset.x, dataset.x.round(6))
    assert np.array_equal(dataset.y, dataset.y.round(9))


# a change of a law, of the hash or of the rounding orphans every stored result
@every(
    "name, checksum",
    [
        ("sim_multimodal", "2174750d0c5213ef4a66ca2099f8eac0eea8fb77cdfa2a6bae162ee23a0057bd"),
        ("sim_variability_2", "0878115718711d5870055ea760f19137805bd2c57c9d80e92615e02c77da52f9"),
    ],
)
def test_generated_rows_stay_the_same(name, checksum):
    laws.generate.cache_clear()
    assert laws.generate(name).checksum == checksum
    assert catalogue.checksum(name) == checksum
    assert RunSpec(name, LinearSettings(), "holdout", 0).key


def test_laws_have_keys_of_their_own():
    keys = {RunSpec(name, LinearSettings(), "holdout", 0).key for name in SIMULATIONS}
    assert len(keys) == len(SIMULATIONS)


@every("name", TWO_FEATURES)
def test_probe_of_two_features_is_a_grid(name):
    probe = catalogue.load(name).probe
    expected = [(k / 200, x2) for x2 in (-1.0, 1.0) for k in range(201)]
    assert probe == pytest.approx(np.array(expected), abs=1e-15)
    if name == "sim_multimodal":  # opposite waves
        below, above = laws.truth(name, probe).reshape(2, 201)
        assert below == pytest.approx(-above)
        assert above[25] == pytest.approx(2)  # x1 = 1/8


@every("name", VARIABILITY)
def test_probe_of_many_modifiers_is_fresh_rows(name):
    dataset = catalogue.load(name)
    assert dataset.probe.shape == (2000, dataset.x.shape[1])
    for i in range(dataset.x.shape[1]):
        assert abs(np.corrcoef(dataset.probe[:, i], dataset.x[:2000, i])[0, 1]) < 5 / math.sqrt(2000)
    assert len(np.intersect1d(dataset.probe[:, 0], dataset.x[:, 0])) < 200  # 64 by chance among 32,000
    assert laws.truth(name, dataset.probe) == pytest.approx(np.array([slow(name, r) for r in dataset.probe]))


@every("name", ["sim_noise", "sim_hidden"])
@every("x1", [0.0, 0.06, 0.125, 0.7, 1.0])
def test_spread_is_that_of_drawn_outcomes(name, x1):
    count = 200_000
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(count)
    if name == "sim_noise":
        outcomes = math.sin(4 * math.pi * x1) + noise * (0.1 + x1)
    else:
        outcomes = generator.choice([-1, 1], count) * math.sin(4 * math.pi * x1) + 0.1 * noise
    assert laws.spread(name, np.array([x1])) == pytest.approx([outcomes.std()], rel=0.01)


@every("name", ["sim_noise", "sim_hidden"])
def test_spread_is_that_of_the_rows(name):
    dataset = catalogue.load(name)
    left = dataset.y - laws.truth(name, dataset.x)
    ratio = left / laws.spread(name, dataset.x[:, 0])
    for low in np.arange(0, 1, 0.1):
        here = (dataset.x[:, 0] >= low) & (dataset.x[:, 0] < low + 0.1)
        assert np.sqrt((ratio[here] ** 2).mean()) == pytest.approx(1, abs=0.12)


def test_unknown_laws_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"simulation must be one of sim_unimodal, .*, got 'sim_other'"):
        laws.truth("sim_other", np.zeros((1, 2)))
    with pytest.raises(ValueError, match="simulation must be one of"):
        laws.generate("housing")
    with pytest.raises(ValueError, match=r"x of sim_variability_4 must be \(rows, 5\), got \(3, 2\)"):
        laws.truth("sim_variability_4", np.zeros((3, 2)))
    with pytest.raises(ValueError, match="spread is known for sim_noise and sim_hidden, got 'sim_unimodal'"):
        laws.spread("sim_unimodal", np.zeros(1))


def test_simulations_are_marked_as_such():
    marked = {name for name, entry in catalogue.REGISTRY.items() if entry.simulated}
    assert marked == set(SIMULATIONS)
    assert not any(catalogue.REGISTRY[name].bundled for name in marked)
    assert {catalogue.family(name) for name in marked} == {"simulations"}
