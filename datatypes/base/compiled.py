"""numba's ``njit`` with a disk cache that is safe against changes in other files and damage.

numba looks only at the file that holds a function, not at the files of the helpers it inlines: a
checkout that moves to another version would go on running old kernels. Here a kept kernel is used
only while its file and those that it takes its parts from are the same.

A file of the cache that is damaged, empty or of another version counts as absent, and is written
again; where nothing can be written, kernels are compiled in each process. Of processes that need a
kernel at the same time one compiles it, and the others wait for it.
"""

import ast
import hashlib
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, overload
from uuid import uuid4

import numba
import numpy as np
from llvmlite.binding import Linkage  # type: ignore[import-untyped]
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps

from .jit import switched_off
from .sources import digest_of
from .turns import Turn

Kernel = Callable[..., Any]
_dumps: Any = dumps
_LOG = logging.getLogger("bitlathe.compiles")
_DIGEST = 32  # bytes of a SHA-256
_WAY = 2  # of making kernels: another number where that changes, and kept ones are made again


def _imported(path: Path) -> Iterator[Path]:
    """Yield the files of kernels that a file names in its relative imports."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level:
            where = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for part in (where, *(where / name.name for name in node.names)):
                if part.name.endswith("kernels") or "kernels" in part.parts:
                    files = (part.with_name(f"{part.name}.py"), part / "__init__.py")
                    yield from filter(Path.is_file, files)


@cache
def sources_stamp(path: Path) -> str:
    """Return a digest of a file and of all files of kernels that it takes its parts from.

    Kernels take what they inline from files in `kernels` folders or named so, and from nowhere
    else: no other file can change what a kept kernel does.
    """
    found, new = {path}, [path]
    while new:
        more = set(_imported(new.pop())) - found
        found |= more
        new += more
    return digest_of(found, Path(os.path.commonpath([file.parent for file in found])))


class KernelFiles:
    """Kernels of one function on disk: a file each, its digest first.

    Parameters
    ----------
    folder : Path
    name : str
        What the files' names start with.
    stamp : object
        A kernel that was kept under another one counts as absent.
    """

    def __init__(self, folder: Path, name: str, stamp: object) -> None:
        self.folder, self.name, self.stamp = folder, name, repr(stamp)

    def path(self, key: object) -> Path:
        """Return the file of what is kept under a key."""
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return self.folder / f"{self.name}.{digest[:24]}.kernel"

    def load(self, key: object) -> Any:
        """Return what was kept under a key; None where there is nothing sound."""
        try:
            content = self.path(key).read_bytes()
        except OSError:
            return None
        digest, body = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(body).digest() != digest:
            return None
        stamp, kept_key, data = pickle.loads(body)
        return data if (stamp, kept_key) == (self.stamp, repr(key)) else None

    def save(self, key: object, data: object) -> None:
        """Keep data; readers see all of it or none."""
        body = _dumps((self.stamp, repr(key), data))
        path = self.path(key)
        part = path.with_name(f"{path.name}.{uuid4().hex[:16]}.part")
        try:
            part.write_bytes(hashlib.sha256(body).digest() + body)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def flush(self) -> None:
        """Forget all kernels of the function."""
        for path in self.folder.glob(f"{self.name}.*.kernel"):
            path.unlink(missing_ok=True)


def _identity(part: Any) -> Any:
    """Return what identifies a function, or a part of what it closes over, in every process alike.

    Compiled functions that it closes over go by the stamps of their files, their names and what
    they close over themselves: numba's own key holds a number that each process draws anew.
    """
    if isinstance(part, tuple):
        return tuple(map(_identity, part))
    if isinstance(part, Dispatcher):
        part = part.py_func
    if not isinstance(part, FunctionType):
        return hashlib.sha256(_dumps(part)).hexdigest()
    cells = tuple(cell.cell_contents for cell in part.__closure__ or ())
    return (
        sources_stamp(Path(part.__code__.co_filename)),
        part.__module__,
        part.__qualname__,
        part.__code__.co_firstlineno,
        _identity(cells),
    )


_Base: Any = FunctionCache  # numba states no types here


class KernelCache(_Base):  # type: ignore[misc]
    """numba's cache of a function, in files that are checked; without them where that fails."""

    def __init__(self, function: Kernel) -> None:
        super().__init__(function)
        stamp = (sources_stamp(Path(function.__code__.co_filename)), numba.__version__, _WAY)
        self._cache_file = KernelFiles(Path(self.cache_path), self._impl.filename_base, stamp)
        self._turn: Turn | None = None

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return sig, codegen.magic_tuple(), _identity(self._py_func)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a kept kernel, or None: it is compiled then."""
        self._end_turn()  # of a compilation that failed
        kept = self._kept(sig, target_context)
        if kept is None and self._enabled:
            key = self._index_key(sig, target_context.codegen())
            self._turn = Turn(self._cache_file.path(key).with_suffix(".lock"))
            if self._turn.take():
                kept = self._kept(sig, target_context)
            if kept is not None:
                self._end_turn()
        if kept is None:
            _LOG.info("compiles %s", self._py_func.__qualname__)
        return kept

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.end()
        self._turn = None

    def _kept(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever a foreign file makes numba, LLVM or pickle raise
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a kernel where there is room for it."""
        try:
            super().save_overload(sig, data)
        except OSError:  # a full disk, a folder that has gone or is read-only
            self.disable()
        finally:
            self._end_turn()


_Library: Any = JITCodeLibrary
_Compiler: Any = CompilerBase
_passes: Any = DefaultPassBuilder


class _KernelLibrary(_Library):  # type: ignore[misc]
    """A kernel's machine code, with all that it calls as its own.

    numba leaves the functions that a kernel calls open to calls from elsewhere, so that LLVM keeps
    each with all its arguments: an array is seven numbers or more, and a tuple of arrays hundreds.
    Nothing else calls them; as functions of the kernel alone they are put in place, or take what
    they use. Those that remain get names that numba gives to none: LLVM's loader goes by names, and
    would send what calls a function of numba's own making to one that takes other arguments.
    """

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal
        super()._optimize_final_module()
        functions = list(self._final_module.functions)
        entries = sorted(f.name for f in functions if f.linkage == Linkage.external)
        own = hashlib.sha256("\n".join(entries).encode()).hexdigest()[:16]
        for function in functions:
            if not function.is_declaration and function.linkage == Linkage.internal:
                function.name = f"{function.name}.{own}"


class _KernelCompiler(_Compiler):  # type: ignore[misc]
    """numba's compiler, of kernels whose functions are their own."""

    def define_pipelines(self) -> list[Any]:
        codegen = self.state.targetctx.codegen()
        self.state.library = _KernelLibrary(codegen, self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        return [_passes.define_nopython_pipeline(self.state)]


def _keep(made: Any, function: Kernel) -> None:
    try:
        made._cache = KernelCache(function)
    except (RuntimeError, OSError):  # no folder can be written: compile in each process
        return


@overload
def compiled(function: Kernel, /, **options: Any) -> Kernel: ...
@overload
def compiled(**options: Any) -> Callable[[Kernel], Kernel]: ...
def compiled(function: Any = None, /, **options: Any) -> Any:
    """Compile a function on first use and keep it on disk.

    Left as it is where compilation is switched off (see `jit`).

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
        if switched_off():  # compiled code does not warn of overflow either
            return np.errstate(all="ignore")(function)
        made: Any = numba.njit(pipeline_class=_KernelCompiler, **options)(function)
        if isinstance(made, Dispatcher):  # not where numba's own settings say otherwise
            _keep(made, function)
        return made

    return decorate if function is None else decorate(function)
