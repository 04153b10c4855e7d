"""What the small columns of a stage say against it: names, labels, lengths, splits, twins between them."""

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from raysign.checks import limits
from raysign.checks.evidence import Evidence
from raysign.checks.findings import Finding
from raysign.clips import split
from raysign.errors import some


def unique_ids(e: Evidence) -> Iterator[Finding]:
    """Every clip is stored once."""
    twice = [name for name, count in Counter(e.ids).items() if count > 1]
    if twice:
        line = f"{e.stage}: found {len(twice)} ids stored more than once ({some(twice)})"
        yield Finding("error", "unique_ids", f"{line}, expected each once; delete the directory and fill it again")


def counts(e: Evidence) -> Iterator[Finding]:
    """The card counts what is there."""
    told = e.card.get("counts", {})
    found = {"clips": len(e.ids) - e.quarantined, "quarantined": e.quarantined}
    for name, count in found.items():
        if told.get(name, count) != count:
            line = f"{e.stage}: found {count} {name} in the shards, expected {told[name]} as card.json says"
            yield Finding("error", "counts", f"{line}; run the stage again")
    if e.quarantined:
        line = f"{e.stage}: found {e.quarantined} of {len(e.ids)} clips in quarantine"
        yield Finding("note", "counts", f"{line}; quarantine.parquet has the reasons")
    if not len(e.frames):
        yield Finding("note", "counts", f"{e.stage}: found no clip to look at, so nothing is said of any")


def labels(e: Evidence) -> Iterator[Finding]:
    """Every clip has a gloss, and one that the card of its stage lists."""
    bare = np.array([not gloss for gloss in e.about["gloss"]], bool)
    if bare.any():
        severity = "error" if e.stage == "clips" else "warning"
        line = f"{e.stage}: found {bare.sum()} of {len(bare)} clips without a gloss ({some(e.named(bare))})"
        yield Finding(severity, "labels", f"{line}, expected one; label them in the source, or they are left out")
    known = e.card.get("labels")
    if known is not None:
        strange = sorted({word for gloss in e.about["gloss"] for word in gloss or ()} - set(known))
        if strange:
            line = f"{e.stage}: found glosses that card.json does not list ({some(strange)})"
            yield Finding("error", "labels", f"{line}, expected one of its {len(known)}; run `raysign prepare` again")


def per_gloss(e: Evidence) -> dict[str, Counter]:
    """Clips that each gloss is in, by split; a clip of none counts as `all`."""
    found = defaultdict(Counter)
    for gloss, name in zip(e.about["gloss"], e.about["split"], strict=True):
        for word in set(gloss or ()):
            found[word][name or "all"] += 1
    return dict(sorted(found.items()))


def classes(e: Evidence) -> Iterator[Finding]:
    """Every gloss has clips enough, and no gloss has many times another's."""
    totals = {gloss: sum(count.values()) for gloss, count in per_gloss(e).items()}
    if not totals:
        return
    few = [gloss for gloss, count in totals.items() if count < limits.FEWEST_CLIPS]
    if few:
        line = f"{e.stage}: found {len(few)} of {len(totals)} glosses with fewer than {limits.FEWEST_CLIPS} clips"
        yield Finding("warning", "classes", f"{line} ({some(few)}); record more, or leave them out")
    low, high = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    if totals[high] > limits.IMBALANCE * totals[low]:
        line = f"{e.stage}: found {totals[high]} clips of {high!r} and {totals[low]} of {low!r}"
        line += f", expected no more than {limits.IMBALANCE:g} times as many; read macro F1, not top-1"
        yield Finding("warning", "classes", line)
    if len(totals) == 1:
        yield Finding("warning", "classes", f"{e.stage}: found one gloss ({low!r}), expected two to tell apart")


def untrained(e: Evidence) -> Iterator[Finding]:
    """What is tested or validated on is trained on too."""
    counted = per_gloss(e)
    if not any(count["train"] for count in counted.values()):
        return
    for name in ("val", "test"):
        if lonely := [gloss for gloss, count in counted.items() if count[name] and not count["train"]]:
            line = f"{e.stage}: found {len(lonely)} glosses in {name} and not in train ({some(lonely)})"
            yield Finding("error", "untrained", f"{line}, expected clips of each to train on; add some or leave it out")


def signers(e: Evidence) -> Iterator[Finding]:
    """It is known who signs, and it is more than one person."""
    names = e.about["signer"]
    unknown = sum(not name for name in names)
    if unknown:
        line = f"{e.stage}: found {unknown} of {len(names)} clips without a signer"
        yield Finding(
            "note",
            "signers",
            f"{line}; name them to test on unseen people (source.pattern or source.signer, or a manifest)",
        )
    known = {name for name in names if name}
    if 0 < len(known) < limits.FEW_SIGNERS:
        line = f"{e.stage}: found one signer ({min(known)!r}); how others are read cannot be told"
        yield Finding("note", "signers", f"{line}; record more people")


def lengths(e: Evidence) -> Iterator[Finding]:
    """Clips are of comparable length."""
    if not len(e.frames):
        return
    middle = float(np.median(e.frames))
    for which, word in ((e.frames < limits.SHORT * middle, "shorter"), (e.frames > limits.LONG * middle, "longer")):
        if which.any():
            bound = limits.SHORT if word == "shorter" else limits.LONG
            line = f"{e.stage}: found {which.sum()} of {len(which)} clips {word} than {bound:g} of the middle length "
            line += f"{middle:g} ({some(e.named(which))}); are they cut as the others are?"
            yield Finding("warning", "lengths", line)


def rates(e: Evidence) -> Iterator[Finding]:
    """Frame rates are known and alike."""
    if e.stage == "clips":  # the landmarks know
        return
    fps = np.array([value or 0 for value in e.about["fps"]], float)
    unknown, moving = fps <= 0, e.frames > 1
    if (unknown & moving).any():
        line = f"{e.stage}: found {(unknown & moving).sum()} of {len(fps)} clips without a frame rate"
        yield Finding("note", "rates", f"{line}; it does not matter when all were recorded alike")
    known = fps[~unknown & moving]
    if len(known) and known.max() > limits.FPS_SPREAD * known.min():
        line = f"{e.stage}: found frame rates from {known.min():g} to {known.max():g}, expected one"
        yield Finding("warning", "rates", f"{line}; the same sign has other lengths: set extract.fps, or resample")


def sizes(e: Evidence) -> Iterator[Finding]:
    """Pictures are of one shape: image units are not the same length across and down in others."""
    pairs = zip(e.about["width"], e.about["height"], strict=True)
    shapes = Counter(f"{width}x{height}" for width, height in pairs if width and height)
    if len(shapes) > 1:
        listed = some(f"{count} of {shape}" for shape, count in shapes.most_common())
        line = f"{e.stage}: found pictures of {len(shapes)} sizes ({listed})"
        yield Finding("note", "sizes", f"{line}; x and y are shares of them, so bodies look wider in some")


# ---------------------------------------------------------------- between the splits


def leaks(e: Evidence) -> Iterator[Finding]:
    """No person is on both sides."""
    about = e.about
    if len({name for name in about["split"] if name}) < 2:
        return
    found = split.leaks(about["id"], about["split"], about["signer"], about["id"], about["id"])
    for name, report in found.items():
        if people := report["signers"]:
            line = f"{e.stage}: found {len(people)} of the signers both in train and in {name} ({some(people)})"
            severity = "warning" if name == "test" else "note"
            yield Finding(severity, "leaks", f"{line}; set split.kind=signer to be tested on people never trained on")


def equal_clips(e: Evidence) -> Iterator[Finding]:
    """No clip is there twice under two names."""
    if groups := e.twins.equal:
        pairs = np.array([(group[0], other) for group in groups for other in group[1:]])
        yield from _twins(e, pairs, "equal_clips", "equal in every number", "error")


def near_twins(e: Evidence) -> Iterator[Finding]:
    """No clip is nearly another: noised, resized, or cut a little elsewhere."""
    yield from _twins(e, e.twins.near, "near_twins", "nearly the same", "warning")


def _twins(e: Evidence, pairs: np.ndarray, check: str, how: str, worst: str) -> Iterator[Finding]:
    """How many pairs there are, how many under two glosses, and how many between training and testing."""
    if not len(pairs):
        return
    who = [[tuple(e.about[name][i] for name in ("id", "split", "gloss")) for i in pair] for pair in pairs.tolist()]
    pairs_of = [(a, b) for a, b in who]
    across = [(a, b) for a, b in pairs_of if a[1] and b[1] and (a[1] == "train") != (b[1] == "train")]
    glosses = [(a, b) for a, b in pairs_of if a[2] != b[2]]
    if across:
        line = f"{e.stage}: found {len(across)} pairs of clips {how}, one to train on and one to test or validate on"
        yield Finding(worst, check, f"{line} ({_shown(across)}), expected none: the figures would flatter; split by "
                      "signer or recording, or drop one of each")  # fmt: skip
    if glosses:
        line = f"{e.stage}: found {len(glosses)} pairs of clips {how} under different glosses ({_shown(glosses)})"
        yield Finding("warning", check, f"{line}, expected one gloss; correct the labels")
    clips = len({clip[0] for pair in pairs_of for clip in pair})
    line = f"{e.stage}: found {clips} of {len(e.frames)} clips with another {how} ({_shown(pairs_of)})"
    yield Finding("note", check, f"{line}; they teach little that the other does not")


def _shown(pairs: list) -> str:
    return some(f"{a[0]} = {b[0]}" for a, b in pairs)


CHECKS = (unique_ids, counts, labels, untrained, leaks)
RECORDING = (signers, lengths, rates, sizes)  # clips have them from their landmarks
TWINS = (equal_clips, near_twins)
