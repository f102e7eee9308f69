"""The near memories of a chip: those right behind the outermost, where blocks of a chain lie.

A product of a block is a product on a chip whose outermost memory is all of them together, with
their ports, each for the operands that lie behind it.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

from ..count import PortKey
from ..record import OPERANDS, Chip, Memory, ProofError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Near:
    """A chip, the chip behind its near memories, the near memory of each operand.

    ``ports``: of the one memory that stands for all, each port's memory and number on the chip.
    """

    whole: Chip
    inside: Chip
    memories: dict[str, Memory]
    ports: tuple[PortKey, ...]

    @property
    def outermost(self) -> Memory:
        """The memory that a chain reads from and writes to."""
        return self.whole.memories[0]

    def behind(self, unit_pj: Fraction) -> Chip:
        """Return the chip behind the near memories, with the energy of a unit in a clock."""
        return replace(self.inside, unit_pj=unit_pj)

    def key(self, port: PortKey) -> PortKey:
        """Return the port of the whole chip that is one of the chip behind the near memories."""
        name, i = port
        return self.ports[i] if name == self.inside.memories[0].name else port


def near_of(chip: Chip) -> Near:
    """Return the near memories of a chip.

    Raises
    ------
    ProofError
        An operand has none, or one that stands behind another's; or units have an energy beside
        that of the chain's products.
    """
    if chip.unit_pj:
        raise ProofError("chip.unit_pj is not 0; the chain's products say what a unit takes.")
    ways = {op: [each for each in chip.memories if op in each.holds] for op in OPERANDS}
    near: dict[str, Memory] = {}
    for operand, way in ways.items():
        if len(way) < 2 or way[1].per:
            raise ProofError(f"the chip has no memory behind the first where {operand}s can wait.")
        near[operand] = way[1]
    for operand, way in ways.items():
        if any(memory in near.values() for memory in way[2:]):
            raise ProofError(f"{operand}s pass two of the memories where blocks wait.")
    ports, keys, latency = [], list[PortKey](), 0
    for memory in dict.fromkeys(near.values()):
        own = tuple(operand for operand in OPERANDS if near[operand] is memory)
        latency = max(latency, memory.latency_cycles)
        for i, port in enumerate(memory.ports):
            served = tuple(operand for operand in port.operands if operand in own)
            if served:
                ports.append(replace(port, operands=served))
                keys.append((memory.name, i))
    others = tuple(each for each in chip.memories[1:] if each not in near.values())
    name = "near"
    while name in {*(each.name for each in others), *chip.axis_names}:
        name += "_"
    one = Memory(
        name=name,
        holds=OPERANDS,
        size_bits=None,
        words=None,
        ports=tuple(ports),
        per=(),
        double_buffered=True,
        optional=(),
        latency_cycles=latency,
        keep_halo=False,
        decode_pj=near["weight"].decode_pj,
    )
    return Near(
        whole=chip,
        inside=replace(chip, memories=(one, *others)),
        memories=near,
        ports=tuple(keys),
    )
