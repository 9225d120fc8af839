"""Members trained side by side on a GPU, or one by one, or in several processes, with a bar of their epochs."""

from __future__ import annotations

import math

from sklearn.utils.parallel import Parallel, delayed
from tqdm import tqdm

from mixnam.models import NetworkSettings
from mixnam.runs.machine import one_thread, pick_device
from mixnam.runs.model import Job, Member, Model, train_members
from mixnam.training.trainer import Trained


def train_all(members: list[Member], device: str, jobs: int | None, name: str | None) -> list[tuple[Model, int]]:
    """Return members' models with their numbers of epochs; with a `name` a bar shows epochs after 3 seconds.

    On a CPU `jobs` processes train one each. Raises FloatingPointError where a training diverged.
    """
    where = pick_device(device)
    settings = members[0].settings
    assert isinstance(settings, NetworkSettings)
    quiet = True if name is None else None  # None: no bar where nobody looks
    total = settings.epochs * len(members)
    with tqdm(total=total, desc=name, unit="epoch", delay=3, leave=False, disable=quiet) as bar:
        if where.type != "cpu" or jobs is None or jobs == 1 or len(members) == 1:
            found = _trained(members, Job(where, advance=bar.update))
        else:
            found = []
            calls = (delayed(_trained)([member], Job(where)) for member in members)
            for one in Parallel(n_jobs=jobs, return_as="generator")(calls):
                found += one
                bar.update(settings.epochs)
    if any(math.isinf(outcome.best_score) for _, outcome in found):
        rate = settings.learning_rate
        raise FloatingPointError(f"training diverged, scores are not finite; lower learning_rate ({rate:g})")
    return [(model, outcome.epochs) for model, outcome in found]


def _trained(members: list[Member], job: Job) -> list[tuple[Model, Trained]]:
    """Train members with as many rows each side by side where the device does."""
    found: dict[int, tuple[Model, Trained]] = {}
    with one_thread(job.device):
        for size in sorted({len(member.split.train) for member in members}):
            alike = [member for member in members if len(member.split.train) == size]
            for member, model, outcome, _ in train_members(alike, job):
                found[id(member)] = model, outcome
    return [found[id(member)] for member in members]
