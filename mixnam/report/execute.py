"""Execute one notebook as a page. Every page starts this anew, so it imports no more than papermill."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixnam.runs.files import root, sweep, told


class _Lines(logging.Handler):
    """Prints what a notebook says of its training, with the page's name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page

    def emit(self, record: logging.LogRecord) -> None:
        for line in record.getMessage().splitlines():
            if any(word in line for word in ("epoch", "after", "skipped", "failed", "waiting")):
                print(f"[{self.page}] {line}", flush=True)


def execute(notebook: str, out: Path, dataset: str, preset: str, results: Path, device: str, train: bool) -> None:
    """Execute a notebook through papermill with the given parameters; `out` appears only when it is done."""
    import papermill

    logger = logging.getLogger("papermill")
    logger.handlers, logger.propagate = [_Lines(out.stem)], False
    logger.setLevel(logging.INFO)
    out.parent.mkdir(parents=True, exist_ok=True)
    sweep(out.parent.glob(f".{out.stem}.*.tmp.ipynb"))
    given: dict[str, Any] = {"dataset": dataset} if dataset else {}
    given |= {"preset": preset, "device": device, "results": told(results.absolute()), "train": train}
    temporary = out.with_name(f".{out.stem}.{os.getpid()}.tmp.ipynb")
    papermill.execute_notebook(
        str(root() / "notebooks" / f"{notebook}.ipynb"), str(temporary), given, kernel_name="python3",
        cwd=str(root()), progress_bar=False, log_output=True, extra_arguments=["--log-level=50"],
    )  # fmt: skip
    os.replace(temporary, out)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line that the Snakefile calls; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mixnam.report.execute", description=__doc__)
    parser.add_argument("notebook")
    parser.add_argument("out", type=Path, help="the executed notebook; its name is the page's")
    parser.add_argument("--dataset", default="")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, required=True)
    given = vars(parser.parse_args(argv))
    execute(**given, train=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
