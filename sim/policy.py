"""How a chip stores the operands of a layer: formats by its role, keys and values as read."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..arch.formats import LayerFormats, Operand
from ..arch.schema import Arch
from ..datatypes.base.errors import BitlatheError
from ..datatypes.schemes.granularity import Granularity
from ..workloads.gemm import ROUTERS, Gemm, Role
from ..workloads.model import Model
from ..workloads.vector_step import VectorStep
from .layer_bits import LayerBits

FORMAT_KINDS: Mapping[Role, str] = {
    "linear": "linear",
    "head": "lm_head",
    "conv": "conv",
    "scores": "attention",
    "mix": "attention",
}
"""The section of a chip's formats that a layer takes, by its role."""
_OPERANDS = ("weight", "input", "output")
MANY_TOKENS = 2**20  # scales along so many tokens weigh next to nothing


def formats_of(arch: Arch, kind: str) -> LayerFormats:
    """Return the formats of a kind of layer; kinds without their own follow linear layers.

    Raises
    ------
    BitlatheError
        If it is attention, and the chip has no formats of it.
    """
    return _of(arch, kind)


def formats_for(arch: Arch, gemm: Gemm) -> LayerFormats:
    """Return the formats of a product: those of its kind, as the chip's rules change them."""
    return _of(arch, format_kind(gemm), gemm.name, gemm.layers)


def _of(arch: Arch, *kind: Any) -> LayerFormats:
    try:
        return arch.formats.of(*kind)
    except BitlatheError as err:
        raise BitlatheError(f"{arch.name}: {err}") from None


def format_kind(gemm: Gemm) -> str:
    """Return the section of a chip's formats that a product takes; a router's by its name."""
    return "router" if gemm.name in ROUTERS else FORMAT_KINDS[gemm.role]


def with_numbers(arch: Arch, model: Model) -> tuple[Arch, Model]:
    """Return a chip and a model for rules that number layers: counted from 0, and told apart.

    Raises
    ------
    BitlatheError
        If the model has no layers, or not as many.
    """
    rules = arch.formats.rules or ()
    if not any(rule.layers for rule in rules):
        return arch, model
    counted, groups = [], []
    for i, rule in enumerate(rules):
        if rule.layers is None:
            counted.append(rule)
            continue
        try:
            numbers = rule.numbers(model.depth)
        except ValueError as error:
            raise BitlatheError(f"formats.rules.{i}.{error} ({model.name})") from None
        groups.append(numbers)
        counted.append(rule.model_copy(update={"layers": tuple(sorted(numbers))}))
    formats = arch.formats.model_copy(update={"rules": tuple(counted)})
    return arch.model_copy(update={"formats": formats}), model.told_apart(groups)


def format_labels(arch: Arch, kind: str) -> dict[str, str]:
    """Return the schemes of a kind of layer by operand, in words."""
    formats = formats_of(arch, kind)
    return {operand: getattr(formats, operand).label for operand in _OPERANDS}


def labels_by_kind(arch: Arch, gemms: Iterable[Gemm]) -> dict[str, dict[str, str]]:
    """Return the schemes of each kind of layer that there is (`format_labels`), and of rules."""
    kinds = dict.fromkeys(map(format_kind, gemms))
    if arch.formats.router is None:
        kinds.pop("router", None)
    found = {kind: format_labels(arch, kind) for kind in kinds}
    if arch.formats.norm is not None:
        stored = {"weight": arch.formats.norm.weight, "input": arch.formats.stored("norm", "input")}
        found["norm"] = {operand: each.label for operand, each in stored.items()}
    for i in range(len(arch.formats.rules or ())):
        formats = arch.formats.by_kind[f"rules.{i}"]
        found[f"rules.{i}"] = {name: getattr(formats, name).label for name in _OPERANDS}
    return found


def idle_rules(arch: Arch, gemms: Iterable[Gemm]) -> tuple[str, ...]:
    """Return the rules that name products of which there is none: a misspelled name, perhaps.

    Rules about all products of a kind are left out: a model need not have each kind.
    """
    products = [(format_kind(gemm), gemm.name, gemm.layers) for gemm in gemms]
    return tuple(
        f"formats.rules.{i} ({rule.kind} {', '.join(rule.names)})"
        for i, rule in enumerate(arch.formats.rules or ())
        if rule.names != ("*",) and not any(rule.covers(*product) for product in products)
    )


def calibrated_caches(arch: Arch, gemms: Iterable[Gemm], phase: str) -> tuple[str, ...]:
    """Return, for what a growing cache stores with scales over all its tokens, what that means.

    A new token may change such a scale, and with it all that is stored: it must be known
    beforehand. A sentence each for keys and values, with a scheme that asks for none. The keys and
    values of a source, and published accountings, are left out.
    """
    if phase != "decode" or arch.published_accounting:
        return ()
    found: dict[str, None] = {}
    for gemm in gemms:
        whole = _WHOLE_CACHE.get(gemm.role)
        if whole is None or gemm.name.endswith("_cross"):
            continue
        stored = formats_for(arch, gemm).weight
        if stored.bits is None and any(map(whole.shares, stored.scale_shapes)):
            found[
                f"{whole.what} in {stored.label} ({gemm.name}) have a scale over all tokens, which "
                "is known beforehand, by calibration; a cache that grows cannot make it: "
                f"{whole.instead} has one for each token"
            ] = None
    return tuple(found)


def without_numbers(arch: Arch, where: str) -> Arch:
    """Return a chip whose rules number no layers.

    Raises
    ------
    BitlatheError
        If one does; ``where`` says what cannot take it.
    """
    for i, rule in enumerate(arch.formats.rules or ()):
        if rule.layers is not None:
            raise BitlatheError(
                f"formats.rules.{i}.layers: {where} tells no layers apart; give names only."
            )
    return arch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cached:
    """Keys or values: which scales all of their tokens share, and a scheme without such."""

    what: str
    shares: Callable[[Granularity], bool]
    instead: str


_WHOLE_CACHE: Mapping[Role, _Cached] = {
    "scores": _Cached(what="keys", shares=lambda shape: shape.rows == 0, instead="int8@channel"),
    "mix": _Cached(what="values", shares=lambda shape: shape.columns == 0, instead="int8@input"),
}


@dataclass(frozen=True, slots=True)
class CacheBits:
    """Stored bits of a key, and of a value, in the K/V cache; bits of their code."""

    key: Fraction
    value: Fraction
    code: Fraction

    @classmethod
    def of(
        cls, arch: Arch, gemms: Iterable[Gemm], phase: str, *, by_rows: bool = False
    ) -> "CacheBits | None":
        """Return the bits in which attention reads the cache, the most of any of its layers.

        A token that decode adds to the values brings no scale of its own where they are scaled
        along the tokens, nor to what all of them share: it takes what an element of many tokens
        does. None without attention, and on chips that count as the BitMoD study, which writes keys
        and values as plain results.

        Parameters
        ----------
        arch : Arch
        gemms : iterable of Gemm
            The products of a pass.
        phase : {"prefill", "decode"}
            Decode adds tokens to a cache that is there.
        by_rows : bool
            Whether a rule stores each row by itself (`LayerBits.of`).
        """
        if arch.published_accounting:
            return None
        found = {role: [gemm for gemm in gemms if gemm.role == role] for role in ("scores", "mix")}
        if not all(found.values()):
            return None
        many = MANY_TOKENS if phase == "decode" else None
        keys = [(formats_for(arch, g).weight, g.k, many or g.n) for g in found["scores"]]
        values = [(formats_for(arch, g).weight, many or g.k, g.n) for g in found["mix"]]
        key, value = (
            max(
                stored.row_bits(k, rows) if by_rows else stored.bits_per_element(k, rows)
                for stored, k, rows in some
            )
            for some in (keys, values)
        )
        return cls(key, value, max(stored.code_bits for stored, _, _ in (*keys, *values)))

    def of_outputs(
        self, gemm: Gemm, plain: Operand, *, by_rows: bool = False
    ) -> tuple[Fraction, Fraction]:
        """Return the mean bits of a layer's results, of which some go into the cache; of codes."""
        cached = gemm.keys + gemm.values
        others, rows = gemm.n - cached, gemm.m * gemm.batch
        stored = gemm.keys * self.key + gemm.values * self.value
        if others:
            each = plain.row_bits(others, rows) if by_rows else plain.bits_per_element(others, rows)
            stored += others * each
        code = cached * self.code + others * plain.code_bits
        return stored / gemm.n, code / gemm.n


def of_stream(arch: Arch, steps: Iterable[VectorStep]) -> frozenset[str]:
    """Return the products whose results a residual sum turns into the stream as they leave.

    Empty where the chip stores the stream as it does results.
    """
    if arch.formats.norm is None or arch.formats.norm.input is None:
        return frozenset()
    added = (step for step in steps if any(each.kind == "norm" for each in step.makes))
    return frozenset(name for step in added for name in step.after)


def layer_bits(
    arch: Arch,
    gemm: Gemm,
    weights: Any | None = None,
    cache: CacheBits | None = None,
    streams: Collection[str] = (),
    *,
    by_rows: bool = False,
) -> LayerBits:
    """Return the stored bits of a layer's operands on a chip, and the clocks of its weights.

    Parameters
    ----------
    arch : Arch
    gemm : Gemm
    weights : (N, K) array or QuantizedTensor, optional
        Weights whose zero terms the chip skips; a seeded stand-in by default.
    cache : CacheBits, optional
        How attention reads keys and values, and so how they are written.
    streams : collection of str
        Products whose results leave as the stream that layers add to (`of_stream`).
    by_rows : bool
        Whether a rule stores each row by itself (`LayerBits.of`).
    """
    formats = formats_for(arch, gemm)
    output = None
    if cache is not None and gemm.keys + gemm.values:
        output = cache.of_outputs(gemm, formats.output, by_rows=by_rows)
    if gemm.name in streams:
        stream, (rows, length) = arch.formats.stored("norm", "input"), gemm.stored("output")
        bits_each = stream.row_bits if by_rows else stream.bits_per_element
        output = bits_each(length, rows), stream.code_bits
    return LayerBits.of(arch, formats, gemm, weights, output, by_rows=by_rows)
