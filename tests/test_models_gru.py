"""The GRU of the FSL-105 system: its size, its published names, and that it reads a clip to its own last frame."""

import torch

from raysign import config
from raysign.clips.recipes import stored_features
from raysign.learn import imported
from raysign.learn.labels import Labels
from raysign.learn.recogniser import Recogniser, build
from raysign.skeleton import LAYOUTS, Skeleton

LABELS = Labels([f"sign{i}" for i in range(105)], [f"kind{i}" for i in range(10)])
PUBLISHED = [
    *(f"gru{n}.{of}_{side}_l0" for n in (1, 2) for of in ("weight", "bias") for side in ("ih", "hh")),
    *(f"{head}_head.{of}" for head in ("gloss", "category") for of in ("weight", "bias")),
    "feat_extractor.backbone.Conv2d_1a_3x3.conv.weight",
]


def network(skeleton: Skeleton, channels: tuple[str, ...]) -> Recogniser:
    torch.manual_seed(0)
    settings = ["source.kind=synthetic", "model.kind=gru", "task={kind: two_heads, hidden: [], dropout: 0.3}"]
    return build(config.load(settings), skeleton, channels, LABELS)


def test_it_has_the_published_weights_and_no_others():
    options = stored_features.Options.model_validate({})
    net = network(stored_features.skeleton(options, "pose_33"), stored_features.channels(options, "pose_33"))
    assert sum(p.numel() for p in net.parameters()) == 101_743
    told = config.load(["source.kind=synthetic", "model.kind=gru"])
    names = [imported.renamed(name, told) for name in PUBLISHED]
    assert sorted(name for name in names if name) == sorted(net.state_dict())


def test_the_state_after_the_last_real_frame_is_that_of_each_clip_read_alone():
    encoder = network(LAYOUTS["hands_42"], ("x", "y", "visibility")).eval().encoder
    first, second = torch.nn.GRU(84, 16), torch.nn.GRU(16, 12)
    first.load_state_dict(encoder.gru1.state_dict())
    second.load_state_dict(encoder.gru2.state_dict())
    x, lengths = torch.randn(4, 9, 42, 2), [3, 9, 1, 6]
    h, real = encoder(x, torch.arange(9) < torch.tensor(lengths)[:, None])
    assert real.tolist() == [[True]] * 4
    for row, clip, frames in zip(h, x, lengths, strict=True):
        assert torch.allclose(row[0], second(first(clip[:frames].flatten(1))[0])[0][-1], atol=1e-6)


def test_a_clip_without_any_frame_gives_numbers_that_do_not_count():
    encoder = network(LAYOUTS["hands_42"], ("x", "y", "visibility")).eval().encoder
    h, real = encoder(torch.randn(2, 5, 42, 2), torch.tensor([[True] * 5, [False] * 5]))
    assert h.isfinite().all()
    assert real.tolist() == [[True], [False]]
