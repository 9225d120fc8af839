"""What a network is given of a number: edges of bins for any column, and shares in them."""

import numpy as np
import pytest
import torch
from every import every

from mixnam.models import MixNAMSettings, NA2MSettings, NAMSettings, make_network
from mixnam.models.encoding import EDGES, bin_edges, encode, fitted_edges, piecewise_linear

DRAWN = np.random.default_rng(0).normal(size=1000)


def test_edges_of_a_column_without_ties_are_its_quantiles():
    edges = bin_edges(DRAWN, 8)
    assert edges == pytest.approx(np.quantile(DRAWN, np.linspace(0, 1, 9)))
    counts, _ = np.histogram(DRAWN, edges)
    assert counts.tolist() == [125] * 8


@every(
    "column, bins, edges",
    [
        ([2.0, 1.0, 2.0], 8, [1.0, 2.0]),
        ([3.0, 3.0], 8, [3.0]),
        ([0.1, 0.2, 0.3, 0.3], 2, [0.1, 0.2, 0.3]),  # categories' mean targets
    ],
)
def test_few_distinct_values_are_the_edges(column, bins, edges):
    assert bin_edges(np.array(column), bins).tolist() == edges


def test_a_column_that_is_mostly_one_value_keeps_bins_for_the_others():
    column = np.concatenate([np.zeros(9000), DRAWN])
    plain = np.unique(np.quantile(column, np.linspace(0, 1, 17)))
    edges = bin_edges(column, 16)
    assert len(plain) < 6 < 14 <= len(edges) <= 17
    assert set(plain) <= set(edges)
    assert (np.diff(edges) > 0).all()
    least = bin_edges(np.round(DRAWN, 1), 16)  # some ties: fewer quantiles coincide than would matter
    assert set(least) <= set(np.quantile(np.round(DRAWN, 1), np.linspace(0, 1, 17)))


def test_edges_are_each_members_and_each_columns_own():
    x = torch.tensor([[[0.0, 5.0], [1.0, 5.0]], [[2.0, 7.0], [4.0, 8.0]]])
    edges = fitted_edges(x, 3)
    assert edges[:, :, 0].tolist() == [[[0, 1, 1, 1], [5, 5, 5, 5]], [[2, 4, 4, 4], [7, 8, 8, 8]]]


def test_missing_values_have_no_part_in_edges():
    x = torch.tensor([[[1.0, torch.nan], [torch.nan, torch.nan], [3.0, torch.nan]]])
    assert fitted_edges(x, 2)[0, :, 0].tolist() == [[1, 3, 3], [0, 0, 0]]


@every("bins", [0, 2])
def test_of_a_missing_value_only_the_last_input_is_not_0_and_no_derivative(bins):
    tensors = {EDGES: torch.tensor([0.0, 1.0, 3.0]).expand(1, 1, 2, 3)} if bins else {}
    h = torch.tensor([[2.0, torch.nan], [torch.nan, 0.5]], requires_grad=True)
    found = encode(tensors, h[None, None], gaps=True)
    two, half, missing = (
        [*row[: 1 + bins], last] for row, last in (([2, 1, 0.5], 0), ([0.5, 0.5, 0], 0), ([0] * 3, 1))
    )
    assert found[0, 0].tolist() == [two + missing, missing + half]
    (gradient,) = torch.autograd.grad(found.sum(), h)
    assert gradient.tolist() == [[1 + bool(bins) * 0.5, 0], [0, 1 + bool(bins)]]
    assert encode({}, h[None, None], gaps=False).data_ptr() == h.data_ptr()


def test_shares_in_bins_rise_from_0_to_1_and_the_value_goes_on_beyond_them():
    edges = torch.tensor([0.0, 1.0, 3.0, 3.0])[None, None, None]
    found = piecewise_linear(torch.tensor([-2.0, 0.25, 2.0, 9.0]).view(1, 1, 4, 1), edges)[0, 0]
    assert found.tolist() == [[-2, 0, 0, 0], [0.25, 0.25, 0, 0], [2, 1, 0.5, 0], [9, 1, 1, 0]]


def test_a_constant_column_has_shares_of_0_and_no_gradient_that_is_not_finite():
    x = torch.full((1, 2, 5, 1), 3.0, requires_grad=True)
    found = piecewise_linear(x, fitted_edges(torch.full((1, 5, 2), 3.0), 4))
    assert found[..., 1:].abs().max() == 0
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert gradient.tolist() == torch.ones_like(x).tolist()


@every("kind", [MixNAMSettings, NAMSettings, NA2MSettings])
def test_networks_are_given_the_edges_of_their_training_rows(kind):
    network = make_network(kind(encoding="piecewise_linear", bins=5), 3)
    x = torch.tensor(DRAWN[:300].reshape(2, 50, 3))
    found = network.fitted(x)
    assert {name: t.shape[1:] for name, t in found.items()} == {
        n: b.shape for n, b in network.buffers.items() if n in found
    }
    assert torch.equal(found[EDGES], fitted_edges(x, 5))
    if kind is NA2MSettings:
        pairs = found[f"pair.{EDGES}"]
        for p, (i, j) in enumerate(network.pairs):
            assert torch.equal(pairs[:, p], torch.cat([found[EDGES][:, i], found[EDGES][:, j]], dim=1))
    assert make_network(kind(), 3).fitted(x) == {}


def test_a_scalar_input_declares_nothing_more():
    network = make_network(MixNAMSettings(width=4), 3)
    assert network.buffers == {}
    assert network.parameters["encoder.0.weight"].shape == (3, 1, 4)
