"""A finished bundle where users look for the newest."""

import filecmp
import shutil
from collections.abc import Callable
from pathlib import Path

from raysign import remote, store
from raysign.errors import StoreError


def publish(made: Path, place: Path, say: Callable[[str], None]) -> Path:
    """Copy the bundle of a training, if it is not there; no reader ever sees half of it. Returns the place.

    say: is told which one it replaces.
    """
    fresh, old = (place.with_name(f".{place.name}.{word}") for word in ("new", "old"))
    for left in (fresh, old):  # by a run that was killed here
        shutil.rmtree(left, ignore_errors=True)
    names = [path.name for path in store.found(made, "*")]
    for name in names:  # another node may have made them
        remote.pull(made / name)
        remote.pull(place / name)
    if filecmp.cmpfiles(made, place, names)[0] == names:
        return place
    for line in _replaced(place, made.parent.name):
        say(line)
    shutil.copytree(made, fresh)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    remote.remove(place / "card.json")  # there, file by file: without its card it is no bundle
    for name in sorted(names, key="card.json".__eq__):
        remote.push(place / name, place / name)
    return place


def _replaced(place: Path, training: str) -> list[str]:
    """A line when the bundle there is of another training; it tells whether what was scored beside it is, too."""
    scored = place.with_name("evaluation") / "metrics.json"
    try:
        before = (store.read_card(place) or {}).get("training")
        stale = store.exists(scored) and store.read_json(scored).get("training") != training
    except StoreError:  # torn, and no loss
        return []
    if not before or before == training:
        return []
    also = f"; {remote.shown(scored.parent)} is of another one until `raysign evaluate`" if stale else ""
    return [f"{remote.shown(place)}: now of training {training}; the one before stays in train/{before}/bundle{also}"]
