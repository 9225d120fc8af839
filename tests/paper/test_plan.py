"""The reference run trains what is lacking in order of value, within its time, into files that can be merged."""

import dataclasses
import shutil
import subprocess
import sys
import time

import pytest
import torch
from planted import result

from mixnam import __main__ as command_line
from mixnam.data.table import DataMissing
from mixnam.models import LibrarySettings
from mixnam.paper import plan as reference
from mixnam.paper import running
from mixnam.paper.experiments import specs_of
from mixnam.paper.plan import Step
from mixnam.paper.running import train_missing
from mixnam.runs.merging import merge
from mixnam.runs.store import Store
from mixnam.training.trainer import Trainer

SMALL_PLAN = (
    Step("accuracy", "diabetes", 2, "smoke", models=("MixNAM",)),
    Step("lambda_sweep", "diabetes", 1, "smoke"),
)


@pytest.fixture
def small(tmp_path):
    return Store(tmp_path / "out"), Store(tmp_path / "known")


def lacking(stores, plan=SMALL_PLAN, **options):
    return reference.lacking(stores, plan=plan, **options)


def go(out, known, lines=None, seconds=600, device="cpu", preset="", plan=SMALL_PLAN, **options):
    """Run a plan; what is said goes into `lines`."""
    say = [].append if lines is None else lines.append
    return reference.run(out, known, seconds, device, preset, say, plan=plan, **options)


def keys(store):
    return {result.key for result in store}


def test_a_budget_is_a_number_with_a_unit():
    for text, seconds in [("90s", 90), ("25m", 1500), ("1.5h", 5400), (" 2m ", 120)]:
        assert reference.budget(text) == seconds


def test_anything_else_is_refused():
    for text in ["", "25", "m", "-5m", "0m", "5 m", "5d", "1e3s"]:
        with pytest.raises(ValueError, match="a budget is a number with s, m or h behind it"):
            reference.budget(text)


def test_the_most_valuable_comes_first_and_nothing_twice(tmp_path):
    items = reference.lacking([Store(tmp_path)])
    assert set(items[0].specs) <= set(reference.PLAN[0].specs())
    specs = [spec for item in items for spec in item.specs]
    assert len(set(specs)) == len(specs)
    assert not any(isinstance(spec.settings, LibrarySettings) for spec in specs)
    with_libraries = [spec for item in reference.lacking([Store(tmp_path)], libraries=True) for spec in item.specs]
    assert {spec.model for spec in with_libraries} > {spec.model for spec in specs}
    presets = [item.preset for item in items if "on housing" in item.label]
    assert presets == sorted(presets, reverse=True)  # quick before the paper's setting
    paper = [item.label for item in items if item.preset == "paper"]
    order = ["lambda_sweep on housing", "accuracy on housing: MixNAM-D", "routing on housing", "ablations"]
    places = [next(i for i, label in enumerate(paper) if name in label) for name in order]
    assert places == sorted(places)


def test_a_sweep_over_penalties_is_one_item(tmp_path):
    sweeps = [i for i in reference.lacking([Store(tmp_path)]) if i.label == "lambda_sweep on housing: MixNAM"]
    penalties = [{spec.settings.variation_penalty for spec in item.specs} for item in sweeps if item.preset == "paper"]
    # five λ with five seeds, two more, two of ours with three seeds, and the other five seeds of all that are listed
    assert penalties == [{0, 0.1, 1, 10, 100}, {0.001, 0.01}, {7.5, 75}, {0, 0.001, 0.01, 1, 10, 100}]
    first = next(item for item in sweeps if item.preset == "paper").specs
    assert len(first) == 25
    # five seeds of one λ before the next: a claim waits for five
    assert [(s.settings.variation_penalty, s.seed) for s in first[:6]] == [*((100, k) for k in range(5)), (0.1, 0)]


def test_one_preset_alone_starts_with_the_steps_planned_at_it(tmp_path):
    labels = [item.label for item in reference.lacking([Store(tmp_path)], "paper")]
    assert labels[:2] == ["lambda_sweep on housing: MLP", "lambda_sweep on housing: NAM"]
    assert labels[2] == "accuracy on housing: MixNAM-D"


def test_a_step_takes_chosen_models_settings_and_partitions(tmp_path):
    step = Step("accuracy", "income", 5, models=("NAM", "EBM"), splits=("repeat1-fold0", "repeat2-fold3"))
    specs = step.specs()
    assert {(s.model, s.split) for s in specs} == {(m, s) for m in step.models for s in step.splits}
    assert len(specs) == 2 * 3  # NAM and both releases of EBM
    assert all(spec.settings == step.specs("paper")[i].settings for i, spec in enumerate(specs))
    own = Step("routing", "housing", 3, "quick", models=("MixNAM",), overrides=({"experts": 2, "active_experts": 1},))
    assert {(s.seed, s.settings.experts, s.settings.width) for s in own.specs()} == {(k, 2, 32) for k in range(3)}
    assert {s.settings.width for s in own.specs("paper")} == {128}


def test_what_has_outdated_measures_is_renewed_and_replaced_by_copying(small, newer_measures):
    out, known = small
    quick = specs_of("diabetes", "MixNAM", "smoke", {"variation_penalty": 7.0}, seeds=2)
    other = specs_of("diabetes", "NAM", "smoke", seeds=1)
    train_missing([*quick, *other], known, "cpu", "smoke", None)
    train_missing(specs_of("diabetes", "MLP", "smoke", seeds=1), known, "cpu", "paper", None)
    assert not any(item.label.startswith("renewal") for item in lacking([known]))
    newer_measures()
    items = lacking([out, known])
    renewed = [item for item in items if item.label.startswith("renewal")]
    assert items[-len(renewed) :] == renewed  # after the plan's steps: none is at the paper's setting
    assert {spec.key for item in renewed for spec in item.specs} == {spec.key for spec in quick}
    assert {spec.key for item in items for spec in item.specs} >= {spec.key for spec in [*quick, *other]}
    assert {item.preset for item in renewed} == {"smoke"}
    go(out, known)
    assert lacking([out, known]) == []
    shutil.copytree(out.root, known.root, dirs_exist_ok=True)
    assert not any(result.outdated for result in known if result.provenance["preset"] == "smoke")


def test_outdated_results_are_renewed_in_order_of_value(tmp_path, newer_measures):
    store = Store(tmp_path)
    # five seeds make a verdict; before and after, what takes less work comes first
    for seed, epochs in ((0, 5), (1, 2), (5, 1), (4, 3)):
        spec = specs_of("diabetes", "NAM", "smoke", {"epochs": epochs}, seeds=6)[seed]
        train_missing([spec], store, "cpu", "smoke", None)
    newer_measures()
    items = [i for i in reference.lacking([store]) if i.label.startswith("renewal")]
    assert [(s.seed, s.settings.epochs) for item in items for s in item.specs] == [(1, 2), (4, 3), (0, 5), (5, 1)]


def test_models_of_other_libraries_start_only_where_their_time_is_left(small):
    out, known = small
    plan = (Step("accuracy", "diabetes", 1, "smoke", models=("Spline", "Linear")),)
    before = result("diabetes", "Spline", seed=1, score=50.0, preset="smoke")
    known.put(dataclasses.replace(before, cost=before.cost | {"fit_seconds": 1000.0}))
    go(out, known, plan=plan)
    assert {result.spec.model for result in out} == {"Linear"}


def test_a_library_that_is_not_installed_is_told_once_and_the_rest_goes_on(small, monkeypatch):
    plan = [Step("accuracy", "diabetes", 2, "smoke", models=(model,)) for model in ("XGBoost", "NAM")]
    monkeypatch.setitem(sys.modules, "xgboost", None)
    (out, known), lines = small, []
    go(out, known, lines, plan=plan)
    assert {result.spec.model for result in out} == {"NAM"}
    assert len([line for line in lines if line.startswith("failed: ") and "xgboost" in line]) == 1


def test_what_another_process_trains_is_left_to_it(small):
    out, known = small
    items = [spec for item in lacking([known]) for spec in item.specs]
    started = time.monotonic()
    with out.lock(items[0]):
        trained, left = go(out, known)
    assert (trained, left) == (len(items) - 1, 1)
    assert time.monotonic() - started < 300
    assert keys(out) == {spec.key for spec in items[1:]}


def test_what_is_lacking_is_trained_into_another_directory_and_can_be_merged(small, tmp_path):
    (out, known), lines = small, []
    wanted = {spec.key: spec for item in lacking([known]) for spec in item.specs}
    trained, left = go(out, known, lines)
    assert (trained, left) == (len(wanted), 0)
    assert keys(out) == set(wanted)
    assert not known.root.exists()
    assert lines[0] == f"{trained} results lacking, 10 min given"
    # weights are kept of the first seeds at each penalty alone: they are large
    kept = {path.name.split(".")[0] for path in out.root.rglob("*.weights.safetensors")}
    assert kept == {key for key, spec in wanted.items() if reference.keeps_weights(spec)}
    assert merge(out.root, known).came.total() == len(wanted)
    assert keys(known) == set(wanted)
    assert not known.problems
    assert lacking([known]) == []
    assert go(Store(tmp_path / "again"), known) == (0, 0)


def test_weights_are_kept_of_the_first_seeds_at_a_presets_own_setting_alone():
    paper = specs_of("housing", "MixNAM", "paper")
    assert reference.keeps_weights(paper[0])
    assert not reference.keeps_weights(paper[1])
    for preset in ("quick", "best"):
        assert reference.keeps_weights(specs_of("housing", "MixNAM", preset)[0])
        assert not reference.keeps_weights(specs_of("housing", "MixNAM", preset, {"variation_penalty": 1.0})[0])
    assert not reference.keeps_weights(specs_of("housing", "MixNAM", "paper", {"experts": 2, "active_experts": 2})[0])
    assert not reference.keeps_weights(specs_of("housing", "MixNAM-D", "paper")[0])


def test_no_time_trains_nothing_and_says_how_much_is_left(small):
    out, known = small
    everything = sum(len(item.specs) for item in lacking([known]))
    assert go(out, known, seconds=1e-6) == (0, everything)
    assert keys(out) == set()


def test_what_would_not_end_in_time_is_passed_over_for_what_does(small):
    out, known = small
    items = [spec for item in lacking([known]) for spec in item.specs]
    first, long = items[0], items[1]
    _, left = go(out, known, work_of=lambda spec: 1e12 if spec == long else 1.0)
    assert left == 1
    assert keys(out) == {spec.key for spec in items} - {long.key}
    assert first.key in keys(out)


def test_of_what_would_not_end_in_time_a_part_is_trained(small, monkeypatch):
    """As on a GPU, where an item is a stack."""
    plan = (Step("accuracy", "diabetes", 1, models=("NAM",)), Step("accuracy", "diabetes", 4, models=("MixNAM",)))
    monkeypatch.setattr(reference, "pick_device", lambda name: torch.device("cuda"))
    clock = iter([0.0, 0.0, 0.0, 10.0, 10.0, 10.0, 30.0])  # NAM takes 10 s; 25 are left for four that take 10 each
    monkeypatch.setattr(reference.time, "monotonic", lambda: next(clock))
    (out, known), trained, lines = small, [], []

    def train(specs, *rest, **options):
        trained.append(len(specs))
        return specs

    options = {"seconds": 35 / 0.9, "device": "cuda", "preset": "smoke"}  # a tenth is kept for files
    go(out, known, lines, plan=plan, train=train, work_of=lambda spec: 1.0, **options)
    assert trained == [1, 2]
    assert "accuracy on diabetes: MixNAM: 2 of 4 to train, about 25 s, 25 s left" in lines


def test_what_does_not_fit_is_told_and_the_rest_goes_on(small, monkeypatch):
    (out, known), lines, original, tried = small, [], running.fit, []

    def fit(specs, *arguments, **options):
        tried.append(specs)
        if len(tried) == 1:
            raise torch.OutOfMemoryError("too large")
        return original(specs, *arguments, **options)

    monkeypatch.setattr(running, "fit", fit)
    failed = {}
    _, left = go(out, known, lines, failed=failed)
    assert left == len(failed) == 1 and list(failed) == tried[0]
    assert (
        f"failed: {tried[0][0]}: memory is too short (too large); train fewer models at a time, or smaller ones"
        in lines
    )


def test_a_training_that_runs_over_is_stopped_and_goes_on_the_next_time(small, monkeypatch):
    out, known = small
    lines, started = [], []
    epoch = Trainer.epoch

    def slow(self):
        started.append(self.state.epoch)
        epoch(self)
        if len(started) == 1:
            monkeypatch.setattr(time, "monotonic", lambda: 1e12)

    monkeypatch.setattr(Trainer, "epoch", slow)
    trained, _ = go(out, known, lines)
    assert trained == 0
    assert any("stopped in epoch 1 of 2" in line for line in lines)
    assert len(list((out.root / ".unfinished").glob("*.pt"))) == 1
    monkeypatch.undo()
    monkeypatch.setattr(Trainer, "epoch", lambda self: (started.append(self.state.epoch), epoch(self)))
    started.clear()
    go(out, known, lines, plan=SMALL_PLAN[:1])
    assert started[0] == 1
    assert not list((out.root / ".unfinished").glob("*.pt"))


def test_data_that_are_not_at_hand_are_skipped_once_with_the_remedy(small):
    (out, known), lines = small, []

    def work_of(spec):
        if spec.dataset == "breast_cancer":
            raise DataMissing("breast_cancer is not at hand: look behind the sofa")
        return 1.0

    plan = (Step("accuracy", "breast_cancer", 5, "smoke"), *SMALL_PLAN[:1])
    trained, left = go(out, known, lines, plan=plan, work_of=work_of)
    assert trained == 2
    assert left > 0
    assert [line for line in lines if "sofa" in line] == ["skipped: breast_cancer is not at hand: look behind the sofa"]


def test_the_command_says_what_is_wrong(capsys):
    for arguments, message in [
        (["run", "reference", "--budget", "25m"], "needs --budget, such as 25m, and --out"),
        (["run", "reference", "--out", "x"], "needs --budget, such as 25m, and --out"),
        (["run", "reference", "--budget", "25", "--out", "x"], "got '25'"),
        (["run", "accuracy", "--budget", "25m"], "go with `run reference`"),
        (
            ["run", "reference", "--budget", "25m", "--out", "x", "--seeds", "3"],
            "takes no --dataset, no --seeds and no --models",
        ),
        (["run", "reference", "--budget", "1s", "--out", "x", "--dataset", "income"], "takes no --dataset"),
    ]:
        assert command_line.main(arguments) == 2
        assert message in capsys.readouterr().err


def test_the_command_line_needs_no_notebook_and_no_plot():
    absent = ["IPython", "papermill", "nbformat", "nbclient", "matplotlib", "seaborn", "plotly", "interpret", "xgboost"]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import mixnam.__main__; print('fine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr
