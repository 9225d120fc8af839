"""Parameters of a notebook, checked, and the columns of results that its page sets beside the paper."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from mixnam.data import catalogue
from mixnam.paper import published
from mixnam.paper.experiments import Case, stored
from mixnam.paper.presets import load_preset
from mixnam.plots.look import PAPER_COLOR, SOURCE_COLORS
from mixnam.runs.files import root
from mixnam.runs.frame import frame_of
from mixnam.runs.machine import pick_device
from mixnam.runs.store import Store

#: Notebook names that IPython itself puts into the namespace.
_INTERACTIVE = {"In", "Out", "exit", "quit", "open", "get_ipython"}
_KINDS = {str: "text", bool: "true or false", list: "a list, or names with commas between"}


@dataclass(frozen=True)
class Column:
    """A source of results in a table: where they are from, what their setting is called, its preset, the store."""

    source: str
    setting: str
    preset: str
    store: Store

    @property
    def label(self) -> str:
        """Heading: the source, and the setting where there are several."""
        return self.source if self.setting == self.source else f"{self.source}, {self.setting}"

    def runs(self, dataset: str, model: str, overrides: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return every seed or fold of a model as rows of the store's frame."""
        return self.of([Case("", model, overrides or {}, dataset)], dataset)

    def of(self, rows: Sequence[Case], dataset: str) -> pd.DataFrame:
        """Return every run of an experiment's rows, with `row` (its label) and `source` (this column's).

        `dataset` is the page's, for rows that name none.
        """
        found = [
            (case.label, result)
            for case in rows
            for result in stored(self.store, case.dataset or dataset, case.model, self.preset, case.overrides)
        ]
        labels = [label for label, _ in found]
        return frame_of(result for _, result in found).assign(row=labels, source=self.label)


def _reference() -> Path:
    return root() / "book" / "results"


@dataclass(frozen=True)
class Parameters:
    """A notebook's parameters, checked. `results` is the rerun's store, `reference` the book's own.

    `dataset` is empty in notebooks about simulations.
    """

    dataset: str
    preset: str
    device: str
    results: Path
    train: bool
    reference: Path = field(default_factory=_reference)

    @property
    def is_reference(self) -> bool:
        """Whether this page shows the reference itself."""
        return self.results.resolve() == self.reference.resolve()

    @cached_property
    def columns(self) -> list[Column]:
        """What stands beside the paper: our results at both settings, or those of the reference and of this rerun.

        Simulations have one setting, ours, at both presets, and so have data that the paper has not: one column of
        the reference. A user's own table has this rerun's alone.
        """
        reference, source = Store(self.reference), "ours" if self.is_reference else "reference"
        paper = Column(source, "paper's setting", "paper", reference)
        quick = Column(source, "quick setting", "quick", reference)
        known = [paper, quick] if self.dataset in published.DATASETS else [quick]
        if not self.dataset:
            known = [Column(source, source, "paper", reference)]
        if self.is_reference:
            return known
        rerun = Column("this rerun", self.preset, self.preset, Store(self.results))
        own = self.dataset and catalogue.entry(self.dataset).features  # of which the reference has nothing
        return [rerun] if own else [known[0], rerun]

    @property
    def stores(self) -> list[Store]:
        """The stores that a page may read: those of its columns and of our own recipe."""
        return [column.store for column in (*self.columns, self.best)]

    @property
    def best(self) -> Column:
        """The column of our own recipe: this rerun's where it is one at the preset `best`, else the reference's."""
        where = self.results if self.preset == "best" else self.reference
        return Column("ours", "our recipe", "best", Store(where))

    @property
    def colors(self) -> dict[str, str]:
        """The colour of each source in pictures, by the label of its column; the paper's too."""
        kinds = {c.label: "rerun" if c.source == "this rerun" else c.preset for c in self.columns}
        return {"paper": PAPER_COLOR} | {label: SOURCE_COLORS[kind] for label, kind in kinds.items()}

    @property
    def own_first(self) -> list[Column]:
        """The columns, the one that the page is about first: this rerun, or the reference at the paper's setting."""
        return self.columns if self.is_reference else self.columns[::-1]

    def runs(self, rows: Sequence[Case]) -> pd.DataFrame:
        """Return every stored run of an experiment's rows, column by column, as `Column.of` does."""
        found = [column.of(rows, self.dataset) for column in self.columns]
        return pd.concat([runs for runs in found if len(runs)] or found[:1])


def checked(namespace: Mapping[str, Any], types: Mapping[str, type]) -> dict[str, Any]:
    """Return a notebook's parameters, whose names and types are `types`, out of its namespace.

    Raises ValueError for a name that is none of them or is missing, TypeError for a value of another type.
    """
    given = {k: v for k, v in namespace.items() if not k.startswith("_") and k not in _INTERACTIVE}
    given = {k: v for k, v in given.items() if not callable(v) and not isinstance(v, ModuleType)}
    for name, value in given.items():
        if name not in types:
            raise ValueError(f"unknown parameter {name!r} (= {value!r}); this notebook takes {', '.join(types)}")
        if types[name] is bool and str(value).lower() in ("true", "false"):  # papermill knows True and False alone
            given[name] = value = str(value).lower() == "true"
        if types[name] is list and isinstance(value, (str, int, float)):
            given[name] = value = [text.strip() for text in str(value).split(",") if text.strip()]
        if type(value) is not types[name]:
            raise TypeError(f"parameter {name} must be {_KINDS[types[name]]}, got {value!r}")
    lacking = [name for name in types if name not in given]
    if lacking:
        raise ValueError(f"parameter {lacking[0]!r} is missing; this notebook takes {', '.join(types)}")
    return given


def check_parameters(namespace: Mapping[str, Any], dataset: bool = True) -> Parameters:
    """Check a notebook's parameters: call it as `check_parameters(globals())` in the first cell after them.

    Notebooks about simulations take no data set (`dataset=False`).

    Raises ValueError for a name that is no parameter or a value that is none of the allowed, TypeError
    for a value of the wrong type. papermill itself would only warn.
    """
    types: dict[str, type] = {"dataset": str} if dataset else {}
    types |= {"preset": str, "device": str, "results": str, "train": bool}
    given = checked(namespace, types)
    if dataset:
        catalogue.entry(given["dataset"])
    given.setdefault("dataset", "")
    load_preset(given["preset"])
    pick_device(given["device"])
    default = os.environ.get("MIXNAM_RESULTS") or f"runs/{given['preset']}/results"
    where = Path(given["results"] or default)
    given["results"] = where if where.is_absolute() else root() / where
    try:
        wrong = "the file " if given["results"].is_file() else None
    except OSError as error:  # the name is too long
        wrong = f"({error.strerror}) "
    if wrong:
        raise ValueError(f"parameter results must be a directory, got {wrong}{given['results']}; name another")
    return Parameters(**given)
