"""Which specs train side by side, how many of them fit into memory, and what happens when they do not."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from mixnam.models import Network, NetworkSettings
from mixnam.models.base import EVALUATED

Member = TypeVar("Member")
Outcome = TypeVar("Outcome")
#: Share of the free memory that a stack may be expected to take.
SHARE = 0.8
#: Copies of an activation that a step holds: a layer's sum, its normalisation, ReLU, mask, and gradients of two.
COPIES = 6


def member_bytes(network: Network, rows: int) -> int:
    """Return about how many bytes one more member of a stack takes on the device, with `rows` rows of data, in float32.

    Counted are parameters with their gradient, moments and best copy; the data; and the activations of one batch and
    of the rows evaluated at a time, by the shapes of weights: what a captured step has taken stays with it.
    """
    settings: NetworkSettings = network.settings
    per_row = float(network.row_cells)
    for name, parameter in network.parameters.items():
        if name.endswith("weight"):
            *groups, inner, outer = parameter.shape
            # a router takes the codes of all features at once, in a copy
            per_row += network.held(name) * (COPIES * outer * (groups[0] if groups else 1) + (0 if groups else inner))
    batch = min(settings.batch_size, rows)
    activations = int((batch + min(EVALUATED, rows) / 2) * per_row)
    return 4 * (6 * network.parameter_count() + rows * (network.features + 1) + activations)


def largest_stack(network: Network, rows: int, device: torch.device, wanted: int | None) -> int:
    """Return how many members train side by side: `wanted`, or one on a CPU and what fits on a GPU."""
    if wanted is not None:
        return max(1, wanted)
    if device.type == "cpu":
        return 1
    _give_back()
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(SHARE * free) // member_bytes(network, rows))


def _give_back() -> None:
    """Return to the device what no tensor needs any more, so that it counts as free."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def in_parts(
    members: list[Member], largest: int, train: Callable[[list[Member]], Iterator[Outcome]], say: Callable[[str], None]
) -> Iterator[Outcome]:
    """Yield what `train` yields for parts of at most `largest` members; one that runs out of memory is halved.

    Raises MemoryError where a single member does not fit.
    """
    waiting = [members[i : i + largest] for i in range(0, len(members), largest)]
    if len(waiting) > 1:
        say(f"{len(members)} members in {len(waiting)} stacks of at most {largest}, which the memory holds")
    while waiting:
        part = waiting.pop(0)
        try:
            yield from train(part)
            continue
        except torch.OutOfMemoryError as error:
            if len(part) == 1:
                raise MemoryError(f"a single member does not fit into the device's memory: {error}") from error
        # outside of the handler, whose traceback holds the stack's tensors
        half = (len(part) + 1) // 2
        waiting[:0] = [part[:half], part[half:]]
        say(f"out of memory with {len(part)} members side by side, going on with {half}")
        _give_back()
