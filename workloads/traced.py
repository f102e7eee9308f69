"""Models from programs: torch modules, run on inputs of a shape, and ONNX graphs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datatypes.base.errors import BitlatheError, shown, to_install
from .model import Model

if TYPE_CHECKING:
    import torch


def from_torch(
    module: "torch.nn.Module", *inputs: Any, name: str | None = None, **keywords: Any
) -> Model:
    """Return what a torch module multiplies for inputs of these shapes, as a model.

    The module runs once, on tensors that have shapes and types but no data: nothing is computed,
    its weights are neither read nor changed, and it may be of any size, on any device (``meta``
    too). Products stand in the order in which they ran; those of repeated layers, alike but for a
    number in their name, are one with a count. Attention is two products, with the heads of
    queries that share keys as rows of one.

    Parameters
    ----------
    module : torch.nn.Module
    *inputs, **keywords
        What to call it with; of tensors only shape and type count.
    name : str, optional
        Of the model; the module's class by default.

    Returns
    -------
    Model
        A list of products: it has no context of its own, and is the same in each phase.

    Raises
    ------
    BitlatheError
        Raised if torch is missing, it is no module, it does not run on these inputs, or its shapes
        depend on data.

    Examples
    --------
    >>> import torch
    >>> mlp = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.Linear(256, 8))
    >>> [(g.name, g.m, g.n, g.k) for g in from_torch(mlp, torch.empty(16, 64)).gemms()]
    [('0', 16, 256, 64), ('1', 16, 8, 256)]
    """
    try:
        import torch
    except ImportError:
        raise BitlatheError(f"from_torch needs torch: {to_install('torch', 'torch')}") from None
    from .sources.torch_trace import trace

    if not isinstance(module, torch.nn.Module):
        raise BitlatheError(f"from_torch takes a torch.nn.Module, not {shown(module)}.")
    called = name or type(module).__name__
    try:
        shape = trace(module, inputs, keywords)
    except BitlatheError as error:
        raise BitlatheError(f"{called}: {error}") from None
    return Model(name=called, family="products", shape=shape)


def from_onnx(
    path: str | Path, sizes: Mapping[str, int] | None = None, *, name: str | None = None
) -> Model:
    """Return what the graph of an ONNX file multiplies, as a model.

    `load_model` does the same for a file that states the sizes of its inputs.

    Parameters
    ----------
    path : str or Path
    sizes : mapping of str to int, optional
        Sizes of dimensions that the file only names, e.g. ``{"batch": 1, "sequence": 128}``.
    name : str, optional
        Of the model; the file's by default.

    Raises
    ------
    BitlatheError
        Raised if the onnx package is missing, the file is damaged, a shape is not known, or a
        node multiplies in a way that is not read; node and tensor are named.
    """
    from .sources.onnx_graph import read_onnx

    shape = read_onnx(Path(path), sizes)
    return Model(name=name or Path(path).stem, family="products", shape=shape)
