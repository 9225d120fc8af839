"""Where estimators are kept: a folder with JSON, safetensors, and one folder a score with its members."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save

import mixnam
from mixnam.runs.files import write_file
from mixnam.runs.members import Members, load_mean
from mixnam.runs.results import Arrays

#: Version of what `write` writes.
FORMAT = 1


def write(folder: Path, content: dict[str, Any], members: Sequence[Members], arrays: Arrays) -> None:
    """Write an estimator's `content`, its parameters among it, its members and its arrays into a folder."""
    parameters = {name: _plain(value) for name, value in content["parameters"].items()}
    told = {"format": FORMAT, "mixnam": mixnam.__version__, **content, "parameters": parameters, "scores": len(members)}
    try:
        text = json.dumps(told, indent=1) + "\n"
    except TypeError as error:
        raise ValueError(f"a parameter or a class cannot be saved as JSON: {error}; give numbers or texts") from error
    # a save that fails leaves what was there, or nothing that can be loaded: never a part of two
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as beside:
        new = Path(beside)
        for number, of in enumerate(members):
            of.save(new / f"class{number}")
        write_file(new / "curves.safetensors", save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))
        (folder / "estimator.json").unlink(missing_ok=True)
        for old in folder.glob("class[0-9]*"):
            shutil.rmtree(old)
        for path in new.iterdir():
            path.replace(folder / path.name)
    write_file(folder / "estimator.json", text.encode())


def read(folder: Path, estimator: str) -> tuple[dict[str, Any], tuple[Members, ...], Arrays]:
    """Return what `write` wrote of an estimator of this name; ValueError for one of another name or format."""
    content = json.loads((folder / "estimator.json").read_text(encoding="utf-8"))
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']}, this version reads {FORMAT}; update mixnam")
    if content["estimator"] != estimator:
        raise ValueError(f"it is a {content['estimator']}; load it by {content['estimator']}.load")
    content["parameters"] = {name: _unplain(value) for name, value in content["parameters"].items()}
    members = tuple(load_mean(folder / f"class{number}") for number in range(content["scores"]))
    return content, members, load_file(folder / "curves.safetensors")


def _plain(value: Any) -> Any:
    """Return a parameter as JSON holds it: dictionaries and tuples named, arrays as lists, a generator as none."""
    if isinstance(value, dict):
        return {"pairs": [[_plain(k), _plain(v)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(item) for item in value]}
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, (np.ndarray, np.generic, pd.Index, pd.Series)):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, (list, set)) else value


def _unplain(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return tuple(value["tuple"]) if "tuple" in value else dict(value["pairs"])
