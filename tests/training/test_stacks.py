"""Members share a stack where they can, leave it when memory ends, and what a stack trained is what each would be."""

import dataclasses
import math
import time

import pytest
import torch
from every import every

from mixnam.models import MixNAMDSettings, MixNAMSettings, MLPSettings, NAMSettings, make_network
from mixnam.models.layers import Draws
from mixnam.runs import fitting, model
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec
from mixnam.runs.store import Store
from mixnam.training import stacks
from mixnam.training.stacks import in_parts, largest_stack, member_bytes
from mixnam.training.trainer import OutOfTime, Trainer

SMALL = MixNAMSettings(width=4, layers=1, epochs=3, batch_size=64, learning_rate=0.01)
SPECS = [
    RunSpec("diabetes", dataclasses.replace(SMALL, variation_penalty=penalty), "holdout", seed)
    for seed in (0, 1)
    for penalty in (0.0, 1.0)
]


@pytest.fixture(scope="module")
def alone():
    return list(fit(SPECS, "cpu"))


def test_parts_are_halved_until_they_fit_and_keep_their_order():
    tried, lines = [], []

    def train(part):
        tried.append(list(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError("full")
        yield from part

    assert list(in_parts(list(range(9)), 5, train, lines.append)) == list(range(9))
    assert tried == [[0, 1, 2, 3, 4], [0, 1, 2], [0, 1], [2], [3, 4], [5, 6, 7, 8], [5, 6], [7, 8]]
    assert lines[0] == "9 members in 2 stacks of at most 5, which the memory holds"
    assert lines[1:] == [
        f"out of memory with {n} members side by side, going on with {m}" for n, m in ((5, 3), (3, 2), (4, 2))
    ]


def test_a_member_that_does_not_fit_alone_is_an_error():
    def train(part):
        raise torch.OutOfMemoryError("full")
        yield

    with pytest.raises(MemoryError, match="a single member does not fit into the device's memory: full"):
        list(in_parts([1, 2], 2, train, lambda line: None))


def test_a_stack_gives_what_its_members_give_alone(alone):
    together = list(fit(SPECS, "cpu", stack=4))
    assert [result.spec for result in together] == SPECS
    assert [result.cost["stack"] for result in together] == [4] * 4
    for one, other in zip(alone, together, strict=True):
        assert other.metrics["test"]["rmse"] == pytest.approx(one.metrics["test"]["rmse"], rel=1e-3)
        assert other.history["best_epoch"] == one.history["best_epoch"]
        tightness = [result.measures["tightness"]["range"] for result in (one, other)]
        assert tightness[1] == pytest.approx(tightness[0], abs=0.01)


def test_a_stack_is_cut_to_the_size_that_is_asked_for():
    assert [result.cost["stack"] for result in fit(SPECS, "cpu", stack=3)] == [3, 3, 3, 1]


def test_running_out_of_memory_halves_the_stack_and_says_so(monkeypatch, alone):
    class Limited(Trainer):
        def __init__(self, network, settings, *rest, **options):
            if len(settings) > 2:
                raise torch.OutOfMemoryError("no more")
            super().__init__(network, settings, *rest, **options)

    monkeypatch.setattr(model, "trainer_class", lambda settings: Limited)
    lines = []
    found = list(fit(SPECS, "cpu", progress=lines.append, stack=4))
    assert [result.spec for result in found] == SPECS
    assert [result.cost["stack"] for result in found] == [2] * 4
    assert "out of memory with 4 members side by side, going on with 2" in lines
    for one, other in zip(alone, found, strict=True):
        assert other.metrics["test"]["rmse"] == pytest.approx(one.metrics["test"]["rmse"], rel=1e-3)


def test_each_member_bears_its_part_of_the_stack_s_time():
    started = time.perf_counter()
    costs = [result.cost["fit_seconds"] for result in fit(SPECS, "cpu", stack=4)]
    assert sum(costs) < time.perf_counter() - started
    assert max(costs) == pytest.approx(min(costs), rel=1e-6)


def test_a_stack_out_of_time_goes_on_where_it_was(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(OutOfTime, match="stopped in epoch 0 of 3"):
        list(fit(SPECS, "cpu", checkpoint=store.checkpoint, stack=4, deadline=time.monotonic() - 1))
    path = store.checkpoint(SPECS[0], stack=True)
    assert path.exists()
    # a state from the middle: the first epoch's
    trainers = []

    class Watched(Trainer):
        def epoch(self):
            trainers.append(self.state.epoch)
            super().epoch()

    original, model.trainer_class = model.trainer_class, lambda settings: Watched
    try:
        ends = iter([0.0, math.inf, math.inf])
        clock = time.monotonic
        time.monotonic = lambda: next(ends, math.inf)
        try:
            with pytest.raises(OutOfTime, match="stopped in epoch 1 of 3"):
                list(fit(SPECS, "cpu", checkpoint=store.checkpoint, stack=4, deadline=1.0))
        finally:
            time.monotonic = clock
        trainers.clear()
        resumed = list(fit(SPECS, "cpu", checkpoint=store.checkpoint, stack=4))
    finally:
        model.trainer_class = original
    assert trainers == [1, 2]  # the first epoch was not run again
    for one, other in zip(fit(SPECS, "cpu", stack=4), resumed, strict=True):
        assert one.metrics == other.metrics


def test_the_members_of_a_stack_have_one_checkpoint_together():
    store = Store("results")
    assert len({store.checkpoint(spec) for spec in SPECS}) == 4
    assert store.checkpoint(SPECS[0]).stem == SPECS[0].key
    assert len({store.checkpoint(spec, stack=True) for spec in SPECS}) == 1
    others = [
        RunSpec("breast_cancer", SMALL, "fold0", 0),
        dataclasses.replace(SPECS[0], settings=dataclasses.replace(SMALL, width=5)),
    ]
    assert len({store.checkpoint(spec, stack=True) for spec in (SPECS[0], *others)}) == 3


def test_what_was_trained_but_not_measured_is_measured_the_next_time(tmp_path, monkeypatch, alone):
    store, seen = Store(tmp_path), []
    for result in fit(SPECS, "cpu", checkpoint=store.checkpoint, stack=4):
        seen.append(result)
        if len(seen) == 2:
            break  # killed here: two are stored, two are not
    monkeypatch.setattr(Trainer, "epoch", lambda self: pytest.fail("trained again"))
    rest = list(fit(SPECS[2:], "cpu", checkpoint=store.checkpoint, stack=4))
    assert [result.spec for result in rest] == SPECS[2:]
    for one, other in zip(alone[2:], rest, strict=True):
        assert other.metrics["test"]["rmse"] == pytest.approx(one.metrics["test"]["rmse"], rel=1e-3)


def test_a_checkpoint_of_other_members_is_no_start(tmp_path, alone):
    store = Store(tmp_path)
    list(fit(SPECS[:2], "cpu", checkpoint=store.checkpoint, stack=4))
    assert store.checkpoint(SPECS[0], stack=True).exists()
    again = list(fit(SPECS[1:], "cpu", checkpoint=store.checkpoint, stack=4))
    for one, other in zip(alone[1:], again, strict=True):
        assert other.metrics["test"]["rmse"] == pytest.approx(one.metrics["test"]["rmse"], rel=1e-3)


def test_measures_end_with_the_time_and_are_taken_the_next_time(tmp_path, monkeypatch):
    store, deadline = Store(tmp_path), time.monotonic() + 600
    found = []
    with pytest.raises(OutOfTime, match="its measures are left for the next time"):
        for result in fit(SPECS, "cpu", checkpoint=store.checkpoint, stack=4, deadline=deadline):
            found.append(result)
            monkeypatch.setattr(time, "monotonic", lambda: deadline + 1)
    assert len(found) == 1


def test_one_that_diverges_leaves_the_rest_of_its_stack_alone(monkeypatch):
    original = fitting._result

    def fail(spec, *rest):
        if spec == SPECS[1]:
            raise FloatingPointError("predictions are not finite")
        return original(spec, *rest)

    monkeypatch.setattr(fitting, "_result", fail)
    lost = {}
    found = [result.spec for result in fit(SPECS, "cpu", stack=4, lost=lost.__setitem__)]
    assert found == [SPECS[0], *SPECS[2:]]
    assert [(spec, str(error)) for spec, error in lost.items()] == [(SPECS[1], "predictions are not finite")]
    with pytest.raises(FloatingPointError, match="predictions are not finite"):
        list(fit(SPECS, "cpu", stack=4))


@every(
    "settings",
    [
        MixNAMSettings(width=32, batch_size=256),
        MixNAMSettings(width=16, experts=32, active_experts=4, batch_size=512),
        MixNAMDSettings(width=32, batch_size=2048),
        NAMSettings(batch_size=1024),
        MLPSettings(batch_size=256),
    ],
)
def test_the_estimate_covers_what_a_step_keeps_for_its_gradient(settings):
    n, rows = 8, 5000
    network = make_network(settings, n)
    parameters, buffers = network.initialize([0, 1], torch.device("cpu"))  # two, for the general formulation
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    leaves = {k: p.requires_grad_(True) for k, p in parameters.items()}
    rates = {k: torch.tensor([0.1, 0.1]) for k in ("dropout", "expert_dropout") if hasattr(settings, k)}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        network(leaves | buffers, torch.randn(2, settings.batch_size, n), Draws([0, 1], 0, rates))
    held = sum(kept.values()) / 2
    estimate = member_bytes(network, rows)
    assert held < estimate < 16 * held


def test_the_estimate_grows_with_batch_rows_and_features():
    def estimate(n=8, rows=100_000, **changes):
        return member_bytes(make_network(MixNAMSettings(**changes), n), rows)

    assert estimate(batch_size=8192) > 1.5 * estimate(batch_size=4096)
    assert estimate(n=16) > 1.9 * estimate()
    assert estimate(rows=1_100_000) - estimate() == 4 * 1_000_000 * 9


def test_a_gpu_s_free_memory_limits_the_stack_and_a_cpu_trains_alone(monkeypatch):
    network = make_network(MixNAMSettings(), 8)
    one = member_bytes(network, 20_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(7.5 * one / stacks.SHARE), 10**12))
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert largest_stack(network, 20_000, gpu, None) == 7
    assert largest_stack(network, 20_000, gpu, 3) == 3
    assert largest_stack(network, 20_000, cpu, None) == 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 10**12))
    assert largest_stack(network, 20_000, gpu, None) == 1
