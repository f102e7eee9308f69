"""Rows and pages that tests of the report page share."""

from pathlib import Path
from typing import Any

import numpy as np

from bitlathe.reports.page.frame import Frame
from bitlathe.reports.page.fronts import tradeoffs
from bitlathe.reports.page.page import render

FORMATS = ("int8@channel", "int4_asym@g128", "bitmod_fp4@g128/int8")
HOSTILE = '</script><script>window.owned=1</script><img src=x onerror="window.owned=1">"\'&<!--'


def points(count: int, **extra: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    return [
        {
            "format": FORMATS[i % 3],
            "arch": f"chip{i % 4}",
            "model": f"model{i // 4 % 2}",
            "phase": ("prefill", "decode")[i // 8 % 2],
            "array.rows": 8 * (1 + i % 5),
            "cycles": int(rng.integers(1e6, 1e8)),
            "compute_cycles": 600_000,
            "stall_cycles": 400_000,
            "seconds": float(10 ** rng.uniform(-3, 0)),
            "energy_pj.pe": 2e9,
            "energy_pj.dram": 6e9,
            "energy_pj.total": float(10 ** rng.uniform(9, 12)),
            "area_um2.total": float(rng.uniform(1e6, 5e6)),
            "dram_gb_per_s": 32.0,
            "weight_error": (0.01, 0.1, 0.09)[i % 3],
        }
        | extra
        for i in range(count)
    ]


def page(path: Path, rows: list[dict[str, Any]], layers: Any = None, **words: Any) -> Path:
    frame = Frame.of(rows)
    text = {"title": "Trial", "description": "", "notes": []} | words
    found = render(frame, tradeoffs=tradeoffs(frame), layers=layers or {}, **text)
    path.write_text(found, encoding="utf-8")
    return path
