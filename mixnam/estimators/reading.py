"""What estimators are given, read by the rules of tables: rows as data frames or arrays, targets, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from mixnam.data.columns import encode, read_column
from mixnam.data.own import unnamed
from mixnam.data.splits import Split
from mixnam.data.table import Array, Table, TableError, Task, Unseen


@dataclass(frozen=True)
class Rows:
    """Rows to learn from: x (rows, n), categories as codes, NaN where missing; y (rows,), of classes their numbers.

    `ordered` are the columns whose categories have an order of their own. `weights`, `groups` and `validation` (which
    rows pick the best epoch) are (rows,) or None.
    """

    x: Array
    y: Array
    features: tuple[str, ...]
    categories: Mapping[int, tuple[str, ...]]
    ordered: tuple[int, ...] = ()
    weights: Array | None = None
    groups: NDArray[Any] | None = None
    validation: NDArray[np.bool_] | None = None

    def table(self, y: Array, task: Task, target: str, unseen: Unseen) -> Table:
        """Return the rows as a table with the target y, (rows,): numbers, or 0/1."""
        return Table(
            "data", "data", task, "rmse" if task == "regression" else "auc", self.x, y, self.features, target,
            categories=self.categories, unseen=unseen, own=True, ordered=self.ordered,
        )  # fmt: skip

    def untargeted(self) -> Table:
        """Return the rows that are trained on or drawn from as a table, whose target means nothing."""
        kept = slice(None) if self.validation is None else ~self.validation
        rows = replace(self, x=self.x[kept])
        return rows.table(np.zeros(len(rows.x)), "regression", "y", "average")

    def beside(self, more: pd.DataFrame, y: NDArray[Any], class_weight: Any, unseen: Unseen) -> Rows:
        """Return these rows and `more`, which pick the best epoch: they are read as rows to predict are.

        They weigh as much as their class.
        """
        check_consistent_length(more, y)
        about = replace(self.untargeted().about, unseen=unseen)
        x, gaps = encode(more, about, unseen), np.isnan(self.x).any(axis=0)
        x = np.where(np.isnan(x) & ~gaps, np.nanmedian(self.x, axis=0), x)  # a missing value that nothing is learnt of
        weights = self.weights
        if weights is not None:
            of_class = dict(zip(self.y.tolist(), compute_sample_weight(class_weight, self.y).tolist(), strict=True))
            weights = np.append(weights, [1.0 if class_weight is None else of_class[label] for label in y.tolist()])
        both = np.concatenate([self.y, y])
        return replace(
            self,
            x=np.vstack([self.x, x]),
            y=both,
            weights=weights,
            groups=None,
            validation=np.arange(len(both)) >= len(self.y),
        )

    def parts(self, fraction: float, seed: int, classes: bool) -> Split:
        """Return training and validation rows: as they were given, or drawn, by class where y holds `classes`.

        Each class keeps a row to train on. Groups stay together.
        """
        rows = np.arange(len(self.y))
        if self.validation is not None:
            chosen = self.validation
        elif self.groups is not None:
            chosen, count = np.zeros(len(rows), bool), len(np.unique(self.groups))
            if count < 2:
                raise ValueError("groups has one group; it needs two or more, one of them to validate on")
            few = min(max(1, round(fraction * count)), count - 1)
            for part, _ in GroupShuffleSplit(20, train_size=few, random_state=seed).split(rows, None, self.groups):
                chosen[:] = False
                chosen[part] = True
                if not classes or len(np.unique(self.y[~chosen])) == len(np.unique(self.y)):
                    break  # the first draw that leaves each class a row to train on
        else:
            chosen = _drawn(self.y if classes else np.zeros(len(rows)), fraction, np.random.default_rng(seed))
        if classes and len(lost := np.setdiff1d(self.y, self.y[~chosen])):
            label = lost.tolist()[0]
            raise ValueError(
                f"class {label!r} has no row to train on besides those of validation; give more rows of it"
            )
        return Split(rows[~chosen], rows[chosen], rows[:0])


def _drawn(kinds: Array, fraction: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask of about `fraction` of the rows of each kind: one row at least, and not all of a kind."""
    chosen = np.zeros(len(kinds), bool)
    places = [random.permutation(np.flatnonzero(kinds == kind)) for kind in np.unique(kinds)]
    for rows in places:
        chosen[rows[: min(round(fraction * len(rows)), len(rows) - 1)]] = True
    if not chosen.any():
        chosen[max(places, key=len)[0]] = True
    return chosen


def read_frame(estimator: BaseEstimator, X: Any, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return rows as a data frame whose columns are called by `names`, those of the rows that the estimator learnt.

    Without `names` it learns their number and names, x0, x1, ... of an array. Raises what scikit-learn's estimators
    raise of other numbers and names, and of what is no table.
    """
    reset = names is None
    if not isinstance(X, pd.DataFrame) and hasattr(X, "to_pandas"):  # polars, pyarrow
        X = X.to_pandas()
    least = 2 if reset else 1
    if isinstance(X, pd.DataFrame):
        own = [str(name) for name in X.columns]
        for name in own if reset else ():
            if own.count(name) > 1:
                raise TableError(f"two columns are called {name!r}; rename one")
            if unnamed(name):
                raise TableError(f"a column has no name ({name!r}): is it a saved index? Name it, or drop it")
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        if X.shape[0] < least or not X.shape[1]:
            raise ValueError(f"X is a data frame of shape {X.shape}, it needs {least} rows and a column at least")
        return X.set_axis(own if names is None else list(names), axis=1)
    array = validate_data(
        estimator, X, reset=reset, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=least
    )
    if array.dtype == object:
        for value in array.ravel():
            if not isinstance(value, (str, bytes, int, float, np.generic)) and not pd.isna(value):
                raise TypeError(f"each value of X as an argument must be a string or a number, got {value!r}")
    return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])] if names is None else list(names))


def chosen_columns(frame: pd.DataFrame, categorical: Any) -> list[str]:
    """Return the columns that `categorical_features` names: by names, numbers or a mask; none by "from_dtype"."""
    names = list(frame.columns)
    if categorical is None or (isinstance(categorical, str) and categorical == "from_dtype"):
        return []
    given = list(categorical) if np.iterable(categorical) and not isinstance(categorical, str) else []
    if len(given) == len(names) and all(isinstance(value, (bool, np.bool_)) for value in given):
        return [name for name, value in zip(names, given, strict=True) if value]
    found = []
    for value in given:
        number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if str(value) in names:
            found.append(str(value))
        elif number and -len(names) <= value < len(names):
            found.append(names[value])
        else:
            shown = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
            raise ValueError(f"categorical_features: no column is called or numbered {value!r}; there are {shown}")
    if isinstance(categorical, str) or not np.iterable(categorical):
        raise ValueError(f'categorical_features must be "from_dtype" or a list of columns, got {categorical!r}')
    return found


def read_numbers(y: Any, estimator: BaseEstimator) -> Array:
    """Return a regression's target, (rows,), as finite numbers."""
    column = _column(y, estimator)
    if lacking := int(pd.isna(column).sum()):
        raise ValueError(f"Input y contains NaN: {lacking} values are missing; drop those rows")
    try:
        values = column.to_numpy(np.float64, na_value=np.nan) if isinstance(column, pd.Series) else column.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"y must hold numbers, found {column[:3]!r}: {error}") from error
    assert_all_finite(values, input_name="y")
    return values


def read_classes(y: Any, estimator: BaseEstimator) -> NDArray[Any]:
    """Return a classification's labels, (rows,), none of them missing."""
    column = np.asarray(_column(y, estimator))
    if column.dtype == object and pd.isna(column).any():
        raise ValueError(f"Input y contains NaN: {pd.isna(column).sum()} labels are missing; drop those rows")
    if column.dtype != object:
        assert_all_finite(column, input_name="y")
    check_classification_targets(column)
    if column.dtype == object:  # strings of pandas, or truths beside missing ones
        column = np.array(column.tolist())
    return column


def _column(y: Any, estimator: BaseEstimator) -> Any:
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    if isinstance(y, pd.Series) and isinstance(y.dtype, pd.CategoricalDtype):
        return np.asarray(y)
    if isinstance(y, pd.Series) and pd.api.types.is_extension_array_dtype(y.dtype):
        return y if pd.api.types.is_numeric_dtype(y.dtype) and not y.isna().any() else y.to_numpy(object)
    return column_or_1d(y, warn=True)


def read_rows(
    frame: pd.DataFrame, y: NDArray[Any], sample_weight: ArrayLike | None, class_weight: Any, groups: ArrayLike | None,
    categorical: Sequence[str],
) -> Rows:  # fmt: skip
    """Return what to learn from, without rows of weight 0; weights of rows and of classes are multiplied."""
    check_consistent_length(frame, y)
    weights = None
    if sample_weight is not None:
        weights = _check_sample_weight(np.asarray(sample_weight), y, dtype=np.float64, ensure_non_negative=True)
    if class_weight is not None:
        of_class = compute_sample_weight(class_weight, y)
        if not (np.isfinite(of_class) & (of_class >= 0)).all():
            raise ValueError(f"class_weight must be finite and >= 0 for each class, got {class_weight!r}")
        weights = of_class if weights is None else weights * of_class
    belong = None
    if groups is not None:
        belong, _ = pd.factorize(column_or_1d(groups))
        check_consistent_length(frame, belong)
        if (belong < 0).any():
            raise ValueError(f"groups lacks {(belong < 0).sum()} values; name the group of each row")
    kept = np.ones(len(y), bool) if weights is None else weights > 0
    if not kept.any():
        raise ValueError("no row has a weight above 0; give other weights")
    columns = [read_column(frame[name], name, name in categorical, hint="") for name in frame.columns]
    return Rows(
        np.column_stack([column.values for column in columns])[kept],
        y[kept],
        tuple(frame.columns),
        {i: column.labels for i, column in enumerate(columns) if column.labels is not None},
        tuple(i for i, column in enumerate(columns) if column.ordered),
        None if weights is None else weights[kept] / weights[kept].mean(),
        None if belong is None else belong[kept],
    )
