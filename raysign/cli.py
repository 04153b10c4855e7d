"""The command line: one verb for each arrow of `pipeline`. Imports happen inside the verbs, so help answers at once."""

import sys
from functools import wraps
from pathlib import Path

import click

from raysign import __version__
from raysign.errors import RaysignError

CONFIG_HELP = """CONFIG is any number of YAML files, dotted overrides (train.lr=3e-4) and at most one path to read from,
merged left to right; `raysign config` prints the result."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="raysign")
def main() -> None:
    """Videos and images of people signing, turned into trained, evaluated sign-language recognisers.

    \b
      raysign run my_videos/          folder of <gloss>/<clip>.mp4 to a trained and evaluated bundle
      raysign demo                    the same on made-up signers, no data needed
      raysign doctor                  is this machine ready?
    """


def plain_errors(verb):
    """What the user can mend is one line on stderr and exit code 1; an interrupt is exit code 130."""

    @wraps(verb)
    def guarded(*args, **kwargs):
        try:
            return verb(*args, **kwargs)
        except RaysignError as error:
            click.echo(f"raysign: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("raysign: stopped; the same command goes on where it was", err=True)
            sys.exit(130)

    return guarded


NO_DATA = {"source": {"kind": "synthetic"}}  # for verbs that look at settings alone


def verb(name: str | None = None, base: dict | None = None):
    """A verb that takes a config from its arguments, merged over `base` where they are none by themselves."""

    def decorate(function):
        @main.command(name or function.__name__, epilog=CONFIG_HELP)
        @click.argument("config", nargs=-1)
        @plain_errors
        @wraps(function)
        def command(config: tuple[str, ...], **options):
            return function(_settings(config, base), **options)

        return command

    return decorate


def _settings(arguments: tuple[str, ...], base: dict | None = None):
    """The config of the arguments, merged over `base` where they are none by themselves."""
    from raysign.config import load
    from raysign.errors import ConfigError

    try:
        return load(arguments)
    except ConfigError:
        if base is None:
            raise
        return load(arguments, base)


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
    from raysign import pipeline

    click.echo(f"bundle: {pipeline.train(config)}")


@verb()
def evaluate(config):
    """Score the bundle: predictions.parquet, metrics.json and report.html."""
    from raysign import pipeline
    from raysign.report import words

    click.echo(words.summary(config, pipeline.evaluate(config)))


LAYOUT = click.option("--layout", metavar="NAME", help="of the landmarks, where there are none yet that tell")


@main.command("import-weights", epilog=CONFIG_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("config", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder of the bundle")
@LAYOUT
@click.option("--labels", type=click.Path(path_type=Path), help="names of the glosses: one a line, .json or .csv")
@click.option("--ignore", multiple=True, metavar="PREFIX", help="leave out weights whose names begin so; repeatable")
@click.option("--partial", is_flag=True, help="what FILE lacks begins at random")
@plain_errors
def import_weights(file: Path, config: tuple[str, ...], out: Path, **options):
    """Published weights, or those of another program, to a bundle for evaluate, predict and further training.

    FILE is of torch.save: a state dict or a checkpoint that has one. Nothing in it is run. The CONFIG says what network
    it is for (model.kind, task.kind, their options) and how clips are made (prepare).
    """
    from raysign import pipeline

    said = pipeline.import_weights(file, _settings(config, NO_DATA), out, **options)
    click.echo("\n".join([*said, f"bundle: {out}"]))


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
    stored = bool(store.shards(Path(where)))
    if stored and rest:
        raise ConfigError(f"{rest[0]}: {where} holds landmarks already; give their config to change them")
    directory = Path(where) if stored else pipeline.landmarks_of(load([where, *rest]))
    click.echo(words.converted(pipeline.convert(directory, out, options), out))


@main.command(epilog=CONFIG_HELP)
@click.argument("config", nargs=-1, required=True, metavar="CONFIG... | DIR")
@click.option("--strict", is_flag=True, help="warnings count as errors")
@plain_errors
def validate(config: tuple[str, ...], strict: bool):
    """Can what is on disk be trusted? Checks landmarks and clips before anyone trains on them.

    Takes a config, or DIR, a directory of landmarks or clips. Leaves report.html, validation.json and quality.parquet
    in the results' folder `validation`, or beside DIR. Exit code 1 when there are errors.
    """
    from raysign import pipeline
    from raysign.checks.validate import is_stage
    from raysign.config import load

    stage = len(config) == 1 and is_stage(Path(config[0]))
    result = pipeline.validate_stage(Path(config[0])) if stage else pipeline.validate(load(config))
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
@click.option("--upwards", is_flag=True, help="y grows upwards, as places in metres do; known of NTU's skeletons")
@plain_errors
def show(config: tuple[str, ...], clips: tuple[str, ...], count: int, out: Path | None, upwards: bool):
    """Draw clips raw, prepared and augmented: frames side by side (.png) or a film (.gif, .mp4).

    Takes a config, or LANDMARKS, a directory of them, with settings of how to prepare and augment its clips.
    """
    from raysign import pipeline, store
    from raysign.config import load

    stored = Path(config[0]) if store.shards(Path(config[0])) else None
    settings = load(config[1:], NO_DATA) if stored else load(config)
    click.echo(f"picture: {pipeline.show(settings, clips, count, out, upwards, stored)}")


@main.command(epilog=CONFIG_HELP)
@click.argument("where", nargs=-1, required=True, metavar="CONFIG... | DIR...")
@click.option("--out", type=click.Path(path_type=Path), help="picture; default: curves.png beside the first training")
@plain_errors
def analyze(where: tuple[str, ...], out: Path | None):
    """How trainings went: a picture of their curves by epoch, and a line on each.

    Takes a config, or directories to compare: of trainings, or of all results of a config.
    """
    from raysign import pipeline
    from raysign.config import load

    named = all(Path(word).is_dir() for word in where)
    places = [Path(word) for word in where] if named else [load(where).home]
    out = out or places[0] / "curves.png"
    for line in pipeline.analyze(places, out):
        click.echo(line)
    click.echo(f"picture: {out}")


@verb("config", base=NO_DATA)
def show_config(config):
    """Print the resolved config tree as YAML; of the defaults when no CONFIG is given."""
    click.echo(config.to_yaml(), nl=False)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="how many glosses to name")
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line instead of a table")
@plain_errors
def predict(bundle: Path, files: tuple[Path, ...], top: int, as_json: bool):
    """Recognise FILES with a BUNDLE: videos, images, folders of images, or landmark files.

    A file that cannot be used is named with the reason; the others go on. Exit code 1 when none could be used.
    """
    from raysign import pipeline

    used = 0
    for line, good in pipeline.predict(bundle, files, top, as_json):
        used += good
        click.echo(line, err=not good)
    if not used:
        sys.exit(1)


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
    """Measure WHAT: extract, import, prepare, train or models (speed against a baseline of the same run), accuracy
    (seeds, an interval, a baseline) or signers (people that training never saw). The last line is one JSON object.

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
    from raysign import pipeline

    click.echo(pipeline.summary(_settings(config, NO_DATA), **options))
