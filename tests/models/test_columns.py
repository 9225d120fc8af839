"""Every batch row finds its own value among the rows to encode, and each repeated value is encoded once."""

import itertools

import pytest
import torch
from every import every
from hypothesis import given
from hypothesis import strategies as st

from mixnam.models.fast import columns
from mixnam.models.fast.columns import Columns


@pytest.fixture(autouse=True)
def three_quarters(monkeypatch):
    monkeypatch.setattr(columns, "WORTH_GATHERING", 0.75)  # whatever is found to pay one day


def table(rows, *distinct):
    """One column for each number of distinct values, each of which it takes."""
    source = torch.Generator().manual_seed(2)
    parts = []
    for count in distinct:
        values = torch.randperm(100, generator=source)[:count].double() / 8
        parts.append(values[torch.cat([torch.arange(count), torch.randint(count, (rows - count,), generator=source)])])
    order = torch.randperm(rows, generator=source)
    return torch.stack(parts, dim=1)[order]


def sizes(rows):
    return [piece.stop - piece.start for piece in rows.pieces]


def assert_finds(found, x, chosen):
    """Check that batch row b finds x[chosen[b], i] among the rows to encode of feature i."""
    wanted = x[chosen]
    assert found.batch == len(chosen)
    assert [piece.feature for piece in found.pieces] == list(range(x.shape[1]))
    assert all(first.stop <= second.start for first, second in itertools.pairwise(found.pieces))
    assert all(piece.offset == 0 for piece in found.pieces)
    assert found.pieces[0].start == 0
    assert found.pieces[-1].stop <= len(found.values)
    if found.index is None:
        assert all(size == len(chosen) for size in sizes(found))
        encoded = [found.values[piece.start : piece.stop] for piece in found.pieces]
        assert torch.equal(torch.stack(encoded, dim=1), wanted)
    else:
        assert found.index.shape == wanted.shape
        assert torch.equal(found.values[found.index], wanted)
        for piece, index in zip(found.pieces, found.index.T, strict=True):
            assert ((index >= piece.start) & (index < piece.stop)).all()  # nothing that is not encoded


@given(st.data())
def test_every_row_of_any_batch_finds_its_own_values(data):
    rows, n = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 4))
    values = st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.0, 3.0, 1e-300, 1e30])
    x = torch.tensor(data.draw(st.lists(st.lists(values, min_size=n, max_size=n), min_size=rows, max_size=rows)))
    x = x.double()
    if data.draw(st.booleans()):  # a column without repetition
        x[:, data.draw(st.integers(0, n - 1))] = torch.arange(rows).double()
    batch, gather = data.draw(st.integers(1, 40)), data.draw(st.booleans())
    made = Columns(x, batch, gather)
    distinct = [len(set(column.tolist())) for column in x.T]
    encoded = [min(count, batch, rows) for count in distinct]
    full = min(batch, rows) * n
    assert made.gathers == (gather and sum(encoded) <= 0.75 * full)
    assert made.most == (sum(encoded) if made.gathers else full)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    for chosen in (order[:batch], order[: max(1, batch // 3)], order[-batch:], order[:1], order[:batch].flip(0)):
        found = made.rows(chosen)
        assert_finds(found, x, chosen)
        assert found.pieces[-1].stop <= made.most
        if made.gathers:
            assert len(found.values) == made.most
            for size, count in zip(sizes(found), distinct, strict=True):
                assert size == (len(chosen) if count >= min(batch, rows) else count)


def test_a_repeated_value_is_encoded_once_and_a_column_without_repetition_at_the_batch_s_rows():
    x = table(50, 3, 50, 1, 12)
    made = Columns(x, 20, gather=True)
    assert made.gathers
    assert made.most == 3 + 20 + 1 + 12
    for chosen in (torch.arange(20), torch.arange(30, 50), torch.arange(7), torch.arange(20)):
        found = made.rows(chosen)
        assert sizes(found) == [3, len(chosen), 1, 12]
        assert_finds(found, x, chosen)
    assert found.values[:3].tolist() == sorted(set(x[:, 0].tolist()))


def test_a_column_with_as_many_values_as_a_batch_has_rows_is_encoded_at_the_batch_s_rows():
    x = table(30, 10, 9, 1)
    made = Columns(x, 10, gather=True)
    assert sizes(made.rows(torch.arange(4))) == [4, 9, 1]
    assert_finds(made.rows(torch.arange(4)), x, torch.arange(4))


def test_a_batch_with_a_row_many_times_over_finds_it():
    x = table(40, 2, 40)
    made = Columns(x, 12, gather=True)
    assert made.gathers
    chosen = torch.tensor([5, 5, 5, 0, 39, 5])
    assert_finds(made.rows(chosen), x, chosen)


@every("distinct, gathers", [((10, 20), True), ((11, 20), False), ((15, 15), True), ((29, 9), True)])
def test_values_are_gathered_where_that_leaves_three_quarters_of_the_rows_or_less(distinct, gathers):
    x = table(60, *distinct)
    made = Columns(x, 20, gather=True)  # of 40 rows to encode, 30 may be left
    assert made.gathers == gathers
    assert not Columns(x, 20, gather=False).gathers
    found = made.rows(torch.arange(20))
    assert (found.index is None) == (not gathers)
    assert len(found.values) == (made.most if gathers else 40)


def test_a_batch_larger_than_the_table_is_the_table():
    x = table(6, 3, 4)
    for gather in (True, False):
        made = Columns(x, 4096, gather)
        assert made.gathers == gather
        assert made.most == (3 + 4 if gather else 12)
        assert_finds(made.rows(torch.arange(6)), x, torch.arange(6))


def test_without_gathering_rows_lie_feature_after_feature_in_the_batch_s_order():
    x = table(9, 2, 3)
    found = Columns(x, 4, gather=False).rows(torch.tensor([7, 0, 3]))
    assert found.values.tolist() == [*x[[7, 0, 3], 0].tolist(), *x[[7, 0, 3], 1].tolist()]
    assert [tuple(piece) for piece in found.pieces] == [(0, 3, 0, 0), (3, 6, 1, 0)]


def test_both_zeros_are_one_value():
    x = torch.tensor([[0.0], [-0.0], [1.0], [-0.0], [0.0], [1.0]])
    found = Columns(x, 6, gather=True).rows(torch.arange(6))
    assert sizes(found) == [2]
    assert found.values[found.index].flatten().tolist() == [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]


def test_missing_values_are_one_value():
    x = torch.tensor([[torch.nan, 1.0], [2.0, torch.nan], [torch.nan, torch.nan], [2.0, 1.0]])
    found = Columns(x, 4, gather=True).rows(torch.tensor([2, 0, 3]))
    assert sizes(found) == [2, 2]
    torch.testing.assert_close(found.values[found.index], x[[2, 0, 3]], rtol=0, atol=0, equal_nan=True)


def test_the_table_is_left_alone():
    x = table(20, 2, 20)
    before = x.clone()
    made = Columns(x, 8, gather=True)
    assert made.gathers
    for chosen in torch.arange(20).split(8):
        made.rows(chosen)
    assert torch.equal(x, before)


def test_an_empty_table_takes_no_rows():
    made = Columns(torch.zeros(0, 3), 8, gather=True)
    assert made.most == 0
    assert not made.gathers
