"""Several nodes with resources of their own, on this machine: what they make is what one node makes, whoever dies."""

import random
import time
from pathlib import Path

import pytest
import torch

from raysign.bench import chaos
from raysign.bench._cluster import Cluster
from raysign.learn import bundle
from raysign.learn.history import read_metrics

pytestmark = pytest.mark.timeout(900)
# one and two workers add the same numbers in another order: 1e-6 at this learning rate, while an epoch too many or
# too few, or an optimizer that forgot, changes more
TOLERANCE = 1e-4
WEIGHTS = 2e-3  # a bias before a norm has no gradient but that of last digits, of which Adam makes whole steps: 3e-4


@pytest.fixture(scope="module")
def nodes():
    """A head and another node, of one CPU each."""
    with Cluster(1, 1) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["import", "prepare", "train"])
def stage(request, nodes, tmp_path_factory) -> chaos.Stage:
    """A stage that has run unbroken."""
    return chaos.Stage(request.param, tmp_path_factory.mktemp(request.param), None, nodes)


@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_whoever_is_killed_the_same_command_ends_with_the_same_results(stage, victim):
    random.seed(0)
    row = stage.killed(victim)
    assert not row["different"]
    assert not row["traceback"]


def training(stage: chaos.Stage) -> Path | None:
    """The directory of the training, once it has a checkpoint."""
    found = list((stage.out / "train").glob("*/checkpoints/epoch_*.pt"))
    return found[0].parents[1] if found else None


@pytest.mark.parametrize("stage", ["train"], indirect=True)
def test_workers_become_fewer_when_a_node_is_lost_and_take_the_steps_of_one(stage):
    expected, alone = read_metrics(next((stage.out / "train").iterdir())), bundle.load(stage.out / "bundle")
    command = stage.command("train.workers={min: 1, max: 2}")
    while not (directory := training(stage)):
        assert command.poll() is None, stage.log.read_text()
        time.sleep(0.02)
    stage.cluster.kill(stage.cluster.nodes[-1])
    command.wait(chaos.MOST)
    assert command.returncode == 0, stage.log.read_text()
    rows, made = read_metrics(directory), bundle.load(stage.out / "bundle")
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row["train/loss"] == pytest.approx(other["train/loss"], abs=TOLERANCE)
    for name, value in alone.network.state_dict().items():
        torch.testing.assert_close(made.network.state_dict()[name], value, rtol=0, atol=WEIGHTS)
