"""Matrices of a weight file, by their shapes: compared with those of a model, or run alone."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

from ...datatypes.base.errors import BitlatheError
from ..gemm import Gemm
from ..products import Entry, Products
from .graph import shared_names

Shape = tuple[int, ...]
# tensors that are looked up or added, of whatever shape; those of four dimensions are convolutions
_TABLES = re.compile(r"embed(?!_out)|wte|wpe|_embd|token_types|^shared\.|\.shared\.|rope_|position")
# tensors of two dimensions that no product has: biases of experts, scales, state-space constants
_BESIDE = re.compile(r"bias$|_scale(_inv)?s?$|scales?$|A_log$|ssm_a$|conv1d|absmax$|sinks$")
# names under which quantized matrices are packed, so that shapes are not those of the matrices
_PACKED = re.compile(r"qweight$|_blocks$|weight_packed$|\.quant_state|g_idx$")
_FUSED = 3  # matrices that a file may hold as one: query, key and value


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a weight file holds.

    Attributes
    ----------
    place : str
        The file, as errors name it.
    shapes : mapping of str to tuple of int
        The shape of each tensor.
    formats : mapping of str to str
        How each is stored, in the words of its file.
    """

    place: str
    shapes: Mapping[str, Shape]
    formats: Mapping[str, str] = field(default_factory=dict)

    @property
    def packed(self) -> str | None:
        """A tensor that is packed, so that its shape is not that of the matrix; None if none is."""
        return next((name for name in self.shapes if _PACKED.search(name)), None)

    def matrices(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield (name, outputs, inputs, how many) of each matrix, a stack of experts as many."""
        for name, whole in self.shapes.items():
            shape = _without_ones(whole)
            if len(shape) < 2 or _BESIDE.search(name):
                continue
            if len(whole) >= 4:  # a convolution
                yield name, whole[0], _product(whole[1:]), 1
            elif not _TABLES.search(name):
                yield name, shape[-2], shape[-1], _product(shape[:-2])


def _without_ones(shape: Shape) -> Shape:
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def _product(sizes: Iterable[int]) -> int:
    whole = 1
    for size in sizes:
        whole *= size
    return whole


def check_weights(weights: Weights, gemms: Iterable[Gemm], elements: int) -> None:
    """Compare the matrices of a file with those of the model that its configuration describes.

    A file may hold matrices that read the same inputs as one, or one as several, and any of them
    the other way round; the output head may be left out, where it is the embedding.

    Parameters
    ----------
    weights : Weights
    gemms : iterable of Gemm
        The model's products.
    elements : int
        Elements of all its matrices, the head among them.

    Raises
    ------
    BitlatheError
        Raised if a matrix is none of the model's, or they hold more or fewer elements.
    """
    known: dict[int, set[int]] = {}
    head, vectors = 0, dict[str, int]()
    for gemm in gemms:
        if gemm.stationary == "weight":
            known.setdefault(gemm.k, set()).add(gemm.n)
            head = max(head, gemm.n * gemm.k) if gemm.role == "head" else head
            if gemm.n == 1:  # a vector in the file
                vectors[gemm.name] = gemm.k * gemm.count
    elements -= sum(vectors.values())
    held: dict[int, set[int]] = {}
    for _, outputs, inputs, _ in weights.matrices():
        held.setdefault(inputs, set()).add(outputs)
    total = 0
    for name, outputs, inputs, many in weights.matrices():
        turned = outputs in known and inputs in known[outputs]
        if not turned and not _fits(outputs, inputs, known, held):
            raise BitlatheError(
                f"{weights.place}: tensor {name!r} is {outputs} x {inputs}, which is no matrix of "
                f"the model that its configuration describes: {_stated(inputs, known)}."
            )
        total += outputs * inputs * many
    if total not in (elements, elements - head):
        raise BitlatheError(
            f"{weights.place}: its matrices hold {total:,} elements, those of the model that its "
            f"configuration describes {elements:,}: layers or experts are missing on one side."
        )


def _fits(
    outputs: int, inputs: int, known: Mapping[int, set[int]], held: Mapping[int, set[int]]
) -> bool:
    """Return whether a matrix is one of the known, several of them, or a part of one."""
    mine, theirs = held.get(inputs, set()), known.get(inputs, set())
    return (
        outputs in theirs
        or outputs in _sums(theirs)
        or any(whole in theirs for whole in _sums(mine, outputs))
    )


def _sums(sizes: Iterable[int], one: int | None = None) -> set[int]:
    """Return the sums of two or three sizes, ``one`` among them if it is given."""
    given = sorted(sizes)
    return {
        sum(each)
        for count in range(2, _FUSED + 1)
        for each in combinations_with_replacement(given, count)
        if one is None or one in each
    }


def _stated(inputs: int, known: Mapping[int, set[int]]) -> str:
    if inputs in known:
        return f"those with {inputs} inputs have {', '.join(map(str, sorted(known[inputs])))}"
    return f"none has {inputs} inputs, but {', '.join(map(str, sorted(known)))}"


def alone(weights: Weights) -> Products:
    """Return the matrices of a file as linear layers, with a row for each token.

    Raises
    ------
    BitlatheError
        Raised if there is none, or they are packed.
    """
    if packed := weights.packed:
        raise BitlatheError(
            f"{weights.place}: tensor {packed!r} is packed: its shape is not that of the matrix; "
            "put the model's config.json beside the file."
        )
    gemms = [
        Gemm(name=name.removesuffix(".weight"), m=1, n=n, k=k, count=many)
        for name, n, k, many in weights.matrices()
    ]
    if not gemms:
        raise BitlatheError(f"{weights.place}: the file holds no matrices.")
    names = shared_names(gemms)
    entries = zip(names, gemms, strict=True)
    return Products(
        entries=tuple(
            Entry(gemm=Gemm(name=name, m=1, n=gemm.n, k=gemm.k, count=gemm.count), by_token=True)
            for name, gemm in entries
        ),
        merged=True,
        parameters=sum(_product(shape) for shape in weights.shapes.values()),
    )
