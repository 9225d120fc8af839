"""Downloads that are checked before they get their name."""

from __future__ import annotations

import http.client
from pathlib import Path

from mixnam.data.table import DataError, DataMissing


def fetch(url: str, path: Path, sha256: str, label: str) -> None:
    """Download `url` to `path`: under a temporary name first, checked against `sha256`, then renamed.

    Raises DataMissing where the download fails, DataError where the content is not what was expected.
    """
    import pooch  # its import warns in notebooks without ipywidgets, and most tables are at hand

    downloader = pooch.HTTPDownloader(timeout=20, headers={"Connection": "close"})
    try:
        pooch.retrieve(url, sha256, fname=path.name, path=path.parent, downloader=downloader)
    except ValueError as error:
        raise DataError(f"{label}: {url} sent other content than expected: {error}; nothing was kept") from error
    except (OSError, http.client.HTTPException) as error:
        raise DataMissing(f"{label}: could not download {url}: {error}") from error
