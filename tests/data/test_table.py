"""Tables are checked once, and their checksum is of what training sees."""

import dataclasses

import numpy as np
import pytest
from every import every

from mixnam.data.table import DataError, Table

X = np.arange(12.0).reshape(4, 3)


Y = np.array([0.0, 1.0, 1.0, 0.0])


SEXES = tuple("abcdefghijkl")  # X holds codes up to 11


def table(x=X, y=Y, features=("age", "sex", "income"), task="regression", **more):
    return Table("mine", "Mine", task, "rmse", x, y, features, "wealth", **more)


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@every("bad", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_are_refused_by_feature_and_count(bad):
    with pytest.raises(DataError, match="feature 'income' holds 3 missing or infinite values; fill or drop"):
        table(x=changed(X, ([0, 2, 3], 2), bad))
    with pytest.raises(DataError, match="target 'wealth' holds 2 missing or infinite values; drop"):
        table(y=changed(Y, [1, 2], bad))


@every("y", [np.zeros(4), np.ones(4), np.array([1.0, 2, 1, 2]), np.array([0.0, 1, 2, 1])])
def test_classes_other_than_0_and_1_are_refused(y):
    found = ", ".join(f"{v:g}" for v in np.unique(y))
    with pytest.raises(DataError, match=f"target 'wealth' must hold both classes 0 and 1, found {found}"):
        table(y=y, task="classification")
    table(y=y)  # a regression may have any values


@every(
    "wrong",
    [
        {"y": Y[:3]},
        {"y": Y[:, None]},
        {"features": ("age", "sex")},
        {"x": X[:, :2]},
        {"x": X[:, 0]},
        {"x": X[None]},
    ],
)
def test_shapes_that_disagree_are_refused(wrong):
    with pytest.raises(DataError, match=r"mine: .*must agree"):
        table(**wrong)


def test_checksum_depends_on_everything_that_training_sees():
    base = table(task="classification", folds=np.array([0, 1, 2, 3]), categories={1: SEXES})
    others = {
        "x": dataclasses.replace(base, x=changed(X, (0, 0), 1e-9)),
        "order of x": dataclasses.replace(base, x=X[:, ::-1]),
        "y": dataclasses.replace(base, y=1 - Y),
        "folds": dataclasses.replace(base, folds=np.array([1, 0, 2, 3])),
        "no folds": dataclasses.replace(base, folds=None),
        "column of the categories": dataclasses.replace(base, categories={0: SEXES}),
        "no categories": dataclasses.replace(base, categories={}),
        "task": dataclasses.replace(base, task="regression"),
    }
    checksums = {name: other.checksum for name, other in others.items()}
    assert len({base.checksum, *checksums.values()}) == 1 + len(others), checksums


def test_checksum_depends_on_no_name_and_no_memory_layout():
    base = table(categories={1: SEXES})
    same = Table(
        "theirs", "Theirs", "regression", "mse", np.asfortranarray(X), Y, ("a", "b", "c"), "t", "euros",
        categories={1: tuple("mnopqrstuvwx")}, source="elsewhere",
    )  # fmt: skip
    assert same.checksum == base.checksum


@every("code", [-1.0, 2.0, 0.5])
def test_category_codes_outside_their_range_are_refused(code):
    x = np.array([[0.0], [1.0], [code]])
    with pytest.raises(DataError, match="feature 'kind' must hold codes 0 to 1, found"):
        Table("mine", "", "regression", "rmse", x, np.arange(3.0), ("kind",), "y", categories={0: ("a", "b")})


def test_folds_of_another_length_are_refused():
    with pytest.raises(DataError, match=r"folds are .* they must agree in rows"):
        Table("mine", "", "regression", "rmse", np.ones((3, 1)), np.arange(3.0), ("a",), "y", folds=np.zeros(2, int))


PARTS = np.array([1, 1, 2, 3, 0])


def parted(parts, task="regression"):
    y = np.arange(len(parts)) % 2.0
    return Table("mine", "Mine", task, "rmse", np.ones((len(parts), 1)), y, ("a",), "y", parts=parts)


@every("parts", [[1, 1, 2], [1, 3, 3], [2, 3, 3], [3, 3, 3], [0, 0, 4], [0, 3, -1], [0, 0, 0]])
def test_parts_that_leave_one_empty_are_refused(parts):
    with pytest.raises(DataError, match=r"mine: parts must hold 3 \(test\) and 0 \(drawn\), or 1, 2 and 3"):
        parted(np.array(parts))


def test_parts_of_another_length_are_refused():
    with pytest.raises(DataError, match=r"parts are \(5,\), y \(4,\); they must agree in rows"):
        dataclasses.replace(parted(PARTS), x=np.ones((4, 1)), y=np.arange(4.0))


def test_parts_are_part_of_the_checksum_where_there_are_any():
    base = parted(PARTS)
    other = parted(np.array([1, 2, 1, 3, 0]))
    none = dataclasses.replace(base, parts=None)
    folds = dataclasses.replace(base, parts=None, folds=PARTS)
    assert len({d.checksum for d in (base, other, none, folds)}) == 4
