"""Results as `fit` would return them, of which nothing was trained."""

import json
import os

import numpy as np

from mixnam.data import catalogue
from mixnam.explain import measures
from mixnam.models import LinearSettings, MixNAMSettings, NAMSettings
from mixnam.runs.files import write_file
from mixnam.runs.results import Result, digest
from mixnam.runs.spec import RunSpec

MIXNAM = RunSpec("diabetes", MixNAMSettings(width=4), "holdout", 0)


NAM = RunSpec("diabetes", NAMSettings(), "holdout", 1)


LINEAR = RunSpec("diabetes", LinearSettings(), "holdout", 0)


def fresh(spec, score=0.5):
    """Return a result as `fit` would: nothing of it was trained."""
    arrays = {
        "test_prediction": np.arange(5, dtype=np.float32),
        "grid": np.array([[1.0, np.nan], [2.0, 3.0]], dtype=np.float32),
        "sample_rows": np.array([3, 1, 2], dtype=np.int32),
        "not_contiguous": np.arange(6.0).reshape(2, 3).T,
    }
    weights = {"weight": np.ones((2, 3), np.float32), "bias": np.array(0.25, np.float32)}
    return Result(
        spec,
        metrics={part: {"rmse": score, "r2": -0.1} for part in ("train", "validation", "test")},
        measures={
            "revision": measures.REVISION,
            "additivity": {"marginal": 1.0, "per_feature": [1.0, None]},
            "tightness": {"range": None},
        },
        history={"best_epoch": 2, "epochs": 3, "stopped_early": False, "validation_scores": [[1, 0.9], [2, 0.8]]},
        cost={"fit_seconds": 0.1, "explain_seconds": 0.2, "parameters": 7, "stack": 1},
        provenance={
            "preset": "smoke",
            "device": "a CPU",
            "device_type": "cpu",
            "threads": 1,
            "versions": {"python": "3.11", "torch": "2"},
            "git_commit": None,
            "dirty": None,
            "data_sha256": catalogue.checksum(spec.dataset),
            "data_source": "made up",
        },
        fresh=(arrays, weights),
    )


def same_arrays(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        assert array.shape == other[name].shape
        assert np.array_equal(array, other[name], equal_nan=array.dtype.kind == "f"), name


def older_measures(root):
    """Let all results of a store hold measures of the revision before today's."""
    for path in root.glob("*/*/*.json"):
        content = json.loads(path.read_text())
        content["measures"]["revision"] = measures.REVISION - 1
        content["sha256"][".json"] = digest(content)
        write_file(path, json.dumps(content).encode())


class Crash(BaseException):
    """Stands for the end of the process: nothing but `finally` runs after it."""


def crash_at(count, monkeypatch):
    """Let the process end when it is about to give its final name to the `count`-th file."""
    replace, calls = os.replace, []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) == count:
            raise Crash
        replace(*arguments)

    monkeypatch.setattr(os, "replace", crash)
