"""Oblivious trees on a whole batch: all nodes of a level ask the same question, so a tree is a table.

Rows lie along the last axis, so that each operation streams over them. The later splits give the weights of their
outcomes, one matrix product applies the responses to them, and the first h of D splits fold what is left, one at a
time: about 2^(D-h) + 2^h numbers a tree and row instead of D·2^D.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixnam.models.fast.entmax import entmoid15, entmoid15_

_CELLS = 1 << 17  # gates of the trees handled at a time on a CPU: what belongs to them stays in its cache


def respond(values: Tensor, scale: Tensor, shift: Tensor, response: Tensor) -> Tensor:
    """Return the trees' outputs, (M, T, K, B), by plain operations: every kind of derivative exists.

    **Shape:** `values` (M, S, T, B) is what the splits compare, split d takes `values[:, d % S]`; `scale` and
    `shift` (M, D, T): a row passes split d by entmoid of values · scale + shift; `response` (M, T, K, 2^D), where
    the highest bit of a leaf's place is 1 for those that pass the first split, and so on.
    """
    return torch.cat([_respond(*part) for part in _parts(values, scale, shift, response)], dim=1)


def _parts(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut tensors that belong together into the trees that are handled at a time."""
    values, scale, shift, response = tensors
    members, _, trees, rows = values.shape
    step = trees
    if values.device.type == "cpu":
        step = max(1, _CELLS // (members * scale.shape[1] * max(rows, 1)))
    cut = [t.split(step, dim=2) for t in (values, scale, shift)] + [response.split(step, dim=1)]
    return list(zip(*cut, strict=True))


def _respond(values: Tensor, scale: Tensor, shift: Tensor, response: Tensor) -> Tensor:
    depth, kinds = scale.shape[1], values.shape[1]
    gates = [entmoid15(values[:, d % kinds] * scale[:, d, :, None] + shift[:, d, :, None]) for d in range(depth)]
    weights = torch.stack([1 - gates[-1], gates[-1]], dim=2)
    first = depth // 2  # splits that are folded
    for gate in reversed(gates[first:-1]):
        passed = weights * gate[:, :, None]
        weights = torch.cat([weights - passed, passed], dim=2)
    members, trees, outputs = response.shape[:3]
    table = response.reshape(members, trees, outputs << first, -1)
    out = (table @ weights).unflatten(2, (outputs, 1 << first))
    for gate in gates[:first]:
        failed, passed = out.chunk(2, dim=3)
        out = failed + (passed - failed) * gate[:, :, None, None]
    return out.squeeze(3)


class _Scratch:
    """Buffers that the parts of one pass take in turn: fresh memory costs more than what is computed in it."""

    def __init__(self, like: Tensor) -> None:
        self.like, self.kept = like, dict[tuple[str, tuple[int, ...]], Tensor]()

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Return the buffer of that name and shape, with whatever was left in it."""
        if (name, shape) not in self.kept:
            self.kept[name, shape] = self.like.new_empty(shape)
        return self.kept[name, shape]


class Respond(torch.autograd.Function):
    """`respond` with its gradient by hand: gates are not kept but computed again on the way back, part by part."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        """Return the trees' outputs."""
        ctx.save_for_backward(*tensors)
        scratch = _Scratch(tensors[0])
        out = tensors[0].new_empty(*tensors[3].shape[:3], tensors[0].shape[-1])
        parts = _parts(*tensors)
        for own, part in zip(out.split(parts[0][0].shape[2], dim=1), parts, strict=True):
            own.copy_(_Part(scratch, *part).outputs())
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of values, scale, shift and response."""
        scratch = _Scratch(gradients[0])
        found = tuple(torch.empty_like(t) for t in ctx.saved_tensors)
        parts = _parts(*ctx.saved_tensors)
        own = gradients[0].split(parts[0][0].shape[2], dim=1)
        for gradient, part, into in zip(own, parts, _parts(*found), strict=True):
            _Part(scratch, *part).gradients(gradient, *into)
        return found


class _Part:
    """Some of the trees: their gates (M, D, T, B), and the weights of the later splits' outcomes."""

    def __init__(self, scratch: _Scratch, *tensors: Tensor) -> None:
        values, self.scale, shift, response = tensors
        self.scratch, self.values, self.shape = scratch, values, response.shape
        members, kinds, trees, rows = values.shape
        self.depth = depth = self.scale.shape[1]
        self.first = first = depth // 2  # splits that are folded
        self.lead, self.rows = (members, trees), rows
        self.gates = gates = scratch("gates", members, depth, trees, rows)
        for d in range(0, depth, kinds):  # each value meets its first splits, its second ones, ...
            count = min(kinds, depth - d)
            torch.mul(values[:, :count], self.scale[:, d : d + count, :, None], out=gates[:, d : d + count])
        gates += shift[..., None]
        self.slope = scratch("slope", *gates.shape)
        entmoid15_(gates, self.slope, scratch("root", *gates.shape))
        self.table = response.reshape(members, trees, self.shape[2] << first, -1)
        self.weights = weights = scratch("weights", members, trees, 1 << (depth - first), rows)
        torch.sub(1.0, gates[:, -1], out=weights[:, :, 0])
        weights[:, :, 1] = gates[:, -1]
        for i, d in enumerate(reversed(range(first, depth - 1))):
            failed, passed = weights[:, :, : 2 << i], weights[:, :, 2 << i : 4 << i]
            torch.mul(failed, gates[:, d, :, None], out=passed)
            failed -= passed
        self.steps: list[Tensor] = []  # by how much passing a folded split differs from failing it

    def product(self, name: str, left: Tensor, right: Tensor) -> Tensor:
        """Return a product of matrices, one a member and tree."""
        left, right = left.flatten(0, 1), right.flatten(0, 1)
        out = torch.bmm(left, right, out=self.scratch(name, len(left), left.shape[1], right.shape[2]))
        return out.unflatten(0, self.lead)

    def outputs(self) -> Tensor:
        """Return (M, T, K, B)."""
        out = self.product("out", self.table, self.weights).unflatten(2, (self.shape[2], 1 << self.first))
        for d in range(self.first):
            failed, passed = out.chunk(2, dim=3)
            step = torch.sub(passed, failed, out=self.scratch(f"step/{d}", *failed.shape))
            out = torch.addcmul(failed, step, self.gates[:, d, :, None, None], out=self.scratch("out", *failed.shape))
            self.steps.append(step)
        return out.squeeze(3)

    def gradients(self, gradient: Tensor, values: Tensor, scale: Tensor, shift: Tensor, response: Tensor) -> None:
        """Write the gradients of values, scale, shift and response for that of the outputs, (M, T, K, B)."""
        scratch, gates = self.scratch, self.gates
        if self.first:
            self.outputs()
        d_gates = scratch("root", *gates.shape)
        out = gradient.unsqueeze(3)
        for d in reversed(range(self.first)):
            weighted = torch.mul(out, self.steps[d], out=self.steps[d])
            torch.sum(weighted, dim=(2, 3), out=d_gates[:, d])
            both = scratch("both", *out.shape[:3], 2 * out.shape[3], self.rows)
            failed, passed = both.chunk(2, dim=3)
            torch.mul(out, gates[:, d, :, None, None], out=passed)
            torch.sub(out, passed, out=failed)
            out = both
        out = out.flatten(2, 3)
        response.copy_(self.product("table", out, self.weights.transpose(2, 3)).view(self.shape))
        out = self.product("back", self.table.transpose(2, 3), out)
        weights = self.weights
        for d in range(self.first, self.depth - 1):
            (failed, passed), halves = out.chunk(2, dim=2), weights.chunk(2, dim=2)
            weights = torch.add(*halves, out=scratch("halves", *halves[0].shape))
            passed -= failed
            torch.addcmul(failed, passed, gates[:, d, :, None], out=failed)
            torch.sum(passed.mul_(weights), dim=2, out=d_gates[:, d])
            out = failed
        torch.sub(out[:, :, 1], out[:, :, 0], out=d_gates[:, -1])
        d_gates.mul_(self.slope).mul_(0.25)  # the gradient of what the gates are taken of: values · scale + shift
        kinds, work = values.shape[1], scratch("product", *d_gates.shape)
        torch.sum(d_gates, dim=3, out=shift)
        for d in range(0, self.depth, kinds):
            count = min(kinds, self.depth - d)
            torch.mul(d_gates[:, d : d + count], self.values[:, :count], out=work[:, d : d + count])
        torch.sum(work, dim=3, out=scale)
        torch.mul(d_gates, self.scale[..., None], out=work)
        for k in range(kinds):
            torch.sum(work[:, k::kinds], dim=1, out=values[:, k])
