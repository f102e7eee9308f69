"""Kinds of files that hold models, told by their first bytes: those not read, and what to give."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from ...datatypes.base.errors import BitlatheError, unknown_name
from ...datatypes.base.files import open_file, shown_path

ENDINGS = (".json", ".yaml", ".yml", ".csv", ".gguf", ".safetensors", ".onnx")
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
# first bytes of what stands in the place of a file that was not fetched
_INSTEAD: tuple[tuple[bytes, str], ...] = (
    (b"version https://", "a pointer of Git LFS, not the file itself; fetch it with git lfs pull"),
    (b"<!doctype html", "a web page, not the file itself; download the file that it shows"),
    (b"<html", "a web page, not the file itself; download the file that it shows"),
)
# endings that say more than the first bytes do, or of files without any
_ENDINGS: Mapping[str, str] = {
    **dict.fromkeys(
        (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"),
        f"weights of PyTorch, by its ending {{ending!r}}: {_PICKLE}",
    ),
    **dict.fromkeys(
        (".pt2", ".keras", ".mlpackage"),
        "an exported program, by its ending {ending!r}, which is not read; export it to ONNX",
    ),
    ".npz": f"an archive of numpy arrays, not a model; {_CONFIG}",
    ".pb": "a TensorFlow graph, by its ending '.pb', which is not read; export the model to ONNX",
    ".msgpack": f"weights of Flax, by its ending '.msgpack', which are not read; {_CONFIG}",
    ".mlmodel": "a Core ML model, by its ending '.mlmodel', which is not read; export it to ONNX",
    ".py": "a Python program; give the torch module that it makes to bitlathe.from_torch",
    ".cfg": "a configuration, by its ending '.cfg'; SCALE-Sim's layers stand in a topology's .csv",
}


# keys at the top of other files in JSON and YAML -> what such a file is, and what to give
_TOPS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("peft_type",), "an adapter's configuration; give the config.json of its base model"),
    (("added_tokens", "model"), f"a tokenizer; {_CONFIG}"),
    (("chips", "parallel"), "a system of chips; give it as the chip (--arch)"),
    (("tokenizer_class",), f"a tokenizer's configuration; {_CONFIG}"),
    (("image_processor_type",), f"an image processor's configuration; {_CONFIG}"),
    (("bos_token_id", "eos_token_id"), f"settings of generation; {_CONFIG}"),
    (("bos_token_id", "transformers_version"), f"settings of generation; {_CONFIG}"),
    (("array", "pe"), "a chip; give it as the chip (--arch)"),
    (("arch", "models"), "a sweep; run it with bitlathe sweep"),
    (("prefill",), "a step of a server; give it as the step (--step)"),
    (("decode",), "a step of a server; give it as the step (--step)"),
    (("temperature",), f"settings of generation; {_CONFIG}"),
    (("scheduler",), "a pipeline of diffusers; give the config.json of its transformer or unet"),
)
# keys without which none of these is a model
_MODEL_KEYS = ("model_type", "layers", "products", "hidden_size", "architectures")


def refuse_others(path: Path) -> None:
    """Refuse a file of a kind that is not read, and say what it is and what to give instead.

    Raises
    ------
    BitlatheError
        Raised if it is of such a kind, or cannot be opened.
    """
    start, ending, kind = first_bytes(path), path.suffix.lower(), kind_of(path)
    if not start and ending != ".csv":  # its reader tells what its first line must say
        raise BitlatheError(f"{shown_path(path)}: the file is empty.")
    for mark, instead in _INSTEAD:
        if start.lower().startswith(mark):
            raise BitlatheError(f"{shown_path(path)}: this is {instead}.")
    if kind in ("gguf", "safetensors"):  # a header's length may look like another mark
        return
    magic = (what for at, mark, what in _MAGIC if start[at : at + len(mark)] == mark)
    what = _ENDINGS.get(ending) or next(magic, None)
    if what is not None:
        raise BitlatheError(f"{shown_path(path)}: this is {what.format(ending=ending)}.")
    known = ending in ("", *ENDINGS) or start[:1] == b"{" or kind != ending[1:]
    if not known:
        raise BitlatheError(
            f"{shown_path(path)}: files that end in {ending!r} are not read; give one of "
            f"{', '.join(ENDINGS)}, or a folder with a config.json."
        )


def refuse_text(keys: Collection[str], place: str) -> None:
    """Refuse a file in JSON or YAML that describes something else than a model.

    Raises
    ------
    BitlatheError
        Raised if its keys at the top are those of another kind of file.
    """
    if any(key in keys for key in _MODEL_KEYS):
        return
    for tops, what in _TOPS:
        if all(key in keys for key in tops):
            raise BitlatheError(f"{place}: this is {what}.")


def no_such(text: str, names: Iterable[str]) -> BitlatheError:
    """Return the error for a name that is neither a shipped model's nor a path of something."""
    place, path = shown_path(text), Path(text)
    if re.match(r"[a-z]+://", text):
        return BitlatheError(
            f"{place}: nothing is fetched from the network; give the path of the file."
        )
    if path.suffix.lower() in ENDINGS or len(path.parts) > 2 or text.startswith((".", "/", "~")):
        return BitlatheError(
            f"{place}: cannot read this model file: no such file; give the path of a config.json, "
            "its folder, or a shipped model's name."
        )
    if len(path.parts) == 2:
        return BitlatheError(
            f"{place}: cannot read this model file: no such file or folder; if it is the name of a "
            "model on a hub, nothing is fetched from there: give the path of its config.json."
        )
    return BitlatheError(
        f"{unknown_name('model', text, names)}; or give the path of a config.json."
    )


def no_config(folder: Path) -> BitlatheError:
    """Return the error for a folder without a config.json, which names what else it holds."""
    held = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    more = f", but {', '.join(held[:4])}; give the path of the file" if held else ""
    return BitlatheError(f"{folder}: the folder holds no config.json{more}.")


def kind_of(path: Path) -> str:
    """Return what a file is by its first bytes: or the ending of its name."""
    start = first_bytes(path)
    if start[:4] == b"GGUF":
        return "gguf"
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and length < 1 << 40:  # far below the first eight letters of a text
        return "safetensors"
    if start[:1] == b"\x08" and start[1:2] < b"\x20":  # protobuf: field 1 is the version
        return "onnx"
    if start[:1] == b"{":
        return "json"
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
