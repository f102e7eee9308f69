"""The command line: ``bitlathe COMMAND``. Every command has ``--json`` for machines."""

from . import (  # noqa: F401  (their commands join the group)
    calibrate,
    catalog,
    mapping,
    numbers,
    quantize,
    reports,
    request,
    schema,
    simulate,
    synthesis,
    tables,
    trace,
    verify,
)
from .base import main
from .guide import guide

__all__ = ["main"]

guide(main)
