"""Walk the graph of an exported program (torch.export): its products, by shapes at its nodes."""

import math
from collections.abc import Iterator
from typing import Any

import torch

_aten = torch.ops.aten


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(int(length) for length in node.meta["val"].shape)


def products(graph: torch.fx.Graph) -> Iterator[tuple[int, int, int, int]]:
    """Yield the m, n, k and batch of each product of a graph."""
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        packet = getattr(node.target, "overloadpacket", None)
        if packet is _aten.linear:
            x, w = (_shape(each) for each in node.args[:2])
            yield math.prod(x[:-1]), w[0], w[1], 1
        elif packet in (_aten.addmm, _aten.mm):
            x, w = (_shape(each) for each in node.args[-2:])
            yield x[0], w[1], x[1], 1
        elif packet in (_aten.matmul, _aten.bmm, _aten.baddbmm):
            x, y = (_shape(each) for each in node.args[-2:])
            if len(y) == 2:
                yield math.prod(x[:-1]), y[1], y[0], 1
            else:
                batch = math.prod(torch.broadcast_shapes(x[:-2], y[:-2]))
                yield x[-2], y[-1], x[-1], batch
        elif packet is _aten.scaled_dot_product_attention:
            q, k, v = (_shape(each) for each in node.args[:3])
            batch = math.prod(q[:-2])
            yield q[-2], k[-2], q[-1], batch
            yield q[-2], v[-1], k[-2], batch
        elif packet in (_aten.conv1d, _aten.conv2d):
            w, groups = _shape(node.args[1]), node.args[6] if len(node.args) > 6 else 1
            out = _shape(node)
            yield out[0] * math.prod(out[2:]), w[0] // groups, math.prod(w[1:]), groups
        elif packet is _aten.einsum:
            raise ValueError("einsum")
