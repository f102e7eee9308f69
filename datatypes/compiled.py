"""numba's ``njit`` with a disk cache that is safe against changes in other files.

numba looks only at the file that holds a function, not at the files of the helpers it inlines: a
checkout that moves to another version would go on running old kernels. Here a kept kernel is one
of the whole package as it stands.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, overload

from numba import njit
from numba.core.dispatcher import Dispatcher

Kernel = Callable[..., Any]
PACKAGE = Path(__file__).resolve().parents[1]


@cache
def sources_stamp(package: Path = PACKAGE) -> str:
    """Return a digest of names, sizes and times of change of a package's Python files."""
    rooms = sorted(init.parent for init in package.glob("*/__init__.py"))
    digest = hashlib.sha256()
    for path in sorted(path for room in rooms for path in room.rglob("*.py")):
        facts = path.stat()
        digest.update(f"{path.relative_to(package)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@overload
def compiled(function: Kernel, /, **options: Any) -> Kernel: ...
@overload
def compiled(**options: Any) -> Callable[[Kernel], Kernel]: ...
def compiled(function: Any = None, /, **options: Any) -> Any:
    """Compile a function on first use and keep it on disk.

    Parameters
    ----------
    function : callable, optional
        Left out, a decorator is returned.
    **options
        Those of ``numba.njit``, without ``cache``.

    Examples
    --------
    >>> @compiled(nogil=True)
    ... def twice(x):
    ...     return 2 * x
    >>> twice(21)
    42
    """

    def decorate(function: Callable[..., Any]) -> Any:
        made: Any = njit(**options)(function)
        dispatched = isinstance(made, Dispatcher)  # not with NUMBA_DISABLE_JIT
        if dispatched:
            try:
                made.enable_caching()
            except RuntimeError:  # no folder can be written: compile in each process
                return made
            kept = made._cache._cache_file
            kept._source_stamp = (kept._source_stamp, sources_stamp())
        return made

    return decorate if function is None else decorate(function)
