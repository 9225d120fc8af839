"""From notebooks to a book: execute them, put their pages together, build, and write RESULTS.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock, Timeout

from mixnam.data import catalogue
from mixnam.data.table import DataError
from mixnam.paper import costs, experiments, running, sheet
from mixnam.paper.presets import PRESETS
from mixnam.plots import look, shapes
from mixnam.report import layout, rerun, story
from mixnam.report.execute import execute
from mixnam.report.parameters import Parameters
from mixnam.report.scorecard import Scorecard
from mixnam.runs.files import root, told, write_file
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

#: Pages before and after the experiments' own, all of them notebooks; `USE` is on using the package.
FRONT = ("index", "contents", "scorecard", "findings", "tables")
USE = ("guide", "estimators")
BACK = ("speed", "searches", "evidence", "status")
#: Data sets of the reference, those with results in `book/results`: each has an accuracy page.
REFERENCE = ("housing", "income", "support2", "bike", "diabetes", "breast_cancer")
HAND_WRITTEN = ("limits", "api", "rules", "method", "baselines", "rerun", "cluster", "data", "glossary")
LEAST_DISK_GB, LEAST_MEMORY_GB, LEAST_PYTHON = 3, 3, (3, 11)
#: Experiments that run on the first of the chosen data sets alone, and those that make their own data.
FOCUSED = ("mixnam_d", "mixnam_e", "expert_scaling", "routing", "ablations", "complexity")


def experiment_pages(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the pages of experiments as {page: (notebook, data set)}.

    Accuracy runs on every chosen data set; explanations on those that are not bundled with scikit-learn; the rest on
    the first of these, or on simulated data (no data set).
    """
    names = list(dict.fromkeys(names))
    chosen = [name for name in names if not catalogue.entry(name).bundled]
    tables = {f"accuracy_{d}": ("accuracy", d) for d in names}
    if chosen:
        tables["ahead"] = "ahead", chosen[0]
    tables |= {f"explanations_{d}": ("explanations", d) for d in chosen}
    tables |= {f"lambda_sweep_{d}": ("lambda_sweep", d) for d in chosen[:1]}
    tables |= {notebook: (notebook, d) for d in chosen[:1] for notebook in FOCUSED}
    return tables | {notebook: (notebook, "") for notebook in experiments.SIMULATED}


def all_pages(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return every notebook page in the book's order."""
    front, back = ({page: (page, "housing") for page in part} for part in (FRONT + USE, BACK))
    return front | experiment_pages(names) | back


def pages_at_hand(parameters: Parameters) -> list[str]:
    """Return the pages of the book that a page belongs to: the reference's, or what every book has and what was run."""
    if parameters.is_reference:
        return [*all_pages(REFERENCE), *HAND_WRITTEN]
    executed = {path.stem for path in (parameters.results.parent / "notebooks").glob("*.ipynb")}
    return sorted(executed | {*FRONT, *USE, *BACK, *HAND_WRITTEN})


def clean(path: Path, title: str = "") -> bytes:
    """Return an executed notebook as a page: bytes that depend on its content alone.

    Left out are run times, timestamps, host-specific metadata and progress lines; ids are fixed, code is shown in
    cells tagged `keep-input` alone, `title` is added to the heading. Run times are shown from the results instead.
    """
    notebook: Any = nbformat.read(path, as_version=4)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata = {"tags": sorted(cell.metadata.get("tags", []))}
        if number == 0 and title:
            heading, *text = cell.source.split("\n", 1)
            cell.source = "\n".join([f"{heading}: {layout.literal(title)}", *text])
        if cell.cell_type == "code":
            if "keep-input" not in cell.metadata["tags"]:
                cell.metadata["tags"].append("remove-input")
            shown = [o for o in cell.outputs if o.get("name") != "stderr"]
            cell.outputs = [o for o in shown if o.get("data", {}).get("text/markdown") != layout.NOTHING]
            for output in cell.outputs:
                output.pop("metadata", None)
                if output.output_type in ("display_data", "execute_result"):
                    output["metadata"] = {}
    return (json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def table_of_contents(names: Sequence[str]) -> str:
    """Return the content of `_toc.yml` for these data sets."""
    pages = experiment_pages(names)
    parts = {
        "Verdicts": (*FRONT[1:], "rules"),
        "Use it": (*USE, "limits", "api"),
        "Real data": [page for page, (_, dataset) in pages.items() if dataset],
        "Simulated data": [page for page, (_, dataset) in pages.items() if not dataset],
        "Background": HAND_WRITTEN[3:],
        "About this run": BACK,
    }
    lines = ["# written by python -m mixnam.report.book", "format: jb-book", "root: index", "parts:"]
    for caption, listed in parts.items():
        lines += [f"  - caption: {caption}", "    chapters:"] + [f"      - file: {page}" for page in listed]
    return "\n".join(lines) + "\n"


def unlinked(text: str, absent: Collection[str]) -> str:
    """Return Markdown, or JSON that holds some, without its links to pages that are absent from a book."""
    return re.sub(rf"\[([^\[\]]+)\]\((?:{'|'.join(absent)})(?:\.html)?(?:#[^)]*)?\)", r"\1", text)


def assemble(executed: Path, out: Path, names: Sequence[str]) -> None:
    """Put a book together in `out`: hand-written pages from `book/`, executed notebooks from `executed`."""
    source = root() / "book"
    if out.resolve() != source.resolve():
        shutil.rmtree(out, ignore_errors=True)
        ignored = shutil.ignore_patterns("results", "_build", "*.ipynb", "_toc.yml")
        shutil.copytree(source, out, ignore=ignored)
    absent = all_pages(REFERENCE).keys() - all_pages(names).keys()
    for text in out.glob("*.md") if absent else ():
        text.write_text(unlinked(text.read_text(encoding="utf-8"), absent), encoding="utf-8")
    for page, (notebook, dataset) in all_pages(names).items():
        title = catalogue.entry(dataset).title if page != notebook else ""
        content = clean(executed / f"{page}.ipynb", title)
        write_file(out / f"{page}.ipynb", unlinked(content.decode(), absent).encode() if absent else content)
    write_file(out / "_toc.yml", table_of_contents(names).encode())


def build(book: Path) -> Path:
    """Build the HTML book, warnings being errors, and return its first page."""
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", str(book), "--all", "-W", "--keep-going", "-n", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"jupyter-book build {book} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return book / "_build" / "html" / "index.html"


def preflight(specs: Sequence[RunSpec], jobs: int) -> str:
    """Check Python, disk and memory, and return the estimate that a report starts with.

    Raises SystemExit naming what is short and how much is needed.
    """
    if sys.version_info < LEAST_PYTHON:
        raise SystemExit(f"Python {platform.python_version()} is too old; 3.11 or later is needed")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    if free < LEAST_DISK_GB:
        raise SystemExit(f"{free:.1f} GB of disk are free here; {LEAST_DISK_GB} GB are needed")
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
        if memory < LEAST_MEMORY_GB:
            raise SystemExit(f"this machine has {memory:.1f} GB of memory; {LEAST_MEMORY_GB} GB are needed")
    return costs.estimate(specs, jobs)


def lacking(names: Sequence[str], preset: str, store: Store) -> tuple[list[RunSpec], list[str]]:
    """Return what a report has to train, and which of the data sets are not at hand, a line each with the remedy."""
    skipped = {}
    for name in names:
        try:
            catalogue.load(name)
        except DataError as error:
            skipped[name] = f"will be skipped: {name}: {error}"
    wanted: dict[RunSpec, None] = {}
    for notebook, dataset in experiment_pages([name for name in names if name not in skipped]).values():
        wanted |= dict.fromkeys(experiments.specs_for(notebook, dataset, preset))
    return [spec for spec in wanted if store.current(spec) is None], list(skipped.values())


def train(names: Sequence[str], preset: str, results: Path, device: str, jobs: int) -> running.Failures:
    """Print how long a report may take and what it skips, then train what it lacks; return what failed."""
    specs, skipped = lacking(names, preset, Store(results))
    about = f"report at the {preset} preset on {', '.join(names)} and simulated data"
    print("\n".join([f"{about}: {preflight(specs, jobs)}, then about 2 min for pages", *skipped]), flush=True)
    return running.train_side_by_side(specs, Store(results), device, preset, jobs)


def make_report(names: Sequence[str], preset: str, run: Path, device: str, jobs: int, pages: bool) -> int:
    """Train what a report lacks, make its pages and the book, and say what came out; return the exit code.

    What a run that was killed left is made anew: our lock ends with its process, as Snakemake's own would not.

    Raises Timeout where another process makes the report of this run.
    """
    running.check_writable(run, "RUN=")
    with running.held(lock_of(run)):
        lines, code = running.failed_lines(train(names, preset, run / "results", device, jobs)), 0
        failed = bool(lines)
        if pages:
            config = {"preset": preset, "datasets": ",".join(names), "device": device, "run": told(run)}
            command = [str(Path(sys.executable).with_name("snakemake")), "--nolock", "--forceall", "--rerun-incomplete"]
            command += ["--cores", str(jobs), "--quiet", "all", "--config", *(f"{k}={v}" for k, v in config.items())]
            code = subprocess.run(command, cwd=root(), check=False).returncode
            lines.insert(0, "the pages could not be made: see above" if code else closing(run, preset))
    print("\n".join(lines), flush=True)
    return code or int(failed)


def lock_of(run: Path) -> FileLock:
    """Return the lock of the command that makes the report of a run."""
    return FileLock(run / ".report.lock")


def closing(run: Path, preset: str) -> str:
    """Return what a report ends with: whether the rerun confirms the reference, what differs, and where the book is."""
    parameters = Parameters("housing", preset, "cpu", run / "results", False)
    differing = (f"  different: {', '.join(row)}" for row in rerun.table(parameters).to_numpy())
    place = f"report: {run / 'book' / '_build' / 'html' / 'index.html'}"
    return "\n".join([rerun.summary(parameters), *differing, place])


def make_reference(names: Sequence[str] = REFERENCE) -> None:
    """Judge all claims into book/verdicts.csv, execute the notebooks on the reference results, write RESULTS.md."""
    project = root()
    work = project / "runs" / "reference"
    sheet.write(project / "book" / "verdicts.csv", Store(project / "book" / "results"))
    for page, (notebook, dataset) in all_pages(names).items():
        print(f"reference: {page}", flush=True)
        execute(notebook, work / f"{page}.ipynb", dataset, "paper", project / "book" / "results", "cpu", False)
    assemble(work, project / "book", names)
    parameters = Parameters("housing", "paper", "cpu", project / "book" / "results", False)
    write_file(project / "RESULTS.md", story.results_markdown(parameters).encode())
    opening = story.readme((project / "README.md").read_text(encoding="utf-8"), Scorecard(parameters))
    write_file(project / "README.md", opening.encode())
    picture(parameters, project / "docs" / "shape_plot.png")


def picture(parameters: Parameters, path: Path) -> None:
    """Draw README's shape plots from the first MixNAM result at the paper's setting."""
    look.style()
    for result in parameters.columns[0].runs("housing", "MixNAM")["result"][:1]:
        path.parent.mkdir(exist_ok=True)
        shapes.shape_plots(result, [7, 0]).savefig(path, dpi=130, metadata={"Software": None})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of `make report` and `make reference`; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mixnam.report.book", description=__doc__)
    parser.add_argument("command", choices=("rerun", "train", "report", "reference"))
    parser.add_argument("--preset", default="quick", choices=PRESETS)
    parser.add_argument("--datasets", default="housing", help="separated by commas")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--run", type=Path, help="directory of this rerun (default: runs/PRESET)")
    parser.add_argument("--jobs", type=running.count, default=2, help="how many models train at a time")
    arguments = parser.parse_args(argv)
    names = [name.strip() for name in arguments.datasets.split(",")]
    for name in names:
        try:
            if catalogue.entry(name).simulated:
                raise ValueError(f"{name} is simulated: its pages are always made")
        except (ValueError, DataError) as error:
            parser.error(f"--datasets: {error}")
    run = (arguments.run or root() / "runs" / arguments.preset).absolute()
    if arguments.command == "reference":
        make_reference()
    elif arguments.command == "report":
        assemble(run / "notebooks", run / "book", names)
        for store in (root() / "book" / "results", run / "results"):  # a rerun's own result wins
            for path in (result.path(".json") for result in Store(store)):
                write_file(run / "book" / "results" / path.relative_to(store.absolute()), path.read_bytes())
        build(run / "book")
    else:
        pages = arguments.command == "rerun"
        try:
            return make_report(names, arguments.preset, run, arguments.device, arguments.jobs, pages)
        except Timeout:
            message = (
                f"error: {running.holder(lock_of(run))} makes the report in {told(run)} already; wait for its end, "
            )
            raise SystemExit(f"{message}or make another one with RUN=directory") from None
        except OSError as error:
            raise SystemExit(f"error: {error}") from None
        except KeyboardInterrupt:
            raise SystemExit(f"\n{running.INTERRUPTED}") from None
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
