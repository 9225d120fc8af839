"""Sphinx extension of the book: plotly's script, result files, downloads and the foot go into the built pages.

Nothing is fetched: the script comes from the installed plotly package, so no copy of it lies in the project.
"""

from __future__ import annotations

import filecmp
import importlib.util
import re
import shutil
from html import escape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

from mixnam import __version__
from mixnam.runs.files import root

#: Folders of the book's source that hold files to copy, not pages.
FOLDERS = ("results", "downloads")
_CITATION = "citation.txt"


def plotly_script() -> Path:
    """Return plotly's browser script in the installed package; ExtensionError where there is none."""
    found = importlib.util.find_spec("plotly")
    for folder in (found.submodule_search_locations or ()) if found else ():
        script = Path(folder) / "package_data" / "plotly.min.js"
        if script.exists():
            return script
    raise ExtensionError("plotly.min.js is missing, which the book's sliders need; remedy: pip install plotly")


def published_files(source: Path) -> list[Path]:
    """Return the files to publish, relative to the book's source.

    These are results' JSON (their arrays stay behind), and below `downloads/` every CSV file and all of
    `downloads/evidence/`; hidden files and folders are passed over.
    """
    found = [*source.glob("results/**/*.json"), *source.glob("downloads/**/*.csv")]
    found += source.glob("downloads/evidence/**/*")
    relative = {path.relative_to(source) for path in found if path.is_file()}
    return sorted(path for path in relative if not any(part.startswith(".") for part in path.parts))


def _copy(source: Path, target: Path) -> None:
    if not (target.exists() and filecmp.cmp(source, target, shallow=False)):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _exclude(app: Sphinx, config: Config) -> None:
    """Keep Sphinx from taking what lies in the copied folders for pages."""
    config.exclude_patterns = [*config.exclude_patterns, *(f"{folder}/**" for folder in FOLDERS)]


def foot(source: Path) -> str:
    """Return what stands at the foot of every page: version, date of the book's newest result, licence, citation."""
    found = (re.search(r'"created": "(\d{4}-\d\d-\d\d)', path.read_text()) for path in source.glob("results/**/*.json"))
    newest = max((date[1] for date in found if date), default="none yet")
    licence = re.findall(r"^license: (.+)$", (root() / "CITATION.cff").read_text(), re.MULTILINE)[0]
    return f"mixnam {__version__} · newest result: {newest} · {licence} licence · <a href='{_CITATION}'>How to cite</a>"


def _set_foot(app: Sphinx, config: Config) -> None:
    if config.html_theme == "sphinx_book_theme":  # others have no such place
        config.html_theme_options = {**config.html_theme_options, "extra_footer": foot(Path(app.srcdir))}


def _escape_title(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Escape the title that the theme prints at the head of a page on paper: it takes it for HTML."""
    context["pagetitle"] = escape(context.get("pagetitle", ""))


def _shorten(app: Sphinx, what: str, name: str, found: Any, options: Any, signature: str, returned: str) -> Any:
    """Return a documented signature with arrays by their short name and defaults that Sphinx can read."""
    place = r"(?:~?\w+\.)*"
    array = rf"{place}ndarray\[tuple\[[^]]*\], {place}dtype\[{place}(\w+)\]\]"
    return tuple(
        text and re.sub(array, r"NDArray[\1]", text).replace("<factory>", "...") for text in (signature, returned)
    )


def _publish(app: Sphinx, exception: Exception | None) -> None:
    """Copy what pages load and link to, and remove what an earlier build copied and is gone since."""
    if exception is not None or app.builder.format != "html":
        return
    source, html = Path(app.srcdir), Path(app.outdir)
    files = published_files(source)
    for old in published_files(html):
        if old not in files:
            (html / old).unlink()
    for path in files:
        _copy(source / path, html / path)
    _copy(root() / "CITATION.cff", html / _CITATION)
    _copy(plotly_script(), html / "_static" / "plotly.min.js")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", _exclude)
    app.connect("config-inited", _set_foot)
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", _shorten)
    app.connect("html-page-context", _escape_title, priority=900)  # after the theme's
    app.connect("build-finished", _publish)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
