"""One file per format that landmarks are written out to. Each has

class Options(Section)                kind (its file's name), and what can be chosen
LAYOUTS: tuple of names               layouts it can hold, side by side too; empty: any, but one for all clips
LOSES: str                            what of LANDMARKS does not come back, in a sentence, besides what none of them
                                      holds: splits other than train, val and test, and notes
READ_BY: str                          the kind of source that reads it back
left_out(clip, options) -> str        why a clip cannot be held, as far as is known before it is read; "" when it can
write(clips, landmarks, out, options) -> list
                                      fills the folder `out`; returns what each clip is called there. Clips are sorted
                                      by id; landmarks are pairs of a place among them and the Landmarks, in any order,
                                      and can be gone through once
source(clips, out, options) -> dict   the settings with which READ_BY reads `out`, besides kind and path
"""

import glob
import os
import platform
import secrets
import shutil
import time
from collections import Counter
from pathlib import Path

import psutil

from raysign import store
from raysign.errors import ConfigError, StoreError
from raysign.kinds import Section, kind_module
from raysign.pace import counted
from raysign.writers._clips import Plan, plan, stream

_LOSES = "Splits other than train, val and test, and notes of what was damaged, are lost."


def convert(landmarks_dir: Path, out: Path, options: Section) -> dict:
    """Write the good clips of a LANDMARKS store to a new folder, in the format `options.kind`. Returns its card.

    `out` appears whole, or not at all; beside the format's files it has card.json and clips.csv: what each clip is
    called there, or why it was left out. When it holds the same already, nothing is done. ConfigError when the format
    cannot hold the layout, or `out` holds anything else; StoreError when the landmarks are not whole or `out` cannot
    be written.
    """
    out = out.absolute()
    began, writer = time.time(), kind_module("to", options.kind)  # pyright: ignore[reportAttributeAccessIssue]
    made = plan(landmarks_dir, writer, options)
    if _holds_something(out):
        return _earlier(out, made)
    unfinished = _unfinished(out)
    try:
        unfinished.mkdir(parents=True)
        landmarks = counted(stream(landmarks_dir, made.clips), "convert", len(made.clips), "clip")
        names = writer.write(made.clips, landmarks, unfinished, options)
        _write_list(unfinished / "clips.csv", made, names)
        card = store.write_card(
            unfinished, "convert", made.key, config={"to": options.model_dump(mode="json")},
            counts={"clips": len(made.clips), "frames": sum(clip.frames for clip in made.clips)},
            dropped=dict(Counter(made.left_out.values()).most_common()), seconds=time.time() - began,
            landmarks=str(landmarks_dir), loses=f"{writer.LOSES} {_LOSES}",
            source={"kind": writer.READ_BY, "path": str(out), **writer.source(made.clips, out, options)},
        )  # fmt: skip
        unfinished.rename(out)  # an empty folder gives way
    except OSError as error:
        if _holds_something(out):  # another run was faster
            return _earlier(out, made)
        raise StoreError(f"{out}: cannot be written ({error.strerror or error}); make room or name another") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return card


def _unfinished(out: Path) -> Path:
    """A folder's name beside `out` for this run alone; what killed runs on this machine have left there is removed."""
    stem = f".{out.name}.{platform.node()}"
    for left in out.parent.glob(f"{glob.escape(stem)}.*.*.unfinished"):
        process = left.name.split(".")[-3]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(left, ignore_errors=True)
    return out.with_name(f"{stem}.{os.getpid()}.{secrets.token_hex(4)}.unfinished")


def _holds_something(out: Path) -> bool:
    return out.exists() and (not out.is_dir() or any(out.iterdir()))


def _earlier(out: Path, made: Plan) -> dict:
    """The card of an earlier conversion to the same; ConfigError when that is not what `out` holds."""
    card = (store.read_card(out) if out.is_dir() else None) or {}
    if card.get("stage") != "convert":
        raise ConfigError(f"{out}: found files of another kind, expected an empty or a new folder; name another one")
    if card["key"] != made.key:
        raise ConfigError(f"{out}: found other landmarks or another format; delete it or name another folder")
    return card


def _write_list(path: Path, made: Plan, names: list[str]) -> None:
    """id, name in the format, gloss, signer, split, and for a clip that is not there the reason."""
    clips = zip(made.clips, names, strict=True)
    rows = [(clip.id, name, clip.gloss, clip.signer, clip.split, "") for clip, name in clips]
    left_out = [(clip, "", "", "", "", reason) for clip, reason in made.left_out.items()]
    store.write_csv(path, ("id", "name", "gloss", "signer", "split", "left_out"), rows + left_out)
