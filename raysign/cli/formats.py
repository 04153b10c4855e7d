"""Verbs between raysign and other programs: landmarks out, weights in, bundles into a registry."""

from pathlib import Path

import click

from raysign.cli._verb import CONFIG_HELP, LAYOUT, NO_DATA, folder, main, plain_errors, settings_of


@main.command(epilog=CONFIG_HELP)
@click.argument("where", metavar="CONFIG|LANDMARKS")
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("settings", nargs=-1, metavar="to=KIND [KEY=VALUE]...")
@plain_errors
def convert(where: str, out: Path, settings: tuple[str, ...]):
    """Landmarks out to another format: a new folder OUT of the format KIND.

    LANDMARKS is a directory of landmarks; those of a CONFIG are made first where they are missing. to.KEY=VALUE sets
    an option of the format, any other KEY=VALUE belongs to the CONFIG.
    """
    from raysign import pipeline, store
    from raysign.config import load, section
    from raysign.errors import ConfigError
    from raysign.report import words

    told = [word for word in settings if word.startswith(("to=", "to."))]
    options, rest = section("to", told), [word for word in settings if word not in told]
    stored = folder(where, store.shards)
    if stored and rest:
        raise ConfigError(f"{rest[0]}: {where} holds landmarks already; give their config to change them")
    directory = stored or pipeline.landmarks_of(load([where, *rest]))
    click.echo(words.converted(pipeline.convert(directory, out, options), out))


@main.command("import-weights", epilog=CONFIG_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("config", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder of the bundle")
@LAYOUT
@click.option("--labels", type=click.Path(path_type=Path), help="names of the glosses: one a line, .json or .csv")
@click.option("--ignore", multiple=True, metavar="NAME", help="leave out this weight, or all of this part; repeatable")
@click.option("--partial", is_flag=True, help="what FILE lacks begins at random")
@plain_errors
def import_weights(file: Path, config: tuple[str, ...], out: Path, **options):
    """Published weights, or those of another program, to a bundle for evaluate, predict and further training.

    FILE is of torch.save: a state dict or a checkpoint that has one. Nothing in it is run. The CONFIG says what network
    it is for (model.kind, task.kind, their options) and how clips are made (prepare).
    """
    from raysign import pipeline

    said = pipeline.import_weights(file, settings_of(config, NO_DATA), out, **options)
    click.echo("\n".join([*said, f"bundle: {out}"]))


@main.command()
@click.argument("bundle")
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="the card as one JSON object instead of a table")
@plain_errors
def export(bundle: str, out: Path, options: tuple[str, ...], as_json: bool):
    """A BUNDLE for programs without raysign: OUT/model.onnx, model.pt2, labels.txt and card.json.

    What is written was found to answer as the bundle does, on clips of its training where they still are. Others:
    clips=DIR (of `raysign prepare`) or files=FILE (video, image, landmarks); count=64 of them; rounds=50 are timed.
    """
    from raysign import pipeline, remote

    click.echo(pipeline.export(remote.place(bundle), out, options, as_json))


@main.command(epilog=CONFIG_HELP)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("config", nargs=-1)
@click.option("--name", help="of the registered model; default: the name of the bundle's config")
@click.option("--alias", help="points to this version from now on, such as champion")
@click.option("--media", is_flag=True, help="may be asked with the path of a video or image too; see docs/export.md")
@plain_errors
def register(bundle: Path, config: tuple[str, ...], **options):
    """A BUNDLE into MLflow's registry of models, for others to load and to serve.

    The CONFIG is merged over the bundle's own: mlflow.uri=http://... for another server than that of its training. A
    bundle that is registered already is not registered again, but gets the alias.
    """
    from raysign import pipeline

    click.echo(f"registered: {pipeline.register(bundle, config, **options)}")
