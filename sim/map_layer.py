"""A layer on a chip, to be mapped: a product, or a layer of a model, as a simulation runs it."""

from ..arch import Arch, resolve
from ..arch.schema import check_supported
from ..datatypes.base.errors import BitlatheError, unknown_name
from ..mapping.mapped import Asked
from ..mapping.nest import Loops
from ..workloads import Gemm, Model
from .chip import Chip
from .layer_bits import LayerBits
from .layout import cropped
from .mapped import nest_bits, nest_hierarchy
from .policy import calibrated_caches, layer_bits, with_numbers
from .results import results_of


def layer_on(
    arch: Arch,
    model: Model,
    layer: str,
    phase: str = "prefill",
    context: int | None = None,
    batch: int = 1,
    logits: str = "all",
) -> Asked:
    """Return a layer of a model on a chip, with the bits and clocks that a simulation gives it.

    Parameters
    ----------
    arch : Arch
    model : Model
    layer : str
        Its name, e.g. ``"q_proj"``.
    phase : {"prefill", "decode"}
    context : int, optional
        Tokens; 256 for text models, fixed by vision models.
    batch : int
        Sequences (images) at once.
    logits : {"all", "last"}
        Tokens of a prefill that the output head works on.

    Raises
    ------
    BitlatheError
        The model has no such layer, sizes are impossible, the chip's PEs split multipliers, or
        its keys or values have scales that a growing cache cannot have.
    """
    resolved, model = with_numbers(resolve(arch, phase=phase, model=model.name), model)
    check_supported(resolved)
    staged = model.staged(phase, context, batch, logits=logits)
    gemm = _named(layer, model.products(staged))
    grows = phase == "decode"
    calibrated_caches(resolved, model, staged, grows=grows)
    results, _ = results_of(resolved, model, staged, grows=grows)
    bits = layer_bits(resolved, gemm, None, results.of(gemm))
    return _asked(resolved, cropped(gemm), bits)


def product_on(arch: Arch, m: int, n: int, k: int, phase: str = "prefill") -> Asked:
    """Return a product of a chip's linear layers, as `layer_on` returns a layer of a model.

    Parameters
    ----------
    arch : Arch
    m, n, k : int
        Tokens, outputs, inputs.
    phase : {"prefill", "decode"}
        For chips that differ by phase.
    """
    resolved = resolve(arch, phase=phase, model="")
    check_supported(resolved)
    gemm = Gemm(name="product", m=m, n=n, k=k)
    return _asked(resolved, gemm, layer_bits(resolved, gemm))


def _asked(arch: Arch, gemm: Gemm, bits: LayerBits) -> Asked:
    chip = Chip.of(arch).split_for(bits.split)
    return Asked(
        layer=Loops.of(gemm),
        bits=nest_bits(chip, gemm, bits),
        hierarchies=tuple(nest_hierarchy(chip, gemm, bits, each) for each in chip.hierarchies),
    )


def _named(layer: str, gemms: tuple[Gemm, ...]) -> Gemm:
    for gemm in gemms:
        if gemm.name == layer:
            return gemm
    raise BitlatheError(unknown_name("layer", layer, [gemm.name for gemm in gemms]) + ".")
