"""The command line: ``bitlathe COMMAND``. Every command has ``--json`` for machines."""

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Co-design toolkit for low-bit inference hardware."""
