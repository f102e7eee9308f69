"""What the mapper of the BitFusion lineage takes of a chip: array, SRAM, DRAM port, and costs."""

from dataclasses import dataclass
from fractions import Fraction

from ...arch.pe import IntMacPE
from ...arch.pe_base import Split
from ...arch.schema import Arch
from ...datatypes.base.errors import BitlatheError
from ...workloads.sizes import check_size
from .layer import SquareLayer

_BUFFERS = ("weight", "input", "output")
_PE = IntMacPE()
_SIZES = ("rows", "columns", "port_bits", *(f"{name}_bits" for name in _BUFFERS))


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
    pe : IntMacPE
        What a PE multiplies, and how it splits for narrow operands (`IntMacPE.split_for`); its
        lanes are counted in ``columns``.
    """

    rows: int
    columns: int
    port_bits: int
    weight_bits: int
    input_bits: int
    output_bits: int
    pe: IntMacPE = _PE

    def __post_init__(self) -> None:
        for key in _SIZES:
            check_size(f"Machine.{key}", getattr(self, key))

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
        pe = arch.pe.record
        if not isinstance(pe, IntMacPE):
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
        sizes = {name: 8 * arch.buffers.named(name).size_bytes for name in given}
        return cls(
            rows=arch.array.rows,
            columns=arch.array.columns * arch.pe.lanes,
            port_bits=int(arch.dram_bits_per_clock),
            weight_bits=sizes["weight"],
            input_bits=sizes["input"],
            output_bits=sizes["output"],
            pe=pe,
        )

    def split(self, layer: SquareLayer) -> Split:
        """Return the multipliers in place of one for a layer: along weights, and along inputs.

        The studies have ``floor(8 / max(bits, 2))`` and ``floor(8 / max(bits, 4))`` of an operand,
        which is the same for multipliers of 8 bits.

        Raises
        ------
        BitlatheError
            An operand is wider than the multiplier's port.

        Examples
        --------
        >>> sram = {"weight_bits": 1, "input_bits": 1, "output_bits": 1, "port_bits": 1}
        >>> machine = Machine(rows=1, columns=1, **sram, pe=IntMacPE(split_bits=2))
        >>> layer = SquareLayer(
        ...     name="fc", in_channels=8, out_channels=8, weight_bits=1, input_bits=3
        ... )
        >>> machine.split(layer)
        (4, 2)
        """
        for name, bits, port in (
            ("weight_bits", layer.weight_bits, self.pe.weight_bits),
            ("input_bits", layer.input_bits, self.pe.activation_bits),
        ):
            if bits > port:
                raise BitlatheError(
                    f"layer {layer.name!r}: {name} is {bits}, and the PE's multiplier takes "
                    f"{port}; use a wider multiplier, or at most {port} bits."
                )
        return self.pe.split_for(layer.weight_bits, layer.input_bits)


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
