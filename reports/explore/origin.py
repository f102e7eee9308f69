"""What the chips, models and formats of a sweep's rows were, and which files changed since."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ...arch import Arch, load_arch, resolve
from ...datatypes.base.errors import BitlatheError
from ...sim.policy import format_labels
from ...workloads import Model, load_model
from .identity import model_digest, own_files
from .spelling import place
from .store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the rows' chips, models and formats were when the points ran.

    Parameters
    ----------
    chips : mapping of str to Arch
        Chips by the name that rows have; one that is not in it is loaded by its name.
    models, formats : mapping of str to str
        Digests of what files of models and formats held, by the name that rows have.
    home : Path, optional
        The folder that relative paths start from.
    made : mapping, optional
        Provenance of the rows (`reports.provenance`).
    """

    chips: Mapping[str, Arch] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)
    home: Path | None = None
    made: Mapping[str, Any] | None = None
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, store: Store) -> "Origin":
        """Return what a sweep's store says."""
        home = store.facts("file").get("folder")
        return cls(
            chips=dict(_chips(store.facts("chips"))),
            models=store.facts("models"),
            formats=store.facts("formats"),
            home=None if home is None else Path(home),
            made=store.facts("provenance") or None,
        )

    def place(self, name: str) -> str:
        """Return where a path of the sweep file lies."""
        return place(name, self.home)

    def chip(self, name: str) -> Arch | None:
        """Return a chip as it was; None where it is not at hand."""
        return self._once(("chip", name), lambda: self._chip(name))

    def _chip(self, name: str) -> Arch | None:
        try:
            return self.chips.get(name) or load_arch(self.place(name))
        except (BitlatheError, ValueError):
            return None

    def linear_format(self, arch: str, phase: str, model: str) -> str:
        """Return a chip's own weight format of linear layers, or words that say it is the chip's.

        Empty without a chip.
        """
        chip = self.chip(arch) if arch else None
        try:
            if chip is not None:
                return format_labels(resolve(chip, phase=phase, model=model), "linear")["weight"]
        except (BitlatheError, ValueError):
            pass
        return "the chip's own" if arch else ""

    def model(self, name: str) -> Model | None:
        """Return a model; None where it is not at hand, or no longer what it was."""
        return self._once(("model", name), lambda: self._model(name))

    def _model(self, name: str) -> Model | None:
        try:
            found = load_model(self.place(name))
        except (BitlatheError, ValueError):
            return None
        return found if self.models.get(name, "") in ("", model_digest(found)) else None

    def _once(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def is_changed(self, scheme: str) -> bool:
        """Whether a scheme's format stands in a file that no longer holds what it held."""
        then = self.formats.get(scheme)
        return then is not None and own_files([scheme]).get(scheme) != then

    def changes(self) -> Iterator[str]:
        """Yield a sentence for each file that is no longer what it was when the points ran."""
        for name in self.models:
            if self.model(name) is None:
                yield (
                    f"The file of model {name} is gone or has changed since the sweep ran: the "
                    "points are those of the old one."
                )
        for scheme in self.formats:
            if self.is_changed(scheme):
                yield (
                    f"The file of format {scheme} is gone or has changed since the sweep ran: the "
                    "points are those of the old one, and no accuracy is measured for it."
                )


def _chips(kept: Mapping[str, Any]) -> Iterator[tuple[str, Arch]]:
    for name, content in kept.items():
        try:
            yield name, Arch.model_validate_json(json.dumps(content))
        except ValidationError:  # of another version: it is loaded by its name
            continue
