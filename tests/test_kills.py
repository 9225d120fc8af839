"""Processes that train and store are killed at random: no result is lost or different, and nothing stays behind."""

import contextlib
import functools
import itertools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from filelock import FileLock
from repeated import outcomes

from mixnam.paper import experiments, running
from mixnam.runs.store import Store
from mixnam.training.trainer import Trainer

pytestmark = pytest.mark.slow
#: Closed form, two networks of additive models, and trees, whose training has a state of its own.
SPECS = [
    spec
    for model in ("Linear", "NAM", "MixNAM", "NODE")
    for spec in experiments.specs_of("diabetes", model, "smoke", {} if model == "Linear" else {"epochs": 4}, seeds=1)
]
#: Forks of this process need no imports.
FORK = multiprocessing.get_context("fork")
#: How often each way, and how often a page.
KILLS, PAGE_KILLS = 30, 12
KILLED = {-signal.SIGKILL, -signal.SIGXFSZ}


def watch(folder, act):
    """Call `act` before each change of a file in a folder: it is opened for writing, renamed, removed or made."""

    def hook(event, arguments):
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(arguments[0]).startswith(str(folder)):
            reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if not reads and ".locks" not in str(arguments[0]):
                act()

    sys.addaudithook(hook)


def train(folder, at=None, byte=None, told=None):
    """Train all specs, with a checkpoint an epoch.

    It dies at its `at`-th change of a file, or with `byte` where after this change a file gets so long. Through the
    pipe `told` it says at the end how many changes it made.
    """
    made = itertools.count(1)

    def act():
        if next(made) != at:
            return
        if byte is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:  # the system kills in the middle of a write
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (byte, byte))

    watch(folder, act)
    Trainer.run = functools.partialmethod(Trainer.run, checkpoint_seconds=0)
    warnings.simplefilter("ignore")
    running.train_missing(SPECS, Store(folder), "cpu", "smoke", None)
    if told is not None:
        told.send(next(made) - 1)


@contextlib.contextmanager
def process(*arguments, **options):
    started = FORK.Process(target=train, args=arguments, kwargs=options)
    started.start()
    try:
        yield started
    finally:
        started.kill()
        started.join()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A store that was trained at one go, how many changes of files that took, and how many seconds."""
    folder, (ours, theirs) = tmp_path_factory.mktemp("undisturbed"), FORK.Pipe()
    started = time.monotonic()
    with process(folder, told=theirs) as one:
        assert ours.poll(300)
        changes, seconds = ours.recv(), time.monotonic() - started
        one.join(60)
        assert one.exitcode == 0
    assert len(list(Store(folder))) == len(SPECS)
    return folder, changes, seconds


def check_whole(folder, expected):
    """Assert that every record that is there is the expected one, with its arrays."""
    found = outcomes(folder) if folder.exists() else {}
    for name in found:
        if name.endswith(".json") and not Path(name).name.startswith("."):
            parts = [other for other in expected if other.startswith(name.removesuffix(".json"))]
            assert {part: found.get(part) for part in parts} == {part: expected[part] for part in parts}


def check_finished(folder, expected):
    """Assert that all records are there as expected, nothing beside them, and that no lock is held."""
    found = outcomes(folder)
    assert found.keys() == expected.keys()
    assert found == expected
    for lock in (folder / ".locks").iterdir():
        with FileLock(lock).acquire(timeout=0):
            pass


@pytest.mark.parametrize("where", ["anywhere", "at a change of a file", "in a write", "beside another"])
def test_runs_that_are_killed_lose_nothing(where, undisturbed, tmp_path):
    reference, changes, seconds = undisturbed
    expected, draw, kills, stores = outcomes(reference), random.Random(f"18, {where}"), 0, 0
    while kills < KILLS:
        folder, stores = tmp_path / str(stores), stores + 1
        with process(folder) if where == "beside another" else contextlib.nullcontext() as other:
            for _ in range(8):
                options = (
                    {"at": draw.randint(1, changes // 3)} if where in ("at a change of a file", "in a write") else {}
                )
                if where == "in a write":
                    options["byte"] = draw.choice([0, 1, draw.randint(2, 4000)])
                with process(folder, **options) as one:
                    one.join(300 if options else draw.uniform(0, seconds))
                    one.kill()
                    one.join()
                    if one.exitcode == 0:
                        break
                    assert one.exitcode in KILLED
                    kills += 1
                check_whole(folder, expected)
            if other is not None:
                other.join(300)
                assert other.exitcode == 0
        with process(folder) as last:
            last.join(300)
            assert last.exitcode == 0
        check_finished(folder, expected)
    print(f"killed {where}: {kills} times in {stores} stores of {len(SPECS)} records")


@contextlib.contextmanager
def page(folder):
    """Execute a page in a process of its own."""
    command = [sys.executable, "-m", "mixnam.report.execute", "complexity", str(folder / "notebooks" / "page.ipynb")]
    command += ["--dataset=diabetes", "--preset=smoke", "--device=cpu", f"--results={folder / 'results'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as one:
        try:
            yield one
        finally:
            one.kill()


def finish(folder):
    with page(folder) as one:
        said, _ = one.communicate(timeout=300)
        assert one.returncode == 0, said


def test_pages_that_are_killed_lose_nothing(tmp_path):
    reference, folder, draw = tmp_path / "undisturbed", tmp_path / "killed", random.Random("18, pages")
    finish(reference)
    expected, kills = outcomes(reference / "results"), 0
    assert len([name for name in expected if name.count("/") == 2 and name.endswith(".json")]) == 6
    while kills < PAGE_KILLS:
        with page(folder) as one:
            while one.poll() is None and not (folder / "notebooks" / f".page.{one.pid}.tmp.ipynb").exists():
                time.sleep(0.02)
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(draw.uniform(0, 10))
            if one.poll() is None:
                kernels = Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text().split()
                one.kill()
                for kernel in kernels if draw.random() < 0.5 else []:  # else it lives on, and ends by itself
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(kernel), signal.SIGKILL)
                kills += 1
        check_whole(folder / "results", expected)
        if kills % 3 == 0:
            finish(folder)
            check_finished(folder / "results", expected)
            assert [path.name for path in (folder / "notebooks").iterdir()] == ["page.ipynb"]
            shutil.rmtree(folder)
    print(f"pages killed: {kills} times, with 6 records each")
