"""Where settings are searched: for each model one or more spaces, each a list of choices with its source.

Trial i of a space is a pure function of (seed, i): it is the same however many trials are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixnam import randomness
from mixnam.models import MODELS, Settings, make_settings, settings_class

OURS = "ours"
#: Models that have nothing to search, and why.
FIXED = {
    "Linear": "it has no settings",
    "EBM": "it is shown with its library's defaults, as in the paper's baselines",
}


@dataclass(frozen=True)
class Choice:
    """One setting's range: one of `values`, or log-uniform between the two `bounds`.

    `zero` is the share of draws that are 0 instead. A value may depend on a setting drawn before: it is a share
    of the one named by `times`, is divided by the one named by `over`, or is 0 unless the one named by `when` is on.
    """

    name: str
    values: tuple[Any, ...] = ()
    bounds: tuple[float, float] | None = None
    zero: float = 0.0
    times: str = ""
    over: str = ""
    when: str = ""

    def draw(self, u: float, drawn: Mapping[str, Any]) -> Any:
        """Return the value at `u`, uniform in (0, 1), given what was drawn before it."""
        if self.when and not drawn[self.when]:
            return 0.0
        if self.bounds is not None:
            if u < self.zero:
                return 0.0
            low, high = self.bounds
            share = (u - self.zero) / (1 - self.zero)
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
            return min(max(float(f"{value:.3g}"), low), high)
        chosen = self.values[int(u * len(self.values))]
        if self.times:
            return max(1, int(chosen * drawn[self.times]))
        return max(1, chosen // drawn[self.over]) if self.over else chosen

    def text(self) -> str:
        """Return the range in words, as `one of 3, 4` or `log-uniform from 1e-06 to 0.1`.

        >>> Choice("layers", (3, 4)).text(), Choice("learning_rate", bounds=(1e-6, 0.1)).text()
        ('one of 3, 4', 'log-uniform from 1e-06 to 0.1')
        """
        if self.bounds is not None:
            low, high = self.bounds
            return f"log-uniform from {low:g} to {high:g}" + (", or 0" if self.zero else "")
        text = "one of " + ", ".join(shown(v) for v in self.values)
        if self.times:
            text += f" times {self.times}"
        if self.over:
            text += f", divided by {self.over}"
        return text + (f", 0 without {self.when}" if self.when else "")

    def record(self) -> dict[str, Any]:
        """Return the choice as stored in a search's record."""
        dependent = {k: v for k in ("times", "over", "when") if (v := getattr(self, k))}
        if self.bounds is not None:
            return {"name": self.name, "kind": "log-uniform", "bounds": list(self.bounds), "zero": self.zero}
        values = [list(v) if isinstance(v, tuple) else v for v in self.values]
        return {"name": self.name, "kind": "one of", "values": values} | dependent


def shown(value: Any) -> str:
    """Return a setting's value as tables and ranges show it.

    >>> shown((64, 64, 32)), shown(0.0001), shown(True)
    ('64-64-32', '0.0001', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Space:
    """A search space of one model: its choices and their source; settings in `fixed` are set for all trials.

    Whatever is neither chosen nor fixed has the model's frozen default.
    """

    name: str
    source: str
    choices: tuple[Choice, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def draw(self, seed: int, trial: int) -> dict[str, Any]:
        """Return the settings of one trial by name, in the order of the choices."""
        drawn: dict[str, Any] = dict(self.fixed)
        for choice in self.choices:
            u = float(randomness.uniform([randomness.key(seed, f"search/{choice.name}", trial)], 1)[0, 0])
            drawn[choice.name] = choice.draw(u, drawn)
        return {choice.name: drawn[choice.name] for choice in self.choices} | dict(self.fixed)

    def trials(self, model: str, seed: int, count: int) -> dict[int, Settings]:
        """Return the settings of the first `count` trials by number; one that repeats an earlier one is left out."""
        found: dict[int, Settings] = {}
        for trial in range(count):
            settings = make_settings(model, self.draw(seed, trial))
            if settings not in found.values():
                found[trial] = settings
        return found

    def record(self) -> dict[str, Any]:
        """Return the space as stored in a search's record."""
        choices = [choice.record() | {"text": choice.text()} for choice in self.choices]
        return {"name": self.name, "source": self.source, "choices": choices, "fixed": dict(self.fixed)}


def _one(name: str, *values: Any, times: str = "", over: str = "", when: str = "") -> Choice:
    return Choice(name, values, times=times, over=over, when=when)


def _log(name: str, low: float, high: float, zero: float = 0.0) -> Choice:
    return Choice(name, bounds=(low, high), zero=zero)


_PENALTY = _log("output_penalty", 1e-7, 1e-2)
_TENTHS = tuple(i / 10 for i in range(10))
_APPENDIX_C = Space(
    "appendix-c",
    "Appendix C",
    (
        _one("layers", 3, 4),
        _one("width", 64, 128),
        _one("experts", 4),
        _one("active_experts", 1.0, times="experts"),
        _one("batch_size", 512, 1024, 2048),
        _one("epochs", 75, 150, 500, 1000),
        _log("learning_rate", 1e-6, 1e-1),
        _log("weight_decay", 1e-8, 1e-1),
        _one("dropout", *_TENTHS),
        _one("expert_dropout", *_TENTHS[1:]),
        _log("output_penalty", 1e-8, 1e-1),
        _one("variation_penalty", 0.1),
        _one("normalization", "batch_norm", "layer_norm"),
    ),
)
#: Around the best trials of `fast` on Housing's validation part: narrow, many experts, strong penalties.
_NARROW = Space(
    "narrow",
    OURS,
    (
        _one("layers", 3, 4),
        _one("width", 16, 24, 32),
        _one("experts", 8, 16, 32),
        _one("active_experts", 0.5, 1.0, times="experts"),
        _one("batch_size", 128, 256),
        _log("learning_rate", 1e-3, 5e-3),
        _log("weight_decay", 1e-5, 1e-1),
        _one("expert_dropout", 0.2, 0.3, 0.4, 0.5),
        _PENALTY,
        _log("variation_penalty", 0.1, 1.0),
    ),
    {"epochs": 200, "dropout": 0.0},
)
#: Around the best trial of `narrow`, trained longer.
_LONGER = Space(
    "longer",
    OURS,
    (
        _one("width", 24, 32),
        _one("epochs", 300, 400),
        _log("learning_rate", 1.5e-3, 3e-3),
        _log("weight_decay", 1e-5, 1e-2),
        _one("expert_dropout", 0.4, 0.5),
        _log("output_penalty", 1e-7, 1e-3),
        _log("variation_penalty", 0.1, 0.7),
    ),
    {"layers": 4, "experts": 16, "active_experts": 8, "batch_size": 256, "dropout": 0.0},
)
#: What all our spaces of networks share: minutes on one core.
_TRAINING = (
    _one("batch_size", 128, 256, 512),
    _one("epochs", 100, 200, 300),
    _log("weight_decay", 1e-6, 1.0),
    _one("dropout", 0.0, 0.05, 0.1),
)


def _mixture(*experts: int, rates: tuple[float, float] = (1e-3, 1e-2)) -> Space:
    """Return our space of a mixture, with so many experts; layer norm is shared, which trains several times faster."""
    return Space(
        "fast",
        OURS,
        (
            _one("layers", 2, 3, 4, 5),
            _one("width", 16, 32, 48, 64),
            _one("experts", *experts),
            _one("active_experts", 0.5, 1.0, times="experts"),
            *_TRAINING,
            _log("learning_rate", *rates),
            _one("expert_dropout", 0.0, 0.1, 0.2, 0.3, 0.4),
            _PENALTY,
            _log("variation_penalty", 1e-3, 1.0, zero=0.2),
            _one("initialization", "authors", "standard"),
        ),
    )


def _additive(*choices: Choice) -> Space:
    return Space("fast", OURS, (*choices, *_TRAINING, _log("learning_rate", 3e-4, 1e-2), _PENALTY))


def _basis(*bases: int) -> Space:
    hidden = _one("hidden", (64, 64, 32), (128, 64, 64), (256, 128, 128))
    dropped = _one("basis_dropout", 0.0, 0.05, 0.1, 0.2)
    return _additive(hidden, _one("bases", *bases), dropped)


def _trees(shares: tuple[float, ...], last: tuple[float, ...], attention: bool) -> tuple[Space, Space]:
    """Return the published space of the NODE family, and ours: smaller, with steps of minutes."""
    attending = (_one("attention", 0, 8, 16, 24),) if attention else ()
    shared = (
        _one("dropout", 0.0, 0.1, 0.2),
        _one("colsample_bytree", *shares),
        _one("last_linear", False, True),
        _one("last_dropout", *last, when="last_linear"),
        _one("output_penalty", 1e-5, 1e-6, 0.0),
        *attending,
    )
    published = (
        _one("layers", 2, 3, 4, 5),
        _one("trees", 500, 1000, 2000, 4000, over="layers"),
        _one("depth", 2, 4, 6),
        _one("learning_rate", 0.01, 0.005),
    )
    smaller = (
        _one("layers", 1, 2, 3),
        _one("trees", 60, 120, 240, over="layers"),
        _one("depth", 2, 3, 4),
        _one("extra_outputs", 0, 1),
        _log("learning_rate", 3e-3, 3e-2),
        _one("batch_size", 512, 1024),
    )
    steps = {"epochs": 300, "patience_steps": 2000, "decay_steps": 1000}
    if attention:
        steps |= {"anneal_steps": 1000, "warmup_steps": 100}
    return (
        Space("nodegam", "zzzace2000/nodegam", published + shared),
        Space("fast", OURS, smaller + shared, steps),
    )


_TREE_SHARES = (0.5, 0.1, 1e-5)
_PERCEPTRONS = ((64, 64), (128, 128), (256, 256), (128, 128, 128), (256, 128, 64))
_SPACES: dict[str, tuple[Space, ...]] = {
    "MixNAM": (_mixture(4, 8, 16), _NARROW, _LONGER, _APPENDIX_C),
    "MixNAM-D": (_mixture(8, 16, 32, 64, rates=(3e-4, 5e-3)),),
    "MixNAM-E": (_mixture(8, 16, 32, rates=(3e-4, 5e-3)),),
    "NAM": (_additive(_one("hidden", (32, 32), (64, 64, 32), (64, 64), (128, 64, 32))),),
    "NA2M": (_additive(_one("hidden", (16, 16), (32, 32), (32, 32, 16), (64, 64, 32))),),
    "NBM": (_basis(25, 50, 100, 200),),
    "NB2M": (_basis(50, 100, 200),),
    "NODE": _trees((1.0, 0.5, 0.1), (0.0, 0.1, 0.2, 0.3), attention=False)[::-1],
    "NODE-GAM": _trees(_TREE_SHARES, (0.0, 0.15, 0.3), attention=True)[::-1],
    "NODE-GA2M": _trees((1.0, 0.5, 0.2, 0.1), (0.0, 0.15, 0.3), attention=True)[::-1],
    "MLP": (Space("fast", OURS, (_one("hidden", *_PERCEPTRONS), *_TRAINING, _log("learning_rate", 3e-4, 1e-2))),),
    "Spline": (Space("fast", OURS, (_one("knots", 5, 8, 10, 15, 20, 25, 30, 40, 50, 75, 100),)),),
    "XGBoost": (
        Space(
            "fast",
            OURS,
            (
                _one("max_depth", *range(2, 13)),
                _log("learning_rate", 0.02, 0.3),
                _log("min_child_weight", 0.1, 100.0),
                _one("subsample", *(round(0.5 + i / 20, 2) for i in range(11))),
                _one("colsample_bytree", *(round(0.4 + i / 20, 2) for i in range(13))),
                _log("reg_lambda", 0.01, 100.0),
            ),
            {"trees": 3000, "early_stopping_rounds": 50},
        ),
    ),
    "EB2M": (Space("node", "zzzace2000/node", (_one("interactions", 4, 8, 16, 32, 64, 128, 256),)),),
}


def spaces(model: str) -> dict[str, Space]:
    """Return a model's spaces by name, the default first.

    Raises ValueError for an unknown model, and for one that has nothing to search.
    """
    settings_class(model)
    if model not in _SPACES:
        raise ValueError(f"{model} is not searched: {FIXED.get(model, 'no space was written for it')}; take {_known()}")
    return {space.name: space for space in _SPACES[model]}


def find(model: str, name: str = "") -> Space:
    """Return a model's space by name, or its first; ValueError lists those that there are."""
    known = spaces(model)
    if name and name not in known:
        raise ValueError(f"space of {model} must be one of {', '.join(known)}, got {name!r}")
    return known[name] if name else next(iter(known.values()))


def _known() -> str:
    return "one of " + ", ".join(model for model in MODELS if model in _SPACES)
