"""Splits that come as files of row numbers: NODE-GAM's folds, and NODE's validation rows of Year."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixnam.datasets import FOLD_FILES, FOLDS, YEAR_FILES, YEAR_FOLDERS, DataError

Rows = NDArray[np.int64]
#: What a `Dataset.parts` says of a row.
DRAWN, TRAIN, VALIDATION, TEST = range(4)


def publishers_folds(name: str, folder: Path, count: int) -> Rows | None:
    """Return each row's test fold by train0.txt to test4.txt in `folder`, or None where there is no such file.

    Raises DataError unless all ten are there, every row is tested in one fold, and trained on in the others.
    """
    missing = [file for file in FOLD_FILES if not (folder / file).exists()]
    if len(missing) == len(FOLD_FILES):
        return None
    remedy = "put all ten files of one download there, or remove them for folds of ours"
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
