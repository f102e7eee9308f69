"""Compiled kernels of the datatypes: arrays in, arrays out, at about the speed of memory.

These functions check shapes, allocate outputs, compile what is needed on first use and spread the
rows over threads. They know no names: grids come as arrays. numba is imported on use.
`groups` codes matrices in groups that share a scale, `casts` single elements.
"""

from .base.tables import Book, make_book
from .grids.groups import (
    MAX_PAPER_GROUP,
    Groups,
    absmax_groups,
    all_finite,
    asymmetric,
    bitmod,
    bitmod_given,
    bitmod_paper,
    bitmod_under,
    choose_bitmod,
    choose_book,
    codebooks,
    codebooks_given,
    codes_shifted,
    ends_groups,
    errors_given,
    mx,
    mx_integer,
    symmetric,
)
from .streams.casts import decode_float, encode_float, pack, pack_e2m1, unpack, unpack_e2m1

__all__ = [
    "MAX_PAPER_GROUP",
    "Book",
    "Groups",
    "absmax_groups",
    "all_finite",
    "asymmetric",
    "bitmod",
    "bitmod_given",
    "bitmod_paper",
    "bitmod_under",
    "choose_bitmod",
    "choose_book",
    "codebooks",
    "codebooks_given",
    "codes_shifted",
    "decode_float",
    "encode_float",
    "ends_groups",
    "errors_given",
    "make_book",
    "mx",
    "mx_integer",
    "pack",
    "pack_e2m1",
    "symmetric",
    "unpack",
    "unpack_e2m1",
]
