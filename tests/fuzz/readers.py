"""The kinds of input: what is sound, how it is damaged, what reads it."""

import json
import random
import re
import sqlite3
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

import bitlathe
from bitlathe.datatypes.base.errors import BitlatheError

from . import binary
from .text import as_yaml, changed, damaged

ROOT = Path(bitlathe.__file__).parent
FORMATS = [
    {"values": [0, 1, 3, -1, -3], "name": "own"},
    {"exponent_bits": 2, "mantissa_bits": 1, "bias": 1},
    {"integer_bits": 5},
    {"base": "int4", "add": [8]},
]
CONVNET = {
    "input": [3, 8, 8],
    "layers": [
        {"name": "c", "type": "conv", "out_channels": 4, "kernel": 3, "padding": 1},
        {"type": "pool", "kernel": 2, "stride": 2},
        {"type": "linear", "out_channels": 10},
    ],
}
PRODUCTS = {
    "phase": "prefill",
    "products": [
        {"name": "q", "m": 4, "n": 8, "k": 8, "count": 2, "kind": "linear", "from": []},
        {"name": "s", "m": 4, "n": 4, "k": 8, "batch": 2, "stationary": "kv_cache", "causal": "n"},
        {"name": "c", "c": 4, "h": 6, "w": 6, "k": 4, "r": 3, "s": 3, "padding": [1, 0]},
    ],
}
TABLES = [
    "name,m,n,k,batch,causal\nq,4,8,8,,\ns,4,4,8,2,n\n",
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, "
    "Strides,\nc1,14,14,3,3,4,8,2,\nc2,7,7,1,1,8,4,1,\n",
    "Layer,M,N,K,\na,4,8,8,\nb,8,4,8,\n",
]
SWEEP = {
    "title": "t",
    "arch": ["bitmod"],
    "models": ["opt-1.3b"],
    "phases": ["decode"],
    "contexts": [16, 32],
    "axes": {"array.rows": [16, 32], "buffers.weight.size_kib": {"from": 64, "to": 256,
    "factor": 2}},
    "schemes": {"linear": ["int8@channel", "bitmod_fp4@g128/int8"]},
    "constraints": ["array.rows * array.columns <= 2048 and context in [16, 32]", "seconds < 1"],
    "sampling": {"random": {"samples": 4, "seed": 1}},
    "fidelity": "analytic",
}  # fmt: skip
SCHEMES = [
    "bitmod_fp4@g128/int8",
    "int4_asym@g64+mse",
    "mxfp4",
    "nvfp4",
    "int4@b4x16",
    "ant3@g8/m2",
]
SETTINGS = {
    "array.rows": 32, "pe.lanes": 4, "dram.bits_per_clock": 64, "buffers.weight.size_kib": "64 KiB",
    "technology.clock_ghz": 1.5, "formats.linear.weight": "int8@channel", "title": "t",
    "pe.numerics": {"preset": "exact"}, "buffers.io.banks": 4, "array": {"kind": "tile", "rows": 8,
                                                                         "columns": 8},
}  # fmt: skip
PATHS = [
    "", " ", ".", "..", "/", "~", "a\0b", "a\0b.yaml", "x" * 300, "x" * 5000, "x" * 5000 + ".yaml",
    "/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/mem", "/proc/self/environ", "\udcff.yaml",
    "\ud800.yaml", "\u202e.yaml", "a\nb.yaml", "a:b", "-", "FIFO", "FOLDER", "LOOP", "EMPTY",
    "LATIN",
    "/proc/self/fd/0", "nul", "file:///etc/passwd", "http://localhost/x.yaml", "*", "$HOME", "//",
    "a/",
]  # fmt: skip
SUFFIXES = ["", ".yaml", ".json", ".npy", ".npz", ".safetensors", ".gguf", "/config.json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A kind of input.

    Attributes
    ----------
    make : callable
        Takes a generator and a folder, writes a damaged input there; returns what `read` takes.
    read : callable
        Reads it as a user's command would.
    """

    make: Callable[[random.Random, Path], object]
    read: Callable[[object], object]


def _file(folder: Path, name: str, content: bytes) -> Path:
    folder.joinpath(name).write_bytes(content)
    return folder / name


@cache
def _chips() -> tuple[str, ...]:
    return tuple(path.read_text() for path in sorted((ROOT / "arch/chips").rglob("*.yaml")))


@cache
def _models() -> tuple[str, ...]:
    return tuple(path.read_text() for path in sorted((ROOT / "workloads/models").glob("*.json")))


def _yaml_of(rng: random.Random, text: str) -> bytes:
    if rng.random() < 0.5:
        return damaged(text, rng)
    return as_yaml(changed(yaml.safe_load(text), rng)).encode("utf-8", "surrogatepass")


def make_chip(rng, folder):
    return _file(folder, "chip.yaml", _yaml_of(rng, rng.choice(_chips())))


def read_chip(path):
    chip = bitlathe.load_arch(path)
    return bitlathe.simulate(chip, "opt-125m", phase="decode", context=16, fidelity="analytic")


def make_setting(rng, folder):
    key, value = rng.choice(list(SETTINGS.items()))
    settings = changed({key: value}, rng)
    text = (
        damaged(json.dumps(next(iter(settings.values()), 1)), rng) if rng.random() < 0.3 else None
    )
    key = next(iter(settings), key)
    given = text.decode("utf-8", "surrogateescape") if text else json.dumps(settings.get(key))
    return f"{key}={given}"[:100_000]  # the system takes no longer argument


def read_setting(text):
    from bitlathe.arch.loader import parse_setting

    chip = bitlathe.load_arch("bitmod", dict([parse_setting(text)]))
    return bitlathe.simulate(chip, "opt-125m", phase="decode", context=16, fidelity="analytic")


def make_format(rng, folder):
    return _file(folder, "own.yaml", _yaml_of(rng, as_yaml(rng.choice(FORMATS))))


def read_format(path):
    return _quantized(f"{path}@g16")


def make_scheme(rng, folder):
    text = rng.choice(SCHEMES)
    if rng.random() < 0.3:
        return damaged(text, rng).decode("utf-8", "surrogateescape")[:100_000]
    parts = ["@g", "@b", "@", "/", "+", "int4", "_asym", "0", "99999999999999999999", "1000000000",
             "x", "channel", "tensor", "-1", "1e9", " ", "mse", "m2", "paper", "fp16", "e8m0",
             "\0", "é",
             "@b1000000000x1000000000", "@g1000000000000", "@t", "+p99", "+sigma9"]  # fmt: skip
    for _ in range(rng.choice([1, 2])):
        at = rng.randrange(len(text) + 1)
        to = at + rng.choice([0, 0, 1, 3])
        text = text[:at] + rng.choice(parts) + text[to:]
    return text


def _quantized(scheme):
    from bitlathe.datatypes.quantize import quantize

    x = np.linspace(-1, 1, 16 * 256, dtype=np.float32).reshape(16, 256)
    return quantize(x, scheme).dequantize()


def make_model(rng, folder):
    text = rng.choice(_models())
    if rng.random() < 0.4:
        return _file(folder, "config.json", damaged(text, rng))
    data = json.dumps(changed(json.loads(text), rng))
    return _file(folder, "config.json", data.encode("utf-8", "surrogatepass"))


def make_convnet(rng, folder):
    return _file(folder, "net.yaml", _yaml_of(rng, as_yaml(CONVNET)))


def read_model(path):
    model = bitlathe.load_model(path)
    phase = "decode" if model.has_decode else "prefill"
    return model.parameter_count, bitlathe.simulate(
        "bitmod", model, phase=phase, context=16 if model.has_decode else None, fidelity="analytic"
    )


def make_products(rng, folder):
    return _file(folder, "list.yaml", _yaml_of(rng, as_yaml(PRODUCTS)))


def make_table(rng, folder):
    return _file(folder, "list.csv", damaged(rng.choice(TABLES), rng))


def make_graph_file(rng, folder):
    return _file(folder, "net.onnx", binary.flipped(binary.onnx(), rng))


def make_gguf_model(rng, folder):
    return _file(folder, "m.gguf", binary.flipped(binary.gguf_model(), rng))


def read_products(path):
    model = bitlathe.load_model(path)
    return model.parameter_count, model.gemms(batch=2), model.notes


def make_sweep(rng, folder):
    data = dict(SWEEP)
    if rng.random() < 0.5:
        data["sampling"] = {"nsga2": {"budget": 8, "seed": 1, "objectives": {"seconds": "min"}}}
    return _file(folder, "sweep.yaml", _yaml_of(rng, as_yaml(data)))


def read_sweep(path):
    from bitlathe.reports.explore import plan_sweep

    return plan_sweep(path)


def make_tensors(kind):
    def make(rng, folder):
        content = getattr(binary, kind)(rng)
        if rng.random() < 0.3:
            content = binary.flipped(content, rng)
        return _file(folder, f"w.{kind}", content)

    return make


def read_tensors(path):
    from bitlathe.datatypes.weights.read import read_tensors as read

    return {name: array.tobytes() for name, array in read(path).items()}


@cache
def _saved(text: str, folder: Path) -> bytes:
    from bitlathe.datatypes.quantize import quantize

    path = folder / "sound"
    quantize(np.linspace(-1, 1, 96, dtype=np.float32).reshape(4, 24), text).save(path)
    return path.read_bytes()


def make_saved(rng, folder):
    scheme = rng.choice(["int4_asym@g8", "bitmod_fp3@g8/int8", "nvfp4"])
    content = _saved(scheme, folder)
    length = int.from_bytes(content[:8], "little")
    if rng.random() < 0.6:
        return _file(folder, "q.safetensors", binary.flipped(content, rng))
    facts = json.loads(content[8 : 8 + length])
    size = len(content) - 8 - length
    return _file(folder, "q.safetensors", binary.safetensors(rng, facts, size))


def read_saved(path):
    from bitlathe.datatypes.tensors.tensor import QuantizedTensor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return QuantizedTensor.load(path).dequantize()


def make_checkpoint(rng, folder):
    """A language model's folder with one of its three files damaged."""
    from naive.tiny_lm import CONFIGS, write

    folder = folder / "lm"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    write(folder, CONFIGS[rng.choice(["llama", "qwen3", "mistral"])])
    path = rng.choice(sorted(folder.iterdir()))
    content = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.5:
        data = json.dumps(changed(json.loads(content), rng))
        path.write_bytes(data.encode("utf-8", "surrogatepass"))
    elif path.suffix == ".json":
        path.write_bytes(damaged(content.decode(), rng))
    else:
        path.write_bytes(binary.flipped(content, rng))
    return folder


def read_checkpoint(folder):
    from bitlathe.workloads.lm.checkpoint import find_checkpoint

    found = find_checkpoint(folder)
    return {name: each.read() for name, each in found.tensors().items()}, found.encode("a b c")


def make_path(rng, folder):
    folder.joinpath("a folder").mkdir(exist_ok=True)
    name = rng.choice(PATHS) + rng.choice(SUFFIXES)
    special = {
        "FIFO": lambda path: __import__("os").mkfifo(path),
        "FOLDER": lambda path: path.mkdir(),
        "LOOP": lambda path: path.symlink_to(path),
        "EMPTY": lambda path: path.write_bytes(b""),
        "LATIN": lambda path: path.write_bytes(b"\xe9\xff\x00"),
    }
    base = name.partition(".")[0].partition("/")[0]
    if base in special:
        path = folder / name.replace("/", "_")
        if not path.is_symlink() and not path.exists():
            special[base](path)
        name = str(path)
    return rng.choice(["chip", "model", "tensors", "format", "sweep", "lm", "saved"]), name


def read_path(given):
    kind, name = given
    readers = {
        "chip": read_chip, "model": read_model, "tensors": read_tensors, "format": read_format,
        "sweep": read_sweep, "lm": read_checkpoint, "saved": read_saved,
    }  # fmt: skip
    return readers[kind](name)


@cache
def _store(folder: Path) -> bytes:
    from bitlathe.reports.explore import run_sweep

    folder = folder / "sound store"
    path = _file(folder.parent, "sound.yaml", as_yaml(SWEEP).encode())
    run_sweep(path, folder, jobs=1, progress=False)
    with sqlite3.connect(folder / "sweep.sqlite") as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return (folder / "sweep.sqlite").read_bytes()


def make_store(rng, folder):
    content = _store(folder)
    out = folder / "store"
    out.mkdir(exist_ok=True)
    for path in out.iterdir():
        path.unlink()
    path = out / "sweep.sqlite"
    if rng.random() < 0.5:
        path.write_bytes(content)
        with sqlite3.connect(path) as db:
            table, column = rng.choice(
                [("results", "result"), ("results", "status"), ("points", "point"), ("meta",
                "value"),
                 ("points", "key"), ("points", "ordinal"), ("results", "error")]
            )  # fmt: skip
            value = rng.choice(
                ["[1,2]", "{", "", "{}", "NaN", '{"cycles": 1}', '{"cycles": "x"}', "[" * 5000,
                b"\xff\xfe",
                 3, "done", '{"cycles": 1e999}', '{"layers": 3}', "null", "\0"]
            )  # fmt: skip
            change = rng.choice(["value", "value", "value", "drop", "table"])
            try:
                if change == "value":
                    db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid IN "
                               f"(SELECT rowid FROM {table} LIMIT 1)", (value,))  # fmt: skip
                elif change == "table":
                    db.execute("DROP VIEW IF EXISTS runs")
                    db.execute(f"DROP TABLE {table}")
                else:
                    db.execute("DROP VIEW IF EXISTS runs")
                    db.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO other")
            except sqlite3.Error:
                pass
        db.close()
    else:
        data = bytearray(content)
        for _ in range(rng.choice([1, 3, 20, 200])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data[: rng.choice([len(data), len(data), len(data) // 2, 100])]))
    return out


def read_store(folder):
    from bitlathe.reports.explore import read_results

    rows = list(read_results(folder))
    if any(row not in _sound_rows(folder.parent) for row in rows):
        raise ValueError("a row that was never stored")
    return rows


@cache
def _sound_rows(folder: Path) -> list:
    from bitlathe.reports.explore import read_results

    return list(read_results(folder / "sound store"))


READERS = {
    "chip": Reader(make=make_chip, read=read_chip),
    "chip setting": Reader(make=make_setting, read=read_setting),
    "format": Reader(make=make_format, read=read_format),
    "scheme": Reader(make=make_scheme, read=_quantized),
    "model, JSON": Reader(make=make_model, read=read_model),
    "model, YAML": Reader(make=make_convnet, read=read_model),
    "list of products": Reader(make=make_products, read=read_products),
    "table of products": Reader(make=make_table, read=read_products),
    ".onnx": Reader(make=make_graph_file, read=read_products),
    "model, .gguf": Reader(make=make_gguf_model, read=read_products),
    "sweep file": Reader(make=make_sweep, read=read_sweep),
    ".npy": Reader(make=make_tensors("npy"), read=read_tensors),
    ".npz": Reader(make=make_tensors("npz"), read=read_tensors),
    ".safetensors": Reader(make=make_tensors("safetensors"), read=read_tensors),
    ".gguf": Reader(make=make_tensors("gguf"), read=read_tensors),
    "saved tensor": Reader(make=make_saved, read=read_saved),
    "language model's folder": Reader(make=make_checkpoint, read=read_checkpoint),
    "path": Reader(make=make_path, read=read_path),
    "sweep store": Reader(make=make_store, read=read_store),
}


def outcome_of(reader: Reader, made: object) -> tuple[str, str]:
    """Read an input; return accepted, refused or failed, and why."""
    try:
        reader.read(made)
    except BitlatheError as refusal:
        return _judged(str(refusal))
    except Exception as failure:
        return "failed", f"{type(failure).__name__}: {failure}"[:300]
    return "accepted", ""


def _judged(message: str) -> tuple[str, str]:
    """Take a refusal as one only if people can read it: some words, not pages of them."""
    words = re.sub(r"^\S*: |[\w.]+: ", "", message)
    if not words.strip(" .") or "Traceback" in message:
        return "failed", f"a refusal without words: {message[:200]!r}"
    if len(message) > 20_000 or any(len(line) > 3000 for line in message.splitlines()):
        return "failed", f"a refusal of {len(message)} characters: {message[:200]!r}"
    if any(ord(letter) < 32 and letter != "\n" for letter in message):
        return "failed", f"a refusal with control characters: {message[:300]!r}"
    return "refused", message[:300]
