"""Whether a rerun confirms the reference: each of its results beside the reference's result of the same run."""

from __future__ import annotations

import dataclasses

import pandas as pd

from mixnam.report.parameters import Parameters
from mixnam.runs.compare import DIFFERENT, SAME, WITHIN, compare
from mixnam.runs.results import Result
from mixnam.runs.store import Store

#: What sets a comparison apart: it leaves out the measures, or nothing can be compared.
MEASURES, DATA = "measures of another revision", "other data"
_WORDS = {SAME: "bit for bit the same", WITHIN: "within rounding", DIFFERENT: "different"}
_COLUMNS = ("data set", "model", "run", "key", "apart", "verdict", "what differs", "cause")


def comparisons(parameters: Parameters) -> pd.DataFrame:
    """Return a row for each result of a rerun whose run the reference has, too; none for the reference itself.

    Columns: `data set`, `model`, `run`, `key` in 12 digits; `apart`, which is `MEASURES`, `DATA` or empty; `verdict` of
    `runs.compare`; `what differs` most; and its `cause`. On other data the last three are empty.
    """
    rows: list[tuple[str, ...]] = []
    if not parameters.is_reference:
        reference = Store(parameters.reference)
        for again in Store(parameters.results):
            spec, group = again.spec, reference.group(again.spec.dataset, again.spec.model)
            found = next((_compared(stored, again) for stored in group.results if stored.key == again.key), None)
            runs = {(split, seed) for _, split, seed in group.runs.get(spec.settings, {})}
            if found is None and (spec.split, spec.seed) in runs:
                found = DATA, "", "", ""
            if found is not None:
                rows.append((spec.dataset, spec.model, spec.repetition, again.key[:12], *found))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _compared(stored: Result, again: Result) -> tuple[str, str, str, str]:
    """Return the last four columns for two results of one run; measures of two revisions are left out."""
    found, apart = compare(stored, again), ""
    if any((part.kind, part.name, part.verdict) == ("measure", "revision", DIFFERENT) for part in found.parts):
        apart, kept = MEASURES, tuple(part for part in found.parts if part.kind != "measure")
        found = dataclasses.replace(found, parts=kept, reasons=found.reasons[:-1])
    return apart, found.verdict, str(found.worst or ""), found.reason if found.worst else ""


def _counted(verdicts: pd.Series) -> str:
    return ", ".join(f"{(verdicts == verdict).sum()} {words}" for verdict, words in _WORDS.items())


def summary(parameters: Parameters) -> str:
    """Return whether the rerun confirms the reference, with counts and causes; empty for the reference itself."""
    if parameters.is_reference:
        return ""
    found = comparisons(parameters)
    whole, scores, other = (found[found["apart"] == kind] for kind in ("", MEASURES, DATA))
    if whole.empty and scores.empty:
        said = ["No result of the reference was trained again here."]
    else:
        confirmed = "does not confirm" if (found["verdict"] == DIFFERENT).any() else "confirms"
        said = [
            f"This rerun {confirmed} the reference.",
            f"{len(whole)} of the reference's results were trained again here: {_counted(whole['verdict'])}.",
        ]
    if len(scores):
        said.append(
            f"Compared without measures, which are of another revision: {len(scores)} ({_counted(scores['verdict'])})."
        )
    if len(other):
        said.append(f"Not compared, because the data are others: {len(other)}.")
    causes = found.loc[found["cause"] != "", "cause"].value_counts()
    if len(causes):
        said.append(f"Causes of other bits: {', '.join(f'{cause} ({n})' for cause, n in causes.items())}.")
    return " ".join(said)


def table(parameters: Parameters) -> pd.DataFrame:
    """Return the results that came out different, with what differs most and the cause."""
    found = comparisons(parameters)
    return found.loc[found["verdict"] == DIFFERENT, ["data set", "model", "run", "key", "what differs", "cause"]]
