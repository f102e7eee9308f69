"""A layer of a model on a chip, to be mapped: what `bitlathe map --model M --layer L` asks."""

from ..arch import Arch, resolve
from ..arch.schema import check_supported
from ..datatypes.base.errors import BitlatheError, unknown_name
from ..mapping.mapped import Asked
from ..mapping.nest import Loops
from ..workloads import Gemm, Model
from .chip import Chip
from .layout import cropped
from .mapped import nest_bits, nest_hierarchy
from .policy import CacheBits, layer_bits


def layer_on(
    arch: Arch,
    model: Model,
    layer: str,
    phase: str = "prefill",
    context: int | None = None,
    batch: int = 1,
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

    Raises
    ------
    BitlatheError
        The model has no such layer, or sizes are impossible.
    """
    resolved = resolve(arch, phase=phase, model=model.name)
    check_supported(resolved)
    gemms = model.gemms(phase, context, batch)
    gemm = _named(layer, gemms)
    bits = layer_bits(resolved, gemm, None, CacheBits.of(resolved, gemms, phase))
    chip, whole = Chip.of(resolved), cropped(gemm)
    return Asked(
        layer=Loops.of(whole),
        bits=nest_bits(chip, whole, bits),
        hierarchies=tuple(nest_hierarchy(chip, whole, bits, each) for each in chip.hierarchies),
    )


def _named(layer: str, gemms: tuple[Gemm, ...]) -> Gemm:
    for gemm in gemms:
        if gemm.name == layer:
            return gemm
    raise BitlatheError(unknown_name("layer", layer, [gemm.name for gemm in gemms]) + ".")
