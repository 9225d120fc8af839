"""Stored curves, centred, and the rows in each cell of the histogram."""

import numpy as np

from mixnam.explain.curves import bounded, centred, centred_rows, row_counts


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
        found = row_counts(
            {"density": histogram[None], "density_range": np.array([[0.0, last]])}, 0, np.arange(last + 2.0)
        )
        assert found.tolist() == [*range(2, last + 3), 0]
    single = {"density": np.histogram([3.0, 3.0], 50, (3, 3))[0][None], "density_range": np.array([[3.0, 3.0]])}
    assert row_counts(single, 0, np.array([2.0, 3.0, 4.0])).tolist() == [0, 2, 0]
