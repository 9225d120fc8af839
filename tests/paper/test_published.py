"""The paper's numbers and settings are found as printed."""

from mixnam.models import MixNAMSettings, make_settings
from mixnam.paper import published
from mixnam.paper.presets import load_preset


def test_published_housing_settings_are_the_frozen_defaults():
    values = published.settings("housing", "MixNAM")
    assert len(values) == 13
    for name, value in values.items():
        assert value == getattr(MixNAMSettings(), name), name
    assert load_preset("paper").settings("housing", "MixNAM").changed() == {}


def test_every_published_setting_is_a_valid_one():
    pairs = published.table("settings")[["dataset", "model"]].drop_duplicates()
    for dataset, model in pairs.itertuples(index=False):
        values = published.settings(dataset, model)
        settings = make_settings(model, values)
        assert all(getattr(settings, name) == value for name, value in values.items())
    assert published.settings("credit", "MixNAM")["normalization"] == "batch_norm"
    assert published.settings("year", "MixNAM")["learning_rate"] == 1.17e-4
    assert published.settings("housing", "Linear") == published.settings("boston", "MixNAM") == {}


def test_published_numbers_are_found():
    assert published.accuracy("housing", "MixNAM") == (0.451, 0.002)
    assert published.accuracy("boston", "MixNAM") is None
    assert published.sweep("additivity", 0.1) == (0.381, 0.013)
    assert published.sweep("tightness", 100.0) == (1.0, 0.0)
    assert published.sweep("rmse", 10.0, "NAM") == (0.572, 0.005)  # the same at every λ
    assert published.sweep("additivity", 3.0) is None
