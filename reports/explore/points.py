"""A point of a sweep: one configuration, as a record, as a row, as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .sweepfile import KINDS, Iso, canonical

# the columns of every point, in the order of the result tables
POINT_COLUMNS = (
    *("arch", "model", "phase", "context", "batch", "causal"),
    *("fidelity", "mapper", "fusion"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One configuration: a chip with settings by dotted key, a model, a phase, how to run it."""

    arch: str
    model: str
    phase: str
    context: int | None
    batch: int
    fidelity: str
    mapper: str
    causal: bool = False
    fusion: bool = True
    layers: bool = False
    settings: tuple[tuple[str, Any], ...] = ()
    iso: Iso | None = None

    def columns(self) -> dict[str, Any]:
        """Return the point as a flat row; a setting that is a mapping becomes JSON text."""
        row: dict[str, Any] = {name: getattr(self, name) for name in POINT_COLUMNS}
        for key, value in self.settings:
            row[column_of(key)] = canonical(value) if isinstance(value, dict | list) else value
        return row

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain data for JSON."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in POINT_COLUMNS}
        plain["settings"] = dict(self.settings)
        if self.layers:
            plain["layers"] = True
        if self.iso is not None:
            plain["iso"] = self.iso.model_dump(by_alias=True)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Point":
        """Return the point of plain data that `to_dict` made."""
        iso = plain.get("iso")
        return cls(
            **{name: plain[name] for name in POINT_COLUMNS if name in plain},
            layers=plain.get("layers", False),
            settings=tuple(plain["settings"].items()),
            iso=None if iso is None else Iso.model_validate(iso),
        )


_SCHEME_COLUMNS = {f"formats.{kind}.weight": f"scheme.{kind}" for kind in KINDS}


def column_of(key: str) -> str:
    """Return the column of a dotted key of the chip; the weight formats are ``scheme.KIND``."""
    return _SCHEME_COLUMNS.get(key, key)


_KEYS = {column: key for key, column in _SCHEME_COLUMNS.items()}


def point_paths(column: str) -> tuple[str, ...]:
    """Return where a column of a point may stand in the JSON of a stored one, as SQLite asks."""
    if column in POINT_COLUMNS:
        return (f"$.{column}",)
    key = _KEYS.get(column, column)
    return (f'$.settings."{key}"', f'$.chip."{key}"')
