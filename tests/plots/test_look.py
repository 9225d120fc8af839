"""What all pictures share: one legend, labels of outer panels, and words for axes."""

import matplotlib.pyplot as plt
import numpy as np
from curves import legend

from mixnam.data.table import About
from mixnam.plots import look


def described(task, target="price", unit=""):
    return About("d", "D", task, "rmse", ("a",), target, unit)


def test_an_axis_says_what_is_contributed_to_in_which_unit():
    assert look.contribution_label(described("regression", unit="dollars")) == "contribution to price\n(dollars)"
    assert look.contribution_label(described("classification")) == "contribution to price\n(log-odds)"
    assert look.contribution_label(described("regression")) == "contribution to price"
    assert look.contribution_label(None) == "contribution" and look.unit(None) == ""
    assert (
        max(map(len, look.contribution_label(described("regression", "a very long name of a target")).split("\n")))
        <= 28
    )
    assert (look.with_unit("HouseAge"), look.with_unit("AveRooms")) == ("HouseAge (years)", "AveRooms")


def test_a_finished_figure_has_one_entry_a_label_and_is_closed():
    figure, axes = plt.subplots(1, 2)
    for ax in axes:
        ax.plot([0, 1], label="rows")
    axes[1].plot([1, 0], label="mean")
    assert legend(look.finished(figure)) == ["rows", "mean"]
    assert not plt.get_fignums()


def test_outer_panels_are_labelled_and_empty_ones_hidden():
    figure, axes = plt.subplots(2, 2, squeeze=False)
    for ax in axes.flat:
        ax.set_xlabel("x")
    look.outer_labels(axes, 3)
    assert [ax.get_visible() for ax in axes.flat] == [True, True, True, False]
    assert [ax.get_xlabel() for ax in np.ravel(axes)[:3]] == ["", "x", "x"]
    look.say(axes[0, 0], "not run")
    assert axes[0, 0].texts[0].get_text() == "not run"
    plt.close(figure)
