"""What formats with numbered labels share: the number of each gloss, and the text file that names them."""

from collections.abc import Iterable
from pathlib import Path

from raysign import store
from raysign.writers._clips import Clip

FILE = "label_names.txt"  # a gloss a line, the first of number 0


def unnumbered(clip: Clip) -> str:
    """Why a clip's gloss has no number; empty when it has one."""
    if not clip.gloss:
        return "no gloss, and the format wants a label number"
    return "" if clip.gloss.splitlines() == [clip.gloss] else "a gloss with a line break"


def numbers(names: Iterable[str | None]) -> dict[str, int]:
    """Name -> number, from 0, in order of the names; without those that are empty."""
    return {name: number for number, name in enumerate(sorted({name for name in names if name}))}


def write_names(out: Path, clips: list[Clip]) -> dict[str, int]:
    """Gloss -> number, written to FILE."""
    found = numbers(clip.gloss for clip in clips)
    store.write_bytes(out / FILE, "".join(f"{gloss}\n" for gloss in found).encode())
    return found
