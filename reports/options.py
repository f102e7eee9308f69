"""What commands and options have in common: near names, paths, sizes, how errors end."""

import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from ..datatypes.base.errors import BitlatheError, nearest, unknown_name


class NamedPath(click.Path):
    """A path with a name: an empty one, as of an unset variable, is not the folder one is in."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("an empty name; write '.' for the folder you are in.", param, ctx)
        return super().convert(value, param, ctx)


Callback = Callable[[click.Context, click.Parameter, str | None], str | None]


def known(names: Callable[[], Iterable[str]]) -> Callback:
    """Return what refuses an option's value that is none of some names, with option and names.

    Parameters
    ----------
    names : callable
        Returns the names, and imports where they stand only when they are needed.

    Raises
    ------
    BitlatheError
        By what is returned, if the value is none of the names.
    """

    def check(_: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None and value not in (found := tuple(names())):
            raise BitlatheError(f"{param.opts[0]}: {unknown_name('value', value, found)}")
        return value

    return check


def phases() -> Iterable[str]:
    """Return the phases of a model."""
    from ..workloads.model import PHASES

    return PHASES


def logits() -> Iterable[str]:
    """Return the tokens that an output head may see."""
    from ..workloads.model import LOGITS

    return LOGITS


def rungs() -> Iterable[str]:
    """Return the rungs of the simulator."""
    from ..sim.simulation import FIDELITIES

    return FIDELITIES


def mappers() -> Iterable[str]:
    """Return the mappers."""
    from ..sim.mappers import MAPPERS

    return MAPPERS


def objectives() -> Iterable[str]:
    """Return what a search of mappings makes least."""
    from ..mapping.best import OBJECTIVES

    return OBJECTIVES


def dataflows() -> Iterable[str]:
    """Return the dataflows of a systolic array."""
    from ..arch.dataflow import SYSTOLIC

    return SYSTOLIC


def scopes() -> Iterable[str]:
    """Return the parts of a tile that may step together."""
    from ..sim.array.tile.model import SCOPES

    return SCOPES


PATH = NamedPath()


def sizes(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Read ``3x4x5`` as sizes; None where the option is left out.

    Raises
    ------
    click.BadParameter
        If the text is not as many whole numbers above 0 as the option names.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    names = str(param.metavar).split("x")
    if len(parts) != len(names) or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise click.BadParameter(f"{text!r}: write {param.metavar}, each a whole number above 0.")
    return tuple(int(p) for p in parts)


def listed(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Read ``1,4,16`` as sizes; None where the option is left out and has no default.

    Raises
    ------
    click.BadParameter
        If the text is not whole numbers with commas between them.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"{text!r}: write whole numbers with commas, as 1,4,16.")
    return tuple(int(part) for part in parts)


_REMARKED = "bitlathe.remarked"  # in what a command's context holds: there was something to say


def remarked() -> None:
    """Remember that there was a note or a warning, for ``--strict``."""
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta[_REMARKED] = True


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, without the place in the code that Python names."""
    remarked()
    click.echo(f"Warning: {message}", err=True)


class Commands(click.Group):
    """A group that names near commands for a misspelled one; bad input ends without traceback.

    A command may have two words, as ``sweep merge``; both are typed. ``--strict`` may stand
    anywhere.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options of the group; ``--strict`` behind a command is one of them, too."""
        end = args.index("--") if "--" in args else len(args)
        if "--strict" in args[:end]:
            kept = [arg for arg in args[:end] if arg != "--strict"]
            args = ["--strict", *kept, *args[end:]]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one was likely meant.

        Raises
        ------
        click.UsageError
            If there is no such command.
        """
        if (both := " ".join(args[:2])) in self.commands and len(args) > 1:
            return both, self.commands[both], args[2:]
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = nearest(args[0], self.commands, limit=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(
                f"no command {args[0]!r}.{hint} Commands: {', '.join(sorted(self.commands))}.", ctx
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; errors of the user's input, and of what it needs, end with status 2."""
        if isinstance(sys.stdout, TextIOWrapper):  # not every file name can be printed
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _warn
                made = super().invoke(ctx)
            sys.stdout.flush()
            if ctx.params.get("strict") and ctx.meta.get(_REMARKED):
                click.echo("Error: --strict: there is a note or a warning above.", err=True)
                ctx.exit(1)
            return made
        except BitlatheError as err:
            click.echo(f"Error: {err}", err=True)
        except MemoryError:
            click.echo("Error: this computer has not enough free memory for that.", err=True)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(1)
        except OSError as err:
            if err.filename is not None:  # not of the output: to be mended here
                raise
            click.echo(f"Error: cannot write the output: {err.strerror or err}.", err=True)
            with suppress(OSError):  # or the interpreter tries again
                sys.stdout.close()
        return ctx.exit(2)
