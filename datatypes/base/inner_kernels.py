"""Parts of kernels: functions that only kernels call, compiled into the kernel that calls them.

numba makes machine code of every function that it compiles, with all that the function calls, and
two wrappers for Python; a kernel of many small functions is optimized anew with each of them. A
part has no wrapper and is left as it is lowered: LLVM sees it once, in the kernel. Called from
Python it runs as plain Python.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import config, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.registry import CPUDispatcher

from .jit import switched_off

OPTIONS = {"error_model": "numpy", "_nrt": False}
"""No checks for division by zero, no reference counts: parts and kernels that allocate nothing."""

_Library: Any = JITCodeLibrary  # numba states no types here
_Compiler: Any = CompilerBase
_Dispatcher: Any = CPUDispatcher
_passes: Any = DefaultPassBuilder
_types: Any = types
_settings: Any = config


class _PartLibrary(_Library):  # type: ignore[misc]
    """Code that is linked into that of others, and not optimized or loaded for itself."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


class _PartCompiler(_Compiler):  # type: ignore[misc]
    """numba's compiler, up to the code that is linked."""

    def define_pipelines(self) -> list[Any]:
        state = self.state
        state.flags.no_compile = True
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return [_passes.define_nopython_pipeline(state)]


class _Part(_Dispatcher):  # type: ignore[misc]
    """A function that numba compiles for other functions, never for a call from Python."""

    def add_overload(self, made: Any) -> None:
        """Let kernels call what was compiled for some types."""
        made = made._replace(entry_point=object())  # by which numba finds it; nothing calls it
        self.targetctx.insert_user_function(made.entry_point, made.fndesc, [made.library])
        self.overloads[tuple(made.signature.args)] = made

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile once for numbers, not once for each that stands as a constant in a call."""
        plain = {name: _types.unliteral(each) for name, each in kws.items()}
        return super().get_call_template([_types.unliteral(each) for each in args], plain)

    def _compile_for_args(self, *_: Any, **__: Any) -> Callable[..., Any]:
        return self.py_func  # type: ignore[no-any-return]


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function that takes arrays and numbers into the kernels that call it.

    It may not allocate arrays. Left as it is where compilation is switched off (see `jit`).

    Examples
    --------
    >>> from bitlathe.datatypes.base.compiled import compiled
    >>> @inner
    ... def twice(x):
    ...     return 2 * x
    >>> @compiled
    ... def four_times(x):
    ...     return twice(twice(x))
    >>> four_times(3), twice(3)
    (12, 6)
    """
    return _part(function, {})


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function as `inner` does, and put its code in place of each call.

    For small functions of many arrays: a call hands over some ten numbers an array, which takes
    longer than what such a function does.
    """
    return _part(function, {"forceinline": True})


def _part(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    if switched_off():  # compiled code does not warn of overflow either
        return np.errstate(all="ignore")(function)
    if _settings.DISABLE_JIT:
        return function
    return _Part(
        py_func=function,
        targetoptions={
            "nopython": True,
            "boundscheck": None,
            "no_cpython_wrapper": True,
            "no_cfunc_wrapper": True,
            **OPTIONS,
            **options,
        },
        pipeline_class=_PartCompiler,
    )
