"""The recipes of docs/clusters.md, with stand-ins for the schedulers of a cluster."""

import importlib.util
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from bitlathe.reports.explore import read_results, run_sweep

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
TASKS = 2  # of the page's eight

# sbatch as the page calls it: jobs run at once, one task after the other, and have numbers
SBATCH = f"""\
#!{sys.executable}
import os, re, subprocess, sys
words, script = sys.argv[1:], None
jobs = sorted(int(name.split(".")[1]) for name in os.listdir() if name.startswith("job."))
number = len(jobs) + 1
tasks, body = [None], None
while words:
    word = words.pop(0)
    if word.startswith("--dependency=afterok:"):
        if open("job." + word.split(":")[1]).read() != "0":
            sys.exit("DependencyNeverSatisfied")
    elif word.startswith("--array="):
        tasks = [int(word[8:])]
    elif word == "--wrap":
        body = words.pop(0)
    elif word != "--parsable":
        body = open(word).read()
        assert body.startswith("#!/bin/bash\\n")
        options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\\S+)$", body, re.M))
        first, last = map(int, options["array"].split("-"))
        tasks = tasks if tasks != [None] else range(first, last + 1)
        os.environ["SLURM_CPUS_PER_TASK"] = "1"
worst = 0
for task in tasks:
    if task is not None:
        os.environ["SLURM_ARRAY_TASK_ID"] = str(task)
    done = subprocess.run(["bash", "-c", body], stdout=sys.stderr)
    worst = max(worst, done.returncode)
open(f"job.{{number}}", "w").write(str(worst))
print(number)
"""


def block(name: str) -> str:
    """Return the page's file of this name, with fewer shards."""
    found = re.search(rf"<!-- file: {re.escape(name)} -->\n```\w+\n(.*?)^```", PAGE, re.S | re.M)
    assert found
    return found[1].replace("1-8", f"1-{TASKS}").replace("SHARDS = 8", f"SHARDS = {TASKS}")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that holds the page's sweep, where one is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(block("sweep.yaml"))
    return tmp_path


def tables(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in out.iterdir() if p.suffix in {".csv", ".parquet"}}


def test_a_slurm_array_gives_the_tables_of_one_run(folder):
    programs = folder / "bin"
    programs.mkdir()
    shell = f'#!/bin/bash\nexec {sys.executable} -m bitlathe "$@"\n'
    for name, text in (("sbatch", SBATCH), ("bitlathe", shell)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / "sweep.slurm").write_text(block("sweep.slurm").replace("SHARDS=8", f"SHARDS={TASKS}"))
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT.parent), *sys.path])

    def shell_lines(text: str) -> None:
        subprocess.run(["bash", "-ec", text], env=environment, check=True, timeout=300)

    shell_lines("\n".join(re.findall(r"^\$ (.*sbatch .*)$", PAGE, re.M)))
    run_sweep("sweep.yaml", "runs/whole", jobs=1)
    assert tables(folder / "runs/all") == tables(folder / "runs/whole")
    assert len(list((folder / "runs/shards").iterdir())) == TASKS
    # one task sent again knows its shard, and runs nothing twice
    again = re.search(r"`(sbatch --array=)3( sweep\.slurm)`", PAGE)
    shell_lines(f"{again[1]}2{again[2]}")
    assert (folder / "job.3").read_text() == "0"
    assert tables(folder / "runs/all") == tables(folder / "runs/whole")


class Executor:
    """submitit's, as the page calls it: a job runs in this process when it is asked for."""

    def __init__(self, folder):
        self.folder = folder

    def update_parameters(self, *, timeout_min, cpus_per_task, name):
        assert min(timeout_min, cpus_per_task, len(name)) > 0

    def map_array(self, function, arguments):
        return [SimpleNamespace(result=partial(function, a)) for a in arguments]


def test_submitit_gives_the_tables_of_one_run(folder, monkeypatch, capsys):
    if importlib.util.find_spec("submitit") is None:
        stand_in = ModuleType("submitit")
        stand_in.AutoExecutor = Executor
        monkeypatch.setitem(sys.modules, "submitit", stand_in)
    code = block("sweep_submitit.py").replace("jobs=4", "jobs=1")
    exec(compile(code, "sweep_submitit.py", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.startswith("12 points of 2 shards: 12 rows, 0 failed")
    run_sweep("sweep.yaml", "runs/whole", jobs=1)
    assert tables(folder / "runs/all") == tables(folder / "runs/whole")
    assert len(list(read_results("runs/all"))) == 12


def test_two_machines_search_one_journal(folder):
    """The page's program, twice at once: each trial is one machine's, and none is lost."""
    optuna = pytest.importorskip("optuna")
    found = re.search(r"^```python\n(import optuna\n.*?)^```", PAGE, re.S | re.M)
    assert found
    program = found[1].replace("TRIALS = 6", "TRIALS = 3")
    machines = [subprocess.Popen([sys.executable, "-c", program], cwd=folder) for _ in range(2)]
    assert [machine.wait(120) for machine in machines] == [0, 0]
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "search.journal"))
    storage = optuna.storages.JournalStorage(backend)
    trials = optuna.load_study(study_name="array", storage=storage).trials
    assert [trial.number for trial in trials] == list(range(6))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert all(len(trial.values) == 2 for trial in trials)
