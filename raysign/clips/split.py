"""Which clip trains, which chooses the best epoch and which is only tested on; and what leaks between them.

Every choice follows from the seed and the names of clips, glosses and signers, never from their order in a list.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from raysign import config
from raysign.errors import ConfigError, nearest, some
from raysign.schema import SPLITS, canonical_split

BLOCKS = 10  # of a gloss


@dataclass(frozen=True)
class Splits:
    """The split of each clip (None: of none, the clip is left out), the kind that was used and what to know of it."""

    names: list[str | None]
    kind: str
    notes: list[str]


def assign(
    ids: Sequence[str],
    glosses: Sequence[Sequence[str]],
    signers: Sequence[str | None],
    given: Sequence[str | None],
    settings: config.Split,
    seed: int,
) -> Splits:
    """The split of each clip.

    given: as the source says; clips it says nothing of are left out, and where it has no validation clips the share
    `val` of its training clips is taken. signer: whole signers are held out; when that leaves no signer to validate
    on, the share is taken from the training clips. stratified: the shares of each gloss, which keeps a training clip.
    block: the same, but a gloss's clips, in the order of their names (2 before 10), are cut into ten blocks, and it is
    blocks that are drawn: few frames of one recording have a neighbour in another split.
    Raises ConfigError when nothing is left to train on, or a gloss is tested but never trained.
    """
    clips = _Clips(list(ids), [tuple(gloss) for gloss in glosses], list(signers), settings, seed)
    kind = _kind(settings, signers, given)
    if kind == "given":
        names, notes = _given(clips, given)
    elif kind == "signer":
        try:
            names, notes = _by_signer(clips)
            _check(clips, names)
        except ConfigError as error:
            if settings.kind != "auto" or settings.test_signers or settings.val_signers:
                raise
            kind, (names, notes) = "stratified", _by_share(clips, clips.drawn)
            notes.append(
                f"signers are known, but cannot be held apart ({error}): the same people train and are tested on"
            )
    else:
        names, notes = _by_share(clips, _in_blocks(clips) if kind == "block" else clips.drawn)
    _check(clips, names)
    return Splits(names, kind, notes)


@dataclass(frozen=True)
class _Clips:
    ids: list[str]
    glosses: list[tuple[str, ...]]
    signers: list[str | None]
    settings: config.Split
    seed: int

    def order(self, name: object) -> bytes:
        """A key that sorts names in an order of the seed's own."""
        return hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest()

    def drawn(self, i: int) -> bytes:
        """A key that sorts clips in an order of the seed's own."""
        return self.order(self.ids[i])


def _kind(settings: config.Split, signers: Sequence, given: Sequence) -> str:
    named = bool(settings.test_signers or settings.val_signers)
    if settings.kind != "auto":
        if named and settings.kind != "signer":
            raise ConfigError(f"split: test_signers and val_signers need kind signer, found {settings.kind}")
        return settings.kind
    if named:
        return "signer"
    if any(given):
        return "given"
    return "signer" if len({signer for signer in signers if signer}) > 1 else "stratified"


# ---------------------------------------------------------------- kinds


def _by_share(clips: _Clips, key: Callable[[int], Any]) -> tuple[list[str | None], list[str]]:
    """The shares of each gloss, whoever signs it, its clips taken in the order of a key."""
    shares = {"test": clips.settings.test, "val": clips.settings.val}
    notes = [] if any(clips.signers) else ["no signer is named: the same people may train and be tested on"]
    return _stratified(clips, shares, range(len(clips.ids)), key), notes


def _natural(name: str) -> list[str | int]:
    """A name as a key by which 2 comes before 10."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", name))]


def _in_blocks(clips: _Clips) -> Callable[[int], tuple[bytes, int]]:
    """A key that sorts the clips of a gloss by blocks in an order of the seed's own, and by name within a block."""
    classes, found = defaultdict(list), {}
    for i in sorted(range(len(clips.ids)), key=lambda i: _natural(clips.ids[i])):
        classes[clips.glosses[i]].append(i)
    for gloss, members in classes.items():
        for place, i in enumerate(members):
            found[i] = clips.order((gloss, place * BLOCKS // len(members))), place
    return found.__getitem__


def _given(clips: _Clips, given: Sequence[str | None]) -> tuple[list[str | None], list[str]]:
    """Splits as the source names them."""
    if not any(given):
        raise ConfigError("split.kind: found given, but the source names no split; use signer or stratified")
    names: list[str | None] = [_known(name) if name else None for name in given]
    notes = []
    if missing := sum(name is None for name in names):
        notes.append(f"{missing} clips have no split in the source and are left out")
    return _with_validation(clips, names, notes), notes


def _known(name: str) -> str:
    found = canonical_split(name)
    if found is None:
        near = nearest(name.strip().lower(), SPLITS)
        raise ConfigError(f"split: the source names {name!r}, expected train, val or test{near}")
    return found


def _by_signer(clips: _Clips) -> tuple[list[str | None], list[str]]:
    """Whole signers held out."""
    settings, notes = clips.settings, []
    known = sorted({signer for signer in clips.signers if signer})
    if len(known) < 2:
        raise ConfigError(
            f"split.kind: found signer with {len(known)} known signers, expected 2 or more; use stratified"
        )
    for place, listed in (("test_signers", settings.test_signers), ("val_signers", settings.val_signers)):
        for signer in listed:
            if signer not in known:
                raise ConfigError(
                    f"split.{place}: no clips of {signer!r}; signers are {some(known, 8)}{nearest(signer, known)}"
                )
    if both := set(settings.test_signers) & set(settings.val_signers):
        raise ConfigError(f"split: signer {min(both)!r} is in both test_signers and val_signers; keep one")
    test = set(settings.test_signers) or _held_out(clips, known, settings.test, set(settings.val_signers), 1, "test")
    rest = len(known) - len(test)
    val = set(settings.val_signers)
    if not val and rest > 2:  # with two signers left, one of them would take half of the training clips
        val = _held_out(clips, known, settings.val, test, 2, "val")
    names: list[str | None] = [
        "test" if signer in test else "val" if signer in val else "train" for signer in clips.signers
    ]
    if unknown := sum(not signer for signer in clips.signers):
        notes.append(f"{unknown} clips of unknown signers train: whether they leak cannot be told")
    return _with_validation(clips, names, notes), notes


def _held_out(clips: _Clips, known: list[str], share: float, taken: set[str], least_left: int, split: str) -> set[str]:
    """As many signers as `share` says (at least one), passing over those without whom a gloss could not be trained."""
    free = [signer for signer in sorted(known, key=clips.order) if signer not in taken]
    wanted = min(max(1, round(share * len(known))), len(free) - least_left) if share else 0
    left = Counter(
        gloss
        for gloss, signer in {(g, s) for words, s in zip(clips.glosses, clips.signers, strict=True) for g in words}
        if signer not in taken
    )
    found: set[str] = set()
    for signer in free:
        if len(found) == max(0, wanted):
            break
        signs = {g for words, s in zip(clips.glosses, clips.signers, strict=True) if s == signer for g in words}
        if all(left[gloss] > 1 for gloss in signs):
            found.add(signer)
            left.subtract(signs)
    if wanted > 0 and not found and split == "test":
        alone = min(gloss for gloss, count in left.items() if count == 1)
        raise ConfigError(
            f"split: gloss {alone!r} is signed by one signer only, and so for each signer: none can be held out to "
            "test on; use split.kind=stratified, or name split.test_signers"
        )
    return found


def _with_validation(clips: _Clips, names: list[str | None], notes: list[str]) -> list[str | None]:
    """`names` with validation clips: where there are none, the share `val` of the training clips of each gloss."""
    if "val" in names or not clips.settings.val:
        return names
    train = [i for i, name in enumerate(names) if name == "train"]
    drawn = _stratified(clips, {"val": clips.settings.val}, train, clips.drawn)
    notes.append(
        f"validation: {drawn.count('val')} clips drawn from the training clips, gloss by gloss; they share its signers"
    )
    return [drawn[i] if name == "train" else name for i, name in enumerate(names)]


def _stratified(
    clips: _Clips, shares: dict[str, float], among: Iterable[int], key: Callable[[int], Any]
) -> list[str | None]:
    """Of the clips `among`, the shares of each gloss, the first in the order of `key`; the rest train, at least one.

    A sentence counts for itself, and keeps a training clip of each gloss in it. What rounding takes from one gloss
    goes to the next, so that the shares hold over all of them.
    """
    names: list[str | None] = [None] * len(clips.ids)
    classes, left = defaultdict(list), Counter(word for i in among for word in set(clips.glosses[i]))
    for i in among:
        classes[clips.glosses[i]].append(i)
    owed = dict.fromkeys(shares, 0.0)
    for gloss in sorted(classes, key=clips.order):
        members = sorted(classes[gloss], key=key)
        for split, share in shares.items():
            owed[split] += share * len(classes[gloss])
            for i in members[: max(0, int(owed[split] + 0.5))]:
                if all(left[word] > 1 for word in clips.glosses[i]):
                    names[i] = split
                    left.subtract(set(clips.glosses[i]))
                    owed[split] -= 1
            members = [i for i in members if names[i] is None]
        for i in members:
            names[i] = "train"
    return names


def _check(clips: _Clips, names: list[str | None]) -> None:
    """ConfigError when there is nothing to train on or a gloss cannot be learnt."""
    words = {
        split: {g for gloss, n in zip(clips.glosses, names, strict=True) if n == split for g in gloss}
        for split in SPLITS
    }
    if "train" not in names:
        found = ", ".join(f"{count} {name}" for name, count in Counter(names).items()) or "no clips at all"
        raise ConfigError(f"split: no training clips ({found}); check split.kind, its shares and signers")
    for split in ("test", "val"):
        if unknown := sorted(words[split] - words["train"]):
            raise ConfigError(
                f"split: found {some(map(repr, unknown))} in the {split} split only, expected training clips of each "
                "gloss; add some, leave the gloss out, or use split.kind=stratified"
            )


# ---------------------------------------------------------------- leaks


def leaks(
    ids: Sequence[str],
    names: Sequence[str],
    signers: Sequence[str | None],
    sources: Sequence[str],
    contents: Sequence[str],
) -> dict:
    """What is on the training side and on the validation or test side at once.

    contents: equal for clips whose prepared arrays are equal. Returns, for `val` and `test`: signers, the number of
    pairs of equal clips (`clips`), the first ten of them, and the number of files that give clips to both sides.
    """
    train = [i for i, name in enumerate(names) if name == "train"]
    report = {}
    for split in ("val", "test"):
        other = [i for i, name in enumerate(names) if name == split]
        twins = defaultdict(list)
        for i in train:
            twins[contents[i]].append(i)
        pairs = [(ids[i], ids[twin]) for i in other for twin in twins.get(contents[i], ())]
        report[split] = {
            "signers": sorted({s for i in train if (s := signers[i])} & {s for i in other if (s := signers[i])}),
            "clips": len(pairs),
            "examples": [{split: mine, "train": its} for mine, its in pairs[:10]],
            "files": len({sources[i] for i in train} & {sources[i] for i in other}),
        }
    return report
