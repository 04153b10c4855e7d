"""Verbs that look at what is there: settings, data, pictures, curves."""

import json
import sys
from pathlib import Path

import click

from raysign.cli._verb import CONFIG_HELP, NO_DATA, folder, main, plain_errors, verb


@main.command(epilog=CONFIG_HELP)
@click.argument("config", nargs=-1, required=True, metavar="CONFIG... | DIR")
@click.option("--strict", is_flag=True, help="warnings count as errors")
@plain_errors
def validate(config: tuple[str, ...], strict: bool):
    """Can what is on disk be trusted? Checks landmarks and clips before anyone trains on them.

    Takes a config, or DIR, a directory of landmarks or clips. Leaves report.html, validation.json and quality.parquet
    in the results' folder `validation`, or beside DIR. Exit code 1 when there are errors.
    """
    from raysign import views
    from raysign.checks.validate import is_stage
    from raysign.config import load

    stage = folder(config[0], is_stage) if len(config) == 1 else None
    result = views.validate_stage(stage) if stage else views.validate(load(config))
    click.echo(result.text())
    sys.exit(0 if result.good(strict) else 1)


@main.command(epilog=CONFIG_HELP)
@click.argument("config", nargs=-1, required=True, metavar="CONFIG... | LANDMARKS [KEY=VALUE]...")
@click.option("--clip", "clips", multiple=True, metavar="ID", help="a clip to draw; may be given several times")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="without --clip: of how many glosses to draw a clip",
)
@click.option("--out", type=click.Path(path_type=Path), help=".png, .gif or .mp4; default: a .png beside the stages")
@click.option(
    "--upwards", is_flag=True, help="y grows upwards, as places in metres do; known where head and hips are named"
)
@plain_errors
def show(config: tuple[str, ...], clips: tuple[str, ...], count: int, out: Path | None, upwards: bool):
    """Draw clips raw, prepared and augmented: frames side by side (.png) or a film (.gif, .mp4).

    Takes a config, or LANDMARKS, a directory of them, with settings of how to prepare and augment its clips.
    """
    from raysign import remote, store, views
    from raysign.config import load

    stored = folder(config[0], store.shards)
    settings = load(config[1:], NO_DATA) if stored else load(config)
    click.echo(f"picture: {remote.shown(views.show(settings, clips, count, out, upwards, stored))}")


@main.command(epilog=CONFIG_HELP)
@click.argument("where", nargs=-1, required=True, metavar="CONFIG... | DIR...")
@click.option("--out", type=click.Path(path_type=Path), help="picture; default: curves.png beside the first training")
@plain_errors
def analyze(where: tuple[str, ...], out: Path | None):
    """How trainings went: a picture of their curves by epoch, and a line on each.

    Takes a config, or directories to compare: of trainings, or of all results of a config.
    """
    from raysign import remote, views
    from raysign.config import load

    named = [remote.place(word) if remote.is_address(word) else folder(word, Path.is_dir) for word in where]
    places = [place for place in named if place] if all(named) else [load(where).answers]
    out = out or places[0] / "curves.png"
    for line in views.analyze(places, out):
        click.echo(line)
    click.echo(f"picture: {remote.shown(out)}")


@main.command()
@click.argument("first")
@click.argument("others", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
@plain_errors
def compare(first: str, others: tuple[str, ...], as_json: bool):
    """Is one recogniser better than another? The OTHERS against the FIRST, clip by clip.

    Each is a folder of results, its evaluation, or a predictions.parquet, of the same clips.
    """
    from raysign import remote, views
    from raysign.report.compare import words

    found = views.compare([remote.place(word) for word in (first, *others)])
    click.echo(json.dumps({"comparisons": found}, ensure_ascii=False) if as_json else words(found))


_PRICE = click.FloatRange(min=0)


@verb()
@click.option("--cpus", type=click.IntRange(min=1), help="to plan for; default: this cluster's")
@click.option("--gpus", type=click.IntRange(min=0), help="to train on; default: those of this machine")
@click.option("--cpu-price", type=_PRICE, help="of a CPU for an hour, in any currency")
@click.option("--gpu-price", type=_PRICE, help="of a GPU for an hour")
@click.option("--seconds", type=click.FloatRange(min=0), default=30, show_default=True, help="of reading the sample")
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
def plan(config, seconds: float, as_json: bool, **machines):
    """What will it take? Hours, disk, memory and money of each stage, predicted from a sample of the CONFIG's clips.

    Nothing is written but to a temporary folder.
    """
    from raysign import views
    from raysign.forecast import words

    found = views.plan(config, machines, seconds)
    click.echo(json.dumps(found.as_dict()) if as_json else words.render(found))


@verb("config", base=NO_DATA)
def show_config(config):
    """Print the resolved config tree as YAML; of the defaults when no CONFIG is given."""
    click.echo(config.to_yaml(), nl=False)
