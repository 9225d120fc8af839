"""A run's key is of everything that determines the model, and of nothing else."""

import dataclasses
from dataclasses import dataclass

import generated
import pytest
from every import every
from untrained import LINEAR, MIXNAM, NAM

from mixnam.data import catalogue
from mixnam.data.table import DataMissing
from mixnam.models import REVISIONS, LinearSettings, MixNAMSettings, NAMSettings, number
from mixnam.runs.spec import RunSpec, stacks

# the keys of stored results: if one of these changes, every result of that kind is lost
GOLDEN = {
    "3dbf56083556b1f0d2a941d2f3677d833398eaafe0cf8cd19755539fb9f506bc": RunSpec(
        "housing", MixNAMSettings(variation_penalty=1.0), "holdout", 0
    ),
    "37451891b4df16bada50c74d8c0e9704c8d9bee75066c936d7f52583d29334ef": RunSpec("housing", NAMSettings(), "holdout", 0),
    "372060104525612bc3dcd65297594fa39ab44f8488c5d5924a10d60be75f89bc": RunSpec(
        "diabetes", NAMSettings(hidden=(8,), epochs=3), "holdout", 4
    ),
    "e4c42bf999bc88f92ecf488859fa22643c9f4849f40f67bc0577ceff19473d7a": RunSpec(
        "housing", LinearSettings(), "holdout", 0
    ),
    "250346ea6df775eb75f4ba04ad1f1e946a98b865a1ebd1c98b377e3bbd958024": RunSpec(
        "breast_cancer", LinearSettings(), "fold3", 0
    ),
}


@pytest.fixture
def first_revisions(monkeypatch):
    """The golden keys are those of revision 1, whatever has been revised since."""
    for part in REVISIONS:
        monkeypatch.setitem(REVISIONS, part, 1)


@every("key", GOLDEN)
def test_the_golden_keys_hold(key, first_revisions):
    assert dataclasses.replace(GOLDEN[key]).key == key  # a copy: a spec computes its key once


def test_keys_depend_on_no_environment(elsewhere):
    code = f"from mixnam.models import *; from mixnam.runs.spec import RunSpec; specs = {list(GOLDEN.values())!r}"
    assert elsewhere(f"{code}\nanswer = [spec.key for spec in specs]") == [spec.key for spec in GOLDEN.values()]
    # device, threads and versions are not even part of a spec
    assert [field.name for field in dataclasses.fields(RunSpec)] == ["dataset", "settings", "split", "seed"]


def test_an_option_added_later_changes_no_key(first_revisions):
    @dataclass(frozen=True)
    class Later(MixNAMSettings):
        smoothness_penalty: float = number(0.0, 0.0)
        hidden: tuple[int, ...] = number((4, 2), 1)

    key, spec = next(iter(GOLDEN.items()))
    assert dataclasses.replace(spec, settings=Later(variation_penalty=1.0)).key == key
    assert dataclasses.replace(spec, settings=Later(variation_penalty=1.0, smoothness_penalty=0.1)).key != key


def test_everything_that_determines_a_model_changes_the_key():
    specs = [
        MIXNAM,
        dataclasses.replace(MIXNAM, dataset="housing"),
        dataclasses.replace(MIXNAM, seed=1),
        dataclasses.replace(MIXNAM, settings=MixNAMSettings(width=5)),
        dataclasses.replace(MIXNAM, settings=NAMSettings()),
        dataclasses.replace(MIXNAM, settings=LinearSettings()),
        RunSpec("breast_cancer", MixNAMSettings(width=4), "fold0", 0),
        RunSpec("breast_cancer", MixNAMSettings(width=4), "fold1", 0),
    ]
    assert len({spec.key for spec in specs}) == len(specs)


def test_the_data_themselves_are_part_of_the_key():
    assert MIXNAM.key == MIXNAM.key_for(catalogue.checksum("diabetes"))
    assert MIXNAM.key != MIXNAM.key_for("0" * 64)


@every("part", ["preprocessing", "training", "mixture", "additive", "linear"])
def test_raising_a_revision_changes_the_keys_that_passed_through_it(part, monkeypatch):
    before = {spec.model: spec.key for spec in (MIXNAM, NAM, LINEAR)}
    monkeypatch.setitem(REVISIONS, part, REVISIONS[part] + 1)
    after = {spec.model: dataclasses.replace(spec).key for spec in (MIXNAM, NAM, LINEAR)}
    passed = {
        "preprocessing": {"MixNAM", "NAM", "Linear"},
        "training": {"MixNAM", "NAM"},
        "mixture": {"MixNAM"},
        "additive": {"NAM"},
        "linear": {"Linear"},
    }
    assert {model for model in before if before[model] != after[model]} == passed[part]


def test_a_revision_of_a_part_to_come_changes_no_key(monkeypatch):
    monkeypatch.setitem(REVISIONS, "a part to come", 3)
    for spec in GOLDEN.values():
        assert dataclasses.replace(spec).key == spec.key


@every(
    "wrong, message",
    [
        ({"dataset": "boston"}, "dataset must be one of housing, .*, got 'boston'"),
        ({"split": "fold0"}, "split of diabetes must be one of holdout, holdout1, .*, holdout5, got 'fold0'"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"seed": True}, "seed must be an integer >= 0, got True"),
        ({"seed": 1.0}, "seed must be an integer >= 0, got 1.0"),
        ({"seed": "1"}, "seed must be an integer >= 0, got '1'"),
    ],
)
def test_a_wrong_spec_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LINEAR, **wrong)


def test_without_its_data_a_run_has_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "empty"))
    spec = RunSpec("credit", LinearSettings(), "fold0", 0)
    with pytest.raises(DataMissing, match=r"without its data a run has no key\. Remedy: download creditcard\.csv"):
        _ = spec.key
    generated.use(monkeypatch, tmp_path, 300, ["credit"])
    assert len(spec.key) == 64


def spec(model, seed=0, **changes):
    settings = MixNAMSettings(width=4) if model == "MixNAM" else NAMSettings(hidden=(4,))
    return RunSpec("diabetes", dataclasses.replace(settings, **changes), "holdout", seed)


SWEEP = [spec("MixNAM", seed, variation_penalty=penalty) for seed in (0, 1) for penalty in (0.0, 1.0)]


ALONE = [
    spec("MixNAM", width=5),
    spec("MixNAM", epochs=4),
    spec("NAM"),
    RunSpec("breast_cancer", MixNAMSettings(width=4), "fold0", 0),
    RunSpec("breast_cancer", MixNAMSettings(width=4), "fold1", 0),
]


def test_specs_of_one_shape_stack_on_a_gpu():
    mixed = [SWEEP[0], *ALONE[:3], *SWEEP[1:], *ALONE[3:]]
    groups = stacks(mixed, side_by_side=True)
    assert groups == [SWEEP, *[[alone] for alone in ALONE]]


def test_members_of_a_stack_may_differ_in_every_number_that_leaves_shapes_alone():
    numbers = ("learning_rate", "weight_decay", "dropout", "expert_dropout", "output_penalty", "variation_penalty")
    specs = [spec("MixNAM", **{name: 0.03}) for name in numbers]
    assert stacks(specs, side_by_side=True) == [specs]


def test_every_spec_stands_alone_on_a_cpu():
    specs = [*SWEEP, *ALONE]
    assert stacks(specs, side_by_side=False) == [[one] for one in specs]
