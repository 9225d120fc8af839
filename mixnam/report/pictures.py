"""How a page shows a picture: under its title, with words for those who cannot see it and with its data."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from mixnam.report.layout import Element, titled

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
    return Element(titled(title, tag, drawn(figure), note, "picture"), f"{title}: {words}")


def drawn(figure: Figure) -> pd.DataFrame:
    """Return what a figure draws: panel, series, x, y and, of maps, value; a row a point.

    Lines without a label are numbered; of maps the cells that are NaN are left out.
    """
    rows: list[tuple[Any, ...]] = []
    for number, ax in enumerate(figure.axes):
        if ax.get_visible() and ax.get_label() != "<colorbar>":
            panel = ax.get_title().replace("\n", " ") or f"panel {number + 1}"
            rows += [(panel, *row) for row in _series(ax)]
    table = pd.DataFrame(rows, columns=["panel", "series", "x", "y", "value"])
    return table.dropna(axis=1, how="all")


def _series(ax: Axes) -> Iterator[tuple[str, Any, Any, float]]:
    """Yield the series, x, y and value of everything that an axes draws."""
    named = {id(c.lines[0]): str(c.get_label()) for c in ax.containers if isinstance(c, ErrorbarContainer)}
    for number, line in enumerate(ax.lines):
        label = named.get(id(line), str(line.get_label()))
        for x, y in zip(*map(np.asarray, line.get_data()), strict=True):
            yield (f"line {number + 1}" if label.startswith("_") else label), x, y, np.nan
    for number, drawing in enumerate(ax.collections):
        label = str(drawing.get_label())
        label = f"marks {number + 1}" if label.startswith("_") else label
        if isinstance(drawing, PathCollection):
            for x, y in np.asarray(drawing.get_offsets()):
                yield label, x, y, np.nan
        elif isinstance(drawing, LineCollection):
            for x, y in np.concatenate(drawing.get_segments() or [np.empty((0, 2))]):
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
