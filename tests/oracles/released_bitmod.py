"""The rules of BitMoD's released quantizer in torch float16, from their description.

Per group: scale = absmax / largest grid magnitude, clamped to [1e-5, 1e4]; the nearest grid value
by midpoints, ties down; mean squared error; a candidate must be strictly better than the best so
far, which starts at 1000. Every operation on float16 tensors, FP4 grids times two.
"""

from itertools import pairwise

import torch

FP3 = [0.0, 1.0, 2.0, 4.0]
FP4 = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0]
SPECIALS = {3: (FP3, (3.0, -3.0, 6.0, -6.0)), 4: (FP4, (10.0, -10.0, 16.0, -16.0))}


def grid_of(base: list[float], special: float) -> list[float]:
    return sorted({v * s for v in base for s in (1, -1)} | {special})


def on_grid(w: torch.Tensor, grid: list[float]) -> torch.Tensor:
    scale = w.abs().amax(dim=-1, keepdim=True) / max(abs(v) for v in grid)
    scale = scale.clamp(min=1e-5, max=1e4)
    y = w / scale
    out = torch.full_like(w, grid[0])
    for low, high in pairwise(grid):
        out = torch.where(y > (low + high) / 2, high, out)
    return (out.to(torch.float16) * scale).to(torch.float16)


def bitmod(w: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return dequantized float16 groups and the member each took (-1: none)."""
    base, specials = SPECIALS[bits]
    best = torch.full(w.shape[:-1], 1e3, dtype=torch.float16)
    out = torch.zeros_like(w)
    choice = torch.full(w.shape[:-1], -1)
    for member, special in enumerate(specials):
        trial = on_grid(w, grid_of(base, special))
        error = (trial - w).pow(2).mean(-1)
        better = error < best
        best = torch.where(better, error, best)
        out = torch.where(better[..., None], trial, out)
        choice = torch.where(better, member, choice)
    return out, choice


def mx(w: torch.Tensor, bits: int, integers: bool) -> torch.Tensor:
    """Return dequantized float16 groups of 32 of the MX variant: float32 inside, ties down.

    The groups are divided by 2^floor(log2 absmax), then by 2 / (largest grid value).
    """
    whole = [float(v) for v in range(2 ** (bits - 1))]
    grid = grid_of(whole if integers else SPECIALS[bits][0], 0.0)
    x = w.to(torch.float32)
    power = 2 ** torch.floor(torch.log2(x.abs().amax(dim=-1, keepdim=True)))
    step = 1 / (max(grid) / 2)
    y = x / power / step
    out = torch.zeros_like(y)
    for at, value in enumerate(grid):
        above = y > (grid[at - 1] + value) / 2 if at else torch.isfinite(y)
        below = y <= (value + grid[at + 1]) / 2 if at + 1 < len(grid) else torch.isfinite(y)
        out = torch.where(above & below, value, out)
    return (out * step * power).to(torch.float16)


def asymmetric(w: torch.Tensor, bits: int) -> torch.Tensor:
    low, high = w.amin(dim=-1, keepdim=True), w.amax(dim=-1, keepdim=True)
    top = 2**bits - 1
    scale = ((high - low) / top).clamp(min=1e-5, max=1e4)
    zero = torch.round(-low / scale).clamp(0, top)
    return (torch.clamp(torch.round(w / scale) + zero, 0, top) - zero) * scale
