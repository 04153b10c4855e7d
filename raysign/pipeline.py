"""The whole story, one function for each arrow:

    videos, images --extract--> landmarks --prepare--> clips --train--> bundle --evaluate, predict, serve--> answers
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

from raysign import engine, remote, store
from raysign.config import Config
from raysign.errors import ConfigError
from raysign.kinds import Section, kind_module
from raysign.pace import counted

log = logging.getLogger(__name__)

# ---------------------------------------------------------------- the stages


def landmarks(config: Config) -> dict:
    """Source to LANDMARKS: MediaPipe over videos and images, a reader over files of landmarks. Returns the card."""
    from raysign.extract import plan as planning
    from raysign.extract import work

    began = time.time()
    source = kind_module("source", config.source.kind)
    media = holds_media(config)
    reader, extractor = reader_of(config)
    workers = config.extract.workers or engine.cpus(config.ray)
    plan = planning.plan(
        source.clips(config.source), config.landmarks_dir, extractor,  # held by nobody: there may be millions
        retry=config.extract.retry_quarantined, workers=workers,
        per_unit=None if media else planning.CLIPS_PER_UNIT,
    )  # fmt: skip
    arguments = {
        "reader": reader, "directory": config.landmarks_dir, "extractor": extractor, "run": plan.run, "journal": media,
    }  # fmt: skip
    rows = carried_out(config, plan.units, work.Worker, arguments, actors=workers if media else None)
    done = list(work.progress(rows, plan, "extract" if media else "import"))
    audit = source.audit(config.source) if hasattr(source, "audit") else None
    seconds = time.time() - began
    told = {"audit": audit, "made_of": _made_of(config) if media else None}
    return work.finish(config.landmarks_dir, plan, done, config=sections(config), seconds=seconds, **told)


_HOW = {"workers", "retry_quarantined"}  # settings of extract that say how landmarks are made, not which


def sections(config: Config) -> dict:
    """What the landmarks follow from."""
    return {
        "source": config.source.model_dump(mode="json"), "extract": config.extract.model_dump(mode="json", exclude=_HOW)
    }  # fmt: skip


def landmarks_of(config: Config) -> Path:
    """The directory of the config's LANDMARKS, which are made first where they are missing or of other settings.

    The source is not looked at: landmarks are used where the videos are not, and nothing is read again unasked.
    """
    if (store.read_card(config.landmarks_dir) or {}).get("config") != sections(config):
        landmarks(config)
    return config.landmarks_dir


def convert(landmarks_dir: Path, out: Path, options: Section) -> dict:
    """LANDMARKS to a format of the field, in a new folder; does nothing when that holds them already. Returns its card.

    options: `Options` of a module of raysign.writers.
    """
    from raysign import writers

    return writers.convert(landmarks_dir, out, options)


def prepare(config: Config) -> Path:
    """LANDMARKS to CLIPS by the config's recipe. Returns the directory, named by what its content follows from."""
    from raysign.clips import prepare as stage

    made = landmarks_of(config)
    began = time.time()
    plan = stage.plan(made, config.home / "clips", config)
    if not plan.finished:
        arguments = {"landmarks_dir": config.landmarks_dir, "directory": plan.directory, "options": config.prepare}
        rows = carried_out(config, plan.units, stage.Worker, arguments)
        for _ in counted(rows, "prepare", len(plan.units), "shard"):
            continue
        stage.finish(config.landmarks_dir, plan, config, time.time() - began)
    return plan.directory


def train(config: Config) -> Path:
    """CLIPS to a bundle; goes on with an unfinished training of the same config. Returns `<answers>/bundle`."""
    require_bundles(config)
    return _trained(config, prepare(config))


def require_bundles(config: Config) -> None:
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
    return publish(made, place, say)


def evaluate(config: Config) -> dict:
    """Score the bundle on a split of the clips; writes predictions, metrics and report. Returns the metrics."""
    from raysign.infer import evaluate as scoring
    from raysign.learn import bundle as bundles
    from raysign.learn import tracking
    from raysign.report import results
    from raysign.report.metrics import scalars

    bundle, clips = asked(config)
    split, out = config.evaluate.split, config.of_split("evaluation")
    figures = scoring.evaluate(
        bundle, clips, split, out, batch=config.evaluate.batch, device=device_of(config), views=config.evaluate,
        landmarks_dir=config.landmarks_dir,
    )  # fmt: skip
    training = bundles.training_of(bundle, figures["training"])
    if config.mlflow.enabled and training:
        files = [out / name for name in results.LOOKED_AT if store.exists(out / name)]
        tracking.evaluated(config, training, split, scalars(figures), files)
    return figures


def asked(config: Config) -> tuple[Path, Path]:
    """The bundle that is to answer, trained where it is not there, and the clips that have some in the split."""
    from raysign.infer import evaluate as scoring
    from raysign.learn import distribute

    require_bundles(config)
    clips, published = prepare(config), config.answers / "bundle"
    card = scoring.card_with(clips, config.evaluate.split)  # said before the training and not after it
    made = config.answers / "train" / distribute.key_of(config, card["key"]) / "bundle" / "card.json"
    if store.exists(published / "card.json") and not store.exists(made) and not config.evaluate.bundle:
        line = "%s: found no bundle of these settings and clips, only of others; one is trained now (%s)"
        log.warning(line, remote.shown(published), f"evaluate.bundle={remote.shown(published)} scores that one")
    return config.evaluate.bundle or _trained(config, clips), clips


def device_of(config: Config) -> str:
    """Where a bundle answers: cpu, or auto."""
    return "cpu" if config.train.device == "cpu" else "auto"  # a GPU that is not to train is not to answer either


def export(bundle: Path, out: Path, arguments: tuple[str, ...], as_json: bool = False) -> str:
    """A bundle to a folder for other programs; arguments: settings of infer.export.Options. Returns what to say."""
    from raysign.infer import export as exporting
    from raysign.report import words

    card = exporting.export(bundle, out, exporting.options(arguments))
    return json.dumps(card, ensure_ascii=False) if as_json else words.exported(card, out)


def register(bundle: Path, arguments: tuple[str, ...], name: str | None, alias: str | None, media: bool = False) -> str:
    """A bundle into MLflow's registry of models; arguments: settings over the bundle's own. Returns what to say."""
    from raysign.infer import registry

    return registry.register(bundle, arguments, name, alias, media)


def say(line: str) -> None:
    """A line on what is going on, beside what is asked for."""
    print(line, file=sys.stderr, flush=True)


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


def run(config: Config) -> str:
    """The whole line. Returns what to say at its end."""
    from raysign.report import words

    landmarks(config)
    return words.summary(config, evaluate(config))


def predict(
    bundle: Path, files: tuple[Path, ...], wanted, as_json: bool = False, out: Path | None = None,
    parallel: bool | None = None, seconds: float | None = None,
) -> Iterator[tuple[str, bool]]:  # fmt: skip
    """One (line, whether the clip could be used) for each clip of the files, likeliest glosses first.

    wanted: an infer.files.Wanted. out: a .csv, .parquet or .jsonl for all rows. parallel: whether on all CPUs; None:
    when there are hundreds of files. seconds: how long to look through a camera, which is given by its number.
    """
    from raysign.infer import camera, overlay, table
    from raysign.infer.files import predict_many
    from raysign.report import words

    if wanted.overlay:
        overlay.checked(wanted.overlay, files)
    if out:
        table.checked(out)
    if device := camera.device(files):
        answers = camera.predict(bundle, device, wanted, seconds)
    else:
        answers = predict_many(bundle, files, wanted, parallel)
    rows = []
    try:
        for row in answers:
            rows += [row] if out else []
            yield json.dumps(row, ensure_ascii=False) if as_json else words.answer(row), not row["error"]
    finally:  # a camera is looked through until somebody has enough
        if out and rows:
            table.write(out, rows)


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


def carried_out(config: Config, units: list[dict], worker: type, arguments: dict, actors: int | None = None):
    """The manifest rows of the units, worked on by the cluster; no cluster is started for nothing to do."""
    if units:
        engine.connect(config.ray, dashboard=config.train.most > 0)  # training may follow on the same cluster
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


def reader_of(config: Config):
    """What makes landmarks of a clip in a worker, MediaPipe or a reader of files, and its results' fingerprint."""
    return _media_reader(config) if holds_media(config) else _file_reader(config)


def _media_reader(config: Config):
    from raysign.extract import landmarker

    extractor = landmarker.fingerprint(config.extract)
    return functools.partial(landmarker.reader, config.extract, extractor), extractor


def _made_of(config: Config) -> dict:
    from raysign.extract import landmarker

    return landmarker.made_of(config.extract)


def _file_reader(config: Config):
    options = config.source.model_dump(mode="json", exclude={"path"})
    return functools.partial(
        _reader_of_files, config.source
    ), f"import {config.source.kind} {store.fingerprint(options)}"


def _reader_of_files(options):
    return functools.partial(kind_module("source", options.kind).read, options=options)
