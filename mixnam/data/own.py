"""Own tables: from a file or a data frame to a `Table`, and under a name that everything else knows.

`register` gives a name within this process. A description, `<name>.toml` in the data directory, gives one
to every process, and so to the notebooks; its keys are the arguments of `read_table`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types
from sklearn.model_selection import GroupKFold

from mixnam.data.splits import FOLDS
from mixnam.data.table import About, Array, DataError, Table, Task

#: More categories are names or numbers of rows rather than kinds, and make curves as long.
MAX_CATEGORIES = 1000
_LISTS = ("categorical", "drop")
_KEYS = ("table", "target", "task", "fold", "group", "title", "unit", *_LISTS)
_READERS = {".csv": ",", ".tsv": "\t", ".parquet": ""}


class TableError(DataError, ValueError):
    """A table, or its description, that cannot be used; the message says what is wrong and what to do."""


def read_table(
    table: Path | str | pd.DataFrame,
    target: str,
    *,
    name: str = "table",
    categorical: Sequence[str] = (),
    task: Task | None = None,
    fold: str | None = None,
    group: str | None = None,
    drop: Sequence[str] = (),
    title: str = "",
    unit: str = "",
) -> Table:
    """Return a table as a data set: every column is a feature, but `target`, `fold`, `group` and `drop`.

    Columns of text, categories or booleans are categorical; of numbers only those that `categorical` names.
    A `target` of two values is classified, the later one in sorted order being 1 (`Table.target` says
    which); any other is a regression, unless `task` says otherwise.

    Rows are split by `fold`, whose 2 to 5 values are the test folds in sorted order; or into 5 folds that
    keep the rows of one `group` together (validation rows are drawn from the rest whatever their group); or
    else a regression has one holdout and a classification 5 shuffled folds.

    `table` is a data frame, or the path of a .csv, .tsv or .parquet file; `name` has lower-case letters, digits
    and underscores; `title` is how pages call the data; `unit` is the target's.

    Raises TableError for missing values, unknown columns, and whatever else keeps it from being used.
    """
    check_name(name)
    for what, given in (("categorical", categorical), ("drop", drop)):
        if isinstance(given, str):
            raise TableError(f"{name}: {what} must be a list of column names, got {given!r}; write [{given!r}]")
    frame = table if isinstance(table, pd.DataFrame) else _read(Path(table))
    texts = frame.columns.map(str)  # a model knows columns by their names as text
    if not texts.is_unique:
        twice = texts[texts.duplicated()][0]
        raise TableError(f"{name}: two columns are called {twice!r}; rename one")
    named = [target, *(c for c in (fold, group) if c is not None), *categorical, *drop]
    for column in named:
        if column not in frame.columns:
            raise TableError(f"{name}: no column is called {column!r}; there are {', '.join(map(str, frame.columns))}")
        if named.count(column) > 1:
            raise TableError(f"{name}: column {column!r} is named for more than one purpose; name it once")
    if fold is not None and group is not None:
        raise TableError(f"{name}: both fold {fold!r} and group {group!r} are given; folds already say how to split")
    features = [c for c in frame.columns if c not in {target, fold, group, *drop}]
    if not features:
        raise TableError(f"{name}: no feature is left besides {', '.join(map(repr, named))}")
    used = frame[[*features, target, *(c for c in (fold, group) if c is not None)]]
    missing = used.isna().sum()
    for c in used.columns[missing > 0]:
        remedy = "fill them, or drop the rows or the column" if c in features else "drop those rows"
        raise TableError(f"{name}: column {c!r} holds {missing[c]} missing values; {remedy}")
    x, categories = [], {}
    for i, column in enumerate(features):
        values, labels = _feature(name, frame[column], column in categorical)
        x.append(values)
        if labels is not None:
            categories[i] = labels
    y, task, label = _target(name, frame[target], task)
    folds = None
    if fold is not None:
        folds = _folds(name, frame[fold])
    elif group is not None:
        folds = _group_folds(name, frame[group])
    for k in range(0 if folds is None or task == "regression" else folds.max() + 1):
        if len(np.unique(y[folds == k])) < 2:
            raise TableError(
                f"{name}: the test fold {k} of {(group if fold is None else fold)!r} holds one class only; "
                "merge folds or groups"
            )
    source = "a data frame" if isinstance(table, pd.DataFrame) else Path(table).name
    try:
        return Table(
            name, title or name, task, "auc" if task == "classification" else "rmse", np.column_stack(x), y,
            tuple(map(str, features)), label, unit, categories, folds, source=source,
        )  # fmt: skip
    except DataError as error:  # infinite values
        raise TableError(str(error)) from error


def described(path: Path) -> Table:
    """Return the table that a TOML file describes; the table's path is relative to that file.

    Raises TableError, which names the file, for unknown or missing keys and for what `read_table` refuses.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        for key, value in content.items():
            if key not in _KEYS:
                raise TableError(f"unknown key {key!r}; known are {', '.join(_KEYS)}")
            wanted, texts = (list, value) if key in _LISTS else (str, [value])
            if not isinstance(value, wanted) or not all(isinstance(text, str) for text in texts):
                raise TableError(f"{key} must be {'a list of texts' if wanted is list else 'a text'}, got {value!r}")
        for key in ("table", "target"):
            if key not in content:
                raise TableError(f"{key} is missing")
        table = path.parent / content.pop("table")
        stamp = table.stat().st_mtime_ns
        arguments = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in content.items())
        return _described(path.stem, table.absolute(), stamp, arguments)
    except (OSError, ValueError) as error:  # TableError and what tomllib raises are ValueErrors
        raise TableError(f"{path}: {error}") from error


@lru_cache(maxsize=8)
def _described(name: str, table: Path, stamp: int, arguments: tuple[tuple[str, Any], ...]) -> Table:
    """Read a table once for each time stamp of its file."""
    return read_table(table, name=name, **dict(arguments))


def encode(rows: pd.DataFrame | Table | Array, about: About) -> Array:
    """Return the features of new rows as the numbers that `about`'s table has: (rows, n), unseen categories as -1.

    `rows` is a data frame with (at least) the columns that `about` names, a `Table`, or an array (rows, n) of numbers
    and codes. Raises TableError for columns that are lacking, missing values, and text where numbers are expected.
    """
    if isinstance(rows, Table):  # its codes are of its own categories: labels decide
        columns = {
            name: pd.Series(np.array(rows.categories[i])[rows.x[:, i].astype(int)] if i in rows.categories else x)
            for i, (name, x) in enumerate(zip(rows.features, rows.x.T, strict=True))
        }
        rows = pd.DataFrame(columns)
    if not isinstance(rows, pd.DataFrame):
        values = np.asarray(rows, np.float64)
        if values.ndim != 2 or values.shape[1] != len(about.features):
            raise TableError(f"rows must be (rows, {len(about.features)}), got {values.shape}")
        for i, labels in about.categories.items():
            codes = values[:, i]
            if not np.isin(codes, np.arange(-1, len(labels))).all():
                raise TableError(
                    f"rows: feature {about.features[i]!r} must hold codes 0 to {len(labels) - 1}, or -1 for a category "
                    f"that is none of them, got {codes.min():g} to {codes.max():g}; a data frame may hold labels"
                )
        rows = pd.DataFrame(values, columns=list(about.features))
        about = replace(about, categories={})
    frame = rows.rename(columns=str)
    lacking = [name for name in about.features if name not in frame.columns]
    if lacking:
        raise TableError(f"rows lack column {lacking[0]!r}; the model takes {', '.join(about.features)}")
    twice = [name for name in about.features if not isinstance(frame[name], pd.Series)]
    if twice:
        raise TableError(f"rows: two columns are called {twice[0]!r}; rename or drop one")
    if frame.empty:
        raise TableError("rows hold no row: there is nothing to predict")
    out = np.empty((len(frame), len(about.features)))
    for i, name in enumerate(about.features):
        column = frame[name]
        if column.isna().any():
            raise TableError(f"rows: column {name!r} holds {column.isna().sum()} missing values; fill them")
        if i in about.categories:
            out[:, i] = _known_codes(column, about.categories[i])
        else:
            numbers = pd.to_numeric(column, errors="coerce")
            if numbers.isna().any():
                word = column[numbers.isna()].iloc[0]
                raise TableError(f"rows: column {name!r} holds {word!r}, expected numbers as in training")
            out[:, i] = numbers.to_numpy(np.float64)
            if not np.isfinite(out[:, i]).all():
                raise TableError(f"rows: column {name!r} holds infinite values; replace them")
    return out


#: How a table or a file may say what pandas calls True and False.
_TRUTHS = {"1": "true", "1.0": "true", "0": "false", "0.0": "false"}


def _known_codes(column: pd.Series[Any], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return each value's place among the labels, -1 where it is none; 1, 1.0 and "1" are the same, and true and True.

    Labels that are numbers are compared as numbers, where no two of them are the same number.
    """
    numbers = pd.to_numeric(pd.Series(labels), errors="coerce")
    if numbers.notna().all() and numbers.is_unique:
        return pd.Index(numbers.astype(float)).get_indexer(pd.Index(pd.to_numeric(column, errors="coerce")))
    text, known = column.astype(str), list(labels)
    if set(labels) <= {"True", "False"}:
        text, known = text.str.lower().replace(_TRUTHS), [label.lower() for label in labels]
    return pd.Index(known).get_indexer(pd.Index(text))


def check_name(name: str) -> None:
    """Raise TableError for what cannot be the name of a data set."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name.startswith("sim_") or name == "simulations":
        raise TableError(
            "name must be a lower-case letter, then such letters, digits or underscores, neither sim_... nor "
            f"simulations, got {name!r}"
        )


def _read(path: Path) -> pd.DataFrame:
    if path.suffix not in _READERS:
        raise TableError(f"{path} must end in {', '.join(_READERS)}; convert it, or pass a data frame")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, sep=_READERS[path.suffix])
    except (OSError, ValueError, ImportError) as error:  # ImportError: pandas needs pyarrow for parquet
        raise TableError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _numeric(column: pd.Series[Any]) -> bool:
    return types.is_any_real_numeric_dtype(column.dtype)


def _labels(column: pd.Series[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return codes into the labels, which are sorted: numbers by value, all else as text."""
    codes, labels = pd.factorize(column if _numeric(column) else column.astype(str), sort=True)
    return np.asarray(codes, np.int64), tuple(map(str, labels))


def _feature(name: str, column: pd.Series[Any], categorical: bool) -> tuple[Array, tuple[str, ...] | None]:
    if categorical or not _numeric(column):
        if types.is_datetime64_any_dtype(column.dtype) or types.is_timedelta64_dtype(column.dtype):
            raise TableError(f"{name}: column {column.name!r} holds times; turn them into numbers, or drop the column")
        codes, labels = _labels(column)
        if len(labels) > MAX_CATEGORIES:
            raise TableError(
                f"{name}: column {column.name!r} has {len(labels)} categories, at most {MAX_CATEGORIES} can be shown; "
                "drop it, or merge categories"
            )
        return codes.astype(np.float64), labels
    return column.to_numpy(np.float64), None


def _target(name: str, column: pd.Series[Any], task: str | None) -> tuple[Array, Task, str]:
    codes, labels = _labels(column)
    if task not in (None, "regression", "classification"):
        raise TableError(f"{name}: task must be regression or classification, got {task!r}")
    if len(labels) < 2:
        raise TableError(f"{name}: target {column.name!r} has {len(labels)} values; it needs two or more")
    if task == "classification" or (task is None and len(labels) == 2):
        if len(labels) > 2:
            raise TableError(f"{name}: target {column.name!r} has {len(labels)} classes; merge them into two")
        return codes.astype(np.float64), "classification", f"{column.name} = {labels[1]}"
    if not _numeric(column):
        raise TableError(
            f"{name}: target {column.name!r} holds {len(labels)} classes that are no numbers "
            f"({', '.join(labels[:5])}); merge them into two, or give numbers"
        )
    return column.to_numpy(np.float64), "regression", str(column.name)


def _folds(name: str, column: pd.Series[Any]) -> NDArray[np.int64]:
    codes, labels = _labels(column)
    if not 2 <= len(labels) <= len(FOLDS):
        raise TableError(
            f"{name}: fold column {column.name!r} has {len(labels)} values; it must have 2 to {len(FOLDS)}, a test "
            "fold each"
        )
    return codes


def _group_folds(name: str, column: pd.Series[Any]) -> NDArray[np.int64]:
    groups, labels = _labels(column)
    if len(labels) < len(FOLDS):
        raise TableError(
            f"{name}: group column {column.name!r} has {len(labels)} groups; {len(FOLDS)} folds need as many"
        )
    folds = np.empty(len(groups), np.int64)
    for k, (_, test) in enumerate(GroupKFold(len(FOLDS)).split(groups, groups=groups)):
        folds[test] = k
    return folds
