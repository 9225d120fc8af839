"""Stored curves, centred, and the rows in each cell of the histogram."""

import numpy as np

from mixnam.explain import cells
from mixnam.explain.curves import blurred, bounded, centred, centred_rows, row_counts


def arrays(**more):
    grid = np.array([[0.0, 1.0, 2.0, np.nan], [5.0, 6.0, np.nan, np.nan]], np.float32)
    return {"grid": grid, "grid_mean": grid * 10, "contribution_mean": np.array([3.0, 50.0])} | more


def test_curves_are_those_of_the_grid_less_the_mean_contribution():
    x, curves = centred(arrays(), 1)
    assert (x.tolist(), {k: v.tolist() for k, v in curves.items()}) == ([5, 6], {"mean": [0, 10]})
    _, curves = centred(arrays(grid_upper=np.ones((2, 4)), grid_lower=-np.ones((2, 4))), 0)
    assert curves["upper"].tolist() == [-2, -2, -2] and curves["lower"].tolist() == [-4, -4, -4]
    assert bounded(curves) and not bounded({"mean": x})
    assert not bounded({"upper": x, "lower": x, "mean": x})


def test_rows_are_centred_by_the_same_number():
    rows = {
        "sample_x": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "sample_contributions": np.array([[0.0, 51.0], [1.0, 49.0]]),
    }
    x, y = centred_rows(arrays(**rows), 1)
    assert (x.tolist(), y.tolist()) == ([2, 4], [1, -1])


def test_counts_of_codes_are_those_of_a_histogram_whatever_its_edges_round_to():
    for last in range(1, 20):
        codes = np.repeat(np.arange(last + 1), np.arange(2, last + 3)).astype(float)
        histogram = np.histogram(codes, 50, (0, last))[0]
        stored = {"density": histogram[None], "density_range": np.array([[0.0, last]])}
        found = row_counts(stored | {"grid": np.arange(last + 2.0)[None]}, 0)
        assert found.tolist() == [*range(2, last + 3), 0]
    single = {"density": np.histogram([3.0, 3.0], 50, (3, 3))[0][None], "density_range": np.array([[3.0, 3.0]])}
    assert row_counts(single | {"grid": np.array([[2.0, 3.0, 4.0, np.nan]])}, 0).tolist() == [0, 2, 0]


def held(column, categories=0):
    """Return what is stored of a column, and the rows at the values of its grid."""
    x = np.asarray(column, float)[:, None]
    low, high = cells.histogram_range(x)
    grid = cells.curve_grid(x[:, 0], categories)[None]
    density = np.histogram(x, cells.CELLS, (low[0], high[0]))[0][None]
    return {"grid": grid, "density": density, "density_range": np.array([[low[0], high[0]]])}, cells.rows_at(x, grid)


def test_a_histogram_tells_the_rows_of_values_that_share_no_cell():
    few = np.repeat([0.0, 1, 2, 5], [3, 7, 1, 9])
    stored, rows = held(few)
    assert rows[0, :4].tolist() == row_counts(stored, 0).tolist() == [3, 7, 1, 9] and rows[0, 4:].sum() == 0
    assert not blurred(stored, rows, ()) and not blurred(*held(np.arange(300.0)), ())
    assert blurred(*held([0.0, 1, 1, 1e6] * 9), ())  # 0 and 1 share one
    assert row_counts(stored | {"rows_at": rows + 1}, 0).tolist() == [4, 8, 2, 10]
    codes = np.repeat(np.arange(60), np.arange(1, 61))
    assert blurred(*held(codes, 60), (0,)) and not blurred(*held(codes, 60), ())
    last = np.repeat(np.arange(20), [2000, *[1] * 18, 9])  # the second most frequent lies beyond the central 99 %
    assert blurred(*held(last, 20), (0,)) and not blurred(*held(np.minimum(last, 14), 15), (0,))


def test_the_rows_of_the_most_frequent_of_many_categories_are_kept():
    counts = np.full(250, 1)
    counts[[1, 2, 3, 200]] = 50, 56, 41, 60
    codes = np.repeat(np.arange(250), counts).astype(float)
    grid = cells.curve_grid(codes, 250)
    assert {1, 2, 3, 200} <= set(grid) and (np.diff(grid) > 0).all() and len(grid) == cells.CURVE
    rows = cells.rows_at(codes[:, None], grid[None])[0]
    assert rows[np.isin(grid, [1, 2, 3, 200])].tolist() == [50, 56, 41, 60]
    assert cells.rows_at(codes[:, None], grid[None], least=10)[0].sum() == 207


def test_values_beyond_one_that_nearly_all_rows_hold_have_their_points():
    rare = np.r_[np.zeros(60_000), np.arange(1.0, 201)]
    grid = cells.curve_grid(rare)
    assert grid[0] == 0 and grid[-1] == 200 and (np.diff(grid) > 0).all() and len(grid) > 60
    assert cells.histogram_range(rare[:, None]).ravel().tolist() == [0, 200]
    assert cells.histogram_range(rare[:, None], least=10).ravel().tolist() == [0, 0]  # no row's own value


def test_missing_values_have_no_part_in_ranges_and_grids():
    known = np.arange(300.0)
    gaps = np.r_[known, np.full(40, np.nan)]
    np.testing.assert_array_equal(cells.histogram_range(gaps[:, None]), cells.histogram_range(known[:, None]))
    np.testing.assert_array_equal(cells.curve_grid(gaps), cells.curve_grid(known))


def test_float32_would_change_days_written_as_numbers_and_seconds():
    assert cells.fine(np.array([[0.0, 1.0, np.nan], [20240101, 20240102, 20240103]]))
    assert cells.fine(np.array([[1.7e9 + 0.1, 1.7e9 + 0.2]]))
    assert not cells.fine(np.array([[0.0, 1.0, np.nan], [1.5, 1.5, 2020.1]]))
