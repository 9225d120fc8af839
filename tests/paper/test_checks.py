"""Claims without training: planted wrong entries, rows and networks must fail them."""

import os

import numpy as np
import pytest
import torch

from mixnam.data import catalogue
from mixnam.data.table import DataError
from mixnam.models import MixNAM, MixNAMDSettings, MixNAMSettings, make_network
from mixnam.paper import checks, published

FEATURES = {"housing": 8, "mimic2": 17, "mimic3": 57, "income": 14, "credit": 30, "year": 90}


UNITS = {"k": 1e3, "M": 1e6}


def changed(name, row, column, text):
    """Return the published tables with one entry changed."""
    table = published.table(name).copy()
    table.loc[row, column] = text
    return lambda wanted: table if wanted == name else published.table(wanted)


def test_all_of_table_9_comes_out():
    for ours in (False, True):
        assert checks.complexity(ours) == ("reproduced", "24 of 24 entries")


def test_a_wrong_entry_of_table_9_is_named():
    for column in ("mixnam_extra_parameters", "mixnam_extra_memory", "mixnam_d_extra_memory"):
        for ours in (False, True):
            held, text = checks.complexity(ours, changed("table9_complexity", 3, column, "424k"))
            assert held == "not reproduced"
            assert text.startswith("23 of 24 entries; income mixnam")
            assert text.endswith("printed 424000")


def test_entries_off_by_one_in_their_last_digit_fail():
    table = published.table("table9_complexity")
    for row in range(6):
        for column in table.columns[2:]:
            text = table.loc[row, column]
            digits = len(text[:-1].partition(".")[2])
            for step in (-1, 1):
                near = f"{float(text[:-1]) + step * 10**-digits:.{digits}f}{text[-1]}"
                wrong = changed("table9_complexity", row, column, near)
                assert checks.complexity(False, wrong)[0] == "not reproduced", (row, column, near)


def test_extra_parameters_are_those_of_appendix_j():
    for n in FEATURES.values():
        mixnam, diagonal = 4 * n * ((n + 1) * 128 + 2), 64 * n * (2 * 128 + 2)
        for ours in (False, True):
            found = checks.complexity_counts(n, ours)
            assert found == {"mixnam": (mixnam, 4 * mixnam), "mixnam_d": (diagonal, 4 * diagonal)}


def test_extra_parameters_are_the_tensors_of_experts_and_router():
    for settings in (MixNAMSettings(), MixNAMDSettings()):
        tensors, _ = make_network(settings, 5).initialize([0], torch.device("cpu"))
        kinds = {name.partition(".")[0] for name in tensors}
        assert kinds == {"encoder", "norm", "experts", "router", "bias"}
        count = sum(t.numel() for name, t in tensors.items() if name.startswith(("experts", "router")))
        assert checks.complexity_counts(5, True)["mixnam_d" if settings.model == "MixNAM-D" else "mixnam"][0] == count


def test_a_network_of_another_size_fails(monkeypatch):
    def wider(settings, features):
        return make_network(type(settings)(width=129), features)

    monkeypatch.setattr(checks, "make_network", wider)
    assert checks.complexity(True)[0] == "not reproduced"
    assert checks.complexity(False)[0] == "reproduced"


def test_one_setting_lies_outside_the_range_that_it_was_searched_in():
    assert checks.search_ranges(False) == ("not reproduced", "outside: income: output_penalty = 3.99e-1")
    assert checks.search_ranges(True)[0] == "not applicable"


def test_any_setting_outside_its_range_is_named():
    wrong = {0: "5", 1: "32", 2: "8", 4: "256", 5: "200", 6: "0.2", 7: "1e-9", 8: "0.95", 9: "0.0", 11: "1.0"}
    for row, text in (wrong | {12: "group_norm"}).items():
        name = published.table("table5_hyperparameters")["hyperparameter"][row]
        told = checks.search_ranges(False, changed("table5_hyperparameters", row, "credit", text))[1]
        assert f"credit: {name} = {text}" in told


def test_settings_inside_their_ranges_hold():
    inside = changed("table5_hyperparameters", 10, "income", "3.99e-2")
    assert checks.search_ranges(False, inside) == ("reproduced", "all 78 settings inside")


def sized(**sizes):
    """Stand in for `datasets.load`: data sets of these (rows, features, categorical features)."""

    def load(name, download):
        if name not in sizes:
            raise DataError("not here")
        rows, features, categorical = sizes[name]
        known = type("Known", (), {"x": np.empty((rows, features)), "categories": dict.fromkeys(range(categorical))})
        return known()

    return load


@pytest.mark.parametrize(
    ("sizes", "held"),
    [
        ({"housing": (20640, 8, 0), "income": (32561, 14, 8)}, "partly reproduced"),
        ({"income": (32561, 14, 8)}, "partly reproduced"),
        ({"housing": (20639, 8, 0), "income": (32561, 14, 8)}, "not reproduced"),
        ({"housing": (20640, 9, 0)}, "not reproduced"),
        ({"housing": (20640, 8, 0), "income": (32561, 14, 7)}, "not reproduced"),
    ],
)
def test_sizes_are_those_of_table_4(monkeypatch, sizes, held):
    monkeypatch.setattr(catalogue, "load", sized(**sizes))
    found, text = checks.sizes(True)
    assert found == held
    assert text.count("not at hand") == 6 - len(sizes)
    for name, (rows, features, categorical) in sizes.items():
        assert f"{name}: {rows:,} × {features}, {categorical} categorical" in text
    assert checks.sizes(False)[0] == "is a printed number"


def test_sizes_of_all_six_sets_are_reproduced_in_full(monkeypatch):
    rows = published.table("table4_datasets").to_dict("records")
    whole = {r["dataset"]: (r["instances"], r["features"], r["categorical_features"]) for r in rows}
    monkeypatch.setattr(catalogue, "load", sized(**whole))
    assert checks.sizes(True)[0] == "reproduced"


def test_sizes_of_the_data_at_hand():
    if not os.environ.get("MIXNAM_DATA"):
        pytest.skip("MIXNAM_DATA is not set")
    assert checks.sizes(True)[0] in ("reproduced", "partly reproduced")


def test_sizes_of_no_data_hold_nothing(monkeypatch):
    monkeypatch.setattr(catalogue, "load", sized())
    assert checks.sizes(True)[0] == "data not available"


def place(dataset, near, lower):
    """MixNAM's rank in Table 1, counted by hand: 1 more than the models whose mean is better by more than `near`."""
    rows = [r for r in published.table("table1_accuracy").to_dict("records") if r["source"] == "Table 1"]
    means = {r["model"]: r["mean"] for r in rows if r["dataset"] == dataset}
    assert len(means) == 14
    ahead = [(means["MixNAM"] - mean) * (1 if lower else -1) for mean in means.values()]
    return 1 + sum(step > near + 1e-9 for step in ahead)


def test_mixnam_is_among_the_four_best_of_fourteen():
    near = {"housing": 0.01, "income": 0.005, "year": 0.8}
    lower = ("housing", "year")
    places = {name: place(name, near.get(name, 0.01), name in lower) for name in FEATURES}
    held, text = checks.top_four(False)
    assert held == "reproduced"
    assert dict(part.split(": ") for part in text.split(", ")) == {name: str(r) for name, r in places.items()}
    assert max(place(name, 0, name in lower) for name in FEATURES) == 4  # by bare means it is among them, too


def test_a_worse_mean_takes_mixnam_out_of_the_best_four():
    table = published.table("table1_accuracy")
    for dataset, mean in (("housing", 0.6), ("income", 0.8), ("year", 90.0)):
        (row,) = table.index[(table["model"] == "MixNAM") & (table["dataset"] == dataset)]
        assert checks.top_four(False, changed("table1_accuracy", row, "mean", mean))[0] == "not reproduced"


def test_log_odds_are_sums_over_features():
    held, text = checks.log_odds(True)
    assert held == "reproduced"
    assert "differences below 1e-9 of the scale" in text
    assert int(text.split()[-2].replace(",", "")) > 2000
    assert checks.log_odds(False)[0] == "not printed"


class Multiplied(MixNAM):
    """One whose routing scores are multiplied by what another feature says."""

    def _scores(self, tensors, z):
        factor = 1 + 0.01 * z[:, 1].mean(dim=-1)  # (M, B)
        return super()._scores(tensors, z) * factor[..., None]


class Bent(MixNAM):
    """One whose routing scores are bent after the sum over features."""

    def _scores(self, tensors, z):
        return super()._scores(tensors, z).tanh()


@pytest.mark.parametrize("planted", [Multiplied, Bent])
def test_log_odds_of_a_network_whose_scores_are_no_sum_fail(monkeypatch, planted):
    monkeypatch.setattr(checks, "MixNAM", planted)
    held, text = checks.log_odds(True)
    assert held == "not reproduced"
    assert float(text.split()[5]) > 1e-6
