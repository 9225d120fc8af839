"""Surfaces of pairs: what is stored is what the network says, and the interaction is alone."""

import numpy as np
import pytest
import torch

from mixnam.data import catalogue
from mixnam.data.splits import split_rows
from mixnam.data.table import Table
from mixnam.data.transforms import Preprocessing
from mixnam.explain import surfaces
from mixnam.models import NA2MSettings, NB2MSettings, make_network
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec

CPU = torch.device("cpu")
SHORT = {"epochs": 2, "batch_size": 64}


class Planted:
    """A pairwise model with known terms; it sees raw features."""

    pairs = ((0, 1), (0, 2), (1, 2))

    def singles(self, tensors, x, draws, features):
        return torch.stack([{0: x[..., 0] ** 2, 1: 3 * x[..., 1], 2: 0 * x[..., 2]}[i] for i in features], dim=1)

    def doubles(self, tensors, x, draws, pairs):
        own = [4 * x[..., 0] * x[..., 1], x[..., 0] * x[..., 2], 5 * x[..., 2]]  # the last is no interaction
        return torch.stack([own[p] for p in pairs], dim=1)


class Raw:
    """A preprocessing that leaves features as they are."""

    def inputs(self, x):
        return x


def dataset(count=3000):
    numbers = np.random.default_rng(0)
    x = np.column_stack((numbers.normal(size=count), numbers.integers(0, 3, count), numbers.normal(size=count)))
    return Table("t", "t", "regression", "rmse", x, x[:, 0], ("a", "b", "c"), "y", categories={1: ("p", "q", "r")})


@pytest.fixture(scope="module")
def found():
    return surfaces.pair_surfaces(Planted(), {}, dataset(), Raw(), CPU)


def test_pairs_come_by_their_interaction(found):
    assert found["pairs"].tolist() == [[0, 1], [0, 2], [1, 2]]
    strength = [
        float((np.nan_to_num(s) ** 2 * r).sum())
        for s, r in zip(found["pair_interaction"], found["pair_rows"], strict=True)
    ]
    assert strength[0] > strength[1] > 100 * strength[2]


def test_a_surface_is_the_sum_of_its_terms(found):
    a, b = found["pair_values"][0]
    b = b[:3]
    assert b.tolist() == [0, 1, 2] and np.isnan(found["pair_values"][0, 1, 3:]).all()
    effect, rows = found["pair_effect"][0][:, :3], found["pair_rows"][0][:, :3]
    expected = a[:, None] ** 2 + 3 * b + 4 * a[:, None] * b
    np.testing.assert_allclose(effect, expected - np.average(expected, weights=rows), atol=1e-6)
    assert rows.sum() == pytest.approx(0.99 * 3000, rel=0.01) and np.isnan(found["pair_effect"][0][:, 3:]).all()


def test_an_interaction_holds_nothing_of_one_feature_alone(found):
    alone, rows = found["pair_interaction"][0][:, :3], found["pair_rows"][0][:, :3]
    for axis in (0, 1):
        assert np.abs((alone * rows).sum(axis=axis)).max() < 1e-4
    third = found["pairs"].tolist().index([1, 2])
    np.testing.assert_allclose(np.nan_to_num(found["pair_interaction"][third]), 0, atol=1e-6)


def test_purifying_takes_away_rows_and_columns_and_nothing_else():
    numbers = np.random.default_rng(1)
    weight = numbers.integers(0, 4, (6, 5)).astype(float)
    surface = numbers.normal(size=(6, 5))
    one, two = numbers.normal(size=(6, 1)), numbers.normal(size=5)
    np.testing.assert_allclose(
        surfaces.purify(surface + one + two, weight), surfaces.purify(surface, weight), atol=1e-7
    )
    unweighted = surfaces.purify(surface, np.ones((6, 5)))
    doubly_centred = surface - surface.mean(axis=0) - surface.mean(axis=1, keepdims=True) + surface.mean()
    np.testing.assert_allclose(unweighted, doubly_centred, atol=1e-12)


def test_rows_outside_the_central_part_belong_to_no_cell():
    column = np.append(np.linspace(0, 1, 1000), [50.0, -50.0])
    values, place = surfaces.cells(column)
    assert len(values) == surfaces.POINTS and set(place[-2:]) == {-1}
    width = values[1] - values[0]
    inside = place >= 0
    assert np.abs(column[inside] - values[place[inside]]).max() <= width / 2 + 1e-12


def test_of_many_pairs_those_that_vary_most_are_considered():
    x = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0))
    assert surfaces.most_varied(Planted(), {}, x) == range(3)
    assert surfaces.most_varied(Planted(), {}, x, 2) == [2, 0]  # 5 c, then 4 a b
    found = surfaces.pair_surfaces(Planted(), {}, dataset(), Raw(), CPU, surfaces=1, considered=2)
    assert found["pairs"].tolist() == [[0, 1]]


def test_surfaces_of_a_trained_network_are_stored_in_the_targets_units():
    settings = NA2MSettings(hidden=(4,), epochs=2, batch_size=64)
    (result,) = fit([RunSpec("diabetes", settings, "holdout", 0)], "cpu")
    arrays = result.arrays
    assert arrays["pairs"].shape == (surfaces.SURFACES, 2) and arrays["pair_effect"].dtype == np.float32
    data = catalogue.load("diabetes")
    split = split_rows(data, "holdout", 0)
    prep = Preprocessing(data, split.train, 0)
    network = make_network(result.spec.settings, 10)
    tensors = {k: torch.tensor(v)[None] for k, v in result.weights.items()}
    again = surfaces.pair_surfaces(network, tensors, data, prep, CPU)
    np.testing.assert_allclose(arrays["pair_effect"], again["pair_effect"] * prep.target_scale, rtol=1e-4, atol=1e-4)


SMALL = [NA2MSettings(hidden=(4,), **SHORT), NB2MSettings(hidden=(8,), bases=6, **SHORT)]


@pytest.mark.parametrize("settings", SMALL, ids=["NA2M", "NB2M"])
def test_the_first_seed_keeps_six_surfaces_and_every_other_its_strongest(settings):
    first, other = fit([RunSpec("diabetes", settings, "holdout", seed) for seed in range(2)], "cpu")
    assert len(first.arrays["pairs"]) == surfaces.SURFACES
    assert {len(a) for name, a in other.arrays.items() if name.startswith("pair")} == {1}
    data = catalogue.load("diabetes")
    prep = Preprocessing(data, split_rows(data, "holdout", 1).train, 1)
    tensors = {k: torch.tensor(v)[None] for k, v in other.weights.items()}
    again = surfaces.pair_surfaces(make_network(settings, 10), tensors, data, prep, CPU)
    assert other.arrays["pairs"].tolist() == again["pairs"][:1].tolist()


def test_many_categories_keep_codes_the_most_frequent_and_no_number_between():
    codes = np.repeat(np.arange(60.0), np.arange(1, 61))
    values, place = surfaces.cells(codes, categorical=True)
    assert values.tolist() == list(range(60 - surfaces.POINTS, 60))
    assert (values[place[place >= 0]] == codes[place >= 0]).all() and (place < 0).sum() == sum(range(1, 21))
