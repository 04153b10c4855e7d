"""Verbs about this machine: is it ready, what is on it, how fast is it."""

import sys
from pathlib import Path

import click

from raysign.cli._verb import CONFIG_HELP, LAYOUT, NO_DATA, main, plain_errors, settings_of, verb


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
@plain_errors
def demo(out: Path):
    """Train and test on made-up signers: no data, no download, a few minutes on 2 cores."""
    from raysign import pipeline

    click.echo(pipeline.demo(out))


@main.command()
@click.argument("what")
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]...")
@plain_errors
def bench(what: str, options: tuple[str, ...]):
    """Measure WHAT: extract, import, prepare, train, tune or models (speed against a baseline of the same run),
    serve (answers over HTTP, malformed questions too), scale (very many clips), plan (what `raysign plan` says against
    what comes), accuracy (seeds, an interval, a baseline), signers (people that training never saw) or chaos (kills at
    random moments, and whether anything is lost by them). The last line is one JSON object.

    KEY=VALUE sets an argument of the benchmark's `run` function, such as clips=10000 or path=FOLDER.
    """
    from importlib import import_module

    from raysign.bench import arguments, benchmarks
    from raysign.errors import ConfigError, nearest

    known = benchmarks()
    if what not in known:
        raise ConfigError(f"bench: found {what!r}, expected one of {', '.join(known)}{nearest(what, known)}")
    module = import_module(known[what])
    module.run(**arguments(module.run, options))


@verb(base=NO_DATA)
def doctor(config):
    """Check this machine: each line is ok or says how to fix it."""
    from raysign.checks import doctor as checks

    results = list(checks.checks(config))
    click.echo(checks.render(results))
    sys.exit(0 if checks.ready(results) else 1)


@main.group(invoke_without_command=True)
@click.pass_context
def models(context):
    """List the MediaPipe model files; `raysign models fetch` gets them, `summary` is of a recogniser's network."""
    if context.invoked_subcommand is None:
        list_models()


@plain_errors
def list_models():
    from raysign.extract.models import render, table

    click.echo(render(table()))


@models.command()
@click.argument("names", nargs=-1)
@plain_errors
def fetch(names: tuple[str, ...]):
    """Get the model files NAMES (all without a name) into the cache: from the official store, else assembled."""
    from raysign.extract import models as files

    for name in names or [row["name"] for row in files.table()]:
        click.echo(f"{name}: {files.fetch(name)}")


@models.command(epilog=CONFIG_HELP)
@click.argument("config", nargs=-1)
@LAYOUT
@click.option("--frames", type=click.IntRange(min=1), default=100, show_default=True, help="of a clip")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="clips together")
@click.option("--glosses", type=click.IntRange(min=2), default=100, show_default=True, help="to tell apart")
@plain_errors
def summary(config: tuple[str, ...], **options):
    """What the CONFIG's network is made of, and its operations, memory and speed on this machine. Needs no data."""

    from raysign import views

    click.echo(views.summary(settings_of(config, NO_DATA), **options))
