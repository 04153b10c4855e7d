"""Every model with every task, and every way to train, takes the same steps on one worker and on two."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_clips import TRAININGS, write

from raysign.kinds import kinds
from raysign.learn.history import read_metrics

WORK = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from made_clips import TRAININGS, settings
from raysign.kinds import kinds
from raysign.learn import distribute

class Silent:
    def report(self, metrics, saved): pass

home, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
if world > 1:
    dist.init_process_group("gloo", init_method=f"file://{home}/meet", rank=rank, world_size=world)
for kind in kinds("model"):
    for task in kinds("task"):
        directory = home / f"{kind}-{task}-{world}"
        directory.mkdir(exist_ok=True)
        config = settings(home, f"model={{kind: {kind}}}", f"task.kind={task}", "train.epochs=2", "train.lr=1e-4")
        distribute.work(config, home / "clips", directory, Silent(), torch.device("cpu"))
for name, told in TRAININGS.items():
    directory = home / f"{name}-{world}"
    directory.mkdir(exist_ok=True)
    distribute.work(settings(home, *told), home / "clips", directory, Silent(), torch.device("cpu"))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Where one worker and then two have trained every model with every task."""
    place = tmp_path_factory.mktemp("workers")
    write(place / "clips", train=3, val=2)
    for world in (1, 2):
        command = [sys.executable, "-c", WORK, str(place)]
        ranks = [
            subprocess.Popen([*command, str(rank), str(world)], cwd=Path(__file__).parent, stderr=subprocess.PIPE)
            for rank in range(world)
        ]
        for process in ranks:
            _, errors = process.communicate()
            assert process.returncode == 0, errors.decode()[-3000:]
    return place


NAMES = [f"{kind}-{task}" for kind in kinds("model") for task in kinds("task")]


@pytest.mark.parametrize("name", [*NAMES, *TRAININGS])
def test_two_workers_take_the_steps_of_one(home, name):
    one, two = (read_metrics(home / f"{name}-{world}") for world in (1, 2))
    assert len(one) == len(two) > 1
    for before, after in zip(one, two, strict=True):
        for figure in ("train/loss", "train/lr", "val/loss"):
            assert after[figure] == pytest.approx(before[figure], rel=2e-3), figure
        # its last digits follow from the order of sums, and a maximum over time may then choose another frame
        assert after["train/grad_norm"] == pytest.approx(before["train/grad_norm"], rel=2e-2)
