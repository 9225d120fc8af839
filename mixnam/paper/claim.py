"""Claims of the paper, as `claims.toml` states them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mixnam.data import catalogue
from mixnam.data.table import better
from mixnam.paper import checks, derived, experiments, published, ranks

#: How a claim is judged; `verdicts` has the rule of each. A static one is checked without results.
KINDS = ("value", "order", "tie", "trend", "threshold", "mean", "static")


#: Claims are counted apart: of the paper on real data, on simulations (which have one setting, ours), and arithmetic;
#: and our own, of which those on simulations and those on our own recipe stand apart.
GROUPS = REAL, SIMULATIONS, ARITHMETIC, OWN = "real data", "simulations", "arithmetic", "our own"
ON_SIMULATIONS, ON_RECIPE = "our own, on simulations", "our own recipe"
COUNTED_IN = (*GROUPS, ON_SIMULATIONS, ON_RECIPE)


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, as read from `claims.toml`.

    Attributes: `subjects`, the models compared, each a model name, setting overrides and, where it is not
    the claim's, a data set, the one that the claim is about first; `measure`, a path into a result,
    `derived.NAME`, `joint.NAME`, `pooled.NAME` or `crossed.NAME` (module `derived`), or for the static kind
    `static.NAME` (module `checks`); `table` and `quantity`, where the printed numbers stand; `margin` and `limit`, in
    the measure's units (of an order: the least difference); `better`, -1 or 1 where lower or higher is better,
    0 where neither is; `ties`, how many leading steps of a trend may tie; `share`, the share of runs that must
    pass a threshold; `leaders`, how many leading subjects of an order must each be better than each other one;
    `one_model`, whether the printed number stands on one model, so that its ± is none; `in_copy`, whether what the
    paper shows is in the text that we work from; `own`, whether the claim is ours and not the paper's;
    `preset`, where the claim is judged at one setting of ours alone: on runs that no choice of it has seen
    (`experiments.fresh_runs`), with `other_splits` on other holdouts; a subject of such a claim may have a preset of
    its own, and `members` of which its mean is taken;
    `unavailable`, what keeps the claim from being tested whatever data are at hand; `short`, of the claims that a
    summary names, what they are about in a few words.
    """

    id: str
    place: str
    statement: str
    page: str
    kind: str
    measure: str
    dataset: str = "housing"
    table: str = ""
    subjects: tuple[Mapping[str, Any], ...] = ()
    quantity: str = ""
    margin: float = 0.0
    limit: float = 0.0
    better: int = 0
    ties: int = 0
    share: float = 1.0
    leaders: int = 1
    one_model: bool = False
    in_copy: bool = True
    own: bool = False
    preset: str = ""
    other_splits: bool = False
    note: str = ""
    unavailable: str = ""
    short: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"claim {self.id}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind in ("order", "trend", "mean") and self.better == 0 and not self.unavailable:
            raise ValueError(f"claim {self.id}: {self.kind} needs better = 1 or -1")
        least = {"static": 0, "value": 1, "threshold": 1, "mean": 1}.get(self.kind, 2)
        if len(self.subjects) < least and not self.unavailable:
            raise ValueError(f"claim {self.id}: {self.kind} needs at least {least} subjects, got {len(self.subjects)}")
        if self.kind == "order" and self.leaders >= len(self.subjects) and not self.unavailable:
            raise ValueError(f"claim {self.id}: {self.leaders} leaders leave no rival of {len(self.subjects)} subjects")
        if self.joint and self.kind not in ("threshold", "mean"):
            raise ValueError(f"claim {self.id}: {self.kind} takes subjects one by one, {self.measure} together")
        means = any("members" in subject or "preset" in subject for subject in self.subjects) or self.other_splits
        if means and not (self.preset and self.own and self.measure.startswith("metrics.test.")):
            raise ValueError(f"claim {self.id}: members, other presets and splits are for own scores at one preset")
        derived.check(self.measure)
        if self.kind == "static" and self.measure.removeprefix("static.") not in checks.CHECKS:
            raise ValueError(f"claim {self.id}: no check {self.measure!r}; known are {', '.join(checks.CHECKS)}")

    @property
    def group(self) -> str:
        """Which of `GROUPS` the claim is counted in."""
        if self.own:
            return OWN
        if self.one_setting:
            return ARITHMETIC if self.kind == "static" else SIMULATIONS
        return REAL

    @property
    def counted(self) -> str:
        """Which of `COUNTED_IN` it is counted in."""
        if self.own and self.one_setting:
            return ON_RECIPE if self.preset else ON_SIMULATIONS
        return self.group

    @property
    def item(self) -> str:
        """The table or figure of the paper that it is about, such as "Table 3"; "Text" where it is about none."""
        place = re.search(r"(Table|Figure) \d+", self.place)
        named = re.match(r"([TF])(\d+)-", self.id)
        if place or not named:
            return place[0] if place else "Text"
        return f"{'Table' if named[1] == 'T' else 'Figure'} {named[2]}"

    @property
    def baseline(self) -> bool:
        """Whether it is a score that Table 1 prints of another model."""
        return self.scores(self.dataset) and self.item == "Table 1" and self.subjects[0]["model"] != "MixNAM"

    def scores(self, dataset: str) -> bool:
        """Return whether it is a score that Table 1 or 6 prints on a data set."""
        return self.kind == "value" and self.table == "table1" and self.dataset == dataset

    @property
    def one_setting(self) -> bool:
        """Whether it has no setting of the paper's: simulations and our recipe have ours, counts none."""
        counted = self.kind == "static" and self.measure != "static.top_four"
        return bool(self.preset) or counted or catalogue.family(self.dataset) == "simulations"

    @property
    def joint(self) -> bool:
        """Whether the measure takes the results of all subjects together."""
        return self.measure.startswith(("joint.", "pooled.", "crossed."))


@cache
def claims() -> tuple[Claim, ...]:
    """Read the claims and those on the baselines; ValueError names a claim with unknown or missing entries."""
    found = []
    for entry in published.entries("claim"):
        try:
            found.append(Claim(**(entry | {"subjects": tuple(entry.get("subjects", ()))})))
        except (TypeError, KeyError) as error:
            raise ValueError(f"claim {entry.get('id', '?')}: {error}") from error
    return (*found, *_baselines())


def _baselines() -> Iterator[Claim]:
    """Yield a claim for each score that Table 1 prints of another model than MixNAM."""
    rows = published.table("table1_accuracy").query("source == 'Table 1' and model != 'MixNAM'")
    cases = {case.published: case for case in experiments.cases("accuracy", "paper")}
    for dataset, model, metric, mean in rows[["dataset", "model", "metric", "mean"]].itertuples(index=False):
        digits, title = 2 if mean > 10 else 3, published.DATASETS[dataset]
        release = cases[model].overrides.get("release", "")
        yield Claim(
            id=f"T1-{model.lower()}-{dataset}",
            place="Table 1",
            statement=f"{model}'s test {metric.upper()} on {title} is {mean:.{digits}f}",
            page="accuracy",
            kind="value",
            measure=f"metrics.test.{metric}",
            dataset=dataset,
            table="table1",
            subjects=({"model": model, **cases[model].overrides},),
            margin=ranks.MARGINS[dataset],
            better=better(metric),
            note="The paper prints no setting of this model; the page on baselines says what ours is."
            + (f" Release {release} of the library, of 2021." if release else ""),
        )
