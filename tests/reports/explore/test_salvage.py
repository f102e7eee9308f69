"""Sound rows of a damaged store are kept, the others run again: the tables are the same."""

import shutil
import sqlite3
from contextlib import closing

import pytest

import bitlathe.reports.explore.salvage as module
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import read_results, run_sweep
from bitlathe.reports.explore.salvage import DAMAGED, salvage_store
from bitlathe.reports.explore.store import FILE_NAME, Entry, Outcome, Store
from naive.sweep_model import point

PAGE = 4096
SWEEP = """
arch: bitmod
models: [opt-125m]
phases: [decode]
contexts: [16, 32, 64]
axes: {array.rows: [8, 16, 32, 64]}
fidelity: analytic
"""


def filled(folder, count):
    """Write a store of ``count`` rows of some 100 bytes; return them as they were stored."""
    stored = {}
    with Store(folder) as store:
        for start in range(0, count, 500):
            numbers = range(start, min(count, start + 500))
            entries = [Entry(ordinal=n, key=f"key {n:09d}", point=point(n)) for n in numbers]
            outcomes = [
                Outcome.of({"cycles": n, "text": "x" * (n % 90), "layers": {"roofline": [[n]]}})
                for n in numbers
            ]
            store.add(entries, outcomes)
            stored |= {e.key: (o.text, o.layers) for e, o in zip(entries, outcomes, strict=True)}
    return stored


def found(folder, name=FILE_NAME):
    with closing(sqlite3.connect(folder / name)) as db:
        rows = db.execute("SELECT key, result, layers FROM results")
        return {key: (result, layers) for key, result, layers in rows}


def leaves(path):
    """Return the numbers of the pages that hold results: byte 0 is 13 in SQLite's format."""
    content = path.read_bytes()
    pages = [content[at : at + PAGE] for at in range(0, len(content), PAGE)]
    return [n for n, page in enumerate(pages) if page[0] == 13 and b'"cycles"' in page]


SHARES = {
    "a middle page": (0.5,),
    "the first page": (0.0,),
    "the last page": (1.0,),
    "three middle pages": (0.2, 0.5, 0.8),
    "a middle page and the last page": (0.5, 1.0),
    "the first page and the last page": (0.0, 1.0),
    "every second page": tuple(n / 100 for n in range(0, 101, 4)),
}


@pytest.mark.parametrize("share", SHARES.values(), ids=SHARES.keys())
def test_rows_on_sound_pages_are_kept(tmp_path, share):
    stored = filled(tmp_path, 3000)
    path = tmp_path / FILE_NAME
    pages = leaves(path)
    assert len(pages) > 50
    content, lost = path.read_bytes(), set()
    with path.open("r+b") as file:
        for part in share:
            at = pages[round(part * (len(pages) - 1))] * PAGE
            lost |= {key for key in stored if key.encode() in content[at : at + PAGE]}
            file.seek(at)
            file.write(b"\xa5" * PAGE)
    words = salvage_store(tmp_path)
    kept = found(tmp_path)
    assert words.startswith(f"{len(kept):,} results of the store are sound")
    assert kept == {key: text for key, text in stored.items() if key not in lost}
    assert 0 < len(lost) <= PAGE // 60 * len(share)  # each row takes more than 60 bytes
    with Store(tmp_path) as store:  # a whole store again
        assert store.known(list(stored)) == set(kept)


def test_one_result_is_counted_in_the_singular(tmp_path):
    filled(tmp_path, 1)
    assert salvage_store(tmp_path).startswith("1 result of the store is sound and has been kept;")


def test_a_sound_store_keeps_all(tmp_path):
    stored = filled(tmp_path, 700)
    salvage_store(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {FILE_NAME, DAMAGED, "sweep.lock"}
    assert found(tmp_path) == stored


@pytest.mark.parametrize("damage", ["row", "point", "header", "cut", "bytes"])
def test_a_damaged_sweep_goes_on_to_the_same_tables(tmp_path, damage):
    (tmp_path / "s.yaml").write_text(SWEEP)
    path, out = tmp_path / "s.yaml", tmp_path / "out"
    run_sweep(path, out, jobs=1, progress=False)
    table, rows = (out / "results.csv").read_bytes(), list(read_results(out))
    store, lost = out / FILE_NAME, 12
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        if damage == "row":
            db.execute("UPDATE results SET result = '{\"cycles\":1}' WHERE rowid = 3")
            lost = 1
        elif damage == "bytes":
            db.execute("UPDATE results SET result = CAST(X'7bff' AS TEXT) WHERE rowid = 3")
            lost = 1
        elif damage == "point":
            db.execute("UPDATE points SET point = replace(point, '16', '17') WHERE ordinal = 0")
            lost = 0
        db.commit()
    content = store.read_bytes()
    if damage == "header":
        store.write_bytes(b"\0" * 100 + content[100:])
    elif damage == "cut":
        store.write_bytes(content[: 2 * PAGE])
    with pytest.raises(BitlatheError, match=r"--salvage|damaged"):
        list(read_results(out))
    said = []
    done = run_sweep(path, out, jobs=1, progress=False, salvage=True, say=said.append)
    assert (done.evaluated, done.reused) == (lost, 12 - lost)
    assert f"{12 - lost} results of the store are sound and have been kept" in said[0]
    assert (out / "results.csv").read_bytes() == table
    assert list(read_results(out)) == rows
    assert (out / DAMAGED).is_file()


def test_without_a_store_there_is_nothing_to_salvage(tmp_path):
    with pytest.raises(BitlatheError, match="holds no sweep"):
        salvage_store(tmp_path)


def test_a_store_stays_as_it_was_when_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    filled(tmp_path, 20)
    content = (tmp_path / FILE_NAME).read_bytes()

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(module, "_copy", full)
    with pytest.raises(BitlatheError, match="cannot be salvaged: database or disk is full"):
        salvage_store(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_another_sweeps_folder_is_left_alone(tmp_path):
    filled(tmp_path, 20)
    with Store(tmp_path), pytest.raises(BitlatheError, match="is writing here"):
        salvage_store(tmp_path)


def damage(folder, number):
    with closing(sqlite3.connect(folder / FILE_NAME)) as db, db:
        db.execute("UPDATE results SET result = '{}' WHERE rowid = ?", (number,))


def test_what_was_set_aside_before_stays(tmp_path):
    """Each run takes a free name; a log that stands alone keeps its name, too."""
    stored = filled(tmp_path, 9)
    (tmp_path / f"{DAMAGED}3-wal").write_bytes(b"somebody's")
    for number, name in ((1, DAMAGED), (2, f"{DAMAGED}2"), (3, f"{DAMAGED}4")):
        damage(tmp_path, number)
        before = found(tmp_path)
        assert salvage_store(tmp_path).endswith(f"The old store is {name}.")
        assert found(tmp_path, name) == before
    assert found(tmp_path, DAMAGED) == stored | {
        "key 000000000": ("{}", stored["key 000000000"][1])
    }
    assert (tmp_path / f"{DAMAGED}3-wal").read_bytes() == b"somebody's"


@pytest.mark.parametrize("header", [False, True], ids=["a row", "the header"])
def test_rows_that_stand_in_the_log_alone_are_set_aside_with_it(tmp_path, header):
    """A store as kill -9 leaves it: 50 rows in the file, 30 more committed to its log."""
    live, dead = tmp_path / "live", tmp_path / "dead"
    dead.mkdir()
    filled(live, 50)
    with Store(live) as store:
        entries = [Entry(ordinal=n, key=f"late {n}", point=point(n)) for n in range(50, 80)]
        store.add(entries, [Outcome.of({"cycles": 1})] * 30)
        for side in ("", "-wal"):
            shutil.copy(live / f"{FILE_NAME}{side}", dead / f"{FILE_NAME}{side}")
    log = (dead / f"{FILE_NAME}-wal").read_bytes()
    assert b"late 79" in log
    assert b"late 79" not in (dead / FILE_NAME).read_bytes()
    content = (dead / FILE_NAME).read_bytes()
    if header:
        (dead / FILE_NAME).write_bytes(b"\0" * 100 + content[100:])
    words = salvage_store(dead)
    assert (dead / f"{DAMAGED}-wal").read_bytes() == log
    assert not (dead / f"{FILE_NAME}-wal").exists()
    assert not (dead / f"{FILE_NAME}-shm").exists()
    if not header:
        assert words.startswith("80 results")
    (dead / DAMAGED).write_bytes(content)  # with its header mended, SQLite finds the log beside it
    assert len(found(dead, DAMAGED)) == 80


def test_a_store_of_another_version_is_refused_and_left_as_it_is(tmp_path):
    filled(tmp_path, 20)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db, db:
        db.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
    content = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(BitlatheError) as caught:
        salvage_store(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / FILE_NAME}: written by another version (layout 2, this one reads 4); "
        "use another output folder."
    )
    assert (tmp_path / FILE_NAME).read_bytes() == content
    assert [p.name for p in tmp_path.iterdir() if "salvaged" in p.name or "damaged" in p.name] == []
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db, db:
        db.execute("UPDATE meta SET value = 'three' WHERE name = 'schema'")  # no version: damage
    assert salvage_store(tmp_path).startswith("20 results")
