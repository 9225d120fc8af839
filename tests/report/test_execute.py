"""A page appears when it is whole."""

import os
import subprocess
from pathlib import Path

from mixnam.report.execute import execute


def test_half_a_page_of_a_killed_process_is_gone_when_the_page_is_executed(tmp_path, monkeypatch):
    process = subprocess.Popen(["true"])
    process.wait()
    names = [f".page.{process.pid}.tmp.ipynb", f".page.{os.getppid()}.tmp.ipynb", f".page_b.{process.pid}.tmp.ipynb"]
    for name in names:
        (tmp_path / name).write_text("half")
    monkeypatch.setattr("papermill.execute_notebook", lambda source, out, *_, **__: Path(out).write_text("whole"))
    execute("index", tmp_path / "page.ipynb", "", "smoke", tmp_path, "cpu", False)
    assert sorted(os.listdir(tmp_path)) == sorted([*names[1:], "page.ipynb"])
