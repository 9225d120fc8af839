"""What is measured and drawn where values are missing: they are one more value, without a slope and off the axis."""

import naive
import numpy as np
import pytest
import torch
from every import every
from explained import CASES, MLP, as_arrays, bounds, explained, table

from mixnam.explain import cells, surfaces
from mixnam.explain.measures import Explainer
from mixnam.models import LinearSettings, NA2MSettings, NAMSettings, NBMSettings, NODEGAMSettings, NODESettings

PIECES = {"encoding": "piecewise_linear", "bins": 4}
TREES = {"trees": 4, "depth": 2, "layers": 1}
OTHERS = {
    "MLP": MLP,
    "NA2M": NA2MSettings(hidden=(4,)),
    "NA2M in pieces": NA2MSettings(hidden=(4,), **PIECES),
    "NODE": NODESettings(**TREES),
    "NAM": NAMSettings(hidden=(4,)),
    "NAM in pieces": NAMSettings(hidden=(4,), **PIECES),
    "NBM": NBMSettings(hidden=(4,), bases=3),
    "NODE-GAM": NODEGAMSettings(**TREES),
    "Linear": LinearSettings(),
    "sparse in pieces": type(CASES["sparse"])(**CASES["sparse"].all() | PIECES),
}


def gapped(rows=80):
    """A table whose first feature misses a quarter of its values, and whose last all but a few."""
    x = table(rows)
    x[::4, 0] = torch.nan
    x[:-9, 2] = torch.nan
    return x


def prediction(outputs):
    return lambda rows: outputs(rows).prediction[0]


@every("case", CASES | OTHERS)
def test_measures_equal_brute_force(build, case):
    explainer, outputs = explained(build, (CASES | OTHERS)[case], gapped())
    explainer.grid = explainer.grid[::9]
    assert explainer.grid.isnan().sum(dim=0).tolist() == [3, 0, 10]  # of 12: a missing value is a value of the data
    _, variability = Explainer.variability(explainer)
    for i in range(3):
        expected = naive.variability(prediction(outputs), explainer.background, explainer.grid[:, i], i)
        assert variability[i] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    if case not in CASES:
        return
    assert explainer.interventions()["variability"] == pytest.approx(variability, rel=1e-9, abs=1e-12)
    found = explainer.tightness()["range"]
    for i in range(3):
        expected = naive.tightness(bounds(outputs), explainer.x, explainer.grid[:, i], i)
        assert found[i] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@every("case", CASES | OTHERS)
def test_slopes_equal_brute_force_and_are_0_by_a_missing_value(build, case):
    explainer, outputs = explained(build, (CASES | OTHERS)[case], gapped())
    values, rows = explainer.x[:12], explainer.x[torch.arange(36).view(12, 3)]
    for found in (explainer.slopes(values, rows), Explainer.slopes(explainer, values, rows)):
        assert found.isfinite().all()
        for i in range(3):
            x = rows.clone()
            x[..., i] = values[:, None, i]
            leaf = x.flatten(0, 1).requires_grad_(True)
            slopes = torch.autograd.grad(outputs(leaf).prediction.sum(), leaf)[0][:, i].view(12, 3)
            torch.testing.assert_close(found[i], slopes, rtol=1e-8, atol=1e-10)
            assert (found[i][values[:, i].isnan()] == 0).all()
    slopes = explainer.derivatives()
    assert slopes.isfinite().all() and (slopes[explainer.x.isnan()] == 0).all()


@every("case", ["dense", "even", "MLP", "NAM in pieces", "NODE-GAM"])
def test_no_measure_is_nan(build, case):
    explainer, _ = explained(build, (CASES | OTHERS)[case], gapped())
    found = explainer.measures(as_arrays(explainer.rows()))
    numbers = [v for part in found.values() for v in (part.values() if isinstance(part, dict) else [part])]
    numbers = [v for value in numbers for v in (value if isinstance(value, list) else [value])]
    assert all(np.isfinite(v) for v in numbers if isinstance(v, float))


@every("rows", [25, 80, 1003])
def test_rows_with_a_missing_value_are_groups_of_their_own(build, rows):
    explainer, _ = explained(build, CASES["dense"], gapped(rows))
    for i in range(3):
        groups, missing = explainer._groups(i), explainer.x[:, i].isnan()
        assert len(groups) >= 1 and len(set(groups.flatten().tolist())) == groups.numel()
        of_missing = missing[groups].double().mean(dim=1)
        assert ((of_missing == 0) | (of_missing == 1)).all()
        for kind in (0, 1):  # none but the few left over is dropped
            left = int((missing == kind).sum()) - int((of_missing == kind).sum()) * groups.shape[1]
            assert 0 <= left < groups.shape[1]


COLUMN = np.where(np.arange(1000) % 3, np.random.default_rng(0).normal(size=1000), np.nan)
FEW = np.where(np.arange(1000) % 3, np.arange(1000) % 4, np.nan)


@every("column", [COLUMN, FEW])
def test_missing_values_have_no_place_on_an_axis(column):
    known = column[~np.isnan(column)]
    np.testing.assert_array_equal(cells.curve_grid(column), cells.curve_grid(known))
    assert cells.histogram_range(column[:, None]).tolist() == cells.histogram_range(known[:, None]).tolist()
    (values, place), (expected, places) = surfaces.cells(column), surfaces.cells(known)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(place[~np.isnan(column)], places)
    assert (place[np.isnan(column)] == -1).all()
    x, o = np.stack([column, column], axis=1), np.random.default_rng(1).random((1000, 2))
    rows = {"contributions": o, "lower": np.zeros_like(o), "upper": np.ones_like(o)}
    kept = ~np.isnan(column)
    np.testing.assert_array_equal(
        cells.low_share(x, rows), cells.low_share(x[kept], {name: v[kept] for name, v in rows.items()})
    )
    np.testing.assert_array_equal(cells.cell_quantiles(x, o, []), cells.cell_quantiles(x[kept], o[kept], []))


def test_a_column_without_any_value_has_an_axis_of_one_point():
    column = np.full(20, np.nan)
    assert cells.curve_grid(column)[~np.isnan(cells.curve_grid(column))].tolist() == [0]
    assert cells.histogram_range(column[:, None]).tolist() == [[0], [0]]
