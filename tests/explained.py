"""Networks to explain, a table of correlated features, and the explainer of both."""

import torch

from mixnam.explain.measures import explainer
from mixnam.models import MixNAMDSettings, MixNAMESettings, MixNAMSettings, MLPSettings

ROWS = 80
CASES = {
    "dense": MixNAMSettings(layers=2, width=6, experts=3, active_experts=3),
    "sparse": MixNAMSettings(layers=2, width=6, experts=4, active_experts=2),
    "one_active": MixNAMSettings(layers=1, width=5, experts=3, active_experts=1),
    "batch_norm": MixNAMSettings(layers=2, width=6, experts=2, active_experts=2, normalization="batch_norm"),
    "shared": MixNAMSettings(layers=2, width=6, experts=3, active_experts=3, router="shared"),
    "shared_sparse": MixNAMSettings(layers=2, width=6, experts=4, active_experts=2, router="shared"),
    "even": MixNAMESettings(layers=2, width=6, experts=5, active_experts=2),
    "even_shared": MixNAMESettings(layers=2, width=6, experts=4, active_experts=2, router="shared"),
    "diagonal": MixNAMDSettings(layers=2, width=6, experts=3, active_experts=3),
    "diagonal_sparse": MixNAMDSettings(layers=2, width=6, experts=4, active_experts=2),
}
#: routed by the feature alone: the expected values are 0 or 1, but for rounding
DIAGONAL = ("diagonal", "diagonal_sparse")
MLP = MLPSettings(hidden=(7, 6))


def table(rows=ROWS, features=3, seed=0):
    x = torch.randn(rows, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]  # marginal and conditional measures differ where features correlate
    return x


def explained(build, settings, x, scale=1.0):
    network, tensors = build(settings, x.shape[1], gaps=bool(x.isnan().any()))
    tensors = {name: t.to(x.dtype) for name, t in tensors.items()}

    def outputs(rows):
        return network(tensors, rows[None])

    return explainer(network, tensors, x, scale, "a run"), outputs


def bounds(outputs):
    def call(rows):
        out = outputs(rows)
        return out.contributions[0], out.lower[0], out.upper[0]

    return call


def as_arrays(rows):
    return {name: values.double().numpy() for name, values in rows.items()}
