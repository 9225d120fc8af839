"""The estimators that users name, with their parameters."""

from __future__ import annotations

from typing import Any, Literal

from mixnam.data.table import Unseen
from mixnam.estimators.base import AdditiveEstimator
from mixnam.estimators.tasks import AdditiveClassifier, AdditiveRegressor
from mixnam.models import MixNAMDSettings, MixNAMESettings, MixNAMSettings, NAMSettings, NetworkSettings
from mixnam.models.recipe import recommended, recommended_nam

Auto = Literal["auto"]
_VARIANTS = {"mixnam": MixNAMSettings, "d": MixNAMDSettings, "e": MixNAMESettings}
_MIXTURE = ("width", "layers", "experts", "active_experts", "variation_penalty", "expert_dropout")
_SHARED = (
    "encoding", "output_penalty", "weight_decay", "dropout", "epochs", "batch_size", "learning_rate", "patience",
)  # fmt: skip


def _chosen(estimator: AdditiveEstimator, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the parameters that are not left to the recipe."""
    given = {name: getattr(estimator, name) for name in names}
    return {name: value for name, value in given.items() if not (isinstance(value, str) and value == "auto")}


class _MixNAM(AdditiveEstimator):
    variant: str

    def _settings(self, rows: int) -> NetworkSettings:
        if self.variant not in _VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(map(repr, _VARIANTS))}, got {self.variant!r}")
        given = _chosen(self, _MIXTURE + _SHARED)
        base = recommended(rows, self._task).all()
        del base["router"]
        if self._task == "classification":
            base["selection"] = "log_loss"
        settings = base | given
        if "active_experts" not in given:
            settings["active_experts"] = settings["experts"]
            if self.variant == "e" and isinstance(settings["experts"], int):
                settings["active_experts"] = max(1, settings["experts"] // 2)
        return _VARIANTS[self.variant](**settings)


class _NAM(AdditiveEstimator):
    def _settings(self, rows: int) -> NetworkSettings:
        base = recommended_nam(rows).all()
        if self._task == "classification":
            base["selection"] = "log_loss"
        return NAMSettings(**base | _chosen(self, ("hidden", *_SHARED)))


class MixNAMRegressor(AdditiveRegressor, _MixNAM):
    """MixNAM for numbers: a sum over features, each a mixture of experts that all features route. Section 3.

    "auto" takes our recipe by the table's size and task (`models.recipe.recommended`); any value may be set alone.

    **Parameters, architecture**

    - `variant`: "mixnam"; "d", strictly additive (Appendix G); "e", active experts weigh the same (Appendix H).
    - `width`, `layers`: units and layers of each feature's encoder.
    - `experts`, `active_experts`: C and K, experts a feature, and how many of them count in a row ("auto": all, of "e"
      half).
    - `encoding`: what an encoder reads of a number, "scalar" or "piecewise_linear".

    **Parameters, penalties**

    - `variation_penalty`: λ of Equation (8). The larger, the closer the bounds and the more additive the model.
    - `output_penalty`: γ of Equation (8), on contributions.
    - `weight_decay`, `dropout`, `expert_dropout`.

    **Parameters, training**

    - `epochs`, `batch_size`, `learning_rate`.
    - `patience`: epochs without a better validation score after which training ends; "auto": a quarter of `epochs`.
    - `validation_fraction`: share of the rows that pick each member's best epoch, drawn by class.
    - `n_members`: members whose mean predicts, each with a seed and validation rows of its own; "auto": 4, above 20,000
      rows 1.

    **Parameters, columns**

    - `categorical_features`: columns of numbers that are categories, by name, number or mask. "from_dtype": none;
      words, booleans and categories are categorical in any case.
    - `unseen`: "average": a category, or a missing value, that its column did not have in training counts as the
      average (a missing value with a warning); "refuse": it is an error.

    **Parameters, running**

    - `device`: "auto", "cpu" or "cuda". `n_jobs`: members trained at a time on a CPU, in processes of one thread each.
    - `random_state`: a number makes the same model again, on a CPU to the bit.
    - `verbose`: whether a bar shows epochs on a terminal or in a notebook, once training takes longer than 3 seconds.

    **Attributes:** `members_`, for each score the trained models; `settings_`; `about_`, the columns as they were read;
    `intercept_`; `feature_importances_`; `n_iter_`, epochs of each training, members of one class after those of
    another; `n_features_in_`, and of data frames `feature_names_in_`. A pickle holds up to 1,000 training rows, for
    curves; what `save` writes holds none.

    **Examples**

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = MixNAMRegressor(epochs=3, n_members=2, random_state=0).fit(X, y)
    >>> model.predict(X).shape, model.explain_local(X.head(2)).frame().shape
    ((442,), (20, 7))
    """

    def __init__(
        self, *, variant: str = "mixnam", width: int | Auto = "auto", layers: int | Auto = "auto",
        experts: int | Auto = "auto", active_experts: int | Auto = "auto", encoding: str = "auto",
        variation_penalty: float | Auto = "auto", output_penalty: float | Auto = "auto",
        weight_decay: float | Auto = "auto", dropout: float | Auto = "auto", expert_dropout: float | Auto = "auto",
        epochs: int | Auto = "auto", batch_size: int | Auto = "auto", learning_rate: float | Auto = "auto",
        patience: int | Auto = "auto", validation_fraction: float = 0.15, n_members: int | Auto = "auto",
        categorical_features: Any = "from_dtype", unseen: Unseen = "average", device: str = "auto",
        n_jobs: int | None = None, random_state: Any = None, verbose: bool = True,
    ) -> None:  # fmt: skip
        self._take(locals())


class MixNAMClassifier(AdditiveClassifier, _MixNAM):
    """MixNAM for classes: two, or more of which each is learnt against the rest.

    Parameters and attributes are those of `MixNAMRegressor`, and `class_weight`: weights by label, or "balanced", which
    make each class weigh the same. The log loss of the validation rows picks each member's best epoch. `classes_` has
    the labels, in order; contributions are log-odds, of two classes of the second.

    **Examples**

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = MixNAMClassifier(epochs=3, n_members=1, random_state=0).fit(X, y)
    >>> model.predict_proba(X).shape, model.explain_global().classes
    ((150, 3), ('0', '1', '2'))
    """

    def __init__(
        self, *, variant: str = "mixnam", width: int | Auto = "auto", layers: int | Auto = "auto",
        experts: int | Auto = "auto", active_experts: int | Auto = "auto", encoding: str = "auto",
        variation_penalty: float | Auto = "auto", output_penalty: float | Auto = "auto",
        weight_decay: float | Auto = "auto", dropout: float | Auto = "auto", expert_dropout: float | Auto = "auto",
        epochs: int | Auto = "auto", batch_size: int | Auto = "auto", learning_rate: float | Auto = "auto",
        patience: int | Auto = "auto", validation_fraction: float = 0.15, n_members: int | Auto = "auto",
        class_weight: Any = None, categorical_features: Any = "from_dtype", unseen: Unseen = "average",
        device: str = "auto", n_jobs: int | None = None, random_state: Any = None, verbose: bool = True,
    ) -> None:  # fmt: skip
        self._take(locals())


class NAMRegressor(AdditiveRegressor, _NAM):
    """A neural additive model for numbers: one network a feature, summed. Equation (1).

    `hidden` has the units of each network's layers; the other parameters and the attributes are those of
    `MixNAMRegressor` that do not belong to experts. A contribution is one value, and bounds coincide with it.
    """

    def __init__(
        self, *, hidden: tuple[int, ...] | Auto = "auto", encoding: str = "auto",
        output_penalty: float | Auto = "auto", weight_decay: float | Auto = "auto", dropout: float | Auto = "auto",
        epochs: int | Auto = "auto", batch_size: int | Auto = "auto", learning_rate: float | Auto = "auto",
        patience: int | Auto = "auto", validation_fraction: float = 0.15, n_members: int | Auto = "auto",
        categorical_features: Any = "from_dtype", unseen: Unseen = "average", device: str = "auto",
        n_jobs: int | None = None, random_state: Any = None, verbose: bool = True,
    ) -> None:  # fmt: skip
        self._take(locals())


class NAMClassifier(AdditiveClassifier, _NAM):
    """A neural additive model for classes: parameters of `NAMRegressor`, and `class_weight` of `MixNAMClassifier`."""

    def __init__(
        self, *, hidden: tuple[int, ...] | Auto = "auto", encoding: str = "auto",
        output_penalty: float | Auto = "auto", weight_decay: float | Auto = "auto", dropout: float | Auto = "auto",
        epochs: int | Auto = "auto", batch_size: int | Auto = "auto", learning_rate: float | Auto = "auto",
        patience: int | Auto = "auto", validation_fraction: float = 0.15, n_members: int | Auto = "auto",
        class_weight: Any = None, categorical_features: Any = "from_dtype", unseen: Unseen = "average",
        device: str = "auto", n_jobs: int | None = None, random_state: Any = None, verbose: bool = True,
    ) -> None:  # fmt: skip
        self._take(locals())
