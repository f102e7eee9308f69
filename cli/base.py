"""The group of commands, and what they share: options, remarks, settings."""

import gc
import logging
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..datatypes.base.errors import BitlatheError, to_install
from ..datatypes.base.files import shown_path
from ..reports.options import Commands, known, phases, remarked
from .guide import Listing

PICTURES = (".png", ".svg", ".pdf")  # what `trace` draws, beside its .csv
COMPILES = logging.getLogger("bitlathe.compiles")
GARBAGE = 50_000  # objects between collections; Python's 700 take a tenth of a short command
FIDELITY = "Rung: cycle (event by event) or analytic (closed forms)."
MAPPER = "Best loop nests (search, search-cycles, search-energy), or a rule: see docs/mapping.md."
budget_option = click.option(
    "--budget",
    metavar="NODES",
    type=click.IntRange(min=1),
    help="Nodes (tiles bounded) after which a search returns the best it has, not proven.  "
    "[default: 4194304, some 8 s a layer]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
settings_option = click.option(
    "--set", "settings", multiple=True, help="KEY=VALUE in the chip, e.g. array.rows=64."
)
batch_option = click.option(
    "--batch", type=int, default=1, show_default=True, help="Sequences or images."
)
phase_option = click.option(
    "--phase",
    callback=known(phases),
    default="prefill",
    show_default=True,
    help="prefill (a prompt) or decode (a token).",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bitlathe")
@click.option(
    "--strict",
    is_flag=True,
    help="End with status 1 if there is a note or a warning; may stand last.",
)
def main(*, strict: bool) -> None:
    """Co-design toolkit for low-bit inference hardware.

    Pick a number format and a chip: see what the format does to accuracy, and what the chip costs
    in time, energy and area.

    \b
    First steps:
      bitlathe formats; bitlathe archs; bitlathe models     what is shipped
      bitlathe quantize FILE --scheme int4_asym@g128        a format's error and bits
      bitlathe simulate --arch bitmod --model llama-2-7b    a chip's time and energy

    Each command prints JSON with --json, and its options with --help. Pages: docs/ of the project.
    The shell completes commands, chips, models and formats: see docs/command-line.md.
    """  # noqa: D301  (click takes the backspace for: leave these lines as they are)
    first_run()


main.command_class = Listing


class _FirstRun(logging.Handler):
    """Says once, on the terminal or in a batch job's log, that kernels are compiled."""

    def emit(self, record: logging.LogRecord) -> None:
        COMPILES.removeHandler(self)
        click.echo(
            "Note: what is needed is compiled at its first use, up to a minute or two, and kept.",
            err=True,
        )


def first_run() -> None:
    """Have it said when the first kernel of this process is compiled, none of it being kept.

    And let what is alive be gone through for garbage rarely: modules and records stay.
    """
    if sys.stderr is sys.__stderr__:  # a command of its own, not one called by a program
        gc.set_threshold(GARBAGE)
        COMPILES.setLevel(logging.INFO)
        COMPILES.addHandler(_FirstRun())


def note(text: str) -> None:
    """Print a remark where it does not mix with results; `--strict` ends with status 1 for it."""
    remarked()
    click.echo(f"Note: {text}", err=True)


def chip_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` texts as settings of a chip."""
    from ..arch.loader import parse_setting

    return dict(parse_setting(pair) for pair in pairs)


def check_drawing(option: str, path: Path | None) -> None:
    """Refuse a picture where matplotlib is missing, before anything is computed.

    Raises
    ------
    BitlatheError
        It is missing.
    """
    if path is not None and path.suffix.lower() in PICTURES and find_spec("matplotlib") is None:
        hint = to_install("matplotlib", "report")
        raise BitlatheError(f"{option} {path}: pictures need matplotlib: {hint}")


def check_place(option: str, path: Path | None) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises
    ------
    BitlatheError
        It is a folder, or would stand in a file. Folders that are not there are made.
    """
    if path is None:
        return
    try:
        if path.is_dir():
            raise BitlatheError(f"{option} {path} is a folder; name a file.")
        above = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as err:  # a name too long, a folder without rights
        raise BitlatheError(f"{option}: cannot write {shown_path(path)}: {err.strerror}.") from None
    if not above.is_dir():
        raise BitlatheError(f"{option}: cannot write {path}: {above} is a file, not a folder.")
