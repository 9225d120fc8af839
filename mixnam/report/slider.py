"""Plots that a reader moves: shape functions over the variation penalty λ.

The page holds data only; `book/assets/slider.js` draws it with the plotly script that `mixnam.report.sphinx_ext` puts
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

from mixnam.explain.curves import centred, centred_rows
from mixnam.plots import look, shapes
from mixnam.report.layout import Element
from mixnam.runs.results import Result

ROWS = 150  # rows drawn of a feature, at most
_SHARED = ("grid", "density", "density_range", "sample_x")  # drawn once, so they must agree over λ


def _rounded(values: NDArray[Any], span: float, digits: int) -> list[float]:
    """Return numbers with so many decimals that a step is 10**-digits of `span` or less."""
    decimals = max(0, digits - math.floor(math.log10(span)))
    return [float(v) + 0.0 for v in np.round(values.astype(float), decimals)]  # + 0.0: no negative zero


def _feature(results: Sequence[Result], feature: int, name: str) -> dict[str, Any]:
    """Return one feature's part of the payload: curves and rows at each λ, less its mean contribution there."""
    arrays = results[0].arrays
    low, high = (float(v) for v in arrays["density_range"][feature])
    x, _ = centred(arrays, feature)
    shown = (x >= low) & (x <= high)
    steps: list[dict[str, NDArray[Any]]] = []
    for result in results:
        curves = centred(result.arrays, feature)[1]
        steps.append({kind: curve[shown] for kind, curve in curves.items()})
    rows = np.zeros(0)
    if "sample_x" in arrays:  # of credentialed data there are none
        rows = centred_rows(arrays, feature)[0]
        inside = np.flatnonzero((rows >= low) & (rows <= high))
        thinned = np.linspace(0, len(inside) - 1, min(len(inside), ROWS)).round().astype(int)
        inside = inside[np.unique(thinned)]
        rows = rows[inside]
        for step, result in zip(steps, results, strict=True):
            step["rows"] = centred_rows(result.arrays, feature)[1][inside]
    everything = np.concatenate([v for step in steps for v in step.values()])
    bottom, top = float(everything.min()), float(everything.max())
    height = (top - bottom) or 1.0
    width = (high - low) or 1.0
    return {
        "name": name,
        "range": [low, high],
        "y": _rounded(np.array([bottom - 0.04 * height, top + 0.04 * height]), height, 3),
        "density": _rounded(arrays["density"][feature] / max(arrays["density"][feature].max(), 1), 1.0, 2),
        "x": _rounded(x[shown], width, 4),
        "rows": _rounded(rows, width, 4),
        "at": [{"rows": []} | {k: _rounded(v, height, 3) for k, v in step.items()} for step in steps],
    }


def payload(
    results: Mapping[float, Result],
    names: Sequence[str],
    unit: str,
    features: Sequence[int] | None = None,
    readings: Mapping[float, str] | None = None,
) -> dict[str, Any]:
    """Return what the slider draws, λ ascending and features in the order given, with what is read at each λ.

    Each of `features` has `x` and, in `at`, for each λ its curves there; `rows` are thinned to 150. All
    contributions are less the feature's mean contribution, in `unit`. Raises ValueError where there is
    nothing to draw or the results are not of one split.
    """
    if not results:
        raise ValueError("results is empty: a slider needs a result for at least one penalty")
    penalties = sorted(results)
    ordered = [results[p] for p in penalties]
    arrays = ordered[0].arrays
    names = names or [f"feature {i}" for i in range(len(arrays["grid"]))]
    if len(names) != len(arrays["grid"]):
        raise ValueError(f"names must hold {len(arrays['grid'])} features, got {len(names)}")
    for penalty, result in zip(penalties, ordered, strict=True):
        for k in _SHARED:
            if k in arrays and not np.array_equal(result.arrays[k], arrays[k], equal_nan=True):
                raise ValueError(f"results must share one split: {k} at λ = {penalty:g} differs from {penalties[0]:g}")
    chosen = range(len(names)) if features is None else features
    shown = [_feature(ordered, i, names[i]) for i in chosen]
    said = [(readings or {}).get(p, "") for p in penalties]
    return {"unit": unit, "penalties": [float(p) for p in penalties], "readings": said, "features": shown}


def penalty_slider(
    results: Mapping[float, Result], readings: Mapping[float, str] | None = None, features: Sequence[int] | None = None
) -> Element:
    """Return `slider` of results {λ: result}, with the names and the unit of their data where they are known.

    By default the feature that pages show first comes first, then the others in their order.
    """
    first = next(iter(results.values()))
    data = look.about(first)
    count = len(first.arrays["grid"])
    if features is None:
        features = sorted(range(count), key=lambda i: i != shapes.featured(first))
    return slider(results, [look.name(data, i) for i in range(count)], look.unit(data), features, readings)


def slider(
    results: Mapping[float, Result],
    names: Sequence[str],
    unit: str,
    features: Sequence[int] | None = None,
    readings: Mapping[float, str] | None = None,
) -> Element:
    """Return a shape plot with a menu of features and a slider over λ, for display in a notebook of the book.

    `results` is {λ: result}, `names` all features' names, `unit` the contributions' ("log-odds" of a classifier).
    `features` picks and orders the menu's entries, the first being shown at the start; by default all. λ starts next to
    0.1, the paper's default; `readings` is the text to show at each. Drawn are the bounds, the mean contribution
    and rows, centred by the feature's mean contribution, on one scale for all λ, before the density of the data.
    """
    content = payload(results, names, unit, features, readings)
    start = min(range(len(results)), key=lambda k: abs(content["penalties"][k] - 0.1))
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
        f'<input type="range" autocomplete="off" min="0" max="{len(results) - 1}" step="1" value="{start}">'
        f'<span class="slider-ticks" aria-hidden="true">{ticks}</span></label>\n</div>\n'
        f'<p class="slider-readings" style="white-space: pre-line" aria-live="polite" hidden></p>\n'
        f'<div class="slider-plot" role="img" hidden></div>\n'
        f'<p class="slider-legend" hidden>{dots} shading is the density of the data; '
        f"contributions are less their mean.</p>\n"
        f'<script type="application/json">{data}</script>\n</div>'
    )
    return Element(html, f"Interactive shape plot over λ: {count}; it is drawn in the built book.")
