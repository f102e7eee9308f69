"""The coders by name, each from its own file."""

from typing import Final

from ..schemes.scheme import Scheme
from . import dispatch, released
from .asym import ASYM
from .bcq import BCQ
from .coded import Coded
from .coder import Coder
from .dgq import DGQ
from .job import Job
from .levels import LEVELS, OFFSET
from .olive import OLIVE
from .table import TABLE

# by the name of a scheme's coder
CODERS: Final[dict[str, Coder]] = {
    "table": TABLE,
    "asym": ASYM,
    "olive": OLIVE,
    "bcq": BCQ,
    "dgq": DGQ,
    "levels": LEVELS,
    "offset": OFFSET,
}
# the same under +paper
RELEASED: Final[dict[str, Coder]] = {
    "table": released.TABLE,
    "asym": released.ASYM,
}


def coder_of(scheme: Scheme) -> Coder:
    """Return the coder of a scheme."""
    return (RELEASED if scheme.paper else CODERS)[scheme.coder]


def encode_fast(job: Job, min_size: int = dispatch.MIN_SIZE) -> Coded | None:
    """Code a job with a compiled kernel; None where no kernel fits."""
    return coder_of(job.scheme).compiled(job) if dispatch.plain(job, min_size) else None
