"""The BitFusion lineage's schedule by brute force over dictionaries.

Shares no code with the package: every tile, every loop order, no tile passed by, exact energies.
"""

from itertools import permutations

LOOPS = ["b", "ow", "oh", "ic", "oc"]
INDEX = {
    "weights": {"ic", "oc"},
    "inputs": {"b", "ow", "oh", "ic"},
    "outputs": {"b", "ow", "oh", "oc"},
}


def ceil(a, b):
    return -((-a) // b)


def tiles(extent, step=1):
    found, tile = [], step
    while tile < extent:
        found.append(tile)
        tile *= 2
    return [*found, extent]


def walk(name, tile, trips, order, half):
    """Traffic and remembered size, and the running size after each loop, innermost first."""
    running, kept, remembered, history = tile, True, tile, []
    for loop in reversed(order):
        if not kept or loop in INDEX[name]:
            running = running * trips[loop]
        if kept and loop in INDEX[name]:
            kept = running <= half
            remembered = running if kept else remembered
        history.append((loop, kept, running))
    return running, remembered, history


def order_traffic(sizes, trips, order, halves, quirk):
    weights, w, _ = walk("weights", sizes["weights"], trips, order, halves["weights"])
    inputs, i, _ = walk("inputs", sizes["inputs"], trips, order, halves["inputs"])
    written, o, beside = walk("outputs", sizes["written"], trips, order, halves["outputs"])
    read, last, history = walk("outputs", sizes["read"], trips, order, halves["outputs"])
    if quirk:
        last = sizes["read"]
        for (loop, kept, _), (_, _, running) in zip(history, beside, strict=True):
            if kept and loop in INDEX["outputs"]:
                last = running
    return weights, inputs, written, read, w + i + o, last


def flows(mac, p, q, depth, a, w, out):
    return {
        "is": (mac * a, mac * q * w, mac * q * out),
        "os": (mac * q * a, mac * q * w, q * p * out),
        "ws": (mac * q * a, depth * q * w, mac * q * out),
    }  # bits of inputs, weights, outputs each way


def candidates(layer, machine, rule):
    """Yield (figures, tile, order, flow) in the order in which they are tried."""
    k, wide_k, s, a, w = (layer[key] for key in ("kernel", "width", "stride", "a", "w"))
    out = rule["output_bits"]
    N, M, port = machine["rows"], machine["columns"], machine["port"]
    fa, fw = (machine["most"] // max(x, machine["least"]) for x in (a, w))
    side = rule["im2col"] or layer["im2col"]
    halves = {name: machine[name] // 2 for name in ("weights", "inputs", "outputs")}
    for b in tiles(layer["images"]):
        for o in tiles(layer["size"]):
            for c in tiles(layer["ic"]):
                for wide in tiles(layer["oc"], 1 if side or not rule["bitfusion"] else M):
                    q = min(wide, layer["oc"])
                    depth, p = k * wide_k * c, b * o * o
                    if rule["bitfusion"]:
                        F = fa * fw
                        weights = ceil(depth, N * F) * N * F * q * w
                        inputs = (
                            (
                                o * o * depth
                                if side
                                else (k + (o - 1) * s) * (wide_k + (o - 1) * s) * c
                            )
                            * b
                            * a
                        )
                        read = o * o * ceil(q, M) * M * b * out
                        written = read
                        deep = ceil(depth, N * F) if side else k * wide_k * ceil(c, N * F)
                        work = p * ceil(q, M) * deep
                        iq, r = ceil(q, M) * M, deep * N * F
                        estimate = {
                            "is": r * p * (a + iq * (w + out)),
                            "os": iq * p * (out + r * (a + w)),
                            "ws": r * iq * (w + p * (a + out)),
                        }
                        flow = min(estimate, key=estimate.get)
                    else:
                        weights = ceil(depth, N * fw) * N * fw * q * w
                        inputs = o * o * ceil(depth, M * fa) * M * fa * b * a
                        read, written, flow = o * o * q * b * out, 0, rule["flow"]
                        if flow == "os":
                            work = ceil(p, N * fa) * ceil(q, M * fw) * depth
                        else:
                            work = p * ceil(q, M * fw) * ceil(depth, N * fa)
                    sizes = {"weights": weights, "inputs": inputs, "read": read, "written": written}
                    if weights > halves["weights"] or inputs > halves["inputs"]:
                        continue
                    if written > halves["outputs"]:
                        continue
                    outs = ceil(layer["size"], o)
                    trips = {
                        "b": ceil(layer["images"], b),
                        "ow": outs,
                        "oh": outs,
                        "ic": ceil(layer["ic"], c),
                        "oc": ceil(layer["oc"], q),
                    }
                    times = 1
                    for trip in trips.values():
                        times *= trip
                    i_bits, w_bits, o_bits = flows(depth * p, p, q, depth, a, w, out)[flow]
                    for order in permutations(LOOPS):
                        dw, di, do, dr, first, last = order_traffic(
                            sizes, trips, order, halves, True
                        )
                        fill = ceil(first, port) + ceil(last, port)
                        rest = ceil(dw + di + do + dr - first - last, port)
                        yield (
                            {
                                "compute_cycles": work * times,
                                "stall_cycles": max(0, rest - work * times) + fill,
                                "weight_read": times * w_bits,
                                "weight_write": dw,
                                "input_read": times * i_bits,
                                "input_write": di,
                                "output_read": times * o_bits + dr,
                                "output_write": times * o_bits + do,
                                "dram_read": dw + di + do,
                                "dram_write": dr,
                            },
                            (b, o, c, q),
                            order,
                            flow,
                        )


def best(layer, machine, rule, costs):
    """The first of the fastest, then cheapest."""
    found = None
    for figures, *how in candidates(layer, machine, rule):
        cycles = figures["compute_cycles"] + figures["stall_cycles"]
        energy = sum(costs[name] * figures[name] for name in costs if name in figures)
        energy += costs["clock"] * cycles
        if found is None or (cycles, energy) < found[0]:
            found = (cycles, energy), figures, *how
    return found
