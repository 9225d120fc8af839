"""Settings of every model: typed, checked, with defaults that never change.

A stored result is identified by the settings that differ from these defaults, so a default is frozen:
an option added later takes the value that reproduces what was done before it existed.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

#: Revision of each part that a result passes through. Raising one sets aside what passed through it.
REVISIONS: dict[str, int] = {
    "preprocessing": 1,
    "training": 1,
    "mixture": 1,
    "additive": 1,
    "pairwise": 1,
    "basis": 1,
    "trees": 1,
    "mlp": 1,
    "linear": 1,
    "spline": 1,
    "xgboost": 1,
    "ebm": 1,
}

#: Settings that leave tensor shapes and control flow alone: members of one stack may differ in them.
PER_MEMBER = (
    "learning_rate",
    "weight_decay",
    "dropout",
    "expert_dropout",
    "basis_dropout",
    "last_dropout",
    "output_penalty",
    "variation_penalty",
)


def number(default: Any, low: float, high: float = math.inf, *, below_high: bool = False) -> Any:
    """Declare a numeric setting with its permitted range."""
    bounds = {"low": low, "high": high, "below_high": below_high}
    return dataclasses.field(default=default, metadata=bounds)


@cache
def _types(kind: type) -> dict[str, Any]:
    """Return the types that a class of settings declares; finding them takes milliseconds."""
    return get_type_hints(kind)


def _typed(name: str, value: Any, wanted: Any) -> Any:
    """Return `value` as `wanted`, or raise TypeError naming the setting."""
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted) or isinstance(value, bool):
            raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(wanted)))}, got {value!r}")
        return value
    if get_origin(wanted) is tuple:
        if not isinstance(value, (tuple, list)):
            raise TypeError(f"{name} must be a list of integers, got {value!r}")
        return tuple(_typed(f"{name}[{i}]", item, get_args(wanted)[0]) for i, item in enumerate(value))
    if wanted is bool:
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be true or false, got {value!r}")
        return value
    if isinstance(value, numbers.Real) and not isinstance(value, bool):  # numpy's numbers too
        value = int(value) if isinstance(value, numbers.Integral) else float(value)
    integral = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (wanted is int and not integral):
        kind = "an integer" if wanted is int else "a number"
        raise TypeError(f"{name} must be {kind}, got {value!r}")
    return wanted(value) + 0  # -0.0 becomes 0.0: equal numbers are one setting


@dataclass(frozen=True)
class Settings:
    """What all models share: validation, and the part of the settings that identifies a result."""

    model: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]

    _: dataclasses.KW_ONLY
    #: training rows, drawn with the run's seed, that the quantile transform is fitted on (authors: 10,000); 0: all
    quantile_rows: int = number(0, 0)

    def __post_init__(self) -> None:
        kind: type = type(self)
        types = _types(kind)
        for field in dataclasses.fields(self):
            value = _typed(field.name, getattr(self, field.name), types[field.name])
            object.__setattr__(self, field.name, value)
            if not field.metadata:
                continue
            low, high, below = (field.metadata[k] for k in ("low", "high", "below_high"))
            for item in value if isinstance(value, tuple) else (value,):
                if not math.isfinite(item) or item < low or item > high or (below and item == high):
                    limit = "" if high == math.inf else f" and {'<' if below else '<='} {high:g}"
                    finite = "" if math.isfinite(item) else " and finite"
                    raise ValueError(f"{field.name} must be >= {low:g}{limit}{finite}, got {item!r}")

    def all(self) -> dict[str, Any]:
        """Return every setting by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def shared(self) -> dict[str, Any]:
        """Return the settings, by name, in which the members of a stack must agree."""
        return {name: value for name, value in self.all().items() if name not in PER_MEMBER}

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from the frozen defaults, by name."""
        pairs = ((f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self))
        return {name: value for name, value, default in pairs if value != default}


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """Training protocol of all networks (Appendix B and C; `max iteration` of Table 5 counts epochs)."""

    epochs: int = number(1000, 1)
    batch_size: int = number(2048, 2)
    learning_rate: float = number(5.97e-4, 0.0)
    weight_decay: float = number(5.29e-5, 0.0)
    dropout: float = number(0.1, 0.0, 1.0, below_high=True)
    #: which validation score picks the epoch in classification (regression: the error)
    selection: Literal["auc_plus_f1", "auc"] = "auc_plus_f1"


@dataclass(frozen=True)
class AdditiveSettings(NetworkSettings):
    """Networks that predict with a sum over features, whose outputs can be penalised (γ of Equation (8))."""

    output_penalty: float = number(1.97e-5, 0.0)


@dataclass(frozen=True)
class MixtureSettings(AdditiveSettings):
    """A mixture of experts for each feature; the defaults are Table 5's column for Housing."""

    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "training", "mixture")

    layers: int = number(4, 1)
    width: int = number(128, 1)
    experts: int = number(4, 1)
    active_experts: int = number(4, 1)
    expert_dropout: float = number(0.2, 0.0, 1.0, below_high=True)
    variation_penalty: float = number(0.1, 0.0)
    normalization: Literal["layer_norm", "batch_norm"] = "layer_norm"
    #: one normalisation for all layers and features (the authors' code), or one per layer and feature
    shared_normalization: bool = True
    initialization: Literal["authors", "standard"] = "authors"
    #: relevance dropped and scaled by 1/(1-p) (authors), dropped only (paper's text), or renormalised
    expert_dropout_mode: Literal["scale", "drop", "renormalize"] = "scale"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.active_experts > self.experts:
            raise ValueError(f"active_experts must be <= experts ({self.experts}), got {self.active_experts}")


@dataclass(frozen=True)
class MixNAMSettings(MixtureSettings):
    """MixNAM (Section 3)."""

    model: ClassVar[str] = "MixNAM"

    #: scores for each feature's experts, or one set of scores for all features (Equation (16))
    router: Literal["dense", "shared"] = "dense"


@dataclass(frozen=True)
class MixNAMDSettings(MixtureSettings):
    """MixNAM-D: each feature routes itself, with Gumbel-softmax in training (Appendix G)."""

    model: ClassVar[str] = "MixNAM-D"

    experts: int = number(64, 1)
    active_experts: int = number(64, 1)
    temperature: float = number(0.1, 1e-3)
    #: whether predictions are sampled too (the authors' code), or take the relevance itself
    sample_at_prediction: bool = False


@dataclass(frozen=True)
class MixNAMESettings(MixNAMSettings):
    """MixNAM-E: the active experts weigh the same (Appendix H); C and K as in Table 7."""

    model: ClassVar[str] = "MixNAM-E"

    experts: int = number(32, 1)
    active_experts: int = number(16, 1)


@dataclass(frozen=True)
class NAMSettings(AdditiveSettings):
    """Neural additive model as benchmarked by NBM: hidden layers 64-64-32, batch norm, ReLU per feature."""

    model: ClassVar[str] = "NAM"
    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "training", "additive")

    hidden: tuple[int, ...] = number((64, 64, 32), 1)


@dataclass(frozen=True)
class NA2MSettings(NAMSettings):
    """Neural additive model with a network for each pair of features too (Radenovic et al. 2022)."""

    model: ClassVar[str] = "NA2M"
    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "training", "pairwise")


@dataclass(frozen=True)
class NBMSettings(AdditiveSettings):
    """Neural basis model (Radenovic et al. 2022): one network's basis functions, weighed anew for each feature."""

    model: ClassVar[str] = "NBM"
    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "training", "basis")

    hidden: tuple[int, ...] = number((256, 128, 128), 1)
    bases: int = number(100, 1)
    basis_dropout: float = number(0.0, 0.0, 1.0, below_high=True)


@dataclass(frozen=True)
class NB2MSettings(NBMSettings):
    """Neural basis model with a second set of basis functions, of two features, for all pairs."""

    model: ClassVar[str] = "NB2M"

    bases: int = number(200, 1)


@dataclass(frozen=True)
class TreeSettings(AdditiveSettings):
    """Layers of oblivious trees and their training (Popov et al. 2020, Chang et al. 2022).

    `dropout` is that of the trees' outputs. `epochs` only limits what the stopping rule, counted in steps, would
    let run longer: training is evaluated and may stop every `evaluation_steps` steps.
    """

    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "training", "trees")

    epochs: int = number(10_000, 1)
    learning_rate: float = number(0.01, 0.0)
    weight_decay: float = number(0.0, 0.0)
    dropout: float = number(0.0, 0.0, 1.0, below_high=True)
    output_penalty: float = number(0.0, 0.0)
    selection: Literal["auc_plus_f1", "auc"] = "auc"
    layers: int = number(2, 1)
    #: trees of each layer
    trees: int = number(1024, 1)
    depth: int = number(6, 1, 12)
    #: outputs of each tree beyond its first, which only later layers and the last weights see
    extra_outputs: int = number(0, 0)
    #: share of the features that a tree may choose from
    colsample_bytree: float = number(1.0, 0.0, 1.0)
    #: whether trees are weighed by learnt weights, or averaged
    last_linear: bool = False
    last_dropout: float = number(0.0, 0.0, 1.0, below_high=True)
    #: the learning rate rises linearly over so many steps
    warmup_steps: int = number(0, 0)
    #: it falls to a fifth after so many steps without a better score; 0: never
    decay_steps: int = number(0, 0)
    #: training stops after so many steps without a better score
    patience_steps: int = number(11_000, 1)
    evaluation_steps: int = number(100, 1)
    #: the weights evaluated are the mean over so many evaluations
    averaged_checkpoints: int = number(5, 1)

    @property
    def settling_steps(self) -> int:
        """Steps until the choice of features is final; before that, patience does not count."""
        return 0


@dataclass(frozen=True)
class NODESettings(TreeSettings):
    """Neural oblivious decision ensembles (Popov et al. 2020): each split weighs several features."""

    model: ClassVar[str] = "NODE"


@dataclass(frozen=True)
class NODEGAMSettings(TreeSettings):
    """NODE-GAM (Chang et al. 2022): each tree comes to choose a single feature."""

    model: ClassVar[str] = "NODE-GAM"

    #: steps over which the choice of features hardens, from temperature 1 to `min_temperature`
    anneal_steps: int = number(4000, 0)
    min_temperature: float = number(0.01, 1e-6, 1.0)
    #: size of keys and queries that weigh earlier trees; 0: earlier trees of the same feature weigh alike
    attention: int = number(0, 0)
    warmup_steps: int = number(500, 0)
    decay_steps: int = number(5000, 0)

    @property
    def settling_steps(self) -> int:
        """Steps until the choice of features is final; before that, patience does not count."""
        return self.anneal_steps


@dataclass(frozen=True)
class NODEGA2MSettings(NODEGAMSettings):
    """NODE-GA2M (Chang et al. 2022): each tree comes to choose at most two features."""

    model: ClassVar[str] = "NODE-GA2M"


@dataclass(frozen=True)
class MLPSettings(NetworkSettings):
    """Multi-layer perceptron on all features: linear, batch norm, ReLU, dropout."""

    model: ClassVar[str] = "MLP"
    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "training", "mlp")

    hidden: tuple[int, ...] = number((128, 128, 128), 1)


@dataclass(frozen=True)
class LibrarySettings(Settings):
    """Models that another library fits."""


@dataclass(frozen=True)
class LinearSettings(LibrarySettings):
    """Ordinary least squares, or logistic regression with scikit-learn's default penalty (C = 1)."""

    model: ClassVar[str] = "Linear"
    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "linear")


@dataclass(frozen=True)
class SplineSettings(LibrarySettings):
    """Sum of cubic splines with knots at quantiles, ridge penalty chosen by cross-validation (scikit-learn)."""

    model: ClassVar[str] = "Spline"
    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "spline")

    knots: int = number(25, 2)


@dataclass(frozen=True)
class XGBoostSettings(LibrarySettings):
    """Gradient-boosted trees (xgboost); the defaults are the library's own, without early stopping."""

    model: ClassVar[str] = "XGBoost"
    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "xgboost")

    trees: int = number(100, 1)
    max_depth: int = number(6, 1, 16)
    learning_rate: float = number(0.3, 1e-6, 1.0)
    min_child_weight: float = number(1.0, 0.0)
    subsample: float = number(1.0, 0.01, 1.0)
    colsample_bytree: float = number(1.0, 0.01, 1.0)
    reg_lambda: float = number(1.0, 0.0)
    #: stop after so many trees without a better validation score; 0 grows all trees
    early_stopping_rounds: int = number(0, 0)


@dataclass(frozen=True)
class EBMSettings(LibrarySettings):
    """Explainable boosting machine (interpret) without interactions."""

    model: ClassVar[str] = "EBM"
    parts: ClassVar[tuple[str, ...]] = ("preprocessing", "ebm")

    #: whose defaults: the installed release's, or those of 0.2.7, of the time of the paper's baselines
    release: Literal["today", "0.2.7"] = "today"
    #: models averaged; 0 is the release's own number (14 today, 8 in 0.2.7)
    outer_bags: int = number(0, 0)
    #: boosting rounds at most; 0 is the release's own number
    max_rounds: int = number(0, 0)


@dataclass(frozen=True)
class EB2MSettings(EBMSettings):
    """Explainable boosting machine with pairwise interactions."""

    model: ClassVar[str] = "EB2M"

    interactions: int = number(10, 1)


_ALL = (
    LinearSettings, SplineSettings, EBMSettings, NAMSettings, NBMSettings, NODEGAMSettings, MixNAMSettings,
    MixNAMDSettings, MixNAMESettings, MLPSettings, NODESettings, XGBoostSettings, EB2MSettings, NA2MSettings,
    NB2MSettings, NODEGA2MSettings,
)  # fmt: skip
MODELS: dict[str, type[Settings]] = {s.model: s for s in _ALL}


def settings_class(model: str) -> type[Settings]:
    """Return the settings class of `model`; ValueError lists the known models."""
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    return MODELS[model]


def make_settings(model: str, values: Mapping[str, Any]) -> Settings:
    """Build the settings of `model` from `values` over the defaults; unknown names raise ValueError."""
    kind = settings_class(model)
    known = [field.name for field in dataclasses.fields(kind)]
    for name in values:
        if name not in known:
            raise ValueError(f"{model} has no setting {name!r}; it has {', '.join(known) or 'none'}")
    return kind(**values)
