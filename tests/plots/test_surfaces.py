"""Surfaces of pairs: cells with rows, the interaction beside them, and the pair that was asked for."""

import dataclasses

import numpy as np
from matplotlib.colors import to_rgb

from mixnam.data import catalogue
from mixnam.data.table import Table
from mixnam.models import make_settings
from mixnam.plots import look
from mixnam.plots.surfaces import pair_surfaces
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec


def surfaced(dataset, first, second, pairs=((1, 2),)):
    """Return a Result with the surface 10 a + b over each pair, a of the first value's number, b of the second's."""
    values = np.full((len(pairs), 2, 5), np.nan)
    values[:, 0, : len(first)], values[:, 1, : len(second)] = first, second
    effect = np.full((len(pairs), 5, 5), np.nan)
    effect[:, : len(first), : len(second)] = 10.0 * np.arange(len(first))[:, None] + np.arange(len(second))
    effect += 100 * np.arange(len(pairs))[:, None, None]
    rows = np.zeros(effect.shape)
    rows[:, : len(first), : len(second)] = 1
    rows[:, 0, 0] = 0
    arrays = {"pairs": np.array(pairs), "pair_values": values, "pair_effect": effect, "pair_interaction": -effect}
    spec = RunSpec(dataset, make_settings("NA2M", {}), "holdout" if dataset == "diabetes" else "fold0", 0)
    origin = {"data_sha256": catalogue.checksum(dataset)}
    return Result(spec, {}, {}, {}, {}, origin, key="planted", fresh=(arrays | {"pair_rows": rows}, {}))


def drawn(ax):
    """Return a picture's numbers as rows from below."""
    (mesh,) = ax.collections
    return np.ma.filled(mesh.get_array().reshape(mesh._coordinates.shape[0] - 1, -1), np.nan)


def test_a_surface_shows_cells_with_rows_and_the_interaction_beside_them():
    figure = pair_surfaces(surfaced("diabetes", [1.0, 2.0, 3.0], [5.0, 6.0]))
    both, alone, *_ = figure.axes
    np.testing.assert_allclose(drawn(both), [[np.nan, 10, 20], [1, 11, 21]])
    np.testing.assert_allclose(drawn(alone), -drawn(both))
    names = catalogue.load("diabetes").features
    assert (both.get_xlabel(), both.get_ylabel()) == (names[1], names[2])


def test_a_surface_turns_to_the_pair_that_was_asked_for():
    result = surfaced("diabetes", [1.0, 2.0, 3.0], [5.0, 6.0], ((0, 1), (1, 2)))
    figure = pair_surfaces(result, (2, 1))
    np.testing.assert_allclose(drawn(figure.axes[0]), [[np.nan, 101], [110, 111], [120, 121]])
    names = catalogue.load("diabetes").features
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (names[2], names[1])
    figure = pair_surfaces(result, (4, 5))  # none of these: the pair that interacts most
    assert figure.axes[0].get_xlabel() == names[0]


def test_a_map_has_the_colours_of_bounds_blue_raises_and_red_lowers():
    figure = pair_surfaces(surfaced("diabetes", [1.0, 2.0, 3.0], [5.0, 6.0]))
    (mesh,) = figure.axes[0].collections
    low, high = mesh.get_clim()
    assert low == -high
    for value, side in ((high, look.UPPER), (low, look.LOWER)):
        red, _, blue, _ = mesh.cmap(mesh.norm(value / 2))
        wanted_red, _, wanted_blue = to_rgb(side)
        assert (blue > red) == (wanted_blue > wanted_red)


def test_a_surface_names_categories():
    x = np.tile([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0]], (3, 1))
    data = Table(
        "diabetes", "t", "regression", "rmse", x, x[:, 0] + np.arange(6), ("a", "kind", "c"), "y",
        categories={1: ("red", "an exceedingly long name of a category")},
    )  # fmt: skip
    result = surfaced("diabetes", [0.0, 1.0], [1.0, 2.0, 3.0])
    result = dataclasses.replace(result, table=data, provenance={"data_sha256": data.checksum})
    labels = [t.get_text() for t in pair_surfaces(result).axes[0].get_xticklabels()]
    assert labels == ["red", "an exceedingly lo…"]


def test_a_feature_of_two_values_has_ticks_there_alone():
    figure = pair_surfaces(surfaced("diabetes", [1.0, 2.0, 3.0], [0.0, 1.0]))
    assert figure.axes[0].get_yticks().tolist() == [0, 1] and len(figure.axes[0].get_xticks()) > 3


def test_of_many_categories_the_most_frequent_are_drawn_at_their_names():
    codes = np.arange(20.0)
    x = np.column_stack([np.zeros(20), codes, np.zeros(20)])
    data = Table(
        "diabetes", "t", "regression", "rmse", x, codes, ("a", "kind", "c"), "y",
        categories={1: tuple(f"the category number ${i}$" for i in range(20))},
    )  # fmt: skip
    result = surfaced("diabetes", [1.0, 2.0], [3.0, 4.0])
    effect = np.arange(20.0)[:, None] * 10 + np.arange(20)
    rows = np.where(np.arange(20) < 4, 1.0, 5.0)[:, None] * np.ones(20)
    values = np.full((1, 2, 20), np.nan)
    values[0, 0], values[0, 1, :2] = codes, [0, 1]
    arrays = result.arrays | {"pair_values": values, "pair_effect": effect[None], "pair_interaction": -effect[None]}
    result = dataclasses.replace(
        result, table=data, provenance={"data_sha256": data.checksum}, fresh=(arrays | {"pair_rows": rows[None]}, {})
    )
    for pair in ((1, 2), (2, 1)):
        ax = pair_surfaces(result, pair).axes[0]
        surface, axis = (drawn(ax), ax.xaxis) if pair == (1, 2) else (drawn(ax).T, ax.yaxis)
        np.testing.assert_allclose(surface, effect[4:20, :2].T)
        labels = [t.get_text() for t in axis.get_ticklabels()]
        assert len(set(labels)) == 16 and labels[0].endswith("$4$")
        assert axis.get_label().get_text() == "kind (16 most frequent of 20)"
