"""A table with its target, checked once: what everything else is handed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class DataError(Exception):
    """Data that cannot be used; the message says what is wrong and what to do."""


class DataMissing(DataError):
    """A data set that is not at hand and could not be downloaded."""


class TableError(DataError, ValueError):
    """A table, or its description, that cannot be used; the message says what is wrong and what to do."""

    def _render_traceback_(self) -> list[str]:
        """Return what notebooks show of it: the one line that a user needs."""
        return [f"{type(self).__name__}: {self}"]


Array = NDArray[np.float64]
Task = Literal["regression", "classification"]
Metric = Literal["rmse", "mse", "auc"]
Unseen = Literal["average", "refuse"]
#: What the missing values of a categorical column are called: a category of their own.
MISSING = "missing"
#: Categories of a user's own column up to which their mean targets tell next to nothing of single rows' targets.
FEW = 10


def better(metric: str) -> int:
    """Return 1 for a metric of which more is better, the area under the curve, and -1 for an error."""
    return 1 if metric == "auc" else -1


@dataclass(frozen=True)
class About:
    """What a table is, without its rows: what a model needs to read new rows, and a page to name things.

    `categories` holds the labels of each categorical column by its number; `features` names all columns; `target` is
    in `unit`, or where labels are classified the name of class 1. `gaps` are the columns of numbers with missing
    values; `unseen` says whether a category that the table lacks counts as the average or is refused; the texts in
    `missing` stand for missing values; the columns in `ordered` have categories with an order of their own.
    """

    name: str
    title: str
    task: Task
    metric: Metric
    features: tuple[str, ...]
    target: str
    unit: str = ""
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    gaps: tuple[int, ...] = ()
    unseen: Unseen = "average"
    missing: tuple[str, ...] = ()
    ordered: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return what `to_json` described; KeyError or TypeError for another content."""
        categories = {int(i): tuple(labels) for i, labels in content["categories"].items()}
        lists = {name: tuple(content.get(name, ())) for name in ("gaps", "missing", "ordered")}
        return cls(**{**content, **lists, "features": tuple(content["features"]), "categories": categories})


@dataclass(frozen=True, eq=False)
class Table:
    """A table with its target.

    **Shape:** `x` is (rows, n) float64, categorical columns as codes 0, 1, ... into `categories[column]`;
    `y` is (rows,), in `unit`, or 0/1. `folds`, where they are fixed, gives each row's test fold. `parts`, where
    a holdout is fixed, gives each row's part: 1 training, 2 validation, 3 test, or 0 for one of the first two,
    drawn with the run's seed. `groups`, where rows belong together, gives each row's group, which validation rows
    are drawn by. `probe`, (P, n), holds further rows at which every model's prediction is stored (simulations: where
    the truth is known). `own` marks a table of the user's: its columns of numbers may hold gaps, NaN, and are
    transformed by their ranks alone; other tables follow the paper. Of these `aside` gives the columns that are no
    features with their roles, `notes` what to know of how a column was read, `ordered` those whose categories have an
    order of their own. Code -1 stands for a category that training rows do not have.

    Raises DataError for missing values, shapes that disagree, a part without rows, or a single class.
    """

    name: str
    title: str
    task: Task
    metric: Metric
    x: Array
    y: Array
    features: tuple[str, ...]
    target: str
    unit: str = ""
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    folds: NDArray[np.int64] | None = None
    probe: Array | None = None
    source: str = ""
    parts: NDArray[np.int64] | None = None
    groups: NDArray[np.int64] | None = None
    unseen: Unseen = "average"
    missing: tuple[str, ...] = ()
    own: bool = False
    aside: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    ordered: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1] or len(self.features) != self.x.shape[1]:
            raise DataError(
                f"{self.name}: x is {self.x.shape}, y {self.y.shape}, with {len(self.features)} feature names; "
                "they must agree in rows and columns"
            )
        for i, name in enumerate(self.features):
            wrong = ~np.isfinite(self.x[:, i])
            if self.own and i not in self.categories:
                wrong &= ~np.isnan(self.x[:, i])
            if bad := int(wrong.sum()):
                raise DataError(
                    f"{self.name}: feature {name!r} holds {bad} missing or infinite values; fill or drop them"
                )
        for i, labels in self.categories.items():
            codes = self.x[:, i]
            if ((codes < (-1 if self.own else 0)) | (codes >= len(labels)) | (codes != np.floor(codes))).any():
                raise DataError(
                    f"{self.name}: feature {self.features[i]!r} must hold codes 0 to {len(labels) - 1}, "
                    f"found {codes.min():g} to {codes.max():g}"
                )
        for what, of_rows in (("folds", self.folds), ("parts", self.parts), ("groups", self.groups)):
            if of_rows is not None and of_rows.shape != self.y.shape:
                raise DataError(f"{self.name}: {what} are {of_rows.shape}, y {self.y.shape}; they must agree in rows")
        if self.parts is not None:
            parts = set(map(int, np.unique(self.parts)))
            if not parts <= {0, 1, 2, 3} or 3 not in parts or not (0 in parts or {1, 2} <= parts):
                raise DataError(
                    f"{self.name}: parts must hold 3 (test) and 0 (drawn), or 1, 2 and 3 (training, validation, test), "
                    f"found {', '.join(map(str, sorted(parts)[:5]))}"
                )
        bad = int((~np.isfinite(self.y)).sum())
        if bad:
            raise DataError(
                f"{self.name}: target {self.target!r} holds {bad} missing or infinite values; drop those rows"
            )
        if self.task == "classification" and set(np.unique(self.y)) != {0.0, 1.0}:
            found = ", ".join(f"{v:g}" for v in np.unique(self.y)[:5])
            raise DataError(f"{self.name}: target {self.target!r} must hold both classes 0 and 1, found {found}")

    def __str__(self) -> str:
        """Return what was decided of the table and its columns, to be read before anything trains."""
        if self.task == "classification":
            what = f"classification; class 1 is {self.target} ({int(self.y.sum()):,} rows)"
        else:
            what = f"regression of {self.target}" + (f" ({self.unit})" if self.unit else "")
        plural = "" if len(self.features) == 1 else "s"
        first = f"{self.title}: {len(self.y):,} rows, {len(self.features):,} feature{plural}; {what}"
        return "\n".join([first, *(line.rstrip() for line in self.columns().to_string(index=False).splitlines())])

    def columns(self) -> pd.DataFrame:
        """Return what was decided of each column, a row a column: name, role, type, distinct, missing, range, example.

        `range` is from the smallest to the largest number, or the categories, most frequent first; missing values of
        categories are a category of their own. A `note` says what to know of how a column was read.
        """
        rows: list[tuple[Any, ...]] = []
        for i, name in enumerate(self.features):
            rows.append((name, "feature", *self._said(self.x[:, i], self.categories.get(i)), self.notes.get(name, "")))
        kind, *rest = self._said(self.y, None)
        rows.append((self.target, "target", "classes" if self.task == "classification" else kind, *rest, ""))
        rows += [(name, role, *[""] * 6) for name, role in self.aside.items()]
        return pd.DataFrame(rows, columns=["name", "role", "type", "distinct", "missing", "range", "example", "note"])

    @staticmethod
    def _said(column: Array, labels: tuple[str, ...] | None) -> tuple[str, int, int, str, str]:
        """Return a column's type, distinct values, missing ones, range and example."""
        known = column[~np.isnan(column)]
        distinct, counts = np.unique(known, return_counts=True)
        if labels is None:
            ends = f"{known.min():g} to {known.max():g}"
            return "numbers", len(distinct), len(column) - len(known), ends, f"{known[0]:g}"
        often = [labels[int(k)] for k in distinct[np.argsort(-counts, kind="stable")]]
        gone = int((known == labels.index(MISSING)).sum()) if MISSING in often else 0
        shown = ", ".join(often[:4]) + (", ..." if len(often) > 4 else "")
        return "categories", len(often), gone, shown, labels[int(known[0])]

    @cached_property
    def gaps(self) -> tuple[int, ...]:
        """The columns that hold missing values."""
        return tuple(np.flatnonzero(np.isnan(self.x).any(axis=0)).tolist())

    @property
    def many_valued(self) -> list[int]:
        """The columns of a user's own table whose categories' mean targets are cross-fitted in training."""
        return [i for i, labels in self.categories.items() if self.own and len(labels) > FEW]

    @property
    def about(self) -> About:
        """What the table is, without its rows."""
        return About(**{name: getattr(self, name) for name in (f.name for f in fields(About))})

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the parsed arrays: identifies the data in a result's key, whatever file it came from."""
        digest = hashlib.sha256(f"{self.task} {self.x.shape} {sorted(self.categories)}".encode())
        for array in (self.x, self.y) if self.folds is None else (self.x, self.y, self.folds):
            digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).data)
        if self.parts is not None:  # only then, so that other data keep their checksums
            digest.update(b"parts" + self.parts.astype("<i8").tobytes())
        if self.groups is not None:
            digest.update(b"groups" + self.groups.astype("<i8").tobytes())
        if self.own:
            digest.update(b"own" + (b"cross-fitted" if self.many_valued else b""))
        return digest.hexdigest()
