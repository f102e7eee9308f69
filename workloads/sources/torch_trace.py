"""A torch module run on tensors without data: what it multiplies, in order, and what feeds what.

Tensors are fake (``torch._subclasses``: shapes and types, no memory), so a module may be of any
size and on any device. Each product is seen as torch dispatches it; a tensor's origin (weights,
inputs, or results of products) is followed through all that lies between.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ...datatypes.base.errors import BitlatheError, cut
from ..products import Products
from .graph import CONSTANT, INPUT, WEIGHT, Graph, Origin, joined
from .torch_steps import is_folded, is_known, operations_of, sizes_of, stays, streams

_aten = torch.ops.aten


def _packets(*names: str) -> frozenset[Any]:
    """Return the ops of these names that this version of torch has."""
    return frozenset(getattr(_aten, name) for name in names if hasattr(_aten, name))


# operands of a product, by their places among its arguments
_PRODUCTS: Mapping[Any, tuple[int, int]] = {
    **dict.fromkeys(_packets("mm", "bmm", "_int_mm", "_scaled_mm", "mv", "dot", "vdot"), (0, 1)),
    **dict.fromkeys(_packets("addmm", "baddbmm", "addbmm", "addmv"), (1, 2)),
}
_FUSED = _packets(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
# products whose sizes are not in their shapes, or that hide several
_UNKNOWN = _packets(
    *("_grouped_mm", "_scaled_grouped_mm", "_weight_int8pack_mm", "_weight_int4pack_mm"),
    *("_native_multi_head_attention", "_transformer_encoder_layer_fwd", "mkldnn_rnn_layer"),
    *("_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "_cudnn_rnn"),
)
_CHOSEN = _packets("index", "index_select")
_SOFTMAX = _packets("_softmax", "_safe_softmax", "softmax")
_NOISE = _packets("bernoulli", "bernoulli_")
# ops whose results hold no other elements than their first argument does
_VIEWS = _packets(
    *("view", "_unsafe_view", "expand", "clone", "transpose", "permute", "unsqueeze", "squeeze"),
    *("t", "alias", "_to_copy", "repeat", "detach", "slice", "select", "split", "unbind"),
    *("_reshape_alias", "split_with_sizes"),
)
_MOVES = _VIEWS | _packets(
    *(
        "cat",
        "stack",
        "embedding",
        "index",
        "index_select",
        "gather",
        "copy_",
        "fill_",
        "slice_copy",
    ),
    *("constant_pad_nd", "_assert_async", "lift_fresh_copy", "native_dropout", "tril", "triu"),
    *("arange", "empty_like", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones"),
    *("new_empty", "new_full", "flip", "roll", "as_strided", "diagonal", "unfold", "slice_scatter"),
)


def trace(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Products:
    """Return what a module multiplies for inputs of these shapes, equal products under one name.

    Parameters
    ----------
    module : torch.nn.Module
        It is called once, on fake tensors; its weights are neither read nor changed.
    args, kwargs : tuple, mapping
        Inputs of its call: tensors, of which only shape and type count, and whatever else it takes.

    Raises
    ------
    BitlatheError
        Raised if the module does not take these inputs, its shapes depend on data, it computes a
        product that is not known here, or it multiplies nothing.
    """
    graph, names = Graph(), _Path(module)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake:
        state = {name: _fake(tensor) for name, tensor in _state(module)}
        given = tree_map_only(torch.Tensor, _fake, (args, dict(kwargs)))
    recorder = _Recorder(graph, names)
    for name, tensor in state.items():
        recorder.mark([tensor], Origin(kind=WEIGHT, weights=frozenset((name,))))
    recorder.mark(tree_leaves(given), Origin(kind=INPUT))
    try:
        with _plain_kernels(), names.followed(), torch.no_grad(), fake, recorder:
            made = torch.func.functional_call(module, state, *given)
    except BitlatheError:
        raise
    except (DynamicOutputShapeException, DataDependentOutputException) as stop:
        raise BitlatheError(
            f"shapes depend on data ({stop.func} in {names.failed_in}): a trace runs without any. "
            "Give a module whose shapes follow from those of its inputs, or list its products."
        ) from None
    except UnsupportedOperatorException as stop:
        raise BitlatheError(
            f"{stop.func} in {names.failed_in} says nothing of its shapes: list the products."
        ) from None
    except Exception as problem:  # whatever the user's own code raises
        why = cut(str(problem).partition("\n")[0] or type(problem).__name__, 200)
        raise BitlatheError(
            f"the module does not run on these inputs (in {names.failed_in}): {why}"
        ) from None
    for tensor in _given_back(made):
        graph.leave(recorder.origin(tensor))
    return graph.products(
        {name: tensor.numel() for name, tensor in state.items()},
        parameters=sum(each.numel() for each in module.parameters()),
    )


def _given_back(made: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of what a module gives back, those of its dataclasses too."""
    for each in tree_leaves(made):
        if isinstance(each, torch.Tensor):
            yield each
        elif is_dataclass(each) and not isinstance(each, type):
            yield from _given_back([getattr(each, one.name) for one in fields(each)])


def _state(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if torch.nn.parameter.is_lazy(tensor):
            raise BitlatheError(f"{name} has no shape yet: call the lazy module once, then trace.")
        yield name, tensor


def _fake(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same shape, strides and type without data, on the CPU."""
    if tensor.layout != torch.strided:
        raise BitlatheError(
            f"an input or weight is {tensor.layout}; only dense tensors are traced."
        )
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Keep torch from calls that hide several products in one, and from logging what it raises."""
    attention, one_dnn = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    log = logging.getLogger("torch._subclasses.fake_tensor")  # tells at length what is raised
    silent = log.disabled
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)
    log.disabled = True
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(attention)
        torch._C._set_mkldnn_enabled(one_dnn)
        log.disabled = silent


class _Path:
    """Which submodule runs, by its path in the module."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.root = module
        self.stack: list[tuple[str, torch.nn.Module]] = [("", module)]
        self.failed: str | None = None

    @property
    def here(self) -> str:
        path, module = self.stack[-1]
        return path or type(module).__name__

    @property
    def failed_in(self) -> str:
        return self.failed or self.here

    @contextmanager
    def followed(self) -> Iterator[None]:
        with ExitStack() as hooks:
            for path, module in self.root.named_modules():
                before = module.register_forward_pre_hook(self._enter(path))
                after = module.register_forward_hook(self._leave, always_call=True)
                hooks.callback(before.remove)
                hooks.callback(after.remove)
            yield

    def _enter(self, path: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, _inputs: Any) -> None:
            self.stack.append((path, module))

        return hook

    def _leave(self, _module: torch.nn.Module, _inputs: Any, _output: Any) -> None:
        if sys.exc_info()[0] is not None and self.failed is None:  # the hook runs then, too
            self.failed = self.here
        if len(self.stack) > 1:
            self.stack.pop()

    def of_step(self, kind: str) -> str:
        """Return what a step is called: after its module; ``.kind`` where that has parts."""
        path, module = self.stack[-1]
        return f".{kind}" if next(module.children(), None) is not None else f"{path}.{kind}"

    def name(self, weights: frozenset[str], kind: str) -> str:
        """Return what a product is called: after its module, or its only weight."""
        path, module = self.stack[-1]
        if weights and path and module._parameters.get("weight") is not None:
            return path
        if len(weights) == 1:
            (only,) = weights
            for end in (".weight", "_weight"):
                only = only.removesuffix(end)
            return only if only != "weight" else kind
        return f"{path}.{kind}" if path else kind


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees each op, and follows where its tensors come from."""

    def __init__(self, graph: Graph, names: _Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph, self.names = graph, names
        self._origins: dict[int, Origin] = {}
        self._alive: list[torch.Tensor] = []  # so that no two tensors have one id
        self._stored: dict[int, list[torch.Tensor]] = {}  # those that share a storage

    def mark(self, tensors: Iterable[Any], origin: Origin) -> None:
        """Note where tensors come from."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor):
                self._origins[id(tensor)] = origin.of_size(tensor.numel())
                self._alive.append(tensor)
                self._stored.setdefault(tensor.untyped_storage()._cdata, []).append(tensor)

    def origin(self, tensor: torch.Tensor) -> Origin:
        """Return where a tensor comes from; one that was not seen before is a constant."""
        found = self._origins.get(id(tensor))
        return found or Origin(kind=CONSTANT).of_size(tensor.numel())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if func is not torch.ops.prim.device.default and packet not in _PRODUCTS:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        if packet in _UNKNOWN:
            raise BitlatheError(
                f"{func} in {self.names.here} is a product whose sizes are not known here: list "
                "the module's products."
            )
        out = func(*args, **kwargs)
        if packet in _PRODUCTS:
            a, b = (args[place] for place in _PRODUCTS[packet])
            self._product(out, a, b)
        elif packet is _aten.convolution:
            self._convolution(out, *args, **kwargs)
        elif packet in _FUSED:
            self._attention(out, *args[:3], causal=_is_causal(func, args, kwargs))
        else:
            self._passed(packet, out, args, kwargs)
            if func._schema.is_mutable:
                self._written(out)
        return out

    def _written(self, out: Any) -> None:
        """Note that what a call wrote in place is part of all tensors that share its storage."""
        for made in (t for t in tree_leaves(out) if isinstance(t, torch.Tensor)):
            for other in self._stored.get(made.untyped_storage()._cdata, ()):
                if other is not made:
                    before = self.origin(other)
                    both = joined([before, self.origin(made)])
                    self.graph.look_at(self.origin(made))
                    self._origins[id(other)] = both.of_size(before.distinct)

    def _passed(self, packet: Any, out: Any, args: Any, kwargs: Any) -> None:
        """Note the results of an op that is no product: they come from whatever it read."""
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        made = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        if not made:
            return
        shape, call = tuple(made[0].shape), packet.__name__
        in_place = all(
            stays(call, args, tuple(t.shape), shape) for t in read if self.origin(t).sources
        )
        origin = joined([self.origin(t) for t in read], in_place=in_place)
        if packet in _NOISE:  # of a dropout, which inference leaves out
            self.mark(made, Origin(kind=CONSTANT))
            return
        steps = self.graph.steps
        known = self._step(call, args, read, made[0])
        if self.graph.steps > steps:
            origin = replace(origin, step=steps if in_place else None)
        else:
            self._looked_at(read, origin)
        if not known and origin.kind == INPUT and packet not in _MOVES:
            self.graph.beside(packet.__name__.strip("_"))
        if packet in _CHOSEN and read[0].dim() > 2 and self.origin(read[0]).kind == WEIGHT:
            origin = self.origin(read[0])  # of a stack of matrices some are chosen by the data
        if packet in _SOFTMAX:
            origin = origin.through_softmax()
        held = self.origin(read[0]).distinct if read and packet in _VIEWS else None
        for tensor in made:
            self.mark([tensor], origin)
            if held is not None:
                self._origins[id(tensor)] = origin.of_size(min(held, tensor.numel()))

    def _looked_at(self, read: Iterable[torch.Tensor], origin: Origin) -> None:
        """Note what steps made that is read by a call which does not hand it on as it lies."""
        for found in map(self.origin, read):
            if found.step != origin.step:
                self.graph.look_at(found)

    def _step(self, call: str, args: Any, read: list[torch.Tensor], made: torch.Tensor) -> bool:
        """Note what a vector unit does of a call; return whether it is known what this is."""
        if not made.is_floating_point() or is_folded(call):
            return True
        own = [t for t in read if self.origin(t).kind != CONSTANT]
        if call.startswith("add"):  # a vector of weights is the bias of a product
            own = [t for t in own if self.origin(t).kind == INPUT or t.dim() > 1]
        asked = operations_of(call, args, len(own))
        if not asked:
            return is_known(call)
        origins = [self.origin(t) for t in own]
        flows = streams(call)
        # the operand that was made last streams; others lie in memory, weights in the unit
        last = max(own, key=lambda t: max(self.origin(t).sources, default=-1))
        others = [t for t in own if t is not last and self.origin(t).kind == INPUT]
        self.graph.step(
            self.names.of_step(asked[-1]),
            asked,
            sizes_of(call, args, tuple(last.shape if flows else read[0].shape), tuple(made.shape)),
            origins,
            streams=flows,
            others=[t.numel() for t in others] if flows else (),
            kept=[self.origin(t) for t in (others if flows else read[:1])],
        )
        return True

    def _product(self, out: Any, a: torch.Tensor, b: torch.Tensor) -> None:
        left, right = self.origin(a), self.origin(b)
        if b.dim() == 1:
            rows, depth = (1, b.shape[0]) if a.dim() == 1 else (a.shape[0], b.shape[0])
            sizes = (rows, 1, depth, 1)
        else:
            batch = a.shape[0] if a.dim() == 3 else 1
            sizes = (a.shape[-2], b.shape[-1], a.shape[-1], batch)
        if 0 in sizes:
            return self.mark(tree_leaves(out), joined([left, right]))
        name = self.names.name
        return self.mark(tree_leaves(out), self.graph.product(name, sizes, left, right))

    def _convolution(
        self, out: torch.Tensor, x: torch.Tensor, w: torch.Tensor, bias: Any, *how: Any
    ) -> None:
        stride, padding, dilation, transposed, _, groups = how
        origin = self.graph.convolution(
            self.names.name,
            tuple(x.shape),
            tuple(w.shape),
            {"stride": stride, "padding": padding, "dilation": dilation},
            groups,
            transposed=transposed,
            origins=(self.origin(x), self.origin(w)),
        )
        self.mark([out], origin)

    def _attention(
        self, out: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, causal: bool
    ) -> None:
        """Note scaled dot-product attention of (inputs, heads, tokens, width) tensors."""
        inputs, heads, kv_heads = query.shape[0], query.shape[1], key.shape[1]
        origins = [self.origin(t) for t in (query, key, value)]
        sizes = (query.shape[2], key.shape[2], query.shape[3], value.shape[3])
        pairs, group = inputs * kv_heads, heads // kv_heads
        found = self.graph.attention(self.names.name, sizes, pairs, group, origins, causal=causal)
        self.mark(tree_leaves(out), found)


def _is_causal(func: Any, args: Any, kwargs: Any) -> bool:
    """Return whether a call of fused attention asks for its causal mask."""
    place = [each.name for each in func._schema.arguments].index("is_causal")
    return bool(args[place] if place < len(args) else kwargs.get("is_causal"))
