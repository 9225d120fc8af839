import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from sphinx.errors import ExtensionError

from mixnam.data import catalogue
from mixnam.models import MixNAMSettings
from mixnam.report import sphinx_ext
from mixnam.report.slider import ROWS, penalty_slider
from mixnam.report.slider import slider as make_slider
from mixnam.runs.results import Result
from mixnam.runs.spec import RunSpec

ASSETS = Path(__file__).resolve().parents[2] / "book" / "assets"
NAMES = ("width <b>a</b> $x$", "depth", "height")
CELLS = ["0.44 ± 0.01", "–", "3 min", "12 s", "−3", "1,024", "2e-3", "not run"]  # of the table sorted below


def planted(penalty, features=3, points=100, rows=400, bins=50, seed=0):
    """A result with made-up arrays: those of the data are the same at each λ, bounds close as λ grows."""
    data, model = np.random.default_rng(seed), np.random.default_rng(int(penalty * 10) + 1)
    grid = np.sort(data.normal(0, [[10.0**i] for i in range(features)], (features, points)), axis=1)
    grid[0, -3:] = np.nan  # as the grid of a feature with few values
    mean = model.normal(0, 1, (features, points))
    half = 3 / (1 + penalty)
    arrays = {
        "grid": grid,
        "grid_mean": mean,
        "grid_upper": mean + half,
        "grid_lower": mean - half,
        "density": data.integers(0, 1000, (features, bins)),
        "density_range": np.array([[-2.0 * 10**i, 2.0 * 10**i] for i in range(features)]),
        "sample_x": data.normal(0, [10.0**i for i in range(features)], (rows, features)),
        "sample_contributions": model.normal(0, 1, (rows, features)),
        "contribution_mean": model.normal(0, 5, features),
    }
    arrays = {k: v.astype(np.int32 if k == "density" else np.float32) for k, v in arrays.items()}
    spec = RunSpec("diabetes", MixNAMSettings(variation_penalty=float(penalty)), "holdout", 0)
    return Result(spec, {}, {}, {}, {}, {}, key="planted", fresh=(arrays, {}))


RESULTS = {p: planted(p) for p in (10, 0, 0.1)}


@pytest.fixture(scope="module")
def slider():
    return make_slider(RESULTS, NAMES, "dollars", readings={0.1: "test RMSE <1>\nn = 2", 10: "n = 3"})


def decoded(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])


def test_the_page_holds_the_results_centred_curves(slider):
    data = decoded(slider.html)
    assert data["penalties"] == [0, 0.1, 10]
    assert [f["name"] for f in data["features"]] == list(NAMES)
    assert data["unit"] == "dollars"
    for i, feature in enumerate(data["features"]):
        low, high = feature["range"]
        assert (low, high) == (-2.0 * 10**i, 2.0 * 10**i)
        density = RESULTS[0].arrays["density"][i]
        np.testing.assert_allclose(feature["density"], density / density.max(), atol=0.006)
        for penalty, at in zip(data["penalties"], feature["at"], strict=True):
            arrays = RESULTS[penalty].arrays
            grid = arrays["grid"][i]
            shown = (grid >= low) & (grid <= high)
            np.testing.assert_allclose(feature["x"], grid[shown], atol=(high - low) * 1e-4)
            for curve in ("upper", "lower", "mean"):
                expected = arrays[f"grid_{curve}"][i][shown] - arrays["contribution_mean"][i]
                np.testing.assert_allclose(at[curve], expected, atol=(feature["y"][1] - feature["y"][0]) * 1e-3)
                assert feature["y"][0] < min(at[curve]) and max(at[curve]) < feature["y"][1]


def test_rows_are_thinned_stay_pairs_and_are_the_same_over_penalties(slider):
    for i, feature in enumerate(decoded(slider.html)["features"]):
        assert len(feature["rows"]) == ROWS
        for penalty, at in zip((0, 0.1, 10), feature["at"], strict=True):
            arrays = RESULTS[penalty].arrays
            near = [int(np.abs(arrays["sample_x"][:, i] - x).argmin()) for x in feature["rows"][:20]]
            expected = arrays["sample_contributions"][near, i] - arrays["contribution_mean"][i]
            close = np.abs(np.array(at["rows"][:20]) - expected) < 0.02
            assert close.sum() >= 17  # two rows may lie closer together than x is rounded


def test_features_are_shown_in_the_order_asked_for():
    data = decoded(make_slider(RESULTS, NAMES, "", [2, 0]).html)
    assert [f["name"] for f in data["features"]] == ["height", NAMES[0]]
    assert data["features"][0]["range"] == [-200, 200]


def test_the_same_results_give_the_same_bytes_and_others_another_id(slider):
    first, again = (make_slider({p: planted(p) for p in (0, 0.1, 10)}, NAMES, "dollars") for _ in range(2))
    assert again.html == first.html
    other = make_slider({p: RESULTS[p] for p in (0, 10)}, NAMES, "dollars")
    ids = [re.search(r'id="(penalty-slider-[0-9a-f]{8})"', s.html)[1] for s in (slider, other)]
    assert ids[0] != ids[1]


def test_eight_features_and_seven_penalties_stay_small():
    results = {p: planted(p, features=8) for p in (0, 0.01, 0.1, 1, 10, 100, 1000)}
    html = make_slider(results, [f"feature {i}" for i in range(8)], "100,000 dollars").html
    assert len(html.encode()) < 700_000


def test_a_notebook_gets_html_and_a_line_of_text(slider):
    bundle, _ = DisplayFormatter().format(slider)
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/html"] == slider.html
    assert (
        bundle["text/plain"]
        == "Interactive shape plot over λ: 3 features, 3 values of λ; it is drawn in the built book."
    )
    assert '<p class="slider-note">Interactive plot' in slider.html  # what is seen where no script runs
    assert "http" not in slider.html


def test_names_cannot_end_the_elements_that_hold_them(slider):
    assert "<b>" not in slider.html
    html = make_slider(RESULTS, ("</script>", "a", "b"), "").html
    assert html.count("</script>") == 1
    assert decoded(html)["features"][0]["name"] == "</script>"


def test_names_and_unit_are_those_of_the_data():
    origin = {"data_sha256": catalogue.checksum("diabetes")}
    results = {p: dataclasses.replace(r, provenance=origin) for p, r in {0: planted(0, features=10)}.items()}
    data = decoded(penalty_slider(results, features=[2, 0]).html)
    features = catalogue.load("diabetes").features
    assert [f["name"] for f in data["features"]] == [features[2], features[0]] and data["unit"] == "points"
    unknown = {
        p: dataclasses.replace(r, provenance={"data_sha256": "of data that nobody has"}) for p, r in results.items()
    }
    data = decoded(penalty_slider(unknown, features=[2]).html)
    assert [f["name"] for f in data["features"]] == ["feature 2"] and data["unit"] == ""


def test_housing_opens_on_longitude_at_the_papers_default():
    origin = {"data_sha256": catalogue.checksum("housing")}
    spec = RunSpec("housing", MixNAMSettings(), "holdout", 0)
    results = {p: dataclasses.replace(planted(p, features=8), provenance=origin, spec=spec) for p in (0, 0.1, 1, 100)}
    html = penalty_slider(results, {0.1: "test RMSE 0.45"}).html
    data = decoded(html)
    assert data["features"][0]["name"] == "longitude (degrees)"
    assert len(data["features"]) == 8 and data["features"][1]["name"] == "median income (10,000 dollars)"
    (start,) = re.findall(r'<input type="range"[^>]* value="(\d)"', html)
    assert data["penalties"][int(start)] == 0.1
    assert data["readings"] == ["", "test RMSE 0.45", "", ""]


def test_curves_without_bounds_and_a_flat_feature_can_be_drawn():
    result = planted(0)
    for curve in ("upper", "lower"):
        del result.arrays[f"grid_{curve}"]
    result.arrays["grid_mean"][1] = result.arrays["sample_contributions"][:, 1] = 0
    at = decoded(make_slider({0: result}, NAMES, "").html)["features"][1]["at"][0]
    assert set(at) == {"mean", "rows"}


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="results is empty"):
        make_slider({}, NAMES, "")
    with pytest.raises(ValueError, match="names must hold 3 features, got 1"):
        make_slider(RESULTS, ["a"], "")
    with pytest.raises(ValueError, match="must share one split: grid at λ = 1 differs from 0"):
        make_slider({0: planted(0), 1: planted(1, seed=5)}, NAMES, "")


PUBLISHED = ("results/a/MixNAM/k.json", "downloads/table.csv", "downloads/evidence/log.txt", "downloads/evidence/n.md")
LEFT = ("results/a/MixNAM/k.safetensors", "results/.unfinished/x.json", "results/notes.md", "downloads/other.txt")
CONF = f"""
extensions = ["mixnam.report.sphinx_ext"]
html_static_path = [{str(ASSETS)!r}]
html_css_files = ["mixnam.css"]
html_js_files = ["tables.js", "slider.js"]
"""
# moves the slider, sorts and filters, and leaves in the page what came of it
SCRIPT = """
<script>
window.addEventListener("load", () => {
  const told = (name, value) => { document.body.dataset[name] = JSON.stringify(value); };
  const shown = () => [...document.querySelectorAll("tbody tr")].filter((row) => !row.hidden);
  const cells = () => shown().map((row) => row.cells[1].textContent);
  const header = document.querySelectorAll("th button")[1];
  for (const name of ["ascending", "descending", "restored"]) {
    header.click();
    told(name, [header.parentNode.getAttribute("aria-sort"), cells()]);
  }
  const filter = document.querySelector("input[type=search]");
  filter.value = "3  MI";
  filter.dispatchEvent(new Event("input"));
  told("filtered", cells());
  const plot = document.querySelector(".slider-plot");
  const drawn = () => ({
    names: plot.data.map((t) => t.name), x: plot.data[0].x.length, upper: plot.data[1].y,
    range: plot.layout.yaxis.range,
    title: ["x", "y"].map((axis) => plot.querySelector(`.${axis}title`)?.textContent),
    output: document.querySelector("output").value,
    reading: document.querySelector(".slider-readings").textContent,
  });
  const wait = setInterval(() => {
    if (!plot.data) return;
    clearInterval(wait);
    told("first", drawn());
    const move = (what, value, event) => {
      const element = document.querySelector(what);
      element.value = value;
      element.dispatchEvent(new Event(event));
    };
    move(".slider-feature", 1, "change");
    move(".slider-penalty input", 2, "input");
    told("moved", drawn());
  }, 50);
});
</script>
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, slider):
    """A small Sphinx project with a slider, a table and files to publish, built with warnings as errors."""
    source = tmp_path_factory.mktemp("site") / "source"
    for name in (*PUBLISHED, *LEFT):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"{name}\n")
    rows = "".join(f"<tr><td>T{i} {cell[0]}</td><td>{cell}</td></tr>" for i, cell in enumerate(CELLS))
    table = "<div class='results-table'><table class='sortable' data-filter='Filter claims'><thead><tr><th>claim</th>"
    table += f"<th>ours</th></tr></thead><tbody>{rows}</tbody></table></div>"
    (source / "part.html").write_text(slider.html + table + SCRIPT)
    (source / "index.rst").write_text("Page\n====\n\n.. raw:: html\n   :file: part.html\n")
    (source / "conf.py").write_text(CONF)
    html = source.parent / "html"
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "-n", "-j", "2"]
    done = subprocess.run([*command, str(source), str(html)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return source, html


def below(html):
    return {p.relative_to(html).as_posix() for f in sphinx_ext.FOLDERS for p in (html / f).rglob("*") if p.is_file()}


def test_the_build_copies_what_pages_load_and_link_to_and_nothing_else(site):
    source, html = site
    assert below(html) == set(PUBLISHED)
    assert all((html / name).read_text() == (source / name).read_text() for name in PUBLISHED)
    assert (html / "_static" / "plotly.min.js").read_bytes() == sphinx_ext.plotly_script().read_bytes()
    assert len(list(html.rglob("plotly*.js"))) == 1
    assert not (html / "results" / "notes.html").exists()


def test_a_later_build_takes_away_what_is_gone_and_leaves_the_rest(site, tmp_path):
    source, html = (shutil.copytree(folder, tmp_path / folder.name) for folder in site)
    (source / PUBLISHED[0]).unlink()
    (html / "results" / "other.txt").write_text("not ours")
    script = html / "_static" / "plotly.min.js"
    os.utime(script, (1, 1))
    app = SimpleNamespace(srcdir=source, outdir=html, builder=SimpleNamespace(format="html"))
    sphinx_ext._publish(app, None)
    assert below(html) == {*PUBLISHED[1:], "results/other.txt"}
    assert script.stat().st_mtime == 1  # the same script is not copied again


@pytest.mark.parametrize(("form", "error"), [("html", ValueError("a page is broken")), ("latex", None)])
def test_nothing_is_copied_after_a_failure_or_into_another_format(site, tmp_path, form, error):
    app = SimpleNamespace(srcdir=site[0], outdir=tmp_path / "out", builder=SimpleNamespace(format=form))
    sphinx_ext._publish(app, error)
    assert not (tmp_path / "out").exists()


def test_a_missing_plotly_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(sphinx_ext.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtensionError, match="pip install plotly"):
        sphinx_ext.plotly_script()


def told(dom, name):
    return json.loads(unescape(re.search(rf'data-{name}="([^"]*)"', dom)[1]))


def test_a_browser_draws_the_slider_and_sorts_the_table(site, slider, opened):
    dom = opened(site[1] / "index.html")
    assert 'class="main-svg"' in dom
    assert '<p class="slider-note" hidden' in dom
    data = decoded(slider.html)
    for state, feature, step, reading in (("first", 0, 1, "test RMSE <1>\nn = 2"), ("moved", 1, 2, "n = 3")):
        expected, drawn = data["features"][feature], told(dom, state)
        assert drawn["names"] == ["rows", "experts' bounds: upper", "mean", "experts' bounds: lower"]
        assert drawn["x"] == len(expected["rows"])
        assert drawn["upper"] == expected["at"][step]["upper"]
        assert drawn["range"] == expected["y"]
        assert drawn["title"][1] == "contribution (dollars)"
        assert drawn["output"] == ("0", "0.1", "10")[step]
        assert drawn["reading"] == reading
    titles = [told(dom, state)["title"][0] for state in ("first", "moved")]
    assert titles == [NAMES[0], "depth"]
    assert 'aria-label="Contribution of depth at λ = 10; its bounds are 0.55 apart at most"' in dom
    order = ["−3", "2e-3", "0.44 ± 0.01", "12 s", "3 min", "1,024"]
    lacking = ["–", "not run"]
    assert told(dom, "ascending") == ["ascending", order + lacking]
    assert told(dom, "descending") == ["descending", order[::-1] + lacking]
    assert told(dom, "restored") == [None, CELLS]
    assert told(dom, "filtered") == ["3 min"]


def test_a_browser_says_why_nothing_is_drawn_where_plotly_is_missing(site, tmp_path, opened):
    html = shutil.copytree(site[1], tmp_path / "html")
    (html / "_static" / "plotly.min.js").unlink()
    dom = opened(html / "index.html")
    assert re.search(
        r'<p class="slider-note">Interactive plot[^<]*It cannot be drawn here: file:[^<]*it is not there', dom
    )
    assert '<div class="slider-controls" hidden' in dom
