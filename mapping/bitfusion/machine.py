"""What the mapper of the BitFusion lineage takes of a chip: array, SRAM, DRAM port, and costs."""

from dataclasses import dataclass
from fractions import Fraction

from ...arch.schema import Arch
from ...datatypes.base.errors import BitlatheError
from ...workloads.sizes import check_size

_BUFFERS = ("weight", "input", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An array whose PEs split their multiplier, three SRAMs and a DRAM port.

    Attributes
    ----------
    rows, columns : int
        PEs of the array.
    port_bits : int
        Bits that DRAM moves in a clock.
    weight_bits, input_bits, output_bits : int
        Sizes of the SRAMs.
    most_bits, least_bits : int
        Operands of ``most_bits`` take a PE's whole multiplier; narrower ones a part, down to
        ``least_bits``.
    """

    rows: int
    columns: int
    port_bits: int
    weight_bits: int
    input_bits: int
    output_bits: int
    most_bits: int = 8
    least_bits: int = 8

    def __post_init__(self) -> None:
        for key in self.__slots__:
            check_size(f"Machine.{key}", getattr(self, key))
        if self.least_bits > self.most_bits:
            raise BitlatheError(
                f"Machine.least_bits is {self.least_bits}, must be at most most_bits, "
                f"{self.most_bits}"
            )

    @classmethod
    def of(cls, arch: Arch) -> "Machine":
        """Return what the mapper takes of a chip.

        Raises
        ------
        BitlatheError
            A chip without buffers ``weight``, ``input`` and ``output``, whose PE is not
            ``int_mac``, whose DRAM does not move whole bits in a clock, or has latency or bursts.
        """
        given = arch.buffers.names if arch.buffers.given else ()
        if given != _BUFFERS:
            raise BitlatheError(
                f"chip {arch.name!r}: this mapper fills buffers weight, input and output; the chip "
                f"gives {', '.join(given) or 'memories'}; give it those three."
            )
        if arch.pe.kind != "int_mac":
            raise BitlatheError(
                f"chip {arch.name!r}: pe.kind is {arch.pe.kind}; this mapper lays integer PEs "
                "that split their multiplier: use int_mac, with split_bits."
            )
        if arch.dram_bits_per_clock.denominator != 1:
            raise BitlatheError(
                f"chip {arch.name!r}: dram moves {float(arch.dram_bits_per_clock):g} bits a clock; "
                "this mapper takes whole bits: give dram.bits_per_clock."
            )
        if arch.dram_latency_cycles or arch.dram.burst_bits is not None:
            raise BitlatheError(
                f"chip {arch.name!r}: dram has a latency of {arch.dram_latency_cycles} clocks and "
                f"bursts of {arch.dram.burst_bits or 1} bits, and this mapper counts neither: give "
                "dram.latency_cycles: 0 and leave dram.burst_bits out, or use mapper 'search'."
            )
        record = arch.pe.record
        most = max(record.value("activation_bits"), record.value("weight_bits"))
        sizes = {name: 8 * arch.buffers.named(name).size_bytes for name in given}
        return cls(
            rows=arch.array.rows,
            columns=arch.array.columns * arch.pe.lanes,
            port_bits=int(arch.dram_bits_per_clock),
            weight_bits=sizes["weight"],
            input_bits=sizes["input"],
            output_bits=sizes["output"],
            most_bits=most,
            least_bits=record.value("split_bits") or most,
        )

    def ways(self, bits: int) -> int:
        """Return how many operands of so many bits lie beside each other in a multiplier.

        Examples
        --------
        >>> sram = {"weight_bits": 1, "input_bits": 1, "output_bits": 1, "port_bits": 1}
        >>> machine = Machine(rows=1, columns=1, **sram, most_bits=8, least_bits=2)
        >>> [machine.ways(bits) for bits in (1, 2, 3, 4, 5, 8)]
        [4, 4, 2, 2, 1, 1]
        """
        return self.most_bits // max(bits, self.least_bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Energies, exact: picojoules of a bit that a memory reads or writes, and of a clock.

    Attributes
    ----------
    weight_read, weight_write, input_read, input_write, output_read, output_write : Fraction
        A bit of the SRAMs.
    dram_read, dram_write : Fraction
        A bit of the DRAM.
    work : Fraction
        A clock in which the array works, all PEs.
    pe_leakage, sram_leakage, dram_background : Fraction
        Any clock.
    """

    weight_read: Fraction
    weight_write: Fraction
    input_read: Fraction
    input_write: Fraction
    output_read: Fraction
    output_write: Fraction
    dram_read: Fraction
    dram_write: Fraction
    work: Fraction
    pe_leakage: Fraction = Fraction(0)
    sram_leakage: Fraction = Fraction(0)
    dram_background: Fraction = Fraction(0)

    @classmethod
    def of(cls, arch: Arch) -> "Costs":
        """Return the costs of a chip; leakage only where its accounting counts it."""
        found: dict[str, Fraction] = {}
        leaked = Fraction(0)
        for name in _BUFFERS:
            cost, port = arch.sram_cost(name), arch.port_bits(name)  # type: ignore[arg-type]
            found[f"{name}_read"] = _exact(cost.read_pj) / port
            found[f"{name}_write"] = _exact(cost.write_pj) / port
            leaked += _exact(cost.leakage_mw)
        counted, clock = arch.accounting.leakage, _exact(arch.technology.clock_ghz)
        factor = _exact(arch.accounting.layout_factor)
        return cls(
            **found,
            dram_read=_exact(arch.dram.read_bit_pj),
            dram_write=_exact(arch.dram.write_bit_pj),
            work=factor * arch.phase_pes * _exact(arch.pe_costs.energy_pj),
            pe_leakage=counted * arch.pes * _exact(arch.pe_costs.leakage_mw) / clock,
            sram_leakage=counted * leaked / clock,
            dram_background=_exact(arch.dram_background_mw) / clock,
        )


def _exact(value: float) -> Fraction:
    """Return a number as it is written in decimals."""
    return Fraction(str(value))
