"""MixNAM, a neural additive model with a mixture of experts per feature: reproduced and usable.

`pip install .` in the project's directory installs it. `MixNAMRegressor` and `MixNAMClassifier` are estimators of
scikit-learn: `MixNAMRegressor().fit(X, y).explain_global().plot()` draws what each feature contributes.

Names are imported when they are first asked for: `import mixnam` alone loads neither torch nor pandas nor scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixnam.data.catalogue import load as load_data
    from mixnam.data.catalogue import register
    from mixnam.data.own import read_table
    from mixnam.data.table import DataError, DataMissing, Table, TableError
    from mixnam.estimators.base import EXPECTED_FAILED_CHECKS
    from mixnam.estimators.models import MixNAMClassifier, MixNAMRegressor, NAMClassifier, NAMRegressor
    from mixnam.models import MODELS, MixNAMDSettings, MixNAMESettings, MixNAMSettings, NAMSettings, make_settings
    from mixnam.runs.fitting import fit
    from mixnam.runs.frame import frame
    from mixnam.runs.model import Model, load_model, train
    from mixnam.runs.results import Result
    from mixnam.runs.spec import RunSpec
    from mixnam.runs.store import Store

__version__ = "0.12.0"

_PLACES = {
    "data.catalogue": ("load_data", "register"),
    "data.own": ("read_table",),
    "data.table": ("DataError", "DataMissing", "Table", "TableError"),
    "estimators.base": ("EXPECTED_FAILED_CHECKS",),
    "estimators.models": ("MixNAMClassifier", "MixNAMRegressor", "NAMClassifier", "NAMRegressor"),
    "models": ("MODELS", "MixNAMDSettings", "MixNAMESettings", "MixNAMSettings", "NAMSettings", "make_settings"),
    "runs.fitting": ("fit",),
    "runs.frame": ("frame",),
    "runs.model": ("Model", "load_model", "train"),
    "runs.results": ("Result",),
    "runs.spec": ("RunSpec",),
    "runs.store": ("Store",),
}
_PLACE = {name: place for place, names in _PLACES.items() for name in names}
__all__ = [
    "EXPECTED_FAILED_CHECKS", "MODELS", "DataError", "DataMissing", "MixNAMClassifier", "MixNAMDSettings",
    "MixNAMESettings", "MixNAMRegressor", "MixNAMSettings", "Model", "NAMClassifier", "NAMRegressor", "NAMSettings",
    "Result", "RunSpec", "Store", "Table", "TableError", "fit", "frame", "load_data", "load_model", "make_settings",
    "read_table", "register", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a name of the face when it is first asked for; AttributeError for any other."""
    if name not in _PLACE:
        raise AttributeError(f"module 'mixnam' has no attribute {name!r}")
    found = getattr(import_module(f"mixnam.{_PLACE[name]}"), "load" if name == "load_data" else name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
