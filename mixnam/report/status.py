"""The status page: what was run, where results come from, and the data behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
import pandas as pd
import torch

from mixnam.data import catalogue
from mixnam.paper import experiments
from mixnam.paper.costs import duration
from mixnam.report.book import experiment_pages
from mixnam.report.layout import commit
from mixnam.report.parameters import Parameters
from mixnam.runs.machine import provenance


def page_times(folder: Path) -> dict[str, float]:
    """Return how many seconds each executed notebook in `folder` took, by page, as papermill recorded it."""
    times = {}
    for path in sorted(folder.glob("*.ipynb")):
        taken = nbformat.read(path, as_version=4).metadata.get("papermill", {}).get("duration")
        if taken is not None:
            times[path.stem] = float(taken)
    return times


def status_table(parameters: Parameters) -> pd.DataFrame:
    """Return for each page its results and their training time, by setting, and its own run time."""
    times = {} if parameters.is_reference else page_times(parameters.results.parent / "notebooks")
    rows = []
    real = [name for name, entry in catalogue.REGISTRY.items() if not entry.simulated]
    for page, (notebook, dataset) in experiment_pages(real).items():
        row, devices = {"page": page}, set()
        for column in parameters.columns if parameters.is_reference else parameters.own_first[:1]:
            specs = experiments.specs_for(notebook, dataset, column.preset)
            found = [r for spec in specs if (r := column.store.current(spec)) is not None]
            row[f"results, {column.setting}"] = f"{len(found)} of {len(specs)}"
            seconds = sum(r.cost["fit_seconds"] for r in found)
            row[f"training, {column.setting}"] = duration(seconds) if found else "–"
            devices |= {r.provenance["device"] for r in found}
        if times:
            row["page run in"] = duration(times[page]) if page in times else "–"
        rows.append(row | {"device": ", ".join(sorted(devices)) or "–"})
    return pd.DataFrame(rows)


def _versions(origin: Mapping[str, Mapping[str, str]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in origin["versions"].items())


def origin_table(parameters: Parameters) -> pd.DataFrame:
    """Return commits, devices and versions behind the results shown."""
    rows = [
        {
            "commit": commit(p),
            "device": f"{p['device']}, {p['threads']} thread" + ("s" if p["threads"] > 1 else ""),
            "versions": _versions(p),
        }
        for p in (result.provenance for result in parameters.own_first[0].store)
    ]
    if not rows:
        here = provenance(torch.device("cpu"), parameters.preset)
        return pd.DataFrame([{"commit": "no results yet", "device": here["device"], "versions": _versions(here)}])
    table = pd.DataFrame(rows)
    return table.groupby(list(table.columns)).size().rename("results").reset_index()


def data_table(parameters: Parameters) -> pd.DataFrame:
    """Return the data behind the results shown."""
    names: Sequence[str] = ("data_sha256", "data_source")
    seen = {(r.spec.dataset, *(r.provenance[k] for k in names)) for r in parameters.own_first[0].store}
    rows = [(dataset, checksum[:24], source) for dataset, checksum, source in sorted(seen)]
    return pd.DataFrame(rows, columns=["data set", "SHA-256 of the parsed arrays", "read from"])
