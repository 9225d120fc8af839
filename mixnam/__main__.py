"""Command line: python -m mixnam table | run | claim | search | status | verify | measure | merge."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from mixnam.data import catalogue
from mixnam.data.own import read_table
from mixnam.data.table import DataError
from mixnam.models import MODELS
from mixnam.paper import derived, evidence, experiments, plan, running, search, verdicts
from mixnam.paper.claim import claims
from mixnam.paper.costs import duration, estimate
from mixnam.paper.presets import PRESETS
from mixnam.paper.running import count, say, train_available
from mixnam.runs import merging
from mixnam.runs.compare import DIFFERENT, compare
from mixnam.runs.files import root, told
from mixnam.runs.fitting import fit, measure_again
from mixnam.runs.results import Result, UnreadableResult
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store

#: So many pairs of features are worth a word.
WIDE = 1000


def _names(text: str) -> list[str]:
    """Return names from the command line, separated by commas."""
    return [name.strip() for name in text.split(",")]


#: Arguments of `table` that are those of `read_table`, and which of them are lists.
_COLUMNS = {
    "target": "the column to predict", "task": "regression or classification (default: by the target's values)",
    "fold": "the column whose values are the test folds", "group": "the column whose groups stay together",
    "title": "how pages call the data", "unit": "the target's unit",
    "unseen": "average (default) or refuse: categories that the table has not",
}  # fmt: skip
_LISTS = {
    "categorical": "a column of numbers that are kinds", "drop": "a column that is no feature",
    "missing": "what stands for a missing value",
}  # fmt: skip


def table(arguments: argparse.Namespace) -> int:
    """Say how a table's columns are read, and how to give it a name, before anything trains on it."""
    given = {name: value for name in (*_COLUMNS, *_LISTS) if (value := getattr(arguments, name))}
    if Path(arguments.file).suffix == "" and not Path(arguments.file).exists():
        if given:
            raise ValueError(f"{arguments.file!r} is no file; for a data set's name leave out --{next(iter(given))}")
        print(catalogue.load(arguments.file))
        return 0
    if "target" not in given:
        raise ValueError("--target is missing: name the column to predict")
    read = read_table(Path(arguments.file), **given)
    print(read)
    pairs, paired = len(read.features) * (len(read.features) - 1) // 2, [m for m, s in MODELS.items() if s.paired]
    if pairs > WIDE:
        print(f"{pairs:,} pairs of features: {', '.join(paired)} have a term for each, and take their time")
    place, source = catalogue.directory(), Path(arguments.file).absolute()
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in {"table": str(source), **given}.items()
    ]
    print("\n".join([f"To train on it by a name of yours, put this into {place / 'NAME.toml'}:", "", *lines]))
    return 0


def _wanted(arguments: argparse.Namespace) -> dict[tuple[str, str], list[RunSpec]]:
    """Return the specs that the command line names, by experiment and data set; ValueError for unknown names."""
    datasets, models = _names(arguments.dataset), arguments.models
    for dataset in datasets:
        catalogue.entry(dataset)
    chosen = experiments.EXPERIMENTS if arguments.experiment == "all" else _names(arguments.experiment)
    options = arguments.preset, arguments.seeds, models
    found = {(name, d): experiments.specs_for(name, d, *options) for name in chosen for d in datasets}
    if models and not any(found.values()):
        raise ValueError(f"{arguments.experiment} has no run of {' or '.join(models)} at the {arguments.preset} preset")
    return found


def _into(arguments: argparse.Namespace, preset: str) -> Store:
    """Return the store that a command trains into: by default a preset's own, never the book's."""
    where = arguments.results or root() / "runs" / preset / "results"
    if not os.path.isdir(where):
        running.check_writable(where)
    return Store(where)


def run(arguments: argparse.Namespace) -> int:
    """Train what the named experiments lack, or with `reference` what the reference lacks most."""
    if arguments.experiment == "reference":
        return run_reference(arguments)
    if arguments.budget is not None or arguments.out is not None:
        raise ValueError("--budget and --out go with `run reference`; here say --results")
    wanted = _wanted(arguments)  # whatever is unknown is said before anything trains
    missing, where, models = 0, _into(arguments, arguments.preset).root, arguments.models
    failed: running.Failures = {}
    for name, dataset in wanted:
        options = {"seeds": arguments.seeds, "models": models}
        outcome = running.run(name, dataset, arguments.preset, where, arguments.device, **options)
        missing += len(outcome.missing)
        failed |= outcome.failed
        state = f"skipped: {outcome.skipped}" if outcome.skipped else f"{len(outcome.missing)} missing"
        state += f". {outcome.left_out}" if outcome.left_out else ""
        print(f"{name} on {dataset} ({arguments.preset}): {len(outcome.results)} results in {told(where)}, {state}")
    return _end(failed, missing)


def _end(failed: running.Failures, missing: int = 0) -> int:
    """Print what failed, and return the exit code: 1 where something did, or is missing."""
    for line in running.failed_lines(failed):
        print(line)
    return 1 if failed or missing else 0


def run_reference(arguments: argparse.Namespace) -> int:
    """Train within a budget what the results at hand lack, into a directory that can be merged into them."""
    if arguments.budget is None or arguments.out is None:
        raise ValueError("`run reference` needs --budget, such as 25m, and --out, a directory for its results")
    if arguments.dataset != "housing" or arguments.seeds is not None or arguments.models:
        raise ValueError("`run reference` takes no --dataset, no --seeds and no --models: its plan says which")
    results = arguments.results or Path("book/results")
    out, known, seconds = Store(arguments.out), Store(results), plan.budget(arguments.budget)
    running.check_writable(out.root, "--out")
    failed: running.Failures = {}
    print(f"{sum(1 for _ in known)} results are known in {known.root}")
    trained, left = plan.run(out, known, seconds, arguments.device, arguments.preset, failed=failed)
    print(f"{trained} results trained into {out.root}, {left} still lacking")
    if trained:
        where = shlex.quote(str(out.root)), shlex.quote(str(known.root))
        print("to merge them: python -m mixnam merge {} --results {}".format(*where))
    return _end(failed)


def claim(arguments: argparse.Namespace) -> int:
    """Train what claims lack and judge them, on the results of the directory that it trains into."""
    known = {c.id: c for c in claims()}
    unknown = [name for name in arguments.claims if name not in known]
    if unknown:
        raise ValueError(f"no claim {unknown[0]!r}; known are {', '.join(known)}")
    failed: running.Failures = {}
    for chosen_claim in (known[name] for name in arguments.claims):
        preset = chosen_claim.preset or arguments.preset
        store = _into(arguments, preset)
        if not chosen_claim.unavailable:
            specs = evidence.specs_for_claim(chosen_claim, preset, arguments.seeds or verdicts.LEAST_RUNS)
            at_hand = store.current if derived.rests_on_measures(chosen_claim.measure) else store.get
            lacking = [spec for spec in specs if at_hand(spec) is None]
            if lacking:
                say(f"{chosen_claim.id}: {len(specs)} runs, {estimate(lacking)}, into {told(store.root)}")
            train_available(lacking, store, chosen_claim.id, arguments.device, preset, failed=failed)
        verdict = verdicts.on_results(chosen_claim, preset, store)
        print(f"{chosen_claim.id}: {chosen_claim.statement}")
        print(f"  on the paper's own numbers: {verdicts.on_paper(chosen_claim).verdict}")
        where = f"{told(store.root)} ({'one setting, ours' if chosen_claim.one_setting else arguments.preset})"
        print(f"  on {where}: {verdict.verdict}" + (f": {verdict.text}" if verdict.text else ""))
    return _end(failed)


def status(arguments: argparse.Namespace) -> int:
    """Say what is there, what is set aside and why, and what a preset still lacks."""
    store = Store(arguments.results)
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in store:
        label = result.provenance["preset"] + (", superseded" if result.superseded else "")
        label += ", measures of another revision" if result.outdated else ""
        label += "" if ".json" in result.sha256 else ", no checksum of its own"
        label += "" if _described(result.spec.dataset) else ", a table that is not described here"
        groups.setdefault((result.spec.dataset, result.spec.model, label), []).append(result)
    for (dataset, model, label), found in groups.items():
        seconds = sum(r.cost["fit_seconds"] for r in found)
        print(f"{dataset:14} {model:10} {label:10} {len(found):4} results, {duration(seconds)} of training")
    there = "" if store.root.is_dir() else ": there is no such directory"
    print(f"{sum(map(len, groups.values()))} results in {store.root}{there}")
    for line in store.set_aside():
        print(f"set aside: {line}")
    for (name, dataset), specs in _wanted(arguments).items():
        lacking = [spec for spec in specs if store.current(spec) is None]
        here = f"{len(specs) - len(lacking)} of {len(specs)}"
        print(f"{name} on {dataset} ({arguments.preset}): {here}; {estimate(lacking)}")
    return 0


@cache
def _described(dataset: str) -> bool:
    """Return whether a data set is known here."""
    try:
        return bool(catalogue.entry(dataset))
    except (ValueError, DataError):
        return False


def chosen(store: Store, keys: Sequence[str]) -> list[Result]:
    """Return the stored results whose keys start with the given digits, and print which of them cannot be read.

    ValueError where there is none.
    """
    found = list(store.starting(*keys))
    if not found and not store.problems:
        raise ValueError(f"no result in {store.root} has a key that starts with {' or '.join(keys)}")
    for problem in store.problems:
        print(f"set aside: {problem}")
    return found


def measure(arguments: argparse.Namespace) -> int:
    """Take measures and curves of stored results again, from their weights."""
    store = Store(arguments.results)
    for stored in chosen(store, arguments.keys):
        with running.held(store.lock_of(stored.key), -1.0, str(stored.spec), say):
            store.put(measure_again(stored, arguments.device))
        print(f"{stored.key[:12]} {stored.spec}: measured again")
    return 1 if store.problems else 0


def verify(arguments: argparse.Namespace) -> int:
    """Train stored results again and compare."""
    store = Store(arguments.results)
    results = chosen(store, arguments.keys)
    held = not store.problems
    for stored in results:
        if stored.superseded:
            print(f"{stored.key[:12]} {stored.spec}: {stored.revised}; not comparable")
            held = False
            continue
        try:
            stored.trained_on(download=True)
            (again,) = fit([stored.spec], arguments.device, stored.provenance["preset"], say)
            found = compare(stored, again)
        except (ValueError, DataError, UnreadableResult) as error:
            print(f"{error}; not comparable")
            held = False
            continue
        held &= found.verdict != DIFFERENT
        print(f"{stored.key[:12]} {stored.spec}: {found.text}")
    return 0 if held else 1


def merge(arguments: argparse.Namespace) -> int:
    """Take others' results, as `run reference --out` writes them, into a directory; nothing is executed."""
    if any(Store(arguments.directory)):
        running.check_writable(arguments.results)
    merged = merging.merge(arguments.directory, Store(arguments.results))
    print(f"{arguments.directory} into {arguments.results}: {merged}")
    return 1 if merged.set_aside else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mixnam", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in (("run", run), ("status", status)):
        command = commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0])
        optional = name == "status"
        known = f"{', '.join(experiments.EXPERIMENTS)}, all" + ("" if optional else ", or reference")
        command.add_argument("experiment", help=known, nargs="?" if optional else None, default="all")
        command.add_argument("--dataset", default="housing", help="one or more, separated by commas")
        command.add_argument("--preset", choices=PRESETS, help="default: quick, for `run reference` each step's own")
        command.add_argument("--seeds", type=count, help="how many seeds (default: the preset's)")
        command.add_argument("--models", type=_names, default=[], help="these models alone, separated by commas")
        command.set_defaults(function=function)
    commands.choices["run"].add_argument("--budget", help="time for `run reference`, such as 25m")
    commands.choices["run"].add_argument("--out", type=Path, help="where `run reference` writes its results")
    command = commands.add_parser("claim", help=(claim.__doc__ or "").splitlines()[0])
    command.add_argument("claims", nargs="+", help="claims by their names on the scorecard, such as T1-housing")
    command.add_argument("--preset", default="quick", choices=PRESETS)
    command.add_argument("--seeds", type=count, help=f"how many seeds (default: {verdicts.LEAST_RUNS})")
    command.set_defaults(function=claim)
    for name, function in (("verify", verify), ("measure", measure)):
        command = commands.add_parser(name, help=(function.__doc__ or "").splitlines()[0])
        command.add_argument("keys", nargs="+", help="keys, or their first digits")
        command.set_defaults(function=function)
    command = commands.add_parser("merge", help=(merge.__doc__ or "").splitlines()[0])
    command.add_argument("directory", type=Path, help="where their results are: DATA SET/MODEL/KEY.json")
    command.set_defaults(function=merge)
    command = commands.add_parser("search", help=(search.search.__doc__ or "").splitlines()[0])
    search.add_arguments(command)
    command.set_defaults(function=search.search)
    for name, command in commands.choices.items():
        place = "runs/search/DATASET/results" if name == "search" else "runs/PRESET/results"
        where = None if name in ("run", "claim", "search") else Path("book/results")
        text = f"directory of the results (default: {where or place})"
        command.add_argument("--results", type=Path, default=where, help=text)
        command.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    command = commands.add_parser("table", help=(table.__doc__ or "").splitlines()[0])
    command.add_argument("file", help="a .csv, .tsv or .parquet file, or the name of a data set")
    for name, text in _COLUMNS.items():
        command.add_argument(f"--{name}", help=text)
    for name, text in _LISTS.items():
        command.add_argument(f"--{name}", action="append", metavar="TEXT", help=f"{text}; give it once for each")
    command.set_defaults(function=table)
    arguments = parser.parse_args(argv)
    if hasattr(arguments, "preset"):
        planned = vars(arguments).get("experiment") == "reference"  # whose steps have presets of their own
        arguments.preset = arguments.preset or ("" if planned else "quick")
    try:
        with warnings.catch_warnings():
            if arguments.function in (status, verify, measure, merge):  # which list it
                warnings.filterwarnings("ignore", "set aside")
            code: int = arguments.function(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"\n{running.INTERRUPTED}", file=sys.stderr)
        return 130
    except (ValueError, FloatingPointError, OSError, DataError, UnreadableResult) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_, **__: f"{message}\n"  # one line, as errors are
    raise SystemExit(main())
