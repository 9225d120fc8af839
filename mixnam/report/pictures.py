"""How a page shows a picture: under its title, with words for those who cannot see it and with its data."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from mixnam.data import catalogue
from mixnam.report.layout import Element, titled
from mixnam.report.parameters import Parameters

SHARPER = 1.4  # dots a pixel, for screens of more than one


def picture(figure: Figure, title: str, words: str, note: str = "") -> Element:
    """Return a figure as a page shows it, its data as CSV.

    `title` is such as "Figure 7 (paper) · ours: first seed"; links lead to its first part (`#figure-7`). `words` say
    what there is to see, for those who cannot; `note` stands below in small print.
    """
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=SHARPER * figure.dpi, metadata={"Software": None})
    data = image.getvalue()
    width = int.from_bytes(data[16:20], "big") / SHARPER  # as PNG's header says
    source = base64.b64encode(data).decode()
    tag = f"<img src='data:image/png;base64,{source}' width='{width:.0f}' alt='{escape(words, quote=True)}'>"
    return Element(titled(title, tag, drawn(figure), note, "picture"), title)


def heading(items: Mapping[str, str], otherwise: str, parameters: Parameters, source: str = "") -> str:
    """Return a title: "Figure 3 (paper) · ours: paper's setting, first seed".

    `items` are the paper's figures or tables by data set; on data that the paper does not show there it is `otherwise`.
    `source` is the label of the column of which the first seed or fold is shown; by default all are: mean ± sd.
    """
    unit = "fold" if len(catalogue.entry(parameters.dataset).splits) > 1 else "seed"
    item = items.get(parameters.dataset)
    shown = f"{source.replace(', ', ': ', 1)}, first {unit}" if source else f"ours: mean ± sd over {unit}s"
    return f"{f'{item} (paper)' if item else otherwise} · {shown}"


def told(figure: Figure, what: str = "") -> str:
    """Return in words `what` a figure draws: where each panel's curves are lowest and highest, or a map's values.

    Of more than four panels, the range of each alone. Dots of single rows and runs are left out.
    """
    table = drawn(figure).reindex(columns=["panel", "series", "x", "y", "value"])
    shown = {_panel(ax): ax for ax in figure.axes}
    groups = table.groupby("panel", sort=False)
    parts = []
    for panel, own in groups:
        ax = shown.get(str(panel))
        along = "" if ax is None or _line(ax.get_xlabel()) in ("", panel) else f", over {_line(ax.get_xlabel())}"
        if own["value"].notna().any():
            ends = own.sort_values("value").iloc[[0, -1]].to_dict("records")
            said = [" to ".join(f"{_short(e['value'])} at ({_short(e['x'])}, {_short(e['y'])})" for e in ends)]
        else:
            lines = own[~own["series"].str.contains(r"rows|each run|low end|high end|line \d|marks \d")]
            numbers = pd.to_numeric((lines if len(lines) else own)["y"], errors="coerce").dropna()
            said = [f"{_short(numbers.min())} to {_short(numbers.max())}"] if len(numbers) else []
            if len(groups) <= 4:
                said = [_extremes(str(name), line) for name, line in lines.groupby("series", sort=False)]
        parts.append(f"{panel}{along}: {'; '.join(said)}." if said else f"{panel}.")
    empty = {panel: " ".join(text.get_text() for text in ax.texts) for panel, ax in shown.items()}
    parts += [f"{panel}: {text}." for panel, text in empty.items() if text and panel not in groups.groups]
    return " ".join([f"{what}."] * bool(what) + parts)


def _extremes(name: str, line: pd.DataFrame) -> str:
    """Return where a curve is lowest and highest; of one whose heights are names, its own name."""
    points = [(y, x) for y, x in zip(line["y"], line["x"], strict=True) if not isinstance(y, str)]
    if not points:
        return name
    ends = (pick(points, key=lambda point: point[0]) for pick in (min, max))
    return f"{name} from " + " to ".join(f"{_short(y)} at {_short(x).removeprefix('at ')}" for y, x in ends)


def _panel(ax: Axes) -> str:
    others = [other.get_xlabel() for other in ax.figure.axes if other.get_visible() and other is not ax]
    title = str(ax.get_label()) or ax.get_title()
    return _line(title or (ax.get_ylabel() if ax.get_xlabel() in others else ax.get_xlabel()))


def _line(label: str) -> str:
    return label.replace("\n", " ")


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}".replace("-", "−")


def drawn(figure: Figure) -> pd.DataFrame:
    """Return what a figure draws: panel, series, x, y and, of maps, value; a row a point.

    A panel without a title has the name of its x, of panels over the same x that of its y. Lines without a label are
    numbered; of maps the cells that are NaN are left out. Where an axis names its places, as those of categories, the
    names stand for them.
    """
    rows: list[tuple[Any, ...]] = []
    for number, ax in enumerate(figure.axes):
        if ax.get_visible() and ax.get_label() != "<colorbar>":
            panel = _panel(ax) or f"panel {number + 1}"
            for part in (ax, *(child for child in ax.child_axes if isinstance(child, Axes))):
                own = pd.DataFrame(list(_series(part)), columns=["series", "x", "y", "value"])
                for name, axis in (("x", part.xaxis), ("y", part.yaxis)):
                    own[name] = _named(axis, own[name])
                rows += [(panel, *row) for row in own.itertuples(index=False)]
    table = pd.DataFrame(rows, columns=["panel", "series", "x", "y", "value"])
    return table.dropna(axis=1, how="all")


def _named(axis: Axis, places: pd.Series) -> pd.Series:
    """Return the names of the ticks nearest to places, where an axis has names; else the places."""
    named = isinstance(axis.get_major_formatter(), FuncFormatter) and isinstance(axis.get_major_locator(), FixedLocator)
    if not named or not len(places):
        return places
    at = [float(place) for place in axis.get_majorticklocs()]
    names = [_line(name) for name in axis.get_major_formatter().format_ticks(at)]
    ticks, points = (axis.get_transform().transform(np.asarray(v, float)) for v in (at, places))
    nearest = np.abs(points[:, None] - ticks).argmin(axis=1)
    return pd.Series([names[i] for i in nearest], places.index)


def _series(ax: Axes) -> Iterator[tuple[str, Any, Any, float]]:
    """Yield the series, x, y and value of everything that an axes draws."""
    named, bars = dict[int, str](), set[int]()
    for container in ax.containers:
        if isinstance(container, ErrorbarContainer):
            line, caps, found = container.lines
            ends = zip([line, *caps], ("", ", low end", ", high end"), strict=False)
            named |= {id(part): f"{container.get_label()}{end}" for part, end in ends}
            bars |= {id(bar) for bar in found}
    for number, line in enumerate(ax.lines):
        label = named.get(id(line), str(line.get_label()))
        for x, y in zip(*map(np.asarray, line.get_data()), strict=True):
            yield (f"line {number + 1}" if label.startswith("_") else label), x, y, np.nan
    for number, drawing in enumerate(ax.collections):
        label = drawing.get_gid() or str(drawing.get_label())
        label = f"marks {number + 1}" if label.startswith("_") else label
        if id(drawing) in bars:  # its ends are there
            continue
        if isinstance(drawing, PathCollection):
            for x, y in np.asarray(drawing.get_offsets()):
                yield label, x, y, np.nan
        elif isinstance(drawing, LineCollection):
            for segment in map(np.asarray, drawing.get_segments()):
                if len(segment) == 2 and segment[0, 1] == segment[1, 1]:  # the stroke of one value
                    scale = ax.xaxis.get_transform()
                    x = scale.inverted().transform(scale.transform(segment[:, 0]).mean(keepdims=True))
                    segment = np.array([[*x, segment[0, 1]]])
                for x, y in segment:
                    yield label, x, y, np.nan
        elif isinstance(drawing, QuadMesh):
            corners = np.asarray(drawing.get_coordinates())
            middle = (corners[1:, 1:] + corners[:-1, :-1]) / 2
            values = np.ma.filled(np.ma.asarray(drawing.get_array()).astype(float), np.nan).reshape(middle.shape[:2])
            for i, j in np.argwhere(np.isfinite(values)):
                yield label, *middle[i, j], values[i, j]
    for image in ax.images:
        values = np.ma.filled(np.ma.asarray(image.get_array()).astype(float), np.nan)
        for i, j in np.argwhere(np.isfinite(values)):
            yield "map", j, i, values[i, j]
