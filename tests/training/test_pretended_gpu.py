"""On a pretended GPU nothing that a CUDA graph forbids is in a captured step, no devices mix, values are the CPU's.

It cannot see what a CUDA kernel does differently from the processor's, nor time or memory; `test_gpu` does where there
is a GPU.
"""

import warnings

import pytest
import torch
from gpu_stacks import CASES, CHUNKED, trainer
from pretended_gpu import Forbidden, Pretend, install
from torch.torch_version import TorchVersion

from mixnam.explain import measures
from mixnam.models import MixNAMSettings, MLPSettings, NA2MSettings, NODEGAMSettings, pairs
from mixnam.runs.fitting import fit
from mixnam.runs.spec import RunSpec
from mixnam.training import graphs


def state_of(one):
    return [one.state.flat, one.state.optimizer.first, one.state.optimizer.second, *one.state.buffers.values()]


@pytest.fixture
def gpu(monkeypatch):
    gpu = Pretend()
    install(gpu, monkeypatch, graphs, state_of)
    stand_ins = {"is_available": True, "mem_get_info": (1 << 36, 1 << 36), "get_device_name": "pretended"}
    stand_ins |= {"current_device": 0, "empty_cache": None, "reset_peak_memory_stats": None, "max_memory_allocated": 0}
    for name, value in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    return gpu


def captured(settings, gpu, epochs=5, **options):
    """Train on the pretended GPU, held against what it forbids; return the trainer and its weights."""
    with gpu(), warnings.catch_warnings():
        warnings.simplefilter("error")  # a step that cannot be captured warns
        one = trainer(settings, 3, "cuda", **options)
        for _ in range(epochs):
            before = gpu.waits.copy()
            one.epoch()
        waits = gpu.waits - before
        assert sum(waits.values()) == 3  # of a whole epoch: the order's keys, and the two tables
        return one, one.state.flat.cpu()


@pytest.mark.parametrize(("case", "options"), CHUNKED)
def test_every_step_can_be_captured_and_equals_the_processor_s(case, options, gpu):
    alone = trainer(CASES[case], 3, "cpu", **options)
    for _ in range(5):
        alone.epoch()
    one, found = captured(CASES[case], gpu, **options)
    assert set(one.captured.graphs) == {64, 8}
    assert not [op for op in gpu.ops if op.startswith("FROZEN")]
    torch.testing.assert_close(found, alone.state.flat, rtol=1e-6, atol=1e-6)


FIT = {"batch_size": 64, "epochs": 5, "learning_rate": 0.001}
FITTED = {
    "MixNAM": MixNAMSettings(**FIT, layers=2, width=8, active_experts=2),
    "MLP": MLPSettings(**FIT, hidden=(8, 4)),
    "NA2M": NA2MSettings(**FIT, hidden=(4,)),
    "NODE-GAM": NODEGAMSettings(
        batch_size=64, epochs=5, trees=4, depth=2, evaluation_steps=5, anneal_steps=10, patience_steps=5
    ),
}


@pytest.mark.parametrize("case", FITTED)
def test_a_spec_is_trained_and_explained(case, gpu, monkeypatch):
    # as few draws as there are at least
    monkeypatch.setattr(measures.Explainer, "slopes_taken", 0)
    monkeypatch.setattr(measures.FeaturewiseExplainer, "work", 0)
    specs = [RunSpec("diabetes", FITTED[case], "holdout", seed) for seed in range(2)]
    ours = list(fit(specs, "cpu"))
    with gpu():
        theirs = list(fit(specs, "cuda"))
    for a, b in zip(ours, theirs, strict=True):
        assert b.provenance["device_type"] == "cuda"
        assert b.cost["stack"] == 2
        assert b.metrics["test"]["rmse"] == pytest.approx(a.metrics["test"]["rmse"], rel=1e-2)
        assert b.measures["additivity"]["marginal"] == pytest.approx(a.measures["additivity"]["marginal"], abs=0.05)


@pytest.mark.parametrize(
    ("bug", "says"),
    [
        (lambda x: x[:, [0, 1]], "an index that is a list"),
        (lambda x: x * float(x.sum()), "_local_scalar_dense"),
        (lambda x: x[x > 0], "boolean index"),
        (lambda x: x + torch.tensor([1.0], device=x.device), "host to device"),
        (lambda x: x.cpu().sum(), "device to host"),
        (lambda x: x + torch.ones(3), "same device"),
        (lambda x: x.tolist(), "tolist"),
    ],
)
def test_what_a_graph_forbids_raises(bug, says, gpu):
    with gpu():
        x = torch.arange(6.0, device="cuda").view(2, 3)
        assert x.device.type == "cuda"
        if says != "same device":
            bug(x)  # allowed where nothing is captured
        gpu.capturing = True
        with pytest.raises(Forbidden, match=says):
            bug(x)


def from_host(network, device):
    return torch.tensor(network.pairs, device=device).T


#: What a network may get wrong: where, what stands there instead, and what a graph says of it.
FAULTS = {
    "lists": (pairs, "chosen", list, "an index that is a list"),
    "made in each step": (pairs.Pairwise, "ends", from_host, "host to device: tensor"),
    "left on the host": (pairs.Pairwise, "ends", lambda network, device: from_host(network, "cpu"), "an index"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_network_is_found(fault, gpu, monkeypatch):
    """What NA2M once did, and its neighbours: indices that come from the host in each step."""
    where, name, wrong, says = FAULTS[fault]
    monkeypatch.setattr(where, name, wrong)
    with pytest.raises(UserWarning, match=f"cannot be captured.*{says}"):
        captured(CASES["NA2M"], gpu)


def test_where_a_capture_fails_training_goes_on_without(gpu, monkeypatch):
    alone = trainer(CASES["NA2M"], 3, "cpu")
    monkeypatch.setattr(pairs.Pairwise, "ends", from_host)
    with gpu():
        one = trainer(CASES["NA2M"], 3, "cuda")
        with pytest.warns(UserWarning, match="cannot be captured as a CUDA graph, kernels are launched"):
            for _ in range(5):
                one.epoch()
                alone.epoch()
        assert one.captured.failed
        torch.testing.assert_close(one.state.flat.cpu(), alone.state.flat, rtol=1e-6, atol=1e-6)


def test_before_torch_2_12_the_allocator_is_told_that_a_failed_capture_is_over(gpu, monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.11.0"))
    monkeypatch.setattr(pairs.Pairwise, "ends", from_host)
    told = []
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, name, lambda *given, name=name: told.append((name, *given)), raising=False)
    with gpu():
        one = trainer(CASES["NA2M"], 3, "cuda")
        with pytest.warns(UserWarning, match="kernels are launched"):
            for _ in range(5):
                one.epoch()
        assert told == [(name, 0, one.captured.pool) for name in ("_cuda_endAllocateToPool", "_cuda_releasePool")]
        one.state.keep([0, 2])
        one._select()
        assert one.captured is None  # and it is not tried again, nor said


def test_a_tensor_that_a_graph_reads_must_live(gpu):
    with gpu():
        one = trainer(CASES["MLP"], 2, "cuda")
        for _ in range(4):
            one.epoch()
        for size, (graph, chosen) in one.captured.graphs.items():
            one.captured.graphs[size] = graph, chosen.clone()
        del chosen
        with pytest.raises(AssertionError, match="gone"):
            one.epoch()
