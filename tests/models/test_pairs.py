"""NA2M, NBM and NB2M compute their formulas, in chunks as whole, in stacks as alone."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from every import every

from mixnam.models import Featurewise, NA2MSettings, NB2MSettings, NBMSettings, make_network
from mixnam.models.layers import Draws
from mixnam.paper.costs import training_work
from mixnam.runs.spec import RunSpec
from mixnam.training.losses import loss
from mixnam.training.stacks import member_bytes
from mixnam.training.trainer import Fold, Trainer

NA2M = NA2MSettings(hidden=(5, 4), batch_size=16, epochs=4, learning_rate=1e-2)
NBM = NBMSettings(hidden=(6, 4), bases=5, batch_size=16, epochs=4, learning_rate=1e-2)
NB2M = NB2MSettings(**NBM.all())
ALL = [NA2M, NBM, NB2M]
ROWS, FEATURES = 9, 4


def model(settings):
    return settings.model


def moved_by(x, feature):
    moved = x.clone()
    moved[..., feature] += 0.7
    return moved


def rows(members=1, count=ROWS, features=FEATURES, seed=0):
    return torch.randn(members, count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(tensors, m):
    return {name: t[m].numpy().copy() for name, t in tensors.items()}


def layers(t, h, count, training, linear_last=True):
    """One perceptron, literally: h is (rows, inputs); statistics of the batch in training."""
    for layer in range(count):
        h = h @ t[f"layer.{layer}.weight"] + t[f"layer.{layer}.bias"]
        mean, variance = t[f"norm.{layer}.mean"], t[f"norm.{layer}.variance"]
        if training:
            mean, variance = h.mean(axis=0), h.var(axis=0)
        h = (h - mean) / np.sqrt(variance + 1e-5) * t[f"norm.{layer}.gain"] + t[f"norm.{layer}.shift"]
        h = np.maximum(h, 0)
    return h @ t[f"layer.{count}.weight"] + t[f"layer.{count}.bias"] if linear_last else h


def terms(settings, t, x, training):
    """Every term of a model, literally: (rows, terms), features first, then pairs."""
    singles = [x[:, [i]] for i in range(x.shape[1])]
    doubles = [x[:, [i, j]] for i, j in itertools.combinations(range(x.shape[1]), 2)]
    found = []
    for prefix, inputs in (("", singles), ("pair.", doubles if settings.model != "NBM" else [])):
        own = {k.removeprefix(prefix): v for k, v in t.items() if k.startswith(prefix)}
        if settings.model == "NA2M":
            for g, h in enumerate(inputs):
                group = {k: v[g] for k, v in own.items() if k.startswith(("layer.", "norm."))}
                found.append(layers(group, h, len(settings.hidden), training)[:, 0])
        elif inputs:
            basis = {k.removeprefix("basis."): v[0] for k, v in own.items() if k.startswith("basis.")}
            values = layers(basis, np.concatenate(inputs), len(settings.hidden) + 1, training, linear_last=False)
            for g, bases in enumerate(values.reshape(len(inputs), len(x), -1)):
                found.append(bases @ own["weight"][g, :, 0] + own["shift"][g, 0])
    return np.stack(found, axis=1)


@every("settings", ALL)
def test_evaluation_equals_the_formula(build, settings):
    network, tensors = build(settings, FEATURES, (0, 1))
    x = rows(2)
    out = network(tensors, x)
    for m in range(2):
        t = numbers(tensors, m)
        expected = terms(settings, t, x[m].numpy(), training=False)
        np.testing.assert_allclose(out.prediction[m], t["bias"] + expected.sum(axis=1), atol=1e-12)
        if isinstance(network, Featurewise):
            np.testing.assert_allclose(out.contributions[m], expected, atol=1e-12)
        else:
            assert out.contributions.shape == (2, ROWS, 0)


@every("settings", ALL)
def test_training_uses_and_follows_the_statistics_of_the_batch(build, settings):
    network, tensors = build(settings, FEATURES, (0, 1))
    before, x = {k: v.clone() for k, v in tensors.items()}, rows(2)
    out = network(tensors, x, Draws([0, 1], 0, {}))
    for m in range(2):
        expected = terms(settings, numbers(before, m), x[m].numpy(), training=True)
        np.testing.assert_allclose(out.contributions[m], expected, atol=1e-12)
    moved = [name for name in network.buffers if not torch.equal(before[name], tensors[name])]
    assert sorted(moved) == sorted(network.buffers)
    prefix = "" if settings.model == "NA2M" else "basis."
    h = before[f"{prefix}layer.0.weight"][0, 0] * x[0, :, [0]] + before[f"{prefix}layer.0.bias"][0, 0]
    if settings.model != "NA2M":  # over all features
        h = torch.cat([before[f"{prefix}layer.0.weight"][0, 0] * x[0, :, [i]] for i in range(FEATURES)])
        h = h + before[f"{prefix}layer.0.bias"][0, 0]
    name = f"{prefix}norm.0.variance"
    expected = 0.9 * before[name][0, 0] + 0.1 * h.var(dim=0)
    np.testing.assert_allclose(tensors[name][0, 0], expected, atol=1e-12)


def gradients(settings, options, build, x, seeds=(0, 1)):
    """Return outputs, gradients and buffers of a training pass with dropout."""
    network, tensors = build(settings, x.shape[2], seeds, **options)
    leaves = {k: tensors[k].requires_grad_(True) for k in network.parameters}
    out = network(tensors, x, Draws(list(seeds), 3, {}))
    y = x.sum(dim=2).sin()
    total = loss(out, y, "regression", {"output_penalty": torch.tensor([0.1, 0.2], dtype=torch.float64)})
    found = torch.autograd.grad(total.sum(), list(leaves.values()))
    return out, dict(zip(leaves, found, strict=True)), {k: tensors[k] for k in network.buffers}


def test_chunks_of_na2m_change_nothing(build):
    x = rows(2, features=5)  # 10 pairs
    whole = gradients(NA2M, {"chunk": 100}, build, x)
    parts = gradients(NA2M, {"chunk": 3}, build, x)
    torch.testing.assert_close(parts[0].prediction, whole[0].prediction, rtol=1e-12, atol=1e-12)
    for expected, ours in zip(whole[1:], parts[1:], strict=True):
        for name in expected:
            torch.testing.assert_close(ours[name], expected[name], rtol=1e-9, atol=1e-12)


def test_chunks_of_nb2m_have_statistics_of_their_own(build):
    x = rows(2, features=5)
    network, before = build(NB2M, 5, (0, 1), chunk=4)
    out, _, buffers = gradients(NB2M, {"chunk": 4}, build, x)
    t = numbers({k: v.detach() for k, v in before.items()}, 0)
    own = {k.removeprefix("pair."): v for k, v in t.items() if k.startswith("pair.")}
    basis = {k.removeprefix("basis."): v[0] for k, v in own.items() if k.startswith("basis.")}
    columns, expected = x[0].numpy(), []
    for chunk, members in enumerate((range(4), range(4, 8), range(8, 10))):
        h = np.concatenate([columns[:, list(network.pairs[p])] for p in members])
        first = h @ basis["layer.0.weight"] + basis["layer.0.bias"]
        for name, statistic in (("mean", first.mean(axis=0)), ("variance", first.var(axis=0, ddof=1))):
            moved = 0.9 * own[f"basis.norm.0.{name}"][chunk] + 0.1 * statistic
            np.testing.assert_allclose(buffers[f"pair.basis.norm.0.{name}"][0, chunk].detach(), moved, atol=1e-12)
        bases = layers(basis, h, 3, training=True, linear_last=False).reshape(len(members), ROWS, -1)
        expected += [b @ own["weight"][p, :, 0] + own["shift"][p, 0] for p, b in zip(members, bases, strict=True)]
    np.testing.assert_allclose(out.contributions[0, :, 5:].detach(), np.stack(expected, axis=1), atol=1e-12)


@every("settings", [NA2M, NB2M])
def test_evaluation_is_what_was_trained_in_chunks_too(build, settings):
    """Pairs of features on other scales: what one chunk is normalised by would not do for another."""
    network, tensors = build(settings, 5, chunk=4)
    x = rows(count=500, features=5) * torch.tensor([1.0, 0.1, 10.0, 1.0, 0.01])
    with torch.no_grad():
        for step in range(200):  # running statistics become those of these rows
            trained = network(tensors, x, Draws([0], step, {})).prediction
        np.testing.assert_allclose(network(tensors, x).prediction, trained, rtol=1e-2, atol=1e-2 * float(trained.std()))


@pytest.mark.parametrize("settings", [NA2M, NB2M], ids=model)
def test_gradients_in_chunks_are_those_of_what_was_computed_with_its_dropout(build, settings):
    network, tensors = build(settings, 5, chunk=4)
    x, generator = rows(features=5), torch.Generator().manual_seed(5)
    rates = {"dropout": torch.tensor([0.3], dtype=torch.float64)} | (
        {"basis_dropout": torch.tensor([0.4], dtype=torch.float64)} if settings.model == "NB2M" else {}
    )

    def value(moved):
        buffers = {k: tensors[k].clone() for k in network.buffers}
        return network(tensors | moved | buffers, x, Draws([7], 2, rates)).contributions.square().mean()

    # the bias is in no term
    leaves = {k: tensors[k].clone().requires_grad_(True) for k in network.parameters if k != "bias"}
    slopes = torch.autograd.grad(value(leaves), list(leaves.values()))
    step = {k: torch.randn(v.shape, generator=generator, dtype=torch.float64) for k, v in leaves.items()}
    expected = sum(float((g * step[k]).sum()) for k, g in zip(leaves, slopes, strict=True))
    with torch.no_grad():
        ahead, behind = (value({k: v + e * step[k] for k, v in leaves.items()}) for e in (1e-6, -1e-6))
    assert float(ahead - behind) / 2e-6 == pytest.approx(expected, rel=1e-5)


@every("chunk", [128, 2])
@every("settings", [NA2M, NB2M])
def test_a_part_holds_all_that_a_feature_changes(build, settings, chunk):
    network, tensors = build(settings, FEATURES, (0, 1), chunk=chunk)
    x = rows(2)
    for i in range(FEATURES):
        moved = moved_by(x, i)
        whole = network(tensors, moved).prediction - network(tensors, x).prediction
        part = network.part(tensors, moved, i) - network.part(tensors, x, i)
        torch.testing.assert_close(part, whole, rtol=1e-10, atol=1e-12)
    # and no more: of what feature 1 changes, feature 0's part has their pair alone
    pair = network.doubles(tensors, moved_by(x, 1), None, [0]) - network.doubles(tensors, x, None, [0])
    part = network.part(tensors, moved_by(x, 1), 0) - network.part(tensors, x, 0)
    torch.testing.assert_close(part, pair[:, 0], rtol=1e-10, atol=1e-12)
    assert float(part.abs().max()) > 1e-3


@pytest.mark.parametrize("settings", [NA2M, NB2M], ids=model)
def test_no_three_features_interact(build, settings):
    network, tensors = build(settings, FEATURES)
    x = rows()
    total = torch.zeros(1, ROWS, dtype=torch.float64)
    for signs in itertools.product((0, 1), repeat=3):
        moved = x.clone()
        moved[..., :3] += torch.tensor(signs) * 0.6
        total += (-1) ** sum(signs) * network(tensors, moved).prediction
    assert float(total.abs().max()) < 1e-12


@every("task", ["regression", "classification"])
@every("settings", ALL)
def test_a_stack_trains_as_its_members_alone(settings, task):
    x = rows(2, 60)
    y = x.sum(dim=2).sin() if task == "regression" else (x[..., 0] * x[..., 1] > 0).double()
    part = {"dropout": 0.2, "output_penalty": 1e-3} | ({"basis_dropout": 0.1} if settings.model != "NA2M" else {})
    members = [type(settings)(**(settings.all() | part | {"learning_rate": rate})) for rate in (1e-2, 3e-2)]
    fold = Fold(x[:, :44], y[:, :44], x[:, 44:], y[:, 44:])
    build = make_network(settings, FEATURES)
    together = Trainer(build, members, [3, 4], fold, task, torch.float64).run()
    for m in range(2):
        own = Fold(*(t[m : m + 1] for t in vars(fold).values() if t is not None))
        (alone,) = Trainer(build, members[m : m + 1], [3 + m], own, task, torch.float64).run()
        assert alone.best_epoch == together[m].best_epoch and alone.steps == together[m].steps >= 6
        assert together[m].best_score == pytest.approx(alone.best_score, abs=1e-7)


def test_one_feature_has_no_pairs():
    with pytest.raises(ValueError, match="NA2M needs at least two features to pair, got 1"):
        make_network(NA2M, 1)


def test_memory_of_many_pairs_is_that_of_a_chunk():
    """Year has 4,005 pairs: a step holds `CHUNK` pairs' activations at a time."""
    few, many = (member_bytes(make_network(NA2MSettings(hidden=(8,)), n), 5000) for n in (17, 90))  # 136 pairs, 4,005
    assert many < 6 * few


STEP = """
import sys, torch
torch.set_num_threads(1)
from mixnam.models import make_network, make_settings
from mixnam.training.trainer import Fold, Trainer
settings = make_settings(sys.argv[1], {"batch_size": 512, "epochs": 2, "dropout": 0.1})
x, y = torch.randn(1, 512, 90), torch.randn(1, 512)
trainer = Trainer(make_network(settings, 90), [settings], [0], Fold(x, y, x[:, :64], y[:, :64]), "regression")
before = trainer.state.flat.clone()
trainer.step(torch.arange(512)[None], 1.0)
assert not torch.equal(before, trainer.state.flat) and bool(torch.isfinite(trainer.state.flat).all())
print(int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
@pytest.mark.parametrize("model", ["NA2M", "NB2M"])
def test_a_step_on_years_4005_pairs_fits_into_memory(model):
    """Table 5's batch for Year, the authors' widths; all pairs at once would hold some 20 GB (NA2M), 80 GB (NB2M)."""
    done = subprocess.run([sys.executable, "-c", STEP, model], capture_output=True, text=True, timeout=900, check=True)
    assert float(done.stdout) < 6, done.stdout


def test_work_counts_how_often_a_basis_is_used():
    work = {
        bases: training_work(RunSpec("diabetes", NBMSettings(hidden=(4,), bases=bases, epochs=1), "holdout", 0))
        for bases in (10, 11)
    }
    rows_, features = 442, 10
    # a basis more: weights from 4 units and its own bias and normalisation pass each feature, its 10 weights once
    assert work[11] - work[10] == pytest.approx(6 * rows_ * (features * 7 + features))
