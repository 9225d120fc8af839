"""A pretended GPU: tensors lie on the processor and say 'cuda'; whatever a GPU or a CUDA graph forbids raises.

Real values flow, so that results can be compared. `Pretend` tags storages made with `device="cuda"` and all that is
computed from them; it notes every transfer and every wait of the host, and raises where devices mix, where numpy is
handed a tensor of the GPU, and, while `capturing`, at every transfer or wait.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
aten = torch.ops.aten
# wait for the device: their result's shape or value is the data's
READS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten._unique2.default,
    aten.unique_consecutive.default,
    aten.bincount.default,
    aten.repeat_interleave.Tensor,
    aten.is_nonzero.default,
}
CROSSES = {aten.copy_.default, aten._to_copy.default, aten.lift_fresh.default}
INDEXES = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}


FACTORIES = {
    torch.empty,
    torch.zeros,
    torch.ones,
    torch.full,
    torch.arange,
    torch.tensor,
    torch.as_tensor,
    torch.randn,
    torch.from_numpy,
    torch.eye,
    torch.linspace,
}


class Forbidden(RuntimeError):
    """What a GPU does not do, or not while a graph is captured."""


def base(t):
    while torch._C._functorch.is_functorch_wrapped_tensor(t):
        t = torch._C._functorch.get_unwrapped(t)
    return t


def place(t):
    """Return a tensor's storage: attribute `gpu` is True for the GPU's, None for what autograd made of nothing."""
    t = base(t)
    return None if t.device.type == "meta" or t._is_zerotensor() else t.untyped_storage()


def neutral_(t):
    return getattr(place(t), "gpu", False) is None


class Pretend:
    def __init__(self):
        self.capturing, self.waits, self.ops, self.graph = False, Counter(), Counter(), 0
        self.python = False  # whether a factory was called by name, not by autograd
        self.inputs = {}  # of a capture: storages that were there before

    def tag(self, t):
        storage = place(t)
        if storage is not None:
            storage.gpu, storage.graph = True, self.graph
        return t

    def on(self, t):
        return getattr(place(t), "gpu", False) is True

    def wait(self, what):
        if self.capturing:
            raise Forbidden(f"{what}: not permitted while a stream is capturing")
        self.waits[what] += 1

    @contextlib.contextmanager
    def __call__(self):
        # else autograd.grad hands itself to the functions' mode, which is off while it runs
        overridden, torch.autograd.has_torch_function = torch.autograd.has_torch_function, lambda *_: False
        try:
            with _Functions(self), _Dispatch(self):
                yield self
        finally:
            torch.autograd.has_torch_function = overridden


def is_cuda(device):
    return device is not None and torch.device(device).type == "cuda"


class _Functions(TorchFunctionMode):
    def __init__(self, gpu):
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func, types, args=(), kwargs=None):
        gpu, kwargs = self.gpu, dict(kwargs or {})
        if func == torch.Tensor.device.__get__:
            return CUDA if gpu.on(args[0]) else func(*args)
        if func == torch.Tensor.is_cuda.__get__:
            return gpu.on(args[0])
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and gpu.on(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func is torch.Tensor.tolist and gpu.on(args[0]):
            gpu.wait("tolist")
            return func(*args)
        if func in (torch.Tensor.cpu, torch.Tensor.cuda, torch.Tensor.to):
            target = {torch.Tensor.cpu: torch.device("cpu"), torch.Tensor.cuda: CUDA}.get(
                func, kwargs.pop("device", None)
            )
            rest = []
            for a in args[1:]:
                if isinstance(a, (torch.device, str)):
                    target = torch.device(a)
                elif isinstance(a, torch.Tensor):
                    raise NotImplementedError("to(other)")
                else:
                    rest.append(a)
            out = args[0].to(*rest, **kwargs) if rest or kwargs else args[0]
            if target is None or is_cuda(target) == gpu.on(args[0]):
                return out
            gpu.wait("host to device: to()" if is_cuda(target) else "device to host: cpu()")
            out = out.detach().clone() if not out.requires_grad else out.clone()
            if is_cuda(target):
                return gpu.tag(out)
            out.untyped_storage().gpu = False
            return out
        if "device" in kwargs:
            target = kwargs.pop("device")
            self.gpu.python = True
            try:
                out = func(*args, **kwargs)
            finally:
                self.gpu.python = False
            if is_cuda(target):
                if func in (torch.tensor, torch.as_tensor, torch.asarray):
                    gpu.wait(f"host to device: {func.__name__}()")
                gpu.tag(out)
            return out
        if func in FACTORIES:
            self.gpu.python = True
            try:
                return func(*args, **kwargs)
            finally:
                self.gpu.python = False
        return func(*args, **kwargs)


class _Dispatch(TorchDispatchMode):
    def __init__(self, gpu):
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        gpu, kwargs = self.gpu, kwargs or {}
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        theirs = [t for t in tensors if gpu.on(t)]
        alien = [t for t in tensors if not gpu.on(t) and t.dim() and place(t) is not None]
        if not theirs:
            neutral = (not alien and not gpu.python) or (alien and all(neutral_(t) for t in alien))
            if neutral and func not in CROSSES:
                out = func(*args, **kwargs)
                for t in tree_leaves(out):
                    if isinstance(t, torch.Tensor) and place(t) is not None:
                        place(t).gpu = None
                return out
            if gpu.capturing:  # on the host: done once, not when the graph is replayed
                gpu.ops[f"HOST {func}"] += 1
            return func(*args, **kwargs)
        if func in READS:
            gpu.wait(f"read: {func}")
        for t in alien:
            if neutral_(t):
                gpu.tag(t)
        alien = [t for t in alien if not gpu.on(t)]
        if func in INDEXES:
            if alien:
                gpu.wait("host to device: an index that is a list")
            if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
                gpu.wait("read: boolean index")
        elif alien and func in CROSSES:
            gpu.wait("host to device: copy_()" if gpu.on(args[0]) else "device to host: copy_()")
            return func(*args, **kwargs)
        elif alien:
            raise Forbidden(f"{func}: expected all tensors to be on the same device, cuda:0 and cpu")
        if gpu.capturing:
            gpu.ops[str(func)] += 1
            for t in theirs:
                storage = t.untyped_storage()
                if getattr(storage, "graph", 0) != gpu.graph:
                    gpu.inputs[storage._cdata] = StorageWeakRef(storage)
            hosted = [t for t in tensors if not gpu.on(t) and place(t) is not None]
            if hosted:
                gpu.ops[f"FROZEN host scalar in {func}"] += 1
        out = func(*args, **kwargs)
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor) and not gpu.on(t):
                gpu.tag(t)
        return out


# --- torch.cuda's part in `Captured`


class Stream:
    def wait_stream(self, other):
        pass


def install(gpu, monkeypatch, capture, state_of):
    """Let `Captured` work: a capture runs the step, where what is forbidden raises, and takes back its changes."""

    class Graph:
        def pool(self):
            return id(self)

        def replay(self):
            dead = [ref for ref in self.inputs.values() if ref.expired()]
            assert not dead, f"{len(dead)} tensors that the graph reads are gone"
            self.step()

    @contextlib.contextmanager
    def graph(graph, pool=None, stream=None):
        gpu.capturing, gpu.inputs, gpu.current = True, {}, graph
        gpu.graph += 1
        try:
            yield
        finally:
            gpu.capturing = False
        graph.inputs = gpu.inputs

    def take_step(trainer, chosen, numbers, keys):
        held = weakref.ref(chosen), weakref.ref(numbers), weakref.ref(keys)  # a graph holds addresses, not tensors

        def step():
            tensors = [ref() for ref in held]
            assert all(t is not None for t in tensors), "what the graph reads is gone"
            original(trainer, *tensors)

        gpu.current.step = step
        gpu.capturing = False
        kept = [(t, t.clone()) for t in state_of(trainer)]
        gpu.capturing = True
        try:
            original(trainer, chosen, numbers, keys)
        finally:
            gpu.capturing = False
            for t, old in kept:
                t.copy_(old)

    original = capture.take_step
    monkeypatch.setattr(capture, "take_step", take_step)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda s: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "graph", graph)
