"""Arrays that lie in a file: nothing is allocated before the file is known to hold it."""

import math
import mmap
import os
from typing import Any, BinaryIO

from ..base.errors import BitlatheError, shown

DIMENSIONS_MAX = 64  # of numpy 2
LENGTH_MAX = 1 << 48


def mapped(file: BinaryIO) -> Any:
    """Return the bytes of an open file, mapped into memory; it may be closed afterwards."""
    if not os.fstat(file.fileno()).st_size:  # cannot be mapped
        return b""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def check_shape(shape: Any, where: str) -> tuple[int, ...]:
    """Return the shape that a file states.

    Raises
    ------
    BitlatheError
        Raised if it is not a list of whole lengths, or has more elements than any file.
    """
    if (
        not isinstance(shape, list | tuple)
        or len(shape) > DIMENSIONS_MAX
        or any(type(n) is not int or not 0 <= n <= LENGTH_MAX for n in shape)
        or math.prod(n for n in shape if n) > LENGTH_MAX
    ):
        raise BitlatheError(
            f"{where}: its shape is {shown(shape)}; it must be up to {DIMENSIONS_MAX} lengths "
            f"from 0 to 2^48, of no more than 2^48 elements"
        )
    return tuple(shape)
