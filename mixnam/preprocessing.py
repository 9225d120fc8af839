"""Splits, and the transforms of Appendix B, fitted on training rows only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import QuantileTransformer

from mixnam import datasets, randomness
from mixnam.datasets import Array, Dataset
from mixnam.folds import DRAWN, TEST, TRAIN, VALIDATION

Rows = NDArray[np.int64]
_NOISE = 1e-3
_QUANTILES = 2000


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts; each row of the data set is in exactly one."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(dataset: Dataset, split: str, seed: int) -> Split:
    """Split the rows as the paper does (Appendix B).

    `holdout`, where the data set fixes its `parts`, is those, and of the rows that they leave open 20 % are for
    validation, drawn with the seed. Else it is Housing's one split: 20 % test and 0.1/(0.1+0.7) of the rest
    validation, whatever the seed. `fold0` ... `fold4`: the publisher's test folds, or else a shuffled 5-fold
    split; validation is 20 % of the training rows, stratified by class, drawn with the seed. `repeat1-fold0` ...
    `repeat2-fold4`: the same of two other shuffled partitions.

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
    if split == "holdout":
        rest, test = train_test_split(rows, test_size=0.2, random_state=0)
        train, validation = train_test_split(rest, test_size=0.1 / (0.1 + 0.7), random_state=0)
        return Split(train, validation, test)
    if split not in (*datasets.FOLDS, *datasets.REPEATS):
        known = ", ".join((*datasets.FOLDS, *datasets.REPEATS))
        raise ValueError(f"split must be holdout or one of {known}, got {split!r}")
    fold, partition = int(split[-1]), int(split[6]) if split in datasets.REPEATS else 0
    if dataset.folds is not None and not partition:
        rest, test = rows[dataset.folds != fold], rows[dataset.folds == fold]
    else:
        rest, test = list(KFold(5, shuffle=True, random_state=partition).split(rows))[fold]
    stratify = None if labels is None else labels[rest]
    train, validation = train_test_split(rest, test_size=0.2, stratify=stratify, random_state=seed)
    return Split(train, validation, test)


class Preprocessing:
    """Target encoding of categorical columns, then a quantile transform to normal, then target scaling.

    The quantiles are those of all training rows, or of `quantile_rows` of them drawn with the seed. Attributes:
    `target_mean` and `target_scale` (regression; else 0 and 1) undo the target's scaling.
    """

    def __init__(self, dataset: Dataset, train: Rows, seed: int, quantile_rows: int = 0) -> None:
        y = dataset.y[train]
        self.prior = float(y.mean())
        self.encodings = {c: self._encoding(dataset.x[train, c], y, len(n)) for c, n in dataset.categories.items()}
        encoded = self._encode(dataset.x[train])
        # noise separates ties, so that a value shared by many rows keeps one place on the normal scale
        noise = randomness.normal([randomness.key(seed, "preprocessing/noise")], encoded.size).numpy()
        scale = _NOISE / np.maximum(encoded.std(axis=0), _NOISE)
        drawn = min(quantile_rows or len(train), len(train))
        self.transformer = QuantileTransformer(
            n_quantiles=min(_QUANTILES, drawn), output_distribution="normal", subsample=drawn, random_state=seed % 2**32
        ).fit(encoded + scale * noise.reshape(encoded.shape))
        regression = dataset.task == "regression"
        self.target_mean = self.prior if regression else 0.0
        self.target_scale = (float(y.std()) or 1.0) if regression else 1.0

    def _encoding(self, codes: Array, y: Array, count: int) -> Array:
        """Return each category's mean target; a category seen once or never gets the overall mean."""
        index = codes.astype(int)
        seen = np.bincount(index, minlength=count)
        sums = np.bincount(index, weights=y, minlength=count)
        return np.where(seen > 1, sums / np.maximum(seen, 1), self.prior)

    def _encode(self, x: Array) -> Array:
        encoded = np.array(x, dtype=np.float64)
        for column, values in self.encodings.items():
            encoded[:, column] = values[x[:, column].astype(int)]
        return encoded

    def inputs(self, x: Array) -> NDArray[np.float32]:
        """Return network inputs for raw features: (rows, n) → (rows, n) float32."""
        transformed: Any = self.transformer.transform(self._encode(x))
        return np.asarray(transformed, dtype=np.float32)

    def scale_target(self, y: Array) -> Array:
        """Standardise a regression target; class labels stay as they are."""
        return (y - self.target_mean) / self.target_scale
