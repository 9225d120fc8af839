"""Networks that train as stacks of members: MixNAM and its neural rivals."""

from mixnam.networks.additive import NAM, Linear
from mixnam.networks.base import Network, Outputs
from mixnam.networks.basis import NB2M, NBM
from mixnam.networks.mixture import MixNAM, MixNAMD, MixNAME
from mixnam.networks.mlp import MLP
from mixnam.networks.pairs import NA2M
from mixnam.networks.trees import NODE, NODEGA2M, NODEGAM
from mixnam.settings import Settings

NETWORKS: dict[str, type[Network]] = {
    "MixNAM": MixNAM,
    "MixNAM-D": MixNAMD,
    "MixNAM-E": MixNAME,
    "NAM": NAM,
    "NA2M": NA2M,
    "NBM": NBM,
    "NB2M": NB2M,
    "NODE": NODE,
    "NODE-GAM": NODEGAM,
    "NODE-GA2M": NODEGA2M,
    "MLP": MLP,
    "Linear": Linear,
}


def make_network(settings: Settings, features: int) -> Network:
    """Return the network that `settings` describe, for `features` input columns."""
    return NETWORKS[settings.model](settings, features)


__all__ = [
    "MLP",
    "NA2M",
    "NAM",
    "NB2M",
    "NBM",
    "NETWORKS",
    "Linear",
    "MixNAM",
    "MixNAMD",
    "MixNAME",
    "Network",
    "Outputs",
    "make_network",
]
