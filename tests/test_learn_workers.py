"""Every model with every task takes the same steps on one worker and on two, dropout and all."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_clips import write

from raysign.kinds import kinds
from raysign.learn import loop

WORK = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from made_clips import settings
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


@pytest.mark.parametrize("kind", kinds("model"))
@pytest.mark.parametrize("task", kinds("task"))
def test_two_workers_take_the_steps_of_one(home, kind, task):
    one, two = (loop.read_metrics(home / f"{kind}-{task}-{world}") for world in (1, 2))
    assert len(one) == len(two) == 2
    for before, after in zip(one, two, strict=True):
        for name in ("train/loss", "train/grad_norm", "val/loss"):
            assert after[name] == pytest.approx(before[name], rel=2e-3), name
