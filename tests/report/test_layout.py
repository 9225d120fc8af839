"""How numbers, tables and the lines around them are written."""

import math

import pandas as pd

import mixnam.__main__ as command_line
from mixnam.data import catalogue
from mixnam.paper import experiments, running
from mixnam.report import layout
from mixnam.report.layout import Judged
from mixnam.report.parameters import Parameters, check_parameters
from mixnam.runs.store import Store

GOOD = {"dataset": "diabetes", "preset": "smoke", "device": "cpu", "results": "", "train": True}


def test_spread_says_how_many_runs_stand_behind_it():
    assert layout.spread(0.4512, n=1) == "0.451 (n = 1)"
    assert layout.spread(0.4512, math.nan) == "0.451"
    assert layout.spread(0.455, 0.00707, 2, "2, quick") == "0.46 ± 0.01 (n = 2, quick)"
    assert (layout.printed((0.451, 0.0)), layout.printed(None)) == ("0.451 ± 0.000", "–")
    assert (layout.percent(0.05), layout.percent(-0.0512, 1, "+")) == ("5 %", "-5.1 %")


def test_tables_escape_what_they_show_and_a_cell_says_what_it_is():
    cells = {"claim": "<b>", "ours": Judged("undecided", "so & so"), "text": "undecided: so", "bare": Judged("better")}
    html = layout.show(pd.DataFrame([cells])).data
    assert "&lt;b&gt;" in html
    assert "<td><b>undecided</b><div class='reasons'>so &amp; so</div></td>" in html
    assert "<td>undecided: so</td><td>better</td>" in html
    assert str(cells["ours"]) == "undecided: so & so" and str(cells["bare"]) == "better"


def test_rows_are_grouped_and_the_papers_own_set_off():
    table = pd.DataFrame([("a", "paper", "1 ± 2"), ("a", "ours", "MixNAM-D"), ("b", "ours", "")])
    html = layout.show(table.set_axis(["", "source", "score"], axis=1)).data
    assert html.count("class=first") == 2 and html.count("<td>a</td>") == 1
    assert html.count("class='paper'") == 2
    assert "1\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}2" in html and "MixNAM\N{NON-BREAKING HYPHEN}D" in html


def test_the_provenance_line_names_results_machine_and_data(run):
    results = list(run.columns[1].runs("diabetes", "MixNAM")["result"])
    line = layout.provenance_line(results)
    for part in (
        results[0].key[:8],
        "preset smoke",
        results[0].provenance["device"],
        catalogue.load("diabetes").checksum[:12],
    ):
        assert part in line
    assert "No stored result" in layout.provenance_line([])


def test_missing_runs_and_missing_data_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", "http://127.0.0.1:9/none")
    outcome = running.run("accuracy", "housing", "smoke", tmp_path / "results", "cpu", progress=None)
    assert "Not run here" in layout.notice(outcome, check_parameters(GOOD))
    assert "cal_housing.data" in layout.notice(outcome, check_parameters(GOOD))
    outcome = running.run("accuracy", "diabetes", "smoke", tmp_path / "results", "cpu", train=False)
    assert f"{len(outcome.specs)} of {len(outcome.specs)} runs" in layout.notice(outcome, check_parameters(GOOD))
    assert len(outcome.specs) == 2 * len(experiments.cases("accuracy", "smoke"))


def test_the_command_for_what_is_missing_is_understood(tmp_path, monkeypatch):
    called = []

    def caught(arguments):
        """Stand in for the command."""
        called.append(arguments)
        return 0

    monkeypatch.setattr(command_line, "run", caught)
    for experiment, dataset in (("accuracy", "diabetes"), ("simulation", ""), ("routing", "housing")):
        outcome = running.run(experiment, dataset, "smoke", tmp_path, "cpu", train=False)
        said = layout.notice(outcome, Parameters(dataset, "smoke", "cpu", tmp_path, False))
        command = said.split("`")[1]
        assert command_line.main(command.split()[3:]) == 0
        given = called.pop()
        assert (given.experiment, given.preset, given.results) == (experiment, "smoke", tmp_path)
        specs = experiments.specs_for(given.experiment, given.dataset, given.preset, given.seeds)
        assert specs == outcome.missing


def test_the_results_behind_a_page_are_those_of_its_rows(run):
    keys = {r.key for r in layout.page_results("accuracy", run)}
    own, reference = ({r.key for r in Store(path)} for path in (run.results, run.reference))
    assert own <= keys <= own | reference  # some models are the same at every preset
    assert len(own) == len(experiments.cases("accuracy", "smoke"))
    assert {r.spec.model for r in layout.page_results("lambda_sweep", run)} == {"MLP", "NA2M", "NAM", "MixNAM"}
    assert layout.footer("accuracy", run).count("`") > 2 * len(keys)
