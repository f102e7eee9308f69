"""The coders by name, each from its own file."""

from dataclasses import replace
from typing import Final

from ..schemes.scheme import Scheme
from . import dispatch, released
from .asym import ASYM
from .bcq import BCQ
from .coded import Coded
from .coder import Coder
from .dgq import DGQ
from .finer import PLUS, REFINED
from .job import Job
from .kmeans import KMEANS
from .levels import LEVELS, OFFSET
from .levels_compiled import encode_compiled
from .olive import OLIVE
from .table import TABLE

# by the name of a scheme's coder
CODERS: Final[dict[str, Coder]] = {
    "table": TABLE,
    "asym": ASYM,
    "olive": OLIVE,
    "bcq": BCQ,
    "dgq": DGQ,
    "kmeans": KMEANS,
    "refined": REFINED,
    "plus": PLUS,
    "levels": replace(LEVELS, compiled=encode_compiled),
    "offset": replace(OFFSET, compiled=encode_compiled),
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
