"""The benchmarks compare like with like, and write down what the book's page needs. Nothing is timed here."""

import json
import subprocess

import generated
import numpy as np
import pytest
import torch
from every import every

from benchmarks import __main__ as command
from benchmarks import (
    contestants,
    curves,
    device,
    housing,
    machine,
    memory,
    quality,
    record,
    shapes,
    worker,
)
from benchmarks.authors import load_model
from benchmarks.job import Job
from benchmarks.libraries import fit_threaded, openmp_threads
from benchmarks.options import Options
from benchmarks.peers import Conv1d, Elementwise, Loop
from benchmarks.process import Worker
from benchmarks.tables import TABLES
from benchmarks.timing import takes_part, turn_steps
from benchmarks.work import multiply_adds, step_flop
from mixnam.models import EBMSettings, MixNAMSettings, NAMSettings, XGBoostSettings, make_network
from mixnam.models.layers import Draws
from mixnam.models.libraries import fit_library
from mixnam.training.losses import loss
from mixnam.training.trainer import predict

TINY = {"layers": 3, "width": 6, "experts": 3, "active_experts": 3, "batch_size": 8, "output_penalty": 0.3}
STILL = TINY | {"dropout": 0.0, "expert_dropout": 0.0}
QUIET = Options(repeats=1, say=lambda line: None)


def ours(build, settings, task, x, y):
    """Return loss and gradients of the network itself."""
    network, tensors = build(settings, x.shape[1])
    leaves = {k: t.requires_grad_(True) for k, t in tensors.items() if k in network.parameters}
    penalties = {
        k: torch.tensor([getattr(settings, k)], dtype=torch.float64) for k in ("output_penalty", "variation_penalty")
    }
    value = loss(network(tensors, x[None], Draws([0], 0, {})), y[None], task, penalties).sum()
    return value, leaves, dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))


def rows(task):
    source = torch.Generator().manual_seed(5)
    x, y = torch.randn(8, 4, generator=source).double(), torch.randn(8, generator=source).double()
    return x, (y > 0).double() if task == "classification" else y


@every("kind", [Elementwise, Loop])
@every("norm, task", [("layer_norm", "regression"), ("batch_norm", "classification"), ("layer_norm", "classification")])
def test_peers_have_our_loss_and_gradient(build, kind, norm, task):
    settings = MixNAMSettings(**STILL, normalization=norm)
    x, y = rows(task)
    value, leaves, expected = ours(build, settings, task, x, y)
    peer = kind(settings, 4, {k: t[0] for k, t in leaves.items()}, task)
    found = peer.loss(x, y)
    found.backward()
    torch.testing.assert_close(found, value, rtol=1e-10, atol=1e-12)
    laid = peer.layout({k: g[0] for k, g in expected.items()})
    for name, leaf in peer.leaves.items():
        torch.testing.assert_close(leaf.grad, laid[name], rtol=1e-8, atol=1e-10)


def test_conv1d_is_the_mixture_with_one_expert(build):
    settings = MixNAMSettings(**(STILL | {"experts": 1, "active_experts": 1}))
    x, y = rows("regression")
    value, leaves, expected = ours(build, settings, "regression", x, y)
    peer = Conv1d(settings, 4, {k: t[0] for k, t in leaves.items()}, "regression")
    found = peer.loss(x, y)
    found.backward()
    torch.testing.assert_close(found, value, rtol=1e-10, atol=1e-12)
    laid = peer.layout({k: g[0] for k, g in expected.items()})
    for name, leaf in peer.leaves.items():
        torch.testing.assert_close(leaf.grad, laid[name], rtol=1e-8, atol=1e-10)


@every("kind", [Elementwise, Loop, Conv1d])
def test_peers_drop_at_the_rates_of_the_settings(build, kind, monkeypatch):
    rates = []
    monkeypatch.setattr("benchmarks.peers.F.dropout", lambda h, p: rates.append(p) or h)
    settings = MixNAMSettings(**TINY, dropout=0.1, expert_dropout=0.4)
    _, tensors = build(settings, 4)
    kind(settings, 4, {k: t[0] for k, t in tensors.items()}, "regression").loss(*rows("regression"))
    layers = 3 * (4 if kind is Loop else 1)
    assert rates == [0.1] * layers + [0.4] * (kind is not Conv1d)


@every(
    "changed",
    [{"active_experts": 2}, {"shared_normalization": False}, {"encoding": "piecewise_linear"}, {"activation": "silu"}],
)
def test_settings_that_peers_cannot_follow_are_refused(build, changed):
    settings = MixNAMSettings(**(STILL | changed))
    with pytest.raises(ValueError, match=next(iter(changed))):
        Loop(settings, 4, {}, "regression")


def test_work_counted_by_hand():
    settings = MixNAMSettings(layers=2, width=3, experts=2, active_experts=2)
    encoder, experts, router = 5 * (1 * 3 + 3 * 3), 5 * 3 * 2, (5 * 3) * (5 * 2)
    assert multiply_adds(settings, 5) == encoder + experts + router == 240
    assert multiply_adds(settings, 5, routed=False) == encoder + 5 * 3
    pieces = MixNAMSettings(**settings.all() | {"encoding": "piecewise_linear", "bins": 4})
    assert multiply_adds(pieces, 5) == 240 + 5 * 4 * 3
    # two operations a multiply-add, and backward twice forward
    assert step_flop(settings, 5, rows=7) == 6 * 7 * 240


def test_our_recipe_is_trained_in_blocks():
    shape = next(shape for shape in shapes.SHAPES if shape.preset == "best")
    assert shape.settings.encoding == "piecewise_linear"
    _, how = contestants.CONTESTANTS["ours"].build(shape.job("ours", rows=8))
    assert how["blocked"]


def test_a_batch_that_does_not_fit_is_cut():
    settings = MixNAMSettings(width=100, layers=2, batch_size=1024)
    a_row = memory.estimate("elementwise", settings, 10, rows=1)
    assert a_row >= 10 * 100 * 100 * 4
    assert memory.rows_that_fit("elementwise", settings, 10, allowed=50 * a_row + 1) == 50
    assert memory.rows_that_fit("ours", settings, 10, allowed=50 * a_row) == 1024
    with pytest.raises(MemoryError, match="elementwise needs"):
        memory.rows_that_fit("elementwise", settings, 10, allowed=a_row)


def test_housing_takes_part_whole():
    fits = memory.rows_that_fit("elementwise", shapes.HOUSING.settings, shapes.HOUSING.features, memory.CEILING)
    assert fits == shapes.HOUSING.settings.batch_size == 2048


def test_columns_have_the_distinct_values_asked_for():
    job = Job("ours", MixNAMSettings(**STILL).all(), 3, 8, 40, distinct=(2, 40, 7))
    x, _ = job.data()
    assert [len(column.unique()) for column in x.T] == [2, 40, 7]
    assert [len(batch) for batch in job.batches()] == [8] * 5


def test_slow_contestants_take_two_turns_and_short_steps_are_repeated():
    assert [sum(takes_part(first, i, 6) for i in range(6)) for first in (0.1, 5.0)] == [6, 2]
    assert turn_steps(0.1, turn=0.3) == 3
    assert turn_steps(5.0) == 1


class Local:
    """The process of a worker, within this one: what is written to it is answered; it takes two steps at most."""

    def __init__(self):
        self.session, self.answers = worker.Session(), []
        self.stdin = self.stdout = self

    def write(self, line):
        command = json.loads(line)
        steps = command.get("steps", 1)
        few = min(steps, 2)
        answer = self.session.answer(command | {"steps": few} if "steps" in command else command)
        if "seconds" in answer:
            answer["seconds"] *= steps / few
        self.answers.append(json.dumps(answer))

    def readline(self):
        return self.answers.pop(0)

    def flush(self):
        pass

    close = kill = wait = flush


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Let a few rows of Housing be all data that are at hand."""
    generated.use(monkeypatch, tmp_path, 200, ("housing",))
    return housing.load()


@pytest.fixture
def small(data, monkeypatch):
    """Measure in this process, with small networks."""
    started = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda command, **how: Local() if "benchmarks.worker" in command else started(command, **how),
    )
    for module, name, size in ((contestants, "MATRIX", 8), (machine, "MATRIX", 8), (machine, "COPIED", 64)):
        monkeypatch.setattr(module, name, size)
    preset = type("P", (), {"settings": lambda self, *names: MixNAMSettings(**TINY)})()
    monkeypatch.setattr(shapes, "load_preset", lambda name: preset)
    monkeypatch.setattr(curves, "CURVES", (curves.Curve("experts", (2, 3), rows=8, features=2),))
    monkeypatch.setattr(curves, "FIXED", STILL)
    shapes.income_distinct.cache_clear()
    torch_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(torch_threads)
    shapes.income_distinct.cache_clear()


def test_every_part_is_recorded_with_the_fields_of_the_page(small, tmp_path, monkeypatch, capsys):
    pytest.importorskip("xgboost")
    cases = (
        quality.Case("NAM", "NAM", "smoke", overrides=(("hidden", (4,)), ("batch_size", 16))),
        quality.Case("XGBoost", "XGBoost", "smoke", cut="trees", values=(5, 9), threads=1),
    )
    monkeypatch.setattr(quality, "CASES", cases)
    monkeypatch.setattr(quality, "_rehearse", lambda data: None)
    out = tmp_path / "here" / "record.json"
    with pytest.raises(SystemExit) as ended:
        command.main(["--parts", "quality,cores,machine,steps,curves", "--repeats", "1", "--out", str(out)])
    assert ended.value.code == 0
    text = out.read_text()
    assert "NaN" not in text
    assert set(json.loads(text)) == {"schema", "processor", "parts"}
    parts = json.loads(text)["parts"]
    assert set(parts) == set(command.PARTS) - {"device"}
    for part in parts.values():
        stamp = {"created", "git_commit", "dirty", "versions", "seconds", "load", "repeats", "smoke"}
        assert set(part["measured"]) == stamp
    assert set(parts["machine"]) == {
        "processor", "cores", "memory_mb", "platform", "versions", "matrix_gflops", "copy_gb_per_second", "measured",
    }  # fmt: skip
    assert "1" in parts["machine"]["matrix_gflops"]

    names = {"ours", "general", "elementwise", "loop", "conv1d"}
    assert set(parts["steps"]["labels"]) == names
    measured = {shape["name"]: shape for shape in parts["steps"]["shapes"]}
    assert list(measured) == [shape.name for shape in shapes.SHAPES]
    one, repeating = measured["Housing"], measured["Income"]
    wanted = {"name", "dataset", "preset", "features", "settings", "matrix_gflops", "blocked", "gathers", "contestants"}
    assert set(one) == wanted
    assert set(repeating) == wanted | {"distinct"}
    assert "not at hand" in repeating["distinct"]["source"]
    assert repeating["distinct"]["counts"] == list(shapes.INCOME_DISTINCT)
    assert one["blocked"] and not one["gathers"]
    assert set(one["contestants"]) == names
    assert set(measured["Housing, our recipe"]["contestants"]) == {"ours", "general"}
    for found in one["contestants"].values():
        assert set(found) == {
            "rows", "seconds", "times", "rows_per_second", "gflop", "matrix_share", "peak_mb", "ratio",
        }  # fmt: skip
        assert found["rows_per_second"] == pytest.approx(found["rows"] / found["seconds"])
    assert one["contestants"]["ours"]["ratio"] == 1

    assert {(t["contestant"], t["cores"]) for t in parts["cores"]["teams"]} == {
        (name, cores) for name in names - {"general"} for cores in (1, 2)
    }
    assert all(
        set(t) == {"contestant", "cores", "processes", "threads", "rows", "rates", "rows_per_second", "ratio"}
        for t in parts["cores"]["teams"]
    )
    assert [(t["processes"], t["threads"]) for t in parts["cores"]["teams"] if t["contestant"] == "ours"] == [
        (1, 1), (2, 1),
    ]  # fmt: skip

    (curve,) = parts["curves"]["curves"]
    assert [p["value"] for p in curve["points"]] == [2, 3]
    assert set(curve["points"][0]["seconds"]) == names

    network, library = parts["quality"]["contestants"].values()
    shared = {"kind", "threads", "settings", "points", "seconds", "measured"}
    assert set(network) == shared | {"epochs"}
    assert set(library) == shared | {"cut"} and "trees" not in library["settings"]
    assert [p["at"] for p in library["points"]] == [5, 9]
    assert set(network["points"][0]) == {"seconds", "rmse", "at"}
    printed = capsys.readouterr().out
    assert "Housing: 8 features" in printed and str(out) in printed


def test_curves_leave_out_what_would_not_fit():
    settings = MixNAMSettings(**(curves.FIXED | {"batch_size": 8192}))
    assert (
        "elementwise" in curves.taking_part(settings, features=8)
        or memory.estimate("elementwise", settings, 8, 8192) > curves.FITS
    )
    assert "elementwise" not in curves.taking_part(settings, features=360)
    table = TABLES["curves"](
        {
            "labels": {"ours": {"label": "ours"}, "elementwise": {"label": "element-wise"}},
            "curves": [{"name": "rows", "points": [{"value": 1, "seconds": {"ours": 0.5, "elementwise": None}}]}],
        }
    )
    assert table.splitlines()[-1].split() == ["1", "500.0", "ms", "-"]


def test_a_part_measured_again_replaces_that_part_only(tmp_path):
    path = tmp_path / "record.json"
    for part, found in (("steps", {"a": 1}), ("cores", {"b": 1}), ("steps", {"a": 2})):
        record.write(path, record.merged(record.read(path), part, found))
    assert json.loads(path.read_text())["parts"] == {"steps": {"a": 2}, "cores": {"b": 1}}
    for name in ("NAM", "EBM", "NAM"):
        record.write(path, record.merged(record.read(path), "quality", {"contestants": {name: {}}}))
    assert list(record.read(path)["parts"]["quality"]["contestants"]) == ["NAM", "EBM"]


@every("content", ['{"schema": 1, "processor": "another", "parts": {}}', "[]", "no JSON"])
def test_another_machines_record_is_not_touched(tmp_path, content, capsys):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(SystemExit):
        command.main(["--out", str(path)])
    assert "name another file with --out" in capsys.readouterr().err
    assert path.read_text() == content


@every(
    "arguments, message",
    [
        (["--parts", "steps,speed"], "no part 'speed'; there are machine, steps, cores, curves, device, quality"),
        (["--repeats", "0"], "--repeats must be >= 1, got 0"),
        (["--smoke"], "say with --out"),
        (["--peer", "/nowhere"], "give the folder of a checkout"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err


def test_parts_are_measured_in_one_order_and_all_but_quality_by_default():
    assert command.parts("cores, machine") == ["machine", "cores"]
    assert command.DEFAULT == ["machine", "steps", "cores", "curves"]


def test_the_authors_model_is_asked_for_with_the_settings(tmp_path):
    with pytest.raises(FileNotFoundError, match="give the folder of a checkout"):
        load_model(tmp_path, MixNAMSettings(**STILL), 4, "regression")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "model.py").write_text(
        "import torch\n"
        "class NAE(torch.nn.Module):\n"
        "    def __init__(self, *shape, **options):\n"
        "        super().__init__()\n"
        "        self.asked = shape, options\n"
    )
    model = load_model(tmp_path, MixNAMSettings(**STILL), 4, "regression")
    shape, options = model.asked
    assert shape == ("regression", 4, 6, 3, 1)
    assert options["C"] == options["k"] == 3
    assert options["output_penalty"] == 0.3 and options["batch_norm"] is False


@pytest.mark.slow
def test_a_process_measures_and_says_why_it_ended():
    job = Job("ours", MixNAMSettings(**TINY).all(), features=2, rows=8, table=32)
    with Worker() as process:
        assert process.build(job) == {"blocked": True, "gathers": False}
        assert process.seconds(3) > 0
        assert process.peak_mb() >= 0
        process.process.stdin.close()
        with pytest.raises(RuntimeError, match="ours: the measuring process ended with code 0"):
            process.hear()


def test_the_curve_of_a_training_ends_with_the_model_that_training_returns(data):
    watched = quality.Watched(NAMSettings(hidden=(8,), batch_size=16, epochs=6), data, seed=0)
    (trained,) = watched.run()
    prediction = predict(make_network(watched.settings, 8), trained.tensors, watched.x_test)[0].double().numpy()
    last = watched.points[-1]
    assert last["at"] == trained.best_epoch
    assert last["rmse"] == pytest.approx(data.scale * np.sqrt(np.mean((prediction - data.y_test) ** 2)))
    assert [p["seconds"] for p in watched.points] == sorted(p["seconds"] for p in watched.points)
    assert watched.elapsed() >= last["seconds"]


@every(
    "settings",
    [XGBoostSettings(trees=30, early_stopping_rounds=5), EBMSettings(release="0.2.7", outer_bags=1, max_rounds=5)],
)
def test_libraries_predict_what_the_package_stores(data, settings):
    pytest.importorskip("xgboost" if settings.model == "XGBoost" else "interpret")
    stored = fit_library(settings, data.rows, "regression", seed=0)
    found, rounds = fit_threaded(settings, data.rows, threads=1)
    assert rounds == stored.rounds
    np.testing.assert_allclose(found(data.x_test), stored.predict(data.x_test), rtol=1e-5, atol=1e-6)


def test_libraries_get_the_threads_asked_for_and_give_them_back():
    before = torch.get_num_threads()
    with openmp_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_every_contestant_says_what_it_is():
    for contestant in contestants.described(["ours", *curves.RIVALS, "authors"]).values():
        assert contestant["label"]


def test_a_stack_is_timed_where_its_data_lie():
    """A GPU's part, as far as a CPU can run it."""
    cpu = torch.device("cpu")
    rates = device.limits(cpu, matrix=64, copied=1024)
    assert rates["matrix_gflops"] > 0
    assert rates["copy_gb_per_second"] > 0
    quick = next(shape for shape in shapes.SHAPES if shape.name == "Housing, quick")
    found = device.stack(quick, 2, cpu, 1)
    assert found["members"] == 2
    assert found["rows_per_second"] == pytest.approx(2 * 256 / found["launched_seconds"])
    assert found["gflops"] == pytest.approx(2 * step_flop(quick.settings, 8, 256) / found["launched_seconds"] / 1e9)
    # two members would not fit where one is estimated to take all
    assert found["estimated_mb"] > 2 * 256 * 8 * 32 * 4 / 2**20


def test_without_a_gpu_its_part_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="no CUDA device"):
        device.measure(QUIET)
