"""`python -m benchmarks.estimators`: our defaults beside other libraries' on six tables, five folds each, one core.

Each line of the record (by default `book/benchmarks/estimators.jsonl`) is one fit, appended once it is scored; what
is in the record is not measured again:

`dataset`, `model`; `fold`, 0 to 4 (null: a fit on all rows, for its time alone); `rows` trained on; `scores` on the
fold's other rows: rmse, or auc and log_loss; `fit` and `predict`, {cpu, wall} seconds (cpu: processor time of all
threads and processes); `said`, what the fit printed; `error`, of one that failed; `measured`: created (UTC),
git_commit, dirty (uncommitted changes in mixnam), versions, load (the machine's average when the fit began), processor,
seed (of folds, and of ours; other libraries draw from their own default seeds).

The folds are one partition, the same for all: KFold(5, shuffle=True, random_state=0), stratified for classes. All are
handed a pandas frame of the raw columns: numbers as float64, categories under their labels.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mixnam.data import catalogue
from mixnam.data.table import Table
from mixnam.runs.machine import processor, provenance

RECORD = Path(__file__).resolve().parents[1] / "book" / "benchmarks" / "estimators.jsonl"
DATASETS = ("diabetes", "breast_cancer", "housing", "bike", "support2", "income")
FOLDS, SEED = 5, 0
NUMBERS, CATEGORIES = make_column_selector(dtype_include="number"), make_column_selector(dtype_include="category")
LIBRARIES = ("pandas", "scipy", "interpret-core", "xgboost-cpu", "xgboost", "lightgbm", "pygam")
Row = dict[str, Any]


def frame(table: Table) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table's raw columns, categories under their labels, and its target: numbers, or classes 0 and 1."""
    columns = {
        name: pd.Categorical.from_codes(table.x[:, i].astype(int), list(table.categories[i]))
        if i in table.categories
        else table.x[:, i]
        for i, name in enumerate(table.features)
    }
    return pd.DataFrame(columns), table.y if table.task == "regression" else table.y.astype(int)


def of_library(module: str, name: str, **told: Any) -> Callable[[bool], Any]:
    """Return a maker of a library's classifier or regressor: the library's defaults, and what it is `told`."""
    return lambda classes: getattr(
        importlib.import_module(module), name + ("Classifier" if classes else "Regressor")
    )(**told)  # fmt: skip


def linear(classes: bool) -> Any:
    """Return ridge or logistic regression on standardised numbers and one column a category."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer((numbers, NUMBERS), (OneHotEncoder(handle_unknown="ignore"), CATEGORIES))
    return make_pipeline(columns, LogisticRegression(max_iter=1000) if classes else RidgeCV())


class Gam:
    """pyGAM's default spline of each number, and a factor term of each category's codes, as it takes no frames.

    A category that training lacks counts as the first one.
    """

    def __init__(self, classes: bool) -> None:
        self.classes = classes
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        self.numbers, self.codes = SimpleImputer(strategy="median"), codes

    def columns(self, x, fit=False):
        parts = [(self.numbers, NUMBERS(x)), (self.codes, CATEGORIES(x))]
        found = [(way.fit(x[names]) if fit else way).transform(x[names]) for way, names in parts if names]
        return np.hstack([found[0], *(np.maximum(codes, 0) for codes in found[1:])])

    def fit(self, x, y):
        pygam = importlib.import_module("pygam")
        count = len(NUMBERS(x))
        terms = [pygam.s(i) if i < count else pygam.f(i) for i in range(x.shape[1])]
        kind = pygam.LogisticGAM if self.classes else pygam.LinearGAM
        self.model = kind(sum(terms[1:], terms[0])).fit(self.columns(x, fit=True), y)
        return self

    def predict(self, x):
        return self.model.predict(self.columns(x))

    def predict_proba(self, x):
        chance = self.model.predict_proba(self.columns(x))
        return np.column_stack([1 - chance, chance])


OURS = {"random_state": SEED, "n_jobs": 1, "verbose": False}
#: Makers by name. What each is told: one core, silence, and that a frame's categories are categories.
CONTESTANTS: dict[str, Callable[[bool], Any]] = {
    "MixNAM": of_library("mixnam", "MixNAM", **OURS),
    "NAM": of_library("mixnam", "NAM", **OURS),
    "linear": linear,
    "EBM without pairs": of_library("interpret.glassbox", "ExplainableBoosting", interactions=0, n_jobs=1),
    "EBM": of_library("interpret.glassbox", "ExplainableBoosting", n_jobs=1),
    "XGBoost": of_library("xgboost", "XGB", enable_categorical=True, n_jobs=1),
    "LightGBM": of_library("lightgbm", "LGBM", n_jobs=1, verbose=-1),
    "pyGAM": Gam,
}


@contextlib.contextmanager
def timed(into: Row, name: str) -> Iterator[None]:
    """Put the seconds of what runs inside under `name`."""
    wall, cpu = time.perf_counter(), processor_seconds()
    yield
    into[name] = {"cpu": processor_seconds() - cpu, "wall": time.perf_counter() - wall}


def processor_seconds() -> float:
    """Return the processor time of this process so far, and of those that it started and that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def version(name: str) -> str | None:
    """Return an installed package's version, None where it is not installed."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def rows_of(table: Table, fold: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers to train on and to test on; where there is no fold, all for both."""
    if fold is None:
        return np.arange(len(table.y)), np.arange(len(table.y))
    folds = (KFold if table.task == "regression" else StratifiedKFold)(FOLDS, shuffle=True, random_state=SEED)
    return list(folds.split(table.x, table.y))[fold]


def measure(table: Table, model: str, fold: int | None) -> Row:
    """Return a row of the record: one contestant, trained on all folds but one, or on all rows."""
    x, y = frame(table)
    classes = table.task == "classification"
    train, test = rows_of(table, fold)
    origin = provenance(torch.device("cpu"), "")
    versions = origin["versions"] | {name: found for name in LIBRARIES if (found := version(name))}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    row: Row = {"dataset": table.name, "model": model, "fold": fold, "rows": len(train)}
    try:
        estimator = CONTESTANTS[model](classes)
        with timed(row, "fit"), contextlib.redirect_stdout(io.StringIO()) as said:
            estimator.fit(x.iloc[train], y[train])
        if said.getvalue():
            row["said"] = said.getvalue().strip()
        with timed(row, "predict"):
            found = estimator.predict_proba(x.iloc[test])[:, 1] if classes else estimator.predict(x.iloc[test])
        if not classes:
            scores = {"rmse": root_mean_squared_error(y[test], found)}
        else:
            scores = {"auc": roc_auc_score(y[test], found), "log_loss": log_loss(y[test], found)}
        if fold is not None:
            row["scores"] = {name: float(score) for name, score in scores.items()}
    except (ValueError, np.linalg.LinAlgError) as error:
        row["error"] = f"{type(error).__name__}: {error}"
    return row | {
        "measured": {k: origin[k] for k in ("git_commit", "dirty")}
        | {"created": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions}
        | {"load": load, "processor": processor(), "seed": SEED}
    }


def read(path: Path) -> list[Row]:
    """Return the rows of the record at `path`, none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the record lacks, in the order of data sets, folds and models."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimators", description=__doc__)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=catalogue.REGISTRY, metavar="NAME")
    parser.add_argument("--models", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    folds = [*range(FOLDS), None]
    parser.add_argument("--folds", nargs="+", default=folds[:-1], type=lambda t: None if t == "all" else int(t),
                        choices=folds, metavar="FOLD", help="0 to 4; all: a fit on all rows, for its time")  # fmt: skip
    parser.add_argument("--out", type=Path, default=RECORD)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for dataset in given.datasets:
            for fold, model in ((fold, model) for fold in given.folds for model in given.models):
                if any((r["dataset"], r["model"], r["fold"]) == (dataset, model, fold) for r in read(given.out)):
                    continue
                row = measure(catalogue.load(dataset), model, fold)
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, allow_nan=False) + "\n")
                print(dataset, fold, model, row.get("scores") or row.get("error"), row.get("fit"), flush=True)


if __name__ == "__main__":
    main()
