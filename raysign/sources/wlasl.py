"""WLASL: its lists of instances over a folder of videos `<video_id>.mp4`, of which many can no longer be had.

`path` is WLASL_v0.3.json or a list of the same form (`[{"gloss", "instances": [{"video_id", "signer_id", "split",
"frame_start", "frame_end"}]}]`), whose frames count in the videos as downloaded; or nslt_100.json and its like
(`{video_id: {"subset", "action": [class, start, end]}}`), which name no signers and count mostly in videos that the
dataset's own scripts have cut. A video that is not there is no clip. Source: Li, Rodriguez, Yu and Li (WACV 2020).
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from raysign.errors import SourceError
from raysign.kinds import AnyPath, Section
from raysign.schema import SPLITS, ClipRef
from raysign.sources import _json
from raysign.sources._media import VIDEO_SUFFIXES, files, gloss_of, label_names, require_unique, stamp_of

_LOG = logging.getLogger(__name__)


class Options(Section):
    """WLASL's lists and videos."""

    kind: Literal["wlasl"] = "wlasl"
    path: AnyPath = Field(description="WLASL_v0.3.json, another list in its form, or nslt_N.json")
    videos: AnyPath | None = Field(None, description="folder of <video_id>.mp4; None: `videos` beside the list")
    nslt: AnyPath | None = Field(None, description="nslt_N.json, whose videos, class, split and cut then count")
    classes: AnyPath | None = Field(
        None, description="names of the classes of nslt_N.json; None: wlasl_class_list.txt beside the list"
    )
    subset: int | None = Field(
        None, ge=1, description="the first glosses of the list, which begins with the commonest; None: all"
    )
    cut: bool = Field(
        True, description="take the frames that the lists name; false: the videos have been cut to them already"
    )


@dataclass(frozen=True)
class Instance:
    """One entry; first, last: 1-based frames, both included, None for the end."""

    video: str
    gloss: str
    split: str
    first: int
    last: int | None
    signer: str | None


def recognises(path: Path) -> bool:
    """A JSON file in the form of either list."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        tree = _tree(path)
    except SourceError:
        return False
    entries = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    first = next(iter(entries), None)
    return isinstance(first, dict) and ({"gloss", "instances"} <= set(first) or {"subset", "action"} <= set(first))


def clips(options: Options) -> list[ClipRef]:
    """One clip for each listed video that is there, in the list's order; says what is missing.

    SourceError when a list cannot be read, or none of its videos is there.
    """
    listed, there = instances(options), _videos(options)
    found = [_clip(one, there[one.video], options) for one in listed if one.video in there]
    if not found:
        raise SourceError(f"{_folder(options)}: none of the videos is there; {audit(options)['said']}")
    if len(found) < len(listed):
        _LOG.warning("%s", audit(options)["said"])
    return require_unique(found, options.path)


def audit(options: Options) -> dict:
    """What the lists name and the folder lacks.

    said: all of it in a sentence. splits: split -> (missing, listed) videos. glosses: the same for glosses that lack
    any.
    """
    listed, there = instances(options), _videos(options)
    missing = [one for one in listed if one.video not in there]
    splits = _shares((one.split for one in missing), (one.split for one in listed))
    glosses = _shares((one.gloss for one in missing), (one.gloss for one in listed))
    parts = ", ".join(f"{name} {gone} of {count}" for name, (gone, count) in splits.items())
    bare = sum(gone == count for gone, count in glosses.values())
    said = f"{len(missing)} of {len(listed)} listed videos are missing ({parts}); "
    said += f"{bare} of {len(glosses)} glosses have none"
    return {"said": said, "splits": splits, "glosses": {name: some for name, some in glosses.items() if some[0]}}


def _shares(missing: Iterable[str], listed: Iterable[str]) -> dict[str, tuple[int, int]]:
    gone = Counter(missing)
    return {name: (gone[name], count) for name, count in Counter(listed).items()}


def _clip(one: Instance, path: Path, options: Options) -> ClipRef:
    first, last = (one.first, one.last) if options.cut else (1, None)
    return ClipRef(
        one.video, str(path), stamp_of(path), (one.gloss,), signer=one.signer, split=one.split, first_frame=first,
        last_frame=last,
    )  # fmt: skip


# ---------------------------------------------------------------- the lists and the folder


def instances(options: Options) -> list[Instance]:
    """What the lists name, in their order."""
    tree = _tree(options.path)
    entries = [] if isinstance(tree, dict) else tree
    nslt = _tree(options.nslt) if options.nslt else tree if isinstance(tree, dict) else None
    try:
        glosses = [str(entry["gloss"]) for entry in entries]
        listed = [_of_entry(entry["gloss"], one) for entry in entries for one in entry["instances"]]
        names = glosses if nslt is None or (entries and not options.classes) else _names(options)
        if nslt is not None:
            signers = {one.video: one.signer for one in listed}
            listed = [_of_nslt(video, told, names, signers.get(video)) for video, told in nslt.items()]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        step = "expected lists in the form of WLASL_v0.3.json and nslt_100.json, and a name for each class"
        raise SourceError(f"{options.path}: {type(error).__name__} {str(error)[:80]}, {step}") from None
    wanted = set(names[: options.subset])
    return [one for one in listed if one.gloss in wanted]


def _of_entry(gloss: str, told: dict[str, Any]) -> Instance:
    signer = told.get("signer_id")
    return _instance(
        told["video_id"], gloss, told["split"], told.get("frame_start", 1), told.get("frame_end", -1),
        None if signer is None or signer == -1 else str(signer),
    )  # fmt: skip


def _of_nslt(video: str, told: dict[str, Any], names: list[str], signer: str | None) -> Instance:
    label, first, last = told["action"]
    return _instance(video, gloss_of(label, names), told["subset"], first, last, signer)


def _instance(video: Any, gloss: Any, split: Any, first: Any, last: Any, signer: str | None) -> Instance:
    if split not in SPLITS:
        raise ValueError(f"split {split!r} of video {video}")
    first, last = max(1, int(first)), int(last)
    return Instance(str(video), str(gloss), split, first, last if last >= first else None, signer)


def _names(options: Options) -> list[str]:
    """Class names, one a line of `number<TAB>name`."""
    lines = label_names(options.classes or options.path.parent / "wlasl_class_list.txt")
    return [line.split("\t", 1)[-1].strip() for line in lines]


def _tree(path: Path) -> Any:
    return _json.tree(path, SourceError, "give a list of WLASL")


def _folder(options: Options) -> Path:
    return options.videos or options.path.parent / "videos"


def _videos(options: Options) -> dict[str, Path]:
    """Video id -> file, at any depth of the folder."""
    folder = _folder(options)
    return {Path(name).stem: folder / name for name in sorted(files(folder, VIDEO_SUFFIXES), reverse=True)}
