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
    rows = _carried_out(config, plan.units, work.Worker, arguments, actors=workers if media else None)
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
        rows = _carried_out(config, plan.units, stage.Worker, arguments)
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
    from raysign.learn import tracking
    from raysign.report import results
    from raysign.report.metrics import scalars

    bundle, clips = _asked(config)
    split, out = config.evaluate.split, config.answers / "evaluation"
    figures = scoring.evaluate(
        bundle, clips, split, out, batch=config.evaluate.batch, device=_device(config), views=config.evaluate,
        landmarks_dir=config.landmarks_dir,
    )  # fmt: skip
    training = bundles.training_of(bundle, figures["training"])
    if config.mlflow.enabled and training:
        files = [out / name for name in results.LOOKED_AT if store.exists(out / name)]
        tracking.evaluated(config, training, split, scalars(figures), files)
    return figures


def _asked(config: Config) -> tuple[Path, Path]:
    """The bundle that is to answer, trained where it is not there, and the clips that have some in the split."""
    from raysign.infer import evaluate as scoring
    from raysign.learn import distribute

    _require_bundles(config)
    clips, published = prepare(config), config.answers / "bundle"
    card = scoring.card_with(clips, config.evaluate.split)  # said before the training and not after it
    made = config.answers / "train" / distribute.key_of(config, card["key"]) / "bundle" / "card.json"
    if store.exists(published / "card.json") and not store.exists(made) and not config.evaluate.bundle:
        line = "%s: found no bundle of these settings and clips, only of others; one is trained now (%s)"
        log.warning(line, remote.shown(published), f"evaluate.bundle={remote.shown(published)} scores that one")
    return config.evaluate.bundle or _trained(config, clips), clips


def _device(config: Config) -> str:
    return "cpu" if config.train.device == "cpu" else "auto"  # a GPU that is not to train is not to answer either


def robustness(config: Config, only: tuple[str, ...] = ()) -> str:
    """The bundle asked about damaged landmarks of a split; only: names of stressors, all without any. Leaves
    robustness.json and robustness.html in `<answers>/robustness`. Returns what to say.
    """
    from raysign.infer import robustness as asking
    from raysign.learn import bundle as bundles
    from raysign.learn import tracking
    from raysign.report import robustness as reporting

    wanted = asking.chosen(only)  # before any stage is made
    bundle, clips = _asked(config)
    out, split = config.answers / "robustness", config.evaluate.split
    plan = asking.plan(bundle, config.landmarks_dir, clips, config, out, wanted)
    arguments = {
        "bundle_dir": bundle, "landmarks_dir": config.landmarks_dir, "directory": plan.directory,
        "names": [one.name for one in plan.stressors], "settings": config,
    }  # fmt: skip
    if plan.large:
        rows = _carried_out(
            config, plan.units, asking.Worker, {**arguments, "threads": 1}, actors=engine.cpus(config.ray)
        )
    else:
        rows = map(asking.Worker(**arguments, device=_device(config)), plan.units)
    for _ in counted(rows, "robustness", plan.todo, "clip", lambda row: (row["clips"], "")):
        continue
    found, page = asking.report(plan, bundle, clips, config)
    store.write_bytes(out / "robustness.html", page.encode())
    store.write_json(out / "robustness.json", found)
    if config.mlflow.enabled and (training := bundles.training_of(bundle, found["training"])):
        files = [out / "robustness.html", out / "robustness.json"]
        tracking.evaluated(config, training, split, asking.flat(found), files)
    line = reporting.words(found, asking.worst(found), split)
    return f"{line}\nreport: {remote.shown(out / 'robustness.html')}"


def ensemble(config: Config) -> str:
    """The config's members trained, and what they are worth together. Leaves the bundle of all, ensemble.json and
    report.html in `<answers>/ensemble`. Returns what to say.
    """
    from raysign.infer import evaluate as scoring
    from raysign.infer import fusion
    from raysign.learn import members
    from raysign.report import ensemble as reporting

    found = members.of(config)  # before any stage is made
    for member in found:
        _require_bundles(member.config)
    clips = [prepare(member.recipe) for member in found]
    for place in clips:
        scoring.card_with(place, config.evaluate.split)  # said before the trainings and not after them
    jobs = members.trained(config, found, clips, _say)
    out = config.answers / "ensemble"
    told = fusion.made(config, [member.name for member in found], jobs, out / "bundle")
    page = reporting.page(told, title=f"{config.name}: ensemble of {len(found)}", config=config.to_yaml())
    store.write_bytes(out / "report.html", page.encode())
    store.write_json(out / "ensemble.json", told)
    return reporting.words(told, remote.shown(out))


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


def tune(config: Config, resume: bool = False) -> str:
    """Search for better settings, and publish the bundle of the best. Returns what to say at the end.

    Leaves best.yaml, which `train` takes, and report.html in `<answers>/search`. Errors as of learn.search.run.
    """
    from raysign.learn import search, space, trials
    from raysign.learn.job import place_of
    from raysign.learn.publish import publish

    space.checked(config)  # before any stage is made
    if resume:
        search.resumable(config)
    engine.connect(config.ray, dashboard=True, environment=trials.ENVIRONMENT)  # else `prepare` does, without it
    clips = prepare(config)
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
    if number == 0:
        _say("tune.confirm: the config as it is was the best; there is nothing to compare it with")
        return None
    sides = search.seeded(study, [number, 0], config.tune.confirm, _say)
    how = config.landmarks_dir, config.evaluate.batch
    best, first = ([confirm.scored(job.directory / "bundle", job.clips, *how) for job in jobs] for jobs in sides)
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


def _carried_out(config: Config, units: list[dict], worker: type, arguments: dict, actors: int | None = None):
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
