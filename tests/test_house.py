"""The rooms import in one direction, and `make lint` notices where they do not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def checked(folder):
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_an_import_against_the_direction_is_noticed(tmp_path):
    assert "lint-imports" in (ROOT / "Makefile").read_text().partition("lint:")[2].partition("\n\n")[0]
    shutil.copytree(ROOT / "mixnam", tmp_path / "mixnam", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    sound = checked(tmp_path)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    module = tmp_path / "mixnam" / "data" / "laws.py"
    module.write_text(module.read_text() + "\nfrom mixnam.report import layout\n")
    broken = checked(tmp_path)
    assert broken.returncode == 1
    assert "mixnam.data.laws -> mixnam.report.layout" in broken.stdout
