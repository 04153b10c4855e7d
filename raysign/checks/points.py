"""What the points of a stage's clips say against them: checks over the evidence of one pass."""

from collections.abc import Iterator

import numpy as np

from raysign.checks import limits
from raysign.checks.evidence import Evidence
from raysign.checks.findings import Finding
from raysign.errors import some


def _clips(e: Evidence, which: np.ndarray, severity: str, check: str, found: str, then: str) -> Iterator[Finding]:
    """One finding on the clips that `which` (N,) tells; none when there is none."""
    if names := e.named(which):
        share = f"{len(names)} of {len(which)} clips"
        yield Finding(severity, check, f"{e.stage}: found {share} {found} ({some(names)}), {then}")


def infinite(e: Evidence) -> Iterator[Finding]:
    """No number is infinite."""
    yield from _clips(e, e.numbers["infinite"] > 0, "error", "infinite", "with infinite numbers",
                      "expected none; mend the source and make the stage again")  # fmt: skip


def nan(e: Evidence) -> Iterator[Finding]:
    """Clips hold no NaN."""
    yield from _clips(e, e.numbers["nan"] > 0, "error", "nan", "with NaN",
                      "expected none: what is not seen is 0 there; run `raysign prepare` again")  # fmt: skip


def half_seen(e: Evidence) -> Iterator[Finding]:
    """A point of landmarks is seen with all its coordinates or with none."""
    yield from _clips(e, e.numbers["half_seen"] > 0, "error", "half_seen", "with points of which one coordinate is NaN",
                      "expected all or none; a source without depth gives 0 for it")  # fmt: skip


def visibility(e: Evidence) -> Iterator[Finding]:
    """Visibilities lie in [0, 1] and are known wherever the point is."""
    yield from _clips(e, e.numbers["visibility_off"] > 0, "error", "visibility", "with visibilities that are no share",
                      "expected 0 to 1 for every seen point; the last channel must be the visibility")  # fmt: skip


def features(e: Evidence) -> Iterator[Finding]:
    """Features of a frame are all finite or all NaN, finite in some frame, and as many as their kind has."""
    yield from _clips(e, e.numbers["features_off"] > 0, "error", "features", "with features that are none",
                      "expected numbers, as many a frame as their kind has; make the landmarks again")  # fmt: skip


def unseen_points(e: Evidence) -> Iterator[Finding]:
    """Points of clips that are not seen are 0, not some other number that stands for it."""
    yield from _clips(e, e.numbers["unseen_kept"] > 0, "warning", "unseen_points",
                      "whose unseen points all hold one place that is not 0",
                      "expected 0; give the source's filler as source.missing")  # fmt: skip


def parts(e: Evidence) -> Iterator[Finding]:
    """Every part of the layout is seen somewhere, and its points do not lie at exactly zero."""
    most = limits.ZEROS if e.stage == "landmarks" else limits.FILLED
    for part, count in e.parts.items():
        unseen, seen = count["unseen"] / max(1, count["points"]), count["points"] - count["unseen"]
        if unseen > limits.NEVER_SEEN:
            line = f"{e.stage}: {part}: found it unseen in {unseen:.0%} of its points and frames, expected it in some"
            yield Finding("note", "parts", f"{line}; leave it out of the recipe, or look at the source's layout")
        if count["zero"] > most * max(1, seen):
            line = f"{e.stage}: {part}: found {count['zero'] / seen:.0%} of its seen points at exactly (0, 0)"
            yield Finding("error" if e.stage == "landmarks" else "warning", "parts",
                          f"{line}, expected NaN for what is not seen; set source.missing=0.0")  # fmt: skip


def hands(e: Evidence) -> Iterator[Finding]:
    """Hands are seen in most frames."""
    shares = e.numbers["hands"]
    if len(shares) and np.isfinite(shares).any():
        yield from _clips(e, shares == 0, "warning", "hands", "in which no hand is ever seen",
                          "expected one in each; look at the recordings")  # fmt: skip
        middle = float(np.nanmedian(shares))
        if middle < limits.HANDS:
            line = f"{e.stage}: found a hand in {middle:.0%} of a middle clip's frames, expected {limits.HANDS:.0%}"
            yield Finding("warning", "hands", f"{line} or more; are the recordings blurred, dark or badly cropped?")


def body(e: Evidence) -> Iterator[Finding]:
    """The body is seen in every clip."""
    yield from _clips(e, e.numbers["body"] == 0, "warning", "body", "in which no body is ever seen",
                      "expected one; are the shoulders in the picture?")  # fmt: skip


def frozen(e: Evidence) -> Iterator[Finding]:
    """Clips of several frames move."""
    yield from _clips(e, e.numbers["spread"] < limits.FROZEN, "warning", "frozen", "of several frames without motion",
                      "expected some; one picture repeated, or a stuck recording: leave them out")  # fmt: skip


def jumps(e: Evidence) -> Iterator[Finding]:
    """Points do not leap through the picture."""
    leaps = e.numbers["jump"] > limits.JUMP
    many = len(leaps) and leaps.mean() > limits.JUMPS_SHARE
    yield from _clips(e, leaps, "warning" if many else "note", "jumps",
                      f"in which a point moves {limits.JUMP:g} body sizes and more in a frame",
                      "expected few: hands exchanged, another person, frames missing; look at them")  # fmt: skip


def outside(e: Evidence) -> Iterator[Finding]:
    """Points lie in the image or near it."""
    far = e.numbers["outside"] > limits.OUTSIDE_SHARE
    yield from _clips(e, far, "warning", "outside", "with points far outside the image",
                      "expected image units, 0 to 1 within; pixels are to be divided by width and height")  # fmt: skip


def poor(e: Evidence) -> Iterator[Finding]:
    """No clip's quality is near nil."""
    yield from _clips(e, e.quality["quality"] < limits.LOW_QUALITY, "note", "poor",
                      f"of a quality below {limits.LOW_QUALITY:g}",
                      "expected more; quality.parquet tells their parts")  # fmt: skip


CHECKS = (infinite, nan, half_seen, visibility, features, unseen_points, parts)
SIGNING = (hands, body, frozen, jumps, outside, poor)  # clips have them from their landmarks
