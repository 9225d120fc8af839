"""Splits of rows into training, validation and test: the paper's, or those of publishers' files of row numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, train_test_split

from mixnam.data.table import DataError, Table

Rows = NDArray[np.int64]
#: What a `Table.parts` says of a row.
DRAWN, TRAIN, VALIDATION, TEST = range(4)


def publishers_folds(name: str, folder: Path, count: int) -> Rows | None:
    """Return each row's test fold by train0.txt to test4.txt in `folder`, or None where there is no such file.

    Raises DataError unless all ten are there, every row is tested in one fold, and trained on in the others.
    """
    missing = [file for file in FOLD_FILES if not (folder / file).exists()]
    if len(missing) == len(FOLD_FILES):
        return None
    remedy = "put all ten files of one download there, or remove them for our own folds"
    if missing:
        raise DataError(f"{name}: {folder} has fold files but lacks {', '.join(missing)}; {remedy}")
    folds = np.full(count, -1)
    for k in range(len(FOLDS)):
        test = row_numbers(name, folder / f"test{k}.txt", count)
        twice = test[folds[test] >= 0]
        if len(twice):
            raise DataError(
                f"{name}: {folder / f'test{k}.txt'} names {len(twice)} rows, such as {twice[0]}, that "
                f"test{folds[twice[0]]}.txt names too; {remedy}"
            )
        folds[test] = k
    if (folds < 0).any():
        left = np.flatnonzero(folds < 0)
        raise DataError(
            f"{name}: test0.txt to test4.txt in {folder} leave out {len(left)} of {count} rows, such as {left[0]}; "
            f"{remedy}"
        )
    for k in range(len(FOLDS)):
        path = folder / f"train{k}.txt"
        found = np.zeros(count, bool)
        found[row_numbers(name, path, count)] = True
        wrong = int((found != (folds != k)).sum())
        if wrong:
            raise DataError(f"{name}: {path} is not the rest beside test{k}.txt, {wrong} rows differ; {remedy}")
    return folds


def year_parts(where: Path, train: int, count: int) -> tuple[Rows, str]:
    """Return Year's parts, and in words where its validation rows come from: NODE's files, or the run's seed.

    The first `train` rows are for training and validation. Raises DataError unless the files share them out.
    """
    parts = np.full(count, TEST)
    parts[:train] = DRAWN
    folders = [where / name for name in YEAR_FOLDERS]
    folder = next((f for f in folders if any((f / file).exists() for file in YEAR_FILES)), None)
    if folder is None:
        return parts, "validation rows drawn"
    remedy = "put both files of NODE there, or remove them to have validation rows drawn"
    paths = [folder / file for file in YEAR_FILES]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise DataError(f"year: {folder} lacks {missing[0]} beside {(set(YEAR_FILES) - set(missing)).pop()}; {remedy}")
    for path in paths:
        rows = row_numbers("year", path, train)
        twice = rows[parts[rows] != DRAWN]
        if len(twice):
            raise DataError(f"year: both files in {folder} name {len(twice)} rows, such as {twice[0]}; {remedy}")
        parts[rows] = TRAIN if path.name == YEAR_FILES[0] else VALIDATION
    left = np.flatnonzero(parts == DRAWN)
    if len(left):
        raise DataError(
            f"year: {' and '.join(YEAR_FILES)} in {folder} leave out {len(left)} of {train} rows, such as {left[0]}; "
            f"{remedy}"
        )
    return parts, "validation rows of NODE"


def row_numbers(name: str, path: Path, count: int) -> Rows:
    """Read row numbers, one a line and from 0; DataError for words, repetitions, or rows that do not exist."""
    try:
        rows = np.array(path.read_text(encoding="utf-8").split(), dtype=np.int64)
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(f"{name}: {path} cannot be read as row numbers: {error}; replace or remove it") from error
    if len(rows) == 0:
        raise DataError(f"{name}: {path} holds no row numbers; replace or remove it")
    low, high = int(rows.min()), int(rows.max())
    if low < 0 or high >= count:
        hint = "are they counted from 1? " if low == 1 and high == count else ""
        raise DataError(
            f"{name}: {path} holds row numbers {low} to {high}, expected 0 to {count - 1}; {hint}replace or remove it"
        )
    repeated = len(rows) - len(np.unique(rows))
    if repeated:
        raise DataError(f"{name}: {path} names {repeated} rows more than once; replace or remove it")
    return rows


HOLDOUT = ("holdout",)
#: Other draws of the one split, with the same shares: none of the paper's.
HOLDOUTS = tuple(f"holdout{k}" for k in range(1, 6))


FOLDS = tuple(f"fold{k}" for k in range(5))


#: Five folds of each of two further partitions of the rows.
REPEATS = tuple(f"repeat{r}-{fold}" for r in (1, 2) for fold in FOLDS)


def partition(split: str) -> str:
    """Return which partition of the rows a split belongs to: "" for the data set's own.

    >>> partition("holdout"), partition("holdout2"), partition("fold3"), partition("repeat2-fold3")
    ('', 'holdout2', '', 'repeat2')
    """
    return split if split in HOLDOUTS else split.rpartition("-")[0]


#: NODE-GAM's files of row numbers, and NODE's for Year in either of its folders.
FOLD_FILES = tuple(f"{part}{k}.txt" for k in range(5) for part in ("train", "test"))


YEAR_FOLDERS, YEAR_FILES = ("year", "YEAR"), ("stratified_train_idx.txt", "stratified_valid_idx.txt")


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts; each row of the data set is in exactly one."""

    train: Rows
    validation: Rows
    test: Rows


def splits_of(table: Table) -> tuple[str, ...]:
    """Return the splits that a table has: one holdout for a regression, else folds, or as many as it fixes."""
    if table.folds is not None:
        return tuple(f"fold{k}" for k in range(table.folds.max() + 1))
    return HOLDOUT if table.task == "regression" else FOLDS


def split_rows(dataset: Table, split: str, seed: int) -> Split:
    """Split the rows as the paper does (Appendix B).

    `holdout`, where the data set fixes its `parts`, is those, and of the rows that they leave open 20 % are for
    validation, drawn with the seed. Else it is Housing's one split: 20 % test and 0.1/(0.1+0.7) of the rest
    validation, whatever the seed. `holdout1` ... `holdout5`: five other draws of these shares, whatever the data set
    fixes. `fold0` ... `fold4`: the publisher's test folds, or else a shuffled 5-fold
    split; validation is 20 % of the training rows, stratified by class, drawn with the seed. `repeat1-fold0` ...
    `repeat2-fold4`: the same of two other shuffled partitions.

    Where the data set has `groups`, validation rows of a fold are those of a fifth of the groups, or of one.

    Raises ValueError for any other split.
    """
    rows = np.arange(len(dataset.y))
    labels = dataset.y if dataset.task == "classification" else None
    if split == "holdout" and dataset.parts is not None:
        train, validation, test = (np.flatnonzero(dataset.parts == part) for part in (TRAIN, VALIDATION, TEST))
        drawn = np.flatnonzero(dataset.parts == DRAWN)
        if len(drawn):
            more = train_test_split(
                drawn, test_size=0.2, stratify=None if labels is None else labels[drawn], random_state=seed
            )
            train, validation = np.concatenate([train, more[0]]), np.concatenate([validation, more[1]])
        return Split(train, validation, test)
    if split in HOLDOUT + HOLDOUTS:
        drawn_with = (HOLDOUT + HOLDOUTS).index(split)
        rest, test = train_test_split(rows, test_size=0.2, random_state=drawn_with)
        train, validation = train_test_split(rest, test_size=0.1 / (0.1 + 0.7), random_state=drawn_with)
        return Split(train, validation, test)
    if split not in (*FOLDS, *REPEATS, *(splits_of(dataset) if dataset.folds is not None else ())):
        known = ", ".join((*HOLDOUTS, *FOLDS, *REPEATS))
        raise ValueError(f"split must be holdout or one of {known}, got {split!r}")
    fold, partition = int(split.rpartition("fold")[2]), int(split[6]) if split in REPEATS else 0
    if dataset.folds is not None and not partition:
        rest, test = rows[dataset.folds != fold], rows[dataset.folds == fold]
    else:
        rest, test = list(KFold(5, shuffle=True, random_state=partition).split(rows))[fold]
    stratify = None if labels is None else labels[rest]
    if dataset.groups is not None:
        groups = dataset.groups[rest]
        kind = GroupKFold if labels is None else StratifiedGroupKFold
        parts = kind(min(5, len(np.unique(groups))), shuffle=True, random_state=seed % 2**32)
        for train, validation in parts.split(rest, stratify, groups):
            if stratify is None or all(len(np.unique(stratify[rows])) > 1 for rows in (train, validation)):
                break  # the first part that can be judged
        return Split(rest[train], rest[validation], test)
    train, validation = train_test_split(rest, test_size=0.2, stratify=stratify, random_state=seed)
    return Split(train, validation, test)


def check_split(table: Table, split: str, seed: int) -> Split:
    """Return the parts of a split; DataError where one of them has fewer than two rows or a single class."""
    both = " of both classes" if table.task == "classification" else ""
    told = f"{table.name}: each part of {split} must hold two rows or more{both}"
    remedy = "add rows" if table.folds is None else "merge folds or groups, or add rows"
    try:
        parts = split_rows(table, split, seed)
    except ValueError as error:  # one row, or a class of one row
        raise DataError(f"{told}, and {len(table.y)} rows are too few; {remedy}") from error
    for name, rows in vars(parts).items():
        if len(rows) < 2 or (both and len(np.unique(table.y[rows])) < 2):
            one = ", all of one class" if len(rows) > 1 else ""
            raise DataError(f"{told}; of {len(table.y)} rows the {name} part gets {len(rows)}{one}: {remedy}")
    return parts
