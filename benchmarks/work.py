"""How much arithmetic a training step takes, as usually counted."""

from __future__ import annotations

from mixnam.models import MixtureSettings


def multiply_adds(settings: MixtureSettings, features: int, routed: bool = True) -> int:
    """Return the multiply-adds of one row forward: encoder, experts and dense router.

    Without `routed`: a NAM of the same encoders with one output a feature.

    **Examples**

    >>> from mixnam.models import MixNAMSettings
    >>> multiply_adds(MixNAMSettings(layers=2, width=3, experts=2, active_experts=2), features=5)
    240
    """
    n, d, layers = features, settings.width, settings.layers
    inputs = 1 if settings.encoding == "scalar" else 1 + settings.bins
    encoder = n * (inputs * d + (layers - 1) * d * d)
    if not routed:
        return encoder + n * d
    return encoder + n * d * settings.experts + (n * d) * (n * settings.experts)


def step_flop(settings: MixtureSettings, features: int, rows: int, routed: bool = True) -> int:
    """Return the floating-point operations of a step: two a multiply-add, and backward twice forward."""
    return 2 * 3 * rows * multiply_adds(settings, features, routed)
