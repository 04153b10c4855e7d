"""How fast the models train and answer: each kind against what the machine can do, ST-GCN against its original.

The original is the published arrangement of the same arithmetic with the same weights in the same process; that both
compute the same is checked before any time is taken, and rounds alternate. The peak is what large float32 matrix
products reach just before each kind; operations are those of matrix products and convolutions.
"""

import json

import torch
from pydantic import PositiveInt

from raysign import config, skeleton
from raysign.bench import some_of
from raysign.bench._original import TARGETS, against_original, step
from raysign.kinds import kinds as known_kinds
from raysign.learn import recogniser
from raysign.learn.labels import Labels
from raysign.report import network as costs

CHANNELS = ("x", "y", "z", "visibility")
LABELS = Labels([f"sign{i:02d}" for i in range(60)], ["one", "two"])


def run(
    kinds: tuple[str, ...] = ("all",), layout: str = "ntu_25", frames: PositiveInt = 100, batch: PositiveInt = 16,
    threads: PositiveInt | None = None, rounds: PositiveInt = 3,
) -> dict:  # fmt: skip
    """Print a table and, as the last line, one JSON object; return it.

    kinds: of models, or `all` there are. layout, frames, batch: of the clips. threads: of torch; None leaves them.
    rounds: of either side. Runs on a GPU when there is one.
    """
    chosen = some_of("kinds", kinds, known_kinds("model"))
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        return _measured(chosen, skeleton.layout(layout), frames, batch, rounds)
    finally:
        torch.set_num_threads(before)


def _measured(chosen: tuple[str, ...], points: skeleton.Skeleton, frames: int, batch: int, rounds: int) -> dict:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs = costs.on(costs.clips(batch, frames, points, CHANNELS), device)
    peaks, models = [], {}
    print(f"{'':26}{'training, clips/s':>18}{'of peak':>9}{'answers, clips/s':>18}{'of peak':>9}")
    for kind in chosen:
        peaks.append(matmul_peak(device))  # anew for each, as the machine may have become busier
        models[kind] = row = _kind(kind, points, inputs, peaks[-1], rounds)
        print(
            f"{kind:26}{row['train_clips_per_second']:>18}{row['train_of_peak']:>9.1%}"
            f"{row['infer_clips_per_second']:>18}{row['infer_of_peak']:>9.1%}"
        )
    ratios = against_original(points, CHANNELS, LABELS, inputs, rounds) if "st_gcn" in chosen else {}
    for name, value in ratios.items():
        wanted = f" (wanted: at least {TARGETS[name]})" if name in TARGETS else ""
        print(f"{'st_gcn, original: ' + name + wanted:62}{value:>18}")
    found = {
        "models": models, "st_gcn": ratios, "peak_gflops": round(max(peaks) / 1e9, 1), "layout": points.name,
        "frames": frames, "batch": batch, "device": costs.named(device),
    }  # fmt: skip
    print(f"{'float32 matrix products, GFLOP/s':62}{found['peak_gflops']:>18}")
    print(json.dumps(found))
    return found


def matmul_peak(device: torch.device, size: int = 2048) -> float:
    """Floating-point operations a second of the best of some square float32 matrix products."""
    a = torch.randn(size, size, device=device)
    return 2 * size**3 / min(costs.seconds(lambda: a @ a, device, least=0.3) for _ in range(3))


# ---------------------------------------------------------------- each kind


def _kind(kind: str, points: skeleton.Skeleton, inputs: costs.Inputs, peak: float, rounds: int) -> dict:
    """Clips a second of a model with a head of one linear layer, and the share of the peak that is computed at."""
    settings = config.load(["source.kind=synthetic", f"model.kind={kind}"])
    network, batch, device = recogniser.build(settings, points, CHANNELS, LABELS), len(inputs[0]), inputs[0].device
    told = costs.targets(settings, LABELS, batch)
    one = costs.clips(1, inputs[0].shape[2], points, CHANNELS)
    # the way back takes each product twice; torch's own count of it is wrong for grouped convolutions
    forwards, both = (times * costs.operations(network, one) for times in (1, 3))
    network, told = network.to(device), told.to(device)
    work = step(network.train(), inputs, lambda logits: network.task.loss(logits, told).mean())
    train = costs.seconds(work, device, most=rounds)
    with torch.inference_mode():
        network.eval()
        infer = costs.seconds(lambda: network(*inputs), device, most=rounds)
    return {
        "train_clips_per_second": round(batch / train, 1), "train_of_peak": round(both * batch / train / peak, 3),
        "infer_clips_per_second": round(batch / infer, 1), "infer_of_peak": round(forwards * batch / infer / peak, 3),
        "parameters": sum(p.numel() for p in network.parameters()), "gflop_a_clip": round(forwards / 1e9, 3),
    }  # fmt: skip
