"""Networks that train as stacks of members: MixNAM and its neural rivals."""

from mixnam.models.additive import NAM, Linear
from mixnam.models.base import Network, Outputs
from mixnam.models.basis import NB2M, NBM
from mixnam.models.mixture import MixNAM, MixNAMD, MixNAME
from mixnam.models.mlp import MLP
from mixnam.models.pairs import NA2M
from mixnam.models.settings import (
    MODELS,
    PER_MEMBER,
    REVISIONS,
    AdditiveSettings,
    EB2MSettings,
    EBMSettings,
    LibrarySettings,
    LinearSettings,
    MixNAMDSettings,
    MixNAMESettings,
    MixNAMSettings,
    MixtureSettings,
    MLPSettings,
    NA2MSettings,
    NAMSettings,
    NB2MSettings,
    NBMSettings,
    NetworkSettings,
    NODEGA2MSettings,
    NODEGAMSettings,
    NODESettings,
    Settings,
    SplineSettings,
    TreeSettings,
    XGBoostSettings,
    make_settings,
    number,
    settings_class,
)
from mixnam.models.trees import NODE, NODEGA2M, NODEGAM

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
    "AdditiveSettings",
    "EB2MSettings",
    "EBMSettings",
    "LibrarySettings",
    "Linear",
    "LinearSettings",
    "MLP",
    "MLPSettings",
    "MODELS",
    "MixNAM",
    "MixNAMD",
    "MixNAMDSettings",
    "MixNAME",
    "MixNAMESettings",
    "MixNAMSettings",
    "MixtureSettings",
    "NA2M",
    "NA2MSettings",
    "NAM",
    "NAMSettings",
    "NB2M",
    "NB2MSettings",
    "NBM",
    "NBMSettings",
    "NETWORKS",
    "NODE",
    "NODEGA2M",
    "NODEGA2MSettings",
    "NODEGAM",
    "NODEGAMSettings",
    "NODESettings",
    "Network",
    "NetworkSettings",
    "Outputs",
    "PER_MEMBER",
    "REVISIONS",
    "Settings",
    "SplineSettings",
    "TreeSettings",
    "XGBoostSettings",
    "make_network",
    "make_settings",
    "number",
    "settings_class",
]
