"""Shards of a sweep: whose points are whose, each with a store of its own, joined to one run's."""

import csv
import errno
import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import Store, lock, merge_shards, plan_sweep, read_results, run_sweep
from bitlathe.reports.explore.shards import Shard
from naive.sweep_model import PlainEvaluator

PLAIN = PlainEvaluator()
SWEEP = """\
arch: chip
models: [net]
phases: [prefill, decode]
batches: [1, 2]
axes: {array.rows: [1, 2, 4, 8], array.columns: [1, 2, 4]}
"""


@pytest.fixture
def sweep(tmp_path):
    """Write a sweep file; return its path."""

    def write(extra="", name="sweep.yaml"):
        path = tmp_path / name
        path.write_text(SWEEP + extra)
        return path

    return write


def run(path, out, shard=None, evaluator=PLAIN, **more):
    return run_sweep(path, out, jobs=1, evaluator=evaluator, shard=shard, **more)


def in_shards(path, folder, of, evaluator=PLAIN):
    """Run a sweep in shards, each in a folder of its own; return the folders."""
    folders = [folder / f"shard-{i}" for i in range(1, of + 1)]
    for i, out in enumerate(folders, 1):
        run(path, out, f"{i}/{of}", evaluator)
    return folders


def tables(out):
    return {p.name: p.read_bytes() for p in out.iterdir() if p.suffix in {".csv", ".parquet"}}


@pytest.mark.parametrize("of", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("total", [0, 1, 4, 47, 1000])
def test_shards_are_a_partition_into_even_shares(of, total):
    shards = [Shard(i, of) for i in range(1, of + 1)]
    owners = [[s.index for s in shards if s.has(position)] for position in range(total)]
    assert all(len(owner) == 1 for owner in owners)
    counts = [owners.count([s.index]) for s in shards]
    assert counts == [s.count(total) for s in shards]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("step", [2, 3, 4, 8])
def test_a_shard_has_its_share_of_every_value_of_a_list(step):
    """As many shards as a list has values: none gets one value only, as every Nth point would."""
    for index in range(1, step + 1):
        mine = [p for p in range(1000 * step) if Shard(index, step).has(p)]
        values = [p % step for p in mine]
        assert all(800 <= values.count(value) * step <= 1200 for value in range(step))


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "1/2/3", "-1/4", "1/100001", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(BitlatheError, match="write I/N, shard I of N"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("of", "extra"),
    [
        (1, "constraints: [array.rows != 8, area_um2 <= 12, 8 % (array.columns - 2) == 0]\n"),
        (20, "constraints: [array.rows != 8, area_um2 <= 12, 8 % (array.columns - 2) == 0]\n"),
        (3, "sampling: {random: {samples: 17, seed: 5}}\nconstraints: [array.rows > 1]\n"),
    ],
)
def test_the_tables_of_joined_shards_are_those_of_one_run(sweep, tmp_path, of, extra):
    """Rows, failures of three kinds, points ruled out before and after they run."""
    path, evaluator = sweep(extra), PlainEvaluator(fail_rows=2)
    whole = run(path, tmp_path / "whole", evaluator=evaluator)
    folders = in_shards(path, tmp_path, of, evaluator)
    joined = tmp_path / "joined"
    done = merge_shards(folders[::-1], joined)
    assert tables(joined) == tables(tmp_path / "whole")
    assert {"results.csv", "failures.csv"} <= tables(joined).keys()
    assert (done.points, done.rows, done.failures) == (whole.points, whole.rows, whole.failures)
    assert done.reasons == whole.reasons
    assert sum(1 for out in folders for _ in read_results(out)) == whole.rows
    made = json.loads((joined / "provenance.json").read_text())
    told = made["tables"] | {"revision": 0}
    alone = json.loads((tmp_path / "whole" / "provenance.json").read_text())["tables"]
    assert told == alone | {"revision": 0}
    assert [each["shard"] for each in made["sweep"]["shards"]] == [
        f"{i}/{of}" for i in range(of, 0, -1)
    ]
    # it is a sweep's folder like any other: nothing is left to run, and more can be added
    again = run(path, joined, evaluator=evaluator)
    assert (again.evaluated, tables(joined)) == (0, tables(tmp_path / "whole"))


@pytest.mark.parametrize(
    "extra",
    ["constraints: [array.columns <= 3]\n", "sampling: {random: {samples: 17, seed: 5}}\n"],
)
def test_shards_are_planned_as_they_run(sweep, tmp_path, extra):
    path = sweep(extra)
    plans = [plan_sweep(path, PLAIN, shard=f"{i}/3") for i in (1, 2, 3)]
    folders = in_shards(path, tmp_path, 3)
    assert [plan.points for plan in plans] == [len(list(read_results(f))) for f in folders]
    for plan, folder in zip(plans, folders, strict=True):
        names = plan.first[0]
        rows = [tuple(row[k] for k in names) for row in read_results(folder)]
        first = [tuple(row.values()) for row in plan.first]
        assert set(first) <= set(rows)
        assert first == rows[:5] or "random" in extra  # which are planned as they are drawn


def test_points_that_crashed_are_tried_again_where_they_were_joined(sweep, tmp_path):
    path = sweep()
    folders = in_shards(path, tmp_path, 2, PlainEvaluator(crash_rows=4))
    assert merge_shards(folders, tmp_path / "all").crashed == 12
    # a shard that was run anew without the fault wins over its crashed twin
    run(path, tmp_path / "again", "1/2")
    said = []
    (tmp_path / "all" / "report.html").touch()
    merged = [folders[0], tmp_path / "again", folders[1]]
    done = merge_shards(merged, tmp_path / "all", say=said.append)
    assert "report.html and its pictures are from before these results" in said[0]
    assert merge_shards(merged, tmp_path / "all", say=said.append) == done
    assert len(said) == 1  # nothing new
    assert done.crashed == 12 - sum(r["array.rows"] == 4 for r in read_results(tmp_path / "again"))
    healed = run(path, tmp_path / "all")
    assert (healed.evaluated, healed.failures) == (done.crashed, 0)
    run(path, tmp_path / "whole")
    assert tables(tmp_path / "all") == tables(tmp_path / "whole")


def test_what_cannot_be_joined_is_refused_and_nothing_is_written(sweep, tmp_path):
    path, joined = sweep(), tmp_path / "joined"
    one, two, three = in_shards(path, tmp_path, 3)
    run(path, tmp_path / "whole")
    run(path, tmp_path / "half", "1/2")
    run(sweep("fidelity: cycle\n", "other.yaml"), tmp_path / "other", "1/3")
    run(path, tmp_path / "newer", "1/3", PlainEvaluator(version="plain-2"))

    def stop(done, total):
        raise KeyboardInterrupt

    for cut in ("1/3", "2/3"):
        with pytest.raises(KeyboardInterrupt):
            run(path, tmp_path / f"cut{cut[0]}", cut, progress=stop)
    for folders, words in [
        ([], "no shards to join"),
        ([one, three], "1 of 3 shards is missing: 2; name the folders"),
        ([three], "2 of 3 shards are missing: 1, 2;"),
        ([one, two, tmp_path / "none"], "none holds no sweep"),
        ([one, two, three, tmp_path / "whole"], "whole: it holds no shard of a sweep"),
        ([one, tmp_path / "half"], "half: it holds shard 1/2, .* holds shard 1/3"),
        ([one, tmp_path / "other", two], "other: it holds a shard of another sweep, or of another"),
        ([tmp_path / "newer", two, three], "shard-2: it holds a shard of another sweep, or of"),
        ([one, tmp_path / "cut2", three], "cut2: shard 2/3 is not finished; run the same command"),
        (
            [tmp_path / "cut1", tmp_path / "cut2", three],
            "cut1, .*cut2: shards 1/3, 2/3 are not finished; run the same command there again",
        ),
        ([one, two, three, one / "../joined"], "joined: it holds a shard; join into another"),
    ]:
        with pytest.raises(BitlatheError, match=words):
            merge_shards(folders, joined)
        assert not joined.exists()
    # a store that says something else of a point that another one holds, too
    shutil.copytree(two, tmp_path / "forged")
    with Store(tmp_path / "forged") as store:
        (entry, outcome), *_ = store.rows()
        store.add([entry], [type(outcome).of(outcome.result | {"cost": 1.5})])
        store._db.execute("UPDATE meta SET value = value WHERE name = 'revision'")
    rows = f"array.rows {dict(entry.columns)['array.rows']}"
    with pytest.raises(BitlatheError, match=rf"forged: this point has another result.*{rows}"):
        merge_shards([one, two, tmp_path / "forged", three], joined)
    assert not joined.exists()
    joined.mkdir()  # one that was there stays
    with pytest.raises(BitlatheError, match="forged: this point has another result"):
        merge_shards([one, two, tmp_path / "forged", three], joined)
    assert list(joined.iterdir()) == []
    # nor is a store touched that is there already
    merge_shards([one, two, three], joined)
    before = tables(joined)
    with pytest.raises(BitlatheError, match="another result than in a folder before it, or in"):
        merge_shards([one, tmp_path / "forged", three], joined)
    assert tables(joined) == before
    assert run(path, joined).reused == 48


def test_a_folder_holds_one_shard(sweep, tmp_path):
    path, out = sweep(), tmp_path / "out"
    run(path, out, "1/2")
    with pytest.raises(BitlatheError, match=r"holds shard 1/2 of this sweep; give shard 2/2 a"):
        run(path, out, "2/2")
    assert run(path, out, "1/2").reused == 24
    done = run(path, out)  # all of it goes on from the shard
    assert (done.reused, done.rows) == (24, 48)
    with pytest.raises(BitlatheError, match="holds all points of this sweep"):
        run(path, out, "1/2")
    # another sweep's shard begins anew, and says what it keeps aside
    said = []
    run(sweep("constraints: [array.rows > 1]\n"), out, "2/2", say=said.append)
    assert "results.old.csv" in said[0]


def test_a_guided_search_has_no_shards(sweep, tmp_path):
    path = sweep("sampling: {nsga2: {budget: 8, seed: 1, objectives: [cost]}}\n")
    with pytest.raises(BitlatheError, match=r"sweep\.yaml:6:1: nsga2 chooses points by the"):
        run(path, tmp_path / "out", "1/2")
    assert not (tmp_path / "out").exists()


def test_shards_are_written_where_nobody_shares_memory_or_locks(sweep, tmp_path, monkeypatch):
    """No log that readers on other machines cannot see; no locks where there are none."""
    path = sweep()
    one, two = in_shards(path, tmp_path, 2)
    with sqlite3.connect(one / "sweep.sqlite") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    again = tmp_path / "again"
    run(path, again, "2/2")
    assert tables(again) == tables(two)
    assert merge_shards([one, again], tmp_path / "all").rows == 48
    # a log may be that of a live program, which to undo would damage what it writes
    (one / "sweep.sqlite-journal").write_bytes(b"log")
    with pytest.raises(BitlatheError, match="is writing into it, or was killed while it did"):
        list(read_results(one))
    assert (one / "sweep.sqlite-journal").exists()
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(5, "bad")))
    with pytest.raises(BitlatheError, match="cannot make this output folder: bad"):
        run(path, tmp_path / "bad", "2/2")


def test_what_a_killed_shard_left_half_done_is_undone_by_readers(sweep, tmp_path, monkeypatch):
    run(sweep(), tmp_path / "out", "1/2")
    dead = tmp_path / "dead"
    dead.mkdir()
    with sqlite3.connect(tmp_path / "out" / "sweep.sqlite", isolation_level=None) as db:
        db.execute("PRAGMA cache_size=1")  # written to the file before it is committed
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE results SET result = zeroblob(90000)")
        for name in ("sweep.sqlite", "sweep.sqlite-journal"):
            shutil.copy(tmp_path / "out" / name, dead / name)
        db.execute("ROLLBACK")
    plain = sqlite3.connect(f"file:{dead / 'sweep.sqlite'}?mode=ro", uri=True)
    with closing(plain), pytest.raises(sqlite3.OperationalError, match="readonly"):
        plain.execute("SELECT count(*) FROM results")
    with monkeypatch.context() as patch:  # a folder of others: it is not read as if it were whole
        patch.setattr("bitlathe.reports.explore.store.os.access", lambda *_: False)
        with pytest.raises(BitlatheError, match="it cannot be written"):
            list(read_results(dead))
    assert list(read_results(dead)) == list(read_results(tmp_path / "out"))


def test_the_command_lines(sweep, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "arch: bitmod\nmodels: opt-125m\nphases: decode\nmapper: whole-buffer\n"
        "axes: {array.rows: [16, 32]}\n"
    )

    def call(*arguments):
        return CliRunner().invoke(main, [str(a) for a in arguments])

    for i in (1, 2):
        out = tmp_path / str(i)
        done = call("sweep", path, "--out", out, "--jobs", 1, "--shard", f"{i}/2")
        assert (done.exit_code, done.stdout.splitlines()[0][:8]) == (0, "1 point:")
    done = call("sweep", "merge", tmp_path / "1", tmp_path / "2", "--out", tmp_path / "m", "--json")
    assert done.exit_code == 0
    assert {"rows": 2, "shards": 2}.items() <= json.loads(done.stdout).items()
    with (tmp_path / "m" / "results.csv").open(newline="") as file:
        assert [row["array.rows"] for row in csv.DictReader(file)] == ["16", "32"]
    done = call("sweep", "merge", tmp_path / "1", "--out", tmp_path / "n")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "Error: 1 of 2 shards is missing: 2; name the folders of all of them.\n"
    assert call("sweep", "merge", "--out", "n").exit_code == 2
    # a shard of impossible points only is run to its end, and a scheduler goes on; all have none
    path.write_text(path.read_text() + "constraints: [1 / (array.rows * 0) > 0]\n")
    for i in (1, 2):
        done = call("sweep", path, "--out", tmp_path / f"no{i}", "--jobs", 1, "--shard", f"{i}/2")
        assert (done.exit_code, "1 point: " in done.stderr) == (0, True)
    done = call("sweep", "merge", tmp_path / "no1", tmp_path / "no2", "--out", tmp_path / "no")
    assert (done.exit_code, done.stderr.splitlines()[-1][:27]) == (1, "Error: no point has results")
    done = call("sweep", path, "--dry-run", "--shard", "3/2")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: shard: '3/2'; write I/N, shard I of N, with I from 1 to")
