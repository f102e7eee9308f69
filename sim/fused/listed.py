"""Lists of products, as traces and ONNX graphs leave them: who reads whose results, what is apart.

A list says which earlier products a product reads, a graph through which steps. A product is a
reader by itself where its input is what others made, each element in its place: one product, or
several that one pass of the vector unit joins (`workloads.sources.passes`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from ...workloads import Model
from ...workloads.products import Products
from ...workloads.transformer import Staged, Transformer
from ...workloads.transformer.matrix import Product
from ...workloads.vector_step import VectorStep
from ..run import LayerRun

SEVERAL = ""
"""In the place of a reader for which elements were moved, or joined with others'."""


def edges_of(model: Model, staged: Staged) -> tuple[tuple[str, str], ...]:
    """Return names of a product and of one that reads its results, in their places.

    Parameters
    ----------
    model : Model
    staged : Staged
        A pass of it.
    """
    if isinstance(model.shape, Transformer):
        return tuple(staged.edges())
    if not isinstance(model.shape, Products):
        return ()
    found = list[tuple[str, str]]()
    for product in staged.before:
        reader = product.gemm.name if product.direct else SEVERAL
        found += [(name, reader) for name in product.inputs]
        found += [(name, SEVERAL) for name in product.weights]
        if product.leaves:
            found.append((product.gemm.name, SEVERAL))
    return tuple(found)


def apart_in_lists(
    products: Sequence[Product], steps: Iterable[VectorStep], layers: Iterable[LayerRun]
) -> dict[str, str]:
    """Return what of a list runs layer by layer though it looks like a chain, and why.

    Parameters
    ----------
    products : sequence of Product
    steps : iterable of VectorStep
        What stands between them.
    layers : iterable of LayerRun
        Of the run.
    """
    found = dict[str, str]()
    joined = {step.after for step in steps}
    for product in products:
        gated = len(product.inputs) == 2 and product.inputs not in joined
        if gated and _gated(product, products):
            name = "+".join((*product.inputs, product.gemm.name))
            found[name] = (
                "no step is known that joins the two alone, each element in its place; the "
                "model's configuration may say it."
            )
    convs = [product.gemm.name for product in products if product.gemm.conv is not None]
    after = [p for p in products if p.gemm.conv is not None and set(p.inputs) & set(convs)]
    for product in after:
        if not product.direct and len(product.inputs) == 1:
            found["+".join((*product.inputs, product.gemm.name))] = (
                "what stands between the two moves elements, joins them or leaves some out."
            )
    fused = any(layer.fused and "maker" in layer.fused for layer in layers)
    if any(product.direct for product in after) and not fused:
        found.setdefault(
            "convolutions",
            "a chain is no better, or layers of attention and MLPs are fused in its place, or the "
            "list does not tell its layers apart.",
        )
    return found


def _gated(product: Product, products: Sequence[Product]) -> bool:
    """Return whether a product reads two equal ones that nothing else reads, one as wide."""
    readers = Counter(name for each in products for name in set(each.inputs))
    makers = [each.gemm for each in products if each.gemm.name in product.inputs]
    return (
        product.gemm.role == "linear"
        and all(each.n == product.gemm.k and each.m == product.gemm.m for each in makers)
        and len({(each.m, each.n, each.k) for each in makers}) == 1
        and len({readers[each.name] for each in makers}) == 1
    )
