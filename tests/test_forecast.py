"""What is predicted before a run: an estimator that is right on average, and a plan that writes nothing."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from raysign import config, views
from raysign.cli import main
from raysign.errors import ConfigError
from raysign.forecast import estimate, stages
from raysign.forecast.estimate import Estimate

SMALL = ["source.kind=synthetic", "source.glosses=3", "source.signers=3", "source.takes=3", "split.kind=stratified",
         "model.channels=4", "model.num_blocks=1", "model.width=8", "train.batch=8", "ray.cpus=2"]  # fmt: skip


def test_a_sample_of_everything_is_exact():
    assert estimate.total([1, 2, 3], [2.0, 4.0, 7.0], 6, parts=3) == Estimate(13, 13, 13)


def test_a_cost_that_goes_by_size_is_known_from_any_part():
    found = estimate.total([2, 5, 9], [4.0, 10.0, 18.0], 1000, parts=100)
    assert found.value == pytest.approx(2000)
    assert (found.low, found.high) == (pytest.approx(2000), pytest.approx(2000))


def test_the_interval_holds_the_whole_about_nine_times_in_ten():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        sizes = rng.lognormal(0, 0.5, 200)
        costs = sizes * rng.lognormal(0, 0.4, 200)
        part = rng.choice(200, 10, replace=False)
        found = estimate.total(sizes[part], costs[part], sizes.sum(), 200, trial)
        hits += found.low <= costs.sum() <= found.high
    assert 0.83 * 300 < hits < 0.97 * 300


def test_one_part_of_many_says_little():
    assert estimate.total([1], [3.0], 10, parts=10) == Estimate(30, 15, 60)


def test_size_predicts_only_where_it_does():
    assert estimate.steadier([1, 2, 4], [1.0, 2.1, 3.9])
    assert not estimate.steadier([1, 2, 4], [2.0, 2.1, 1.9])
    assert not estimate.steadier([0, 0, 0], [1.0, 2.0, 3.0])


def test_every_beginning_of_a_sample_of_videos_has_small_and_large_files():
    from raysign.schema import ClipRef

    refs = [ClipRef(f"{n}", f"/{n}", f"{n * n + 1}-0") for n in range(1000)]
    sample = [int(unit[0].id) for unit in stages._sample(refs, media=True, seed=0)]
    assert len(sample) == len(set(sample)) == stages.probe.MOST
    ranks = sorted(sample)
    assert max(np.diff([0, *ranks, 1000])) <= 2 * 1000 / stages.probe.MOST + 1
    assert np.mean(sample[:8]) == pytest.approx(500, abs=250)


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A plan of made-up signers, and the folder that its results would go to."""
    out = tmp_path_factory.mktemp("plan") / "out"
    settings = config.load([*SMALL, "train.workers=0", f"out={out}"])
    machines = {"cpus": 4, "gpus": 0, "cpu_price": 0.5, "gpu_price": None}
    return views.plan(settings, machines, seconds=1), out


def test_a_plan_has_every_stage_and_writes_nothing(planned):
    found, out = planned
    assert [stage.name for stage in found.stages] == ["import", "prepare", "train"]
    assert [stage.clips for stage in found.stages][:2] == [27, 27]
    assert 15 < found.stages[2].clips < 27
    assert not out.exists()


def test_all_that_is_predicted_is_more_than_nothing_and_in_its_interval(planned):
    for stage in planned[0].stages:
        for cell in (stage.hours, stage.disk, stage.each, stage.cost):
            assert 0 < cell.low <= cell.value <= cell.high
        assert 0.05 < stage.memory < 20
        assert stage.hours.value * 3600 > stage.startup > 0
        assert stage.cost.value == pytest.approx(stage.hours.value * 4 * 0.5)


def test_twice_the_cpus_take_half_the_time_but_for_the_start():
    trained = {"train": [1.0, 1.0], "val": [0.5, 0.5], "clips": 8, "threads": 2, "on_gpu": False, "startup": 3.0,
               "weights": 100, "clip_bytes": 10, "flops": 10**9, "memory": 10**9}  # fmt: skip
    settings = config.load([*SMALL, "train.workers=0", "train.epochs=2"])
    hours = [stages._training(settings, 10, 4, trained, stages.Machines(n, 0)).hours.value * 3600 for n in (1, 2)]
    assert hours == [pytest.approx(3 + 2 * (2 * 10 + 2 * 4 * 0.5)), pytest.approx(3 + 2 * 10 + 2 * 4 * 0.5)]


@pytest.mark.parametrize(
    ("words", "machines", "used"),
    [
        (["train.workers=1"], (8, 4), (8, 1)),
        (["train.workers={max: 3}"], (8, 4), (8, 3)),
        (["train.device=cpu"], (8, 4), (8, 0)),
        (["train.workers=2", "train.cpus_per_worker=3"], (64, 0), (6, 0)),
        (["train.workers=9", "train.cpus_per_worker=3"], (8, 0), (8, 0)),
    ],
)
def test_training_takes_the_time_of_the_machines_that_it_uses(words, machines, used):
    trained = {"train": [1.0], "val": [0.5], "clips": 8, "threads": 2, "on_gpu": machines[1] > 0 < used[1],
               "startup": 0.0, "weights": 100, "clip_bytes": 10, "flops": 10**9, "memory": 10**9, "activations": 9,
               "device": "any"}  # fmt: skip
    told, there = config.load([*SMALL, *words]), stages.Machines(*machines)
    free = config.load([*SMALL, f"train.workers={used[1] or 1}"])
    expected = stages._training(free, 2000, 9, trained, stages.Machines(*used))
    assert stages._training(told, 2000, 9, trained, there) == expected
    notes = " ".join(stages._notes(told, 1.0, trained, there))
    assert (f"training uses {used[1]} of 4 GPUs" in notes) == (used[1] < machines[1])


def test_a_gpu_that_is_not_here_is_said_to_be_computed():
    trained = {"train": [1.0], "val": [0.5], "clips": 8, "threads": 2, "on_gpu": False, "startup": 0.0, "weights": 100,
               "clip_bytes": 10, "flops": 3 * 10**9, "memory": 10**9, "activations": 9, "device": "CPU"}  # fmt: skip
    settings, machines = config.load([*SMALL, "train.workers=0", "train.epochs=1"]), stages.Machines(8, 1)
    found = stages._training(settings, 2000, 0, trained, machines).hours
    assert found.value * 3600 == pytest.approx(2.0)
    assert found.low < found.value < found.high
    assert "computed, not measured" in " ".join(stages._notes(settings, 1.0, trained, machines))


def test_splits_that_cannot_be_made_are_told_before_anything_is_read():
    settings = config.load([*SMALL, "split.kind=signer", "split.test_signers=[nobody]"])
    with pytest.raises(ConfigError, match="nobody"):
        views.plan(settings, {"cpus": 1}, seconds=1)


def test_the_verb_prints_a_table_or_json(tmp_path):
    words = ["plan", *SMALL, "train.workers=0", f"out={tmp_path}/out", "--seconds", "0", "--gpus", "0"]
    result = CliRunner().invoke(main, [*words, "--json", "--cpu-price", "0.04"])
    assert result.exit_code == 0, result.output
    tree = json.loads(result.stdout)
    assert tree["total"]["cost"]["value"] == pytest.approx(sum(stage["cost"]["value"] for stage in tree["stages"]))


def test_the_table_names_stages_sums_and_what_is_assumed(planned):
    from raysign.forecast import words

    lines = words.render(planned[0]).splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["stage", "import", "prepare", "train", "all"]
    assert len({len(line) for line in lines[:5]}) == 1
    assert "sample of 27 clips" in lines[5]
    assert all(line.startswith("- ") for line in lines[6:])
