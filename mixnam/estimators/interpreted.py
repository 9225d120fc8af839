"""Explanations as interpret draws them; this module needs interpret."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from interpret.api.templates import FeatureValueExplanation
from numpy.typing import NDArray

from mixnam.data.table import MISSING, Array

#: What interpret calls the ends of its error bars, and what they are here.
BOUNDS = {"Upper Bound": "experts' bounds: upper", "Lower Bound": "experts' bounds: lower"}

IMPORTANCE = "mean absolute contribution"


@dataclass(frozen=True)
class Entry:
    """What is drawn as one: a name, curves as a frame, and of numbers their histogram, else None."""

    name: str
    curves: pd.DataFrame
    histogram: tuple[Array, NDArray[Any]] | None


class Explanation(FeatureValueExplanation):
    """interpret's explanation, in which bounds are called what they are, and stand where they are on bars, too."""

    def visualize(self, key: Any = None, title: str | None = None) -> Any:
        """Return interpret's plotly figure of an entry, or with None of all features' importance (of rows nothing)."""
        figure = super().visualize(key, title)
        if figure is None:
            return None
        if self.explanation_type == "local":
            return figure.update_layout(xaxis={"range": None, "autorange": True, "title": "contribution"})
        if key is None:
            return figure.update_layout(xaxis={"rangemode": "tozero", "range": None, "title": IMPORTANCE})
        for theirs, name in BOUNDS.items():
            figure.update_traces(name=name, selector={"name": theirs})
        data = self.data(key)
        if data["lower_bounds"] is None:
            return figure.update_layout(yaxis_title="contribution")
        if self.feature_types[key] == "nominal":
            low = data["scores"] - data["lower_bounds"]
            figure.data[0].update(error_y={"arrayminus": low, "symmetric": False}, name="contribution")
        said = "experts' bounds: what it can contribute, not its uncertainty"
        name = title or self.feature_names[key]
        return figure.update_layout(title=f"{name}<br><sub>{said}</sub>", yaxis_title="contribution")


def of_features(model: str, names: Sequence[str], importance: Array, entries: Sequence[Entry]) -> Explanation:
    """Return a global explanation: an entry each, and the importance of all features together."""
    ends = [entry.curves[name].agg(how) for entry in entries for name, how in (("lower", "min"), ("upper", "max"))]
    specific: list[dict[str, Any]] = []
    for entry in entries:
        curves = entry.curves
        values = [MISSING if pd.isna(value) else value for value in curves["value"]]
        bounded = bool((curves["upper"] - curves["lower"]).max() > 1e-6)
        edges, counts = (values, curves["rows"]) if entry.histogram is None else entry.histogram
        specific.append(
            {
                "type": "univariate",
                "names": values,
                "scores": curves["contribution"].to_numpy(),
                "scores_range": (min(ends), max(ends)),
                "upper_bounds": curves["upper"].to_numpy() if bounded else None,
                "lower_bounds": curves["lower"].to_numpy() if bounded else None,
                "density": {"names": list(edges), "scores": list(counts)},
            }
        )
    types = ["nominal" if entry.histogram is None else "continuous" for entry in entries]
    overall = {"type": "univariate", "names": list(names), "scores": importance.tolist()}
    selector = pd.DataFrame({"Name": [entry.name for entry in entries], "Type": types})
    said = f"{model} (bounds: the experts', what a feature can contribute)"
    found = {"overall": overall, "specific": specific}
    return Explanation("global", found, [entry.name for entry in entries], types, said, selector)


def of_rows(
    model: str,
    parts: pd.DataFrame,
    nominal: Collection[int],
    intercept: Array,
    scores: Array,
    labels: Sequence[str],
    y: NDArray[Any] | None,
) -> Explanation:
    """Return a local explanation: an entry a row.

    `parts` is a `LocalExplanation.frame` whose rows are called by their place, `nominal` the numbers of the features
    with categories; `intercept` is (C,). `scores` are the predictions, (rows,), or the probability of each of the
    `labels`, (rows, classes); `y` is as there.
    """
    several, names = len(intercept) > 1, list(dict.fromkeys(parts["feature"]))
    specific: list[dict[str, Any]] = []
    for place, ((_, own), score) in enumerate(zip(parts.groupby("row"), scores, strict=True)):
        told = {k: own[k].to_numpy(float).reshape(-1, len(names)).T for k in ("contribution", "lower", "upper")}
        given = {k: list(v) if several else v[:, 0].tolist() for k, v in told.items()}
        found = {
            "type": "univariate",
            "names": names,
            "scores": given["contribution"],
            "values": [_shown(value, i in nominal) for i, value in enumerate(own["value"].iloc[: len(names)])],
            "upper_bounds": given["upper"],
            "lower_bounds": given["lower"],
            "extra": {"names": ["Intercept"], "scores": [intercept if several else float(intercept[0])], "values": [1]},
            "perf": _outcome(score, np.nan if y is None else y[place], bool(labels)),
        }
        specific.append(found | ({"meta": {"label_names": list(labels)}} if labels else {}))
    selector = pd.DataFrame([entry["perf"] for entry in specific], columns=["actual", "predicted"])
    types = ["nominal" if i in nominal else "continuous" for i in range(len(names))]
    return Explanation("local", {"overall": None, "specific": specific}, names, types, model, selector)


def _shown(value: Any, nominal: bool) -> Any:
    """Return a row's value as interpret writes it beside the feature's name."""
    return MISSING if pd.isna(value) else str(value) if nominal else value


def _outcome(score: Any, actual: Any, classes: bool) -> dict[str, Any]:
    """Return what was predicted of a row, and what it was (NaN where nobody knows); of classes their numbers."""
    predicted = int(np.argmax(score)) if classes else float(score)
    unknown = bool(np.isnan(actual))
    if not classes:
        found = {"actual": float(actual), "actual_score": float(actual), "predicted_score": predicted}
    else:
        found = {"actual": np.nan if unknown else int(actual), "predicted_score": float(score[predicted])}
        found["actual_score"] = np.nan if unknown else float(score[int(actual)])
    return {"is_classification": classes, "predicted": predicted} | found
