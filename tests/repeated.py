"""What must be the same bytes in every repetition of a run."""

import json


def files(folder):
    """The files of a store by their names in it, less its locks."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path): folder / path for path in paths if path.parts[0] != ".locks"}


def outcomes(folder):
    """The content of a store's files: of records all but times and circumstances."""
    found = {}
    for name, path in files(folder).items():
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            content = {k: v for k, v in content.items() if k not in ("cost", "provenance")}
            content.get("sha256", {}).pop(".json", None)  # which covers all of the record
            found[name] = json.dumps(content)
        else:
            found[name] = path.read_bytes()
    return found
