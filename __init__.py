"""Co-design of low-bit inference hardware: number formats, chips, models, sweeps.

Ten names do most of the work; ``help(bitlathe.NAME)`` shows one, README.md and docs/ the rest.

=========================  ====================================================================
``formats()``              names of all number formats
``format(name)``           one format: its values, ``encode``, ``decode``, ``round``, ``terms``
``quantize(x, scheme)``    a tensor in a scheme, as "int4_asym@g128": codes, scales, stored bits
``calibrate(w, x, ...)``   a layer by its inputs: GPTQ, AWQ and others
``load_model(name)``       a model as matrix products: a name that is shipped, or a file
``load_arch(name)``        a chip: a name that is shipped, or a YAML file
``simulate(arch, model)``  clocks, energy and area, in all and by layer: a ``Run``
``sweep(file, out)``       a design space, row by row into a folder
``report(out)``            page, charts and tables of that folder
``BitlatheError``          what wrong input raises: the place, what is wrong, what is right
=========================  ====================================================================

Results print themselves in a notebook and have ``to_frame()``. The shell has the same as
``bitlathe quantize``, ``simulate``, ``sweep``, ``report`` and more: ``bitlathe --help``.

What these give and take has names here, too: ``Format``, ``Scheme``, ``QuantizedTensor``,
``QuantizedLinear``, ``Model``, ``Gemm``, ``Step``, ``Arch``, ``System``, ``Run``, ``SystemRun``.
"""

# names are loaded on first use (PEP 562): ``import bitlathe`` stays cheap, and the root module
# holds no second copy of anything

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import arch as arch
    from . import datatypes as datatypes
    from . import mapping as mapping
    from . import reports as reports
    from . import sim as sim
    from . import workloads as workloads
    from .arch import Arch as Arch
    from .arch import System as System
    from .arch import load_arch, load_system
    from .datatypes import BitlatheError
    from .datatypes import Format as Format
    from .datatypes import QuantizedTensor as QuantizedTensor
    from .datatypes import Scheme as Scheme
    from .datatypes.formats.catalogue import names as formats
    from .datatypes.methods.calibrate import calibrate
    from .datatypes.methods.layer import QuantizedLinear as QuantizedLinear
    from .datatypes.quantize import quantize
    from .datatypes.schemes.lookup import format as format
    from .datatypes.torch_module import fake_quantize as fake_quantize
    from .reports.explore.sweep import run_sweep as sweep
    from .reports.page.report import report
    from .sim import Run as Run
    from .sim import SystemRun as SystemRun
    from .sim import simulate
    from .workloads import Gemm as Gemm
    from .workloads import Model as Model
    from .workloads import Step as Step
    from .workloads import from_onnx, from_torch, load_model
    from .workloads.load import step as step

__version__ = "0.2.0"

# public name -> the module that holds it, and its name there where that is another
_HOME = {
    "Arch": "arch",
    "BitlatheError": "datatypes.base.errors",
    "Format": "datatypes",
    "Gemm": "workloads",
    "Model": "workloads",
    "QuantizedLinear": "datatypes.methods.layer",
    "QuantizedTensor": "datatypes",
    "Run": "sim",
    "Scheme": "datatypes",
    "Step": "workloads",
    "System": "arch",
    "SystemRun": "sim",
    "calibrate": "datatypes.methods.calibrate",
    "fake_quantize": "datatypes.torch_module",
    "format": "datatypes.schemes.lookup",
    "formats": "datatypes.formats.catalogue:names",
    "from_onnx": "workloads",
    "from_torch": "workloads",
    "load_arch": "arch",
    "load_model": "workloads",
    "load_system": "arch",
    "quantize": "datatypes.quantize",
    "report": "reports.page.report",
    "simulate": "sim",
    "step": "workloads.load:step",
    "sweep": "reports.explore.sweep:run_sweep",
}
_ROOMS = ("arch", "datatypes", "mapping", "reports", "sim", "workloads")

# what `from bitlathe import *` gives, and `help(bitlathe)` shows: what is called. Not `format`,
# which would hide Python's own, nor `fake_quantize`, which needs torch; classes' help is long
__all__ = [
    "BitlatheError",
    "calibrate",
    "formats",
    "from_onnx",
    "from_torch",
    "load_arch",
    "load_model",
    "load_system",
    "quantize",
    "report",
    "simulate",
    "step",
    "sweep",
]

if not TYPE_CHECKING:  # a type checker would take every misspelled name for one of these

    def __getattr__(name):
        """Load a public name from its room on first use."""
        from importlib import import_module

        if name in _HOME:
            home, _, there = _HOME[name].partition(":")
            return getattr(import_module(f".{home}", __name__), there or name)
        if name in _ROOMS:
            return import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from importlib.util import find_spec

    lacking = set() if find_spec("torch") else {"fake_quantize"}  # help() reads all that is listed
    return sorted(["__version__", *set(_HOME) - lacking, *_ROOMS])
