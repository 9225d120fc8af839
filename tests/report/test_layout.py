"""How numbers, tables and the lines around them are written."""

import dataclasses
import math
from html import unescape

import pandas as pd
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_role import myst_role_plugin
from planted import fill

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
    html = layout.show(pd.DataFrame([cells])).html
    assert "&lt;b&gt;" in html
    undecided = "<span class='badge undecided'>undecided</span><div class='reasons'>so &amp; so</div>"
    assert f"<td class='verdict' data-label='ours'>{undecided}</td><td>undecided: so</td>" in html
    assert "<td class='verdict' data-label='bare'><span class='badge better'>better</span></td>" in html
    assert str(cells["ours"]) == "undecided: so & so" and str(cells["bare"]) == "better"


def test_rows_are_grouped_and_the_papers_own_set_off():
    rows = [("a", "paper", layout.printed((1, 2), 0)), ("a", "ours", "MixNAM-D"), ("b", "paper", layout.printed(None))]
    html = layout.show(pd.DataFrame(rows, columns=["", "source", "paper"], dtype=object)).html
    assert html.count("class=first") == 2 and html.count("<td>a</td>") == 1
    assert html.count("class=paper") == 1  # its type says so, no heading and no word
    assert "1\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}2" in html and "MixNAM\N{NON-BREAKING HYPHEN}D" in html


def test_foreign_text_is_shown_as_it_is():
    hostile = "<img src=x onerror=alert(1)> $x$ *a* _b_ `c` [d](e) \\1 {f}`g` a|b &lt; ~h~ # i\n\n<b>"
    shown = MarkdownIt("gfm-like").use(dollarmath_plugin).use(myst_role_plugin).render(f"{layout.literal(hostile)}")
    assert unescape(shown) == f"<p>{' '.join(hostile.split())}</p>\n" and shown.count("<") == 2


def test_the_provenance_line_names_results_machine_and_data(run):
    results = list(run.columns[1].runs("diabetes", "MixNAM")["result"])
    line, (first, *_) = layout.provenance_line(results), results
    told = (first.provenance["device"], "Presets: smoke", catalogue.load("diabetes").checksum[:12])
    for part in (*told, f"href='results/diabetes/MixNAM/{first.key}.json'"):
        assert part in line
    assert "\n" not in line and line.startswith("<details")
    assert "No stored result" in layout.provenance_line([])


def test_a_foreign_device_is_no_markup_in_the_provenance_line(run):
    (first, *_) = run.columns[1].runs("diabetes", "MixNAM")["result"]
    device = "<script>alert(1)</script>\n\n<b>*a*"
    line = layout.provenance_line([dataclasses.replace(first, provenance=first.provenance | {"device": device})])
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &lt;b&gt;*a*" in line and "\n" not in line


def test_a_page_says_which_model_failed_and_why_and_shows_the_others(tmp_path):
    outcome = running.run("complexity", "diabetes", "smoke", tmp_path, "cpu", train=False)
    outcome.failed[outcome.specs[0]] = running.Failure(ValueError, "two_words (model.py:3)")
    said = layout.notice(outcome, Parameters("diabetes", "smoke", "cpu", tmp_path, True))
    assert said == f"**Failed:** {layout.literal(outcome.specs[0])}: two\\_words (model.py:3)."


def test_missing_data_are_said_and_missing_runs_are_counted_below(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path / "none"))
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", "http://127.0.0.1:9/none")
    outcome = running.run("accuracy", "housing", "smoke", tmp_path / "results", "cpu", progress=None)
    assert "Not run here" in layout.notice(outcome, check_parameters(GOOD))
    assert "cal\\_housing.data" in layout.notice(outcome, check_parameters(GOOD))
    outcome = running.run("accuracy", "diabetes", "smoke", tmp_path / "results", "cpu", train=False)
    parameters = Parameters("diabetes", "smoke", "cpu", tmp_path / "results", False)
    assert layout.notice(outcome, parameters) == layout.NOTHING
    assert f"0 of {len(outcome.specs)} runs" in layout.footer("accuracy", parameters)
    assert len(outcome.specs) == 2 * len(experiments.cases("accuracy", "smoke"))


def test_older_measures_are_counted_below(project):
    fill(project.store, seeds=3, scores=0.45, measures={"additivity.marginal": 0.4})
    assert "older version" not in layout.progress("lambda_sweep", project.parameters())
    old = next(iter(project.store))
    project.store.put(dataclasses.replace(old, measures=old.measures | {"revision": 1}, fresh=(old.arrays, {})))
    assert "1 of 3 results were explained by an older version" in layout.progress("lambda_sweep", project.parameters())


def test_the_command_for_what_is_missing_is_understood(tmp_path, monkeypatch):
    called = []

    def caught(arguments):
        """Stand in for the command."""
        called.append(arguments)
        return 0

    monkeypatch.setattr(command_line, "run", caught)
    for experiment, dataset in (("accuracy", "diabetes"), ("simulation", ""), ("routing", "housing")):
        said = layout.progress(experiment, Parameters(dataset, "smoke", "cpu", tmp_path, False))
        command = said.split("`")[1]
        assert command_line.main(command.split()[3:]) == 0
        given = called.pop()
        assert (given.experiment, given.preset, given.results) == (experiment, "smoke", tmp_path)
        specs = experiments.specs_for(given.experiment, given.dataset, given.preset, given.seeds)
        assert specs == running.run(experiment, dataset, "smoke", tmp_path, "cpu", train=False).missing


def test_the_results_behind_a_page_are_those_of_its_rows(run):
    keys = {r.key for r in layout.page_results("accuracy", run)}
    own, reference = ({r.key for r in Store(path)} for path in (run.results, run.reference))
    assert own <= keys <= own | reference  # some models are the same at every preset
    assert len(own) == len(experiments.cases("accuracy", "smoke"))
    assert {r.spec.model for r in layout.page_results("lambda_sweep", run)} == {"MLP", "NA2M", "NAM", "MixNAM"}
    said = layout.footer("accuracy", run)
    assert all(f"{key}.json" in said for key in keys)
    assert f"{len(own)} of {2 * len(own)} runs of this page at the smoke preset" in said


def test_a_page_names_a_few_of_many_files_that_were_set_aside(tmp_path, recwarn):
    page = Parameters("diabetes", "smoke", "cpu", tmp_path / "results", False, tmp_path / "reference")
    folder = tmp_path / "results" / "diabetes" / "NAM"
    folder.mkdir(parents=True)
    for number in range(layout.MOST + 5):
        (folder / f"{number}.json").write_text("{")
    page.runs(experiments.cases("complexity", "smoke"))
    said = layout.set_aside(page)
    assert f"{layout.MOST + 5} stored results." in said
    assert said.count("\n- ") == layout.MOST + 1
    assert said.endswith("`python -m mixnam status --results DIRECTORY` lists the others")
