"""A search as it stands on disk: trials are asked for, told, ended early and gone on with, without running any."""

from pathlib import Path

import pytest
from made_clips import settings, write

from raysign import store
from raysign.errors import ConfigError, StoreError, TrainError
from raysign.learn import bundle, history
from raysign.learn.job import Job, place_of
from raysign.learn.study import Study

LR = "{train.lr: {loguniform: [1e-4, 1e-2]}}"


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("clips"), train=2, val=1)


def study(home: Path, clips: Path, *words: str, space: str = LR, lines: list[str] | None = None) -> Study:
    config = settings(home, "train.epochs=9", "tune.grace=2", f"tune.space={space}", *words)
    said = lines if lines is not None else []
    return Study(config, lambda _: clips, place_of(config, clips), said.append)


def told(found: Study, job: Job, values: list[float], first: int = 1) -> bool:
    """Epochs as a training has them, until one is the last; whether the trial is to end there."""
    for epoch, value in enumerate(values, first):
        metrics = {"val/top1": value, "val/loss": 1 - value, "train/loss": 0.5, "seconds": 1.0}
        job.directory.mkdir(parents=True, exist_ok=True)
        history.append(job.directory, {"epoch": epoch, **metrics})
        if found.report(job.number, epoch, metrics):
            return True
    return False


def bundled(job: Job, metrics: dict[str, float]) -> None:
    """What a search looks for in a bundle."""
    place = job.directory / "bundle"
    for name in bundle.FILES:
        store.write_bytes(place / name, name.encode())
    sums = {name: store.sha256(place / name) for name in bundle.FILES}
    store.write_json(place / "card.json", {"metrics": metrics, "sha256": sums})


def finish(found: Study, job: Job, value: float) -> None:
    told(found, job, [value / 2, value])
    bundled(job, {"val/top1": value})
    found.done(job.number)


def following(found: Study) -> Job:
    job = found.next()
    assert job
    return job


def test_the_first_trial_is_the_config_as_it_is_and_never_ends_early(clips, tmp_path):
    found = study(tmp_path, clips, "tune.trials=6")
    first, *others = [following(found) for _ in range(4)]
    assert first.config == found.config
    for job in others:
        told(found, job, [0.9, 0.9])
    assert not told(found, first, [0.0] * 8)
    assert all(job.config.train.lr != first.config.train.lr for job in others)
    assert all(job.config.model_copy(update={"train": first.config.train}) == first.config for job in others)


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_trial_worse_than_the_others_ends_early_but_not_before_the_grace_epochs(clips, tmp_path, scheduler):
    found = study(tmp_path, clips, f"tune.scheduler={scheduler}", "tune.trials=8")
    for value in (0.5, 0.6, 0.7, 0.8):
        finish(found, following(found), value)
    job = following(found)
    assert not told(found, job, [0.1])
    assert told(found, job, [0.1], first=2)
    trial = found.trials()[-1]
    assert (trial.state, trial.value, len(trial.rows)) == ("stopped", 0.1, 2)
    good = following(found)
    assert not told(found, good, [0.95] * 8)


def test_no_trial_is_ended_at_the_last_of_its_own_epochs(clips, tmp_path):
    words, space = ("tune.scheduler=median", "tune.search=grid", "tune.trials=9"), "{train.epochs: [3, 4, 5, 6, 7]}"
    found = study(tmp_path, clips, *words, space=space)
    jobs = [following(found) for _ in range(6)]
    short = next(job for job in jobs if job.config.train.epochs == 3)
    for job in jobs:
        if job is not short:
            told(found, job, [0.1, 0.1, 0.9])
            bundled(job, {"val/top1": 0.9})
            found.done(job.number)
    assert not told(found, short, [0.2] * 3)


def test_without_a_scheduler_no_trial_ends_early(clips, tmp_path):
    found = study(tmp_path, clips, "tune.scheduler=none")
    for value in (0.5, 0.6, 0.7, 0.8):
        finish(found, following(found), value)
    assert not told(found, following(found), [0.0] * 9)


def test_the_best_is_the_first_of_the_highest_and_of_a_loss_the_lowest(clips, tmp_path):
    found = study(tmp_path, clips, "tune.trials=3", "train.best=val/loss")
    for value in (0.5, 0.2, 0.4):
        job = following(found)
        told(found, job, [1 - value])
        bundled(job, {"val/loss": value})
        found.done(job.number)
    assert found.next() is None
    assert [trial.number for trial in found.ranked()] == [1, 2, 0]
    assert found.best().value == 0.2


def test_a_killed_search_goes_on_with_the_same_trials_and_redoes_none(clips, tmp_path):
    whole, parts = (tmp_path / name for name in ("whole", "parts"))
    found = study(whole, clips, "tune.trials=5")
    expected = [following(found) for _ in range(4)]
    for i, job in enumerate(expected):
        finish(found, job, 0.1 * i)
    expected.append(following(found))

    found = study(parts, clips, "tune.trials=5")
    jobs = [following(found) for _ in range(4)]
    finish(found, jobs[0], 0.0)
    finish(found, jobs[1], 0.1)
    told(found, jobs[2], [0.1])  # trials 2 and 3 are under way; of 3 the training ended, and nobody was told
    bundled(jobs[3], {"val/top1": 0.3})
    history.append(jobs[3].directory, {"epoch": 1, "val/top1": 0.3, "seconds": 1.0})
    journal = found.place / "study.journal"
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 6, "trial')  # the line it died in

    lines: list[str] = []
    found = study(parts, clips, "tune.trials=5", lines=lines)
    left = following(found)
    assert (left.number, left.config.train) == (2, jobs[2].config.train)
    told(found, left, [0.2], first=2)
    bundled(left, {"val/top1": 0.2})
    found.done(left.number)
    last = following(found)
    assert [trial.value for trial in found.trials()[:4]] == [0.0, 0.1, 0.2, 0.3]
    assert last.number == 4
    assert [job.config.train.lr for job in [*jobs, last]] == [job.config.train.lr for job in expected]
    assert found.next() is None


def test_more_trials_go_on_with_the_same_search_but_another_space_is_another_search(clips, tmp_path):
    found = study(tmp_path, clips, "tune.trials=1")
    finish(found, following(found), 0.5)
    assert found.next() is None
    more = study(tmp_path, clips, "tune.trials=2")
    assert more.place == found.place
    assert following(more).number == 1
    assert study(tmp_path, clips, space="{train.batch: [4, 8]}").place != found.place
    assert study(tmp_path, clips, "tune.scheduler=median").place != found.place


def test_a_trial_of_the_same_settings_is_not_trained_again_nor_at_once(clips, tmp_path):
    found = study(tmp_path, clips, "tune.trials=5", "tune.search=random", space="{train.batch: [4, 8]}")
    jobs = []
    while job := found.next():
        jobs.append(job)
    assert len({job.directory for job in jobs}) == len(jobs) < 5
    for i, job in enumerate(jobs):
        finish(found, job, 0.1 * (i + 1))
    trials = found.trials()
    assert [trial.state for trial in trials] == ["finished"] * 5
    values = {trial.directory: trial.value for trial in trials if trial.same_as is None}
    assert all(trial.value == values[trial.directory] for trial in trials)
    assert sum(trial.same_as is not None for trial in trials) == 5 - len(jobs)


def test_what_fails_is_recorded_with_its_reason_and_the_search_goes_on(clips, tmp_path):
    lines: list[str] = []
    found = study(tmp_path, clips, "tune.trials=3", lines=lines)
    found.failed(following(found).number, "epoch 3: train/loss is nan")
    found.done(0)  # Ray Tune says so of a failed one too
    with pytest.raises(TrainError, match="train/loss is nan"):
        found.best()
    found.done(following(found).number)
    assert [trial.error for trial in found.trials()] == ["epoch 3: train/loss is nan", "its process died"]
    finish(found, following(found), 0.5)
    assert found.best().number == 2
    assert len(lines) == 3


def test_trouble_with_the_place_fails_no_trial(clips, tmp_path):
    found = study(tmp_path, clips)

    def away(_):
        raise StoreError("s3://bucket/clips: does not answer")

    with pytest.raises(StoreError, match="does not answer"):
        Study(found.config, away, found.place, print).next()
    assert [trial.state for trial in found.trials()] == ["running"]
    assert following(study(tmp_path, clips)).number == 0


@pytest.mark.parametrize("name", ["card.json", *bundle.FILES])
def test_a_training_is_finished_with_its_whole_bundle_only(clips, tmp_path, name):
    job = following(study(tmp_path, clips))
    assert not job.finished
    bundled(job, {"val/top1": 0.5})
    assert job.finished
    (job.directory / "bundle" / name).write_bytes(b"")  # as a power cut leaves it
    assert not job.finished
    (job.directory / "bundle" / name).unlink()
    assert not job.finished


def test_a_grid_is_walked_once_in_an_order_that_follows_from_the_seed(clips, tmp_path):
    words, space = ("tune.search=grid", "tune.trials=50"), "{train.batch: [4, 8, 16], train.ema: [0, 0.9]}"
    orders = []
    for place in ("a", "b"):
        found = study(tmp_path / place, clips, *words, space=space)
        orders.append([(job.config.train.batch, job.config.train.ema) for job in iter(found.next, None)])
    assert orders[0] == orders[1]
    assert {*orders[0]} >= {(batch, ema) for batch in (4, 8, 16) for ema in (0, 0.9)}
    assert len(orders[0]) == len(set(orders[0]))


def test_a_misspelt_path_is_refused_before_a_study_begins(clips, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'lr'"):
        study(tmp_path, clips, space="{train.lrr: [0.1]}")
    assert not list(tmp_path.iterdir())
