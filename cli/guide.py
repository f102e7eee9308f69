"""What ``--help`` and the shell offer for a command: an example, choices, names to complete."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ..reports.options import dataflows, logits, mappers, objectives, phases, rungs, scopes

Names = Callable[[], Iterable[str]]
EXAMPLES: Mapping[str, str] = {
    "accuracy": "accuracy --model smollm2-135m --scheme int4_asym@g128 --tokens 2000",
    "archs": "archs bitmod --set array.rows=64",
    "calibrate": "calibrate smollm2-135m --method gptq --out runs/gptq",
    "formats": "formats bitmod_fp4 --plot values.png",
    "map": "map --arch bitmod --gemm 256x1024x1024 --objective energy",
    "models": "models llama-3.1-8b --context 8192",
    "quantize": "quantize weights.safetensors --scheme int4_asym@g128 --scheme nvfp4",
    "report": "report runs/sweep",
    "reproduce": "reproduce bitmod-hpca25 --out runs/bitmod",
    "request": "request --arch bitmod --model llama-3.2-1b --text 512 --answer 64",
    "rtl": "rtl --arch bitmod --out hardware",
    "scaling": "scaling --arch bitmod-pair --model llama-3.1-8b --chips 1,2,4,8",
    "schema": "schema chip --table",
    "simulate": "simulate --arch bitmod --model llama-2-7b --phase decode --context 2048",
    "sweep": "sweep sweep.yaml --out runs/sweep --jobs 4",
    "sweep merge": "sweep merge runs/1 runs/2 --out runs/all",
    "synthesize": "synthesize --arch bitmod",
    "table": "table --arch bitmod --model llama-2-7b --out tables --batch 1,8",
    "trace": "trace --gemm 6x4x7 --array 4x4 --dataflow os --out trace.png",
    "verify": "verify --arch bitmod",
}
"""An example of each command, as it is typed after ``bitlathe``."""


def _chips() -> Iterable[str]:
    from ..arch import arch_names, system_names

    return [*arch_names(), *system_names()]


def _models() -> Iterable[str]:
    from ..workloads import model_names

    return model_names()


def _formats() -> Iterable[str]:
    from ..datatypes.formats.catalogue import names

    return names()


def _studies() -> Iterable[str]:
    from ..reports.studies.published import ALL, STUDIES

    return [*STUDIES, ALL]


def _kinds() -> Iterable[str]:
    from ..reports.schemas import KINDS

    return KINDS


CHOICES: Mapping[str, Names] = {
    "dataflow": dataflows,
    "fidelity": rungs,
    "logits": logits,
    "mapper": mappers,
    "objective": objectives,
    "phase": phases,
    "skip": scopes,
}
"""Options with few values: help shows them, the shell completes them."""
NAMED: Mapping[str, Names] = {
    "arch": _chips,
    "keys": _formats,
    "kind": _kinds,
    "model": _models,
    "scheme": _formats,
    "schemes": _formats,
    "study": _studies,
    "values": _formats,
    "weights": _formats,
}
"""Options and arguments that take a name of a long list, or a file: the shell completes both."""
OF_COMMAND: Mapping[str, Names] = {"archs": _chips, "formats": _formats, "models": _models}
"""What the argument ``name`` is of these commands."""


if TYPE_CHECKING:
    _Text = click.ParamType[str]
else:  # not generic before click 8.3
    _Text = click.ParamType


class Name(_Text):
    """Text that the shell completes.

    Parameters
    ----------
    names : callable
        Returns the names, and imports where they stand only when they are asked for.
    choice : bool
        Whether help shows all of them.
    files : bool
        Whether the name of a file will do, too.
    """

    name = "text"

    def __init__(self, names: Names, *, choice: bool, files: bool) -> None:
        self.names, self.choice, self.files = names, choice, files

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Return the choices, for help to show."""
        return f"[{'|'.join(self.names())}]" if self.choice else None

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin like this; where there are none, the shell's files."""
        found = [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]
        return found or ([CompletionItem(incomplete, type="file")] if self.files else [])


class Listing(click.Command):
    """A command whose help ends with the names of chips and models that its options take."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example, then the names."""
        super().format_epilog(ctx, formatter)
        rows = [
            (param.opts[0], ", ".join(param.type.names()))
            for param in self.params
            if isinstance(param, click.Option)
            if isinstance(param.type, Name) and param.type.names in {_chips, _models}
        ]
        if rows and self.name != "accuracy":  # it runs models whose weights are at hand
            with formatter.section("Shipped names (a path will do as well)"):
                formatter.write_dl(rows)


def guide(group: click.Group) -> None:
    """Give each command its example, and its options what they complete."""
    for name, command in group.commands.items():
        if name in EXAMPLES:
            command.epilog = f"Example:  bitlathe {EXAMPLES[name]}"
        for param in command.params:
            key = str(param.name)
            if not isinstance(param.type, click.types.StringParamType):
                continue
            named = OF_COMMAND.get(name) if key == "name" else NAMED.get(key)
            if key == "kind" and name != "schema":
                named = None
            if key in CHOICES:
                param.type = Name(CHOICES[key], choice=True, files=False)
            elif named is not None:
                param.type = Name(named, choice=False, files=key != "study")
