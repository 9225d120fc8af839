"""What tests of data share: files, a table of one's own, and no network."""

import io

import generated
import numpy as np
import pandas as pd
import pytest
import requests

from mixnam.data import catalogue


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A data directory in which files of any size and content are taken for the publishers'."""
    generated.accept(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def published():
    """Return a function from a publisher's file to its content; the test is skipped where it is not at hand."""

    def published(name):
        path = catalogue.directory() / name
        if not path.exists():
            pytest.skip(f"{path.absolute()} is not there; set MIXNAM_DATA to a directory that holds it")
        return path.read_bytes()

    return published


class Network:
    """A network of the `pages` given, by address; `asked` lists the addresses that were asked for."""

    def __init__(self):
        self.pages, self.asked = {}, []

    def send(self, request):
        self.asked.append(request.url)
        if request.url not in self.pages:
            raise requests.ConnectionError(f"nobody answers at {request.url}")
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response.raw = io.BytesIO(self.pages[request.url])
        return response


@pytest.fixture
def network(monkeypatch):
    """Let nothing leave this machine: an empty network, to which pages can be given."""
    network = Network()
    monkeypatch.setattr(
        requests.adapters.HTTPAdapter, "send", lambda adapter, request, **options: network.send(request)
    )
    return network


@pytest.fixture
def registry():
    """The registry, from which what a test registers is taken out again."""
    before = set(catalogue.REGISTRY)
    yield catalogue.REGISTRY
    for name in catalogue.REGISTRY.keys() - before:
        del catalogue.REGISTRY[name]


@pytest.fixture
def frame(rows=60):
    """A table of houses, with columns of every kind."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(rows, 2))
    return pd.DataFrame(
        {
            "area": numbers[:, 0],
            "rooms": generator.integers(1, 9, rows),
            "district": generator.choice([10, 9, 100], rows),
            "heating": generator.choice(["oil", "gas", "none at all"], rows),
            "garden": generator.random(rows) < 0.5,
            "street": [f"street {i % 12}" for i in range(rows)],
            "part": [f"part {'cab'[i % 3]}" for i in range(rows)],
            "sold": np.where(numbers[:, 1] + numbers[:, 0] > 0, "yes", "no"),
            "price": numbers.sum(axis=1) * 100,
        }
    )
