"""The transforms of Appendix B, and that of users' own tables, fitted on training rows only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.model_selection import KFold
from sklearn.preprocessing import QuantileTransformer, TargetEncoder

from mixnam import randomness
from mixnam.data.table import Array, Table

Rows = NDArray[np.int64]
_NOISE = 1e-3
_QUANTILES = 2000


class _Ranks:
    """Each column's values at the normal quantile of the middle of their ranks; a missing value stays one.

    No scale and no noise come in: a value has its place whatever the column's unit, and so have ties. Attributes:
    `knots` and `scores`, of each column, the values, rising, and their places; between them lines lead.
    """

    def __init__(self, knots: Sequence[Array], scores: Sequence[Array]) -> None:
        self.knots, self.scores = knots, scores

    @classmethod
    def fitted(cls, x: Array) -> Self:
        """Return the transform of training rows x, (rows, n)."""
        knots, scores = [], []
        for column in x.T:
            values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
            if not len(values):
                values, counts = np.zeros(1), np.ones(1, np.int64)
            middles = (np.cumsum(counts) - counts / 2) / counts.sum()
            if len(values) > _QUANTILES:
                kept = np.unique(np.searchsorted(middles, np.linspace(middles[0], middles[-1], _QUANTILES)))
                values, middles = values[kept], middles[kept]
            knots.append(values)
            scores.append(ndtri(middles))
        return cls(knots, scores)

    def transform(self, x: Array) -> Array:
        return np.stack([np.interp(*v) for v in zip(x.T, self.knots, self.scores, strict=True)], axis=1)

    def inverse_transform(self, inputs: Array) -> Array:
        return np.stack([np.interp(*v) for v in zip(inputs.T, self.scores, self.knots, strict=True)], axis=1)

    def state(self) -> dict[str, Array]:
        parts = {"knots": self.knots, "scores": self.scores}
        return {f"{name}.{i}": array for name, arrays in parts.items() for i, array in enumerate(arrays)}


def _shrunk(table: Table, column: int, rows: Rows) -> TargetEncoder:
    """Return scikit-learn's encoder, which shrinks the mean targets of rare categories, of a column's `rows`."""
    kind = "continuous" if table.task == "regression" else "binary"
    encoder = TargetEncoder(categories=[np.arange(len(table.categories[column]), dtype=float)], target_type=kind)
    y = table.y[rows]
    if not np.ptp(y):  # of one class the encoder makes no binary target
        encoder.set_params(target_type="continuous")
    return encoder.fit(table.x[rows, column, None], y)


class Preprocessing:
    """Target encoding of categorical columns, then a quantile transform to normal, then target scaling.

    The quantiles are those of all training rows, or of `quantile_rows` of them drawn with the seed. A user's own table
    is transformed by its ranks, other tables as in Appendix B. In its `many_valued` columns each training row is given
    a mean target of other rows (`training_inputs`), shrunk as scikit-learn's TargetEncoder does, so that it does not
    hold the row's own. Attributes: `target_mean` and `target_scale` (regression; else 0 and 1) undo the target's
    scaling. A category that no training row has, code -1, counts as the mean target, a missing value in a column
    without gaps in training as the median; `gaps`, (n,), says which have some.
    """

    def __init__(self, dataset: Table, train: Rows, seed: int, quantile_rows: int = 0) -> None:
        y = dataset.y[train]
        self.prior = float(y.mean())
        self.encodings = {c: self._encoding(dataset.x[train, c], y, len(n)) for c, n in dataset.categories.items()}
        for c in dataset.many_valued:
            self.encodings[c] = np.append(_shrunk(dataset, c, train).encodings_[0], self.prior)
        encoded = self._encode(dataset.x[train])
        drawn = min(quantile_rows or len(train), len(train))
        self.gaps = np.atleast_1d(np.isnan(encoded).any(axis=0))
        self.transformer: QuantileTransformer | _Ranks
        if dataset.own:
            chosen = randomness.permutation([randomness.key(seed, "preprocessing/quantiles")], len(train))[0, :drawn]
            self.transformer = _Ranks.fitted(encoded[chosen.numpy()])
        else:
            self.transformer = self._published(encoded, seed, drawn)
        regression = dataset.task == "regression"
        self.target_mean = self.prior if regression else 0.0
        self.target_scale = (float(y.std()) or 1.0) if regression else 1.0

    @staticmethod
    def _published(encoded: Array, seed: int, drawn: int) -> QuantileTransformer:
        # noise separates ties, so that a value shared by many rows keeps one place on the normal scale
        noise = randomness.normal([randomness.key(seed, "preprocessing/noise")], encoded.size).numpy()
        scale = _NOISE / np.maximum(encoded.std(axis=0), _NOISE)
        return QuantileTransformer(
            n_quantiles=min(_QUANTILES, drawn), output_distribution="normal", subsample=drawn, random_state=seed % 2**32
        ).fit(encoded + scale * noise.reshape(encoded.shape))

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
        """Return network inputs for raw features: (rows, n) → (rows, n) float32, NaN for missing values."""
        return self._transformed(self._encode(x))

    def training_inputs(self, dataset: Table, train: Rows, seed: int) -> NDArray[np.float32]:
        """Return the network inputs to train on, (rows of `train`, n): those of many categories are cross-fitted."""
        encoded = self._encode(dataset.x[train])
        for c in dataset.many_valued:
            for others, rows in KFold(min(5, len(train)), shuffle=True, random_state=seed % 2**32).split(train):
                encoded[rows, c] = _shrunk(dataset, c, train[others]).transform(dataset.x[train[rows], c, None])[:, 0]
        return self._transformed(encoded)

    def _transformed(self, encoded: Array) -> NDArray[np.float32]:
        transformed: Any = self.transformer.transform(encoded)
        inputs = np.asarray(transformed, dtype=np.float32)
        inputs[:, ~self.gaps] = np.nan_to_num(inputs[:, ~self.gaps], nan=0.0)
        return inputs

    def numbers(self, inputs: Array) -> Array:
        """Return the raw numbers that network inputs (rows, n) belong to; a category's is its mean target."""
        return np.asarray(self.transformer.inverse_transform(inputs), dtype=np.float64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was fitted, by name, for `restored`."""
        arrays = {f"encoding.{column}": values for column, values in self.encodings.items()}
        numbers = np.array([self.prior, self.target_mean, self.target_scale])
        if isinstance(self.transformer, _Ranks):
            return arrays | self.transformer.state() | {"numbers": numbers, "gaps": self.gaps}
        return arrays | {"numbers": numbers, "quantiles": self.transformer.quantiles_}

    @classmethod
    def restored(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return transforms as they were fitted, from what `state` gave."""
        made = cls.__new__(cls)
        made.prior, made.target_mean, made.target_scale = map(float, state["numbers"])
        made.encodings = {int(k.partition(".")[2]): v for k, v in state.items() if k.startswith("encoding.")}
        if "quantiles" not in state:
            made.gaps = state["gaps"]
            knots, scores = ([state[f"{k}.{i}"] for i in range(len(made.gaps))] for k in ("knots", "scores"))
            made.transformer = _Ranks(knots, scores)
            return made
        quantiles = state["quantiles"]
        made.gaps = np.zeros(quantiles.shape[1], bool)
        made.transformer = published = QuantileTransformer(n_quantiles=len(quantiles), output_distribution="normal")
        published.n_quantiles_, published.n_features_in_ = quantiles.shape
        published.quantiles_ = quantiles
        published.references_ = np.linspace(0, 1, len(quantiles), endpoint=True)
        return made

    def scale_target(self, y: Array) -> Array:
        """Standardise a regression target; class labels stay as they are."""
        return (y - self.target_mean) / self.target_scale
