"""Every CUDA kernel of the package, and calls that launch each with all types it may get."""

import numpy as np

SIM, DATA = "bitlathe.sim.cuda.", "bitlathe.datatypes.kernels.cuda."
KERNELS = {
    "bit_serial": (SIM + "bit_serial_kernels", "dots_kernel"),
    "exact": (SIM + "bit_serial_kernels", "exact_kernel"),
    "dequantize": (SIM + "dequantize_kernels", "products_kernel"),
    "int": (SIM + "mac_kernels", "int_kernel"),
    "flint": (SIM + "mac_kernels", "flint_kernel"),
    "pair": (SIM + "mac_kernels", "pair_kernel"),
    "float": (SIM + "mac_kernels", "float_kernel"),
    "tables": (SIM + "mac_kernels", "tables_kernel"),
    "lookups": (SIM + "mac_kernels", "lookups_kernel"),
    "dual_grain": (SIM + "products_kernels", "dual_grain_kernel"),
    "block": (SIM + "products_kernels", "block_kernel"),
    "shifted": (SIM + "products_kernels", "shifted_kernel"),
    "bytes": (SIM + "given_kernels", "bytes_kernel"),
    "shorts": (SIM + "given_kernels", "shorts_kernel"),
    "floats": (DATA + "checks", "floats_kernel"),
    "pairs": (SIM + "given_kernels", "pairs_kernel"),
    "values": (SIM + "given_kernels", "values_kernel"),
    "grains": (SIM + "given_kernels", "grains_kernel"),
    "split": (SIM + "given_kernels", "split_kernel"),
    "rows": (SIM + "given_kernels", "rows_kernel"),
    "sums_stay": (SIM + "systolic_kernels", "sums_stay_kernel"),
    "weights_stay": (SIM + "systolic_kernels", "weights_stay_kernel"),
    "choose": (DATA + "group_kernels", "choose_kernel"),
    "code": (DATA + "group_kernels", "code_kernel"),
    "power": (DATA + "group_kernels", "power_kernel"),
    "counts": (DATA + "counts", "counts_kernel"),
}


def bit_serial() -> None:
    """Launch the bit-serial kernels with all kinds of formats and activations."""
    from bitlathe.sim.pe.bit_serial import bitserial_dot

    for numerics in ("hpca25", "aligned", "exact"):
        for format in ("int8", "int4", "bitmod_fp4"):
            for activation, kind in (("fp16", np.float16), ("int8", np.int8), ("bf16", float)):
                for skip in (False, True):
                    one = kind(2.0**-120 if activation == "bf16" else 1)
                    bitserial_dot(np.full((3, 8), one), np.ones((3, 8), np.int8), format, numerics,
                                  activation=activation, skip_zero_terms=skip,
                                  device="cuda")  # fmt: skip


def grid_tables() -> None:
    """Launch the grid-table product."""
    from bitlathe.sim.pe.dequantize import table_matmul

    for kind in (np.float16, np.float32):
        table_matmul(np.ones((2, 4), kind), np.ones((3, 4), int), [0.0, 1.0], np.ones((3, 1)),
                     device="cuda")  # fmt: skip


def macs() -> None:
    """Launch the bit-parallel PEs."""
    from bitlathe.arch.pe import FpMacPE, IntMacPE, LutPE
    from bitlathe.sim.pe import mac

    ones = np.ones((2, 4), np.int64)
    for overflow in ("wrap", "saturate"):
        mac.int_mac_dot(ones, ones, IntMacPE(overflow=overflow), device="cuda")
    mac.ant_dot(ones, ones, device="cuda")
    mac.olive_dot(ones, ones, device="cuda")
    for product, overflow in ((None, "inf"), ("fp16", "saturate")):
        pe = FpMacPE(product=product, overflow=overflow, lanes=2)
        mac.fp_mac_dot(ones, ones, pe, device="cuda")
    for inputs in (2, 4):
        planes = np.ones((3, 1, 4 // inputs), int)
        mac.lut_matmul(ones, planes, np.ones((3, 1), int), LutPE(inputs=inputs), device="cuda")


def products() -> None:
    """Launch the products of quantized operands."""
    from bitlathe.sim.pe import products as made

    ones, groups = np.ones((2, 4), int), np.ones((2, 1), int)
    made.dual_grain_matmul(ones, ones, groups, groups, device="cuda")
    side = made.Blocks(codes=ones, scales=groups, grids=[0.0, 1.0])
    made.block_scaled_matmul(side, side, device="cuda")
    made.block_scaled_matmul(side, side._replace(choices=groups * 0), device="cuda")
    for format in made.BYTE_FLOATS:
        made.shifted_fp4_matmul(ones, ones, groups, [1, 1], format=format, device="cuda")


def groups() -> None:
    """Launch the coding of groups."""
    from bitlathe.datatypes.formats import catalogue
    from bitlathe.datatypes.kernels.cuda import groups as made

    x, book = np.ones((2, 40), np.float32), catalogue.single("fp4_e2m1").grid.book("even")
    made.codebooks(x, (book,), 8)
    made.codebooks(x, (book, book), 8, "fp16")
    made.mx(x, book, 6.0, 1)


def counts() -> None:
    """Launch the counting of codes."""
    from bitlathe.datatypes.kernels.cuda.counts import code_counts

    code_counts(np.ones((2, 3), int), 16)


def systolic() -> None:
    """Launch the systolic arrays."""
    from bitlathe.sim.array.systolic.stack import simulate_stack

    for dataflow in ("ws", "os"):
        for doubled in (False, True):
            simulate_stack(np.ones((2, 3, 4), int), np.ones((2, 4, 5), int), 2, 2, dataflow,
                           double_buffered_operand=doubled, device="cuda")  # fmt: skip
        simulate_stack(np.ones((1, 1, 1), int), np.ones((1, 1, 1), int), 32, 32, dataflow,
                       device="cuda")  # fmt: skip


def given(on_device) -> None:
    """Launch the checks of operands that lie on the device, where ``on_device`` puts them."""
    from bitlathe.sim.cuda import given_kernels as made

    codes, scales = (on_device(np.ones((2, 3), kind)) for kind in (np.uint8, np.float32))
    made.codes(codes, 16, "codes")
    made.byte_floats(codes, 126, "codes")
    made.shorts(on_device(np.ones((2, 3), np.int16)), -1, 1, "shifts")
    made.reals(scales, "scales")
    made.values_of(scales, "fp16", (11, -24, 65504.0), "weights")
    made.refuse_bad_pairs(codes)
    made.refuse_wide_grains(codes, codes, codes, 1)
    made.split_halves(on_device(np.ones((2, 3), np.float16)), "activations")
    made.decoder_rows(on_device(np.ones((2, 3), np.int8)), -1, np.ones(3, bool), "weights")


CALLS = (bit_serial, grid_tables, macs, products, groups, counts, systolic)
