"""What all tests share: one thread, repeatable examples, and small networks in double precision."""

import hypothesis
import pytest
import torch

from mixnam.networks import make_network

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, max_examples=40)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def build():
    """Return a function from (settings, features, seeds) to a network and its tensors in float64."""

    def build(settings, features, seeds=(0,)):
        network = make_network(settings, features)
        parameters, buffers = network.initialize(list(seeds), torch.device("cpu"))
        tensors = {name: t.double() for name, t in (parameters | buffers).items()}
        noise = torch.Generator().manual_seed(1)
        for name, tensor in tensors.items():
            # gains of 1, shifts and biases of 0 would hide that they are mixed up or left out
            tensor += 0.2 * torch.randn(tensor.shape, generator=noise, dtype=torch.float64)
            if name.endswith("variance"):
                tensor.abs_().add_(0.3)
        return network, tensors

    return build
