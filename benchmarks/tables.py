"""What was measured, as tables to read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Part = dict[str, Any]
SHOWN = 4  # points of a network's training, and the last


def layout(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines with aligned columns, the first to the left and the others to the right.

    **Examples**

    >>> print(layout(["who", "ms"], [["ours", "1.0"], ["loop", "12.0"]]))
    who     ms
    ours   1.0
    loop  12.0
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = (
        [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in text)


def duration(seconds: float) -> str:
    """Return seconds as a reader wants them."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def machine(part: Part) -> str:
    """Return the machine's rates."""
    head = f"{part['processor']}, {part['memory_mb'] / 1024:.0f} GB; torch {part['versions']['torch']}"
    rows = [
        [f"{threads} threads" if threads != "1" else "1 thread", f"{rate:.0f}", f"{copy:.0f}"]
        for (threads, rate), copy in zip(
            part["matrix_gflops"].items(), part["copy_gb_per_second"].values(), strict=True
        )
    ]
    return head + "\n" + layout(["", "matrix product, GFLOP/s", "copy, GB/s"], rows)


def steps(part: Part) -> str:
    """Return a table for each shape."""
    texts = []
    for shape in part["shapes"]:
        batch = shape["settings"]["batch_size"]
        way = ("blocked" if shape["blocked"] else "not blocked") + (", values gathered" if shape["gathers"] else "")
        head = (
            f"{shape['name']}: {shape['features']} features, batch {batch}, width {shape['settings']['width']}; {way}"
        )
        rows = [
            [
                part["labels"][name]["label"], str(v["rows"]), duration(v["seconds"]), f"{v['rows_per_second']:,.0f}",
                f"{v['ratio']:.2f}", f"{v['matrix_share']:.0%}", f"{v['peak_mb']:,.0f}",
            ]
            for name, v in shape["contestants"].items()
        ]  # fmt: skip
        names = ["one thread", "rows", "a step", "rows/s", "times ours", "of matrix rate", "peak MB"]
        texts.append(head + "\n" + layout(names, rows))
    return "\n\n".join(texts)


def cores(part: Part) -> str:
    """Return the teams, those of one core first."""
    rows = [
        [
            part["labels"][t["contestant"]]["label"], str(t["cores"]), f"{t['processes']} x {t['threads']}",
            f"{t['rows_per_second']:,.0f}", f"{t['ratio']:.2f}",
        ]
        for t in part["teams"]
    ]  # fmt: skip
    return layout([part["shape"], "cores", "processes x threads", "rows/s", "times ours"], rows)


def curves(part: Part) -> str:
    """Return a table for each curve: ours in milliseconds, the others as ratios."""
    texts = []
    rivals = [name for name in part["labels"] if name != "ours"]
    for curve in part["curves"]:
        rows = []
        for point in curve["points"]:
            seconds = point["seconds"]
            ratios = ["-" if seconds[r] is None else f"{seconds[r] / seconds['ours']:.2f}" for r in rivals]
            rows.append([str(point["value"]), duration(seconds["ours"]), *ratios])
        texts.append(layout([curve["name"], "ours", *(part["labels"][r]["label"] for r in rivals)], rows))
    return "\n\n".join(texts)


def quality(part: Part) -> str:
    """Return each contestant's time and error, at a few of its points."""
    rows = []
    for name, found in part["contestants"].items():
        points = found["points"]
        some = range(0, len(points), 1 if found["kind"] == "library" else max(1, len(points) // SHOWN))
        shown = [points[i] for i in sorted({*some, len(points) - 1})]
        for point in shown:
            setting = f"{found['cut']} {point['at'] or 'own'}" if "cut" in found else f"epoch {point['at']}"
            rows.append([name, setting, str(found["threads"]), f"{point['seconds']:.1f}", f"{point['rmse']:.4f}"])
    return layout([part["metric"], "at", "threads", "seconds", part["unit"]], rows)


def device(part: Part) -> str:
    """Return each stack's steps on a GPU."""
    head = ["stack", "launched", "captured", "rows/s", "of the matrix rate", "MB", "MB estimated"]
    rows = [
        [
            f"{s['members']} x {s['shape']}", duration(s["launched_seconds"]),
            duration(s["captured_seconds"]) if s.get("captured") else "not captured", f"{s['rows_per_second']:,.0f}",
            f"{s['matrix_share']:.0%}", f"{s['peak_mb']:,.0f}", f"{s['estimated_mb']:,.0f}",
        ]
        for s in part["stacks"]
    ]  # fmt: skip
    title = f"{part['device']}: {part['matrix_gflops']:,.0f} GFLOP/s float32, {part['copy_gb_per_second']:,.0f} GB/s"
    return f"{title}\n\n{layout(head, rows)}"


TABLES = {
    "machine": machine, "steps": steps, "cores": cores, "curves": curves, "device": device, "quality": quality,
}  # fmt: skip
