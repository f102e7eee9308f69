"""Damage to tensor files: bytes flipped, cut, added; headers rewritten with false facts."""

import io
import json
import random
import struct
import zipfile

import numpy as np

SIZES = [0, 1, 2, 7, 255, 2**31 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**64 - 1]


def flipped(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with some flipped, cut, added, or a whole number in them overwritten."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(data) + 1)
        change = rng.choice(["bit", "bit", "cut", "add", "size", "size", "drop"])
        if change == "bit" and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif change == "cut":
            del data[at:]
        elif change == "add":
            data[at:at] = rng.randbytes(rng.choice([1, 8, 100]))
        elif change == "drop":
            del data[at : at + rng.choice([1, 8, 64])]
        elif change == "size":
            at = min(at, 200) & ~3
            code = rng.choice(["<I", "<Q"])
            value = rng.choice(SIZES) & (2**32 - 1 if code == "<I" else 2**64 - 1)
            raw = struct.pack(code, value)
            data[at : at + len(raw)] = raw
    return bytes(data)


def npy(rng: random.Random) -> bytes:
    """Return an array whose header is rewritten."""
    array = np.arange(24).astype(rng.choice(["<f4", "<f2", ">f8", "i1", "?"])).reshape(4, 6)
    facts = {"descr": array.dtype.str, "fortran_order": False, "shape": (4, 6)}
    key = rng.choice(list(facts))
    facts[key] = rng.choice(
        {
            "descr": ["O", "|O", "<f16", "S1000000000", "V0", "<M8[ns]", "x", 3, [("a", "<f4")],
            "U9",
                      [("a", "O")], ["<f4"], "<c8", "f" * 3000],
            "fortran_order": [True, 2, None, "yes", []],
            "shape": [(1000000, 1000000), (10**50,), (-4, 6), (4,), (2**62, 4), (0, 2**62), [4,
            6], 24,
                      (1,) * 70, (4.0, 6), (True, 24), "4", ((4, 6),), (), (6, 4), None],
        }[key]
    )  # fmt: skip
    text = repr(facts)
    if rng.random() < 0.3:
        piece = rng.choice(["(" * 400, "[" * 90, "-" * 5000, "L", "\0", "'", "9" * 5000, "{", "1e"])
        at = rng.randrange(len(text))
        text = text[:at] + piece + text[at:]
    header = text.encode("latin-1", "replace") + b"\n"
    version = rng.choice([(1, 0), (2, 0), (3, 0), (9, 9), (0, 0)])
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header) & 0xFFFF)
    body = array.tobytes()
    return b"\x93NUMPY" + bytes(version) + length + header + body


def npz(rng: random.Random) -> bytes:
    """Return an archive with a strange member: large, twice there, encrypted, not an array."""
    buffer, member = io.BytesIO(), io.BytesIO()
    np.save(member, np.arange(6, dtype=np.float32))
    sound = member.getvalue()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", sound)
        strange = rng.choice(["bomb", "twice", "text", "name", "npy", "none", "stored"])
        if strange == "bomb":  # a thousand times as large as its file, when unpacked
            head = (
                struct.pack("<H", 100)
                + repr({"descr": "|u1", "fortran_order": False, "shape": (40 << 20,)})
                .ljust(99)
                .encode()
                + b"\n"
            )
            archive.writestr("b.npy", b"\x93NUMPY\x01\x00" + head + bytes(40 << 20))
        elif strange == "text":
            archive.writestr(rng.choice(["b.txt", "b/", "b.npy"]), b"no array")
        elif strange == "name":
            archive.writestr(rng.choice(["../../x.npy", "\u202e.npy", "x" * 3000 + ".npy"]), sound)
        elif strange == "npy":
            archive.writestr("b.npy", npy(rng))
        elif strange == "stored":
            archive.writestr("b.npy", sound, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_LZMA]))
    content = bytearray(buffer.getvalue())
    if strange == "twice":
        content = content.replace(b"a.npy", b"b.npy") if rng.random() < 0.2 else content
    start = content.find(b"PK\x01\x02")
    if rng.random() < 0.6 and start > 0:  # the directory: sizes, flags, method, offset
        at = start + rng.choice([8, 10, 20, 24, 28, 30, 42])
        value = rng.choice(SIZES) & 0xFFFFFFFF
        content[at : at + 4] = struct.pack("<I", value)
    return bytes(content)


def safetensors(rng: random.Random, facts: dict | None = None, size: int = 112) -> bytes:
    """Return a file whose header has one false fact."""
    from .text import changed

    header = facts or {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 64]},
        "b": {"dtype": "BF16", "shape": [8], "data_offsets": [64, 80]},
        "c": {"dtype": "F8_E4M3", "shape": [4, 8], "data_offsets": [80, 112]},
    }
    change = rng.choice(["data", "data", "overlap", "hole", "twice", "text", "length"])
    if change == "data":
        header = changed(header, rng)
    elif change in ("overlap", "hole"):
        entry = rng.choice([v for k, v in header.items() if k != "__metadata__"])
        shift = rng.choice([-1, 1]) * rng.choice([1, 4, 16])
        entry["data_offsets"] = [n + shift for n in entry["data_offsets"]]
    text = json.dumps(header)
    if change == "twice":
        text = text[:-1] + ', "a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}'
    elif change == "text":
        at = rng.randrange(len(text))
        piece = rng.choice(["[" * 50000, "{" * 2000, '"', "\0", "NaN", "9" * 6000, "é", "1e999"])
        text = text[:at] + piece + text[at:]
    raw = text.encode("utf-8", "surrogatepass")
    length = len(raw) if change != "length" else rng.choice(SIZES)
    size += rng.choice([0, 0, 0, 0, -1, 1, 1000])
    return struct.pack("<Q", length) + raw + bytes(range(256))[: min(size, 256)].ljust(size, b"\1")


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf(rng: random.Random) -> bytes:
    """Return a file with one false count, type, length or offset among its facts."""
    numbers = {
        "version": 3, "tensors": 2, "facts": 4, "align": 32, "inner": 4, "count": 3, "words": 2,
        "dims": 2, "width": 32, "height": 2, "kind": 8, "offset": 0, "second": 96, "length": 3,
    }  # fmt: skip
    false = rng.choice([*numbers, "none", "name", "key"])
    if false in numbers:
        small = [0, 1, 5, 9, 12, 31, 33, 39, 40, 41, 64, 99]
        numbers[false] = rng.choice([*SIZES, *small])
    n = numbers

    def u32(value):
        return struct.pack("<I", value & 0xFFFFFFFF)

    def u64(value):
        return struct.pack("<Q", value)

    second = "a" if false == "name" else "b"
    third = "general.alignment" if false == "key" else "tokenizer.ggml.tokens"
    body = [
        b"GGUF", u32(n["version"]), u64(n["tensors"]), u64(n["facts"]),
        _text("general.alignment"), u32(4), u32(n["align"]),
        _text("list"), u32(9), u32(n["inner"]), u64(n["count"]), u32(1) * 3,
        _text(third), u32(9), u32(8), u64(n["words"]), _text("x"), _text("y"),
        _text("word"), u32(8), u64(n["length"]), b"abc",
        _text("a"), u32(n["dims"]), u64(n["width"]), u64(n["height"]), u32(n["kind"]),
        u64(n["offset"]),
        _text(second), u32(1), u64(8), u32(0), u64(n["second"]),
    ]  # fmt: skip
    head = b"".join(body)
    data = bytes(68).ljust(96, b"\0") + np.arange(8, dtype="<f4").tobytes()
    return head + bytes(-len(head) % 32) + data


def gguf_model() -> bytes:
    """Return the header of a small llama with one layer; its data is not there."""
    facts = {"embedding_length": 8, "block_count": 1, "attention.head_count": 2,
             "attention.head_count_kv": 2, "feed_forward_length": 12}  # fmt: skip
    layer = {"attn_q": (8, 8), "attn_k": (8, 8), "attn_v": (8, 8), "attn_output": (8, 8),
             "ffn_gate": (12, 8), "ffn_up": (12, 8), "ffn_down": (8, 12)}  # fmt: skip
    tensors = {"token_embd": (16, 8), "output": (16, 8)}
    tensors |= {f"blk.0.{part}": shape for part, shape in layer.items()}
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(facts) + 1)]
    head += [_text("general.architecture"), struct.pack("<I", 8), _text("llama")]
    for key, value in facts.items():
        head += [_text(f"llama.{key}"), struct.pack("<II", 4, value)]
    for name, (rows, columns) in tensors.items():
        head += [_text(f"{name}.weight"), struct.pack("<IQQIQ", 2, columns, rows, 0, 0)]
    return b"".join(head)


def onnx() -> bytes:
    """Return a graph of a convolution and a product."""
    from onnx import helper, numpy_helper

    weights = [
        numpy_helper.from_array(np.zeros(shape, np.float32), name)
        for name, shape in {"w": (4, 2, 3, 3), "v": (6, 5)}.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], "/conv", pads=[1, 1, 1, 1], group=1),
        helper.make_node("MatMul", ["y", "v"], ["z"], "/up/MatMul"),
        helper.make_node("Softmax", ["z"], ["out"]),
    ]
    ends = [helper.make_tensor_value_info("x", 1, [1, 2, 6, 6])]
    outs = [helper.make_tensor_value_info("out", 1, [1, 4, 6, 5])]
    made = helper.make_model(helper.make_graph(nodes, "g", ends, outs, initializer=weights))
    content: bytes = made.SerializeToString()
    return content
