"""The look that all pictures share: colours, names of features, panels and their one legend."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from mixnam.data.table import About, Array, DataError

UPPER, LOWER, ROWS, DENSITY, MEMBERS = "#0b2e6f", "#c0392b", "#4c8ed9", "#d9d2c3", "#0f8b8d"
#: How far the members of a mean differ is no bound: it has a name and a colour of its own.
BAND = "members' band (± 1 sd)"
#: What raises a prediction is blue, what lowers it red, in maps as in bounds.
MAP = "RdBu"
COLORS = ("#222222", "#b8551f", "#2a6f97", "#b57fc4")
GREY = "#777777"
#: One colour a source of numbers in all pictures; they can be told apart by the colour-blind, and none is a verdict's.
PAPER_COLOR = "#c15b00"
SOURCE_COLORS = {"paper": "#00568f", "quick": "#4ba3d8", "rerun": "#9a5ea8"}
#: One colour a model, likewise; others are grey.
MODEL_COLORS = {
    "MixNAM": "#00568f", "MixNAM-D": "#7fd1ae", "MixNAM-E": "#007a5a", "NAM": "#8a7a00", "EBM": "#9a5ea8",
    "NA2M": "#d9cc6b", "EB2M": "#cfa8dc", "MLP": "#222222",
}  # fmt: skip
SMALL = 9  # points
#: What columns are called on pages, with their units, by data set, from StatLib, UCI (2, 275, 880) and hbiostat.org.
NAMES: dict[str, dict[str, str]] = {
    "housing": {
        "MedInc": "median income (10,000 dollars)", "HouseAge": "median house age (years)",
        "AveRooms": "rooms a household", "AveBedrms": "bedrooms a household", "Population": "people in the block group",
        "AveOccup": "people a household", "Latitude": "latitude (degrees)", "Longitude": "longitude (degrees)",
    },
    "income": {
        "age": "age (years)", "workclass": "employer", "fnlwgt": "sampling weight (people)",
        "education-num": "education (level 1 to 16)", "marital-status": "marital status",
        "relationship": "place in the family", "capital-gain": "capital gain (dollars)",
        "capital-loss": "capital loss (dollars)", "hours-per-week": "work (hours a week)",
        "native-country": "native country",
    },
    "bike": {
        "season": "season (1: winter to 4: autumn)", "yr": "year (0: 2011, 1: 2012)", "mnth": "month",
        "hr": "hour of the day", "holiday": "holiday (0: no, 1: yes)", "weekday": "day of the week (0: Sunday)",
        "workingday": "working day (0: no, 1: yes)", "weathersit": "weather (1: clear to 4: heavy rain)",
        "temp": "temperature (0: −8 °C, 1: 39 °C)", "atemp": "felt temperature (0: −16 °C, 1: 50 °C)",
        "hum": "relative humidity (1: 100 %)", "windspeed": "wind speed (share of the largest)",
    },
    "support2": {
        "age": "age (years)", "dzclass": "class of disease", "num.co": "other diseases (number)",
        "edu": "education (years)", "income": "income (dollars a year)", "scoma": "coma score (0 to 100)",
        "hday": "day in hospital at entry", "diabetes": "diabetes (0: no, 1: yes)",
        "dementia": "dementia (0: no, 1: yes)", "ca": "cancer",
        "meanbp": "mean arterial blood pressure (mmHg)", "wblc": "white blood cells (1,000 a mm³)",
        "hrt": "heart rate (a minute)", "resp": "breaths (a minute)", "temp": "temperature (°C)",
        "pafi": "PaO2 / FiO2 (mmHg)", "alb": "serum albumin (g/dL)", "bili": "bilirubin (mg/dL)",
        "crea": "serum creatinine (mg/dL)", "sod": "serum sodium (mmol/L)", "ph": "arterial pH",
        "glucose": "glucose (mg/dL)", "bun": "blood urea nitrogen (mg/dL)", "urine": "urine (mL a day)",
        "adlp": "dependence, told by the patient (0 to 7)",
        "adls": "dependence, told by a surrogate (0 to 7)",
        "adlsc": "dependence, calibrated (0 to 7)",
    },
}  # fmt: skip


def style() -> None:
    """Set the look of all figures."""
    sns.set_theme(style="whitegrid", context="notebook", rc={"grid.color": "#eeeeee", "axes.edgecolor": "#999999"})
    plt.rcParams.update({"figure.dpi": 110, "axes.titlesize": 12, "axes.labelsize": 11, "savefig.bbox": "tight"})


class Explained(Protocol):
    """What pictures of single features need of a model, a `Result` or an estimator's explanation."""

    @property
    def model(self) -> str:
        """What the model is called: MixNAM, NAM, ..."""

    @property
    def about(self) -> About:
        """What its table is; DataError where nobody knows."""

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Its curves and what is drawn with them, as results store them."""

    @property
    def importance(self) -> Array:
        """The mean absolute contribution of each feature, (n,)."""


def about(result: Explained) -> About | None:
    """Return what the data behind a result are, or None where nobody knows."""
    try:
        return result.about
    except DataError:
        return None


def unit(data: About | None) -> str:
    """Return the unit of contributions: the target's, log-odds for classes, nothing where it is not known."""
    return "" if data is None else "log-odds" if data.task == "classification" else data.unit


def contribution_label(data: About | None) -> str:
    """Return an axis label: contribution to what, and its unit."""
    if data is None:
        return "contribution"
    label = f"contribution to {one_line(data.target)}"
    return textwrap.fill(label, 36 if len(label) <= 36 else 28) + (f"\n({unit(data)})" if unit(data) else "")


def one_line(text: str, width: int = 80) -> str:
    """Return a name on one line, or what stands for one that is blank; of a very long one the ends."""
    text = " ".join(text.split()) or "(blank)"
    return text if len(text) <= width else f"{text[: width - width // 3 - 1]}…{text[-(width // 3) :]}"


def shortened(names: Sequence[str], width: int = 18) -> list[str]:
    """Return names of `width` characters at most; those that begin alike keep their ends, or get a number.

    >>> shortened(["income of the household", "income of the houses", "age"])
    ['income o…household', 'income o…he houses', 'age']
    """
    lines = [one_line(text, 10_000) for text in names]
    found = [text if len(text) <= width else f"{text[: width - 1]}…" for text in lines]
    for number in (False, True):
        count = Counter(found)
        for i, text in enumerate(found):
            if count[text] > 1:
                end = f" ({i + 1})" if number else lines[i][9 - width :]
                found[i] = f"{lines[i][: width - 1 - len(end)]}…{end}" if len(lines[i]) > width or number else text
    return found


def name(data: About | None, feature: int) -> str:
    """Return what a feature is called on pages, with its unit where one is known."""
    own = f"feature {feature}" if data is None else one_line(data.features[feature])
    return NAMES.get("" if data is None else data.name, {}).get(own, own)


def in_lines(text: str, width: int = 30) -> str:
    """Return an axis label in lines of `width`, broken before its unit where that is enough."""
    parts = [text] if len(text) <= width else text.replace(" (", "\n(", 1).split("\n")
    return "\n".join(textwrap.fill(part, width) for part in parts)


def as_written(artist: Artist) -> None:
    """Have names drawn as they are: of two dollars matplotlib would make mathematics, as its logarithmic axes do."""
    for text in artist.findobj(Text):
        text.set_parse_math(False)
    for axis in artist.findobj(Axis):
        for label in axis.get_ticklabels(which="both") if isinstance(axis.get_major_formatter(), LogFormatter) else ():
            label.set_parse_math(True)


def say(ax: Axes, text: str) -> None:
    """Say in a panel why it is empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY, fontsize=10)
    ax.grid(False)


def outer_labels(axes: NDArray[Any], count: int) -> None:
    """Label x below the last of each column of `count` panels on shared axes, and hide the panels beyond."""
    across = axes.shape[1]
    for i, ax in enumerate(axes.flat):
        ax.set_visible(i < count)
        if i < count - across:
            ax.set_xlabel("")
        else:
            ax.tick_params(labelbottom=True)


def finished(figure: Figure) -> Figure:
    """Give a figure one legend for all its panels and close it: else a notebook shows it a second time."""
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        fitting = max(1, int(figure.get_figwidth() / (0.8 + 0.09 * max(map(len, entries)))))
        lines = -(-len(entries) // fitting)
        across = -(-len(entries) // lines)
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=across, frameon=False)
    as_written(figure)
    plt.close(figure)
    return figure
