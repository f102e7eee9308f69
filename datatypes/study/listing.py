"""Formats as plain records, for tables and JSON."""

from math import isfinite
from typing import Any

import numpy as np

from ..formats.catalogue import ENTRIES, canonical, is_file, names
from ..formats.families import mixture_of_family, of_family
from ..formats.format import Format
from ..formats.grid import MAX_BITS as WIDEST
from ..formats.wide import COUNT, LANDMARKS
from ..schemes.presets import PRESETS
from ..schemes.scheme import Scheme
from ..terms.table import MAX_BITS, term_table

ROW_LENGTH = 4096  # the axis over which scales are shared out


def list_formats() -> list[dict[str, Any]]:
    """Return one record per format of the catalogue, and per published block format.

    ``bits`` is the code's width; ``bits_per_element`` counts scales, zero points and selectors of
    the format's default scheme over a row of 4096.
    """
    rows = []
    for name in (*names(), *PRESETS):
        scheme = Scheme.parse(name)
        rows.append(
            {
                "name": name,
                "kind": "mixture" if len(scheme.formats) > 1 else "format",
                "bits": scheme.element_bits,
                "bits_per_element": float(scheme.bits_per_element(ROW_LENGTH)),
                "values": _count(scheme.formats),
                "min": min(f.min for f in scheme.formats),
                "max": max(f.max for f in scheme.formats),
                "scheme": PRESETS[name].scheme if name in PRESETS else str(scheme),
            }
        )
    return rows


def _count(formats: tuple[Format, ...]) -> int:
    """Return how many different finite values formats have together."""
    if any(f.bits > WIDEST for f in formats):
        return COUNT
    return len({float(v) for f in formats for v in f.values if isfinite(v)})


def describe_format(name: str) -> dict[str, Any]:
    """Return a format (or the members of a mixture) code by code: value and bit-serial terms.

    Of fp32, whose codes are too many, some are shown.

    A term (sign, exp, bsig) is worth (-1)^sign 2^exp 2^bsig on the format's integer grid, whose
    step is ``term_unit``. ``term_error`` is the largest difference between a value and its terms,
    0 where they are exact; both are None where a format is too wide for terms.

    Parameters
    ----------
    name : str
        A name of the catalogue, of a family or of a block format, or the path of a YAML file.

    Raises
    ------
    BitlatheError
        Raised if the name is unknown (the message lists near ones), or the file does not describe
        a format.
    """
    plain = name.strip().lower()
    other = plain in PRESETS or of_family(plain) or mixture_of_family(plain)
    scheme = Scheme.parse(name) if is_file(name) or other else Scheme.parse(canonical(name))
    known = PRESETS.get(plain) or ENTRIES.get(scheme.name)
    return {
        "name": plain if plain in PRESETS else scheme.name,
        "scheme": PRESETS[plain].scheme if plain in PRESETS else str(scheme),
        "bits_per_element": float(scheme.bits_per_element(ROW_LENGTH)),
        "source": known.source if known else scheme.element.source,
        "formats": [_describe(fmt) for fmt in scheme.formats],
    }


def _describe(fmt: Format) -> dict[str, Any]:
    codes = LANDMARKS if fmt.bits > WIDEST else range(1 << fmt.bits)
    table = None if fmt.bits > MAX_BITS else term_table(fmt.values, fmt.bits)

    def terms(code: int) -> str:
        if table is None or not table.valid[code]:
            return ""
        signed = ((f"{'-' if s else '+'}2^({e}+{b})") for s, e, b in table.terms(code))
        return " ".join(signed) or "0"

    return {
        "name": fmt.name,
        "bits": fmt.bits,
        "term_unit": table and table.unit,
        "term_error": table and table.max_error,
        "codes": [
            {
                "code": code,
                "binary": f"{code:0{fmt.bits}b}",
                "value": float(value) if isfinite(value) else str(value),
                "terms": terms(code),
            }
            for code, value in zip(codes, fmt.decode(np.asarray(codes)), strict=True)
        ],
    }
