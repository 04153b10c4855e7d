"""ST-GCN in the arrangement that it was published in, and how many times as fast ours is."""

import copy
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from raysign import config
from raysign.errors import RaysignError
from raysign.learn import recogniser
from raysign.learn.labels import Labels
from raysign.models._layers import MaskedBatchNorm
from raysign.report import network as costs
from raysign.skeleton import Skeleton

TARGETS = {"float32": 1.0, "cpu_bf16": 1.6, "cuda_bf16_compiled": 2.0}
SAME = 1e-4  # largest difference of logits, relative to the largest logit
FAST_BF16 = ("avx512_bf16", "amx_bf16")  # flags of CPUs that compute in bfloat16
Side = tuple[nn.Module, tuple[torch.Tensor, ...]]  # a network that gives logits (N, K), and what it is given


class Original(nn.Module):
    """(N, T, V, C) -> logits (N, K), with the weights of an encoder of the kind st_gcn and of a linear head.

    Features are mixed for each kind of neighbour first and then carried along the graph, in (N, C, T, V), as by Yan,
    Xiong and Lin (2018); all frames count as real. The encoder's own modules hold the weights.
    """

    def __init__(self, encoder: Any, head: nn.Linear):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        persons, frames, points, channels = x.shape
        h = x.permute(0, 2, 3, 1).reshape(persons, points * channels, frames)
        h = self._norm(h, self.encoder.data_bn).view(persons, points, channels, frames).permute(0, 2, 3, 1).contiguous()
        for i, block in enumerate(self.encoder.st_gcn_networks):
            h = self._block(h, block, self.encoder.A * self.encoder.edge_importance[i], first=i == 0)
        return self.head(h.mean((2, 3)))

    def _block(self, h: torch.Tensor, block: Any, graph: torch.Tensor, *, first: bool) -> torch.Tensor:
        mixed = _convolved(h, block.gcn["conv"]).view(len(h), len(graph), -1, *h.shape[2:])
        gathered = torch.einsum("nkctv,kvw->nctw", mixed, graph).contiguous()
        along = block.tcn["2"]
        out = self._norm(_convolved(F.relu(self._norm(gathered, block.tcn["0"]), inplace=True), along), block.tcn["3"])
        if first:
            return F.relu(out, inplace=True)
        if len(block.residual):
            h = self._norm(_convolved(h, block.residual["0"], along.stride), block.residual["1"])
        return F.relu(out + h, inplace=True)

    def _norm(self, h: torch.Tensor, norm: Any) -> torch.Tensor:
        running = norm.running_mean, norm.running_var
        return F.batch_norm(h, *running, norm.weight, norm.bias, self.training, norm.momentum, norm.eps)


def _convolved(h: torch.Tensor, layer: Any, stride: tuple[int, int] | None = None) -> torch.Tensor:
    return F.conv2d(h, layer.weight, layer.bias, stride or layer.stride, layer.padding)


# ---------------------------------------------------------------- against ours


def against_original(
    points: Skeleton, channels: tuple[str, ...], labels: Labels, inputs: costs.Inputs, rounds: int
) -> dict:
    """How many times as fast as the original, which computes in float32; RaysignError when it gives other logits.

    In float32, and in bfloat16 where the machine computes in it (on a GPU compiled as well).
    """
    words = ["model.kind=st_gcn", "model.dropout=0", "task.pool=mean", "task.dropout=0"]
    ours = recogniser.build(config.load(["source.kind=synthetic", *words]), points, channels, labels)
    ours, device = ours.to(inputs[0].device), inputs[0].device
    settle(ours, inputs)
    theirs = Original(copy.deepcopy(ours.encoder), copy.deepcopy(ours.task.head[-1]))
    clips = inputs[0][:, 0]
    original = theirs, (clips if ours.inputs is None else clips[..., ours.inputs],)
    found: dict = {"difference": float(f"{unlike((ours, inputs), original):.1e}")}
    if found["difference"] > SAME:
        raise RaysignError(f"st_gcn: found logits {found['difference']} from the original's, expected at most {SAME}")
    found |= _ratios("float32", (ours, inputs), original, rounds)
    if device.type == "cuda":
        found |= _in_bf16("cuda_bf16_compiled", (torch.compile(ours), inputs), original, rounds)  # pyright: ignore
    elif fast_bf16():
        found |= _in_bf16("cpu_bf16", (ours, inputs), original, rounds)
    else:
        found["cpu_bf16"] = "not on this CPU"
    return found


@torch.no_grad()
def settle(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Let the batch norms know what comes through them, as after a training: else nothing is told apart."""
    norms = [module for module in network.modules() if isinstance(module, MaskedBatchNorm)]
    rates = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(*inputs)
    for norm, rate in zip(norms, rates, strict=True):
        norm.momentum = rate


@torch.no_grad()
def unlike(one: Side, other: Side) -> float:
    """Largest difference of the logits of two sides, answering and training, relative to the largest logit."""
    found = []
    for training in (False, True):
        a, b = (network.train(training)(*given) for network, given in (one, other))
        found.append(float((a - b).abs().max() / b.abs().max()))
    return max(found)


class Bf16(nn.Module):
    """A network that computes in bfloat16 where that is safe, as with train.amp=bf16. Logits are float32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            return self.network(*inputs).float()


def _in_bf16(name: str, ours: Side, original: Side, rounds: int) -> dict:
    """The ratios in bfloat16, the largest difference of a probability and the share of clips told the same."""
    fast = Bf16(ours[0]), ours[1]
    with torch.inference_mode():
        a, b = (torch.softmax(network.eval()(*given), 1) for network, given in (fast, original))
    same = float((a.argmax(1) == b.argmax(1)).float().mean())
    told = {f"{name}_difference": round(float((a - b).abs().max()), 5), f"{name}_same": round(same, 3)}
    return _ratios(name, fast, original, rounds) | told


def _ratios(name: str, ours: Side, original: Side, rounds: int) -> dict:
    """The original's time by ours, of training and of answering."""
    clips = ours[1][0]
    told = torch.zeros(len(clips), dtype=torch.int64, device=clips.device)
    steps = [step(net.train(), given, lambda logits: F.cross_entropy(logits, told)) for net, given in (ours, original)]
    training = _ratio(steps, clips.device, rounds)
    for network, _ in (ours, original):
        network.eval()
    with torch.inference_mode():
        answers = [partial(network, *given) for network, given in (ours, original)]
        return {name: training, f"{name}_answers": _ratio(answers, clips.device, rounds)}


def _ratio(works: list[Callable], device: torch.device, rounds: int) -> float:
    """The second one's time by the first one's: the median of the rounds, each of both one after the other."""
    for work in works:
        work()
    rows = [[costs.timed(work, device) for work in works] for _ in range(rounds)]
    return round(statistics.median(theirs / ours for ours, theirs in rows), 3)


def step(network: nn.Module, inputs: tuple[torch.Tensor, ...], loss: Callable) -> Callable[[], None]:
    """A step of training, without Ray and augmentation. loss: of the logits, one number."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)

    def taken() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(network(*inputs)).backward()
        optimizer.step()

    return taken


def fast_bf16() -> bool:
    """Whether this CPU computes in bfloat16, rather than going to float32 and back."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return not set(flags).isdisjoint(FAST_BF16)
