"""Files of any kind to answers: videos, images, folders of them, landmark files."""

import logging
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raysign import store
from raysign.errors import ClipError, RaysignError, SourceError
from raysign.infer.predictor import Predictor, top
from raysign.kinds import kind_module
from raysign.learn import bundle as bundles
from raysign.learn.bundle import Bundle
from raysign.schema import ClipRef, Landmarks, landmarks_of
from raysign.sources._media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

log = logging.getLogger(__name__)
TABLES = {"index.parquet", "quarantine.parquet", "dropped.parquet"}  # of a stage: no clips in them
TOGETHER = 64  # clips of one file that are recognised at a time
Found = tuple[str, Landmarks | RaysignError]  # a clip's name, and its landmarks or why there are none


def predict(bundle_dir: Path, files: Sequence[Path], k: int = 5) -> Iterator[dict]:
    """One row for each clip of the files, in their order: file, clip, top [(label, probability)], error (None or why),
    and what else the bundle's task tells, such as `decoded`, the glosses of a sentence.

    A file is a video, an image, a landmark Parquet file, a shard of raysign's own landmarks, an npz laid out as those
    the bundle was trained on, or a folder searched through for all of these. What cannot be used is a row with the
    reason, and the others go on. BundleError when the bundle cannot be loaded.
    """
    bundle = bundles.load(Path(bundle_dir))
    predictor, reader = Predictor(bundle, "auto"), Reader(bundle)
    try:
        for file in files:
            clips = reader.clips(Path(file))
            while some := list(islice(clips, TOGETHER)):
                answers = predictor.each([found for _, found in some], TOGETHER)
                for (name, _), answer in zip(some, answers, strict=True):
                    about = {"file": str(file), "clip": name}
                    if isinstance(answer, RaysignError):
                        yield {**about, "top": [], "error": str(answer)}
                    else:
                        probabilities, told = answer
                        yield {**about, "top": top(probabilities, bundle.labels, k), "error": None, **told}
    finally:
        reader.close()


class Reader:
    """Reads files for one bundle; makes a landmarker at the first video or image and keeps it."""

    def __init__(self, bundle: Bundle):
        self.bundle, self.warned = bundle, False
        self.landmarker: Any = None

    def close(self) -> None:
        """Let go of the landmarker."""
        if self.landmarker is not None:
            self.landmarker.close()

    def clips(self, path: Path) -> Iterator[Found]:
        """The clips of a file or of all files below a folder. Never raises a RaysignError: it is the clip's result."""
        try:
            if path.is_dir():
                known = VIDEO_SUFFIXES | IMAGE_SUFFIXES | {".parquet", ".npz"}
                found = (file for file in path.rglob("*") if file.suffix.lower() in known and file.is_file())
                files = sorted(file for file in found if file.name not in TABLES)
                if not files:
                    raise SourceError(f"{path}: found no video, image or landmark file in it; give another folder")
                for file in files:
                    yield from self.clips(file)
            elif not path.exists():
                raise SourceError(f"{path}: no such file; check the spelling")
            elif path.suffix.lower() == ".parquet":
                yield from self._parquet(path)
            elif path.suffix.lower() == ".npz":
                yield from self._npz(path)
            else:
                yield from self._one(str(path), self._media, path)
        except RaysignError as error:
            yield str(path), error
        except OSError as error:  # no permission, a name that is too long
            yield str(path), SourceError(f"{path}: not readable ({error.strerror or error}); give another file")

    def _one(self, name: str, read: Callable[..., Landmarks], *arguments) -> Iterator[Found]:
        try:
            yield name, read(*arguments)
        except RaysignError as error:
            yield name, error
        except Exception as error:  # the row boundary, as in extraction: a strange file costs that file only
            yield name, ClipError(f"{name}: {type(error).__name__} while reading ({str(error)[:300]})")

    def _media(self, path: Path) -> Landmarks:
        if self.landmarker is None:
            from raysign.extract import landmarker

            options = self.bundle.config.extract
            for name in ("model", "inception_weights"):
                if (file := getattr(options, name)) and not file.exists():  # this is not the machine that trained
                    options = options.model_copy(update={name: None})
            self._compare([landmarker.fingerprint(options)])
            self.landmarker = landmarker.Landmarker(options)
        return self.landmarker.read(ClipRef(path.name, str(path), store.stamp(path)))

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
            yield from self._one(str(path), source.read, _whole(path), source.Options(path=path))

    def _shard(self, path: Path) -> Iterator[Found]:
        """The good rows of a shard of landmarks, and the reason of each other one."""
        table = store.read_table(path)
        self._compare([name for name in set(table["extractor"].to_pylist()) if name])
        for row in range(len(table)):
            name, error = (table[column][row].as_py() for column in ("id", "error"))
            if error:
                yield name, ClipError(f"{name}: in quarantine: {error}")
            else:
                yield name, next(landmarks_of(table.take([row])))

    def _npz(self, path: Path) -> Iterator[Found]:
        trained = self.bundle.config.source
        if trained.kind != "npz":
            step = "give it as a landmark Parquet file"
            raise SourceError(f"{path}: what its numbers mean is known only to a bundle trained on npz files; {step}")
        source = kind_module("source", "npz")
        # a new file need not have the labels and the like that those of training had
        lacking = {
            name: None for name in ("gloss", "signer", "split", "id") if getattr(trained, name) not in _keys(path)
        }
        options = trained.model_copy(update={**lacking, "path": path})
        clips, shape = source.arranged(path, options)
        if options.gloss is None and not clips and shape[0] > 1:  # the labels told how many clips there are
            one, many = (1, *shape), (shape[0], 1, *shape[1:])
            step = f"make it {one} for one clip, {many} for {shape[0]}, each of one frame"
            raise SourceError(f"{path}: found `{options.values}` of shape {shape}, expected an axis more; {step}")
        for ref in source.clips(options):
            yield from self._one(ref.id, source.read, ref, options)

    def _compare(self, now: list[str]) -> None:
        """Warn, once, when the landmarks come from another extractor than those of training."""
        known = self.bundle.card.get("extractor")
        trained = {known} if isinstance(known, str) else set(known or ())
        if trained and not trained.issuperset(now) and not self.warned:
            self.warned = True
            log.warning(
                "landmarks: found those of %s, trained on those of %s; answers may be worse",
                ", ".join(sorted(set(now) - trained)), ", ".join(sorted(trained)),
            )  # fmt: skip


def _keys(path: Path) -> set[str]:
    """Names of the arrays in an npz file; none when it is no such file, which its reader then says."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return set(archive.files)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile):
        return set()


def _whole(path: Path) -> ClipRef:
    return ClipRef(path.stem, str(path), store.stamp(path))
