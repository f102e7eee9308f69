"""Systems of chips: equal chips, the links between them, and how a model is divided among them."""

from __future__ import annotations

from functools import cache
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.slugs import slug
from ..datatypes.base.yamlfile import Document, Record, read_yaml, validate
from .fields import NonNegative, Positive, PositiveInt
from .loader import arch_names, load_arch
from .schema import Arch

SYSTEMS = Path(__file__).parent / "systems"
Topology = Literal["ring", "all_to_all"]
DEGREES = ("tensor", "pipeline", "expert", "data")


class Links(Record):
    """What joins the chips of a group.

    Attributes
    ----------
    gb_per_s : float
        10^9 bytes a second that a chip sends, and receives at the same time, over all its links.
    latency_ns : float
        From the last bit sent until it has arrived, over one link; through a switch, both ends.
    energy_pj_per_bit : float
        Of a bit over one link; through a switch, both ends and the switch.
    topology : {"ring", "all_to_all"}
        Each chip sends to the next one, the last to the first; or each to every other through a
        switch that is no bottleneck.
    """

    gb_per_s: Positive = Field(
        description="10^9 bytes a second that a chip sends, and receives at the same time"
    )
    latency_ns: NonNegative = Field(description="from the last bit sent until it has arrived")
    energy_pj_per_bit: NonNegative = Field(
        description="energy of a bit over one link; through a switch, of both and it"
    )
    topology: Topology = Field(
        description="ring: each chip to the next; all_to_all: through a switch"
    )


class Parallel(Record):
    """How many parts a model is divided into, and in which way; their product is the chips.

    Attributes
    ----------
    tensor : int
        Chips that share each layer: heads, columns then rows of MLPs, the vocabulary.
    pipeline : int
        Stages of layers, one after the other.
    expert : int
        Chips that share the experts of each mixture; each has its own sequences.
    data : int
        Copies of all that, each with its own sequences.
    micro_batches : int or None
        Parts into which the sequences of a chip go through the stages one after the other; as
        many as stages where left out, at most one a sequence.
    """

    tensor: PositiveInt = Field(default=1, description="chips that share each layer")
    pipeline: PositiveInt = Field(default=1, description="stages of layers, one after the other")
    expert: PositiveInt = Field(
        default=1, description="chips that share the experts of each mixture"
    )
    data: PositiveInt = Field(
        default=1, description="copies of all that, each with its own sequences"
    )
    micro_batches: PositiveInt | None = Field(
        default=None,
        description="parts in which sequences go through stages; as many as stages if left out",
    )

    @property
    def degrees(self) -> dict[str, int]:
        """The degree of each way."""
        return {name: getattr(self, name) for name in DEGREES}

    @property
    def chips(self) -> int:
        """Chips that the degrees make together."""
        return prod(self.degrees.values())


class OwnLinks(Record):
    """Links of groups that are joined in another way than by ``links``."""

    tensor: Links | None = Field(default=None, description="links between chips that share a layer")
    pipeline: Links | None = Field(default=None, description="links between stages")
    expert: Links | None = Field(default=None, description="links between chips that share experts")


class System(Record):
    """Equal chips that run one model together. Build one with `load_system`.

    Attributes
    ----------
    name, title, description : str
    chip : str
        A shipped chip, or the path of its file; a relative one stands beside the system's file.
    chips : int
        How many.
    links : Links
        What joins the chips of each group, unless ``own_links`` gives that group other links.
    own_links : OwnLinks
        By the way in which the group divides the model, e.g. slower links between stages.
    parallel : Parallel
        How the model is divided.
    """

    name: str = Field(default="", description="name in results; the file's by default")
    title: str = Field(default="", description="title in lists")
    description: str = Field(default="", description="what the system is")
    chip: str = Field(description="a shipped chip, or a file, relative to the system's")
    chips: Annotated[int, Field(gt=0, le=2**20)] = Field(description="number of chips")
    links: Links = Field(description="what joins the chips of each group")
    own_links: OwnLinks = Field(default=OwnLinks(), description="other links for some groups")
    parallel: Parallel = Field(
        default=Parallel(), description="how a model is divided; the degrees multiply to the chips"
    )
    _arch: Arch | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _degrees_make_the_chips(self) -> System:
        made = self.parallel.chips
        if made != self.chips:
            shown = " x ".join(f"{name} {n}" for name, n in self.parallel.degrees.items())
            raise ValueError(
                f"parallel: {shown} = {made:,}, but the system has {self.chips:,} chips; let the "
                "degrees multiply to the chips"
            )
        return self

    @property
    def arch(self) -> Arch:
        """One of its chips."""
        return load_arch(self.chip) if self._arch is None else self._arch

    def of_chip(self, arch: Arch) -> System:
        """Return the same system of other chips."""
        system = self.model_copy(update={"chip": arch.name or self.chip})
        system._arch = arch
        return system

    def divided(self, **degrees: int | None) -> System:
        """Return a system of as many of the same chips and links as other degrees ask for.

        Parameters
        ----------
        degrees : int
            Fields of `Parallel`; what is left out is 1.

        Examples
        --------
        >>> load_system("bitmod-pair").divided(tensor=4, data=2).chips
        8
        """
        parallel = validate(Parallel, Document(source="divided", data=degrees, marks={}))
        made = {**self.model_dump(), "parallel": parallel.model_dump(), "chips": parallel.chips}
        system = validate(System, Document(source="divided", data=made, marks={}))
        system._arch = self._arch
        return system

    def links_of(self, way: str) -> Links:
        """Return the links of the groups that divide the model in one way."""
        own: Links | None = getattr(self.own_links, way, None)
        return own or self.links


@cache
def system_names() -> tuple[str, ...]:
    """Return the names of the shipped systems."""
    return tuple(sorted(path.stem for path in SYSTEMS.glob("*.yaml")))


def is_system(source: str | Path) -> bool:
    """Return whether a name or a file is that of a system, rather than of a chip."""
    if slug(str(source)) in system_names():
        return True
    path = Path(source)
    try:
        named = path.suffix in {".yaml", ".yml"} and path.is_file()
    except OSError:  # a name too long, a folder without rights: reading it as a chip says so
        return False
    if not named:
        return False
    data = read_yaml(path, "architecture file").data
    return isinstance(data, dict) and {"chips", "links"} & set(data) != set()


def load_system(source: str | Path | System, chip: Arch | None = None) -> System:
    """Load a system of chips.

    Parameters
    ----------
    source : str, Path or System
        A shipped name (`system_names`), or the path of a YAML file. A System is taken as it is.
    chip : Arch, optional
        A chip in the place of the one that the system names.

    Raises
    ------
    BitlatheError
        Unknown name, unreadable file, unknown keys, impossible values: one line per problem with
        file, line, column, key and remedy.

    Examples
    --------
    >>> load_system("bitmod-pair").parallel.tensor
    2
    """
    if isinstance(source, System):
        return source if chip is None else source.of_chip(chip)
    text = str(source)
    if slug(text) in system_names():
        path = SYSTEMS / f"{slug(text)}.yaml"
    elif Path(text).suffix in {".yaml", ".yml"}:
        path = Path(text)
    else:
        raise BitlatheError(
            unknown_name("system", text, system_names()) + "; or give the path of a YAML file."
        )
    document = read_yaml(path, "system file")
    if not isinstance(document.data, dict):
        raise BitlatheError(f"{path}:1:1: a system file is a mapping of keys to values.")
    system = validate(System, document).model_copy(update={"name": path.stem})
    if chip is not None:
        return system.of_chip(chip)
    try:
        return system.of_chip(load_arch(_beside(path, system.chip)))
    except BitlatheError as err:
        raise BitlatheError(f"{document.where(('chip',))}: chip: {err}") from None


def _beside(path: Path, chip: str) -> str | Path:
    """Return a chip's shipped name, or its path as seen from the system's file."""
    if slug(chip) in arch_names() or Path(chip).is_absolute():
        return chip
    found: Any = path.parent / chip
    return found if found.suffix in {".yaml", ".yml"} else chip
