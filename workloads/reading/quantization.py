"""How a checkpoint stores its weights: from ``quantization_config`` to formats of a chip.

Facts follow the quantizers of Hugging Face transformers 5.24 (`quantizers/`,
`utils/quantization_config.py`) and the files of compressed-tensors 0.12.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ...datatypes.base.errors import BitlatheError, shown
from ..config import Config
from ..transformer import Experts, Layers, Matrix, Mlp, Part, Recurrent, Transformer

PLAIN = "fp16"  # 16 bits an element, which bf16 has too


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """How a checkpoint stores the matrices of its layers.

    Attributes
    ----------
    method : str
        Its ``quant_method``.
    weight : str
        The scheme of what is quantized.
    input, cache : str or None
        The schemes of what these matrices multiply, and of the K/V cache, where it says so.
    settings : mapping
        The same as keys of a chip, with what is kept in 16 bits as rules.
    codes : str
        What the codes of weights are, where no scheme says them and a decoder makes `weight`.
    """

    method: str
    weight: str
    input: str | None = None
    cache: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    codes: str = ""

    @property
    def sentence(self) -> str:
        """What it says, and how a run takes it."""
        inputs = f", inputs as {self.input}" if self.input else ""
        cache = f", keys and values as {self.cache}" if self.cache else ""
        form = f"{self.codes} that a decoder makes {self.weight}" if self.codes else self.weight
        return (
            f"'quantization_config' ({self.method}): weights are stored as {form}{inputs}"
            f"{cache}; a run takes the chip's formats unless it asks for those of the checkpoint."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What a method says: schemes, modules that it leaves alone, and whether only experts count.

    ``cache_calibrated``: the checkpoint holds the scales of keys and values. ``bits``: those of a
    weight with all that is stored beside its codes; ``beside`` and ``decoder``: what is computed
    with that, and what makes weights of codes, by the keys of a chip's sections; ``rules``: formats
    of layers that are stored in others; ``codes``: what the codes are, where no scheme says them.
    """

    weight: str
    input: str | None = None
    cache: str | None = None
    cache_calibrated: bool = False
    ignored: tuple[str, ...] = ()
    head: bool = False
    experts_only: bool = False
    bits: float | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    decoder: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[Mapping[str, Any], ...] = ()
    codes: str = ""


def _groups(given: Mapping[str, Any], key: str, default: int) -> str:
    """Return the granularity of groups along the inputs; -1 or none is a scale a channel."""
    size = given.get(key, default)
    return "channel" if size in (None, -1) else f"g{size}"


def _ignored(given: Mapping[str, Any], key: str = "modules_to_not_convert") -> tuple[str, ...]:
    names = given.get(key)
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _calibrated(given: Mapping[str, Any]) -> _Said:
    """Return the formats of `bitlathe calibrate` (`workloads.lm.stored`)."""
    rules = []
    for row in given.get("layers", ()):
        rule = {"names": row["names"], "weight": _operand(row)}
        if "blocks" in row:
            rule["layers"] = row["blocks"]
        if row.get("input_activations") is not None:
            rule["input"] = row["input_activations"]
        rules.append(rule)
    bits, weight = given.get("bits_per_weight"), given["weights"]
    return _Said(
        weight=PLAIN if weight is None else weight,
        input=given.get("input_activations"),
        bits=None if bits is None else float(bits),
        beside=dict(given.get("beside", {})),
        decoder=dict(given["decoder"]) if weight is None else dict(given.get("decoder", {})),
        rules=tuple(rules),
        codes=f"codes of {given['method']}" if weight is None else "",
    )


def _operand(given: Mapping[str, Any]) -> Any:
    """Return a format of weights: a scheme, with stated bits where it does not say them."""
    scheme = PLAIN if given["weights"] is None else given["weights"]
    bits = given.get("bits_per_weight")
    return scheme if bits is None else {"scheme": scheme, "bits": float(bits)}


def _mxfp4(given: Mapping[str, Any]) -> _Said:
    return _Said(weight="mxfp4", ignored=_ignored(given), experts_only=True)


def _fp8(given: Mapping[str, Any]) -> _Said:
    block = given.get("weight_block_size")
    if block is None:
        weight, input_ = "fp8_e4m3@tensor", "fp8_e4m3@tensor"
    else:
        high, wide = block
        weight, input_ = f"fp8_e4m3@b{high}x{wide}", f"fp8_e4m3@g{wide}"
    return _Said(weight=weight, input=input_, ignored=_ignored(given))


def _gptq(given: Mapping[str, Any]) -> _Said:
    if given.get("dynamic"):
        raise ValueError("bits that differ by module")
    signed = "" if given.get("sym", True) else "_asym"
    weight = f"int{given.get('bits')}{signed}@{_groups(given, 'group_size', 128)}"
    return _Said(weight=weight, ignored=_ignored(given), head=given.get("lm_head") is True)


def _awq(given: Mapping[str, Any]) -> _Said:
    bits = given.get("bits", given.get("w_bit", 4))
    signed = "_asym" if given.get("zero_point", True) else ""
    key = "q_group_size" if "q_group_size" in given else "group_size"
    return _Said(weight=f"int{bits}{signed}@{_groups(given, key, 128)}", ignored=_ignored(given))


def _bitnet(given: Mapping[str, Any]) -> _Said:
    """Return the formats of BitNet b1.58: -1, 0 and 1 in two bits, four to a byte."""
    return _Said(weight="int2@tensor", input="int8@channel", ignored=_ignored(given))


def _bitsandbytes(given: Mapping[str, Any]) -> _Said:
    skipped = _ignored(given, "llm_int8_skip_modules")
    if given.get("load_in_4bit"):
        kind = "nf4" if given.get("bnb_4bit_quant_type", "fp4") == "nf4" else "fp4_e2m1"
        return _Said(weight=f"{kind}@g64", ignored=skipped)
    return _Said(weight="int8@channel", input="int8@channel", ignored=skipped)


def _compressed(given: Mapping[str, Any]) -> _Said:
    groups = given.get("config_groups")
    if not isinstance(groups, dict) or len(groups) != 1:
        raise ValueError("several groups of layers")
    (group,) = groups.values()
    if group.get("targets") not in (None, ["Linear"]):
        raise ValueError(f"targets {group.get('targets')}")
    weight = _tensor(group["weights"])
    inputs, cache = group.get("input_activations"), given.get("kv_cache_scheme")
    return _Said(
        weight=weight,
        input=None if inputs is None else _tensor(inputs),
        cache=None if cache is None else _tensor(cache),
        cache_calibrated=cache is not None and not cache.get("dynamic"),
        ignored=_ignored(given, "ignore"),
        head=True,
    )


def _tensor(given: Mapping[str, Any]) -> str:
    """Return the scheme of weights or inputs as compressed-tensors describe it."""
    bits, strategy = given["num_bits"], given.get("strategy") or "tensor"
    if given.get("type") == "float" and bits == 4:
        return "nvfp4" if given.get("group_size") == 16 else "mxfp4"
    if given.get("type") == "float":
        kind = {8: "fp8_e4m3"}[bits]
    else:
        kind = f"int{bits}" + ("" if given.get("symmetric", True) else "_asym")
    if strategy == "block":
        high, wide = given["block_structure"]
        return f"{kind}@b{high}x{wide}"
    by = {"tensor": "tensor", "channel": "channel", "token": "channel"}
    return f"{kind}@{by.get(strategy) or _groups(given, 'group_size', 128)}"


_METHODS: Mapping[str, Callable[[Mapping[str, Any]], _Said]] = {
    "mxfp4": _mxfp4,
    "fp8": _fp8,
    "fbgemm_fp8": lambda given: _Said(
        weight="fp8_e4m3@channel", input="fp8_e4m3@channel", ignored=_ignored(given)
    ),
    "gptq": _gptq,
    "awq": _awq,
    "bitnet": _bitnet,
    "bitlathe": _calibrated,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed,
}
"""Readers by ``quant_method``."""


def read_stored(config: Config, shape: Transformer) -> tuple[Stored | None, list[str]]:
    """Read how a checkpoint stores its weights.

    Returns
    -------
    stored : Stored or None
        None without a ``quantization_config``, or with one that is not understood.
    notes : list of str
        A sentence on what is stored how, or on what is not understood.

    Raises
    ------
    BitlatheError
        If it is not an object of keys and values.
    """
    given = config.data.get("quantization_config", config.data.get("compression_config"))
    if given is None:
        return None, []
    if not isinstance(given, dict):
        raise config.error(
            f"'quantization_config' is {shown(given)}; it must be an object with 'quant_method'.",
            "quantization_config",
        )
    from ...datatypes.schemes.scheme import Scheme  # pydantic: not needed for most models

    method = given.get("quant_method")
    how = f" ({method})" if isinstance(method, str) else ""
    try:
        said = _METHODS[str(method)](given)
        schemes = [
            None if text is None else str(Scheme.parse(text))
            for text in (said.weight, said.input, said.cache)
        ]
    except (KeyError, TypeError, ValueError, AttributeError, BitlatheError):
        return None, [
            f"'quantization_config'{how} is not used: how it stores weights is not known here; a "
            "chip or a sweep sets the formats."
        ]
    stored = Stored(
        method=str(method),
        weight=schemes[0] or "",
        input=schemes[1],
        cache=schemes[2],
        settings=_settings(said, schemes, shape),
        codes=said.codes,
    )
    return stored, [stored.sentence]


def _settings(said: _Said, schemes: list[str | None], shape: Transformer) -> dict[str, Any]:
    """Return the keys of a chip that store a model as its checkpoint does."""
    weight, inputs, cache = schemes
    found: dict[str, Any] = {
        "formats.linear.weight": weight
        if said.bits is None
        else {"scheme": weight, "bits": said.bits}
    }
    found |= {f"beside.{key}": value for key, value in said.beside.items()}
    if said.decoder:
        found["pe.decoder"] = dict(said.decoder)
    if inputs is not None:
        found["formats.linear.input"] = inputs
    if cache is not None:
        known = said.cache_calibrated
        found["formats.attention.weight"] = (
            {"scheme": cache, "calibrated": True} if known else cache
        )
    rules = [_kept(names, numbers) for numbers, names in _left_alone(said, shape).items()]
    head = said.head and not _matches(said.ignored, ("lm_head",))
    if not head:
        rules.append(_kept_kind("lm_head"))
    rules.append(_kept_kind("conv"))
    if inputs is not None:
        rules = [{**rule, "input": PLAIN} for rule in rules]
    found["formats.rules"] = [*said.rules, *rules]
    return found


def _kept(names: list[str], numbers: tuple[int, ...] | None) -> dict[str, Any]:
    layers = {} if numbers is None else {"layers": list(numbers)}
    return {"names": sorted(names), **layers, "weight": PLAIN}


def _kept_kind(kind: str) -> dict[str, Any]:
    return {"kind": kind, "weight": PLAIN}


def _left_alone(said: _Said, shape: Transformer) -> dict[tuple[int, ...] | None, list[str]]:
    """Return names of matrices in 16 bits by the numbers of their layers; None: all of them."""
    everywhere: dict[str, set[int]] = {}
    kept: dict[str, set[int]] = {}
    for number, layers in enumerate(shape.in_order):
        for matrix, paths in _paths(layers, number):
            everywhere.setdefault(matrix.name, set()).add(number)
            expert = matrix.stage.startswith("experts")
            alone = matrix.stage == "router" or (said.experts_only and not expert)
            if alone or _matches(said.ignored, paths):
                kept.setdefault(matrix.name, set()).add(number)
    found: dict[tuple[int, ...] | None, list[str]] = {}
    for name, numbers in kept.items():
        where = None if numbers == everywhere[name] else tuple(sorted(numbers))
        found.setdefault(where, []).append(name)
    return found


def _paths(layers: Layers, number: int) -> Iterator[tuple[Matrix, tuple[str, ...]]]:
    """Yield the matrices of a layer with the paths that their modules have in checkpoints."""
    for part in layers.parts:
        for matrix, _ in part.matrices():
            tails = _tails(part, matrix)
            yield matrix, tuple(f"model.layers.{number}.{tail}" for tail in tails)


def _tails(part: Part, matrix: Matrix) -> tuple[str, ...]:
    """Return the names of a matrix's module within its layer, as classes spell them."""
    name = matrix.name
    if isinstance(part, Experts):
        holders = ("mlp", "block_sparse_moe", "feed_forward")
        return tuple(f"{holder}.{tail}" for holder in holders for tail in _of_experts(matrix))
    if isinstance(part, Recurrent):
        rest = name.removeprefix("linear_")
        return (f"linear_attn.{rest}", f"mixer.{rest}", f"mamba.{rest}")
    return (f"{'mlp' if isinstance(part, Mlp) else 'self_attn'}.{name}",)


def _of_experts(matrix: Matrix) -> tuple[str, ...]:
    if matrix.stage == "router":
        return ("gate", "router")
    if matrix.name == "shared_expert_gate":
        return ("shared_expert_gate",)
    of, _, rest = matrix.name.rpartition("expert_")
    return (f"shared_experts.{rest}", f"shared_expert.{rest}") if of else (f"experts.0.{rest}",)


def _matches(patterns: tuple[str, ...], paths: tuple[str, ...]) -> bool:
    """Return whether one of some patterns names one of some modules, or what holds it."""
    return any(_names(pattern, path) for pattern in patterns for path in paths)


def _names(pattern: str, path: str) -> bool:
    if pattern.startswith("re:"):
        return re.match(pattern.removeprefix("re:"), path) is not None
    if "*" in pattern:
        return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*")
    return f".{pattern}." in f".{path}."
