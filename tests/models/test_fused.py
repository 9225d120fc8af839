"""The kernel for a GPU computes what the plain layers do, with the same random numbers."""

import torch
import torch.nn.functional as F
from every import every

from mixnam import randomness
from mixnam.models import fused
from mixnam.models.layers import Draws, layer_norm


@every("shape", [(1,), (7,), (2, 3, 5)])
def test_masks_are_those_of_the_plain_path(shape):
    keys, drop = [randomness.key(seed, "mask", 4) for seed in range(4)], torch.tensor([0.0, 0.1, 0.5, 0.99999])
    expected = randomness.keep_mask(keys, drop, shape, torch.float32)
    assert torch.equal(fused.keeps(torch.tensor(keys), drop, shape), expected.bool())


@every("silu", [False, True])
@every("gain", [(3, 8), (3, 4, 8)])
def test_a_unit_is_norm_activation_and_dropout(silu, gain):
    source = torch.Generator().manual_seed(0)
    x, gain, shift = (torch.randn(*s, generator=source, dtype=torch.float64) for s in ((3, 4, 6, 8), gain, gain))
    draws = Draws([0, 1, 2], 5, {"dropout": torch.tensor([0.1, 0.2, 0.6], dtype=torch.float64)})
    shape = (3, -1, 1, 8)
    normal = layer_norm(x, gain, shift)
    expected = draws.dropout(F.silu(normal) if silu else F.relu(normal), "some/0", "dropout")
    keys = torch.tensor(draws.keys("some/0"))
    found = fused.unit(x, gain.view(shape), shift.view(shape), keys, draws.rates["dropout"], silu)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert bool((found == 0).any())
