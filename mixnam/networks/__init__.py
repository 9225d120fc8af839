"""Networks that train as stacks of members: MixNAM and its neural rivals."""

from mixnam.networks.additive import NAM, Linear
from mixnam.networks.base import Network, Outputs
from mixnam.networks.mixture import MixNAM
from mixnam.settings import Settings

NETWORKS: dict[str, type[Network]] = {"MixNAM": MixNAM, "NAM": NAM, "Linear": Linear}


def make_network(settings: Settings, features: int) -> Network:
    """Return the network that `settings` describe, for `features` input columns."""
    return NETWORKS[settings.model](settings, features)


__all__ = ["NAM", "NETWORKS", "Linear", "MixNAM", "Network", "Outputs", "make_network"]
