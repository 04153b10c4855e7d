"""The whole story, one function for each arrow:

    videos, images --extract--> landmarks --prepare--> clips --train--> bundle --evaluate, predict--> answers
    other formats  --import --> landmarks --convert--> other formats

Every stage reads the one before it and writes its own directory below `config.home`; run again, it does only what is
missing, new or changed. The kernels are plain functions of their rooms; `engine` carries them to the CPUs of a cluster.
"""

import functools
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from raysign import engine, remote, store
from raysign.config import Config
from raysign.errors import ConfigError, RaysignError, StoreError
from raysign.kinds import Section, kind_module
from raysign.pace import counted

log = logging.getLogger(__name__)

# ---------------------------------------------------------------- the stages


def landmarks(config: Config, environment: dict[str, str] | None = None) -> dict:
    """Source to LANDMARKS: MediaPipe over videos and images, a reader over files of landmarks. Returns the card.

    environment: variables of the cluster's processes, where what follows on it wants some.
    """
    from raysign.extract import plan as planning
    from raysign.extract import work

    began = time.time()
    source = kind_module("source", config.source.kind)
    media = holds_media(config)
    reader, extractor = _media_reader(config) if media else _file_reader(config)
    if environment:  # before the CPUs are counted, for which a cluster may be joined
        engine.connect(config.ray, dashboard=True, environment=environment)
    workers = config.extract.workers or engine.cpus(config.ray)
    plan = planning.plan(
        source.clips(config.source), config.landmarks_dir, extractor,  # held by nobody: there may be millions
        retry=config.extract.retry_quarantined, workers=workers,
        per_unit=None if media else planning.CLIPS_PER_UNIT,
    )  # fmt: skip
    arguments = {
        "reader": reader, "directory": config.landmarks_dir, "extractor": extractor, "run": plan.run, "journal": media,
    }  # fmt: skip
    rows = _carried_out(config, plan.units, work.Worker, arguments, actors=workers if media else None)
    done = list(work.progress(rows, plan, "extract" if media else "import"))
    audit = source.audit(config.source) if hasattr(source, "audit") else None
    seconds = time.time() - began
    return work.finish(config.landmarks_dir, plan, done, config=_sections(config), seconds=seconds, audit=audit)


_HOW = {"workers", "retry_quarantined"}  # settings of extract that say how landmarks are made, not which


def _sections(config: Config) -> dict:
    """What the landmarks follow from."""
    return {
        "source": config.source.model_dump(mode="json"), "extract": config.extract.model_dump(mode="json", exclude=_HOW)
    }  # fmt: skip


def landmarks_of(config: Config, environment: dict[str, str] | None = None) -> Path:
    """The directory of the config's LANDMARKS, which are made first where they are missing or of other settings.

    The source is not looked at: landmarks are used where the videos are not, and nothing is read again unasked.
    environment: as of `landmarks`.
    """
    if (store.read_card(config.landmarks_dir) or {}).get("config") != _sections(config):
        landmarks(config, environment)
    return config.landmarks_dir


def convert(landmarks_dir: Path, out: Path, options: Section) -> dict:
    """LANDMARKS to a format of the field, in a new folder; does nothing when that holds them already. Returns its card.

    options: `Options` of a module of raysign.writers.
    """
    from raysign import writers

    return writers.convert(landmarks_dir, out, options)


def prepare(config: Config, environment: dict[str, str] | None = None) -> Path:
    """LANDMARKS to CLIPS by the config's recipe. Returns the directory, named by what its content follows from.

    environment: as of `landmarks`.
    """
    from raysign.clips import prepare as stage

    made = landmarks_of(config, environment)
    began = time.time()
    plan = stage.plan(made, config.home / "clips", config)
    if not plan.finished:
        arguments = {"landmarks_dir": config.landmarks_dir, "directory": plan.directory, "options": config.prepare}
        rows = _carried_out(config, plan.units, stage.Worker, arguments, environment=environment)
        for _ in counted(rows, "prepare", len(plan.units), "shard"):
            continue
        stage.finish(config.landmarks_dir, plan, config, time.time() - began)
    return plan.directory


def train(config: Config) -> Path:
    """CLIPS to a bundle; goes on with an unfinished training of the same config. Returns `<answers>/bundle`."""
    _require_bundles(config)
    return _trained(config, prepare(config))


def _require_bundles(config: Config) -> None:
    """BundleError when one that the settings name is not there: said before any stage is made, and not after it."""
    from raysign.learn import bundle

    for place in filter(None, (config.train.start_from, config.evaluate.bundle)):
        bundle.fingerprint(place)


def _trained(config: Config, clips: Path) -> Path:
    """`train` of clips that are prepared."""
    from raysign.learn import distribute
    from raysign.learn.publish import publish

    place = config.answers / "bundle"
    if config.train.start_from == place:  # a bundle it replaces: the same command would train another one each time
        raise ConfigError(f"train.start_from: {place} is where this bundle goes too; give another `out` or `name`")
    made = distribute.train(config, clips, config.answers / "train")
    return publish(made, place, _say)


def evaluate(config: Config) -> dict:
    """Score the bundle on a split of the clips; writes predictions, metrics and report. Returns the metrics."""
    from raysign.infer import evaluate as scoring
    from raysign.learn import bundle as bundles
    from raysign.learn import distribute, tracking

    _require_bundles(config)
    clips, split, published = prepare(config), config.evaluate.split, config.answers / "bundle"
    card = scoring.card_with(clips, split)  # said before the training and not after it
    made = config.answers / "train" / distribute.key_of(config, card["key"]) / "bundle" / "card.json"
    if store.exists(published / "card.json") and not store.exists(made) and not config.evaluate.bundle:
        line = "%s: found no bundle of these settings and clips, only of others; one is trained now (%s)"
        log.warning(line, remote.shown(published), f"evaluate.bundle={remote.shown(published)} scores that one")
    bundle = config.evaluate.bundle or _trained(config, clips)
    device = "cpu" if config.train.device == "cpu" else "auto"  # a GPU that is not to train is not to answer either
    out = config.answers / "evaluation"
    figures = scoring.evaluate(bundle, clips, split, out, batch=config.evaluate.batch, device=device)
    training = bundles.training_of(bundle, figures["training"])
    if config.mlflow.enabled and training:
        tracking.evaluated(config, training, split, figures, [out / "report.html", out / "metrics.json"])
    return figures


def register(bundle: Path, arguments: tuple[str, ...], name: str | None, alias: str | None) -> str:
    """A bundle into MLflow's registry of models; arguments: settings over the bundle's own. Returns what to say."""
    from raysign.infer import registry

    return registry.register(bundle, arguments, name, alias)


def tune(config: Config, resume: bool = False) -> str:
    """Search for better settings, and publish the bundle of the best. Returns what to say at the end.

    Leaves best.yaml, which `train` takes, and report.html in `<answers>/search`. Errors as of learn.search.run.
    """
    from raysign.learn import search, space
    from raysign.learn.publish import publish
    from raysign.learn.study import place_of

    space.checked(config)  # before any stage is made
    clips = prepare(config, search.ENVIRONMENT)
    with search.alone(place_of(config, clips)):
        study = search.run(config, clips, resume, _say)
        best = study.best()
        chosen = study.job(best.number)
        text = f"# trial {best.number} of a search: {study.metric} {best.value:.4f}\n{chosen.config.to_yaml()}"
        store.write_bytes(config.answers / "search" / "best.yaml", text.encode())
        publish(chosen.directory / "bundle", config.answers / "bundle", _say)
        return _searched(study, best.number, text, _confirmed(study, best.number))


def _searched(study, best: int, text: str, confirmed: dict | None) -> str:
    """Writes the report of a search; text: the best settings. Returns what to say."""
    from raysign.report import search as reporting

    config, trials = study.config, study.trials()
    about = [
        ("space", "; ".join(reporting.parameters(trials))),
        ("search", f"{config.tune.search}, {config.tune.scheduler}, seed {config.seed}"),
        ("clips", study.clips_of(config).name),
        ("trainings", str(config.answers / "train")),
        ("study", str(study.place)),
    ]  # fmt: skip
    page = reporting.page(trials, study.metric, best, title=f"{config.name}: search for settings",
                          about=about, config=text, confirmed=confirmed)  # fmt: skip
    store.write_bytes(config.answers / "search" / "report.html", page.encode())
    return reporting.words(trials, study.ranked(), study.metric, confirmed, config.answers)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _confirmed(study, number: int) -> dict | None:
    """The best trial and the first one trained with other seeds and scored on test clips, where that is asked for."""
    from raysign.infer import confirm
    from raysign.learn import search

    config = study.config
    if not config.tune.confirm:
        return None
    sides = search.seeded(study, [number, 0], config.tune.confirm, _say)
    batch = config.evaluate.batch
    best, first = ([confirm.scored(job.directory / "bundle", job.clips, batch) for job in jobs] for jobs in sides)
    found = confirm.compared(best, first)
    store.write_json(config.answers / "search" / "confirmed.json", {"best_trial": number, **found})
    return found


def import_weights(
    file: Path, config: Config, out: Path, layout: str | None = None, labels: Path | None = None,
    ignore: tuple[str, ...] = (), partial: bool = False,
) -> list[str]:  # fmt: skip
    """Weights of another program to a bundle in the folder `out`, as `learn.imported` says. Returns what to say."""
    from raysign.learn import imported
    from raysign.learn.labels import of_file

    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: found a folder with something in it, expected a new one; give another --out")
    names = of_file(labels) if labels else None
    bundle, said = imported.bundle_of(file, config, layout, names, ignore, partial)
    bundle.save(out)
    return said


def summary(config: Config, layout: str | None = None, frames: int = 100, batch: int = 16, glosses: int = 100) -> str:
    """What the config's network is made of and what it costs on this machine. Needs no data."""
    from raysign.clips import form
    from raysign.report import network

    return network.render(network.measure(config, *form.expected(config, layout), frames, batch, glosses))


def plan(config: Config, machines: dict, seconds: float = 30.0):
    """What the stages of the config will take, from a sample of its clips; writes nothing into `out`.

    machines: cpus, gpus, cpu_price and gpu_price, None for what is not told: the CPUs are the cluster's then.
    seconds: about how long to read the sample. Returns forecast.stages.Forecast.
    """
    from raysign.forecast.stages import Machines, forecast

    refs = kind_module("source", config.source.kind).clips(config.source)
    media = holds_media(config)
    reader, extractor = _media_reader(config) if media else _file_reader(config)
    given = Machines(**{**machines, "cpus": machines.get("cpus") or engine.cpus(config.ray)})
    with tqdm(unit="clip", leave=False, disable=None) as bar:

        def say(what: str, clips: int) -> None:
            bar.set_description_str(f"plan: trying {what}", refresh=False)
            bar.update(clips)

        return forecast(config, refs, reader, extractor, media, given, seconds, say)


def run(config: Config) -> str:
    """The whole line. Returns what to say at its end."""
    from raysign.report import words

    landmarks(config)
    return words.summary(config, evaluate(config))


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
    found = list(showing.chosen(stored or landmarks_of(config), ids, count))
    views = [(title, showing.views(clip, config, upwards, row)) for row, (title, clip) in enumerate(found)]
    drawing.save(views, out, fps=found[0][1].fps or 25)
    remote.push(out, out)
    return out


def predict(bundle: Path, files: tuple[Path, ...], top: int = 5, as_json: bool = False) -> Iterator[tuple[str, bool]]:
    """One (line, whether the clip could be used) for each clip of the files, likeliest glosses first."""
    from raysign.infer.files import predict as recognise
    from raysign.report import words

    for row in recognise(bundle, files, top):
        yield json.dumps(row, ensure_ascii=False) if as_json else words.answer(row), not row["error"]


def validate(config: Config):
    """Whether the landmarks, and the clips if they are prepared, can be trusted. Returns checks.validate.Result.

    Makes no stage: StoreError naming the verb when there are no landmarks yet.
    """
    from raysign.checks import validate as checks

    place, verb = config.landmarks_dir, "extract" if holds_media(config) else "import"
    if not checks.is_stage(place):
        raise StoreError(f"{place}: found no landmarks, expected some to look at; run `raysign {verb}` first")
    known = []
    clips = _prepared(config, known)
    stages = [place, clips] if clips else [place]
    return checks.validate(stages, config.home / "validation", known, settings=_sections(config))


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


def analyze(places: list[Path], out: Path) -> list[str]:
    """Draw the curves of the trainings at some places (see report.training.found); returns a line on each of them."""
    from raysign.report import training

    trainings = [found for place in places for found in training.found(place.resolve())]
    store.write_bytes(out, training.picture(trainings) or b"")
    return [training.words(found) for found in trainings]


def demo(out: Path) -> str:
    """The whole line on made-up signers, tested on one that training never saw."""
    config = demo_config(out)
    store.write_bytes(config.home / "config.yaml", config.to_yaml().encode())
    return run(config)


def demo_config(out: Path) -> Config:
    """What configs/demo.yaml says, for an installed raysign that has no such file."""
    from raysign.config import load

    tree = {
        "name": "demo", "out": str(out), "source": {"kind": "synthetic", "takes": 4},
        "train": {"epochs": 25},
        "split": {"kind": "signer", "test_signers": ["signer5"], "val_signers": ["signer4"]},
    }  # fmt: skip
    return load(base=tree)


# ---------------------------------------------------------------- what they share


def _carried_out(config: Config, units: list[dict], worker: type, arguments: dict, actors: int | None = None,
                 environment: dict[str, str] | None = None):  # fmt: skip
    """The manifest rows of the units, worked on by the cluster; no cluster is started for nothing to do."""
    if units:
        dashboard = bool(environment) or config.train.most > 0  # training may follow on the same cluster
        engine.connect(config.ray, dashboard, environment)
        yield from engine.stream(units, worker, arguments, actors=actors)


def holds_media(config: Config) -> bool:
    """Whether the source holds videos or images, whose landmarks MediaPipe must find, rather than landmarks."""
    return not hasattr(kind_module("source", config.source.kind), "read")


def extract(config: Config) -> dict:
    """`landmarks` of videos and images; ConfigError for a source that holds landmarks already."""
    if not holds_media(config):
        raise ConfigError(f"source.kind: {config.source.kind} holds landmarks already; use `raysign import`")
    return landmarks(config)


def import_landmarks(config: Config) -> dict:
    """`landmarks` of files that hold landmarks; ConfigError for videos and images."""
    if holds_media(config):
        raise ConfigError(f"source.kind: {config.source.kind} holds videos or images; use `raysign extract`")
    return landmarks(config)


def _media_reader(config: Config):
    """What makes a landmarker in a worker, and the fingerprint of its results."""
    from raysign.extract import landmarker

    extractor = landmarker.fingerprint(config.extract)
    return functools.partial(landmarker.reader, config.extract, extractor), extractor


def _file_reader(config: Config):
    """What reads landmark files in a worker, and the fingerprint of its results."""
    options = config.source.model_dump(mode="json", exclude={"path"})
    return functools.partial(
        _reader_of_files, config.source
    ), f"import {config.source.kind} {store.fingerprint(options)}"


def _reader_of_files(options):
    return functools.partial(kind_module("source", options.kind).read, options=options)
