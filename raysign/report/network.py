"""What a recogniser's network is made of, and what it costs on this machine: operations, memory, time."""

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from raysign.config import Config
from raysign.kinds import kind_module
from raysign.learn import transfer
from raysign.learn.labels import Labels
from raysign.learn.recogniser import Recogniser, build
from raysign.skeleton import Skeleton

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # x (B, 1, T, V, C), frames (B,), persons (B,)


@dataclass(frozen=True)
class Layer:
    """A module with weights of its own: its place, class, the shape of what it last gave ("" if not called), size."""

    name: str
    kind: str
    shape: str
    parameters: int


@dataclass(frozen=True)
class Summary:
    """flops: of one clip, forwards, a multiplication and an addition counting 2. weights, activations: bytes, the
    latter of a training step of the batch, measured as `how` says. latency: seconds of one clip. speed: clips a second
    in batches.
    """

    title: str
    layers: list[Layer]
    parameters: int
    trainable: int
    flops: int
    weights: int
    activations: int
    how: str
    latency: float
    speed: float
    device: str
    batch: int


def measure(
    config: Config, skeleton: Skeleton, channels: tuple[str, ...], frames: int, batch: int, glosses: int
) -> Summary:
    """Of an untrained network for clips of one person, all of as many frames, on a GPU when there is one."""
    labels = Labels([f"class_{i}" for i in range(glosses)], ["category_0", "category_1"])
    network = build(config, skeleton, channels, labels)
    transfer.freeze(network, config.train.freeze)
    one, many = (clips(size, frames, skeleton, channels) for size in (1, batch))
    told = targets(config, labels, batch)
    rows, flops = layers(network, one), operations(network, one)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network, one, many, told = network.to(device), on(one, device), on(many, device), told.to(device)
    activations, how = step_memory(network, many, told)
    network.eval()
    with torch.inference_mode():
        latency, together = seconds(lambda: network(*one), device), seconds(lambda: network(*many), device)
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    points = f"{skeleton.points} point{'s' * (skeleton.points != 1)} of {len(channels)} channels ({skeleton.name})"
    return Summary(
        f"{config.model.kind} and {config.task.kind} for {frames} frames (--frames) and {glosses} glosses (--glosses), "
        f"{points}", rows,
        sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained), flops,
        sum(value.nbytes for value in network.state_dict().values()), activations, how, latency, batch / together,
        named(device), batch,
    )  # fmt: skip


def render(found: Summary) -> str:
    """The summary as lines of text."""
    wide = max(len(layer.name) for layer in found.layers)
    lines = [found.title, f"{'layer':{wide}} {'kind':18} {'output':>22} {'parameters':>12}"]
    lines += [f"{x.name:{wide}} {x.kind:18} {x.shape:>22} {x.parameters:>12,}" for x in found.layers]
    memory = f"{found.weights / 2**20:,.1f} MiB of weights, {found.activations / 2**20:,.1f} MiB for a training step"
    speed = f"{found.latency * 1e3:,.1f} ms for one clip, {found.speed:,.1f} clips/s in batches of {found.batch}"
    return "\n".join([
        *lines,
        f"parameters:  {found.parameters:,}, of which {found.trainable:,} are trained",
        f"operations:  {found.flops / 1e9:,.3f} GFLOP a clip, in matrix products and convolutions",
        f"memory:      {memory} of {found.batch} clips ({found.how})",
        f"speed:       {speed} ({found.device})",
    ])  # fmt: skip


# ---------------------------------------------------------------- what goes in


def clips(count: int, frames: int, skeleton: Skeleton, channels: tuple[str, ...]) -> Inputs:
    """Clips of random numbers, all of one person and as many frames."""
    x = torch.randn(count, 1, frames, skeleton.points, len(channels), generator=torch.Generator().manual_seed(0))
    return x, torch.full((count,), frames), torch.ones(count, dtype=torch.int64)


def targets(config: Config, labels: Labels, count: int) -> torch.Tensor:
    """What the task wants of clips, of one gloss after the other."""
    turns = range(count)
    table = pa.table({
        "gloss": [[labels.glosses[i % len(labels.glosses)]] for i in turns],
        "category": [labels.categories[i % len(labels.categories)] for i in turns],
    })  # fmt: skip
    return kind_module("task", config.task.kind).targets(table, labels)


def on(tensors: Inputs, device: torch.device) -> Inputs:
    """The same on another device."""
    x, frames, persons = tensors
    return x.to(device), frames.to(device), persons.to(device)


# ---------------------------------------------------------------- what is measured


@torch.no_grad()
def layers(network: Recogniser, inputs: Inputs) -> list[Layer]:
    """The modules that have weights of their own, in their order."""
    shapes: dict[str, str] = {}

    def noting(name: str) -> Callable:
        def note(_module: nn.Module, _inputs: tuple, output: object) -> None:
            shapes[name] = _shape(output)

        return note

    hooks = [module.register_forward_hook(noting(name)) for name, module in network.named_modules()]
    network.eval()(*inputs)
    for hook in hooks:
        hook.remove()
    own = {name: sum(p.numel() for p in module.parameters(recurse=False)) for name, module in network.named_modules()}
    kinds = {name: type(module).__name__ for name, module in network.named_modules()}
    return [Layer(name, kinds[name], shapes.get(name, ""), size) for name, size in own.items() if size]


def _shape(output: object) -> str:
    """Of a tensor, or of the first one of several."""
    while isinstance(output, tuple | list) and output:
        output = output[0]
    output = getattr(output, "data", output)  # a packed sequence has the numbers of all its frames
    return " x ".join(map(str, output.shape)) if isinstance(output, torch.Tensor) else ""


def operations(network: nn.Module, inputs: Inputs) -> int:
    """Floating-point operations of matrix products and convolutions, forwards; a training step has three times as many.

    Counted on the CPU, without the fused recurrences that hide theirs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of Intel GPUs that are not there
        off = torch.backends.mkldnn.flags(enabled=False)
        with off, torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.eval()(*inputs)
    return counter.get_total_flops()


def step_memory(network: Recogniser, inputs: Inputs, told: torch.Tensor) -> tuple[int, str]:
    """Bytes that a training step needs beside weights and gradients, and how they were measured."""
    device = inputs[0].device
    weights = {p.untyped_storage().data_ptr() for p in [*network.parameters(), *network.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}  # held until the end, so that no address is counted twice or missed

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return value

    def step() -> None:
        network.task.loss(network.train()(*inputs), told).mean().backward()

    step()  # gradients are there from now on
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        found, how = torch.cuda.max_memory_allocated(device) - before, "peak on the GPU"
    else:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            step()
        found, how = sum(storage.nbytes() for storage in kept.values()), "tensors kept for the way back"
    network.zero_grad()
    return found, how


def seconds(work: Callable[[], object], device: torch.device, least: float = 1.0, most: int = 20) -> float:
    """Median time of a call, of as many as fit into `least` seconds, at least 3 and at most `most`, after a first."""
    times: list[float] = []
    work()
    while len(times) < 3 or (sum(times) < least and len(times) < most):
        times.append(timed(work, device))
    return statistics.median(times)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, until the GPU is done with it."""
    _synchronise(device)
    began = time.perf_counter()
    work()
    _synchronise(device)
    return time.perf_counter() - began


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def named(device: torch.device) -> str:
    """What computes: the GPU's name, or how many threads of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
