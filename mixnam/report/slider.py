"""Plots that a reader moves: shape functions over the variation penalty λ.

The page holds data only; `book/assets/slider.js` draws it with the plotly script that `mixnam.sphinx` puts
beside it. Elsewhere, as in Jupyter, a line of text stands in the plot's place.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnam.runs.results import Result

ROWS = 150  # rows drawn of a feature, at most
CURVES = ("upper", "lower", "mean")
_SHARED = ("grid", "density", "density_range", "sample_x")  # drawn once, so they must agree over λ


class Slider:
    """What a notebook displays: HTML for the book, a line of text elsewhere. Attribute `html`: the element."""

    def __init__(self, html: str, text: str) -> None:
        self.html = html
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self._text}


def _rounded(values: NDArray[Any], span: float, digits: int) -> list[float]:
    """Return numbers with so many decimals that a step is 10**-digits of `span` or less."""
    decimals = max(0, digits - math.floor(math.log10(span)))
    return [float(v) + 0.0 for v in np.round(values.astype(float), decimals)]  # + 0.0: no negative zero


def _thinned(count: int) -> NDArray[Any]:
    return np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int))


def _feature(results: Sequence[Result], feature: int, name: str) -> dict[str, Any]:
    """Return one feature's part of the payload: curves and rows at each λ, less its mean contribution there."""
    arrays = results[0].arrays
    low, high = (float(v) for v in arrays["density_range"][feature])
    grid = arrays["grid"][feature]
    rows = arrays["sample_x"][:, feature] if "sample_x" in arrays else np.zeros(0)  # of credentialed data none
    shown = ~np.isnan(grid) & (grid >= low) & (grid <= high)
    inside = np.flatnonzero((rows >= low) & (rows <= high))
    inside = inside[_thinned(len(inside))] if len(inside) else inside
    steps: list[dict[str, NDArray[Any]]] = []
    for result in results:
        a = result.arrays
        centre = a["contribution_mean"][feature]
        step = {k: a[f"grid_{k}"][feature][shown] - centre for k in CURVES if f"grid_{k}" in a}
        shift = a["sample_contributions"][inside, feature] if len(inside) else np.zeros(0)
        steps.append(step | {"rows": shift - centre})
    everything = np.concatenate([v for step in steps for v in step.values()])
    bottom, top = float(everything.min()), float(everything.max())
    height = (top - bottom) or 1.0
    width = (high - low) or 1.0
    density = arrays["density"][feature] / max(arrays["density"][feature].max(), 1)
    return {
        "name": name,
        "range": [low, high],
        "y": _rounded(np.array([bottom - 0.04 * height, top + 0.04 * height]), height, 3),
        "density": _rounded(density, 1.0, 2),
        "x": _rounded(grid[shown], width, 4),
        "rows": _rounded(rows[inside], width, 4),
        "at": [{k: _rounded(v, height, 3) for k, v in step.items()} for step in steps],
    }


def payload(
    results: Mapping[float, Result], names: Sequence[str], unit: str, features: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return what the slider draws, λ ascending and features in the order given.

    Each of `features` has `x` and, in `at`, for each λ its curves there; `rows` are thinned to 150. All
    contributions are less the feature's mean contribution, in `unit`. Raises ValueError where there is
    nothing to draw or the results are not of one split.
    """
    if not results:
        raise ValueError("results is empty: a slider needs a result for at least one penalty")
    penalties = sorted(results)
    ordered = [results[p] for p in penalties]
    arrays = ordered[0].arrays
    names = names or [f"feature {i}" for i in range(len(arrays["grid"]))]  # where the data are not at hand
    if len(names) != len(arrays["grid"]):
        raise ValueError(f"names must hold {len(arrays['grid'])} features, got {len(names)}")
    for penalty, result in zip(penalties, ordered, strict=True):
        for k in _SHARED:
            if k in arrays and not np.array_equal(result.arrays[k], arrays[k], equal_nan=True):
                raise ValueError(f"results must share one split: {k} at λ = {penalty:g} differs from {penalties[0]:g}")
    chosen = range(len(names)) if features is None else features
    return {
        "unit": unit,
        "penalties": [float(p) for p in penalties],
        "features": [_feature(ordered, i, names[i]) for i in chosen],
    }


def penalty_slider(
    results: Mapping[float, Result], names: Sequence[str], unit: str, features: Sequence[int] | None = None
) -> Slider:
    """Return a shape plot with a menu of features and a slider over λ, for display in a notebook of the book.

    `results` is {λ: result}, `names` all features' names (with their units, if they have any), `unit` the
    contributions' ("log-odds" of a classifier). `features` picks and orders the menu's entries, the first
    being shown at the start; by default all. Drawn are the bounds, the mean contribution and rows, centred
    by the feature's mean contribution, on one scale for all λ, before the density of the data.
    """
    content = payload(results, names, unit, features)
    count = f"{len(content['features'])} features, {len(content['penalties'])} values of λ"
    dots = "Dots are rows, the" if any(feature["rows"] for feature in content["features"]) else "The"
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    data = data.replace("<", "\\u003c")  # nothing in it may end the script element
    name = f"penalty-slider-{hashlib.sha256(data.encode()).hexdigest()[:8]}"
    options = "".join(f'<option value="{i}">{escape(f["name"])}</option>' for i, f in enumerate(content["features"]))
    ticks = "".join(f"<span>{p:g}</span>" for p in content["penalties"])
    html = (
        f'<div class="penalty-slider" id="{name}">\n'
        f'<p class="slider-note">Interactive plot, drawn in the built book with scripts enabled: a feature\'s '
        f"contributions and bounds, moved by the variation penalty λ ({count}).</p>\n"
        f'<div class="slider-controls" hidden>\n'
        f'<label>Feature <select class="slider-feature" autocomplete="off">{options}</select></label>\n'
        f'<label class="slider-penalty">Variation penalty <span>λ = <output></output></span>'
        f'<input type="range" autocomplete="off" min="0" max="{len(content["penalties"]) - 1}" step="1" value="0">'
        f'<span class="slider-ticks" aria-hidden="true">{ticks}</span></label>\n</div>\n'
        f'<div class="slider-plot" role="img" hidden></div>\n'
        f'<p class="slider-legend" hidden>{dots} shading is the density of the data; '
        f"contributions are less their mean.</p>\n"
        f'<script type="application/json">{data}</script>\n</div>'
    )
    return Slider(html, f"Interactive shape plot over λ: {count}; it is drawn in the built book.")
