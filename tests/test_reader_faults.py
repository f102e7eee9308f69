"""Files and names that once ended in a traceback, a hang, a flood of memory or a wrong number."""

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.base.errors import LINE_MAX, BitlatheError
from bitlathe.datatypes.base.jsonfile import parse_json, place_of
from bitlathe.datatypes.base.yamlfile import parse_yaml
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.tensors.tensor import QuantizedTensor
from bitlathe.datatypes.weights.read import read_tensors
from bitlathe.reports.explore import plan_sweep, read_results, run_sweep
from bitlathe.workloads.lm.checkpoint import find_checkpoint

CHIP = (Path(bl.__file__).parent / "arch/chips/bitmod.yaml").read_text()
SWEEP = "arch: bitmod\nmodels: [opt-1.3b]\nphases: [decode]\ncontexts: [16]\n"
HANG_SECONDS = 300  # of the processor; with kernels to compile some take more than a minute


@pytest.fixture(autouse=True)
def _a_hang_is_ended() -> Iterator[None]:
    """End a test that hangs: a watch, not a measure."""

    def end(*_: object) -> None:
        raise TimeoutError(f"over {HANG_SECONDS} seconds of the processor")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def calls_of(read, *given) -> int:
    """Return how many functions, of Python or compiled, a call calls: the same on any machine."""
    calls = Counter()
    sys.setprofile(lambda frame, event, arg: calls.update([event]))
    try:
        read(*given)
    except BitlatheError:
        pass
    finally:
        sys.setprofile(None)
    return calls["call"] + calls["c_call"]


def load_format(path):
    return quantize(np.ones((2, 16), np.float32), f"{path}@g16")


def sweep(path):
    return plan_sweep(path)


def refused(read, *given):
    """Return what a reader says of an input it refuses, in readable lines."""
    with pytest.raises(BitlatheError) as caught:
        read(*given)
    message = str(caught.value)
    assert all(line.isprintable() and len(line) <= LINE_MAX for line in message.split("\n"))
    return message


TEXTS = {
    "digits, chip": (bl.load_arch, CHIP.replace("rows: 32", "rows: " + "3" * 4301), "4,301 char"),
    "digits, format": (load_format, "values: [0, 1, " + "3" * 9000 + "]", "a number of 9,000 char"),
    "digits, sweep": (sweep, SWEEP + "batches: " + "1" * 5000, "s.yaml:5:10: a number of 5,000"),
    "decimals": (load_format, "values: [0, 0." + "3" * 9000 + "]", "f.yaml:1:13: a number"),
    "brackets, chip": (bl.load_arch, "array: " + "[" * 100_000, "nested more than 100 deep"),
    "brackets, format": (load_format, "values: " + "[" * 20_000, "nested more than 100 deep"),
    "brackets, model": (bl.load_model, "layers: " + "{a: " * 50_000, "nested more than 100 deep"),
    "dashes, sweep": (sweep, SWEEP + "batches:\n" + "- " * 50_000, "nested more than 100 deep"),
    "comment": (bl.load_arch, "# " + "x" * 10_000_000 + "\n" + CHIP, "file is too large"),
    "many values": (sweep, SWEEP + "batches: [" + "1, " * 400_000 + "1]", "more than 300,000"),
    "many problems": (
        bl.load_arch,
        CHIP + "".join(f"key{i}: 1\n" for i in range(9000)),
        "9,000 problems in all",
    ),
    "tags": (bl.load_arch, CHIP + "a: !!python/object:os.system x", "tag 'tag:yaml.org"),
    "tagged list": (sweep, SWEEP + "batches: !!set {1, 2}", "is not allowed"),
    "two documents": (bl.load_arch, CHIP + "---\n" + CHIP, "a second document"),
    "seed": (
        sweep,
        SWEEP + "sampling: {nsga2: {budget: 8, seed: -5, objectives: [seconds]}}",
        "sampling.nsga2.seed: input should be greater than or equal to 0",
    ),
    "large seed": (
        sweep,
        SWEEP + f"sampling: {{nsga2: {{budget: 8, seed: {10**23}, objectives: [seconds]}}}}",
        "should be less than 4294967296",
    ),
    "objectives": (
        sweep,
        SWEEP + "sampling: {nsga2: {budget: 8, seed: 5, objectives: [{a: 1}]}}",
        "s.yaml:5:",
    ),
    "beyond float32": (load_format, "values: [1e308, -1e308]", "largest magnitude is 1e+308"),
    "end of float32": (
        load_format,
        "values: [3.4028235e38, -3.4028235e38, 0]",
        "must be from 2^-20 to 2^20",
    ),
    "device": (sweep, SWEEP.replace("opt-1.3b", "/dev/zero"), "it is a device"),
    "null byte": (sweep, SWEEP.replace("bitmod", '"a\\0b.yaml"'), "a\\x00b.yaml"),
    "a long name": (sweep, SWEEP.replace("bitmod", "x" * 900 + ".yaml"), "File name too long"),
}  # fmt: skip


@pytest.mark.parametrize(("read", "text", "says"), TEXTS.values(), ids=TEXTS)
def test_texts_that_are_refused(tmp_path, read, text, says):
    stem = {load_format: "f", sweep: "s", bl.load_arch: "chip"}.get(read, "model")
    path = tmp_path / f"{stem}.yaml"
    path.write_text(text)
    assert says in refused(read, path)


def test_a_long_title_and_a_long_comment_within_the_limit_are_read():
    document = parse_yaml("title: " + "x" * 2_000_000 + "\n#" + "y" * 2_000_000 + "\na: 1", "f")
    assert len(document.data["title"]) == 2_000_000
    assert document.marks["a",] == (3, 1)


def test_reading_yaml_takes_work_in_proportion_to_its_length():
    """Twice the text, twice the work: a quadratic reader would take four times as much."""

    def calls(count):
        text = "".join(f"k{i}: [{i}, {{a: {i}}}]\n" for i in range(count))
        return calls_of(parse_yaml, text, "f")

    assert calls(2_000) < 2.2 * calls(1_000)


def test_an_error_in_a_long_config_has_its_place(tmp_path):
    """The line was once looked for with the YAML parser: over 20 s for 2 MB."""
    path = tmp_path / "config.json"

    def config(count: int, end: str) -> Path:
        filler = ",\n".join(f'"k{i}": [{{"x": {i}, "y": "[\\"{{"}}]' for i in range(count))
        path.write_text('{"model_type": "llama",\n' + filler + ",\n" + end + "}")
        return path

    assert "config.json:50002:1: 'hidden_size' is 0" in refused(
        bl.load_model, config(50_000, '"hidden_size": 0')
    )
    assert "key 'k7' stands twice" in refused(bl.load_model, config(50_000, '"k7": 0'))
    assert "config.json:50002:5: not valid JSON" in refused(bl.load_model, config(50_000, '"x" 1'))
    calls = [calls_of(bl.load_model, config(n, '"hidden_size": 0')) for n in (500, 1_000, 2_000)]
    assert calls[2] - calls[1] < 2.2 * (calls[1] - calls[0])


@pytest.mark.parametrize(
    ("text", "loc", "place"),
    [
        ('{"a": 1, "b": {"c": [5,\n  {"d": 2}]}}', ("b", "c", 1, "d"), (2, 4)),
        ('{"a": 1, "b": {"c": [5,\n  {"d": 2}]}}', ("b", "c", 0), (1, 22)),
        ('{"a": 1, "b": {"c": [5,\n  {"d": 2}]}}', ("b", "x"), (1, 10)),
        (' {"a\\"}": "}]", "é": 1, "z" : [ ]}', ("z", 4), (1, 25)),
        ("[]", (0,), (1, 1)),
        ('\n{"": {"": 3}}', ("", ""), (2, 7)),
    ],
)
def test_places_in_json(text, loc, place):
    """Counted by hand: the key's first quote in an object, the item's first letter in a list."""
    json.loads(text)
    assert place_of(text, loc) == place


def test_json_that_is_refused():
    for text, says in {
        "[" * 101 + "]" * 101: "nested more than 100 deep",
        "[" * 900_000: "nested more than 100 deep",
        "3" * 1101: "a number of 1,101 characters",
        "1." + "3" * 9999: "a number of 10,001 characters",
        '{"a": 1, "b": {"c": 1, "c": 2}}': "key 'c' stands twice",
        "-Infinity": "-Infinity is not a JSON number",
        b"\xff": "not UTF-8",
    }.items():
        assert says in refused(parse_json, text, "x.json")
    assert parse_json("[" * 100 + "]" * 100, "x.json")


def npy(header, body=bytes(100)):
    raw = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + body


def facts(descr="'<f4'", shape="(1000000, 1000000)"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n"


ARRAYS = {
    "claims 4 TB": (facts(), "takes 4,000,000,000,000 bytes; the file has 100"),
    "elements of 1 GB": (facts("'S1000000000'", "(9,)"), "takes 9,000,000,000 bytes; the file has"),
    "50 digits": (facts(shape="(" + "9" * 50 + ",)"), "it must be up to 64 lengths"),
    "parenthesis": (facts(shape="(4, 25"), "its header does not state"),
    "bracket": (facts(shape="[4, 25"), "its header does not state"),
    "nested": (facts(shape="(" * 500 + ")" * 500), "its header does not state"),
    "minus signs": (facts(shape="(" + "-" * 9000 + "4,)"), "its header does not state"),
    "objects": (facts("'O'", "(2,)"), "arrays of Python objects are refused"),
    "hidden objects": (facts("[('a', '|O')]", "(2,)"), "arrays of Python objects are refused"),
    "no size": (facts("'V0'", "(2,)"), "its elements have no size"),
    "more bytes": (facts(shape="(24,)"), "takes 96 bytes; the file has 100"),
    "a long header": ("{" + " " * 20_000, "a header of 20,001 bytes"),
    "a fraction": (facts(shape="(25.0,)"), "its shape is (25.0,)"),
}


@pytest.mark.parametrize(("header", "says"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_refused(tmp_path, header, says):
    (tmp_path / "a.npy").write_bytes(npy(header))
    assert says in refused(read_tensors, tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy(header))
    assert says in refused(read_tensors, tmp_path / "a.npz")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 5), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["f4", ">f8", "f2", "i8", "?", "u1"])
def test_arrays_are_those_that_numpy_reads(tmp_path, dtype, shape, order):
    made = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    made = np.asarray(made, order=order)
    np.save(tmp_path / "a.npy", made)
    np.savez(tmp_path / "b.npz", a=made)
    np.savez_compressed(tmp_path / "c.npz", a=made)
    for name in ("a.npy", "b.npz", "c.npz"):
        read = read_tensors(tmp_path / name)["a"]
        wanted = np.load(tmp_path / name)
        wanted = wanted if name == "a.npy" else wanted["a"]
        assert (read.dtype, read.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_array_equal(read, wanted)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path):
    """Two gigabytes of zeros in 2 MB."""
    path, block = tmp_path / "bomb.npz", bytes(1 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in "abcd":
            with archive.open(f"{name}.npy", "w") as member:
                member.write(npy(facts("'|u1'", f"({512 << 20},)"), b""))
                for _ in range(512):
                    member.write(block)
    assert path.stat().st_size < 16 << 20
    assert "would unpack to 2,147,48" in refused(read_tensors, path)


def test_an_archive_with_a_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy(facts(shape="(25,)")))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", npy(facts(shape="(25,)")))
    assert "'a' in it stands there twice" in refused(read_tensors, tmp_path / "a.npz")


def safetensors(path, text, size=64):
    raw = text.encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(size))
    return path


def entry(*span, shape=(8,), kind="F32"):
    return {"dtype": kind, "shape": list(shape), "data_offsets": list(span)}


HEADERS = {
    "brackets": ("[" * 50_000, "nested more than 100 deep"),
    "overlap": (json.dumps({"a": entry(0, 32), "b": entry(16, 48)}), "'a' and 'b' overlap"),
    "the same bytes": (json.dumps({"a": entry(0, 32), "b": entry(0, 32)}), "overlap"),
    "a hole": (json.dumps({"a": entry(0, 16, shape=[4]), "b": entry(32, 64)}), "bytes 16 to 32"),
    "bytes at the end": (json.dumps({"a": entry(0, 32)}), "32 bytes follow the last tensor"),
    "bytes at the start": (json.dumps({"a": entry(32, 64)}), "no tensor claims bytes 0 to 32"),
    "a name twice": (
        f'{{"a": {json.dumps(entry(0, 32))}, "a": {json.dumps(entry(32, 64))}}}',
        "key 'a' stands twice",
    ),
    "beyond the file": (json.dumps({"a": entry(0, 128, shape=[32])}), "does not fit its bytes"),
    "backwards": (json.dumps({"a": entry(32, 0, shape=[0])}), "does not fit its bytes"),
    "a huge shape": (json.dumps({"a": entry(0, 64, shape=[10**30])}), "it must be up to 64 len"),
    "a long shape": (json.dumps({"a": entry(0, 64, shape=[1] * 90)}), "it must be up to 64 len"),
    "a negative shape": (json.dumps({"a": entry(0, 64, shape=[-4, -4])}), "lengths from 0"),
    "fractions": (json.dumps({"a": entry(0.0, 64.0, shape=[16])}), "must be two integers"),
    "a type of a list": (json.dumps({"a": entry(0, 64, kind=["F32"])}), "unknown type ['F32']"),
    "no table": (json.dumps({"a": [1, 2]}), "dtype, shape and data_offsets are its facts"),
    "facts that are no text": ('{"__metadata__": {"a": 1}}', "not a table of strings"),
}


@pytest.mark.parametrize(("text", "says"), HEADERS.values(), ids=HEADERS)
def test_safetensors_that_are_refused(tmp_path, text, says):
    assert says in refused(read_tensors, safetensors(tmp_path / "w.safetensors", text))


def gguf_text(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf(facts=b"", count=0, tensors=(), data=bytes(64)):
    """Return a GGUF file: facts as bytes, tensors as (name, dimensions, type, offset)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), count) + facts
    for name, shape, kind, offset in tensors:
        head += gguf_text(name) + struct.pack(
            f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset
        )
    return head + bytes(-len(head) % 32) + data


ARRAY = gguf_text("list") + struct.pack("<I", 9)
GGUFS = {
    "an endless array of bytes": (
        gguf(ARRAY + struct.pack("<IQ", 0, 1 << 62), 1), "within 4,611,686,018,427,387,904 bytes"
    ),
    "an endless array of words": (gguf(ARRAY + struct.pack("<IQ", 8, 1 << 62), 1), "it ends at"),
    "an endless array of arrays": (gguf(ARRAY + struct.pack("<IQ", 9, 1 << 62), 1), "it ends at"),
    "arrays of arrays of arrays": (
        gguf(ARRAY + struct.pack("<IQ", 9, 1) * 9, 1), "nested more than 4 deep"
    ),
    "endless facts": (gguf(b"", 1 << 60), "states '' twice"),
    "an unknown type": (gguf(gguf_text("x") + struct.pack("<I", 99), 1), "unknown type 99"),
    "a fact twice": (gguf((gguf_text("x") + struct.pack("<IB", 0, 3)) * 2, 2), "states 'x' twice"),
    "a huge tensor": (gguf(tensors=[("a", (1 << 40,), 0, 0)]), "does not fit its bytes"),
    "an offset beyond the file": (gguf(tensors=[("a", (4,), 0, 1 << 60)]), "does not fit its"),
    "overlap": (gguf(tensors=[("a", (8,), 0, 0), ("b", (8,), 0, 16)]), "'b' overlaps 'a'"),
    "a name twice": (gguf(tensors=[("a", (8,), 0, 0), ("a", (8,), 0, 32)]), "are named 'a'"),
    "half a block": (gguf(tensors=[("a", (48,), 8, 0)]), "not whole blocks of 32"),
    "no dimensions": (gguf(tensors=[("a", (), 0, 0)]), "has 0 dimensions"),
    "a strange type": (gguf(tensors=[("a", (8,), 77, 0)]), "unknown type 77"),
    "big-endian": (b"GGUF" + struct.pack(">I", 3) + bytes(40), "it is big-endian"),
    "version 1": (b"GGUF" + struct.pack("<I", 1) + bytes(40), "of version 1"),
    "an alignment of 3": (
        gguf(gguf_text("general.alignment") + struct.pack("<II", 4, 3), 1), "a power of two"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "says"), GGUFS.values(), ids=GGUFS)
def test_gguf_that_is_refused(tmp_path, content, says):
    pytest.importorskip("gguf")
    (tmp_path / "m.gguf").write_bytes(content)
    assert says in refused(read_tensors, tmp_path / "m.gguf")


def test_blocks_beyond_the_tensor_are_the_tensor():
    x = np.linspace(-1, 1, 16 * 256, dtype=np.float32).reshape(16, 256)
    large = quantize(x, "int4@b1000000000x1000000000")
    assert large.dequantize().tobytes() == quantize(x, "int4@b16x256").dequantize().tobytes()
    assert large.nbytes == quantize(x, "int4@b16x256").nbytes


READERS = {
    "chip": (bl.load_arch, ".yaml"),
    "model": (bl.load_model, ".json"),
    "format": (load_format, ".yaml"),
    "sweep": (sweep, ".yaml"),
    "npy": (read_tensors, ".npy"),
    "npz": (read_tensors, ".npz"),
    "safetensors": (read_tensors, ".safetensors"),
    "gguf": (read_tensors, ".gguf"),
    "saved": (QuantizedTensor.load, ".safetensors"),
    "language model": (find_checkpoint, "/config.json"),
}


@pytest.mark.parametrize(("read", "suffix"), READERS.values(), ids=READERS)
def test_names_that_are_no_files(tmp_path, read, suffix):
    """Pipes, devices, folders, loops, nothing; names with NUL, too long, no text at all."""
    for name in ("a\0b", "x" * 300, "x" * 5000, "\udcff", "\ud800", "gone"):
        refused(read, str(tmp_path / name) + suffix)
    if suffix.startswith("/"):
        return
    pipe, folder, loop = (tmp_path / f"{name}{suffix}" for name in ("pipe", "folder", "loop"))
    os.mkfifo(pipe)
    folder.mkdir()
    loop.symlink_to(loop)
    device = tmp_path / f"zero{suffix}"
    device.symlink_to("/dev/zero")
    assert "it is a pipe; give the path of a plain file" in refused(read, pipe)
    assert "it is a device" in refused(read, device)
    assert "folder" in refused(read, folder)
    refused(read, loop)


def test_a_language_models_files_may_be_no_pipes(tmp_path):
    pytest.importorskip("tokenizers")
    from naive import tiny_lm

    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        folder = tiny_lm.write(tmp_path / name, tiny_lm.CONFIGS["llama"])
        (folder / name).unlink()
        os.mkfifo(folder / name)
        said = refused(lambda folder=folder: find_checkpoint(folder).encode("a"))
        assert name in said or "holds no tokenizer.json" in said or "no config.json" in said


@pytest.mark.parametrize("where", [8, 200, -1])
def test_any_change_of_a_saved_tensor_is_noticed(tmp_path, where):
    path = tmp_path / "q.safetensors"
    quantize(np.linspace(-1, 1, 96, dtype=np.float32).reshape(4, 24), "int4_asym@g8").save(path)
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    assert length > 300
    content[where] ^= 1
    path.write_bytes(content)
    refused(QuantizedTensor.load, path)


def test_scales_that_became_nan_are_noticed(tmp_path):
    """One byte of a stored fp16 scale: 0x7e00 is NaN."""
    path = tmp_path / "q.safetensors"
    q = quantize(np.full((1, 8), 2.0, np.float32), "int4@g8")
    q.save(path)
    content, scale = bytearray(path.read_bytes()), q.packed["scales"].tobytes()
    at = content.rindex(scale)
    content[at : at + 2] = b"\x00\x7e"
    path.write_bytes(content)
    assert "does not have its checksum" in refused(QuantizedTensor.load, path)


def bitlathe(*words, **options):
    program = [sys.executable, "-m", "bitlathe", *words]
    return subprocess.run(program, capture_output=True, check=False, **options)


def test_output_that_cannot_be_written_is_said():
    with Path("/dev/full").open("w") as full:
        program = [sys.executable, "-m", "bitlathe", "archs"]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr == b"Error: cannot write the output: No space left on device.\n"


def test_names_that_the_terminal_cannot_print_are_escaped(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.npy"
    with open(name, "wb") as file:
        np.save(file, np.ones((2, 16), np.float32))
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    words = ("quantize", name, "--scheme", "int4@g16")
    done = bitlathe(*words, env=env)
    assert done.returncode == 0, done.stderr
    assert b"\\udcff" in done.stdout


@pytest.mark.parametrize("name", ["a:b", "~", "\udcff", "file:x", " ", "é\n"])
def test_any_legal_name_of_an_output_folder_gets_all_tables(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SWEEP)
    run_sweep(tmp_path / "s.yaml", name, jobs=1, progress=False)
    made = {path.name for path in (tmp_path / name).iterdir()}
    assert {"results.csv", "results.parquet", "sweep.sqlite"} <= made
    assert len(list(read_results(name))) == 1
    if name == "\udcff":
        from bitlathe.reports.page import report

        report(name)
        assert b"\\udcff" in (tmp_path / name / "report.html").read_bytes()


def test_too_little_memory_is_said(tmp_path):
    np.save(tmp_path / "w.npy", np.ones((4096, 4096), np.float32))
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_DATA, (120 << 20,) * 2)}
    env = {**os.environ, "BITLATHE_COMPILED": "0", "OPENBLAS_NUM_THREADS": "1"}
    done = bitlathe("quantize", tmp_path / "w.npy", "--scheme", "int4@g16", env=env, **limit)
    assert done.returncode == 2, done.stderr
    assert done.stderr == b"Error: this computer has not enough free memory for that.\n"


def test_every_error_can_be_read():
    """Whatever a message quotes: no escape sequence, no flood, both ends of what is long."""
    said = str(BitlatheError("a\x1b[31m\u202e\0 " + "x" * 9000 + " end"))
    assert said.startswith("a\\x1b[31m\\u202e\\x00 xxx")
    assert said.endswith("xxx end")
    assert len(said) == LINE_MAX
    assert len(str(BitlatheError("line\n" * 5000)).split("\n")) == 101
    assert str(BitlatheError("plain\n  caret\n  ^")) == "plain\n  caret\n  ^"
