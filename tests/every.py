"""One test for many cases: what the case was stands with its failure."""

import functools
import inspect

import pytest


def every(names, cases):
    """Call a test for each case, as `pytest.mark.parametrize` would, but within one test.

    Each call has a `monkeypatch` and a `tmp_path` of its own.
    """
    names, cases = [name.strip() for name in names.split(",")], list(cases)

    def decorate(test):
        signature = inspect.signature(test)

        @functools.wraps(test)
        def looped(**fixtures):
            for i, case in enumerate(cases):
                given = dict(zip(names, case if len(names) > 1 else [case], strict=True))
                own = dict(fixtures)
                if "tmp_path" in own:
                    own["tmp_path"] = own["tmp_path"] / f"case {i}"
                    own["tmp_path"].mkdir()
                with pytest.MonkeyPatch.context() as patch:
                    if "monkeypatch" in own:
                        own["monkeypatch"] = patch
                    try:
                        test(**given, **own)
                    except (Exception, pytest.fail.Exception) as error:
                        error.add_note(f"in the case {given}")
                        raise

        left = [parameter for name, parameter in signature.parameters.items() if name not in names]
        looped.__signature__ = signature.replace(parameters=left)
        return looped

    return decorate
