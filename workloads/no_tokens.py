"""Passes of models that are no transformers: convolution networks, and lists of products."""

from dataclasses import replace

from ..datatypes.base.errors import BitlatheError
from .conv import ConvNet
from .gemm import Gemm
from .products import Products
from .transformer import Staged
from .transformer.matrix import Product


def staged_convolutions(network: ConvNet, images: int) -> Staged:
    """Return the products of a convolution network, in order, and what stands between them."""
    return Staged(
        before=tuple(
            Product(
                stage="conv", gemm=layer.gemm(images), inputs=layer.sources, takes=(layer.takes,)
            )
            for layer in network.layers
        ),
        steps=network.vector_steps(images),
    )


def staged_list(listed: Products, gemms: tuple[Gemm, ...], inputs: int) -> Staged:
    """Return the products of a list, each with what it reads, and what stands between them."""
    return Staged(
        before=tuple(
            Product(
                stage="listed",
                gemm=gemm,
                inputs=entry.inputs,
                weights=entry.operands,
                leaves=entry.leaves,
                direct=entry.direct,
            )
            for entry, gemm in zip(listed.entries, gemms, strict=True)
        ),
        steps=tuple(step.of_inputs(inputs) for step in listed.steps),
    )


def check_conv_run(phase: str, context: int | None, causal: bool) -> None:
    """Raise unless a convolution network can run so.

    Raises
    ------
    BitlatheError
        If tokens are asked for: it has none.
    """
    if phase == "decode":
        raise BitlatheError(
            "phase 'decode' needs a model that generates tokens; a convolution network reads "
            "its whole input at once: use phase 'prefill'."
        )
    if context is not None:
        raise BitlatheError(
            f"context is {context}, but a convolution network has no tokens. Leave context out."
        )
    if causal:
        raise BitlatheError("causal=True needs a decoder; a convolution network has no mask.")


def merge_alike(gemms: tuple[Gemm, ...]) -> tuple[Gemm, ...]:
    """Merge layers that differ in nothing but their name; the first one's name stays."""
    first: dict[Gemm, str] = {}
    count: dict[Gemm, int] = {}
    for gemm in gemms:
        shape = replace(gemm, name="", count=1)
        first.setdefault(shape, gemm.name)
        count[shape] = count.get(shape, 0) + gemm.count
    return tuple(replace(s, name=first[s], count=count[s]) for s in first)
