"""Estimators of scikit-learn over `runs.model`: reading, training members, prediction, explanations, saving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mixnam.data.columns import encode
from mixnam.data.table import About, Array, Table, Task, Unseen
from mixnam.estimators import saving
from mixnam.estimators.reading import Rows, chosen_columns, read_frame, read_rows
from mixnam.estimators.shapes import Shapes, average_measures
from mixnam.estimators.training import train_all
from mixnam.models import NetworkSettings
from mixnam.runs.members import Members
from mixnam.runs.model import Member

if TYPE_CHECKING:  # what draws is imported when it is asked for
    from mixnam.estimators.explanations import GlobalExplanation, LocalExplanation

#: Rows up to which the mean of four members is trained; above, one member.
MANY = 20_000
#: Checks of scikit-learn that cannot pass, with the reason: for `parametrize_with_checks` and `check_estimator`.
EXPECTED_FAILED_CHECKS: dict[str, str] = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a weight of 2 and a row given twice are not the same: mini-batches and the validation part are drawn by rows"
    ),
}


def expected_failed_checks(estimator: BaseEstimator) -> dict[str, str]:
    """Return EXPECTED_FAILED_CHECKS, in the form that `parametrize_with_checks` asks for."""
    return EXPECTED_FAILED_CHECKS


class AdditiveEstimator(BaseEstimator):
    """What regressors and classifiers share. A class says which settings its parameters make."""

    _task: ClassVar[Task]
    validation_fraction: float
    n_members: int | str
    categorical_features: Any
    unseen: Unseen
    device: str
    n_jobs: int | None
    random_state: Any
    verbose: bool

    def _take(self, given: dict[str, Any]) -> None:
        """Set parameters as attributes, from the `locals()` of a class's __init__."""
        for name, value in given.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def _settings(self, rows: int) -> NetworkSettings:
        """Return the settings for so many training rows."""
        raise NotImplementedError

    def _targets(self, y: Any) -> NDArray[Any]:
        """Return targets, (rows,), as they are learnt; sets what a class keeps of them."""
        raise NotImplementedError

    def _check_classes(self, some: NDArray[Any], known: NDArray[Any], told: str) -> None:
        """Raise ValueError where labels are not among those known; of numbers there is nothing to check."""

    def _tables(self, rows: Rows, name: str) -> list[Table]:
        """Return a table for each target that members learn: one, or one a class."""
        raise NotImplementedError

    def _predicted(self, scores: Array) -> Any:
        """Return predictions from additive scores, (classes or 1, ..., rows)."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: missing values are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        eval_set: tuple[Any, Any] | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Train the members and return the estimator.

        `X` (rows, n) is a data frame or an array, `y` (rows,). `sample_weight` (rows,) weighs each row's error in
        training and validation; a row of weight 0 is left out. Each member's best epoch is picked by a part of the rows
        drawn with its seed, or by `eval_set`, (X, y), which is then not trained on. `groups` (rows,) says which rows
        belong together: where a part is drawn, a group is validated on as a whole.

        Raises ValueError (TableError of a column) for what cannot be learnt from, FloatingPointError where training
        diverged.
        """
        self._check()
        frame = read_frame(self, X)
        name, weight = str(getattr(y, "name", None) or "y"), getattr(self, "class_weight", None)
        categorical, learnt = chosen_columns(frame, self.categorical_features), self._targets(y)
        rows = read_rows(frame, learnt, sample_weight, weight, groups, categorical)
        self._check_classes(learnt, rows.y, "has no row with a weight above 0")
        if eval_set is not None:
            if not isinstance(eval_set, (tuple, list)) or len(eval_set) != 2:
                raise ValueError(f"eval_set must be a pair (X, y), got {eval_set!r}"[:200])
            more = read_frame(self, eval_set[0], rows.features)
            chosen = self._targets(eval_set[1])
            self._check_classes(chosen, learnt, "is in eval_set and not in y")
            rows = rows.beside(more, chosen, weight, self.unseen)
        tables = self._tables(rows, name)
        random = check_random_state(self.random_state)
        seeds = [int(seed) for seed in random.randint(2**31 - 1, size=self._count(len(rows.y)))]
        parts = [rows.parts(self.validation_fraction, seed, self._task == "classification") for seed in seeds]
        self.settings_ = self._settings(len(parts[0].train))
        to_train = [
            Member(table, self.settings_, part, seed, weights=rows.weights, label=f"{type(self).__name__} seed {seed}")
            for table in tables
            for seed, part in zip(seeds, parts, strict=True)
        ]
        found = train_all(to_train, self.device, self.n_jobs, type(self).__name__ if self.verbose else None)
        models, self.n_iter_ = [model for model, _ in found], [epochs for _, epochs in found]
        of_scores = [models[i : i + len(seeds)] for i in range(0, len(models), len(seeds))]
        self.members_ = tuple(Members(tuple(of)) for of in of_scores)
        self.about_ = tables[0].about
        self._shapes = Shapes.kept(self.members_, rows.untargeted(), seeds[0])
        return self

    def _check(self) -> None:
        """Raise ValueError for parameters that no settings check."""
        fraction = self.validation_fraction
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
            raise ValueError(f"validation_fraction must be above 0 and below 1, got {fraction!r}")
        whole = isinstance(self.n_members, (int, np.integer)) and not isinstance(self.n_members, bool)
        if self.n_members != "auto" and not (whole and int(self.n_members) >= 1):
            raise ValueError(f'n_members must be "auto" or an integer >= 1, got {self.n_members!r}')
        if self.unseen not in ("average", "refuse"):
            raise ValueError(f'unseen must be "average" or "refuse", got {self.unseen!r}')

    def _count(self, rows: int) -> int:
        return (4 if rows <= MANY else 1) if self.n_members == "auto" else int(self.n_members)

    def _encoded(self, X: Any) -> tuple[pd.DataFrame, Array]:
        """Return rows as a data frame, and as numbers and codes (rows, n)."""
        check_is_fitted(self, "members_")
        frame = read_frame(self, X, self.about_.features)
        return frame, encode(frame, self.about_, self.unseen)

    def _scores(self, X: Any) -> Array:
        """Return each member's prediction on the additive scale: (classes or 1, members, rows)."""
        _, x = self._encoded(X)
        return np.stack([[m.outputs(x, "prediction")[0] for m in members.models] for members in self.members_])

    def predict(self, X: Any) -> Any:
        """Return the members' mean prediction, (rows,): a number, or the label of the most probable class."""
        return self._predicted(self._scores(X).mean(axis=1))

    @property
    def intercept_(self) -> Array:
        """Each score's mean over a sample of training rows, (classes or 1,), which contributions are added to."""
        check_is_fitted(self, "members_")
        origins = np.array([members.intercept for members in self.members_])
        return origins + self._shapes.centres.mean(axis=1).sum(axis=-1)

    @property
    def _classes(self) -> tuple[str, ...]:
        return ()

    @property
    def _about(self) -> About:
        """What the table is; of more than two classes its target is called without a class."""
        return self.about_

    def _known(self, y: Any) -> Array:
        """Return targets of explained rows as numbers, (rows,); ValueError for a class that training had not."""
        return np.asarray(y, float)

    @property
    def feature_importances_(self) -> Array:
        """Each feature's mean absolute contribution, over a sample of training rows and over classes: (n,)."""
        check_is_fitted(self, "members_")
        return np.mean([curves["importance"] for curves in self._shapes.curves(self.members_)], axis=0)

    def explain_global(self) -> GlobalExplanation:
        """Return the shape functions: what each feature contributes at each of its values, with bounds and spread.

        They are means over a sample of training rows and over members. What they need is computed once.
        """
        from mixnam.estimators.explanations import GlobalExplanation

        check_is_fitted(self, "members_")
        return GlobalExplanation(self.settings_.model, self._about, self._classes, self._shapes.curves(self.members_))

    def explain_local(self, X: Any, y: Any = None) -> LocalExplanation:
        """Return what each feature contributes to the prediction of each row, with bounds and spread.

        As in `explain_global`, a contribution is what a feature adds to its mean over a sample of training rows: which
        constants a network puts into which feature says nothing. `y`, (rows,), is shown beside the prediction. Raises
        ValueError where it has another length, or a class that was not learnt.
        """
        from mixnam.estimators.explanations import LocalExplanation

        frame, x = self._encoded(X)
        known = None if y is None else self._known(y)
        if known is not None and known.shape != (len(x),):
            raise ValueError(f"y must be ({len(x)},), a target a row, got {known.shape}")
        names = ("contributions", "lower", "upper", "prediction")
        found = [[dict(zip(names, m.outputs(x, *names), strict=True)) for m in c.models] for c in self.members_]
        each = {name: np.array([[one[name] for one in of] for of in found]) for name in names}
        for name in ("contributions", "lower", "upper"):
            each[name] -= self._shapes.centres[:, :, None]
        mean = {name: values.mean(axis=1) for name, values in each.items()}
        spread = np.full_like(mean["contributions"], np.nan)
        if each["contributions"].shape[1] > 1:
            spread = each["contributions"].std(axis=1, ddof=1)
        return LocalExplanation(
            self.settings_.model, self._about, self._classes, frame, mean["contributions"], mean["lower"],
            mean["upper"], spread, self.intercept_, mean["prediction"], known,
        )  # fmt: skip

    def what_if(self, row: Any, feature: str | int, values: Sequence[Any]) -> pd.DataFrame:
        """Return what becomes of one row when a feature takes other values: the model is asked, nothing is read off.

        `row` is a data frame of one row, a Series, or an array (n,); `feature` a column's name or number. A line a
        value: `prediction` (of classes the probability), the feature's `contribution`, and its bounds `lower` and
        `upper`. The prediction can change by more than these bounds allow: the feature routes the others, too.
        """
        from mixnam.estimators.explanations import feature_number

        check_is_fitted(self, "members_")
        names = list(self.about_.features)
        if isinstance(row, pd.Series):
            frame = row.to_frame().T.infer_objects()
        elif isinstance(row, pd.DataFrame):
            frame = row
        else:
            frame = pd.DataFrame(np.atleast_2d(np.asarray(row)), columns=names)
        if frame.shape != (1, len(names)):
            raise ValueError(f"row must be one row of {len(names)} features, got {frame.shape}")
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
        place = feature_number(self.about_, feature)
        values = list(values) if np.iterable(values) and not isinstance(values, str) else [values]
        if not values:
            raise ValueError("values must hold one value at least, got none")
        many = frame.loc[frame.index.repeat(len(values))].reset_index(drop=True)
        many[many.columns[place]] = pd.Series(values, dtype=object).infer_objects()
        given = many if hasattr(self, "feature_names_in_") else many.to_numpy()
        told = self.explain_local(given)
        found = {"value": np.tile(np.array(values, object), len(told.contributions))}
        if self._classes:
            found["class"] = np.repeat(self._classes, len(values))
        found["prediction"] = self._probable(told.prediction).ravel()
        for name, of in (("contribution", told.contributions), ("lower", told.lower), ("upper", told.upper)):
            found[name] = of[:, :, place].ravel()
        return pd.DataFrame(found).infer_objects()

    def _probable(self, scores: Array) -> Array:
        """Return predictions of numbers, or probabilities of class 1 or each class: (classes or 1, rows), likewise."""
        return scores

    def measures(self, X: Any) -> pd.DataFrame:
        """Return a line a feature with the paper's measures on rows X, means over members (and classes). Section 4.3.2.

        `importance` and `bounds_width` are in the target's units. `additivity` is 1 where a feature acts on its own,
        `tightness` 1 where contributions fill the bounds. They take longer than training does on a small table.
        """
        _, x = self._encoded(X)
        return average_measures([model for members in self.members_ for model in members.models], x)

    def save(self, folder: Path | str) -> None:
        """Write the estimator into a folder: JSON and safetensors, without rows of the training table.

        Each column's distinct values, up to 2,000, the names of categories and the curves are in it: an estimator of
        private data is private, too. A save that fails leaves nothing that is a part of two.
        """
        check_is_fitted(self, "members_")
        content = {
            "estimator": type(self).__name__, "parameters": self.get_params(deep=False), "n_iter": self.n_iter_,
            "n_features_in": self.n_features_in_, "named": hasattr(self, "feature_names_in_"), **self._told(),
        }  # fmt: skip
        saving.write(Path(folder), content, self.members_, self._shapes.state(self.members_))

    def _told(self) -> dict[str, Any]:
        """Return what a class keeps of the targets, for `save`."""
        return {}

    def _retold(self, content: dict[str, Any]) -> None:
        """Set what `_told` gave."""

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Return the estimator that `save` wrote; ValueError where there is none, or one of another class or format."""
        try:
            content, members, arrays = saving.read(Path(folder), cls.__name__)
            made, first = cls(**content["parameters"]), members[0].models[0]
            assert isinstance(first.settings, NetworkSettings)
            made.members_, made.settings_, made.about_ = members, first.settings, first.about
            made.n_iter_, made.n_features_in_ = content["n_iter"], content["n_features_in"]
            if content["named"]:
                made.feature_names_in_ = np.array(made.about_.features, dtype=object)
            made._retold(content)
            made._shapes = Shapes.restored(arrays)
        except Exception as error:  # whatever a damaged file makes of it
            raise ValueError(f"{folder} holds no {cls.__name__} that can be read: {error}") from error
        return made
