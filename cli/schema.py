"""The command that says what files may hold."""

import click

from ..reports.options import known
from ..reports.terminal import print_json, print_table
from .base import json_option, main


def _kinds() -> tuple[str, ...]:
    from ..reports.schemas import KINDS

    return tuple(KINDS)


@main.command()
@click.argument("kind", callback=known(_kinds))
@click.option("--table", is_flag=True, help="Print tables of the keys instead.")
@json_option
def schema(kind: str, *, table: bool, as_json: bool) -> None:
    """Print what a kind of file may say, as JSON Schema.

    KIND is chip, system, sweep, format, model or step. Each key comes with its type, unit,
    default, range and meaning. Editors complete and check files by it.
    """
    from ..reports.schemas import key_tables
    from ..reports.schemas import schema as schema_of

    if as_json or not table:
        print_json(schema_of(kind))
        return
    for section, rows in key_tables(kind):
        print_table(rows, title=section)
        click.echo()
