"""Beside the line: many trainings or many questions, and a page on what came of them."""

from raysign import engine, pipeline, remote, store
from raysign.config import Config
from raysign.pace import counted


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
    clips = pipeline.prepare(config)
    with search.alone(place_of(config, clips)):
        study = search.run(config, clips, resume, pipeline.say)
        best = study.best()
        chosen = study.job(best.number)
        text = f"# trial {best.number} of a search: {study.metric} {best.value:.4f}\n{chosen.config.to_yaml()}"
        store.write_bytes(config.answers / "search" / "best.yaml", text.encode())
        publish(chosen.directory / "bundle", config.answers / "bundle", pipeline.say)
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


def _confirmed(study, number: int) -> dict | None:
    """The best trial and the first one trained with other seeds and scored on test clips, where that is asked for."""
    from raysign.infer import confirm
    from raysign.learn import search

    config = study.config
    if not config.tune.confirm:
        return None
    if number == 0:
        pipeline.say("tune.confirm: the config as it is was the best; there is nothing to compare it with")
        return None
    sides = search.seeded(study, [number, 0], config.tune.confirm, pipeline.say)
    how = config.landmarks_dir, config.evaluate.batch
    best, first = ([confirm.scored(job.directory / "bundle", job.clips, *how) for job in jobs] for jobs in sides)
    found = confirm.compared(best, first)
    store.write_json(config.answers / "search" / "confirmed.json", {"best_trial": number, **found})
    return found


def robustness(config: Config, only: tuple[str, ...] = ()) -> str:
    """The bundle asked about damaged landmarks of a split; only: names of stressors, all without any. Leaves
    robustness.json and robustness.html in `<answers>/robustness`. Returns what to say.
    """
    from raysign.infer import robustness as asking
    from raysign.learn import bundle as bundles
    from raysign.learn import tracking
    from raysign.report import robustness as reporting

    wanted = asking.chosen(only)  # before any stage is made
    bundle, clips = pipeline.asked(config)
    out, split = config.of_split("robustness"), config.evaluate.split
    plan = asking.plan(bundle, config.landmarks_dir, clips, config, out, wanted)
    arguments = {
        "bundle_dir": bundle, "landmarks_dir": config.landmarks_dir, "directory": plan.directory,
        "names": [one.name for one in plan.stressors], "settings": config,
    }  # fmt: skip
    if plan.large:
        rows = pipeline.carried_out(
            config, plan.units, asking.Worker, {**arguments, "threads": 1}, actors=engine.cpus(config.ray)
        )
    else:
        rows = map(asking.Worker(**arguments, device=pipeline.device_of(config)), plan.units)
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
    from raysign.learn import members, reporters, search, tracking
    from raysign.report import ensemble as reporting

    found = members.of(config)  # before any stage is made
    for member in found:
        pipeline.require_bundles(member.config)
    clips = [pipeline.prepare(member.recipe) for member in found]
    for place in clips:
        scoring.card_with(place, config.evaluate.split)  # said before the trainings and not after them
    jobs, names, out = members.jobs_of(found, clips), [member.name for member in found], config.answers / "ensemble"
    place = out / "train" / store.fingerprint([config.ensemble.weights, *(job.directory.name for job in jobs)])
    with search.alone(out):
        tracker = tracking.Tracker(config, place, {"raysign.ensemble": place.name})
        with reporters.told_of_its_end(tracker):
            members.train(config, found, jobs, place, pipeline.say)
            told = fusion.made(config, names, jobs, out / "bundle", training=place.name)
            tracker.finish("FINISHED", out / "bundle")
        page = reporting.page(told, title=f"{config.name}: ensemble of {len(found)}", config=config.to_yaml())
        store.write_bytes(out / "report.html", page.encode())
        store.write_json(out / "ensemble.json", told)
    if config.mlflow.enabled:
        files = [out / "report.html", out / "ensemble.json"]
        tracking.evaluated(config, place, told["split"], reporting.flat(told), files)
    return reporting.words(told, remote.shown(out))
