"""A step whose changing inputs are tensors equals a plain step, and CUDA graphs replay the right steps in order.

There is no GPU here: the steps run on the processor, and `torch.cuda` is a stand-in that writes down what is
asked of it. A captured step keeps what it saw at capture, as a graph does, and runs when it is replayed.
"""

import contextlib

import pytest
import torch
from every import every
from stacks_by_hand import EARLY, LATE, MEMBERS, MIDDLE, NAM_MEMBERS, assert_same, data, script, settings_list

from mixnam import randomness
from mixnam.models import MixNAMDSettings, MixNAMESettings, MixNAMSettings, MLPSettings, NAMSettings, make_network
from mixnam.training import graphs
from mixnam.training.graphs import WARM_UP, Captured, step_tables, take_step
from mixnam.training.trainer import Trainer

SMALL = {"layers": 2, "width": 6, "experts": 3, "active_experts": 2, "batch_size": 8, "epochs": 8}
MLP_MEMBERS = [{k: m[k] for k in ("learning_rate", "weight_decay", "dropout")} for m in MEMBERS]
CASES = {
    "MixNAM": settings_list(MixNAMSettings, **SMALL),
    "MixNAM, nothing dropped": settings_list(
        MixNAMSettings, [m | {"dropout": 0.0, "expert_dropout": 0.0} for m in MEMBERS], **SMALL
    ),
    "MixNAM, batch norm": settings_list(MixNAMSettings, **SMALL, normalization="batch_norm"),
    "MixNAM-D": settings_list(MixNAMDSettings, **SMALL, temperature=0.5),
    "MixNAM-E": settings_list(MixNAMESettings, **SMALL, expert_dropout_mode="renormalize"),
    "NAM": settings_list(NAMSettings, NAM_MEMBERS, hidden=(5, 4), batch_size=8, epochs=8),
    "NAM of our recipe": settings_list(
        NAMSettings,
        [m | {"averaging": rate} for m, rate in zip(NAM_MEMBERS, (0.0, 0.5, 0.95), strict=True)],
        hidden=(5, 4),
        batch_size=8,
        epochs=8,
        encoding="piecewise_linear",
        bins=4,
        activation="silu",
    ),
    "MLP": settings_list(MLPSettings, MLP_MEMBERS, hidden=(5, 4), batch_size=8, epochs=8),
}
STREAMS = {
    "MixNAM": ["dropout/0", "dropout/1", "expert_dropout"],
    "MixNAM, nothing dropped": [],
    "MixNAM, batch norm": ["dropout/0", "dropout/1", "expert_dropout"],
    "MixNAM-D": ["dropout/0", "dropout/1", "gumbel", "expert_dropout"],
    "MixNAM-E": ["dropout/0", "dropout/1", "expert_dropout"],
    "NAM": ["dropout/0", "dropout/1"],
    "NAM of our recipe": ["dropout/0", "dropout/1"],
    "MLP": ["dropout/0", "dropout/1"],
}
SEEDS = [4, 0, 9]


def stack(case, members=3, epochs=8, batch=8):
    settings = [type(s)(**s.all() | {"epochs": epochs, "batch_size": batch}) for s in CASES[case]]
    settings, fold = [settings[m % 3] for m in range(members)], data(members)
    seeds = [*SEEDS, *range(100, 200)][:members]
    return Trainer(make_network(settings[0], 3), settings, seeds, fold, "regression", torch.float64)


def order(one, epoch):
    keys = [randomness.key(one.seeds[m], "order", epoch) for m in one.state.members]
    return randomness.permutation(keys, one.fold.x.shape[1])


def assert_same_state(found, expected):
    assert found.state.optimizer.steps == expected.state.optimizer.steps
    assert_same(*(one.tensors(one.state.flat, one.state.buffers) for one in (found, expected)), 1e-12)
    assert_same(*({"averaged": one.state.averaged} | one.state.averaged_buffers for one in (found, expected)), 1e-9)
    for name in ("first", "second"):
        ours, theirs = (getattr(one.state.optimizer, name) for one in (found, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def from_tables(one, batches, rate):
    """Take steps as a GPU does: tables made once, their rows copied into the tensors that steps read."""
    first = one.state.optimizer.steps
    tables = step_tables(one, range(first, first + len(batches)), rate)
    numbers, keys = (table[0].clone() for table in tables)
    for i, chosen in enumerate(batches):
        numbers.copy_(tables[0][i])
        keys.copy_(tables[1][i])
        take_step(one, chosen, numbers, keys)
        assert one.state.optimizer.steps == first + i
        one.state.optimizer.steps += 1


def plainly(one, batches, rate):
    for chosen in batches:
        one.step(chosen, rate)


# --- one step


@every("case", CASES)
def test_steps_from_tables_equal_plain_steps_also_after_members_have_left(case):
    plain, tabled = stack(case), stack(case)
    start = order(plain, 0).split(8, dim=1)
    for one in (plain, tabled):
        plainly(one, start[:1], 1.0)  # a first step says which streams are drawn from
        assert one.streams == STREAMS[case]
    plainly(plain, start[1:], 1.0)
    from_tables(tabled, start[1:], 1.0)
    assert_same_state(tabled, plain)
    for epoch, positions in ((1, [0, 1, 2]), (2, [0, 2]), (3, [1])):  # the second leaves, then the first
        for one in (plain, tabled):
            one.state.keep(positions)
            one._select()
        batches, rate = order(plain, epoch).split(8, dim=1), 0.9 - 0.2 * epoch
        plainly(plain, batches, rate)
        from_tables(tabled, batches, rate)
        assert_same_state(tabled, plain)
    assert plain.state.members == [2]
    assert plain.state.optimizer.steps == 16


@every("case", ["MixNAM", "MixNAM, nothing dropped", "MixNAM-D"])
def test_steps_from_tables_of_one_member_in_blocks_equal_plain_steps(case):
    plain, tabled = stack(case, members=1), stack(case, members=1)
    assert tabled.blocked is not None
    batches = order(plain, 0).split(8, dim=1)
    for one in (plain, tabled):
        plainly(one, batches[:1], 1.0)
    plainly(plain, batches[1:], 0.5)
    from_tables(tabled, batches[1:], 0.5)
    assert_same_state(tabled, plain)


def test_tables_hold_rates_corrections_and_keys_by_step_stream_and_member():
    one = stack("MixNAM-D")
    plainly(one, order(one, 0).split(8, dim=1)[:1], 1.0)
    numbers, keys = step_tables(one, range(5, 9), 0.3)
    assert numbers.shape == (4, 4)
    assert keys.shape == (4, 4, 3)
    assert numbers.dtype == one.state.flat.dtype
    assert keys.dtype == torch.int64
    for i, step in enumerate(range(5, 9)):  # counted from 0: the first step's correction is the first
        expected = [0.3, 1 / (1 - 0.9 ** (step + 1)), (1 - 0.999 ** (step + 1)) ** -0.5, (1 + step) / (10 + step)]
        assert numbers[i].tolist() == pytest.approx(expected, rel=1e-12)
        for j, stream in enumerate(STREAMS["MixNAM-D"]):
            assert keys[i, j].tolist() == [randomness.key(seed, stream, step) for seed in SEEDS]
    one.state.keep([2, 0])
    one._select()
    _, keys = step_tables(one, range(1), 1.0)
    assert keys[0, 1].tolist() == [randomness.key(seed, "dropout/1", 0) for seed in (SEEDS[2], SEEDS[0])]


def test_tables_of_a_network_that_draws_nothing_have_no_keys():
    one = stack("MixNAM, nothing dropped")
    numbers, keys = step_tables(one, range(3), 1.0)
    assert numbers.shape == (3, 4)
    assert keys.shape == (3, 0, 3)


# --- graphs, with a stand-in for the GPU


class Stream:
    def __init__(self, log, name="side"):
        self.log, self.name = log, name

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


class Graph:
    """What it recorded, and in which memory the member stack's weights then were."""

    def __init__(self, log):
        self.log, self.recorded = log, None

    def replay(self):
        trainer, chosen, numbers, keys, addresses, original = self.recorded
        assert addresses == places(trainer)  # a graph writes where the weights were
        self.log.append(f"replay {chosen.shape[1]}")
        original(trainer, chosen, numbers, keys)


def places(trainer):
    state = trainer.state
    own = [state.flat, state.optimizer.first, state.optimizer.second, *state.buffers.values(), *trainer.values.values()]
    return [tensor.data_ptr() for tensor in own]


class Device:
    """What was asked of `torch.cuda`, in order, and what shall go wrong: errors by batch size."""

    def __init__(self):
        self.log, self.errors, self.graphs, self.pools = [], {}, [], 0
        self.current, self.capturing = Stream(self.log, "main"), None

    def handle(self):
        self.pools += 1
        return "pool", self.pools - 1

    @contextlib.contextmanager
    def on(self, stream):
        self.current, before = stream, self.current
        yield
        self.current = before

    @contextlib.contextmanager
    def capture(self, graph, pool=None, stream=None):
        assert stream.name == "side"
        self.capturing, graph.given = graph, pool
        try:
            yield
        finally:
            self.capturing = None
        self.graphs.append(graph)

    def take_step(self, original):
        def take_step(trainer, chosen, numbers, keys):
            assert self.capturing is not None
            size = chosen.shape[1]
            self.log.append(f"capture {size}")
            if size in self.errors:
                raise self.errors[size]
            self.capturing.recorded = (trainer, chosen, numbers, keys, places(trainer), original)

        return take_step

    def step(self, original):
        def step(trainer, chosen, rate):
            assert self.capturing is None
            assert self.current.name == "side"  # where allocations of a capture are
            self.log.append(f"launch {chosen.shape[1]}")
            original(trainer, chosen, rate)

        return step

    def steps(self):
        return [entry for entry in self.log if "waits" not in entry]


@pytest.fixture
def gpu(monkeypatch):
    device = Device()
    monkeypatch.setattr(torch.cuda, "Stream", lambda: Stream(device.log))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: device.current)
    monkeypatch.setattr(torch.cuda, "stream", device.on)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(device.log))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", device.handle)
    monkeypatch.setattr(torch.cuda, "graph", device.capture)
    monkeypatch.setattr(graphs, "take_step", device.take_step(take_step))
    return device


@pytest.fixture
def launched(gpu, monkeypatch):
    """Return a function from a trainer to the same with its steps in graphs."""

    def launched(one):
        one.captured = Captured()
        monkeypatch.setattr(one, "step", lambda chosen, rate: gpu.step(Trainer.step)(one, chosen, rate))
        return one

    return launched


def epochs(one, count):
    for _ in range(count):
        one.epoch()
    return one


@pytest.mark.parametrize("case", CASES)
def test_epochs_in_graphs_equal_plain_epochs(gpu, launched, case):
    assert_same_state(epochs(launched(stack(case)), 6), epochs(stack(case), 6))
    assert "replay 3" in gpu.log


def test_a_batch_size_is_launched_three_times_then_captured_once_and_replayed_ever_after(gpu, launched):
    assert WARM_UP == 3
    one = launched(stack("MixNAM"))
    seen = []
    for _ in range(6):
        gpu.log.clear()
        one.epoch()
        seen.append(gpu.steps())
    replayed = ["replay 8"] * 3
    assert seen == [
        ["launch 8"] * 3 + ["launch 3"],
        ["capture 8", *replayed, "launch 3"],
        [*replayed, "launch 3"],
        [*replayed, "capture 3", "replay 3"],
        [*replayed, "replay 3"],
        [*replayed, "replay 3"],
    ]
    assert one.state.optimizer.steps == 24
    first, second = gpu.graphs
    assert first.given == second.given == ("pool", 0)  # the graphs of a stack share their memory


def test_a_capture_amid_an_epoch_replays_that_epoch_s_steps(gpu, launched):
    one = epochs(launched(stack("MixNAM-D", batch=4)), 4)  # 27 rows: six steps of 4 rows and one of 3
    first = ["launch 4"] * 3 + ["capture 4"] + ["replay 4"] * 3 + ["launch 3"]
    later = ["replay 4"] * 6
    assert gpu.steps() == [*first, *later, "launch 3", *later, "launch 3", *later, "capture 3", "replay 3"]
    assert_same_state(one, epochs(stack("MixNAM-D", batch=4), 4))


def test_tables_are_made_once_an_epoch_and_not_before_they_are_needed(gpu, launched, monkeypatch):
    one, asked = launched(stack("MixNAM")), []

    def tables(trainer, steps, rate):
        asked.append((steps, rate))
        return step_tables(trainer, steps, rate)

    monkeypatch.setattr(graphs, "step_tables", tables)
    one.epoch()
    assert asked == []
    epochs(one, 3)
    assert [steps for steps, _ in asked] == [range(4, 8), range(8, 12), range(12, 16)]
    plain = stack("MixNAM")
    rates = []
    monkeypatch.setattr(plain, "step", lambda chosen, rate: rates.append(rate))
    epochs(plain, 4)
    assert [rate for _, rate in asked] == rates[4::4]


def test_launched_steps_wait_for_the_streams_before_and_after(gpu, launched):
    launched(stack("MixNAM")).epoch()
    assert gpu.log == ["side waits for main", "launch 8", "main waits for side"] * 3 + [
        "side waits for main", "launch 3", "main waits for side"]  # fmt: skip


@pytest.mark.parametrize("size", [8, 3])
def test_where_a_step_cannot_be_captured_kernels_are_launched_from_then_on(gpu, launched, size):
    gpu.errors[size] = RuntimeError("operation not permitted when stream is capturing")
    one = launched(stack("MixNAM"))
    with pytest.warns(UserWarning, match=r"cannot be captured as a CUDA graph, .*: operation not permitted") as found:
        epochs(one, 6)
    assert len(found) == 1
    assert gpu.log.count(f"capture {size}") == 1
    after = gpu.steps()[gpu.steps().index(f"capture {size}") + 1 :]
    assert {entry.split()[0] for entry in after} == {"launch"}
    assert_same_state(one, epochs(stack("MixNAM"), 6))


def test_memory_that_runs_out_in_a_capture_is_raised_for_whoever_makes_the_stack_smaller(gpu, launched, recwarn):
    gpu.errors[8] = torch.OutOfMemoryError("CUDA out of memory")
    one = launched(stack("MixNAM"))
    one.epoch()
    with pytest.raises(torch.OutOfMemoryError):
        one.epoch()
    assert not recwarn.list
    assert not one.captured.failed
    assert one.captured.graphs == {}


def test_an_error_in_a_launched_step_is_raised(launched, monkeypatch):
    one = launched(stack("MixNAM"))
    monkeypatch.setattr(one, "gradient", lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        one.epoch()


def on_a_gpu(monkeypatch, gpu):
    """Let every trainer have its steps in graphs, made anew whenever its stack changes, as on a GPU."""
    original = Trainer._select

    def select(self):
        original(self)
        self.captured = Captured() if self.state.members else None

    monkeypatch.setattr(Trainer, "_select", select)
    monkeypatch.setattr(Trainer, "step", gpu.step(Trainer.step))


def test_a_stack_that_loses_members_is_captured_anew_and_ends_as_without_graphs(gpu, monkeypatch):
    script(monkeypatch, dict(zip([*SEEDS, 100], [EARLY, LATE, EARLY, MIDDLE], strict=True)))
    expected = stack("MixNAM", members=4).run()
    with monkeypatch.context() as patch:
        on_a_gpu(patch, gpu)
        found = stack("MixNAM", members=4).run()
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours.tensors, theirs.tensors, 1e-12)
        assert (ours.best_epoch, ours.best_score, ours.steps) == (theirs.best_epoch, theirs.best_score, theirs.steps)
    alike = ["launch 8"] * 3 + ["launch 3", "capture 8"] + (["replay 8"] * 3 + ["launch 3"]) * 2
    alike += ["replay 8"] * 3 + ["capture 3", "replay 3"]
    assert gpu.steps() == alike * 2  # two members leave after the fourth epoch, the other two after the eighth
    assert [graph.given for graph in gpu.graphs] == [("pool", 0)] * 2 + [("pool", 1)] * 2


def test_a_run_taken_up_from_a_checkpoint_warms_up_and_goes_on_as_without_graphs(gpu, monkeypatch, tmp_path):
    before, after = stack("MixNAM-D"), stack("MixNAM-D")
    epochs(before, 3).state.save(tmp_path / "run.pt")
    epochs(before, 4)
    with monkeypatch.context() as patch:
        on_a_gpu(patch, gpu)
        after.state.load(tmp_path / "run.pt", vars(after._trained(0)))
        after._select()
        epochs(after, 4)
    assert gpu.steps()[:4] == ["launch 8"] * 3 + ["launch 3"]
    assert gpu.steps()[4] == "capture 8"
    assert_same_state(after, before)


def test_on_a_processor_there_are_no_graphs():
    assert stack("MixNAM").captured is None
