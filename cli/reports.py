"""Commands of design spaces and studies: sweep, report, reproduce."""

from importlib.util import find_spec
from pathlib import Path

import click

from ..datatypes.base.errors import BitlatheError, to_install, unknown_name
from ..reports.options import PATH, remarked
from ..reports.terminal import print_json, progress_bar
from .base import check_place, json_option, main, note

NO_RESULTS = "Error: no point has results; failures.csv says why for each."


@main.command()
@click.argument("file", type=PATH)
@click.option("--out", type=PATH, help="Results folder.")
@click.option("--jobs", type=int, help="Processes.  [default: all cores]")
@click.option("--dask", help="Address of a Dask scheduler to run on instead.")
@click.option("--timeout", type=float, help="Seconds that a point may take.  [default: 3600]")
@click.option("--dry-run", is_flag=True, help="Print the size of the space and its first points.")
@click.option(
    "--shard", metavar="I/N", help="Run share I of N of the points, in a folder of its own."
)
@click.option("--salvage", is_flag=True, help="First keep what is sound of a damaged store in OUT.")
@json_option
@click.pass_context
def sweep(
    ctx: click.Context,
    file: Path,
    out: Path | None,
    jobs: int | None,
    dask: str | None,
    timeout: float | None,
    shard: str | None,
    *,
    dry_run: bool,
    salvage: bool,
    as_json: bool,
) -> None:
    """Run the design space of a sweep FILE.

    What the results folder already holds is not run again. See docs/sweeps.md for the file,
    `bitlathe report` for the page of the results, and `bitlathe sweep merge` for shards.
    """
    from ..reports.explore import plan_sweep, run_sweep

    if missing := [name for name in ("matplotlib", "jinja2") if find_spec(name) is None]:
        needed = " and ".join(missing)  # said before hours of work, not after
        note(f"the report of a sweep needs {needed}: {to_install(' '.join(missing), 'report')}.")
    if dry_run:
        plan = plan_sweep(file, shard=shard)
        print_json(plan.to_dict()) if as_json else click.echo(plan.text())
        return
    if out is None:
        raise BitlatheError("a sweep needs a folder for its results; give --out DIR.")
    try:
        done = run_sweep(
            *(file, out),
            jobs=jobs,
            dask=dask,
            timeout=timeout,
            say=note,
            salvage=salvage,
            shard=shard,
        )
    except KeyboardInterrupt:
        click.echo(
            f"Stopped. Finished points are safe in {out}; run the same command to go on.", err=True
        )
        ctx.exit(130)
    print_json(done.to_dict()) if as_json else click.echo(done.text())
    for line in done.reasons_text():
        remarked()
        click.echo(line, err=True)
    if done.failed and shard is None:  # of a shard other shards may have some
        click.echo(NO_RESULTS, err=True)
        ctx.exit(1)
    if done.crashed:
        click.echo(
            f"Error: {done.crashed:,} of {done.points:,} points could not be computed; the same "
            "command tries them again.",
            err=True,
        )
        ctx.exit(3)


@main.command("sweep merge")
@click.argument("folders", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="Results folder.")
@json_option
@click.pass_context
def merge(ctx: click.Context, folders: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    """Join the shards of a sweep.

    FOLDERS are those of all `bitlathe sweep FILE --out FOLDER --shard I/N`, each run to its end.
    The tables are byte for byte those of one run; `bitlathe sweep FILE --out OUT` goes on there.
    """
    from ..reports.explore import merge_shards
    from ..reports.explore.tables import reasons_text

    done = merge_shards(folders, out, say=note)
    print_json(done.to_dict()) if as_json else click.echo(done.text())
    for line in reasons_text(done.reasons):
        remarked()
        click.echo(line, err=True)
    if done.failed:
        click.echo(NO_RESULTS, err=True)
        ctx.exit(1)
    if done.crashed:
        click.echo(
            f"Error: {done.crashed:,} of {done.points:,} points could not be computed; the sweep, "
            f"run in {out}, tries them again.",
            err=True,
        )
        ctx.exit(3)


@main.command()
@click.argument("folder", type=PATH)
@click.option(
    "--accuracy",
    "tokens",
    type=click.IntRange(min=1),
    help="Measure the perplexity of models whose weights are at hand, over so many tokens.",
)
@json_option
def report(folder: Path, tokens: int | None, *, as_json: bool) -> None:
    """Write the page, charts and tables of a sweep's FOLDER.

    FOLDER is what `bitlathe sweep --out` made.
    """
    from ..reports.explore.accuracy import Wanted, measure_accuracy
    from ..reports.page import report as write_report

    wanted = None if tokens is None else Wanted(tokens=tokens)
    notes: list[str] = []
    with progress_bar() as show:
        measures = measure_accuracy(folder, wanted, show)
        paths = [str(path) for path in write_report(folder, measures, notes.append)]
    for remark in notes:
        note(remark)
    if as_json:
        print_json(paths)
    else:
        click.echo("\n".join(paths))


@main.command()
@click.argument("study")
@click.option("--out", type=PATH, help="Folder for the page and charts.")
@json_option
def reproduce(study: str, out: Path | None, *, as_json: bool) -> None:
    """Rebuild a published STUDY, and correct it.

    Published values beside reproduced beside corrected ones, and what each objection changes.

    STUDY is ant-micro22, bitfusion-isca18, bitmod-hpca25 or shiftaddllm-energy;
    common-ground, the chips of the first three on the same models; papers, statements of
    quantization papers checked on real weights; or all of these. The last three take minutes.
    """
    from ..reports.studies.published import ALL, STUDIES

    if study not in (*STUDIES, ALL):
        raise BitlatheError(unknown_name("study", study, (*STUDIES, ALL)))
    if out is not None:
        check_place("--out", out / "report.html")
        for name in ("matplotlib", "jinja2"):  # said before minutes of work, not after
            if find_spec(name) is None:
                raise BitlatheError(f"--out: the page needs {name}: {to_install(name, 'report')}.")
    data = {}
    for name in STUDIES if study == ALL else (study,):
        rebuilt = STUDIES[name]
        with progress_bar() as show:
            result = rebuilt.reproduce(show)
        folder = out / name if out is not None and study == ALL else out
        paths = rebuilt.write(result, folder) if folder is not None else []
        data[name] = result.plain()
        if not as_json:
            rebuilt.print_tables(result)
            click.echo("\n".join(str(path) for path in paths), nl=bool(paths))
    if as_json:
        print_json(data if study == ALL else data[study])
