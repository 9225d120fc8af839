"""What tests of the report share: an empty project, and the reference book as it is built."""

import shutil
from pathlib import Path

import pytest
from planted import Project

from mixnam.paper import running
from mixnam.report import book
from mixnam.report.parameters import Parameters

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path):
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The reference book, built once from a copy, with no network and no data."""
    where = tmp_path_factory.mktemp("book") / "book"
    shutil.copytree(ROOT / "book", where, ignore=shutil.ignore_patterns("_build", "*.safetensors"))
    return book.build(where).parent


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A rerun of the accuracy page on diabetes, one seed at the smoke preset, beside the reference."""
    where = tmp_path_factory.mktemp("run") / "results"
    running.run("accuracy", "diabetes", "smoke", where, "cpu", progress=None, seeds=1)
    return Parameters("diabetes", "smoke", "cpu", where, True)
