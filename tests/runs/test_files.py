"""A file is there whole or not at all."""

import os

import pytest
from untrained import Crash, crash_at

from mixnam.runs.files import root, write_file


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "file"
    write_file(path, b"old")
    with monkeypatch.context() as patch:
        crash_at(1, patch)
        with pytest.raises(Crash):
            write_file(path, b"new")
    assert path.read_bytes() == b"old"
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file"]


def test_the_project_is_found_from_a_folder_within_it(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "_config.yml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert root() == tmp_path
