"""The published figures' own form of the model: attention as it was counted then ("v1").

The released performance model counts attention as linear layers over all heads at once, which
over-counts it in prefill, keeps 16-bit keys and values, and lets the linear layers' weight bits
set the bit-serial terms and the SRAM writes of attention too. Everything else is the generic
analytic rung on the chips ``hpca25/*``. Needed only to rebuild the published figures.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from ....arch import Arch, load_arch, resolve
from ....sim.analytic import run_layer
from ....sim.chip import Chip
from ....sim.policy import layer_bits
from ....sim.run import LayerRun, Run
from ....workloads import Gemm, Model, Transformer
from ....workloads.transformer import Attention

KV_BITS = Fraction(16)


def attention_as_published(model: Model, phase: str, context: int) -> tuple[Gemm, Gemm]:
    """Return the two attention products of a layer as the published figures count them.

    With D hidden, H heads, q = context or 1 and kd = D * KV heads / H:
    QK has N = q, K = D, M = H q; AV has N = H q, K = context, M = q; an input row is kd wide.
    """
    sizes = model.shape
    assert isinstance(sizes, Transformer)
    attention = sizes.only(Attention)
    D, H = sizes.hidden, attention.heads
    q = context if phase == "prefill" else 1
    kd = D * attention.kv_heads // H
    rest: Any = {"count": sizes.depth, "stationary": "kv_cache"}
    return (
        Gemm(name="qk", kind="attention_qk", m=H * q, n=q, k=D, input_elements=kd * H * q, **rest),
        Gemm(
            name="av", kind="attention_av", m=q, n=H * q, k=context, input_elements=kd * q, **rest
        ),
    )


def published_chip(accelerator: str, bits: float, phase: str, model: Model) -> Arch:
    """Return the chip ``hpca25/<accelerator>`` with the weight bits of the published figures.

    Parameters
    ----------
    accelerator : str
        Name of a chip in ``hpca25/``.
    bits : float
        Bits of a stored weight.
    phase : {"prefill", "decode"}
        Decides the chip's overrides.
    model : Model
        Decides the chip's overrides.
    """
    chip = resolve(load_arch(f"hpca25/{accelerator}"), phase=phase, model=model.name)
    return load_arch(chip, {"formats.linear.weight": {"bits": bits}})


def run_as_published(
    arch: Arch,
    model: Model,
    phase: str,
    context: int,
    *,
    published_attention: bool = True,
    mapper: str = "whole-buffer",
) -> Run:
    """Return the run of a model on a resolved chip in the published form.

    ``published_attention=False`` takes the correct attention products instead and leaves all else.

    Parameters
    ----------
    arch : Arch
        A resolved chip.
    model : Model
        What runs.
    phase, context
        As `sim.simulate` takes them.
    published_attention : bool
        Without it the attention products are the correct ones.
    mapper : str
        How layers are laid on the chip.
    """
    chip = Chip.of(arch)
    layers: list[LayerRun] = []
    gemms = model.gemms(phase=phase, context=context, batch=1)
    for gemm in gemms:
        if gemm.role in ("linear", "head"):
            layers.append(run_layer(chip, gemm, layer_bits(arch, gemm), mapper))
    linear = layer_bits(arch, gemms[0])
    attention = replace(linear, weight=KV_BITS)
    products = (
        attention_as_published(model, phase, context)
        if published_attention
        else [g for g in gemms if g.role in ("scores", "mix")]
    )
    layers += [run_layer(chip, g, attention, mapper) for g in products]
    return Run(
        arch=arch.name,
        model=model.name,
        phase=phase,
        context=context,
        batch=1,
        fidelity="analytic",
        mapper=mapper,
        clock_ghz=arch.technology.clock_ghz,
        area_um2=chip.area_um2,
        layers=tuple(layers),
    )
