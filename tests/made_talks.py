"""Long clips of which it is known what is signed when: clips one after the other, with rest between."""

import numpy as np

from raysign.schema import Landmarks


def talk(clips: list[Landmarks], rests: list[float], seed: int = 0) -> tuple[Landmarks, list[tuple[float, float]]]:
    """One clip of clips of one signer, and start and end of each in seconds; rests: seconds before each and at the end.

    At rest a signer stands as in the first frame of what follows, but for the jitter of a detector, hands out of view.
    """
    rng, values, visibility, truth, at = np.random.default_rng(seed), [], [], [], 0
    fps = clips[0].fps
    for clip, seconds in zip([*clips, clips[-1]], rests, strict=True):
        still = round(seconds * fps)
        first = clip.values[:, :1].repeat(still, axis=1)
        first[:, :, [15, 16, *range(first.shape[2] - 42, first.shape[2])]] = np.nan  # wrists and hands
        values.append(first + rng.normal(0, 0.0015, first.shape).astype(np.float32))
        visibility.append(clip.visibility[:, :1].repeat(still, axis=1))
        at += still
        if len(truth) < len(clips):
            values.append(clip.values)
            visibility.append(clip.visibility)
            truth.append((at / fps, (at + clip.values.shape[1]) / fps))
            at += clip.values.shape[1]
    about = {"layout": clips[0].layout, "fps": fps, "width": clips[0].width, "height": clips[0].height}
    return Landmarks(np.concatenate(values, 1), np.concatenate(visibility, 1), **about), truth


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Temporal intersection over union of two stretches."""
    both = min(a[1], b[1]) - max(a[0], b[0])
    return max(both, 0.0) / (max(a[1], b[1]) - min(a[0], b[0]))


def matched(found: list[dict], truth: list[tuple[float, float]]) -> list[tuple[float, str | None]]:
    """For each true stretch how far the best of the segments overlaps it, and that one's gloss."""
    rows = []
    for one in truth:
        best = max(found, key=lambda segment: overlap((segment["start"], segment["end"]), one), default=None)
        rows.append((overlap((best["start"], best["end"]), one), best["gloss"]) if best else (0.0, None))
    return rows
