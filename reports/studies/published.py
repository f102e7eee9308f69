"""The published studies that can be rebuilt, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import (
    ant_micro22,
    bitfusion_isca18,
    bitmod_hpca25,
    common_ground,
    papers,
    shiftaddllm_energy,
)
from .ant_micro22 import page as ant_page
from .bitfusion_isca18 import page as bitfusion_page
from .bitmod_hpca25 import page as bitmod_page
from .common_ground import page as ground_page
from .shiftaddllm_energy import page as shiftadd_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A study: what rebuilds it, writes its page, prints its tables.

    Attributes
    ----------
    reproduce : callable
        Takes what wraps long loops; its result has ``plain()``, the data of ``--json``.
    write : callable
        Takes the result and a folder; returns the paths written.
    print_tables : callable
        Takes the result.
    """

    reproduce: Callable[..., Any]
    write: Callable[[Any, Path], list[Path]]
    print_tables: Callable[[Any], None]


STUDIES: Mapping[str, Published] = {
    "bitmod-hpca25": Published(
        reproduce=bitmod_hpca25.reproduce,
        write=bitmod_page.write,
        print_tables=bitmod_page.print_tables,
    ),
    "bitfusion-isca18": Published(
        reproduce=bitfusion_isca18.reproduce,
        write=bitfusion_page.write,
        print_tables=bitfusion_page.print_tables,
    ),
    "ant-micro22": Published(
        reproduce=ant_micro22.reproduce,
        write=ant_page.write,
        print_tables=ant_page.print_tables,
    ),
    "shiftaddllm-energy": Published(
        reproduce=shiftaddllm_energy.reproduce,
        write=shiftadd_page.write,
        print_tables=shiftadd_page.print_tables,
    ),
    "common-ground": Published(
        reproduce=common_ground.reproduce,
        write=ground_page.write,
        print_tables=ground_page.print_tables,
    ),
    "papers": Published(
        reproduce=papers.reproduce,
        write=papers.write,
        print_tables=papers.print_tables,
    ),
}
"""``common-ground`` is this project's: the chips of the others on the same models. ``papers``
checks statements of quantization papers on real weights."""
ALL = "all"
