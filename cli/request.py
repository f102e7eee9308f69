"""The command that runs a request from its images to its last token."""

import click

from ..reports.options import known, mappers, rungs
from ..reports.terminal import cost_lines, print_json, print_table, working
from .base import FIDELITY, MAPPER, chip_settings, json_option, main, note, settings_option


@main.command()
@click.option("--arch", required=True, help="A shipped chip or the path of a YAML file.")
@click.option("--model", required=True, help="A shipped model or the path of a config.json.")
@click.option("--text", type=int, default=256, show_default=True, help="Tokens of the text.")
@click.option("--images", type=int, default=0, show_default=True, help="Images of the prompt.")
@click.option("--answer", type=int, default=1, show_default=True, help="Tokens of the answer.")
@click.option(
    "--batch", type=int, default=1, show_default=True, help="Equal requests that run at once."
)
@click.option(
    "--fidelity", callback=known(rungs), default="cycle", show_default=True, help=FIDELITY
)
@click.option("--mapper", callback=known(mappers), default="auto", show_default=True, help=MAPPER)
@settings_option
@json_option
def request(
    arch: str,
    model: str,
    text: int,
    images: int,
    answer: int,
    batch: int,
    fidelity: str,
    mapper: str,
    settings: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Simulate a request from its images to its last token.

    Tower of images, prompt, and answer token by token, summed.

    E.g. request --arch bitmod --model llava/config.json --images 1 --text 64 --answer 16: the
    tower's image tokens stand ahead of the text in the prompt.
    """
    from ..arch import load_arch
    from ..sim.request import simulate_request
    from ..workloads import load_model

    network = load_model(model)
    for remark in network.notes:
        note(f"{network.name}: {remark}")
    chip = load_arch(arch, chip_settings(settings))
    with working("request"):
        run = simulate_request(
            *(chip, network, text, images, answer, batch), fidelity=fidelity, mapper=mapper
        )
    if as_json:
        print_json(run.to_dict())
        return
    title = f"{run.model} on {run.arch}: {run.prompt} tokens of prompt, {run.answer} of answer"
    print_table(run.rows(), title=title)
    click.echo(f"{run.cycles:,} clocks, {run.seconds * 1e3:,.3f} ms")
    spoken = f"first token after {run.first_token_seconds * 1e3:,.3f} ms"
    if run.token_seconds is not None:
        spoken += f", then one each {run.token_seconds * 1e3:,.3f} ms"
    click.echo(spoken)
    click.echo("\n".join(cost_lines(run.energy_pj, run.area_um2)))
