"""What all pictures share: one legend, labels of outer panels, and words for axes."""

import matplotlib.pyplot as plt
import numpy as np
from curves import legend
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from mixnam.data import catalogue
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


def test_names_are_of_columns_that_there_are_and_others_keep_their_own():
    for dataset, names in look.NAMES.items():
        data = catalogue.load(dataset).about
        assert set(names) <= set(data.features), dataset
        shown = [look.name(data, i) for i in range(len(data.features))]
        assert len(set(shown)) == len(shown), dataset
    housing, income = catalogue.load("housing").about, catalogue.load("income").about
    assert look.name(housing, 0) == "median income (10,000 dollars)"
    assert look.name(income, 9) == "sex"  # it says what it is
    assert (look.name(described("regression"), 0), look.name(None, 3)) == ("a", "feature 3")


def test_no_two_colours_of_a_picture_differ_in_red_and_green_alone():
    for colors in (look.MODEL_COLORS.values(), [look.PAPER_COLOR, *look.SOURCE_COLORS.values()], look.COLORS):
        colors = [np.array(to_rgb(c)) ** 2.2 for c in colors]
        for i, one in enumerate(colors):
            for other in colors[:i]:  # seen without red or green receptors: one number for both, and blue
                warm, blue = np.dot(one - other, [0.3, 0.7, 0.0]), (one - other)[2]
                assert max(abs(warm), abs(blue)) > 0.04


def test_a_long_name_breaks_before_its_unit():
    assert look.in_lines("mean arterial blood pressure (mmHg)") == "mean arterial blood pressure\n(mmHg)"
    assert look.in_lines("age (years)") == "age (years)"


def test_a_very_long_name_keeps_its_ends_and_none_is_blank():
    one, other = ("a long beginning, " * 20 + end for end in ("gross", "net"))
    shown = [look.one_line(text) for text in (one, other)]
    assert max(map(len, shown)) <= 80 and shown[0] != shown[1] and shown[1].endswith("net")
    assert look.one_line(" a\tb\nc ") == "a b c" and look.one_line(" ") == "(blank)"


def test_names_that_begin_alike_can_be_told_apart_when_shortened():
    names = [
        "$50,000 - $74,999 a year",
        "$50,000 - $74,999 a month",
        "",
        "x",
        *(f"{'a' * 30}{i}{'b' * 30}" for i in "12"),
    ]
    shown = look.shortened(names)
    assert len(set(shown)) == len(names) and max(map(len, shown)) <= 18
    assert shown[2:4] == ["(blank)", "x"] and shown[0].endswith("year")
    assert look.shortened(["an exceedingly long name", "short"]) == ["an exceedingly lo…", "short"]


NAMES = ["$1-$5", "A$ to US$ rate", "cost_$ and fee_$", "$_per_$", r"50 % {0} \alpha \frac{", "<b>a</b>|*_`", "_x"]


def test_names_are_drawn_as_they_are_whoever_made_the_axes():
    figure, (named, plain, log) = plt.subplots(1, 3)
    plain.sharex(named)  # its ticks come when it is drawn
    named.set_xticks(range(len(NAMES)), NAMES)
    named.set_title(NAMES[2])
    figure.supylabel(NAMES[1])
    named.plot([0, 1], label=NAMES[0])
    log.plot([1, 1000], [1, 1000])
    log.set_xscale("log")
    assert legend(look.finished(figure)) == NAMES[:1]
    figure.draw_without_rendering()  # mathematics would be refused here
    texts = [text for text in figure.findobj(Text) if text.get_text() in NAMES]
    assert len(texts) >= 2 * len(NAMES) + 3 and not any(text.get_parse_math() for text in texts)
    assert all(text.get_parse_math() for text in log.get_xticklabels())  # powers of ten


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
