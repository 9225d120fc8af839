"""The sheet of verdicts: every claim judged once on the paper's numbers and on the reference's results."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mixnam.paper import verdicts
from mixnam.paper.claim import Claim, claims
from mixnam.paper.verdicts import Verdict
from mixnam.paper.words import NOT_APPLICABLE
from mixnam.runs.store import Store

#: The columns of verdicts: on the paper's own numbers, on ours at its setting and at the quick one.
PRINTED, PAPER, OURS = "printed", "paper_setting", "ours"
_VERDICTS = (PRINTED, PAPER, OURS)
_DIGITS = 12  # of a key, which `verify` finds it by


def judge(claim: Claim, store: Store) -> tuple[Verdict, Verdict, Verdict]:
    """Return a claim's verdicts; what has one setting, ours, has none at the paper's."""
    paper = Verdict(NOT_APPLICABLE) if claim.one_setting else verdicts.on_results(claim, "paper", store)
    return verdicts.on_paper(claim), paper, verdicts.on_results(claim, "quick", store)


def write(path: Path, store: Store) -> None:
    """Judge all claims on a store and write the sheet.

    Columns: claim, group, place, statement, the three verdicts; `text`, what these rest on, a line each; `keys`, the
    first digits of the results behind them, `runs`, the least number of a model's runs, and `comparisons`, how many
    intervals could have decided, a line each for the two on results; `numbers`, the one number of each verdict.
    """
    rows = []
    for claim in claims():
        found = judge(claim, store)
        row = {"claim": claim.id, "group": claim.group, "place": claim.place, "statement": claim.statement}
        row |= {name: verdict.verdict for name, verdict in zip(_VERDICTS, found, strict=True)}
        row["text"] = "\n".join(" ".join(verdict.text.split()) for verdict in found)
        row["keys"] = "\n".join(" ".join(key[:_DIGITS] for key in verdict.keys) for verdict in found[1:])
        row["runs"] = "\n".join(str(verdict.n) for verdict in found[1:])
        row["comparisons"] = "\n".join(str(verdict.comparisons) for verdict in found[1:])
        row["numbers"] = "\n".join(verdict.number for verdict in found)
        rows.append(row)
    pd.DataFrame(rows).to_csv(path, index=False)


def read(path: Path) -> dict[str, dict[str, Verdict]]:
    """Return the verdicts of a sheet by claim and column; empty where there is no sheet."""
    if not path.exists():
        return {}
    found = {}
    for row in pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records"):
        names = ("text", "keys", "runs", "comparisons", "numbers")
        texts, keys, runs, comparisons, numbers = (row[name].split("\n") for name in names)
        found[row["claim"]] = {PRINTED: Verdict(row[PRINTED], texts[0], number=numbers[0])} | {
            name: Verdict(
                row[name], texts[1 + k], int(runs[k]), tuple(keys[k].split()), int(comparisons[k]), numbers[1 + k]
            )
            for k, name in enumerate((PAPER, OURS))
        }
    return found
