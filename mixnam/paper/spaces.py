"""Where settings are searched: for each model one or more spaces, each a list of choices with its source.

Trial i of a space is a pure function of (seed, i): it is the same however many trials are asked for.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from mixnam import randomness
from mixnam.models import MODELS, Settings, make_settings, settings_class

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
    bounds: Sequence[float] = ()
    zero: float = 0.0
    times: str = ""
    over: str = ""
    when: str = ""

    def draw(self, u: float, drawn: Mapping[str, Any]) -> Any:
        """Return the value at `u`, uniform in (0, 1), given what was drawn before it."""
        if self.when and not drawn[self.when]:
            return 0.0
        if self.bounds:
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

    def holds(self, value: Any, drawn: Mapping[str, Any]) -> bool:
        """Return whether a value may be drawn, given what was drawn before it."""
        if self.bounds:
            return bool(self.bounds[0] <= value <= self.bounds[1] or (self.zero and value == 0))
        return value in [chosen * drawn[self.times] if self.times else chosen for chosen in self.values]

    def text(self) -> str:
        """Return the range in words, as `one of 3, 4` or `log-uniform from 1e-06 to 0.1`.

        >>> Choice("layers", (3, 4)).text(), Choice("learning_rate", bounds=(1e-6, 0.1)).text()
        ('one of 3, 4', 'log-uniform from 1e-06 to 0.1')
        """
        if self.bounds:
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
        if self.bounds:
            return {"name": self.name, "kind": "log-uniform", "bounds": list(self.bounds), "zero": self.zero}
        return {"name": self.name, "kind": "one of", "values": [plain(v) for v in self.values]} | dependent


def plain(value: Any) -> Any:
    """Return a setting's value as JSON and TOML hold it."""
    return list(value) if isinstance(value, tuple) else value


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
        keys = [randomness.key(seed, f"search/{choice.name}", trial) for choice in self.choices]
        drawn: dict[str, Any] = dict(self.fixed)
        for choice, (u,) in zip(self.choices, randomness.uniform(keys, 1).tolist(), strict=True):
            drawn[choice.name] = choice.draw(u, drawn)
        return {choice.name: drawn[choice.name] for choice in self.choices} | dict(self.fixed)

    def trials(self, model: str, seed: int, count: int) -> dict[int, Settings]:
        """Return the settings of the first `count` trials by number; one that repeats an earlier one is left out."""
        drawn = {trial: make_settings(model, self.draw(seed, trial)) for trial in range(count)}
        first = {settings: trial for trial, settings in reversed(drawn.items())}
        return {trial: settings for trial, settings in drawn.items() if first[settings] == trial}

    def record(self) -> dict[str, Any]:
        """Return the space as stored in a search's record."""
        choices = [choice.record() | {"text": choice.text()} for choice in self.choices]
        return {"name": self.name, "source": self.source, "choices": choices, "fixed": dict(self.fixed)}


@cache
def _spaces() -> dict[str, dict[str, Space]]:
    """Return all spaces by model and name, as `spaces.toml` states them."""
    content = tomllib.loads(files("mixnam.paper").joinpath("spaces.toml").read_text(encoding="utf-8"))
    shared = content.pop("parts")
    return {m: {name: _space(name, said, shared) for name, said in of.items()} for m, of in content.items()}


def _space(name: str, said: Mapping[str, Any], shared: Mapping[str, Mapping[str, Any]]) -> Space:
    own = dict(said)
    ranges: dict[str, Any] = {}
    for part in own.pop("use", ()):
        ranges |= shared[part]
    source, fixed = own.pop("source", "ours"), own.pop("fixed", {})
    return Space(name, source, tuple(_choice(setting, text) for setting, text in (ranges | own).items()), fixed)


def _choice(name: str, said: Any) -> Choice:
    options = {"values": said} if isinstance(said, list) else dict(said)
    values = tuple(tuple(v) if isinstance(v, list) else v for v in options.pop("values", ()))
    return Choice(name, values, options.pop("log", ()), **options)


def spaces(model: str) -> dict[str, Space]:
    """Return a model's spaces by name, the default first.

    Raises ValueError for an unknown model, and for one that has nothing to search.
    """
    settings_class(model)
    known = _spaces()
    if model not in known:
        others = ", ".join(name for name in MODELS if name in known)
        why = FIXED.get(model, "no space was written for it")
        raise ValueError(f"{model} is not searched: {why}; take one of {others}")
    return known[model]


def find(model: str, name: str = "") -> Space:
    """Return a model's space by name, or its first; ValueError lists those that there are."""
    known = spaces(model)
    if name and name not in known:
        raise ValueError(f"space of {model} must be one of {', '.join(known)}, got {name!r}")
    return known[name or next(iter(known))]
