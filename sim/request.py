"""A request from its images to its last token: tower, prompt and answer on one chip, summed."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import __version__
from ..arch import Arch, load_arch
from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import whole_number
from ..workloads import Model, Source, load_model
from .entry import simulate
from .run import Run, with_total

MOST_PASSES = 100_000
TOWER = "vision"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Passes of one kind, one behind the other: of the tower, of the prompt, of the answer.

    ``tokens`` are those that they make: of images those that they leave for the prompt.
    """

    name: str
    runs: tuple[Run, ...]
    tokens: int

    @cached_property
    def cycles(self) -> int:
        """Clocks of all passes."""
        return sum(run.cycles for run in self.runs)

    @property
    def seconds(self) -> float:
        """Time of all passes."""
        return math.fsum(run.seconds for run in self.runs)

    @cached_property
    def energy_pj(self) -> dict[str, float]:
        """Energy of all passes by component, with its total."""
        return _summed([run.energy_pj for run in self.runs])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; the runs are left out."""
        return {
            "phase": self.name,
            "passes": len(self.runs),
            "tokens": self.tokens,
            "cycles": self.cycles,
            "seconds": self.seconds,
            "dram_bits": sum(run.dram_bits["total"] for run in self.runs),
            "energy_pj": self.energy_pj,
        }


@dataclass(frozen=True, kw_only=True)
class RequestRun:
    """What a request takes on a chip: its phases in order, and their sums.

    ``prompt`` are the tokens of a prompt, those of its ``images`` among them; ``answer`` the tokens
    of an answer, of which the prompt's pass makes the first; ``batch`` requests alike run at once.
    """

    arch: str
    model: str
    prompt: int
    images: int
    answer: int
    batch: int
    phases: tuple[Phase, ...]

    @property
    def cycles(self) -> int:
        """Clocks of all phases."""
        return sum(phase.cycles for phase in self.phases)

    @property
    def seconds(self) -> float:
        """Time from the request to the last token."""
        return math.fsum(phase.seconds for phase in self.phases)

    @property
    def first_token_seconds(self) -> float:
        """Time to the first token: of the images and the prompt."""
        return math.fsum(phase.seconds for phase in self.phases if phase.name != "decode")

    @property
    def token_seconds(self) -> float | None:
        """Mean time of a further token; None without one."""
        decode = next((phase for phase in self.phases if phase.name == "decode"), None)
        return None if decode is None else decode.seconds / len(decode.runs)

    @cached_property
    def energy_pj(self) -> dict[str, float]:
        """Energy of all phases by component, with its total."""
        return _summed([phase.energy_pj for phase in self.phases])

    @property
    def area_um2(self) -> dict[str, float]:
        """Area of the chip by component, with its total: its largest phase's."""
        areas = [run.area_um2 for phase in self.phases for run in phase.runs]
        return max(areas, key=lambda area: area["total"])

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat record a phase, for tables and data frames."""
        return [
            {
                "phase": phase.name,
                "passes": len(phase.runs),
                "tokens": phase.tokens,
                "cycles": phase.cycles,
                "ms": phase.seconds * 1e3,
                "share": phase.seconds / self.seconds,
                "energy_uj": phase.energy_pj["total"] / 1e6,
                "dram_mib": sum(run.dram_bits["total"] for run in phase.runs) / 2**23,
            }
            for phase in self.phases
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        further = self.token_seconds
        return {
            "version": __version__,
            "arch": self.arch,
            "model": self.model,
            "prompt": self.prompt,
            "images": self.images,
            "answer": self.answer,
            "batch": self.batch,
            "cycles": self.cycles,
            "seconds": self.seconds,
            "first_token_seconds": self.first_token_seconds,
            **({} if further is None else {"token_seconds": further}),
            "energy_pj": self.energy_pj,
            "area_um2": self.area_um2,
            "phases": [phase.to_dict() for phase in self.phases],
        }


def _summed(each: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for energy in each for name in energy if name != "total")
    sums = {name: math.fsum(energy.get(name, 0.0) for energy in each) for name in names}
    return with_total(sums)


def simulate_request(
    arch: Arch | str | Path,
    model: Model | Source,
    text: int = 256,
    images: int = 0,
    answer: int = 1,
    batch: int = 1,
    *,
    fidelity: str = "cycle",
    mapper: str = "auto",
    fusion: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> RequestRun:
    """Simulate a request: its images, its prompt, and its answer token by token.

    The tower of images runs first, all images as one batch; then the prompt, image tokens and text
    under a causal mask, which makes the first token of the answer; then a pass for each further
    token, which sees one more than the pass before.

    Parameters
    ----------
    arch : Arch, str or Path
        A chip, or what `load_arch` takes.
    model : Model, str, path, mapping or sequence
        A model that generates tokens, or what `load_model` takes.
    text : int
        Tokens of a prompt's text.
    images : int
        Images of a prompt, each of as many tokens as the tower leaves (`Model.image_tokens`).
    answer : int
        Tokens of an answer.
    batch : int
        Requests alike that run at once.
    fidelity, mapper, fusion
        As in `sim.simulation.simulate`.
    settings : mapping, optional
        Keys of the chip, where ``arch`` is a name or a file.

    Raises
    ------
    BitlatheError
        Impossible sizes, a model that has no tower or generates nothing, or as `simulate` does.

    Examples
    --------
    >>> request = simulate_request(
    ...     "bitmod", "opt-1.3b", 16, answer=3, fidelity="analytic", mapper="whole-buffer"
    ... )
    >>> [(phase.name, len(phase.runs)) for phase in request.phases]
    [('prefill', 1), ('decode', 2)]
    """
    network = model if isinstance(model, Model) else load_model(model)
    for what, size, least in (
        ("text", text, 0), ("images", images, 0), ("answer", answer, 1), ("batch", batch, 1),
    ):  # fmt: skip
        whole_number(what, size, least)
    if network.kind != "decoder":
        raise BitlatheError(
            f"{network.name}: a request needs a decoder, which reads a prompt and generates "
            f"tokens; this model is {network.kind}. Use simulate."
        )
    if answer > MOST_PASSES:
        raise BitlatheError(f"answer is {answer}; at most {MOST_PASSES} tokens, a pass each.")
    tower = network.part(TOWER) if images else None
    prompt = text + images * (tower.image_tokens if tower else 0)
    if prompt < 1:
        raise BitlatheError("the prompt is empty; give text of at least one token, or an image.")
    if not images and network.sees_images:
        network = replace(network.part("text"), name=network.name)
    network.forward("decode", prompt + answer - 1)  # positions that end are said at once
    chip = arch if isinstance(arch, Arch) else load_arch(arch, settings)
    how: dict[str, Any] = {"fidelity": fidelity, "mapper": mapper, "fusion": fusion}

    def phases() -> Iterator[Phase]:
        if tower is not None:
            seen = simulate(chip, tower, batch=batch * images, **how)
            left = batch * images * tower.image_tokens
            yield Phase(name=TOWER, runs=(seen,), tokens=left)
        run = simulate(chip, network, "prefill", prompt, batch, causal=True, logits="last", **how)
        yield Phase(name="prefill", runs=(run,), tokens=batch * prompt)
        further = range(prompt + 1, prompt + answer)
        if further:
            runs = tuple(simulate(chip, network, "decode", seen, batch, **how) for seen in further)
            yield Phase(name="decode", runs=runs, tokens=batch * len(runs))

    return RequestRun(
        arch=chip.name,
        model=network.name,
        prompt=prompt,
        images=images,
        answer=answer,
        batch=batch,
        phases=tuple(phases()),
    )
