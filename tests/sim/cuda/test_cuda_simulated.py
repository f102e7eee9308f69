"""Every CUDA twin in numba's simulator: all files in one process, a test here for each file.

In a process of its own, because numba reads the switch when it is imported; in one, because each
would first import all and read the kernels that the twins are compared with.
"""

import os
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import pytest

from cuda_twins import ROOT, SIMULATED

FILES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "tests").rglob("test_*.py")
    if "\n@on_device" in path.read_text()
)
pytestmark = pytest.mark.skipif(SIMULATED, reason="this is the run in the simulator")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """How many tests of each file passed, failed and were skipped, and what was printed."""
    listed = tmp_path_factory.mktemp("simulated") / "outcomes.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += [f"--junitxml={listed}", "-k", "(twin or empty) and not missing_device", *FILES]
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert listed.exists(), run.stdout[-4000:] + run.stderr[-2000:]
    found = {file: Counter() for file in FILES}
    for case in ElementTree.parse(listed).iter("testcase"):
        file = case.get("classname").replace(".", os.sep) + ".py"
        found[file]["passed" if not len(case) else case[0].tag] += 1
    return found, run


@pytest.mark.parametrize("file", FILES)
def test_twins_agree_in_the_simulator(outcomes, file):
    found, run = outcomes
    assert found[file]["passed"] > 0
    assert found[file].total() == found[file]["passed"], run.stdout[-9000:]


def test_nothing_else_goes_wrong_in_the_simulator(outcomes):
    found, run = outcomes
    assert len(found) == len(FILES) > 6
    assert run.returncode == 0, run.stdout[-9000:] + run.stderr[-2000:]
