"""A sequence of glosses for a clip, with no word on when each is signed: connectionist temporal classification
(Graves et al., ICML 2006).

Logits are the log-probabilities (B, T, K+1) of the blank, at 0, and of the glosses, from 1 on. A frame that is not
real is told as certainly blank. Blanks are struck out of a sequence, so such frames multiply the probability of each
path by one and add none: what is computed over all T frames is that of the real ones, and one tensor says it all.

Against blank collapse, a network that says blank everywhere, the loss has a term of its own: the mean probability of
the blank over a clip's real frames, as far as it is above `blank_target`. (A share of frames whose likeliest symbol is
the blank, as often taken, has no gradient.)
"""

import logging
from typing import ClassVar, Literal

import pyarrow as pa
import torch
from pydantic import Field
from torch import nn

from raysign.errors import TrainError, some
from raysign.kinds import Section
from raysign.learn.labels import Labels
from raysign.learn.tasks import _decoding
from raysign.models._layers import RowDropout

log = logging.getLogger(__name__)
NEVER = -1e4  # log-probability of a gloss in a frame that is not real: finite, and its exponential is 0
MOST = 0.5  # share of clips
COLLAPSED = 0.98  # share of blank frames and of clips without a gloss beyond which nothing is being learnt
PATIENCE = 10  # epochs of it in a row; a healthy training has some at its beginning


class Options(Section):
    """The head, its loss and how sequences are read out of it."""

    kind: Literal["ctc"] = "ctc"
    dropout: float = Field(0.0, ge=0, lt=1, description="share of features struck out before the head")
    blank_weight: float = Field(0.1, ge=0, description="weight of the term against blank collapse; 0: none")
    blank_target: float = Field(0.0, ge=0, lt=1, description="mean probability of the blank that costs nothing")
    decoder: Literal["beam", "greedy"] = Field(
        "beam", description="how answers are read: the likeliest sequence, or that of the likeliest path"
    )
    beam_width: int = Field(10, ge=1, description="sequences that the beam search follows")


class Task(nn.Module):
    """h (B, T, D) and mask (B, T) of an encoder -> logits (B, T, K+1)."""

    METRICS = ("loss", "top1", "wer", "blank", "silent", "short")
    LOWER = ("wer", "blank", "silent", "short")
    PER: ClassVar = {"wer": "glosses"}
    OUTPUTS: ClassVar = {
        "log_probabilities": "(batch, frames, 1 + glosses): natural logarithms, of no gloss at 0, of the glosses from "
        "1 on in the order of the labels; a clip's frames may be fewer than were given, and those beyond its end say "
        "no gloss; the likeliest of each frame, repetitions merged and 0 struck out, is the sentence"
    }

    def __init__(self, options: Options, width: int, labels: Labels):
        super().__init__()
        self.options, self.glosses, self.collapsed = options, labels.glosses, 0
        self.dropout = RowDropout(options.dropout)
        self.head = nn.Linear(width, len(labels.glosses) + 1)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        told = torch.log_softmax(self.head(self.dropout(h)).float(), dim=2)
        blank = torch.full_like(told, NEVER)
        blank[..., 0] = 0.0
        return torch.where(mask.unsqueeze(-1), told, blank)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Of each clip, the negative log-likelihood of its sequence for each gloss of it, and the term against blanks:
        logits (B, T, K+1), targets (B, L) as `targets` makes them -> (B,).

        0 for the likelihood of a clip with too few frames for its glosses (see the metric `short`).
        """
        real = _real(logits)
        blank = (logits[..., 0].exp() * real).sum(1) / real.sum(1).clamp(min=1)
        over = torch.relu(blank - self.options.blank_target)
        return _likelihood(logits, targets) + self.options.blank_weight * over

    def sums(self, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """What each clip adds to the metrics, each (B,) float32. Sequences are decoded greedily here, which is fast.

        loss: without the term against blanks. top1: whether its sequence is right. wer: insertions, deletions and
        substitutions, to be divided by `glosses`, the number of its glosses. blank: share of its real frames whose
        likeliest symbol is the blank. silent: whether no gloss is told. short: whether it has too few frames for its
        glosses.
        """
        from rapidfuzz.distance import Levenshtein  # late: where bundles only answer there is none

        found, wanted = _decoding.greedy(logits), [tuple(filter(None, row)) for row in targets.tolist()]
        edits = [Levenshtein.distance(a, b) for a, b in zip(found, wanted, strict=True)]
        real = _real(logits)
        as_tensor = torch.tensor(
            [(not n, n, len(w), not f) for n, w, f in zip(edits, wanted, found, strict=True)],
            dtype=torch.float32, device=logits.device,
        ).view(-1, 4)  # fmt: skip
        return {
            "loss": _likelihood(logits, targets),
            **dict(zip(("top1", "wer", "glosses", "silent"), as_tensor.unbind(1), strict=True)),
            "blank": _blanks(logits),
            "short": (real.sum(1) < _least(targets)).float(),
        }

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, K) float64: which gloss it is, given that the clip holds exactly one."""
        return torch.softmax(_decoding.single(logits), dim=1)

    @staticmethod
    def outputs(logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, T, K+1) float32: the search for the likeliest sequence is its reader's."""
        return (logits,)

    def told(self, logits: torch.Tensor) -> list[dict]:
        """The glosses of each clip, as `decoded`; none when the blank is the likeliest. The share of its real frames
        whose likeliest symbol is the blank, as `blank`.
        """
        if self.options.decoder == "greedy":
            found = _decoding.greedy(logits)
        else:
            clips = zip(logits, _real(logits), strict=True)
            found = [_decoding.beam(x[real].detach().cpu().numpy(), self.options.beam_width)[0][0] for x, real in clips]
        return [
            {"decoded": [self.glosses[symbol - 1] for symbol in sequence], "blank": blank}
            for sequence, blank in zip(found, _blanks(logits).tolist(), strict=True)
        ]

    def watch(self, metrics: dict[str, float]) -> None:
        """Warn, once, when for some epochs hardly anything but the blank was told.

        TrainError when most clips have fewer frames, as the encoder hands them on, than their glosses need.
        """
        if metrics["train/short"] > MOST:
            share = f"{metrics['train/short']:.0%} of the clips"
            raise TrainError(f"ctc: found {share} with fewer frames than their glosses need, as the model hands them "
                             "on; take one that keeps all frames, such as bilstm")  # fmt: skip
        split = "val" if "val/blank" in metrics else "train"
        gone = min(metrics[f"{split}/blank"], metrics[f"{split}/silent"]) > COLLAPSED
        self.collapsed = self.collapsed + 1 if gone else 0
        if self.collapsed == PATIENCE:
            log.warning(
                "ctc: found nothing but blanks for %d epochs, expected glosses; raise task.blank_weight (now %g), "
                "lower train.lr, or look at the clips with `raysign show`", PATIENCE, self.options.blank_weight,
            )  # fmt: skip


def _real(logits: torch.Tensor) -> torch.Tensor:
    """(B, T) bool: the frames that `Task.forward` did not fill in."""
    return (logits[..., 1:] != NEVER).any(2)


def _blanks(logits: torch.Tensor) -> torch.Tensor:
    """(B,) share of the real frames whose likeliest symbol is the blank."""
    real = _real(logits)
    return ((logits.argmax(2) == 0) & real).sum(1) / real.sum(1).clamp(min=1)


def _least(targets: torch.Tensor) -> torch.Tensor:
    """(B,) frames that the sequences need: one a gloss, and a blank between two that are alike."""
    return (targets > 0).sum(1) + ((targets[:, 1:] == targets[:, :-1]) & (targets[:, 1:] > 0)).sum(1)


def _likelihood(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """-log P(sequence) / glosses of each clip, (B,); 0, without a gradient, where there are too few frames."""
    batch, frames = logits.shape[:2]
    lengths, fits = (targets > 0).sum(1), _real(logits).sum(1) >= _least(targets)
    every = torch.full((batch,), frames, dtype=torch.int64, device=logits.device)
    loss = nn.functional.ctc_loss(logits.transpose(0, 1), targets, every, lengths, reduction="none", zero_infinity=True)
    return torch.where(fits, loss / lengths.clamp(min=1), 0.0)


def targets(clips: pa.Table, labels: Labels) -> torch.Tensor:
    """The glosses of each clip, (N, L) int64 from 1 on in the order of the labels, 0 beyond its last.

    TrainError for a clip without a gloss, with one that is no label, or (where the table has the column frames) with
    fewer frames than its glosses need.
    """
    index, glosses = {label: i + 1 for i, label in enumerate(labels.glosses)}, clips["gloss"].to_pylist()
    if not all(glosses):
        raise TrainError("clips: found a clip without a gloss, expected one or more; label it or leave it out")
    if unknown := sorted({word for gloss in glosses for word in gloss} - set(index)):
        raise TrainError(f"clips: gloss {unknown[0]!r} has no training clip; add one or leave its clips out")
    found = torch.zeros(len(glosses), max(map(len, glosses), default=1), dtype=torch.int64)
    for row, gloss in zip(found, glosses, strict=True):
        row[: len(gloss)] = torch.tensor([index[word] for word in gloss])
    if "frames" in clips.column_names:
        _refuse_short(clips, _least(found).tolist())
    return found


def _refuse_short(clips: pa.Table, least: list[int]) -> None:
    about = zip(clips["id"].to_pylist(), clips["frames"].to_pylist(), least, strict=True)
    short = [f"{name} ({frames} of {needed})" for name, frames, needed in about if frames < needed]
    if short:
        raise TrainError(
            f"clips: found {len(short)} with fewer frames than their glosses need: {some(short, 5)}; correct their "
            "labels or leave them out"
        )
