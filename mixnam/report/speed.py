"""The page about speed: committed records of `make bench`, as tables and pictures."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from mixnam.paper.costs import duration
from mixnam.plots.look import SOURCE_COLORS, finished
from mixnam.report.layout import literal, percent, plural
from mixnam.runs.files import root
from mixnam.runs.results import Result

Record = Mapping[str, Any]
_COLORS = {
    "ours": "#0b2e6f", "general": "#4c8ed9", "loop": "#5f8a3b", "conv1d": "#b8551f", "elementwise": "#c0392b",
    "authors": "#222222",
}  # fmt: skip
#: Of the contestants on the way to quality: MixNAM's settings as on all pages, others in turn.
_SETTINGS = {"MixNAM, paper": SOURCE_COLORS["paper"], "MixNAM, quick": SOURCE_COLORS["quick"]}
_OTHERS = ("#8a7a00", "#222222", "#8c8c8c", "#7b3f8c", "#c79bd6", "#007a5a", "#7fd1ae")
_AXES = {"rows": "rows of a batch", "features": "features", "experts": "experts of a feature"}


def records(folder: Path | None = None, part: str = "") -> list[Record]:
    """Return the committed records, one a machine, by name; those alone that hold a part where one is named."""
    paths = sorted((folder or root() / "book" / "benchmarks").glob("*.json"))
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [record for record in found if not part or part in record["parts"]]


def measured(record: Record, names: Sequence[str]) -> str:
    """Say in plain text with what and when these parts were measured, and what else the machine did."""
    parts, where = record["parts"], record["processor"]
    said = [f"{name}: not measured yet on {where}." for name in names if name not in parts]
    # the contestants of `quality` are measured one by one
    found = [
        part for name in names for part in parts.get(name, {}).get("contestants", {name: parts.get(name)}).values()
    ]
    if stamps := [part["measured"] for part in found if part]:
        commits = ", ".join(dict.fromkeys(str(s["git_commit"])[:9] + ("+" if s["dirty"] else "") for s in stamps))
        dates = " to ".join(dict.fromkeys(s["created"][:10] for s in (stamps[0], stamps[-1])))
        load = max((s["load"] or 0.0) for s in stamps)
        cut = ", cut short" if any(s["smoke"] for s in stamps) else ""
        said.append(
            f"Measured on {where}, {dates}, commit {commits}, torch {stamps[0]['versions']['torch']}; "
            f"load average at the start at most {load:.1f}, earlier parts included{cut}."
        )
    return " ".join(said)


def machine_table(found: Sequence[Record]) -> pd.DataFrame:
    """Return each machine's limits, measured before anything else."""
    rows = []
    for limits in (record["parts"]["machine"] for record in found if "machine" in record["parts"]):
        row = {"machine": limits["processor"], "memory": f"{limits['memory_mb'] / 1024:.0f} GiB"}
        for threads, rate in limits["matrix_gflops"].items():
            row[f"float32 matrix products, {plural(int(threads), 'thread')}"] = f"{rate:.0f} GFLOP/s"
        for threads, rate in limits["copy_gb_per_second"].items():
            row[f"copying memory, {plural(int(threads), 'thread')}"] = f"{rate:.0f} GB/s"
        rows.append(row)
    return pd.DataFrame(rows)


def _seconds(value: float) -> str:
    return f"{value * 1e3:.1f}\N{NO-BREAK SPACE}ms" if value < 1 else f"{value:.2f}\N{NO-BREAK SPACE}s"


def step_table(record: Record) -> pd.DataFrame:
    """Return one training step of each contestant on each shape, beside ours."""
    found = record["parts"].get("steps", {"shapes": ()})
    rows = []
    for shape in found["shapes"]:
        kind = ("" if shape["blocked"] else ", in general form") + (", distinct values once" * shape["gathers"])
        for name, step in shape["contestants"].items():
            full = step["rows"] == shape["settings"]["batch_size"]
            row = {"shape": f"{shape['name']} ({shape['features']} features)"}
            row["formulation"] = found["labels"][name]["label"] + (kind if name == "ours" else "")
            row["rows"] = f"{step['rows']:,}" + ("" if full else " (more do not fit)")
            row["a step"] = _seconds(step["seconds"])
            row["rows a second"] = f"{step['rows_per_second']:,.0f}"
            row["times ours, a row"] = "1" if name == "ours" else f"{step['ratio']:.1f}"
            row["of the matrix rate"] = percent(step["matrix_share"])
            rows.append(row | {"memory": f"{step['peak_mb']:,.0f}\N{NO-BREAK SPACE}MB"})
    return pd.DataFrame(rows)


def cores_table(record: Record) -> pd.DataFrame:
    """Return throughput at equal cores on Housing: processes side by side against threads."""
    found = record["parts"].get("cores", {"teams": ()})
    rows = []
    for team in found["teams"]:
        row = {"formulation": found["labels"][team["contestant"]]["label"], "cores": team["cores"]}
        row["as"] = f"{plural(team['processes'], 'process', 'es')} of {plural(team['threads'], 'thread')}"
        row["rows a second, all together"] = f"{team['rows_per_second']:,.0f}"
        rows.append(row | {"ours is faster by": "–" if team["contestant"] == "ours" else f"{team['ratio']:.1f}"})
    return pd.DataFrame(rows)


def curves_figure(record: Record) -> Figure | None:
    """Draw seconds per step over rows, features and experts; None where they were not measured."""
    found = record["parts"].get("curves")
    if found is None:
        return None
    figure, axes = plt.subplots(1, len(found["curves"]), figsize=(8.2, 3.2), layout="constrained", squeeze=False)
    for ax, curve in zip(axes[0], found["curves"], strict=True):
        ticks = [point["value"] for point in curve["points"]]
        for name, label in found["labels"].items():
            times = pd.Series([point["seconds"].get(name) for point in curve["points"]], ticks, dtype=float).dropna()
            if len(times):
                look = {"color": _COLORS[name], "label": label["label"]}
                ax.plot(times.index, times * 1e3, marker="o", markersize=3.5, **look)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        thinned = ticks if len(ticks) < 6 else ticks[::2]
        ax.set_xticks(thinned, [f"{t:,}" for t in thinned], fontsize=9)
        ax.minorticks_off()
        ax.grid(True, which="major", axis="both")
        ax.set_xlabel(_AXES[curve["name"]])
    axes[0, 0].set_ylabel("milliseconds a step")
    return finished(figure)


def quality_figure(record: Record) -> Figure | None:
    """Draw the test error over seconds of training; None where it was not measured."""
    found = record["parts"].get("quality")
    if found is None:
        return None
    figure, ax = plt.subplots(figsize=(8.2, 4.4), layout="constrained")
    others = itertools.cycle(_OTHERS)
    for name, contestant in found["contestants"].items():
        look = {"color": _SETTINGS.get(name) or next(others), "label": name, "linewidth": 1.6}
        points = sorted((p["seconds"], p["rmse"]) for p in contestant["points"])
        if contestant["kind"] == "network":  # the best so far stays until training ends
            x, y = zip(*points, (contestant["seconds"], points[-1][1]), strict=True)
            ax.step(x, y, where="post", **look)
        else:
            x, y = zip(*points, strict=True)
            ax.plot(x, y, "o:", markersize=5, **look)
    ax.set_xscale("log")
    ax.set_ylim(top=min(0.75, ax.get_ylim()[1]))
    ax.set_xlabel("seconds of training")
    ax.set_ylabel(f"{found['metric']}, {found['unit']}")
    ax.legend(frameon=False, fontsize=9, loc="upper right")
    plt.close(figure)
    return figure


def _short(seconds: float) -> str:
    """Return a duration in words, with tenths below 10 s."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def reached_table(record: Record) -> pd.DataFrame:
    """Return when each contestant first was as good as each library model's best, or better."""
    contestants = record["parts"].get("quality", {"contestants": {}})["contestants"]
    best = {name: min(p["rmse"] for p in c["points"]) for name, c in contestants.items()}
    # "…, one thread" is the same model once more
    marks = [n for n, c in contestants.items() if c["kind"] == "library" and not n.endswith("one thread")]
    rows = []
    for name, contestant in contestants.items():
        row = {"model": name, "best": f"{best[name]:.3f}", "time in all": _short(contestant["seconds"])}
        for mark in marks:
            times = [p["seconds"] for p in contestant["points"] if p["rmse"] <= best[mark]]
            row[f"as good as {mark} ({best[mark]:.3f}) after"] = _short(min(times)) if times else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def device_table(found: Sequence[Record]) -> pd.DataFrame:
    """Return each stack's steps on each machine's GPU."""
    rows = []
    for on in (record["parts"]["device"] for record in found if "device" in record["parts"]):
        for stack in on["stacks"]:
            row = {"GPU": on["device"], "stack": f"{stack['members']} members, {stack['shape']}"}
            captured = stack.get("captured")
            row["a step, as a CUDA graph"] = _seconds(stack["captured_seconds"]) if captured else "not captured"
            row["launched kernel by kernel"] = _seconds(stack["launched_seconds"])
            row["rows a second"] = f"{stack['rows_per_second']:,.0f}"
            row["of the matrix rate"] = percent(stack["matrix_share"])
            rows.append(row | {"memory": f"{stack['peak_mb']:,.0f} MB ({stack['estimated_mb']:,.0f} estimated)"})
    return pd.DataFrame(rows)


def device_text(results: Iterable[Result]) -> str:
    """Say what was trained on a GPU."""
    found = [r for r in results if r.provenance["device_type"] != "cpu"]
    if not found:
        return (
            "On a GPU members of one architecture train side by side, each step as one CUDA graph. That path has been "
            "tested on a CPU as far as a CPU allows (stacks, members that leave them, running out of memory, the "
            "budget, checkpoints); its speed is **not measured yet**: no result of the reference came from a GPU."
        )
    seconds = sum(r.cost["fit_seconds"] for r in found)
    devices = literal(", ".join(sorted({r.provenance["device"] for r in found})))
    return f"{len(found)} results of the reference were trained on {devices}, in {duration(seconds)} of training."
