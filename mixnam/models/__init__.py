"""Every model: its settings, and the network or the library that they describe.

A model is one row of `_MODELS` and the classes that stand in it, which live in one file.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mixnam.models.additive import NAM, Linear, LinearSettings, NAMSettings
from mixnam.models.base import Featurewise, Network, Outputs
from mixnam.models.basis import NB2M, NBM, NB2MSettings, NBMSettings
from mixnam.models.libraries import (
    CatBoostSettings,
    EB2MSettings,
    EBMSettings,
    LightGBMSettings,
    SplineSettings,
    XGBoostSettings,
)  # fmt: skip
from mixnam.models.mixture import (
    MixNAM,
    MixNAMD,
    MixNAMDSettings,
    MixNAME,
    MixNAMESettings,
    MixNAMSettings,
    MixtureSettings,
)  # fmt: skip
from mixnam.models.mlp import MLP, MLPSettings
from mixnam.models.pairs import NA2M, NA2MSettings, Pairwise
from mixnam.models.settings import (
    PER_MEMBER,
    REVISIONS,
    AdditiveSettings,
    LibrarySettings,
    NetworkSettings,
    Settings,
    number,
)  # fmt: skip
from mixnam.models.trees import (
    NODE,
    NODEGA2M,
    NODEGAM,
    NODEGA2MSettings,
    NODEGAMSettings,
    NODESettings,
    Trees,
    TreeSettings,
)  # fmt: skip

#: Each model's settings, and its network, None where a library fits it; in the order of tables.
_MODELS: tuple[tuple[type[Settings], type[Network] | None], ...] = (
    (LinearSettings, Linear),
    (SplineSettings, None),
    (EBMSettings, None),
    (NAMSettings, NAM),
    (NBMSettings, NBM),
    (NODEGAMSettings, NODEGAM),
    (MixNAMSettings, MixNAM),
    (MixNAMDSettings, MixNAMD),
    (MixNAMESettings, MixNAME),
    (MLPSettings, MLP),
    (NODESettings, NODE),
    (XGBoostSettings, None),
    (LightGBMSettings, None),
    (CatBoostSettings, None),
    (EB2MSettings, None),
    (NA2MSettings, NA2M),
    (NB2MSettings, NB2M),
    (NODEGA2MSettings, NODEGA2M),
)
MODELS: dict[str, type[Settings]] = {settings.model: settings for settings, _ in _MODELS}
NETWORKS: dict[str, type[Network]] = {settings.model: network for settings, network in _MODELS if network}


def settings_class(model: str) -> type[Settings]:
    """Return the settings class of `model`; ValueError lists the known models."""
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    return MODELS[model]


def make_settings(model: str, values: Mapping[str, Any]) -> Settings:
    """Return the settings of `model` with `values` over the defaults; ValueError for an unknown name."""
    kind = settings_class(model)
    known = [field.name for field in fields(kind)]
    for name in values:
        if name not in known:
            raise ValueError(f"{model} has no setting {name!r}; it has {', '.join(known) or 'none'}")
    return kind(**values)


def make_network(settings: Settings, features: int, *, gaps: bool = False) -> Network:
    """Return the network that `settings` describe, for `features` input columns, with `gaps` of which some are NaN."""
    return NETWORKS[settings.model](settings, features, gaps=gaps)


__all__ = [
    "MLP", "MODELS", "NA2M", "NAM", "NB2M", "NBM", "NETWORKS", "NODE", "NODEGA2M", "NODEGAM", "PER_MEMBER", "REVISIONS",
    "AdditiveSettings", "CatBoostSettings", "EB2MSettings", "EBMSettings", "Featurewise", "LibrarySettings",
    "LightGBMSettings", "Linear", "LinearSettings",
    "MLPSettings", "MixNAM", "MixNAMD", "MixNAMDSettings", "MixNAME", "MixNAMESettings", "MixNAMSettings",
    "MixtureSettings", "NA2MSettings", "NAMSettings", "NB2MSettings", "NBMSettings", "NODEGA2MSettings",
    "NODEGAMSettings", "NODESettings", "Network", "NetworkSettings", "Outputs", "Pairwise", "Settings",
    "SplineSettings", "TreeSettings", "Trees", "XGBoostSettings", "make_network", "make_settings", "number",
    "settings_class",
]  # fmt: skip
