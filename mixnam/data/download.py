"""What can be wrong with data, and downloads that are checked before they get their name."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import sys
import urllib.request
from pathlib import Path

from mixnam.data.table import DataError, DataMissing


def fetch(url: str, path: Path, sha256: str, label: str) -> None:
    """Download `url` to `path`: to a temporary name first, checked against `sha256`, then renamed.

    Raises DataMissing where the download fails, DataError where the content is not what was expected.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with contextlib.ExitStack() as stack:
            response = stack.enter_context(urllib.request.urlopen(url, timeout=20))
            path.parent.mkdir(parents=True, exist_ok=True)
            out = stack.enter_context(temporary.open("wb"))
            size, done = int(response.headers.get("Content-Length") or 0), 0
            while block := response.read(1 << 18):
                out.write(block)
                digest.update(block)
                done += len(block)
                share = f" of {size / 1e6:.1f} MB ({done / size:.0%})" if size else " MB"
                print(f"\r{label}: {done / 1e6:.1f}{share}", end="", file=sys.stderr)
            print(file=sys.stderr)
            out.flush()
            os.fsync(out.fileno())
        if size and done < size:
            raise OSError(f"the connection broke off after {done} of {size} bytes")
        if digest.hexdigest() != sha256:
            raise DataError(
                f"{label}: {url} sent other content than expected: SHA-256 {digest.hexdigest()} ({done} bytes), "
                f"expected {sha256}; nothing was kept"
            )
        os.replace(temporary, path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DataMissing(f"{label}: could not download {url}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
