"""What the settings of all models share: types and ranges are checked, defaults never change.

The settings that differ from these defaults identify a stored result, so a default is frozen: an option added later
takes the value that reproduces what was done before it existed.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

#: Revision of each part that a result passes through. Raising one sets aside what passed through it.
REVISIONS: dict[str, int] = {
    "preprocessing": 1, "training": 1, "mixture": 1, "additive": 1, "pairwise": 1, "basis": 1, "trees": 1, "mlp": 1,
    "linear": 1, "spline": 1, "xgboost": 1, "lightgbm": 1, "catboost": 1, "ebm": 1,
}  # fmt: skip
#: Settings that leave tensor shapes and control flow alone: members of one stack may differ in them.
PER_MEMBER = (
    "learning_rate", "weight_decay", "dropout", "expert_dropout", "basis_dropout", "last_dropout", "output_penalty",
    "variation_penalty", "averaging",
)  # fmt: skip


def number(default: Any, low: float, high: float = math.inf, *, below_high: bool = False) -> Any:
    """Declare a numeric setting with its permitted range."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "below_high": below_high})


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
    """Settings that every model has, and what is known of a model by its name.

    Class attributes: `model`, its name; `parts`, the revised parts that a result passes through; `parent`, the model
    whose settings, but for numbers of experts, this one's start from; `attributes`, whether each of its contributions
    is one feature's; `paired`, whether it has a term for each pair of features, of which there must be two.
    """

    model: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    parent: ClassVar[str] = ""
    attributes: ClassVar[bool] = False
    paired: ClassVar[bool] = False

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
    #: which validation score picks the epoch in classification (regression: the error); log loss needs but one class
    selection: Literal["auc_plus_f1", "auc", "log_loss"] = "auc_plus_f1"


@dataclass(frozen=True)
class AdditiveSettings(NetworkSettings):
    """Networks that predict with a sum over features, whose outputs can be penalised (γ of Equation (8))."""

    output_penalty: float = number(1.97e-5, 0.0)


@dataclass(frozen=True)
class EncodedSettings(AdditiveSettings):
    """Networks of single features that may read more of a number than the number, and average their weights: ours."""

    _: dataclasses.KW_ONLY
    #: what a feature's network is given: its value, or also its share in each of at most `bins` bins
    encoding: Literal["scalar", "piecewise_linear"] = "scalar"
    bins: int = number(64, 1)
    activation: Literal["relu", "silu"] = "relu"
    #: decay of the moving average of weights that is validated beside the weights themselves; 0: there is none
    averaging: float = number(0.0, 0.0, 1.0, below_high=True)
    #: training ends after so many epochs without a better validation score; 0: after more than a quarter of `epochs`
    patience: int = number(0, 0)


@dataclass(frozen=True)
class LibrarySettings(Settings):
    """Models that another library fits."""
