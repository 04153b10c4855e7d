"""Verbs of the line: from videos and landmark files to a scored bundle, and its answers."""

import sys
from pathlib import Path

import click

from raysign.cli._verb import main, plain_errors, verb


@verb()
def run(config):
    """Walk the whole line: landmarks, clips, training, evaluation. What is up to date is skipped."""
    from raysign import pipeline

    click.echo(pipeline.run(config))


@verb()
def extract(config):
    """Videos and images to landmarks, with MediaPipe on every CPU."""
    from raysign import pipeline

    _told(pipeline.extract(config), config.landmarks_dir)


@verb("import")
def import_(config):
    """Landmark files of other formats to landmarks."""
    from raysign import pipeline

    _told(pipeline.import_landmarks(config), config.landmarks_dir)


def _told(card: dict, directory: Path) -> None:
    """Say what a landmarks stage holds; exit code 1 when no clip could be used."""
    from raysign.report import words

    click.echo(words.describe(card, directory))
    if not card["counts"]["clips"]:
        sys.exit(1)


@verb()
def prepare(config):
    """Landmarks to clips, by the config's recipe, with splits."""
    from raysign import pipeline, store
    from raysign.report import words

    directory = pipeline.prepare(config)
    click.echo(words.describe(store.read_card(directory) or {}, directory))


@verb()
def train(config):
    """Clips to a bundle: trains, or goes on with an unfinished training of the same config."""
    from raysign import pipeline, remote

    click.echo(f"bundle: {remote.shown(pipeline.train(config))}")


@verb()
@click.option("--resume", is_flag=True, help="go on with a search that has begun; an error when there is none")
def tune(config, resume: bool):
    """Search the config tree (tune.space) for better settings; trains many, in parallel, and goes on if it was stopped.

    Leaves the best settings as best.yaml, which train and evaluate take, a report.html and the best bundle.
    """
    from raysign import experiments

    click.echo(experiments.tune(config, resume))


@verb()
def ensemble(config):
    """Train several recognisers that answer together: one for each stream of the recipe, or ensemble.members.

    Leaves their bundle, which evaluate and predict take, ensemble.json and report.html in the results' folder
    `ensemble`. Validation clips choose the members' weights.
    """
    from raysign import experiments

    click.echo(experiments.ensemble(config))


@verb()
def evaluate(config):
    """Score the bundle: a page, figures with confidence intervals, predictions, pictures and text."""
    from raysign import pipeline
    from raysign.report import words

    click.echo(words.summary(config, pipeline.evaluate(config)))


@verb()
@click.option("--only", multiple=True, metavar="NAME", help="a stressor, such as hand_loss; may be given several times")
def robustness(config, only: tuple[str, ...]):
    """Ask the bundle about damaged landmarks: hands and frames lost, noise, other speeds, cameras and signers.

    Takes the bundle and the clips that evaluate takes. Leaves robustness.json and robustness.html in the results'
    folder `robustness`.
    """
    from raysign import experiments

    click.echo(experiments.robustness(config, only))


@main.command()
@click.argument("bundle")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="how many glosses to name")
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line instead of a table")
@click.option("--out", type=click.Path(path_type=Path), help="also write all answers to a .csv, .parquet or .jsonl")
@click.option("--overlay", type=click.Path(path_type=Path), help="draw them on the video (.mp4), image, or in a folder")
@click.option(
    "--continuous/--whole", default=None, help="several signs in a clip, or one; default: several in very long ones"
)
@click.option("--window", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="length of a sign")
@click.option("--parallel/--one-by-one", default=None, help="on all CPUs; default: for 300 files and more")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="of looking through a camera")
@plain_errors
def predict(bundle: str, files: tuple[Path, ...], as_json: bool, out: Path | None, parallel: bool | None,
            seconds: float | None, **wanted):  # fmt: skip
    """Recognise FILES with a BUNDLE: videos, images, landmark files of any format, folders of them, or a camera (0).

    A file that cannot be used is named with the reason; the others go on. Exit code 1 when none could be used.
    """
    from raysign import pipeline, remote
    from raysign.infer.files import Wanted

    asked, used = Wanted(wanted.pop("top"), **wanted), 0
    for line, good in pipeline.predict(remote.place(bundle), files, asked, as_json, out, parallel, seconds):
        used += good
        click.echo(line, err=not good)
    if not used:
        sys.exit(1)
