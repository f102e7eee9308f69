"""Formats as plain records, for tables and JSON."""

from math import isfinite
from typing import Any

from .catalogue import entry, names
from .errors import BitlatheError
from .format import Format
from .scheme import Scheme

ROW_LENGTH = 4096  # the axis over which scales are shared out


def list_formats() -> list[dict[str, Any]]:
    """Return one record per format of the catalogue.

    ``bits`` is the code's width; ``bits_per_element`` counts scales, zero points and selectors of
    the format's default scheme over a row of 4096.
    """
    rows = []
    for name in names():
        scheme = Scheme.parse(name)
        finite = [v for f in scheme.formats for v in f.values if isfinite(v)]
        rows.append(
            {
                "name": name,
                "kind": "mixture" if len(scheme.formats) > 1 else "format",
                "bits": scheme.element_bits,
                "bits_per_element": float(scheme.bits_per_element(ROW_LENGTH)),
                "values": len({float(v) for v in finite}),
                "min": float(min(finite)),
                "max": float(max(finite)),
                "scheme": str(scheme),
            }
        )
    return rows


def _terms(fmt: Format, code: int) -> list[tuple[int, int, int]] | None:
    """Return the bit-serial terms of a code; None where the format has none."""
    try:
        return [(term.sign, term.exp, term.bsig) for term in fmt.terms(code)]
    except BitlatheError:
        return None


def _term_text(terms: list[tuple[int, int, int]] | None) -> str:
    if terms is None:
        return ""
    return " ".join(f"{'-' if sign else '+'}2^({exp}+{bsig})" for sign, exp, bsig in terms) or "0"


def describe_format(name: str) -> dict[str, Any]:
    """Return a format (or the members of a mixture) code by code: value and bit-serial terms.

    A term (sign, exp, bsig) is worth (-1)^sign 2^exp 2^bsig on the format's integer grid.

    Raises
    ------
    BitlatheError
        Unknown name; the near names are listed.
    """
    source = entry(name).source
    scheme = Scheme.parse(name)
    return {
        "name": name,
        "scheme": str(scheme),
        "bits_per_element": float(scheme.bits_per_element(ROW_LENGTH)),
        "source": source,
        "formats": [
            {
                "name": fmt.name,
                "bits": fmt.bits,
                "codes": [
                    {
                        "code": code,
                        "binary": f"{code:0{fmt.bits}b}",
                        "value": float(value) if isfinite(value) else str(value),
                        "terms": _term_text(_terms(fmt, code)) if isfinite(value) else "",
                    }
                    for code, value in enumerate(fmt.values)
                ],
            }
            for fmt in scheme.formats
        ],
    }
