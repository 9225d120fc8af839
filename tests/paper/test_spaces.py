"""Search spaces draw valid settings, each from its range."""

from collections import Counter

import pytest

from mixnam.models import MODELS, make_settings
from mixnam.paper import spaces

ALL = [(model, space) for model in MODELS if model not in spaces.FIXED for space in spaces.spaces(model).values()]


IDS = [f"{model}-{space.name}" for model, space in ALL]


def test_draws_are_valid_in_range_and_reach_every_value():
    for model, space in ALL:
        drawn = [space.draw(0, trial) for trial in range(300)]
        for settings in drawn:
            make_settings(model, settings)
        for choice in space.choices:
            values = [d[choice.name] for d in drawn]
            if choice.bounds:
                low, high = choice.bounds
                inside = [v for v in values if v]
                assert all(low <= v <= high for v in inside)
                third = (high / low) ** (1 / 3)
                assert min(Counter(min(int((v / low > third) + (v / low > third**2)), 2) for v in inside).values()) > 50
                assert bool(choice.zero) == (0 in values)
            elif not (choice.times or choice.over or choice.when):
                assert set(values) == set(choice.values), choice.name
                expected = len(drawn) / len(choice.values)
                assert all(0.3 * expected < n < 2 * expected for n in Counter(values).values()), choice.name


def test_trials_do_not_depend_on_how_many_are_asked_for():
    for model, space in ALL:
        many = space.trials(model, 3, 40)
        few = space.trials(model, 3, 7)
        assert few == {t: s for t, s in many.items() if t < 7}
        assert many == space.trials(model, 3, 40)
        assert many != space.trials(model, 4, 40)
        assert len(set(many.values())) == len(many)


def test_choices_are_independent_of_each_other():
    space = spaces.find("MixNAM", "appendix-c")
    pairs = Counter((d["layers"], d["width"]) for d in (space.draw(0, t) for t in range(400)))
    assert len(pairs) == 4
    assert min(pairs.values()) > 70


def test_dependent_choices_follow_what_they_depend_on():
    mixtures = [spaces.find("MixNAM", "fast").draw(0, t) for t in range(50)]
    assert {d["active_experts"] / d["experts"] for d in mixtures} == {0.5, 1.0}
    trees = [spaces.find("NODE", "nodegam").draw(0, t) for t in range(100)]
    assert all(d["trees"] in {n // d["layers"] for n in (500, 1000, 2000, 4000)} for d in trees)
    assert all(d["last_dropout"] == 0 for d in trees if not d["last_linear"])
    assert any(d["last_dropout"] > 0 for d in trees if d["last_linear"])


def test_the_papers_space_is_appendix_c():
    space = spaces.find("MixNAM", "appendix-c")
    found = {c.name: tuple(c.bounds) or c.values for c in space.choices}
    tenths = tuple(i / 10 for i in range(10))
    assert space.source == "Appendix C"
    assert not space.fixed
    assert found == {
        "layers": (3, 4), "width": (64, 128), "experts": (4,), "active_experts": (1.0,),
        "batch_size": (512, 1024, 2048), "epochs": (75, 150, 500, 1000), "learning_rate": (1e-6, 1e-1),
        "weight_decay": (1e-8, 1e-1), "dropout": tenths, "expert_dropout": tenths[1:],
        "output_penalty": (1e-8, 1e-1), "variation_penalty": (0.1,), "normalization": ("batch_norm", "layer_norm"),
    }  # fmt: skip


def test_every_model_has_a_space_or_a_reason():
    for model in MODELS:
        if model in spaces.FIXED:
            with pytest.raises(ValueError, match=f"{model} is not searched: .*; take one of Spline"):
                spaces.spaces(model)
        else:
            assert all(space.source and space.choices for space in spaces.spaces(model).values())
            assert spaces.find(model) == next(iter(spaces.spaces(model).values()))
    with pytest.raises(ValueError, match=r"model must be one of .*MixNAM.*, got 'Mix'"):
        spaces.find("Mix")
    with pytest.raises(
        ValueError, match="space of MixNAM must be one of fast, narrow, longer, ahead, appendix-c, got 'slow'"
    ):
        spaces.find("MixNAM", "slow")
