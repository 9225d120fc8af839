"""A run takes place where it was told to, or says why it cannot."""

import pytest
import torch
from every import every
from untrained import LINEAR

from mixnam.runs.fitting import fit
from mixnam.runs.machine import pick_device


@every("device", ["tpu", "CPU", "cuda:0", ""])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match=f"device must be 'auto', 'cpu' or 'cuda', got '{device}'"):
        pick_device(device)
    with pytest.raises(ValueError, match="device must be"):
        list(fit([LINEAR], device))


def test_a_missing_gpu_is_refused_unless_any_device_will_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device; use 'auto' or 'cpu'"):
        pick_device("cuda")
    assert pick_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cpu").type == "cpu"
