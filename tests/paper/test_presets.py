"""Settings come from the published ones, the preset and the caller, in that order."""

import re

import pytest

from mixnam.data import catalogue
from mixnam.data.laws import SIMULATIONS
from mixnam.models import MODELS
from mixnam.models.recipe import recommended
from mixnam.paper import presets, published
from mixnam.paper.presets import Preset, load_preset


def test_later_layers_of_settings_win():
    layers = [
        {"width": 1, "layers": 1, "epochs": 1, "experts": 4},
        {"width": 2, "layers": 2, "epochs": 2},
        {"width": 3, "layers": 3},
        {"width": 4},
    ]
    content = {"models": {"MixNAM": layers[1], "NAM": {"epochs": 9}}, "data": {"diabetes": {"MixNAM": layers[2]}}}
    mine = Preset("mine", content, lambda dataset, model: layers[0])
    settings = mine.settings("diabetes", "MixNAM", layers[3])
    assert settings.changed() == {"width": 4, "layers": 3, "epochs": 2}
    elsewhere = mine.settings("housing", "MixNAM")
    assert elsewhere.changed() == {"width": 2, "layers": 2, "epochs": 2}


def test_variants_start_from_mixnams_settings_but_for_the_numbers_of_experts():
    for preset in presets.PRESETS:
        for model in ["MixNAM-D", "MixNAM-E"]:
            kind, chosen = MODELS[model], load_preset(preset)
            parent, own = chosen.settings("housing", "MixNAM").all(), chosen.settings("housing", model).all()
            said = published.settings("housing", model) | chosen.content["models"].get(model, {})
            for name, value in own.items():
                if name in said:
                    assert value == said[name], name
                elif name in ("experts", "active_experts"):
                    assert value == getattr(kind, name), name
                elif name in parent:
                    assert value == parent[name], name


def test_a_variants_settings_come_after_its_parents():
    published_ones = {
        "MixNAM": {"width": 1, "layers": 1, "experts": 3, "active_experts": 3, "epochs": 1},
        "MixNAM-E": {"epochs": 2},
    }
    content = {
        "models": {"MixNAM": {"width": 5, "batch_size": 10}, "MixNAM-E": {"batch_size": 11}},
        "data": {
            "simulations": {"MixNAM": {"batch_size": 12, "experts": 2, "active_experts": 2}, "MixNAM-E": {"layers": 6}}
        },
    }
    mine = Preset("mine", content, lambda dataset, model: published_ones.get(model, {}))
    found = mine.settings("housing", "MixNAM-E").changed()
    assert found == {"width": 5, "layers": 1, "epochs": 2, "batch_size": 11}
    found = mine.settings("housing", "MixNAM-E", {"experts": 64}).changed()
    assert found == {"width": 5, "layers": 1, "epochs": 2, "batch_size": 11, "experts": 64}
    alone = mine.settings("housing", "MixNAM").changed()
    assert alone == {"width": 5, "layers": 1, "epochs": 1, "batch_size": 10, "experts": 3, "active_experts": 3}
    law = mine.settings("sim_unimodal", "MixNAM").changed()
    assert law == alone | {"batch_size": 12, "experts": 2, "active_experts": 2}
    assert mine.settings("sim_unimodal", "MixNAM-E").changed()["layers"] == 6


def test_eb2m_starts_from_ebms_settings():
    content = {"models": {"EBM": {"outer_bags": 2, "max_rounds": 9}, "EB2M": {"max_rounds": 7}}}
    assert Preset("mine", content).settings("housing", "EB2M").changed() == {"outer_bags": 2, "max_rounds": 7}
    assert Preset("mine", content).settings("housing", "EBM").changed() == {"outer_bags": 2, "max_rounds": 9}


def test_all_simulations_are_one_family():
    assert {catalogue.family(name) for name in SIMULATIONS} == {"simulations"}
    assert {catalogue.family(n) for n in ("housing", "income", "diabetes")} == {"housing", "income", "diabetes"}


def test_an_experiments_own_number_of_seeds_wins():
    preset = Preset("mine", {"seeds": 10, "folds": 5, "experiments": {"lambda_sweep": {"seeds": 2, "values": [0.0]}}})
    assert preset.number("seeds") == preset.number("seeds", "accuracy") == 10
    assert preset.number("seeds", "lambda_sweep") == 2
    assert preset.number("folds", "lambda_sweep") == 5


def test_every_preset_gives_valid_settings():
    for preset in presets.PRESETS:
        for model in MODELS:
            for dataset in catalogue.REGISTRY:
                settings = load_preset(preset).settings(dataset, model, {})
                assert settings.model == model


def test_pairs_and_values_are_read_as_written():
    said = {"expert_scaling": {"MixNAM": [[2, 2], [8, 4]], "MixNAM-E": [[16, 2]]}, "sparsity": {"values": [2, 4]}}
    content = {"experiments": said}
    assert Preset("mine", content).pairs("expert_scaling", "MixNAM") == [(2, 2), (8, 4)]
    assert Preset("mine", content).pairs("expert_scaling", "MixNAM-E") == [(16, 2)]
    assert Preset("mine", content).values("sparsity") == [2, 4]


def test_an_unknown_override_is_refused():
    with pytest.raises(ValueError, match="MixNAM has no setting 'lambda'"):
        load_preset("smoke").settings("housing", "MixNAM", {"lambda": 1.0})


GOOD = """
seeds = 1
folds = 1
[experiments.lambda_sweep]
values = [0.0]
[models.MixNAM]
width = 2
[data.diabetes.MixNAM]
width = 3
"""


def test_an_unknown_entry_of_a_preset_is_an_error():
    def use(text):
        preset = presets.parse("smoke", text)
        preset.settings("diabetes", "MixNAM")
        return preset.number("seeds", "lambda_sweep")

    assert use(GOOD) == 1
    for right, wrong in (
        ("seeds = 1", "seeds = 1\nsedes = 2"),
        ("[models.MixNAM]\n", "[models.MixNaM]\n"),
        ("width = 2", "wdith = 2"),
        ("[data.diabetes.MixNAM]", "[data.diabets.MixNAM]"),
        ("[data.diabetes.MixNAM]", "[data.diabetes.MixNaM]"),
        ("width = 3", "wdith = 3"),
        ("values = [0.0]", "values = [0.0]\nsedes = 2"),
        ("[data.diabetes.MixNAM]", "[data.simulations.MixNaM]"),
        ("[data.diabetes.MixNAM]", "[data.sim_unimodel.MixNAM]"),
        ("[experiments.lambda_sweep]", "[experiments.lambda_swep]"),
        ("values = [0.0]", "values = [0.0]\nMixNaM = [[2, 2]]"),
    ):
        with pytest.raises(ValueError, match=r"sedes|wdith|diabets|MixNaM|unimodel|swep"):
            use(GOOD.replace(right, wrong, 1))


def test_a_preset_of_version_0_4_is_refused_with_the_new_heading():
    for old, new in (
        ("MixNAM", "models.MixNAM"),
        ("lambda_sweep", "experiments.lambda_sweep"),
        ("income.EBM", "data.income.MODEL"),
    ):
        message = re.escape(f"[{old.split('.')[0]}] is of version 0.4; write [{new}]")
        with pytest.raises(ValueError, match=message):
            presets.parse("smoke", f"seeds = 1\nfolds = 1\n[{old}]\n")


def test_tables_without_a_search_have_our_recipe_for_their_size():
    rows = {"housing": 20_640, "income": 32_561, "credit": 284_807, "mimic2": 24_508, "mimic3": 27_348, "year": 515_345}
    for dataset, count in (rows | {"diabetes": 442, "breast_cancer": 569}).items():
        chosen = load_preset("best").settings(dataset, "MixNAM")
        assert chosen == recommended(count, catalogue.entry(dataset).task), dataset


def test_a_preset_lies_over_its_base():
    quick, best = (load_preset(name).settings("income", "NA2M") for name in ("quick", "best"))
    assert best == quick
    found = presets.parse("mine", 'base = "quick"\n[models.NAM]\nepochs = 7\n[data.income.MixNAM]\nwidth = 5')
    assert found.settings("income", "NAM").epochs == 7
    assert found.settings("income", "NAM").batch_size == load_preset("quick").settings("income", "NAM").batch_size
    assert found.settings("income", "MixNAM").width == 5
    with pytest.raises(ValueError, match="preset must be one of"):
        presets.parse("mine", 'base = "other"')
