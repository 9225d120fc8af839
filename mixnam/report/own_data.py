"""The page on a table of one's own: models beside each other, and how λ trades the score for narrow bounds."""

from __future__ import annotations

import importlib
import math
import re
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, PredefinedSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mixnam.data import catalogue
from mixnam.data.columns import as_text
from mixnam.data.files import read_file
from mixnam.data.own import read_table
from mixnam.data.table import MISSING, DataError, Table, TableError, better
from mixnam.paper.intervals import over_folds
from mixnam.plots.look import MODEL_COLORS, unit
from mixnam.report.accuracy import digits
from mixnam.report.figures import sweep_plot
from mixnam.report.layout import METRIC_LABELS, spread
from mixnam.report.parameters import checked

#: Parameters of the notebook with their types, and the table that it shows unless it is given one.
TYPES = {"table": str, "target": str, "categorical": list, "drop": list, "group": str, "missing": list}
TYPES |= {"quick": str, "model_folder": str}
EXAMPLE = "diabetes"
FOLDS, PENALTIES = 5, (0.0, 0.1, 1.0, 10.0, 100.0)
NUMBERS, CATEGORIES = make_column_selector(dtype_include="number"), make_column_selector(dtype_include="category")
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class OwnData:
    """A user's table: features `x` as a data frame, `labels`, the target under its own names.

    `quick` cuts training short, for a look at the page alone; `folder` is where the model is saved.
    """

    table: Table
    x: pd.DataFrame
    labels: pd.Series[Any]
    quick: bool
    folder: Path

    @property
    def metric(self) -> str:
        """What models are compared by: auc or rmse."""
        return "auc" if self.table.task == "classification" else "rmse"

    def models(self, **parameters: Any) -> dict[str, Any]:
        """Return the models to compare, by name, none fitted, as they come but for `parameters`, which are MixNAM's."""
        numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
        columns = make_column_transformer((numbers, NUMBERS), (OneHotEncoder(handle_unknown="ignore"), CATEGORIES))
        ours = {"random_state": 0, "verbose": False} | ({"epochs": 3, "n_members": 1} if self.quick else {})
        few = {"max_rounds": 50, "outer_bags": 1} if self.quick else {}
        makers = {
            "MixNAM": ("mixnam", "MixNAM", ours | parameters),
            "NAM": ("mixnam", "NAM", ours),
            "EBM without pairs": ("interpret.glassbox", "ExplainableBoosting", {"interactions": 0, "n_jobs": 1} | few),
            "XGBoost": ("xgboost", "XGB", {"n_jobs": 1, "enable_categorical": True}),
        }
        found, kind = {}, "Classifier" if self.metric == "auc" else "Regressor"
        for name, (module, start, told) in makers.items():
            if find_spec(module.partition(".")[0]):
                found[name] = getattr(importlib.import_module(module), start + kind)(**told)
        linear = LogisticRegression(max_iter=1000) if self.metric == "auc" else RidgeCV()
        return found | {"linear": make_pipeline(columns, linear)}

    def fit(self, model: Any, rows: Rows, y: pd.Series[Any] | None = None) -> Any:
        """Return a model fitted to rows, of numbers and classes 0 and 1, or of `y`; ours keep groups together."""
        y = pd.Series(self.table.y) if y is None else y
        kept = {} if self.table.groups is None else {"groups": self.table.groups[rows]}
        ours = type(model).__module__.startswith("mixnam.")
        with warnings.catch_warnings(action="default" if ours else "ignore"):
            return model.fit(self.x.iloc[rows], y.iloc[rows], **(kept if ours else {}))

    def score(self, model: Any, rows: Rows) -> float:
        """Return a fitted model's RMSE or AUC on rows."""
        scorer = get_scorer("roc_auc" if self.metric == "auc" else "neg_root_mean_squared_error")
        return abs(float(scorer(model, self.x.iloc[rows], self.table.y[rows])))

    def folds(self) -> list[tuple[Rows, Rows]]:
        """Return the rows to train on and to test on, by fold; groups stay together."""
        if self.table.groups is not None:
            return list(PredefinedSplit(self.table.folds).split())
        kind = StratifiedKFold if self.metric == "auc" else KFold
        return list(kind(FOLDS, shuffle=True, random_state=0).split(self.x, self.table.y))


def read(namespace: Mapping[str, Any]) -> OwnData:
    """Return what the notebook's parameters name: call it as `read(globals())` in the first cell after them.

    Raises TableError, in one line, for a parameter or a table that cannot be used.
    """
    try:
        given = checked({**namespace, "quick": str(namespace.get("quick", "auto"))}, TYPES)
        name, path = given["table"], Path(given["table"])
        quick = {"auto": name == EXAMPLE, "true": True, "false": False}.get(given["quick"].lower())
        if quick is None:
            raise ValueError(f"quick must be true, false or auto, got {given['quick']!r}")
        if path.suffix and not given["target"]:
            raise ValueError(f"target must name the column of {name} that is predicted: -p target NAME")
        if wrong := [] if path.suffix else [k for k in list(TYPES)[1:6] if given[k]]:
            raise ValueError(
                f"{wrong[0]} is for files, {name!r} has its own; a file's name ends in .csv, .tsv, .parquet"
            )
        if path.suffix:
            name = re.sub(r"\W+", "_", path.stem).strip("_") or "table"
            told: dict[str, Any] = {k: given[k] for k in ("categorical", "drop", "missing")}
            told["group"] = given["group"] or None
            table = read_table(path, given["target"], name=name, title=path.name, **told)
        else:
            table = catalogue.load(name)
    except (TypeError, ValueError, DataError) as error:
        raise TableError(str(error)) from error
    columns = {}
    for i, feature in enumerate(table.features):
        names = [None if label == MISSING else label for label in table.categories.get(i, ())]
        codes, known = table.x[:, i], [name for name in names if name is not None]
        columns[feature] = pd.Categorical([names[int(code)] for code in codes], known) if names else codes
    labels = pd.Series(table.y if table.task == "regression" else table.y.astype(int), name=table.target)
    if table.task == "classification" and path.suffix:
        labels = read_file(path)[given["target"]].map(as_text).rename(given["target"])
    return OwnData(table, pd.DataFrame(columns), labels, quick, Path(given["model_folder"] or f"runs/{name}-model"))


def compare(own: OwnData) -> pd.DataFrame:
    """Return each model's score over folds, mean ± sd, how far MixNAM is ahead of it, and the mean seconds of a fit."""
    folds, runs = own.folds(), []
    for fold, (train, test) in enumerate(folds):
        for name, model in own.models().items():
            started = time.perf_counter()
            own.fit(model, train)
            runs.append((name, fold, time.perf_counter() - started, own.score(model, test)))
    found = pd.DataFrame(runs, columns=["model", "fold", "seconds", "score"]).groupby("model", sort=False)
    ours, rows = found["score"].get_group("MixNAM").to_numpy(), []
    for model, run in found:
        mean, places = run["score"].mean(), digits(own.metric, run["score"].mean())
        ahead = over_folds((ours - run["score"].to_numpy()) * better(own.metric), 1 / (len(folds) - 1))
        told = [f"{v:+.{places}f}".replace("-", "−") for v in (ahead.mean, *ahead.interval)]
        beside = "" if model == "MixNAM" else f"{told[0]} [{told[1]}, {told[2]}]"
        rows.append((model, spread(mean, run["score"].std(), places), beside, f"{run['seconds'].mean():.2g}"))
    heads = ["model", METRIC_LABELS[own.metric], "MixNAM is better by [95 % interval]", "seconds"]
    return pd.DataFrame(rows, columns=heads)


def trade_off(own: OwnData) -> Figure:
    """Draw MixNAM's score on the first fold and the width of its bounds there over λ; one member is trained at each."""
    (train, test), *_ = own.folds()
    rows = []
    for penalty in PENALTIES:
        model = own.fit(own.models(variation_penalty=penalty, n_members=1)["MixNAM"], train)
        told = model.explain_local(own.x.iloc[test])
        rows += [("score", penalty, own.score(model, test)), ("width", penalty, (told.upper - told.lower).mean())]
    lines = pd.DataFrame(rows, columns=["measure", "penalty", "mean"]).assign(source="MixNAM", sd=math.nan, numbers="")
    width = "mean width of bounds" + (f"\n({unit(own.table.about)})" if unit(own.table.about) else "")
    return sweep_plot(lines, {"score": METRIC_LABELS[own.metric], "width": width}, MODEL_COLORS)
