"""Every model with every task, and every way to train, takes the same steps on one worker and on two."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_clips import TRAININGS, write

from raysign.kinds import kinds
from raysign.learn.history import read_metrics

WORK = """
import json
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from made_clips import TRAININGS, settings
from raysign import store
from raysign.clips.batch import Resident, listing
from raysign.kinds import kind_module, kinds
from raysign.learn import distribute, loop, recogniser
from raysign.learn.labels import of_card
from raysign.models._layers import over_workers
from raysign.skeleton import of_dict

class Silent:
    def report(self, metrics, saved): pass

def step(config):
    "Loss and norm of the gradient of one batch of all clips, in double precision."
    card, found = store.read_card(home / "clips"), listing(home / "clips", "train")
    labels = of_card(card)
    torch.manual_seed(0)
    network = recogniser.build(config, of_dict(card["skeleton"]), tuple(card["channels"]), labels).double()
    batch = next(Resident(found, torch.device("cpu")).batches(len(found), seed=0, rank=rank, world=world))
    targets = kind_module("task", config.task.kind).targets(found.table, labels)[batch.rows]
    loss = network.task.loss(network(batch.x.double(), batch.frames, batch.persons), targets).sum() / batch.total
    loss.backward()
    loop._sum_gradients(network)
    norm = torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm()
    return [over_workers(loss.detach()).item(), norm.item()]

home, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
if world > 1:
    dist.init_process_group("gloo", init_method=f"file://{home}/meet", rank=rank, world_size=world)
exact = {}
for kind in kinds("model"):
    for task in kinds("task"):
        directory = home / f"{kind}-{task}-{world}"
        directory.mkdir(exist_ok=True)
        config = settings(home, f"model={{kind: {kind}}}", f"task.kind={task}", "train.epochs=2", "train.lr=1e-4")
        distribute.work(config, home / "clips", directory, Silent(), torch.device("cpu"))
        exact[f"{kind}-{task}"] = step(config)
(home / f"exact-{rank}-{world}.json").write_text(json.dumps(exact))
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


@pytest.mark.parametrize("name", NAMES)
def test_two_workers_have_the_gradient_of_one_but_for_rounding(home, name):
    (loss, norm), *others = (
        json.loads((home / f"exact-{run}.json").read_text())[name] for run in ("0-1", "0-2", "1-2")
    )
    assert norm > 0
    for other in others:
        assert other == pytest.approx([loss, norm], rel=1e-6)


@pytest.mark.parametrize("name", [*NAMES, *TRAININGS])
def test_two_workers_take_the_steps_of_one(home, name):
    one, two = (read_metrics(home / f"{name}-{world}") for world in (1, 2))
    assert len(one) == len(two) > 1
    for before, after in zip(one, two, strict=True):
        for figure in ("train/loss", "train/lr", "val/loss"):
            assert after[figure] == pytest.approx(before[figure], rel=2e-3), figure
        # its last digits follow from the order of sums, and a maximum over time may then choose another frame
        assert after["train/grad_norm"] == pytest.approx(before["train/grad_norm"], rel=2e-2)
