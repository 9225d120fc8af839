"""What all tests share: one thread, repeatable examples, and small networks in double precision."""

import os
import shutil
import subprocess

import hypothesis
import pytest
import torch

from mixnam.explain import measures
from mixnam.models import NETWORKS
from mixnam.runs import fitting, results

#: They hold no doctests, and where several folders are named one would be taken for another.
collect_ignore_glob = ["conftest.py", "*/conftest.py"]

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, max_examples=40)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def build():
    """Return a function from (settings, features, seeds, options) to a network and its tensors in float64."""

    def build(settings, features, seeds=(0,), **options):
        network = NETWORKS[settings.model](settings, features, **options)
        parameters, buffers = network.initialize(list(seeds), torch.device("cpu"))
        tensors = {name: t.double() for name, t in (parameters | buffers).items()}
        noise = torch.Generator().manual_seed(1)
        for name, tensor in tensors.items():
            # gains of 1, shifts and biases of 0 would hide that they are mixed up or left out
            tensor += 0.2 * torch.randn(tensor.shape, generator=noise, dtype=torch.float64)
            if name.endswith("edges"):
                tensor.copy_(4 * tensor.sort(dim=-1).values)  # rising, over the range of normal inputs
            if name.endswith("variance"):
                tensor.abs_().add_(0.3)
        return network, tensors

    return build


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """The command that starts Chromium without a window, less what to open; the test is skipped where there is none."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        assert not os.environ.get("MIXNAM_REQUIRE_BROWSER"), "MIXNAM_REQUIRE_BROWSER is set and there is no Chromium"
        pytest.skip("no Chromium here")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    return [browser, *flags, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]


@pytest.fixture
def opened(chromium):
    """Return a function from a page to its DOM after its scripts ran in Chromium."""

    def opened(page):
        command = [*chromium, "--virtual-time-budget=15000", "--dump-dom", page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout

    return opened


@pytest.fixture
def newer_measures(monkeypatch):
    """Return a function that raises the revision of measures by one, as a change of their code would."""

    def newer():
        following = measures.REVISION + 1
        for module in (measures, results, fitting):
            monkeypatch.setattr(module, "REVISION", following)

    return newer
