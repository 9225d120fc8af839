"""The page on clusters, followed to the letter on a SLURM of one machine: its records are those of a local run."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repeated import outcomes

from mixnam.paper import running
from mixnam.runs.files import root

pytestmark = pytest.mark.slow
CONFIG = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "make")
PAGE = (root() / "book" / "cluster.md").read_text(encoding="utf-8")
INSTALL, LOAD, TRY, LIST, UNLOCK, MERGE = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A SLURM of this machine alone, without accounts; the test is skipped where it cannot be had."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        pytest.skip(f"no {', '.join(lacking)} here (Debian has them in slurm-wlm and munge)")
    if os.geteuid() != 0:
        pytest.skip("only root can start SLURM's daemons")
    if CONFIG.exists():
        pytest.skip(f"{CONFIG} is there: this machine has a SLURM of its own")
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().partition(".")[0]
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    settings = {
        "ClusterName": "one", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmUser": "root", "SlurmdUser": "root",
        "AuthInfo": f"socket={folder}/munge", "ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none",
        "MpiDefault": "none", "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_Core_Memory",
        "AccountingStorageType": "accounting_storage/none", "JobAcctGatherType": "jobacct_gather/none",
        "StateSaveLocation": folder, "SlurmdSpoolDir": folder, "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid", "SlurmctldPort": ports[0].getsockname()[1],
        "SlurmdPort": ports[1].getsockname()[1], "KillWait": 5,
    }  # fmt: skip
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines += [f"NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory=16000 State=UNKNOWN"]
    lines += ["PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP"]
    for port in ports:
        port.close()
    files = {name: folder / f"munge{suffix}" for name, suffix in (("pid", ".pid"), ("log", ".log"), ("seed", ".seed"))}
    munged = ["munged", "--foreground", "--force", f"--key-file={folder}/key", f"--socket={folder}/munge"]
    munged += [f"--{name}-file={path}" for name, path in files.items()]
    made = [path for path in (CONFIG.parent,) if not path.exists()]
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text("\n".join(lines) + "\n")
    daemons, log = [], (folder / "daemons.log").open("w")
    try:
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D"]):
            daemons.append(subprocess.Popen(command, stdout=log, stderr=log))
            time.sleep(1)
        deadline = time.monotonic() + 30
        while subprocess.run(["srun", "-n1", "true"], capture_output=True, timeout=60, check=False).returncode:
            if time.monotonic() > deadline:
                pytest.skip("SLURM does not start here: " + Path(log.name).read_text()[-1000:])
            time.sleep(0.5)
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(30)
            daemon.kill()
            daemon.wait()
        log.close()
        CONFIG.unlink()
        for path in made:
            path.rmdir()


@pytest.fixture
def project(tmp_path):
    """A clone of the project, as a reader has it, whose environment is the one that the tests run in."""
    copy = tmp_path / "clone"
    for name in ("mixnam", "notebooks", "profiles", "book"):
        shutil.copytree(root() / name, copy / name, ignore=shutil.ignore_patterns(".*", "_build", "__pycache__"))
    for name in ("Makefile", "Snakefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(root() / name, copy)
    (copy / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != ".ready":
            (copy / ".venv" / path.name).symlink_to(path)
    (copy / ".venv" / ".ready").touch()  # later than what it is made from
    return copy


@pytest.fixture
def shell(project):
    """Return a function that starts a shell in the clone, after the first block, and logs what it writes."""

    def start(block, log):
        environment = os.environ | {"PYTHONPATH": str(project), "MIXNAM_DATA": os.environ.get("MIXNAM_DATA", "data")}
        with log.open("w") as out:
            return subprocess.Popen(
                ["bash", "-ec", INSTALL + block], cwd=project, env=environment, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip

    return start


def test_a_reader_of_the_page_gets_the_records_of_a_local_run(slurm, project, shell, tmp_path):
    def follow(block, timeout=600):
        log = tmp_path / "log"
        one = shell(block, log)
        try:
            assert one.wait(timeout) == 0, log.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
        return log.read_text()

    results, lost = project / "runs" / "smoke" / "results", tmp_path / "lost"
    follow(LOAD)
    # Snakemake and its job are lost in the middle
    one, deadline = shell(TRY, lost), time.monotonic() + 300
    while not list(results.glob("*/*/*.json")):
        assert one.poll() is None and time.monotonic() < deadline, lost.read_text()
        time.sleep(0.05)
    os.killpg(one.pid, signal.SIGKILL)
    one.wait()
    subprocess.run(["scancel", "--user=root"], check=True)
    follow(UNLOCK)
    said = follow(TRY)
    assert "submitted with SLURM jobid" in said
    assert (project / "runs" / "smoke" / "notebooks" / "accuracy_diabetes.ipynb").exists()

    outcome = running.run("accuracy", "diabetes", "smoke", tmp_path / "local", "cpu", progress=None)
    assert outcome.results and not outcome.missing
    assert outcomes(results) == outcomes(tmp_path / "local")
    follow(MERGE)
    assert outcomes(project / "runs" / "merged" / "results") == outcomes(results)


#: What the page's table says of a preset: MB of memory, and minutes.
LIMITS = re.findall(r"^\| `(\w+)` \| ([\d,]+) MB \|.*?\| ([\d,]+) min \|", PAGE, re.MULTILINE)


def planned(command):
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run(command, shell=True, cwd=root(), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_memory_and_time_of_a_job_are_those_of_the_page():
    assert [preset for preset, _, _ in LIMITS] == ["smoke", "quick", "best", "paper"]
    for preset, memory, minutes in LIMITS:
        on_gpus = preset == "paper"
        command = LIST if on_gpus else LIST.replace("preset=paper", f"preset={preset}").replace("=cuda", "=cpu")
        jobs = re.findall(r"rule page_\w+:.*?resources: (.*?)\n", planned(command), re.DOTALL)
        assert len(jobs) > 10
        for job in jobs:
            wanted = {f"mem_mb={memory}", f"runtime={minutes}", f"gpu={int(on_gpus)}"}
            assert {text.replace(",", "") for text in wanted} <= set(job.split(", "))
