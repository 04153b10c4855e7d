"""What there is and what it would take, looked at: nothing here makes a stage but what `show` needs to see."""

from pathlib import Path

from tqdm import tqdm

from raysign import engine, pipeline, remote, store
from raysign.config import Config
from raysign.errors import ConfigError, RaysignError, StoreError
from raysign.kinds import kind_module


def plan(config: Config, machines: dict, seconds: float = 30.0):
    """What the stages of the config will take, from a sample of its clips; writes nothing into `out`.

    machines: cpus, gpus, cpu_price and gpu_price, None for what is not told: the CPUs are the cluster's then.
    seconds: about how long to read the sample. Returns forecast.stages.Forecast.
    """
    from raysign.forecast.stages import Machines, forecast

    refs = kind_module("source", config.source.kind).clips(config.source)
    reader, extractor = pipeline.reader_of(config)
    given = Machines(**{**machines, "cpus": machines.get("cpus") or engine.cpus(config.ray)})
    with tqdm(unit="clip", leave=False, disable=None) as bar:

        def say(what: str, clips: int) -> None:
            bar.set_description_str(f"plan: trying {what}", refresh=False)
            bar.update(clips)

        return forecast(config, refs, reader, extractor, pipeline.holds_media(config), given, seconds, say)


def summary(config: Config, layout: str | None = None, frames: int = 100, batch: int = 16, glosses: int = 100) -> str:
    """What the config's network is made of and what it costs on this machine. Needs no data."""
    from raysign.clips import form
    from raysign.report import network

    return network.render(network.measure(config, *form.expected(config, layout), frames, batch, glosses))


def show(config: Config, ids: tuple[str, ...] = (), count: int = 4, out: Path | None = None,
         upwards: bool = False, stored: Path | None = None) -> Path:  # fmt: skip
    """Draw clips raw, prepared and augmented: these, or one each of `count` glosses. Returns the picture's path.

    stored: LANDMARKS to draw instead of the config's; the picture is left beside them.
    """
    from raysign.report import drawing
    from raysign.report import show as showing

    if stored:
        store.landmarks_card(stored)
        stored = stored.resolve()  # `.` has no name
    out = out or (stored.with_name(f"{stored.name}-show.png") if stored else config.home / "show.png")
    if out.suffix not in drawing.SUFFIXES:
        raise ConfigError(f"--out: found {out}, expected a name that ends in {', '.join(drawing.SUFFIXES)}")
    found = list(showing.chosen(stored or pipeline.landmarks_of(config), ids, count))
    views = [(title, showing.views(clip, config, upwards, row)) for row, (title, clip) in enumerate(found)]
    drawing.save(views, out, fps=found[0][1].fps or 25)
    remote.push(out, out)
    return out


def validate(config: Config):
    """Whether the landmarks, and the clips if they are prepared, can be trusted. Returns checks.validate.Result.

    Makes no stage: StoreError naming the verb when there are no landmarks yet.
    """
    from raysign.checks import validate as checks

    place, verb = config.landmarks_dir, "extract" if pipeline.holds_media(config) else "import"
    if not checks.is_stage(place):
        raise StoreError(f"{place}: found no landmarks, expected some to look at; run `raysign {verb}` first")
    known = []
    clips = _prepared(config, known)
    stages = [place, clips] if clips else [place]
    return checks.validate(stages, config.home / "validation", known, settings=pipeline.sections(config))


def validate_stage(directory: Path):
    """The same of one directory of landmarks or clips; the report is left beside it."""
    from raysign.checks import validate as checks

    directory = directory.resolve()  # `.` has no name
    return checks.validate([directory], directory.with_name(f"{directory.name}-validation"))


def _prepared(config: Config, known: list) -> Path | None:
    """The directory of the config's clips when they are prepared; why they cannot be is added to the findings."""
    from raysign.checks.findings import Finding
    from raysign.clips import prepare as stage

    try:
        plan = stage.plan(config.landmarks_dir, config.home / "clips", config)
    except RaysignError as error:
        known.append(Finding("error", "prepare", f"raysign prepare: {error}"))
        return None
    return plan.directory if store.shards(plan.directory) else None


def compare(places: list[Path]) -> list[dict]:
    """Evaluations compared with the first of them, see report.compare.compare. places: as report.compare.read has."""
    from raysign.report import compare as comparing

    first, *others = (comparing.read(place) for place in places)
    return comparing.compare(first, others)


def analyze(places: list[Path], out: Path) -> list[str]:
    """Draw the curves of the trainings at some places (see report.training.found); returns a line on each of them."""
    from raysign.report import training

    trainings = [found for place in places for found in training.found(place.resolve())]
    store.write_bytes(out, training.picture(trainings) or b"")
    return [training.words(found) for found in trainings]
