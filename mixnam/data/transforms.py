"""The transforms of Appendix B, fitted on training rows only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

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
    `target_mean` and `target_scale` (regression; else 0 and 1) undo the target's scaling. A category that no
    training row has, code -1, counts as the mean target.
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
        means = np.where(seen > 1, sums / np.maximum(seen, 1), self.prior)
        return np.append(means, self.prior)  # the last stands for code -1

    def _encode(self, x: Array) -> Array:
        encoded = np.array(x, dtype=np.float64)
        for column, values in self.encodings.items():
            encoded[:, column] = values[x[:, column].astype(int)]
        return encoded

    def inputs(self, x: Array) -> NDArray[np.float32]:
        """Return network inputs for raw features: (rows, n) → (rows, n) float32."""
        transformed: Any = self.transformer.transform(self._encode(x))
        return np.asarray(transformed, dtype=np.float32)

    def numbers(self, inputs: Array) -> Array:
        """Return the raw numbers that network inputs (rows, n) belong to; a category's is its mean target."""
        return np.asarray(self.transformer.inverse_transform(inputs), dtype=np.float64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was fitted, by name, for `restored`."""
        arrays = {f"encoding.{column}": values for column, values in self.encodings.items()}
        numbers = np.array([self.prior, self.target_mean, self.target_scale])
        return arrays | {"numbers": numbers, "quantiles": self.transformer.quantiles_}

    @classmethod
    def restored(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return transforms as they were fitted, from what `state` gave."""
        made = cls.__new__(cls)
        made.prior, made.target_mean, made.target_scale = map(float, state["numbers"])
        made.encodings = {int(k.partition(".")[2]): v for k, v in state.items() if k.startswith("encoding.")}
        quantiles = state["quantiles"]
        made.transformer = QuantileTransformer(n_quantiles=len(quantiles), output_distribution="normal")
        made.transformer.n_quantiles_, made.transformer.n_features_in_ = quantiles.shape
        made.transformer.quantiles_ = quantiles
        made.transformer.references_ = np.linspace(0, 1, len(quantiles), endpoint=True)
        return made

    def scale_target(self, y: Array) -> Array:
        """Standardise a regression target; class labels stay as they are."""
        return (y - self.target_mean) / self.target_scale
