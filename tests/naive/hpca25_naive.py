"""The BitMoD study's performance model, written out from its description in plain loops.

Shares no code with the package but the SRAM tables, which it reads itself. Correct attention.
"""

import csv
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

SHAPES = {  # layers, hidden, heads, kv heads, MLP width, gated, vocabulary
    "opt-1.3b": (24, 2048, 32, 32, 8192, False, 50272),
    "phi-2": (32, 2560, 32, 32, 10240, False, 51200),
    "yi-6b": (32, 4096, 32, 4, 11008, True, 64000),
    "llama-2-7b": (32, 4096, 32, 32, 11008, True, 32000),
    "llama-2-13b": (40, 5120, 40, 40, 13824, True, 32000),
    "llama-3-8b": (32, 4096, 32, 8, 14336, True, 128256),
}
ANT = {"yi-6b": 5.25, "llama-2-13b": 4}
OLIVE = {"llama-3-8b": 4.5}
CHIPS = {  # prefill array, decode array, lanes, serial, PE pJ, PE um2
    "fp16": ((32, 24), (64, 12), 1, False, 0.77, 1968.7),
    "ant": ((32, 32), (64, 16), 1, False, 0.56, 1318.6),
    "olive": ((36, 32), (72, 16), 1, False, 0.613, 1318.6),
    "bitmod-lossless": ((32, 32), (64, 16), 4, True, 0.56, 1507.7),
    "bitmod-lossy": ((32, 32), (64, 16), 4, True, 0.56, 1507.7),
}
S = 524288


def weight_bits(chip, model, phase):
    if chip == "fp16":
        return 16
    if chip == "ant":
        return ANT.get(model, 5)
    if chip == "olive":
        return OLIVE.get(model, 4)
    if chip == "bitmod-lossless":
        return 6.0625
    return 4.0625 if phase == "prefill" else 3.0625


def bank(table_file, bus):
    for row in csv.DictReader(Path(table_file).read_text().splitlines()):
        if (row["tech_nm"], row["bank_bytes"], row["bus_bits"]) == ("28", "65536", str(bus)):
            return float(row["read_pj"]), float(row["write_pj"])
    raise KeyError(bus)


def layers(model, phase, context, batch):
    """Yield (count, N, K, M, B, is attention)."""
    depth, D, H, KV, F, gated, V = SHAPES[model]
    B, M = (batch, context) if phase == "prefill" else (1, batch)
    kv = D // H * KV
    mats = [(D, D), (kv, D), (kv, D), (D, D), (F, D), (D, F)] + ([(F, D)] if gated else [])
    for n, k in mats:
        yield depth, n, k, M, B, False
    yield 1, V, D, M, B, False
    q, g, h = (context if phase == "prefill" else 1), H // KV, D // H
    yield depth, context, h, g * q, batch * KV, True
    yield depth, h, context, g * q, batch * KV, True


def run(chip, model, phase, context, batch, table_file):
    """Return (cycles, on-chip pJ, total pJ)."""
    pre, dec, d, serial, pe_pj, _ = CHIPS[chip]
    R, C = pre if phase == "prefill" else dec
    b_linear = weight_bits(chip, model, phase)
    b_kv = 8 if chip.startswith("bitmod") else 16
    w_port = d * 4 * ceil(b_linear / 4) * R // (2 if serial else 1)
    i_port = d * 16 * C // (2 if serial else 1)
    (wr, ww), (ir, iw) = bank(table_file, w_port // 8), bank(table_file, i_port // 8)
    cycles, onchip, dram_pj = 0, 0.0, 0.0
    for count, N, K, M, B, attention in layers(model, phase, context, batch):
        b = Fraction(b_kv if attention else b_linear)
        T = ceil(K / d) * ceil(N / R) * ceil(M / C) * B
        L = ceil(floor(b) / 2) if serial else 1
        own = B if attention else 1  # products with a weight operand of their own
        W, I, O = ceil(K * b / 8) * N * own, K * 2 * M * B, N * 2 * M * B  # noqa: E741
        nw = ni = 1
        if W > S and I > S:
            p, q = ceil(I / S), ceil(W / S)
            if p * W + I < q * I + W:
                nw = p
            else:
                ni = q
        moved = W * nw + I * ni + O
        cycles += count * max(T * L, moved * 8 // 256)
        words_w = nw * N * ceil(K * b / 64) * own
        words_i = ni * M * ceil(K * 16 / 64) * B
        words_o = M * ceil(N * 16 / 64) * B
        onchip += count * (
            T * 8 * (wr + ir)
            + words_w * 8 * ww / (w_port / 64)
            + (words_i + words_o) * 8 * iw / (i_port / 64)
            + 1.5 * pe_pj * R * C * T * L
        )
        dram_pj += count * moved * 8 * 18.75
    return cycles, onchip, onchip + dram_pj
