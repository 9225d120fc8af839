"""The reference run trains what is lacking in order of value, within its time, into files that merge by copying."""

import shutil
import subprocess
import sys
import time

import pytest
import torch

from mixnam import __main__ as command_line
from mixnam import costs, datasets, reference
from mixnam.experiments import specs_of
from mixnam.presets import load_preset
from mixnam.results import Store
from mixnam.settings import LibrarySettings

SMALL_PLAN = (("accuracy MixNAM", "diabetes", 2), ("lambda_sweep", "diabetes", 1))


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(reference, "PLAN", SMALL_PLAN)
    return Store(tmp_path / "out"), Store(tmp_path / "known")


def keys(store):
    return {result.key for result in store}


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("25m", 1500), ("1.5h", 5400), (" 2m ", 120)])
def test_a_budget_is_a_number_with_a_unit(text, seconds):
    assert reference.budget(text) == seconds


@pytest.mark.parametrize("text", ["", "25", "m", "-5m", "0m", "5 m", "5d", "1e3s"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="a budget is a number with s, m or h behind it"):
        reference.budget(text)


def test_the_most_valuable_comes_first_and_nothing_twice(tmp_path):
    items = reference.lacking([Store(tmp_path)])
    assert items[0].specs == tuple(specs_of("housing", "MixNAM", "paper"))
    assert len(items[0].specs) == 10
    specs = [spec for item in items for spec in item.specs]
    assert len({spec.key for spec in specs}) == len(specs)
    assert not any(isinstance(spec.settings, LibrarySettings) for spec in specs)
    labels = [item.label for item in items]
    order = ["lambda_sweep on housing", "expert_scaling", "simulation", "accuracy on income", "ablations"]
    places = [next(i for i, label in enumerate(labels) if name in label) for name in order]
    assert places == sorted(places)


def test_a_sweep_over_penalties_is_one_item(tmp_path):
    sweep = [i for i in reference.lacking([Store(tmp_path)]) if i.label == "lambda_sweep on housing: MixNAM"]
    penalties = set(load_preset("paper").values("lambda_sweep")) - {0.1}  # which is the table's own setting
    assert len(sweep) == 1
    assert {spec.settings.variation_penalty for spec in sweep[0].specs} == penalties
    assert len(sweep[0].specs) == 10 * len(penalties)


def test_what_is_lacking_is_trained_into_another_directory_and_merges_by_copying(small, tmp_path):
    out, known = small
    lines = []
    wanted = {spec.key for item in reference.lacking([known], "smoke") for spec in item.specs}
    trained, left = reference.run(out, known, 600, "cpu", "smoke", lines.append)
    assert (trained, left) == (len(wanted), 0)
    assert keys(out) == wanted
    assert not known.root.exists()
    assert lines[0] == f"{trained} results lacking at the smoke preset, 10 min given"
    # the command that the run prints: hidden files stay behind
    known.root.mkdir()
    for path in out.root.glob("*"):
        if not path.name.startswith("."):
            shutil.copytree(path, known.root / path.name)
    assert keys(known) == wanted
    assert not known.problems
    assert reference.lacking([known], "smoke") == []
    assert reference.run(Store(tmp_path / "again"), known, 600, "cpu", "smoke", lines.append) == (0, 0)


def test_weights_are_kept_for_the_tables_first_models_alone(small):
    out, known = small
    reference.run(out, known, 600, "cpu", "smoke", lambda line: None)
    kept = {path.name.split(".")[0] for path in out.root.rglob("*.weights.safetensors")}
    assert kept == {result.key for result in out if reference.keeps_weights(result.spec)}
    paper = specs_of("housing", "MixNAM", "paper")
    assert reference.keeps_weights(paper[0])
    assert not reference.keeps_weights(paper[1])
    assert not reference.keeps_weights(specs_of("housing", "MixNAM", "paper", {"variation_penalty": 1.0})[0])
    assert not reference.keeps_weights(specs_of("housing", "MixNAM-D", "paper")[0])


def test_no_time_trains_nothing_and_says_how_much_is_left(small):
    out, known = small
    everything = sum(len(item.specs) for item in reference.lacking([known], "smoke"))
    assert reference.run(out, known, 1e-6, "cpu", "smoke", lambda line: None) == (0, everything)
    assert keys(out) == set()


def test_what_would_not_end_in_time_is_passed_over_for_what_does(small, monkeypatch):
    out, known = small
    items = [spec for item in reference.lacking([known], "smoke") for spec in item.specs]
    first, long = items[0], items[1]
    work = {spec.key: 1e12 if spec == long else 1.0 for spec in items}
    monkeypatch.setattr(reference, "training_work", lambda spec: work[spec.key])
    _, left = reference.run(out, known, 600, "cpu", "smoke", lambda line: None)
    assert left == 1
    assert keys(out) == set(work) - {long.key}
    assert first.key in keys(out)


def test_of_what_would_not_end_in_time_a_part_is_trained(monkeypatch, tmp_path):
    """As on a GPU, where an item is a stack."""
    monkeypatch.setattr(reference, "PLAN", (("accuracy NAM", "diabetes", 1), ("accuracy MixNAM", "diabetes", 4)))
    monkeypatch.setattr(reference, "pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(reference, "training_work", lambda spec: 1.0)
    clock = iter([0.0, 0.0, 0.0, 10.0, 10.0, 10.0, 30.0])  # NAM takes 10 s; 25 are left for four that take 10 each
    monkeypatch.setattr(reference.time, "monotonic", lambda: next(clock))
    trained = []
    monkeypatch.setattr(reference.experiments, "train_missing", lambda specs, *rest: trained.append(len(specs)))
    monkeypatch.setattr(reference, "RESERVE", 0.0)
    lines = []
    reference.run(Store(tmp_path / "out"), Store(tmp_path / "known"), 35, "cuda", "smoke", lines.append)
    assert trained == [1, 2]
    assert "accuracy on diabetes: MixNAM: 2 of 4 to train, about 25 s, 25 s left" in lines


@pytest.mark.parametrize("error", [MemoryError("too large"), torch.OutOfMemoryError("full")])
def test_what_does_not_fit_is_told_and_the_rest_goes_on(small, monkeypatch, error):
    out, known = small
    train, failed = reference.experiments.train_missing, []

    def once(specs, *rest):
        if not failed:
            failed.append(specs)
            raise error
        return train(specs, *rest)

    monkeypatch.setattr(reference.experiments, "train_missing", once)
    lines = []
    trained, left = reference.run(out, known, 600, "cpu", "smoke", lines.append)
    assert left == len(failed[0]) == 1
    assert trained > 0
    assert any(str(error) in line for line in lines)


def test_a_training_that_runs_over_is_stopped_and_goes_on_the_next_time(small, monkeypatch):
    out, known = small
    lines, started = [], []
    from mixnam.training import Trainer

    epoch = Trainer.epoch

    def slow(self):
        started.append(self.state.epoch)
        epoch(self)
        if len(started) == 1:
            monkeypatch.setattr(time, "monotonic", lambda: 1e12)

    monkeypatch.setattr(Trainer, "epoch", slow)
    trained, _ = reference.run(out, known, 600, "cpu", "smoke", lines.append)
    assert trained == 0
    assert any("stopped in epoch 1 of 2" in line for line in lines)
    assert len(list((out.root / ".unfinished").glob("*.pt"))) == 1
    monkeypatch.undo()
    monkeypatch.setattr(reference, "PLAN", SMALL_PLAN[:1])
    monkeypatch.setattr(Trainer, "epoch", lambda self: (started.append(self.state.epoch), epoch(self)))
    started.clear()
    reference.run(out, known, 600, "cpu", "smoke", lines.append)
    assert started[0] == 1
    assert not list((out.root / ".unfinished").glob("*.pt"))


def test_data_that_are_not_at_hand_are_skipped_once_with_the_remedy(small, monkeypatch):
    out, known = small
    plan = (("accuracy", "breast_cancer", 5), *SMALL_PLAN)
    monkeypatch.setattr(reference, "PLAN", plan)
    load = datasets.load

    def missing(name):
        if name == "breast_cancer":
            raise datasets.DataMissing("breast_cancer is not at hand: look behind the sofa")
        return load(name)

    monkeypatch.setattr(datasets, "load", missing)
    lines = []
    trained, left = reference.run(out, known, 600, "cpu", "smoke", lines.append)
    assert trained > 0
    assert left > 0
    assert [line for line in lines if "sofa" in line] == ["skipped: breast_cancer is not at hand: look behind the sofa"]


def test_the_work_of_a_linear_layer_is_counted():
    (spec,) = specs_of("diabetes", "MLP", "smoke", {"hidden": (16,)}, seeds=1)
    parameters = 10 * 16 + 16 + 16 + 16 + 16 + 1
    rows = len(datasets.load("diabetes").x)
    assert costs.training_work(spec) == 6 * parameters * rows * spec.settings.epochs
    with pytest.raises(TypeError, match="XGBoost is no network"):
        costs.training_work(specs_of("diabetes", "XGBoost", "smoke")[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "reference", "--budget", "25m"], "needs --budget, such as 25m, and --out"),
        (["run", "reference", "--out", "x"], "needs --budget, such as 25m, and --out"),
        (["run", "reference", "--budget", "25", "--out", "x"], "got '25'"),
        (["run", "accuracy", "--budget", "25m"], "go with `run reference`"),
        (["run", "reference", "--budget", "25m", "--out", "x", "--seeds", "3"], "takes no --dataset and no --seeds"),
        (["run", "reference", "--budget", "1s", "--out", "x", "--dataset", "income"], "takes no --dataset"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, message, capsys):
    assert command_line.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_command_line_needs_no_notebook_and_no_plot():
    absent = ["IPython", "papermill", "nbformat", "nbclient", "matplotlib", "seaborn", "plotly", "interpret", "xgboost"]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import mixnam.__main__; print('fine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr
