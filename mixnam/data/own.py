"""Own tables: from a file or a data frame to a `Table`, and under a name that everything else knows.

`register` gives a name within this process. A description, `<name>.toml` in the data directory, gives one
to every process, and so to the notebooks; its keys are the arguments of `read_table`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

from mixnam.data.columns import Column, as_text, distinct, number_text, read_column, read_kinds, refuse_gaps
from mixnam.data.files import read_file
from mixnam.data.splits import FOLDS, check_split, splits_of
from mixnam.data.table import Array, DataError, Table, TableError, Task, Unseen

_LISTS = ("categorical", "drop", "missing")
#: Roles of columns that are no features, as a table's summary has them.
_ASIDE = {"fold": "fold", "group": "group", "drop": "left out"}
_KEYS = ("table", "target", "task", "fold", "group", "title", "unit", "unseen", *_LISTS)


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
    missing: Sequence[str] = (),
    unseen: Unseen = "average",
    title: str = "",
    unit: str = "",
) -> Table:
    """Return a table as a data set: every column is a feature, but `target`, `fold`, `group` and `drop`.

    Columns of words, categories or booleans are categorical, in the order of their own dtype, else numbers by value
    and words as text; of numbers only those that `categorical` names, and those with leading zeros, which are codes.
    `print` shows what was decided. A table is the same, or refused alike, whether it comes as a file or as a frame.

    Empty cells are missing values; among numbers NA, NaN, null and the like are, too; `missing` names more, such as
    ["?", "-999"]. A missing value is a point of its own that models learn: of a categorical column a category. A
    category that training rows lack counts as the average, or with `unseen` "refuse" is refused in new rows.

    A `target` of two values is classified, the later one in the column's order being 1 (`Table.target` says which);
    any other is a regression, unless `task` says otherwise.

    Rows are split by `fold`, whose values in order are the test folds; or into five folds that keep the rows of one
    `group` together, validation rows too (as many as there are groups, where they are fewer); or else a regression
    has one holdout and a classification five stratified folds.

    `table` is a data frame, or the path of a .csv, .tsv or .parquet file; columns may be named by their text; `name`
    has letters, digits and underscores; `title` is how pages call the data; `unit` is the target's.

    Raises TableError, which names the column, row, value and remedy, for whatever would have to be guessed or repaired,
    and for tables too small to split.
    """
    check_name(name)
    for what, given in (("categorical", categorical), ("drop", drop), ("missing", missing)):
        if isinstance(given, str):
            raise TableError(f"{name}: {what} must be a list of texts, got {given!r}; write [{given!r}]")
    for what, value, allowed in (("task", task, (None, *get_args(Task))), ("unseen", unseen, get_args(Unseen))):
        if value not in allowed:
            raise TableError(f"{name}: {what} must be {' or '.join(filter(None, allowed))}, got {value!r}")
    if not isinstance(table, (pd.DataFrame, str, Path)):
        raise TableError(f"{name}: table must be a data frame or the path of a file, got {type(table).__name__}")
    missing = [as_text(text) or "" for text in missing]
    frame = table if isinstance(table, pd.DataFrame) else read_file(Path(table))
    single = {role: [str(c)] for role, c in (("target", target), ("fold", fold), ("group", group)) if c is not None}
    purposes = single | {"categorical": list(map(str, categorical)), "drop": list(map(str, drop))}
    frame = _named(name, frame, [c for given in purposes.values() for c in given], purposes["drop"])
    roles: dict[str, str] = {}
    for role, given in purposes.items():
        for column in given:
            if column in roles:
                raise TableError(f"{name}: column {column!r} is named for more than one purpose; name it once")
            roles[column] = role
    if fold is not None and group is not None:
        raise TableError(f"{name}: both fold {fold!r} and group {group!r} are given; folds already say how to split")
    features = [c for c in frame.columns if roles.get(c, "categorical") == "categorical"]
    if not features:
        raise TableError(f"{name}: no feature is left besides {', '.join(map(repr, roles))}")
    for c in features:
        if unnamed(c):
            place = list(frame.columns).index(c) + 1
            raise TableError(
                f"{name}: column {place} has no name ({c!r}): is it an index that was saved with the table? "
                f"Name it, or drop it by drop=[{c!r}]"
            )
    if frame.empty:
        raise TableError(f"{name}: the table has no rows")
    try:
        read = {c: read_column(frame[c], c, roles.get(c) == "categorical", missing) for c in features}
        y, task, label = _target(frame[str(target)], str(target), task, missing)
        of_rows = {role: read_kinds(frame[c], c, missing) for c, role in roles.items() if role in ("fold", "group")}
    except TableError as error:
        raise TableError(f"{name}: {error}") from error
    folds = of_rows.get("fold")
    groups = of_rows.get("group")
    if groups is not None:
        folds = _group_folds(name, str(group), groups, y, task)
    elif folds is None and task == "classification":
        folds = _stratified(name, label, y)
    notes = {c: note for c, column in read.items() if (note := column.note or _remark(column))}
    source = "a data frame" if isinstance(table, pd.DataFrame) else Path(table).name
    categories = {i: labels for i, c in enumerate(features) if (labels := read[c].labels) is not None}
    try:
        made = Table(
            name, title or name, task, "auc" if task == "classification" else "rmse",
            np.column_stack([read[c].values for c in features]), y, tuple(features), label, unit, categories, folds,
            source=source, groups=groups, unseen=unseen, missing=tuple(missing), own=True,
            aside={c: _ASIDE[role] for c, role in roles.items() if role in _ASIDE}, notes=notes,
            ordered=tuple(i for i, c in enumerate(features) if read[c].ordered),
        )  # fmt: skip
        for split in splits_of(made):
            check_split(made, split, 0)
    except DataError as error:
        raise TableError(str(error)) from error
    return made


def _named(name: str, frame: pd.DataFrame, named: Sequence[str], dropped: Sequence[str]) -> pd.DataFrame:
    """Return the frame with its columns' names as texts; TableError for repeated ones, and for ones it lacks."""
    texts = [str(column) for column in frame.columns]
    for column in texts:
        if texts.count(column) > 1 and column not in dropped:
            raise TableError(f"{name}: two columns are called {column!r}; rename one")
    for column in named:
        if column not in texts:
            alike = [text for text in texts if text.strip().casefold() == column.strip().casefold()]
            hint = f"; did you mean {alike[0]!r}?" if alike else ""
            if frame.index.name == column:
                hint = "; it is the frame's index: call reset_index() first"
            elif len(texts) == 1 and (found := [s for s in (";", "\t", "|", ",") if s in texts[0]]):
                remedy = f"save it with commas, or pass pandas.read_csv(..., sep={found[0]!r})"
                hint = f"; is {found[0]!r} the separator? Then {remedy}"
            shown = ", ".join(map(repr, texts[:20])) + (", ..." if len(texts) > 20 else "")
            raise TableError(f"{name}: no column is called {column!r}; there are {shown}{hint}")
    return frame.set_axis(texts, axis=1)


def described(path: Path) -> Table:
    """Return the table that a TOML file describes; the table's path is relative to that file.

    Raises TableError, which names the file, for unknown or missing keys and for what `read_table` refuses.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
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
        status = table.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        arguments = tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in content.items())
        return _described(path.stem, table.absolute(), stamp, arguments)
    except (OSError, ValueError) as error:  # TableError and what tomllib raises are ValueErrors
        raise TableError(f"{path}: {error}") from error


@lru_cache(maxsize=8)
def _described(name: str, table: Path, stamp: tuple[int, int], arguments: tuple[tuple[str, Any], ...]) -> Table:
    """Read a table once for each time stamp of its file."""
    return read_table(table, name=name, **dict(arguments))


def unnamed(column: str) -> bool:
    """Return whether a column's name is none: blank, or what pandas calls a saved index."""
    return not column.strip() or re.fullmatch(r"Unnamed: \d+(_level_\d+)?", column) is not None


def check_name(name: str) -> None:
    """Raise TableError for what cannot be the name of a data set."""
    if refused := name_refused(name):
        raise TableError(f"{refused}, got {name[:120]!r}")


def name_refused(name: str) -> str:
    """Return why a text cannot be the name of a data set, or nothing."""
    if re.fullmatch(r"[^\W_]\w{0,99}", name) and not name.startswith("sim_") and name != "simulations":
        return ""
    hint = f": {name.replace('-', '_')} would do" if re.fullmatch(r"[^\W_][\w-]{0,99}", name) and "-" in name else ""
    return (
        "name must be letters, digits and underscores (no hyphen), at most 100, a letter or digit first, and neither "
        f"sim_... nor simulations{hint}"
    )


def _remark(column: Column) -> str:
    """Return what looks odd of a column that can be used."""
    values = column.values[~np.isnan(column.values)]
    if len(np.unique(values)) == 1:
        return "one value only: it tells nothing"
    if column.labels is not None and 20 < len(values) == len(np.unique(values)):
        return "each value once: if it names the rows, drop it"
    if column.labels is None and len(values) > 20 and (np.diff(values) == 1).all():
        return "it counts the rows: if it is no feature, drop it"
    return ""


def _target(column: pd.Series[Any], name: str, task: Task | None, missing: Sequence[str]) -> tuple[Array, Task, str]:
    """Return the target as numbers or 0/1, the task, and the target's name, which says what is 1."""
    ordered = isinstance(column.dtype, pd.CategoricalDtype)
    two = task != "regression" and distinct(column, missing) == 2  # classes, however they are written
    read = read_column(column, name, two, missing, hint="")
    refuse_gaps(f"target {name!r}", read.gaps)
    values = np.unique(read.values)
    if len(values) < 2:
        raise TableError(f"target {name!r} has {len(values)} value, {_said(read, values)}; it needs two or more")
    if task == "classification" or (task is None and len(values) == 2):
        if len(values) > 2:
            raise TableError(
                f"target {name!r} has {len(values)} classes ({_said(read, values)}); merge them into two, for more "
                "are not taken yet"
            )
        one = _written(read, values[1])
        return (read.values == values[1]).astype(np.float64), "classification", f"{name} = {one}"
    if read.labels is not None:
        what = "" if ordered else " that are no numbers"
        raise TableError(
            f"target {name!r} holds {len(values)} classes{what} ({_said(read, values)}); merge them into two, for "
            "more are not taken yet, or give numbers"
        )
    with np.errstate(over="ignore", under="ignore"):
        if not 0 < read.values.std() < 1e30:  # predictions are stored in single precision
            raise TableError(f"target {name!r} holds numbers up to {np.abs(read.values).max():g}; rescale it")
    return read.values, "regression", name


def _written(read: Column, value: float) -> str:
    """Return how a value of a column is written."""
    return number_text(value) if read.labels is None else read.labels[int(value)]


def _said(read: Column, distinct: Array) -> str:
    shown = [_written(read, value) for value in distinct[:5]]
    return ", ".join(shown) + (", ..." if len(distinct) > 5 else "")


def _group_folds(name: str, group: str, groups: NDArray[np.int64], y: Array, task: Task) -> NDArray[np.int64]:
    count = int(groups.max()) + 1
    if count < 3:
        raise TableError(f"{name}: group column {group!r} has {count} groups; training, validation and test need three")
    folds = np.empty(len(groups), np.int64)
    for of in range(min(len(FOLDS), count), 2, -1):  # fewer, where a fold would hold one class alone
        stratified = StratifiedGroupKFold(of, shuffle=True, random_state=0)
        parts = stratified if task == "classification" else GroupKFold(of)
        for k, (_, test) in enumerate(parts.split(groups, y, groups)):
            folds[test] = k
        if task == "regression" or all(len(np.unique(y[folds == k])) == 2 for k in range(of)):
            break
    return folds


def _stratified(name: str, label: str, y: Array) -> NDArray[np.int64]:
    rare = int(min(y.sum(), len(y) - y.sum()))
    if rare < 2 * len(FOLDS):
        which = "of" if y.sum() <= len(y) / 2 else "other than"
        raise TableError(
            f"{name}: only {rare} rows are {which} class 1 ({label}); {2 * len(FOLDS)} are needed, so that each part "
            f"of {len(FOLDS)} folds has both classes: add rows, or say how to split by `fold` or `group`"
        )
    folds = np.empty(len(y), np.int64)
    for k, (_, test) in enumerate(StratifiedKFold(len(FOLDS), shuffle=True, random_state=0).split(y, y)):
        folds[test] = k
    return folds
