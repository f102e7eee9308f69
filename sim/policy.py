"""How a chip stores the operands of a layer: formats by its role, keys and values as read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ..arch.formats import LayerFormats
from ..arch.schema import Arch
from ..datatypes.base.errors import BitlatheError
from ..datatypes.schemes.granularity import Granularity
from ..workloads.gemm import ROUTERS, Gemm, Role
from ..workloads.model import Model
from ..workloads.transformer import Staged
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


def calibrated_caches(arch: Arch, model: Model, staged: Staged, *, grows: bool) -> tuple[str, ...]:
    """Return what a growing cache stores with scales over all its tokens: a sentence each.

    A new token may change such a scale, and with it all that is stored: the chip must say that it
    is known beforehand. The keys and values of a source, which no token joins, may have any scale,
    and so may those of an encoder and those whose stored bits a study states.

    Parameters
    ----------
    arch : Arch
    model : Model
    staged : Staged
        The pass.
    grows : bool
        Whether it adds tokens to a cache that is there. The cache that a prompt leaves in a model
        that generates will grow.

    Raises
    ------
    BitlatheError
        If the chip does not say so.
    """
    if not grows and not model.generates:
        return ()
    found: dict[str, None] = {}
    for gemm in replace(staged, source=None).gemms():
        whole = _WHOLE_CACHE.get(gemm.role)
        if whole is None or gemm.name.endswith("_cross"):
            continue
        stored = formats_for(arch, gemm).weight
        if stored.bits is not None or not any(map(whole.shares, stored.scale_shapes)):
            continue
        if not stored.calibrated:
            raise BitlatheError(
                f"{arch.name}: {_key_of(arch, gemm)}: {whole.what} in {stored.label} ({gemm.name}) "
                "have a scale over all tokens, which a cache that grows cannot have: a new token "
                f"may change it, and with it all that is stored; write {whole.rule}, a scale for "
                f"each token, or {{scheme: {stored.scheme}, calibrated: true}} where the scale is "
                "known beforehand."
            )
        if grows:
            found[
                f"{whole.what} in {stored.label} ({gemm.name}) have a scale over all tokens, known "
                "beforehand by calibration"
            ] = None
    return tuple(found)


def _key_of(arch: Arch, gemm: Gemm) -> str:
    """Return the key by which a chip says in which format keys or values are."""
    product = format_kind(gemm), gemm.name, gemm.layers
    for i, rule in reversed([*enumerate(arch.formats.rules or ())]):
        if rule.weight is not None and rule.covers(*product):
            return f"formats.rules.{i}.weight"
    return "formats.attention.weight"


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
    names: str

    @property
    def rule(self) -> str:
        """A rule of the chip about them alone."""
        return f"formats.rules: [{{kind: attention, names: {self.names}, weight: {self.instead}}}]"


_WHOLE_CACHE: Mapping[Role, _Cached] = {
    "scores": _Cached(
        what="keys",
        shares=lambda shape: shape.rows == 0,
        instead="int8@channel",
        names="attention_qk*",
    ),
    "mix": _Cached(
        what="values",
        shares=lambda shape: shape.columns == 0,
        instead="int8@input",
        names="attention_av*",
    ),
}


def layer_bits(
    arch: Arch,
    gemm: Gemm,
    weights: Any | None = None,
    output: tuple[Fraction, Fraction] | None = None,
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
    output : (Fraction, Fraction), optional
        Mean bits of a result, and of its code, as what reads it has it (`sim.results`).
    by_rows : bool
        Whether a rule stores each row by itself (`LayerBits.of`).
    """
    return LayerBits.of(arch, formats_for(arch, gemm), gemm, weights, output, by_rows=by_rows)
