"""Splits, and the transforms of Appendix B, fitted on training rows only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import QuantileTransformer

from mixnam import randomness
from mixnam.data.table import Array, Table

Rows = NDArray[np.int64]
_NOISE = 1e-3
_QUANTILES = 2000


class Preprocessing:
    """Target encoding of categorical columns, then a quantile transform to normal, then target scaling.

    The quantiles are those of all training rows, or of `quantile_rows` of them drawn with the seed. Attributes:
    `target_mean` and `target_scale` (regression; else 0 and 1) undo the target's scaling.
    """

    def __init__(self, dataset: Table, train: Rows, seed: int, quantile_rows: int = 0) -> None:
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
