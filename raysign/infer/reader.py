"""What files hold, for one bundle: clips of videos, images and landmarks of every kind that raysign reads."""

import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raysign import store
from raysign.errors import ClipError, RaysignError, SourceError
from raysign.kinds import Section, kind_module, kinds
from raysign.learn.ensemble import AnyBundle
from raysign.schema import ClipRef, Landmarks, landmarks_of
from raysign.sources._media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

log = logging.getLogger(__name__)
MEDIA = VIDEO_SUFFIXES | IMAGE_SUFFIXES
TABLES = {"index.parquet", "quarantine.parquet", "dropped.parquet", "quality.parquet"}  # of a stage: no clips in them
_ONE_BY_ONE = {"video_folder", "image_folder", "landmark_parquet"}  # sources whose files are clips wherever they lie
_LABELS = ("gloss", "signer", "split", "id")  # arrays of an npz that a new file need not have
Found = tuple[str, Landmarks | RaysignError]  # a clip's name, and its landmarks or why there are none
Source = tuple[Any, Section]  # a module of raysign.sources, and its options


class Reader:
    """Reads files for one bundle; makes a landmarker at the first video or image and keeps it.

    shared: other processes of this machine do the same, so that MediaPipe is to keep to one CPU.
    """

    def __init__(self, bundle: AnyBundle, shared: bool = False):
        self.bundle, self.shared, self.warned = bundle, shared, False
        self.landmarker: Any = None
        trained = bundle.config.source
        # what is read as training read it when nothing else is known of it
        self.trained = trained if trained.kind not in _ONE_BY_ONE and getattr(trained, "path", None) else None

    def close(self) -> None:
        """Let go of the landmarker."""
        if self.landmarker is not None:
            self.landmarker.close()

    def parts(self, path: Path) -> list[Path]:
        """What is to be read one after the other: the files below a folder, and last the folder itself when it holds
        landmarks in a format of its own; else the path alone. Raises nothing: `clips` says what is wrong.
        """
        try:
            if not path.is_dir():
                return [path]
            own = self._recognised(path)
            kinds_of_npz = own is None and (self.trained is None or self.trained.kind == "npz")
            known = MEDIA | {".parquet"} | ({".npz"} if kinds_of_npz else set())
            found = (file for file in path.rglob("*") if file.suffix.lower() in known and file.is_file())
            files = sorted(file for file in found if file.name not in TABLES)
            return [*files, path] if own or not files else files
        except (RaysignError, OSError):
            return [path]

    def clips(self, path: Path) -> Iterator[Found]:
        """The clips of a file or of all files below a folder. Never raises a RaysignError: it is the clip's result."""
        for part in self.parts(path):
            yield from self.read(part)

    def read(self, part: Path) -> Iterator[Found]:
        """As `clips`, of one of the `parts` of a path."""
        try:
            yield from self._clips(part)
        except RaysignError as error:
            yield str(part), error
        except OSError as error:  # no permission, a name that is too long
            yield str(part), SourceError(f"{part}: not readable ({error.strerror or error}); give another file")

    def _clips(self, path: Path) -> Iterator[Found]:
        """The clips of one of the `parts`."""
        suffix = path.suffix.lower()
        if not path.exists():
            raise SourceError(f"{path}: no such file; check the spelling")
        if suffix == ".parquet" and path.is_file():
            yield from self._parquet(path)
        elif is_media(path):
            yield from self._one(str(path), self._media, _whole(path, path.name))
        elif suffix == ".npz" and self.bundle.config.source.kind == "npz" and path.is_file():
            yield from self._npz(path)
        elif source := self._recognised(path) or self._as_trained(path):
            yield from self._of_source(*source)
        elif path.is_dir():
            raise SourceError(f"{path}: found no video, image or landmark file in it; give another folder")
        elif suffix == ".npz":
            step = "give it as a landmark Parquet file"
            raise SourceError(f"{path}: what its numbers mean is known only to a bundle trained on such files; {step}")
        else:
            for name, found in self._one(str(path), self._media, _whole(path, path.name)):  # a video by another name
                if isinstance(found, RaysignError):
                    found = ClipError(f"{found}, nor is it known by its name as landmarks")
                yield name, found

    def _one(self, name: str, read: Callable[..., Landmarks], *arguments) -> Iterator[Found]:
        try:
            yield name, read(*arguments)
        except RaysignError as error:
            yield name, error
        except Exception as error:  # the row boundary, as in extraction: a strange file costs that file only
            yield name, ClipError(f"{name}: {type(error).__name__} while reading ({str(error)[:300]})")

    # ------------------------------------------------------------ videos and images

    def _media(self, ref: ClipRef) -> Landmarks:
        if self.landmarker is None:
            from raysign.extract import landmarker

            options = extraction(self.bundle)
            self._compare([landmarker.fingerprint(options)], landmarker.made_of(options))
            self.landmarker = landmarker.Landmarker(options, cpu=landmarker.free_cpu() if self.shared else None)
        return self.landmarker.read(ref)

    # ------------------------------------------------------------ landmarks of any format, as its source reads them

    def _recognised(self, path: Path) -> Source | None:
        """The source that recognises what is neither media nor Parquet, with the settings of training when it is the
        same. SourceError when several do.
        """
        fitting = [kind for kind in kinds("source") if kind not in _ONE_BY_ONE]
        fitting = [kind for kind in fitting if kind_module("source", kind).recognises(path)]
        if self.trained and self.trained.kind in fitting:
            return self._as_trained(path)
        if len(fitting) > 1:
            step = "give its folders one by one"
            raise SourceError(f"{path}: looks like several kinds of landmarks ({', '.join(fitting)}); {step}")
        if not fitting:
            return None
        source = kind_module("source", fitting[0])
        return source, source.Options(path=path)

    def _as_trained(self, path: Path) -> Source | None:
        """The source of training with its settings, for another path; None where training read media or Parquet."""
        if self.trained is None or self.trained.kind == "npz":
            return None
        return kind_module("source", self.trained.kind), _anew(self.trained, path)

    def _of_source(self, source: Any, options: Section) -> Iterator[Found]:
        """The clips that a source finds; those of lists of videos go through the landmarker."""
        kind = str(getattr(options, "kind", ""))
        if hasattr(source, "read"):
            self._compare([f"import {kind}"])
        for ref in source.clips(options):
            if hasattr(source, "read"):
                yield from self._one(ref.id, source.read, ref, options)
            else:
                yield from self._one(ref.id, self._media, ref)

    def _parquet(self, path: Path) -> Iterator[Found]:
        try:
            kind = (pq.read_schema(path).metadata or {}).get(b"raysign.schema", b"").decode()
        except (OSError, pa.ArrowInvalid) as error:
            raise SourceError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]})") from None
        if kind.startswith("landmarks/"):
            yield from self._shard(path)
        elif kind:
            raise SourceError(f"{path}: found a table of {kind.split('/')[0]}, expected landmarks, videos or images")
        else:
            source = kind_module("source", "landmark_parquet")
            yield from self._one(str(path), source.read, _whole(path, path.stem), source.Options(path=path))

    def _shard(self, path: Path) -> Iterator[Found]:
        """The good rows of a shard of landmarks, and the reason of each other one."""
        table = store.read_table(path)
        made_of = (store.read_card(path.parent) or {}).get("made_of")
        self._compare([name for name in set(table["extractor"].to_pylist()) if name], made_of)
        for row in range(len(table)):
            name, error = (table[column][row].as_py() for column in ("id", "error"))
            if error:
                yield name, ClipError(f"{name}: in quarantine: {error}")
            else:
                yield name, next(landmarks_of(table.take([row])))

    def _npz(self, path: Path) -> Iterator[Found]:
        trained, source = self.bundle.config.source, kind_module("source", "npz")
        lacking = {name: None for name in _LABELS if getattr(trained, name) not in _keys(path)}
        options = trained.model_copy(update={**lacking, "path": path})
        clips, shape = source.arranged(path, options)
        if options.gloss is None and not clips and shape[0] > 1:  # the labels told how many clips there are
            one, many = (1, *shape), (shape[0], 1, *shape[1:])
            step = f"make it {one} for one clip, {many} for {shape[0]}, each of one frame"
            raise SourceError(f"{path}: found `{options.values}` of shape {shape}, expected an axis more; {step}")
        for ref in source.clips(options):
            yield from self._one(ref.id, source.read, ref, options)

    # ------------------------------------------------------------ are they as those of training?

    def _compare(self, now: list[str], made_of: dict | None = None) -> None:
        """Warn, once, when the landmarks come from another extractor than those of training."""
        if not self.warned and (words := unlike(self.bundle.card, now, made_of)):
            self.warned = True
            log.warning("landmarks: %s; answers may be worse", words)


def is_media(path: Path) -> bool:
    """Whether it is a video or an image, told by its name."""
    return path.suffix.lower() in MEDIA and not os.path.isdir(path)  # noqa: PTH112 - of a long name pathlib raises


def extraction(bundle: AnyBundle):
    """The settings of `extract` that the bundle was trained with, but for files that are not on this machine."""
    options = bundle.config.extract
    gone = [name for name in ("model", "inception_weights") if (file := getattr(options, name)) and not file.exists()]
    return options.model_copy(update=dict.fromkeys(gone))


def unlike(card: dict, now: list[str], made_of: dict | None = None) -> str:
    """How landmarks of the extractors `now` were made, where those of a bundle's card were made in another way; empty
    when they were not, or nothing is told.

    made_of: what the extractor is made of, as extract.landmarker tells, where it is known.
    """
    known = card.get("extractor")
    trained = [known] if isinstance(known, str) else list(known or ())
    new = [one for one in now if not any(one == old or old.startswith(f"{one} ") for old in trained)]
    if not trained or not new:
        return ""
    ours, theirs = (" and ".join(sorted(set(map(_made_by, some)))) for some in (new, trained))
    if ours != theirs:
        return f"{ours}, those of training {theirs}"
    if ours.startswith("imported"):
        return f"{ours} with other settings of `source` than those of training"
    before = card.get("made_of")
    if not (before and made_of):
        return f"{ours} of another version, with other model files or other settings of `extract` than in training"
    differing = [name for name in {**before, **made_of} if before.get(name) != made_of.get(name)]
    told = [_difference(name, before.get(name), made_of.get(name)) for name in differing]
    return f"{ours} with {', '.join(dict.fromkeys(told))}"


def _made_by(extractor: str) -> str:
    return f"imported from {extractor.split()[1]}" if extractor.startswith("import ") else "found by MediaPipe"


def _difference(name: str, trained: Any, now: Any) -> str:
    """One thing in which two extractors differ, in words."""
    if name == "version":
        return f"mediapipe {now} (training: {trained})"
    if name in ("model", "hand"):
        return "another model file"
    if name in ("fps", "detection", "tracking", "features"):
        setting = name if name in ("fps", "features") else f"{name}_confidence"
        return f"extract.{setting}={now} (training: {trained})"
    return "another version of raysign"


def _anew(trained: Section, path: Path) -> Section:
    """The source of training for another path, without the lists that are not on this machine."""
    told = trained.model_dump()
    gone = {name: None for name, value in told.items() if isinstance(value, Path) and not value.exists()}
    return type(trained).model_validate({**told, **gone, "path": path})


def _keys(path: Path) -> set[str]:
    """Names of the arrays in an npz file; none when it is no such file, which its reader then says."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return set(archive.files)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile):
        return set()


def _whole(path: Path, name: str) -> ClipRef:
    return ClipRef(name, str(path), store.stamp(path))
