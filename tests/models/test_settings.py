import dataclasses
import math

import pytest
from every import every

from mixnam.models import (
    MODELS,
    PER_MEMBER,
    REVISIONS,
    CatBoostSettings,
    EB2MSettings,
    EBMSettings,
    LightGBMSettings,
    LinearSettings,
    MixNAMDSettings,
    MixNAMESettings,
    MixNAMSettings,
    MLPSettings,
    NA2MSettings,
    NAMSettings,
    NB2MSettings,
    NBMSettings,
    NODEGA2MSettings,
    NODEGAMSettings,
    NODESettings,
    SplineSettings,
    XGBoostSettings,
    make_settings,
    settings_class,
)
from mixnam.runs.spec import RunSpec

# setting, bad value, the error, and what its message says of the remedy
BAD = [
    ("epochs", True, TypeError, "must be an integer"),
    ("epochs", "5", TypeError, "must be an integer"),
    ("epochs", 2.5, TypeError, "must be an integer"),
    ("epochs", None, TypeError, "must be an integer"),
    ("epochs", math.nan, TypeError, "must be an integer"),
    ("epochs", math.inf, TypeError, "must be an integer"),
    ("epochs", 0, ValueError, "must be >= 1"),
    ("batch_size", 1, ValueError, "must be >= 2"),
    ("width", 0, ValueError, "must be >= 1"),
    ("experts", -1, ValueError, "must be >= 1"),
    ("learning_rate", "0.1", TypeError, "must be a number"),
    ("learning_rate", False, TypeError, "must be a number"),
    ("learning_rate", None, TypeError, "must be a number"),
    ("learning_rate", [0.1], TypeError, "must be a number"),
    ("learning_rate", -1e-9, ValueError, "must be >= 0"),
    ("learning_rate", math.nan, ValueError, "must be >= 0"),
    ("variation_penalty", -1.0, ValueError, "must be >= 0"),
    ("dropout", 1.0, ValueError, "must be >= 0 and < 1"),
    ("expert_dropout", 1, ValueError, "must be >= 0 and < 1"),
    ("expert_dropout", math.nan, ValueError, "must be >= 0 and < 1"),
    ("shared_normalization", 1, TypeError, "must be true or false"),
    ("shared_normalization", "false", TypeError, "must be true or false"),
    ("normalization", "layernorm", ValueError, "must be one of 'layer_norm', 'batch_norm'"),
    ("normalization", None, ValueError, "must be one of 'layer_norm', 'batch_norm'"),
    ("normalization", ["layer_norm"], ValueError, "must be one of 'layer_norm', 'batch_norm'"),
    ("selection", "accuracy", ValueError, "must be one of 'auc_plus_f1', 'auc', 'log_loss'"),
    ("patience", -1, ValueError, "must be >= 0"),
    ("expert_dropout_mode", True, ValueError, "must be one of 'scale', 'drop', 'renormalize'"),
]


@every("name, value, error, remedy", BAD)
def test_a_bad_value_is_refused_by_name_value_and_remedy(name, value, error, remedy):
    with pytest.raises(error) as caught:
        MixNAMSettings(**{name: value})
    message = str(caught.value)
    assert name in message
    assert remedy in message
    assert f"got {value!r}" in message


@every("name", ["learning_rate", "weight_decay", "output_penalty", "variation_penalty"])
def test_infinity_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} must be .*finite.*, got inf"):
        MixNAMSettings(**{name: math.inf})


@every(
    "hidden, error, message",
    [
        (64, TypeError, "hidden must be a list of integers, got 64"),
        ("64 32", TypeError, "hidden must be a list of integers, got '64 32'"),
        ((64, True), TypeError, r"hidden\[1\] must be an integer, got True"),
        ((64, "32"), TypeError, r"hidden\[1\] must be an integer, got '32'"),
        ((64, 0), ValueError, "hidden must be >= 1, got 0"),
    ],
)
def test_bad_hidden_layers_are_refused(hidden, error, message):
    with pytest.raises(error, match=message):
        NAMSettings(hidden=hidden)


def test_more_active_experts_than_experts_are_refused():
    with pytest.raises(ValueError, match=r"active_experts must be <= experts \(4\), got 5"):
        MixNAMSettings(active_experts=5)
    with pytest.raises(ValueError, match=r"active_experts must be <= experts \(2\), got 4"):
        MixNAMSettings(experts=2)


@every(
    "model, values, error, message",
    [
        ("MixNAM", {"router": "diagonal"}, ValueError, "router must be one of 'dense', 'shared', got 'diagonal'"),
        ("MixNAM", {"temperature": 0.1}, ValueError, "MixNAM has no setting 'temperature'"),
        ("MixNAM-D", {"temperature": 0}, ValueError, r"temperature must be >= 0\.001, got 0"),
        ("MixNAM-D", {"temperature": math.nan}, ValueError, "temperature must be"),
        ("MixNAM-D", {"temperature": math.inf}, ValueError, "temperature must be .*finite"),
        ("MixNAM-D", {"sample_at_prediction": 1}, TypeError, "sample_at_prediction must be true or false, got 1"),
        ("MixNAM-D", {"experts": 4}, ValueError, r"active_experts must be <= experts \(4\), got 64"),
        ("MixNAM-D", {"router": "shared"}, ValueError, "MixNAM-D has no setting 'router'"),
        ("MixNAM-E", {"active_experts": 33}, ValueError, r"active_experts must be <= experts \(32\), got 33"),
        ("MLP", {"output_penalty": 0.1}, ValueError, "MLP has no setting 'output_penalty'"),
        ("MLP", {"variation_penalty": 0.1}, ValueError, "MLP has no setting 'variation_penalty'"),
        ("MLP", {"hidden": 64}, TypeError, "hidden must be a list of integers, got 64"),
    ],
)
def test_bad_settings_of_variants_are_refused(model, values, error, message):
    with pytest.raises(error, match=message):
        make_settings(model, values)


@every("model", MODELS)
def test_an_unknown_setting_is_refused_with_the_known_ones(model):
    with pytest.raises(ValueError, match=f"{model} has no setting 'lr'; it has ") as caught:
        make_settings(model, {"lr": 0.1})
    for field in dataclasses.fields(MODELS[model]):
        assert field.name in str(caught.value)


@pytest.mark.parametrize("make", [settings_class, lambda model: make_settings(model, {})])
def test_an_unknown_model_is_refused_with_the_known_ones(make):
    with pytest.raises(ValueError, match=r"model must be one of .*, got 'mixnam'") as caught:
        make("mixnam")
    for model in ("Linear", "Spline", "EBM", "NAM", "MixNAM", "MixNAM-D", "MixNAM-E", "MLP", "XGBoost", "EB2M"):
        assert f" {model}," in str(caught.value)


def test_range_ends_are_accepted():
    MixNAMSettings(epochs=1, batch_size=2, layers=1, width=1, experts=1, active_experts=1)
    MixNAMSettings(learning_rate=0, weight_decay=0, dropout=0, expert_dropout=0.999, variation_penalty=0)


def test_changed_lists_differences_only():
    assert MixNAMSettings().changed() == {}
    assert NAMSettings().changed() == {}
    assert LinearSettings().changed() == {}
    assert all(kind().changed() == {} for kind in MODELS.values())
    # a value given that equals the default is no difference
    settings = MixNAMSettings(width=32, epochs=1000, variation_penalty=0.1, normalization="layer_norm")
    assert settings.changed() == {"width": 32}
    assert NAMSettings(hidden=[64, 64, 32]).changed() == {}
    assert NAMSettings(hidden=[8], dropout=0).changed() == {"hidden": (8,), "dropout": 0.0}


def test_numbers_take_the_type_of_their_setting():
    settings = MixNAMSettings(variation_penalty=1, epochs=5.0)
    assert type(settings.variation_penalty) is float
    assert type(settings.epochs) is int
    assert settings == MixNAMSettings(variation_penalty=1.0, epochs=5)
    assert NAMSettings(hidden=[8.0, 4]).hidden == (8, 4)


@every(
    "model, one, other",
    [
        ("MixNAM", {"variation_penalty": 1}, {"variation_penalty": 1.0}),
        ("MixNAM", {"epochs": 5.0}, {"epochs": 5}),
        ("MixNAM", {"weight_decay": -0.0}, {"weight_decay": 0.0}),
        ("NAM", {"hidden": [8, 4]}, {"hidden": (8.0, 4.0)}),
    ],
)
def test_equal_numbers_give_equal_keys(model, one, other):
    keys = [RunSpec("diabetes", make_settings(model, values), "holdout", 0).key for values in (one, other)]
    assert keys[0] == keys[1]


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MixNAMSettings().width = 3


@every("model", MODELS)
def test_every_part_of_a_model_has_a_revision(model):
    assert MODELS[model].parts
    assert set(MODELS[model].parts) <= set(REVISIONS)


def test_members_of_a_stack_differ_in_known_settings_only():
    known = {field.name for kind in MODELS.values() for field in dataclasses.fields(kind)}
    assert set(PER_MEMBER) <= known


# a stored result names only what differs from the defaults, so none of these may ever change
_NETWORK = {
    "epochs": 1000,
    "batch_size": 2048,
    "learning_rate": 5.97e-4,
    "weight_decay": 5.29e-5,
    "dropout": 0.1,
    "selection": "auc_plus_f1",
}
_MIXTURE = _NETWORK | {
    "output_penalty": 1.97e-5,
    "layers": 4,
    "width": 128,
    "experts": 4,
    "active_experts": 4,
    "expert_dropout": 0.2,
    "variation_penalty": 0.1,
    "normalization": "layer_norm",
    "shared_normalization": True,
    "initialization": "authors",
    "expert_dropout_mode": "scale",
}
_BASIS = _NETWORK | {"output_penalty": 1.97e-5, "hidden": (256, 128, 128), "basis_dropout": 0.0}
_TREES = {
    "epochs": 10_000,
    "batch_size": 2048,
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "dropout": 0.0,
    "selection": "auc",
    "output_penalty": 0.0,
    "layers": 2,
    "trees": 1024,
    "depth": 6,
    "extra_outputs": 0,
    "colsample_bytree": 1.0,
    "last_linear": False,
    "last_dropout": 0.0,
    "warmup_steps": 0,
    "decay_steps": 0,
    "patience_steps": 11_000,
    "evaluation_steps": 100,
    "averaged_checkpoints": 5,
}
_CHOICE = {"anneal_steps": 4000, "min_temperature": 0.01, "attention": 0, "warmup_steps": 500, "decay_steps": 5000}
_EBM = {"release": "today", "outer_bags": 0, "max_rounds": 0, "learning_rate": 0.0, "max_leaves": 0}
_EBM |= {"min_samples_leaf": 0, "max_interaction_bins": 0}
FROZEN = {
    MixNAMSettings: _MIXTURE | {"router": "dense"},
    MixNAMDSettings: _MIXTURE
    | {"experts": 64, "active_experts": 64, "temperature": 0.1, "sample_at_prediction": False},
    MixNAMESettings: _MIXTURE | {"experts": 32, "active_experts": 16, "router": "dense"},
    NAMSettings: _NETWORK | {"output_penalty": 1.97e-5, "hidden": (64, 64, 32)},
    NA2MSettings: _NETWORK | {"output_penalty": 1.97e-5, "hidden": (64, 64, 32)},
    NBMSettings: _BASIS | {"bases": 100},
    NB2MSettings: _BASIS | {"bases": 200},
    NODESettings: _TREES,
    NODEGAMSettings: _TREES | _CHOICE,
    NODEGA2MSettings: _TREES | _CHOICE,
    MLPSettings: _NETWORK | {"hidden": (128, 128, 128)},
    LinearSettings: {},
    SplineSettings: {"knots": 25},
    EBMSettings: _EBM,
    EB2MSettings: _EBM | {"interactions": 10},
    XGBoostSettings: {
        "trees": 100,
        "max_depth": 6,
        "learning_rate": 0.3,
        "min_child_weight": 1.0,
        "subsample": 1.0,
        "colsample_bytree": 1.0,
        "reg_lambda": 1.0,
        "early_stopping_rounds": 0,
    },
    LightGBMSettings: {
        "trees": 100,
        "num_leaves": 31,
        "learning_rate": 0.1,
        "min_child_samples": 20,
        "subsample": 1.0,
        "colsample_bytree": 1.0,
        "reg_lambda": 0.0,
        "early_stopping_rounds": 0,
    },
    CatBoostSettings: {
        "trees": 1000,
        "depth": 6,
        "learning_rate": 0.0,
        "l2_leaf_reg": 3.0,
        "random_strength": 1.0,
        "bagging_temperature": 0.0,
        "leaf_estimation_iterations": 0,
        "early_stopping_rounds": 0,
    },
}
# and of these none may leave the settings that a model's results pass through
PARTS = {
    MixNAMSettings: ("preprocessing", "training", "mixture"),
    MixNAMDSettings: ("preprocessing", "training", "mixture"),
    MixNAMESettings: ("preprocessing", "training", "mixture"),
    NAMSettings: ("preprocessing", "training", "additive"),
    NA2MSettings: ("preprocessing", "training", "pairwise"),
    NBMSettings: ("preprocessing", "training", "basis"),
    NB2MSettings: ("preprocessing", "training", "basis"),
    NODESettings: ("preprocessing", "training", "trees"),
    NODEGAMSettings: ("preprocessing", "training", "trees"),
    NODEGA2MSettings: ("preprocessing", "training", "trees"),
    MLPSettings: ("preprocessing", "training", "mlp"),
    LinearSettings: ("preprocessing", "linear"),
    SplineSettings: ("preprocessing", "spline"),
    EBMSettings: ("preprocessing", "ebm"),
    EB2MSettings: ("preprocessing", "ebm"),
    XGBoostSettings: ("preprocessing", "xgboost"),
    LightGBMSettings: ("preprocessing", "lightgbm"),
    CatBoostSettings: ("preprocessing", "catboost"),
}


@every("kind", FROZEN)
def test_defaults_are_frozen(kind):
    settings = dataclasses.asdict(kind())
    assert {name: settings.get(name) for name in FROZEN[kind]} == FROZEN[kind]


def test_every_model_is_frozen():
    assert set(FROZEN) == set(PARTS) == set(MODELS.values())
    assert {kind.model: kind.parts for kind in PARTS} == {kind.model: parts for kind, parts in PARTS.items()}
