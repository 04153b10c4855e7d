"""From what CTC tells of each frame to glosses. Log-probabilities are natural logarithms; the blank is at 0.

A path says one symbol a frame; it stands for the sequence that is left when repetitions are merged and blanks struck
out (Graves et al., ICML 2006). The probability of a sequence is the sum over its paths.
"""

from collections import defaultdict

import numpy as np
import torch

Sequence = tuple[int, ...]


def greedy(logits: torch.Tensor) -> list[Sequence]:
    """What the likeliest path of each clip stands for: logits (B, T, K+1) -> B sequences of symbols from 1."""
    best = logits.argmax(2)
    kept = best.ne(0)
    kept[:, 1:] &= best[:, 1:] != best[:, :-1]
    return [tuple(path[keep].tolist()) for path, keep in zip(best.cpu(), kept.cpu(), strict=True)]


def beam(frames: np.ndarray, width: int) -> list[tuple[Sequence, float]]:
    """The likeliest sequences of one clip and their log-probabilities, likeliest first: frames (T, K+1) float.

    Prefix beam search (Hannun et al. 2014, arXiv:1408.2873): prefixes and not paths compete, so all paths that stand
    for the same prefix are summed. `width` prefixes survive each frame, to which its `width` likeliest glosses may be
    added; with width >= the number of all sequences nothing is left out and the log-probabilities are exact.
    """
    alive: dict[Sequence, tuple[float, float]] = {(): (0.0, -np.inf)}  # paths ending in a blank, in the last gloss
    for frame in frames.astype(np.float64):
        grown: dict[Sequence, list[float]] = defaultdict(lambda: [-np.inf, -np.inf])
        likeliest = (np.argsort(-frame[1:], kind="stable")[:width] + 1).tolist()
        for prefix, (blank, gloss) in alive.items():
            whole = np.logaddexp(blank, gloss)
            _add(grown[prefix], 0, whole + frame[0])
            if prefix:
                _add(grown[prefix], 1, gloss + frame[prefix[-1]])
            for symbol in likeliest:  # the same gloss again is another one only after a blank
                before = blank if prefix and symbol == prefix[-1] else whole
                _add(grown[(*prefix, symbol)], 1, before + frame[symbol])
        best = sorted(grown.items(), key=lambda item: -np.logaddexp(item[1][0], item[1][1]))[:width]
        alive = {prefix: (blank, gloss) for prefix, (blank, gloss) in best}
    return [(prefix, float(np.logaddexp(blank, gloss))) for prefix, (blank, gloss) in alive.items()]


def _add(ends: list[float], place: int, value: float) -> None:
    ends[place] = np.logaddexp(ends[place], value)


def single(logits: torch.Tensor) -> torch.Tensor:
    """Log-probability of each sequence of one gloss: logits (B, T, K+1) -> (B, K) float64.

    The forward recursion over blanks, the gloss, blanks, for all glosses at once.
    """
    frames = logits.double().unbind(1)
    none = torch.full_like(frames[0][:, 1:], -torch.inf)
    before, during, after = torch.zeros_like(none[:, :1]), none, none
    for frame in frames:
        blank, gloss = frame[:, :1], frame[:, 1:]
        after = torch.logaddexp(after, during) + blank
        during = torch.logaddexp(during, before.expand_as(during)) + gloss
        before = before + blank
    return torch.logaddexp(during, after)
