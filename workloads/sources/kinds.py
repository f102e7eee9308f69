"""Kinds of files that hold models, told by their first bytes: those not read, and what to give."""

from collections.abc import Mapping
from pathlib import Path

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.files import open_file, shown_path

_CONFIG = "give the config.json beside it"
_PICKLE = (
    "a pickle, whose reading can run any program, is not read: give the config.json or a "
    ".safetensors or .gguf file of the same model, or the torch module itself to "
    "bitlathe.from_torch"
)
# first bytes, and where they stand -> what such a file is, and what to give instead
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", f"a zip archive, as torch.save writes it: {_PICKLE}"),
    (0, b"\x80\x02", f"a Python pickle: {_PICKLE}"),
    (0, b"\x80\x03", f"a Python pickle: {_PICKLE}"),
    (0, b"\x80\x04", f"a Python pickle: {_PICKLE}"),
    (0, b"\x80\x05", f"a Python pickle: {_PICKLE}"),
    (0, b"\x89HDF", f"an HDF5 file, as Keras writes it; {_CONFIG}, or export it to ONNX"),
    (4, b"TFL3", "a TensorFlow Lite file, which is not read; export the model to ONNX"),
    (0, b"\x93NUMPY", f"a numpy array, not a model; {_CONFIG}"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it first"),
    (0, b"ggjt", "a file of llama.cpp before GGUF, which is not read; convert it to GGUF"),
    (0, b"lmgg", "a file of llama.cpp before GGUF, which is not read; convert it to GGUF"),
)  # fmt: skip
# endings of files without such bytes
_ENDINGS: Mapping[str, str] = {
    **dict.fromkeys(
        (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"),
        f"weights of PyTorch, by its ending {{ending!r}}: {_PICKLE}",
    ),
    ".pb": "a TensorFlow graph, by its ending '.pb', which is not read; export the model to ONNX",
    ".msgpack": f"weights of Flax, by its ending '.msgpack', which are not read; {_CONFIG}",
    ".mlmodel": "a Core ML model, by its ending '.mlmodel', which is not read; export it to ONNX",
    ".py": "a Python program; give the torch module that it makes to bitlathe.from_torch",
    ".cfg": "a configuration, by its ending '.cfg'; SCALE-Sim's layers stand in a topology's .csv",
}


def refuse_others(path: Path) -> None:
    """Refuse a file of a kind that is not read, and say what it is and what to give instead.

    Raises
    ------
    BitlatheError
        Raised if it is of such a kind, or cannot be opened.
    """
    start = first_bytes(path)
    for at, magic, what in _MAGIC:
        if start[at : at + len(magic)] == magic:
            raise BitlatheError(f"{shown_path(path)}: this is {what}.")
    ending = path.suffix.lower()
    if ending in _ENDINGS:
        what = _ENDINGS[ending].format(ending=ending)
        raise BitlatheError(f"{shown_path(path)}: this is {what}.")


def kind_of(path: Path) -> str:
    """Return what a file is by its first bytes: gguf, safetensors, or the ending of its name."""
    start = first_bytes(path)
    if start[:4] == b"GGUF":
        return "gguf"
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and length < 1 << 40:  # far below the first eight letters of a text
        return "safetensors"
    return path.suffix.lower().removeprefix(".")


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file, up to 16.

    Raises
    ------
    BitlatheError
        Raised if it cannot be opened or read.
    """
    with open_file(path, "model file") as file:
        try:
            return file.read(16)
        except OSError as problem:
            reason = problem.strerror or "unreadable"
            raise BitlatheError(
                f"{shown_path(path)}: cannot read this model file: {reason}."
            ) from None
