"""What a fitted estimator says: of each feature's values (global), and of rows (local).

Experts' bounds and the members' band are two things. Bounds, `lower` and `upper`, say what a feature can contribute,
whatever the other features of a row are. The band, `spread`, says how far the members of the mean differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mixnam.data.table import MISSING, About, Array
from mixnam.explain.curves import DISTINCT, centred, row_counts
from mixnam.plots.look import one_line
from mixnam.plots.shapes import most_important, shape_plots
from mixnam.plots.waterfall import waterfall


@dataclass(frozen=True)
class Curves:
    """What is drawn of one class, or of the target: the model's name, its table, its curves and importances."""

    model: str
    about: About
    arrays: Mapping[str, NDArray[Any]]

    @property
    def importance(self) -> Array:
        """The mean absolute contribution of each feature, (n,)."""
        return np.asarray(self.arrays["importance"], float)


@dataclass(frozen=True)
class GlobalExplanation:
    """What a model says of each feature, over all its values, on the additive scale: the target's units, or log-odds.

    `model` is its name. `classes` are the classes' names where there are more than two, else (), and `about.target`
    says which is class 1. `curves` holds a class each, or one in all, arrays as `runs.members.Mean` has them, besides
    `importance`, (n,).
    """

    model: str
    about: About
    classes: tuple[str, ...]
    curves: tuple[dict[str, NDArray[Any]], ...]

    def frame(self) -> pd.DataFrame:
        """Return the curves, a row a value of a feature.

        Columns: `class` (where there are more than two), `feature`, `value`, `contribution`, `lower` and `upper` (the
        experts' bounds), `spread` (the members' standard deviation) and `rows`, how many training rows hold the value,
        NaN where that is not known. Contributions and bounds are less the feature's mean contribution. The value of
        missing numbers is NaN; missing categories are the category "missing".
        """
        found: list[pd.DataFrame] = []
        for of, part in self._parts():
            for i, _, frame in _curves(part):
                first = {**of, "feature": self.about.features[i]}
                found.append(pd.concat([pd.DataFrame(first, index=frame.index), frame], axis=1))
        return pd.concat(found, ignore_index=True)

    def importance(self) -> pd.DataFrame:
        """Return each feature's mean absolute contribution over a sample of training rows, the largest first.

        Columns: `class` (where there are more than two), `feature`, `importance`; of several classes the order is that
        of the mean over classes.
        """
        order = np.argsort(-np.mean([part.importance for _, part in self._parts()], axis=0), kind="stable")
        names = np.array(self.about.features, object)[order]
        parts = [
            pd.DataFrame({**of, "feature": names, "importance": part.importance[order]}) for of, part in self._parts()
        ]
        return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)

    def plot(
        self,
        features: Sequence[str | int] | str | int | None = None,
        *,
        of: str | None = None,
        columns: int = 2,
        bounds: bool = True,
        spread: bool = True,
    ) -> Figure:
        """Draw shape plots of features, by name or number (default: the 12 most important).

        Drawn are the contribution, the experts' bounds (unless `bounds` is off), the members' band (unless `spread` is
        off), and the density of the training rows. `of` names a class where there are several (default: the first).

        Raises ValueError for features and classes that are not there.
        """
        number = _class(self.classes, of, 0)
        hidden = ["_lower", "_upper"] * (not bounds) + ["_spread"] * (not spread)
        part = [part for _, part in self._parts()][number]
        shown = {k: v for k, v in part.arrays.items() if not k.endswith(tuple(hidden))}
        part = replace(part, arrays=shown)
        if features is None:
            chosen = most_important(part, 12)
        else:
            given = features if np.iterable(features) and not isinstance(features, str) else [features]
            chosen = [feature_number(self.about, feature) for feature in given]
        if not chosen:
            raise ValueError("features must name one feature at least, got none")
        return shape_plots(part, chosen, max(1, min(columns, len(chosen))))

    def to_interpret(self) -> Any:
        """Return this as an explanation of interpret, for its `show` and `visualize`.

        interpret draws the experts' bounds where it draws error bars of its own models. They are no errors: they say
        what a feature can contribute. Missing numbers are an entry of their own, "feature: missing"; of more than two
        classes each has its own entries. The overall importance is the mean over classes.

        Raises ImportError where interpret is not installed.
        """
        interpreted, entries = _interpreted(), []
        for of, part in self._parts():
            low, high = part.arrays["density_range"].T.astype(float)
            edges = np.linspace(low, high, part.arrays["density"].shape[1] + 1).T
            for i, name, frame in _curves(part):
                numbers = i not in self.about.categories and name == self.about.features[i]
                histogram = (edges[i], part.arrays["density"][i]) if numbers else None
                entries.append(interpreted.Entry(" · ".join([name, *of.values()]), frame, histogram))
        importance = np.mean([part.importance for _, part in self._parts()], axis=0)
        return interpreted.of_features(self.model, self.about.features, importance, entries)

    def _parts(self) -> Iterator[tuple[dict[str, str], Curves]]:
        """Yield what names a class in a frame, nothing where there is one in all, with what is drawn of it."""
        for of, arrays in zip(self.classes or ("",), self.curves, strict=True):
            about = replace(self.about, target=f"{self.about.target} = {of}") if of else self.about
            yield ({"class": of} if of else {}), Curves(self.model, about, arrays)


@dataclass(frozen=True)
class LocalExplanation:
    """What each feature adds to the predictions of rows, on the additive scale: the target's units, or log-odds.

    **Shape:** `contributions`, `lower`, `upper` and `spread` are (C, rows, n), means over members and their standard
    deviation; `intercept` is (C,), `prediction` (C, rows), the intercept plus all contributions. C is the number of
    `classes` where there are more than two, else 1.

    `rows` are as they were given, and `y`, where it is known, (rows,) their targets, of classes the number of each.
    """

    model: str
    about: About
    classes: tuple[str, ...]
    rows: pd.DataFrame
    contributions: Array
    lower: Array
    upper: Array
    spread: Array
    intercept: Array
    prediction: Array
    y: NDArray[Any] | None = None

    def frame(self) -> pd.DataFrame:
        """Return the contributions, a row a feature of a row (of a class).

        Columns: `row` (its index label), `class` (where there are more than two), `feature`, `value`, `contribution`,
        `lower` and `upper` (the experts' bounds), `spread` (the members' standard deviation). A row's contributions
        (of a class) and the intercept sum to its prediction.
        """
        classes, rows, features = self.contributions.shape
        found: dict[str, Any] = {"row": self.rows.index.repeat(classes * features)}
        if self.classes:
            found["class"] = np.tile(np.repeat(self.classes, features), rows)
        found["feature"] = np.tile(np.array(self.about.features, object), rows * classes)
        found["value"] = np.repeat(self.rows.to_numpy(object), classes, axis=0).ravel()
        named = {"contribution": self.contributions, "lower": self.lower, "upper": self.upper, "spread": self.spread}
        return pd.DataFrame(found | {name: values.swapaxes(0, 1).ravel() for name, values in named.items()})

    def plot(self, row: int = 0, *, of: str | None = None, features: int | None = 10) -> Figure:
        """Draw a waterfall of one row, by its place: from the intercept to the prediction, the largest part first.

        Each bar starts where the one before it ends. Drawn with it are where it could have ended (the experts' bounds)
        and the members' band. Beyond the `features` largest (None: all), the others are one bar. `of` names a class
        where there are several (default: the one with the largest prediction).

        Raises ValueError for rows and classes that are not there.
        """
        if not 0 <= row < len(self.rows):
            raise ValueError(f"row must be a place from 0 to {len(self.rows) - 1}, got {row}")
        number = _class(self.classes, of, int(self.prediction[:, row].argmax()))
        target, end = one_line(self.about.target), ""
        if self.about.task == "classification":
            target = f"log-odds of {target}" + (f" = {self.classes[number]}" if self.classes else "")
            end = f"probability {self._probabilities()[row, number if self.classes else 1]:.3f}"
        elif self.about.unit:
            target += f" ({self.about.unit})"
        values = (self.contributions, self.lower, self.upper, self.spread)
        named = dict(zip(("contribution", "lower", "upper", "spread"), (v[number, row] for v in values), strict=True))
        parts = pd.DataFrame({"feature": self.about.features, "value": self.rows.iloc[row].tolist(), **named})
        return waterfall(parts, float(self.intercept[number]), target, end, features)

    def to_interpret(self) -> Any:
        """Return this as an explanation of interpret, for its `show` and `visualize`; an entry a row.

        interpret draws no bounds of rows: `data(i)` has the experts' bounds as `lower_bounds` and `upper_bounds`.

        Raises ImportError where interpret is not installed.
        """
        two = (f"not {self.about.target}", self.about.target) if self.about.task == "classification" else ()
        scores = self._probabilities() if two else self.prediction[0]
        parts = replace(self, rows=self.rows.reset_index(drop=True)).frame()
        labels, nominal = self.classes or two, self.about.categories
        return _interpreted().of_rows(self.model, parts, nominal, self.intercept, scores, labels, self.y)

    def _probabilities(self) -> Array:
        """Return the probability of each class, (rows, classes), as the estimator's `predict_proba` has it."""
        found = 0.5 * (1 + np.tanh(self.prediction.T / 2))
        if not self.classes:
            return np.hstack([1 - found, found])
        return found / np.maximum(found.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def _curves(part: Curves) -> Iterator[tuple[int, str, pd.DataFrame]]:
    """Yield each feature's number, its name and its curves as a frame; then again with the point of missing numbers."""
    arrays = part.arrays
    for i, name in enumerate(part.about.features):
        grid, curves = centred(arrays, i)
        mean, labels = curves["mean"], part.about.categories.get(i)
        rows = row_counts(arrays, i)
        if "rows_at" not in arrays:  # of lines it is what the cells of a histogram hold
            rows = np.where((rows > 0) & (labels is not None or len(grid) <= DISTINCT), rows, np.nan)
        spread = arrays["grid_spread"][i][: len(grid)].astype(float)
        values = grid if labels is None else np.array([labels[code] for code in grid.astype(int)], object)
        told = {"contribution": mean, "lower": curves.get("lower", mean), "upper": curves.get("upper", mean)}
        yield i, name, pd.DataFrame({"value": values, **told, "spread": spread, "rows": rows})
        if not np.isnan(arrays.get("missing_mean", np.full(i + 1, np.nan))[i]):
            found = [arrays.get(f"missing_{kind}", arrays["missing_mean"])[i] for kind in ("mean", "lower", "upper")]
            at = np.array([*found, np.nan, np.nan], float) - float(arrays["contribution_mean"][i])
            at[3:] = arrays["missing_spread"][i], arrays["missing_rows"][i]
            yield i, f"{name}: {MISSING}", pd.DataFrame([[np.nan, *at]], columns=["value", *told, "spread", "rows"])


def feature_number(about: About, feature: str | int) -> int:
    """Return a feature's number, of a name or of the number itself: names come first. ValueError for neither."""
    if str(feature) in about.features:
        return about.features.index(str(feature))
    if isinstance(feature, (int, np.integer)) and 0 <= feature < len(about.features):
        return int(feature)
    close = get_close_matches(str(feature), about.features, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"feature must be a name or a number from 0 to {len(about.features) - 1}, got {feature!r}{hint}")


def _class(classes: tuple[str, ...], of: str | None, default: int) -> int:
    """Return a class's number; ValueError where there is none."""
    if of is None:
        return default
    if not classes:
        raise ValueError(f"of names one of more than two classes, this model has not so many; got {of!r}")
    if str(of) not in classes:
        raise ValueError(f"of must be one of {', '.join(classes)}, got {of!r}")
    return classes.index(str(of))


def _interpreted() -> Any:
    """Return the module that makes explanations of interpret; ImportError where that is not installed."""
    try:
        from mixnam.estimators import interpreted
    except ModuleNotFoundError as error:
        raise ImportError(f"{error}; remedy: pip install 'interpret-core[plotly]'") from error
    return interpreted
