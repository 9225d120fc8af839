"""Another process, in another environment, for what must be the same there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mixnam

#: Runs code, a line of JSON at a time, and prints what it left in `answer`.
SERVER = """
import json, sys, mixnam
loaded = sorted({"torch", "pandas", "sklearn", "numpy"} & set(sys.modules))
assert all(getattr(mixnam, name) is not None for name in mixnam.__all__)
loaded += sorted({"matplotlib", "IPython"} & set(sys.modules))
for line in sys.stdin:
    scope = {"loaded": loaded}
    exec(json.loads(line), scope)
    print(json.dumps(scope["answer"]), flush=True)
"""


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """Return a function from code to what it leaves in `answer`, run in another process: one for all tests.

    It finds there as `loaded` what `import mixnam` had loaded of the large libraries, and all of its names of those
    that draw.
    """
    other = {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": ""}
    other |= {"MIXNAM_DATA": str(tmp_path_factory.mktemp("empty")), "PYTHONPATH": str(Path(mixnam.__file__).parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SERVER], env=os.environ | other, **pipes) as process:

        def run(code):
            process.stdin.write(json.dumps(code) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, "the other process ended; its own message stands above"
            return json.loads(answer)

        yield run
        process.stdin.close()
