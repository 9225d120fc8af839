"""Pictures on pages: words that say what is to be seen, anchors, and their data as CSV."""

import base64
import io
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from curves import WAVE, planted

from mixnam.plots import shapes
from mixnam.report import pictures
from mixnam.report.parameters import Parameters


@pytest.fixture
def figure():
    """Return two panels: a curve and rows over x, and strokes over categories."""
    figure, (left, right) = plt.subplots(1, 2)
    left.plot([1, 2, 3], [0.5, -1, 2], label="mean")
    left.scatter([1], [9], label="rows")
    left.set_xlabel("age\n(years)")
    right.hlines([4, 5], [-0.4, 0.6], [0.4, 1.4], label="upper bound")
    right.set_xticks([0, 1], ["red", "<b>"])
    right.set_title("colour")
    plt.close(figure)
    return figure


def test_words_say_panels_curves_and_where_they_are_highest(figure):
    assert pictures.told(figure) == (
        "age (years): mean from −1 at 2 to 2 at 3. colour: upper bound from 4 at red to 5 at <b>."
    )


def test_of_many_panels_words_say_the_ranges():
    figure, axes = plt.subplots(1, 5)
    for k, ax in enumerate(axes):
        ax.plot([0, 1], [k, -k])
        ax.set_title(f"panel {k}")
    plt.close(figure)
    assert pictures.told(figure).endswith("panel 3: −3 to 3. panel 4: −4 to 4.")


def test_words_of_a_map_say_its_ends_and_an_empty_panel_is_named():
    figure, (left, right) = plt.subplots(1, 2)
    left.pcolormesh([0, 1], [5, 6], [[1.0, np.nan], [2.0, 7.0]], shading="nearest")
    left.set_title("both features")
    right.set_title("NAM")
    plt.close(figure)
    assert pictures.told(figure) == "both features: 1 at (0, 5) to 7 at (1, 6)."


def test_a_page_shows_title_anchor_words_note_and_data(figure):
    shown = pictures.picture(figure, "Figure 3 (paper) · ours: quick setting", pictures.told(figure), "dots are rows")
    html = shown.html
    assert "id='figure-3'" in html and "dots are rows" in html
    alt = re.search("alt='([^']*)'", html)[1]
    assert alt.startswith("age (years): mean from") and "&lt;b&gt;" in alt and "<b>" not in html
    assert repr(shown) == "Figure 3 (paper) · ours: quick setting"
    data = pd.read_csv(io.BytesIO(base64.b64decode(re.search("data:text/csv[^,]*,([^']*)'", html)[1])))
    assert list(data) == ["panel", "series", "x", "y"]
    strokes = data[data["series"] == "upper bound"]
    assert strokes[["panel", "x", "y"]].to_numpy().tolist() == [["colour", "red", 4.0], ["colour", "<b>", 5.0]]


def test_a_title_names_the_papers_figure_where_the_paper_has_one_and_what_is_shown():
    def given(dataset):
        return Parameters(dataset, "paper", "cpu", Path("results"), False, Path("results"))

    items = {"housing": "Figure 9", "income": "Figure 11"}
    title = pictures.heading(items, "All features", given("income"), "ours, paper's setting")
    assert title == "Figure 11 (paper) · ours: paper's setting, first fold"
    assert pictures.heading(items, "All", given("bike"), "this rerun, quick") == "All · this rerun: quick, first seed"
    assert pictures.heading(items, "All", given("housing")) == "Figure 9 (paper) · ours: mean ± sd over seeds"


NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.mark.parametrize("name", ["explanations", "lambda_sweep", "mixnam_d", "mixnam_e"])
def test_every_figure_of_a_notebook_has_a_title_and_words_and_every_table_a_title(name):
    for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]:
        code = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            assert not re.search("San Francisco|Los Angeles|Left", code)  # stands with its picture, on its page alone
        elif "figure = " in code:
            assert "display(figure" not in code
            assert code.count("pictures.picture(figure, title,") == code.count("pictures.told(figure)") > 0
        if "layout.show(tables." in code:
            assert "title)" in code or "pictures.heading(" in code


def test_a_fitted_shape_is_told_in_the_units_of_its_axes():
    words = pictures.told(shapes.compare_shapes({"MixNAM": planted("sim_unimodal", WAVE + 1, WAVE - 1)}, 0))
    assert words.startswith("MixNAM, over x1: experts' bounds: upper from")
    assert "; experts' bounds: lower from −1.995 at" in words and "rows" not in words
