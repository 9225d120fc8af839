"""AdamW is torch's, whether torch takes the step, numbers are handed over, or tensors are."""

import pytest
import torch
from every import every

from mixnam.training.optimizers import AdamW

STEPS = 30


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def gradients(members, dtype=torch.float64):
    """Gradients of all sizes: beside the smallest, epsilon counts; one value never has any."""
    for step in range(STEPS):
        gradient = normal(members, 11, seed=step, dtype=dtype) * 10.0 ** (step % 5 - 4)
        gradient[:, 3], gradient[:, 4] = gradient[:, 3] * 1e-9, 0.0
        yield gradient


def rate_of(step):
    """A rate that changes from step to step, as under cosine annealing."""
    return 0.03 * (1 - step / STEPS)


class Reference:
    """torch.optim.AdamW as users call it, one optimiser a member."""

    def __init__(self, flat, decays):
        self.rows = [row.clone().requires_grad_(True) for row in flat]
        self.optimizers = [
            torch.optim.AdamW([row], lr=1.0, weight_decay=decay)
            for row, decay in zip(self.rows, decays.flatten().tolist(), strict=True)
        ]

    def step(self, gradient, rate):
        for row, one, own in zip(self.rows, self.optimizers, gradient, strict=True):
            row.grad = own.clone()
            one.param_groups[0]["lr"] = rate
            one.step()

    @property
    def flat(self):
        return torch.stack(self.rows).detach()

    def moment(self, name):
        return torch.stack([one.state[row][name] for row, one in zip(self.rows, self.optimizers, strict=True)])


def assert_same(ours, flat, theirs, tolerance=1e-12):
    def close(a, b):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * 1e-2)

    close(flat, theirs.flat)
    close(ours.first, theirs.moment("exp_avg"))
    close(ours.second, theirs.moment("exp_avg_sq"))


def column(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)[:, None]


def refuse(*_):
    raise AssertionError("the other path was taken")


@every("decay", [0.0, 0.5])
@every("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 3e-6)])
def test_one_member_on_a_processor_takes_torch_s_own_step(monkeypatch, decay, dtype, tolerance):
    monkeypatch.setattr(AdamW, "update", refuse)
    flat = normal(1, 11, seed=77, dtype=dtype)
    address, ours, theirs = flat.data_ptr(), AdamW(flat), Reference(flat, column(decay))
    for step, gradient in enumerate(gradients(1, dtype)):
        before = gradient.clone()
        ours.step(flat, gradient, column(rate_of(step), dtype=dtype), column(decay, dtype=dtype))
        theirs.step(gradient, rate_of(step))
        assert torch.equal(gradient, before)
        assert ours.steps == step + 1
        assert_same(ours, flat, theirs, tolerance)
    assert flat.data_ptr() == address


@every("members", [1, 3])
@every("as_tensors", [True, False])
def test_an_update_with_corrections_given_equals_torch(monkeypatch, members, as_tensors):
    monkeypatch.setattr(torch, "_fused_adamw_", refuse)
    flat, rates, decays = normal(members, 11, seed=77), column(1.0, 0.1, 5.0)[:members], column(0.0, 0.3, 2.0)[:members]
    addresses = flat.data_ptr()
    ours, singles = AdamW(flat), [Reference(flat[m : m + 1], decays[m : m + 1]) for m in range(members)]
    moments = ours.first.data_ptr(), ours.second.data_ptr()
    for step, gradient in enumerate(gradients(members)):
        before, corrections = gradient.clone(), ours.corrections(step + 1)
        if as_tensors:
            corrections = torch.tensor(corrections, dtype=torch.float64)
        ours.update(flat, gradient, rates * rate_of(step), decays, *corrections)
        assert torch.equal(gradient, before)
        for m, single in enumerate(singles):
            single.step(gradient[m : m + 1], float(rates[m]) * rate_of(step))
            torch.testing.assert_close(flat[m : m + 1], single.flat, rtol=1e-12, atol=1e-14)
    assert ours.steps == 0  # counted by whoever hands the corrections over
    # in place: a CUDA graph holds the addresses
    assert (flat.data_ptr(), ours.first.data_ptr(), ours.second.data_ptr()) == (addresses, *moments)


def test_corrections_are_those_of_the_paper_from_the_first_step_on():
    ours = AdamW(torch.zeros(1, 1))
    for step in (1, 2, 10, 10_000):
        first, second = ours.corrections(step)
        assert first == pytest.approx(1 / (1 - 0.9**step), rel=1e-12)
        assert second == pytest.approx((1 / (1 - 0.999**step)) ** 0.5, rel=1e-12)


def test_both_paths_go_on_from_each_other():
    """A stack that shrinks to one member, or a run taken up elsewhere, changes paths amid a training."""
    flat, decay = normal(1, 11, seed=77), column(0.2)
    ours, theirs = AdamW(flat), Reference(flat, decay)
    for step, gradient in enumerate(gradients(1)):
        if step % 3:
            ours.step(flat, gradient, column(rate_of(step)), decay)
        else:
            ours.steps += 1
            ours.update(flat, gradient, column(rate_of(step)), decay, *ours.corrections(ours.steps))
        theirs.step(gradient, rate_of(step))
    assert_same(ours, flat, theirs)


def test_a_stack_of_several_is_updated_with_the_step_s_corrections(monkeypatch):
    monkeypatch.setattr(torch, "_fused_adamw_", refuse)
    flat = normal(2, 11, seed=77)
    ours, theirs = AdamW(flat), Reference(flat, column(0.2, 0.2))
    for step, gradient in enumerate(gradients(2)):
        ours.step(flat, gradient, column(rate_of(step), rate_of(step)), column(0.2, 0.2))
        theirs.step(gradient, rate_of(step))
        assert ours.steps == step + 1
    assert_same(ours, flat, theirs)
