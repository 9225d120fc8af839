"""What regressions and classifications do of their own: targets, and predictions from scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin

from mixnam.data.table import About, Array, Table
from mixnam.estimators.base import AdditiveEstimator
from mixnam.estimators.reading import Rows, read_classes, read_numbers


class AdditiveRegressor(RegressorMixin, AdditiveEstimator):
    """A regression by the mean of members."""

    _task = "regression"

    def _targets(self, y: Any) -> NDArray[Any]:
        return read_numbers(y, self)

    def _tables(self, rows: Rows, name: str) -> list[Table]:
        return [rows.table(rows.y, "regression", name, self.unseen)]

    def _predicted(self, scores: Array) -> Array:
        return scores[0]

    def predict_members(self, X: Any) -> Array:
        """Return each member's prediction: (members, rows)."""
        return self._scores(X)[0]


class AdditiveClassifier(ClassifierMixin, AdditiveEstimator):
    """A classification by the mean log-odds of members; of more than two classes each against the rest."""

    _task = "classification"

    def _targets(self, y: Any) -> NDArray[Any]:
        return read_classes(y, self)

    def _check_classes(self, some: NDArray[Any], known: NDArray[Any], told: str) -> None:
        if len(odd := np.setdiff1d(some, known)):
            raise ValueError(f"class {odd.tolist()[0]!r} {told}; add rows of it, or leave it out")

    def _tables(self, rows: Rows, name: str) -> list[Table]:
        self.classes_, codes = np.unique(rows.y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class, {self.classes_.tolist()[0]!r}; a classification needs two or more")
        ones = [1] if len(self.classes_) == 2 else range(len(self.classes_))
        return [
            rows.table((codes == k).astype(float), "classification", f"{name} = {self.classes_[k]}", self.unseen)
            for k in ones
        ]

    @property
    def _classes(self) -> tuple[str, ...]:
        return tuple(str(label) for label in self.classes_) if len(self.members_) > 1 else ()

    @property
    def _about(self) -> About:
        first = f" = {self.classes_[0]}"  # as `_tables` calls it
        return replace(self.about_, target=self.about_.target.removesuffix(first)) if self._classes else self.about_

    def _known(self, y: Any) -> Array:
        labels = read_classes(y, self)
        self._check_classes(labels, self.classes_, "is none of those learnt")
        return pd.Index(self.classes_).get_indexer(pd.Index(labels)).astype(float)

    def _probable(self, scores: Array) -> Array:
        each = 0.5 * (1 + np.tanh(scores / 2))
        return each if len(each) == 1 else each / np.maximum(each.sum(axis=0), np.finfo(float).tiny)

    def _predicted(self, scores: Array) -> NDArray[Any]:
        best = (scores[0] > 0).astype(int) if len(scores) == 1 else scores.argmax(axis=0)
        return self.classes_[best]

    def decision_function(self, X: Any) -> Array:
        """Return mean log-odds, (rows,) of the second of two classes, or of each against the rest, (rows, classes)."""
        scores = self._scores(X).mean(axis=1)
        return scores[0] if len(scores) == 1 else scores.T

    def predict_proba(self, X: Any) -> Array:
        """Return probabilities, (rows, classes); of more than two classes those against the rest, made to sum to 1."""
        return self._both(self._probable(self._scores(X).mean(axis=1)))

    def predict_members(self, X: Any) -> Array:
        """Return each member's probabilities: (members, rows, classes)."""
        scores = self._scores(X)
        return np.stack([self._both(self._probable(scores[:, member])) for member in range(scores.shape[1])])

    @staticmethod
    def _both(probable: Array) -> Array:
        return np.stack([1 - probable[0], probable[0]], axis=1) if len(probable) == 1 else probable.T

    def _told(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist(), "kind": self.classes_.dtype.str}

    def _retold(self, content: dict[str, Any]) -> None:
        self.classes_ = np.array(content["classes"], dtype=content["kind"])
