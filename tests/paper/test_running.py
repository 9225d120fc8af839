"""Runs train what is missing, once, whatever is interrupted, and whatever else is running."""

import contextlib
import dataclasses
import errno
import math
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from every import every
from repeated import outcomes

from mixnam import __main__ as command_line
from mixnam.data import catalogue
from mixnam.data.own import read_table
from mixnam.data.table import DataError, DataMissing
from mixnam.paper import experiments, running
from mixnam.paper.costs import seconds_of
from mixnam.report import book
from mixnam.runs import fitting, model
from mixnam.runs.spec import stacks
from mixnam.runs.store import Store
from mixnam.training.trainer import OutOfTime

CHOICE = {"experiment": "explanations", "dataset": "diabetes", "preset": "smoke"}


SPECS = experiments.specs_for(*CHOICE.values())


def run(results, **options):
    return running.run(**CHOICE | {"results": results, "device": "cpu", "progress": None} | options)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A store with all results of the experiment, trained without interruption."""
    folder = tmp_path_factory.mktemp("reference")
    lines = []
    outcome = run(folder, progress=lines.append)
    assert outcome.specs == SPECS
    assert [result.spec for result in outcome.results] == SPECS
    assert sum(line.endswith(": training") for line in lines) == len(SPECS)
    return folder


@pytest.fixture
def copy(reference, tmp_path):
    shutil.copytree(reference, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def no_training(monkeypatch):
    def fail(*arguments):
        pytest.fail("trained something")

    monkeypatch.setattr("mixnam.paper.running.fit", fail)


def forget(folder, *specs):
    for spec in specs:
        (Store(folder).folder(spec) / f"{spec.key}.json").unlink()


def test_nothing_is_trained_twice(reference, no_training):
    outcome = run(reference)
    assert [result.spec for result in outcome.results] == SPECS
    assert outcome.missing == []
    assert outcome.skipped == ""


def test_only_what_is_missing_is_trained(copy):
    gone = SPECS[3]
    forget(copy, gone)
    lines = []
    outcome = run(copy, progress=lines.append)
    assert [line for line in lines if line.endswith(": training")] == [f"{gone}: training"]
    assert [result.spec for result in outcome.results] == SPECS


def test_without_training_results_are_only_read(copy, no_training, tmp_path_factory):
    gone = SPECS[3]
    forget(copy, gone)
    outcome = run(copy, train=False)
    assert [result.spec for result in outcome.results] == [spec for spec in SPECS if spec != gone]
    assert outcome.missing == [gone]
    assert outcome.skipped == ""
    empty = tmp_path_factory.mktemp("empty")
    assert run(empty, train=False).missing == SPECS
    assert list(empty.iterdir()) == []


def test_an_unreadable_result_is_reported_and_trained_again(copy, reference):
    spec = SPECS[0]
    path = Store(copy).folder(spec) / f"{spec.key}.json"
    path.write_bytes(path.read_bytes()[:100])
    lines = []
    with pytest.warns(UserWarning, match=path.name):
        outcome = run(copy, progress=lines.append)
    assert [line for line in lines if line.endswith(": training")] == [f"{spec}: training"]
    assert outcome.missing == []
    assert path.with_suffix(".json.unreadable").stat().st_size == 100
    path.with_suffix(".json.unreadable").unlink()
    assert outcomes(copy) == outcomes(reference)


def test_missing_data_are_skipped_with_the_reason(tmp_path, monkeypatch, no_training):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", "http://127.0.0.1:9/")
    lines = []
    outcome = run(tmp_path / "results", dataset="housing", progress=lines.append)
    assert outcome.results == []
    assert outcome.missing == outcome.specs == experiments.specs_for("explanations", "housing", "smoke")
    assert "Remedy: put cal_housing.data" in outcome.skipped
    assert str(tmp_path / "data") in outcome.skipped
    assert lines == [f"skipped explanations on housing: {outcome.skipped}"]


def test_stored_results_are_used_where_data_are_missing(copy, monkeypatch):
    def load(name):
        raise DataMissing(f"{name} is gone")

    gone = SPECS[-1]
    forget(copy, gone)
    monkeypatch.setattr(catalogue, "load", load)
    outcome = run(copy)
    assert [result.spec for result in outcome.results] == SPECS[:-1]
    assert outcome.missing == [gone]
    assert outcome.skipped == "diabetes is gone"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"experiment": "table1"}, "experiment must be one of accuracy, .*, got 'table1'"),
        ({"dataset": "boston"}, "dataset must be one of housing, .*, got 'boston'"),
        ({"preset": "fast"}, "preset must be one of smoke, quick, paper, best, got 'fast'"),
        ({"device": "tpu"}, "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
    ],
)
def test_unknown_choices_are_refused(wrong, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **wrong)


def child(folder, log, pipe):
    """Run the experiment in a process of its own when a word comes through the pipe; say through it what came out."""
    with log.open("w") as errors:
        sys.stderr = errors
        pipe.recv()
        outcome = run(folder, progress=running.say)
        pipe.send((len(outcome.results), len(outcome.missing)))


@contextlib.contextmanager
def other_process(folder, log):
    """Start `child`; yield the process and our end of its pipe."""
    context = multiprocessing.get_context("fork")  # no import counts
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(folder, log, theirs))
    process.start()
    ours.send("go")
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()


def test_two_processes_share_the_work_and_train_nothing_twice(reference, tmp_path):
    folder, log, lines = tmp_path / "results", tmp_path / "log", []
    with other_process(folder, log) as (_, pipe):
        outcome = run(folder, progress=lines.append)
        assert pipe.poll(120), log.read_text()
        assert pipe.recv() == (len(SPECS), 0)
    assert [result.spec for result in outcome.results] == SPECS
    trained = [line for line in [*lines, *log.read_text().splitlines()] if line.endswith(": training")]
    assert sorted(trained) == sorted(f"{spec}: training" for spec in SPECS)
    assert 0 < sum(line in lines for line in trained) < len(SPECS)
    assert outcomes(folder) == outcomes(reference)


@pytest.mark.slow
def test_several_processes_train_a_list_and_tell_the_time_left(reference, tmp_path):
    lines = []
    running.train_side_by_side(SPECS, Store(tmp_path), "cpu", "smoke", jobs=2, progress=lines.append)
    assert outcomes(tmp_path) == outcomes(reference)
    assert [line.split(", ")[0] for line in lines] == [
        f"[{done} of {len(SPECS)} models" for done in range(1, len(SPECS) + 1)
    ]
    assert lines[-1].split("] ")[0].endswith(", about 0 s left")
    running.train_side_by_side([], Store(tmp_path), "cpu", "smoke")


@pytest.mark.slow
def test_what_takes_longest_trains_first(tmp_path):
    specs = [
        s for model in ("Linear", "NAM", "MixNAM") for s in experiments.specs_of("diabetes", model, "quick", seeds=1)
    ]
    times, lines = seconds_of(specs), []
    assert len(set(times)) == 3
    running.train_side_by_side(specs, Store(tmp_path), "cpu", "quick", progress=lines.append)
    longest = [spec.model for _, spec in sorted(zip(times, specs, strict=True), key=lambda pair: -pair[0])]
    assert [line.split("diabetes ")[1] for line in lines] == [f"{model}, seed 0" for model in longest]


@pytest.mark.slow
def test_when_the_report_is_killed_nothing_trains_on_and_it_goes_on_later(tmp_path):
    command = [sys.executable, "-m", "mixnam.report.book", "train", "--preset", "smoke", "--datasets", "diabetes"]
    command += ["--run", str(tmp_path), "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("report at the smoke preset on diabetes and simulated data: 56 to")
        assert process.stderr.readline().startswith("[1 of 56 models, about ")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) >= 2
        process.kill()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "a training goes on without the report"
        time.sleep(0.05)
    lacking, _ = book.lacking(["diabetes"], "smoke", Store(tmp_path / "results"))
    assert 0 < len(lacking) < 56


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Share the work out as on a GPU, but train on the CPU; return the lists of specs that were trained."""
    calls = []

    def fit(specs, device, *arguments, **options):
        calls.append(list(specs))
        return fitting.fit(specs, "cpu", *arguments, **options)

    monkeypatch.setattr("mixnam.paper.running.pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr("mixnam.paper.running.fit", fit)
    return calls


def test_on_a_gpu_all_that_is_missing_trains_together(copy, reference, as_on_a_gpu):
    forget(copy, *SPECS[1:4])
    outcome = run(copy, device="auto")
    assert as_on_a_gpu == stacks(SPECS[1:4], side_by_side=True)
    assert [result.spec for result in outcome.results] == SPECS
    assert outcomes(copy) == outcomes(reference)


def test_on_a_gpu_what_another_process_trains_is_waited_for(copy, as_on_a_gpu):
    forget(copy, SPECS[0], SPECS[2])
    store, held, trained_before = Store(copy), threading.Event(), []
    (theirs,) = fitting.fit([SPECS[2]], "cpu")

    def train_theirs():
        with store.lock(SPECS[2]):
            held.set()
            deadline = time.monotonic() + 10
            while not as_on_a_gpu and time.monotonic() < deadline:
                time.sleep(0.01)
            trained_before.append(list(as_on_a_gpu))
            store.put(theirs)

    other = threading.Thread(target=train_theirs)
    other.start()
    held.wait()
    outcome = run(copy, device="auto")
    other.join()
    assert as_on_a_gpu == trained_before[0] == [[SPECS[0]]]  # what is free does not wait
    assert [result.spec for result in outcome.results] == SPECS


def test_on_a_gpu_a_failure_keeps_what_was_trained_and_frees_the_rest(copy, as_on_a_gpu, monkeypatch):
    def fail(specs, *arguments, **options):
        yield from fitting.fit(specs[:1], "cpu")
        raise FloatingPointError("diverged")

    forget(copy, *SPECS)
    with monkeypatch.context() as patch:
        patch.setattr("mixnam.paper.running.fit", fail)
        # the first of each group was stored; the others diverged, which is told and raises nothing
        left = [spec for group in stacks(SPECS, side_by_side=True) for spec in group[1:]]
        assert left
        assert set(run(copy, device="auto").missing) == set(left)
    assert set(run(copy, train=False).missing) == set(left)
    assert run(copy, device="auto").missing == []
    assert [spec for group in as_on_a_gpu for spec in group] == left


LINEAR = experiments.specs_of("diabetes", "Linear", "smoke", seeds=3)


def train(folder, specs=LINEAR, progress=None, **options):
    return running.train_missing(specs, Store(folder), "cpu", "smoke", progress, **options)


@pytest.fixture
def failing(monkeypatch):
    """Have the second training raise an error."""

    def failing(error):
        original, calls = model.fit_linear, []

        def fit_linear(*arguments):
            calls.append(arguments)
            if len(calls) == 2:
                raise error
            return original(*arguments)

        monkeypatch.setattr(model, "fit_linear", fit_linear)

    return failing


@every(
    "error, cause",
    [
        (FloatingPointError(f"{LINEAR[1]}: training\ndiverged"), "training diverged"),
        (MemoryError(), "memory is too short; train fewer models at a time, or smaller ones"),
        (MemoryError("no 3 GiB"), r"memory is too short \(no 3 GiB\); train fewer models at a time, or smaller ones"),
        (ModuleNotFoundError("no xgboost; remedy: pip install it"), "no xgboost; remedy: pip install it"),
        (DataError("the file is gone; put it back"), "the file is gone; put it back"),
        (
            np.linalg.LinAlgError("singular"),
            r"LinAlgError in model\.py:\d+: singular; leave Linear out by --models, .*",
        ),
        (OSError(2, "no such file", "x"), r"OSError|FileNotFoundError in model\.py:\d+: .*no such file.*"),
        (ValueError("two\nlines"), r"ValueError in model\.py:\d+: two lines; leave Linear out by --models, or .*"),
    ],
)
def test_one_that_fails_is_told_in_a_line_and_the_others_go_on(error, cause, failing, tmp_path):
    failing(error)
    lines, failed = [], {}
    assert list(train(tmp_path, progress=lines.append, failed=failed)) == [LINEAR[0], LINEAR[2]]
    assert list(failed) == [LINEAR[1]]
    assert re.fullmatch(cause, failed[LINEAR[1]].cause)
    assert [line for line in lines if "failed" in line] == [f"failed: {LINEAR[1]}: {failed[LINEAR[1]].cause}"]


def test_what_failed_is_not_tried_again(tmp_path, no_training):
    failed = dict.fromkeys(LINEAR, running.Failure(ValueError, "odd"))
    assert train(tmp_path, failed=failed) == {}


def test_a_result_that_cannot_be_written_down_is_that_models_failure(monkeypatch, tmp_path):
    original, failed = Store.put, {}

    def put(store, result):
        return original(
            store, dataclasses.replace(result, cost={"odd": math.nan} if result.spec.seed == 1 else result.cost)
        )

    monkeypatch.setattr(Store, "put", put)
    assert list(train(tmp_path, failed=failed)) == [LINEAR[0], LINEAR[2]]
    assert list(failed) == [LINEAR[1]]


@every("stop", [KeyboardInterrupt(), OutOfTime("over")])
def test_what_ends_a_run_ends_it(stop, failing, tmp_path):
    failing(stop)
    with pytest.raises(type(stop)):
        train(tmp_path)
    assert [result.spec for result in Store(tmp_path)] == LINEAR[:1]


def test_a_full_disk_ends_the_run_in_one_line_and_what_was_stored_stays(tmp_path, monkeypatch):
    sync, full = os.fsync, OSError(errno.ENOSPC, "No space left on device")

    def fsync(file):
        if list(tmp_path.glob("*/*/*.json")):
            raise full
        sync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        said = rf"results directory {tmp_path} cannot be written: {full.strerror}; name another with --results"
        for _ in range(2):  # noticed when a result is stored, then before anything trains
            with pytest.raises(running.Unwritable, match=said):
                train(tmp_path)
    assert [result.spec for result in Store(tmp_path)] == LINEAR[:1]
    assert not list(tmp_path.rglob("*.tmp"))
    assert list(train(tmp_path)) == LINEAR


def test_a_wait_says_once_for_whom(tmp_path):
    lines, waiting, store = [], threading.Event(), Store(tmp_path)

    def tell(line):
        lines.append(line)
        if "waiting" in line:
            waiting.set()

    def hold():
        with running.held(store.lock(LINEAR[0])):
            held.set()
            waiting.wait(60)

    held = threading.Event()
    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    assert list(train(tmp_path, progress=tell)) == LINEAR
    other.join()
    who = f"process {os.getpid()} on {platform.node()}"
    assert [line for line in lines if "waiting" in line] == [f"{LINEAR[0]}: {who} trains it; waiting for that"]


@pytest.mark.slow
def test_processes_side_by_side_return_what_failed(tmp_path):
    diverging = experiments.specs_of("diabetes", "NAM", "smoke", {"learning_rate": 1e6}, seeds=1)
    lines = []
    failed = running.train_side_by_side([*LINEAR, *diverging], Store(tmp_path), "cpu", "smoke", 2, lines.append)
    assert list(failed) == diverging
    assert failed[diverging[0]].kind is fitting.Diverged and "training diverged" in failed[diverging[0]].cause
    assert f"failed: {diverging[0]}: {failed[diverging[0]].cause}" in lines
    assert {result.spec for result in Store(tmp_path)} == set(LINEAR)


def test_missing_data_do_not_keep_simulations_from_running(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", "http://127.0.0.1:9/")
    outcome = run(tmp_path / "results", experiment="routing", dataset="housing")
    assert {r.spec.dataset for r in outcome.results} == {"sim_multimodal"}
    assert {s.dataset for s in outcome.missing} == {"housing"}
    assert len(outcome.results) == 2 and len(outcome.missing) == 5
    assert "Remedy: put cal_housing.data" in outcome.skipped


def test_a_number_of_seeds_that_runs_nothing_is_refused(capsys):
    for command in [["run", "accuracy"], ["claim", "T1-housing"], ["status"]]:
        for seeds in ["0", "-1", "two"]:
            with pytest.raises(SystemExit):
                command_line.main([*command, f"--seeds={seeds}"])
            assert f"argument --seeds: must be an integer >= 1, got '{seeds}'" in capsys.readouterr().err


@pytest.fixture
def registered():
    """Register own tables, and take them out again."""
    names = []

    def registered(name, features, rows=60):
        numbers = np.random.default_rng(0).normal(size=(rows, features + 1))
        frame = pd.DataFrame(numbers, columns=[*(f"x{i}" for i in range(features)), "y"])
        names.append(catalogue.register(read_table(frame, "y", name=name)))
        return name

    yield registered
    for name in names:
        del catalogue.REGISTRY[name]


def test_models_of_pairs_are_left_out_where_there_is_one_feature(registered, tmp_path, capsys):
    alone, lines = registered("alone", 1), []
    outcome = run(tmp_path, experiment="accuracy", dataset=alone, seeds=1, progress=lines.append)
    assert outcome.left_out == lines[0]
    assert lines[0] == "Left out: EB2M, NA2M, NB2M, NODE-GA2M. They pair features, and there is one feature alone."
    assert not {spec.model for spec in outcome.specs} & {"EB2M", "NA2M", "NB2M", "NODE-GA2M"}
    assert len(outcome.results) == len(outcome.specs) > 10 and not outcome.missing
    options = ["--dataset", alone, "--preset", "smoke", "--seeds", "1", "--results", str(tmp_path)]
    assert command_line.main(["run", "accuracy", *options]) == 0
    assert f"0 missing. {lines[0]}" in capsys.readouterr().out
    assert run(tmp_path, experiment="accuracy", dataset="diabetes", train=False).left_out == ""


def test_a_users_table_says_how_long_it_may_take_before_it_trains(registered, tmp_path):
    lines = []
    run(tmp_path, dataset=registered("narrow", 3), seeds=1, progress=lines.append)
    assert re.match(r"narrow: 4 to train, about .* \(3 pairs of features: 1 to train, about ", lines[0])
    took = [
        seconds_of(experiments.specs_of(name, "NA2M", "quick", seeds=1))[0]
        for name in ("narrow", registered("wide", 300))
    ]
    assert took[1] > 100 * took[0] > 0, "Housing has the same model at the quick preset"
