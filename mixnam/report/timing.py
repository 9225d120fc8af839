"""What training costs: seconds of one version's runs, beside the benchmark's, which had the machine to itself."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mixnam.models import Settings, make_settings
from mixnam.paper.costs import duration, version_order
from mixnam.paper.experiments import Case
from mixnam.report import speed
from mixnam.report.layout import plural
from mixnam.report.parameters import Parameters
from mixnam.report.tables import by, cell

#: What a table of costs shows: label and digits by path.
_COSTS = {
    "cost.peak_memory_mb": ("peak memory, MB", 0),
    "cost.seconds_per_step": ("seconds a step", 4),
    "cost.fit_seconds": ("seconds of training", 0),
}


def newest(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with a measured time of the newest `mixnam` that made any.

    Newest within each source (where runs name one), data set, model and settings.
    """
    if runs.empty:
        return runs
    timed = runs[runs["cost.fit_seconds"].notna()]
    known = sorted(timed["version"].dropna().unique(), key=version_order)
    place = timed["version"].map({version: i for i, version in enumerate(known)}).fillna(-1)
    group = [timed[name] for name in ("source", "dataset", "model", "settings") if name in timed]
    return timed[place == place.groupby(group).transform("max")]


def note(runs: pd.DataFrame) -> str:
    """Return which runs `newest` takes for a table of seconds, as Markdown."""
    counts = newest(runs)["version"].fillna("unknown").value_counts(sort=False)
    taken = ", ".join(f"{plural(count, 'run')} of version {version}" for version, count in counts.items())
    return (
        f"Seconds are those of the newest version of mixnam that trained a row: {taken or 'none yet'}. Other programs "
        "may have run beside them; the [speed page](speed.html) has times measured alone."
    )


def table(parameters: Parameters, rows: Sequence[Case]) -> pd.DataFrame:
    """Return what training costs: each row's version, its runs, their parameters, seconds and memory."""
    runs = newest(parameters.runs(rows))
    groups = by(runs, "row", "source")
    lines = []
    for case in rows:
        for column in parameters.columns:
            own = groups.get((case.label, column.label), runs[:0])
            line = {"model": case.label, "source": column.setting, "n": len(own)}
            line["version"] = own["version"].iloc[0] if len(own) else "–"
            line["parameters"] = f"{own['cost.parameters'].mean():,.0f}" if len(own) else "–"
            line |= {label: cell(own, path, digits) for path, (label, digits) in _COSTS.items()}
            spec = own["result"].iloc[0].spec if len(own) else None
            lines.append(line | {"training alone (benchmark)": _alone(spec.dataset, spec.settings) if spec else "–"})
    return pd.DataFrame(lines)


def _alone(dataset: str, settings: Settings) -> str:
    """Return how long one training took in the benchmark, "–" where it has no such settings."""
    for record in speed.records():
        quality = record["parts"].get("quality", {"dataset": "", "contestants": {}})
        for name, found in quality["contestants"].items():
            same_model = (quality["dataset"], name.partition(",")[0]) == (dataset, settings.model)
            if same_model and make_settings(settings.model, found["settings"]) == settings:
                return duration(found["seconds"])
    return "–"
