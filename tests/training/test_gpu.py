"""On a GPU steps are captured, stacks share it, and results are the CPU's to rounding; skipped where there is none."""

import pytest
import torch
from every import every
from gpu_stacks import CASES, CHUNKED, trainer

from mixnam.models import (
    MixNAMSettings,
    fused,
    make_network,
)
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec
from mixnam.training.stacks import member_bytes
from mixnam.training.trainer import Fold, Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


@every("case, options", CHUNKED)
def test_captured_steps_equal_launched_ones(case, options):
    captured, launched = (trainer(CASES[case], 3, "cuda", **options) for _ in range(2))
    launched.captured.failed = True
    for _ in range(8):
        captured.epoch()
        launched.epoch()
    assert set(captured.captured.graphs) == {64, 8}, "the step was not captured"
    assert not launched.captured.graphs
    assert captured.state.optimizer.steps == launched.state.optimizer.steps == 32
    torch.testing.assert_close(captured.state.flat, launched.state.flat, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(captured.state.averaged, launched.state.averaged, rtol=1e-7, atol=1e-7)
    assert len(captured.state.averaged) == (3 if getattr(captured.settings, "averaging", 0) else 0)


@every("case", ["MixNAM", "MixNAM-D", "MixNAM-E"])
def test_a_stack_on_a_gpu_equals_its_members_on_a_cpu(case):
    stack = trainer(CASES[case], 3, "cuda")
    alone = trainer(CASES[case], 3, "cpu")
    for _ in range(5):
        stack.epoch()
        alone.epoch()
    torch.testing.assert_close(stack.state.flat.cpu(), alone.state.flat, rtol=1e-6, atol=1e-6)


def test_members_leave_the_stack_and_the_rest_is_captured_anew():
    one, other = (trainer(CASES["MixNAM"], 3, "cuda") for _ in range(2))
    other.captured.failed = True
    for each in (one, other):
        for _ in range(5):
            each.epoch()
        each.state.keep([0, 2])
        each._select()
    assert other.captured is None  # what failed is not tried again
    for each in (one, other):
        for _ in range(5):
            each.epoch()
    assert set(one.captured.graphs) == {64, 8}
    torch.testing.assert_close(one.state.flat, other.state.flat, rtol=1e-7, atol=1e-7)


def test_a_gpu_and_a_cpu_agree_on_a_spec():
    settings = MixNAMSettings(layers=2, width=8, epochs=5, batch_size=64, learning_rate=0.01)
    specs = [RunSpec("diabetes", settings, "holdout", seed) for seed in range(3)]
    theirs, ours = list(fit(specs, "cpu")), list(fit(specs, "cuda"))
    assert [result.cost["stack"] for result in ours] == [3] * 3
    for a, b in zip(theirs, ours, strict=True):
        assert b.provenance["device_type"] == "cuda"
        assert b.metrics["test"]["rmse"] == pytest.approx(a.metrics["test"]["rmse"], rel=1e-2)
        assert b.measures["additivity"]["marginal"] == pytest.approx(a.measures["additivity"]["marginal"], abs=0.05)


def test_the_estimate_covers_what_a_stack_takes():
    settings, members = MixNAMSettings(width=64, batch_size=2048, epochs=4), 4
    x = torch.randn(members, 8192, 8, device="cuda")
    y = torch.randn(members, 8192, device="cuda")
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    network = make_network(settings, 8)
    Trainer(network, [settings] * members, range(members), Fold(x, y, x[:, :2048], y[:, :2048]), "regression").run()
    taken = torch.cuda.max_memory_reserved() - before
    assert taken < members * member_bytes(network, 10240) * 1.25


def test_fused_kernels_give_the_numbers_of_the_processor(monkeypatch):
    monkeypatch.setattr(fused, "LEAST", 0)
    for case in ("MixNAM", "MixNAM of our recipe"):
        stack, alone = trainer(CASES[case], 3, "cuda"), trainer(CASES[case], 3, "cpu")
        for _ in range(5):
            stack.epoch()
            alone.epoch()
        assert set(stack.captured.graphs) == {64, 8}
        torch.testing.assert_close(stack.state.flat.cpu(), alone.state.flat, rtol=1e-6, atol=1e-6)
