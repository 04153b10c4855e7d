"""Files of any kind to answers: videos, images, folders of them, landmark files."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from raysign import config, engine
from raysign.errors import RaysignError
from raysign.infer import continuous
from raysign.infer.ensemble import predictor_of
from raysign.infer.predictor import top
from raysign.infer.reader import Found, Reader, is_media
from raysign.learn import ensemble as ensembles
from raysign.pace import counted
from raysign.schema import Landmarks

TOGETHER, FRAMES = 64, 16384  # clips that are recognised at a time; fewer when they have so many frames
MANY = 300  # files from which on the answers are sought on all CPUs
NO_PICTURE = {"overlay": None, "note": "drawn are videos and images that are given as files"}


@dataclass(frozen=True)
class Wanted:
    """What is to be told of a clip.

    k: the likeliest glosses to name. continuous: look for several signs in it; None: when it is much longer than any
    that the bundle was trained on. window: seconds that slide over long signing, which asks for `continuous`; None: as
    long as the training clips. overlay: the video or image to write the answers on, or a folder for those of several.
    """

    k: int = 5
    continuous: bool | None = None
    window: float | None = None
    overlay: Path | None = None


def predict(bundle_dir: Path, files: Sequence[Path], k: int = 5, *, wanted: Wanted | None = None) -> Iterator[dict]:
    """One row for each clip of the files, in their order: file, clip, top [(label, probability)], error (None or why),
    and what else the bundle's task tells, such as `decoded`, the glosses of a sentence.

    A file is a video, an image, landmarks in a format that raysign reads and can tell from the file or reads as the
    bundle's training did, or a folder searched through for all of these. What cannot be used is a row with the reason,
    and the others go on. Of a clip of several signs there are `segments`, see infer.continuous, and `top` is empty.
    `overlay` is the film that was written of it, or None and a `note` why there is none. BundleError when the bundle
    cannot be loaded.
    """
    answers = Answers(bundle_dir, wanted or Wanted(k), _folder(files))
    try:
        for file in files:
            yield from answers.rows(Path(file))
    finally:
        answers.close()


def predict_many(
    bundle_dir: Path, files: Sequence[Path], wanted: Wanted, parallel: bool | None = None
) -> Iterator[dict]:
    """The rows of `predict` as they are found, on all CPUs of the cluster that RAY_ADDRESS names or of this machine.

    parallel: False for `predict` itself; None: as it is for less than `MANY` files.
    """
    reader = Reader(ensembles.load(Path(bundle_dir)))
    units = [{"file": str(file), "part": str(part)} for file in files for part in reader.parts(file)]
    if not (len(units) >= MANY if parallel is None else parallel):
        yield from predict(bundle_dir, files, wanted=wanted)
        return
    settings = config.Ray()  # pyright: ignore[reportCallIssue]
    engine.connect(settings)
    arguments = {
        "bundle_dir": Path(bundle_dir).absolute(),
        "wanted": wanted,
        "here": Path.cwd(),
        "root": _folder(files),
    }
    found = engine.stream(units, Worker, arguments, actors=engine.cpus(settings))
    for unit in counted(found, "predict", len(units), "file"):
        yield from json.loads(unit["rows"])


def _folder(files: Sequence[Path]) -> Path:
    """The deepest folder that all files lie in; the one that is given, of one; the working folder, of none."""
    paths = [Path(os.path.abspath(file)) for file in files or ["."]]  # noqa: PTH100 - pathlib keeps what .. takes back
    return Path(os.path.commonpath([path if os.path.isdir(path) else path.parent for path in paths]))  # noqa: PTH112


class Worker:
    """Answers one file after another in a process of its own; what Ray Data maps over the files.

    here: the folder that relative paths start at. root: as of Answers.
    """

    def __init__(self, bundle_dir: Path, wanted: Wanted, here: Path, root: Path):
        os.chdir(here)
        self.answers = Answers(bundle_dir, wanted, root, shared=True)

    def __call__(self, unit: dict) -> dict:
        """The file's rows, as JSON."""
        rows = self.answers.rows(Path(unit["file"]), [Path(unit["part"])])
        return {"part": unit["part"], "rows": json.dumps(list(rows))}


def _gathered(clips: Iterator[Found]) -> Iterator[list[Found]]:
    """Clips in groups: few long ones or many short ones, as many as memory bears."""
    some: list[Found] = []
    for clip in clips:
        some.append(clip)
        frames = sum(one.values.shape[1] for _, one in some if isinstance(one, Landmarks))
        if len(some) == TOGETHER or frames >= FRAMES:
            yield some
            some = []
    if some:
        yield some


class Answers:
    """A bundle that answers files. root: the folder below which they lie, and their pictures below `wanted.overlay`."""

    def __init__(self, bundle_dir: Path, wanted: Wanted, root: Path, shared: bool = False):
        self.bundle, self.wanted, self.root = ensembles.load(Path(bundle_dir)), wanted, root
        self.predictor, self.reader = predictor_of(self.bundle, "auto"), Reader(self.bundle, shared)

    def close(self) -> None:
        """Let go of the landmarker."""
        self.reader.close()

    def rows(self, file: Path, parts: Sequence[Path] | None = None) -> Iterator[dict]:
        """As `predict`, of one file or folder, or of some of its parts alone."""
        for media, alike in groupby(self.reader.parts(file) if parts is None else parts, is_media):
            # a video is seconds of work and told at once; of landmark files many are asked together
            for group in ([part] for part in alike) if media else [alike]:
                for some in _gathered(chain.from_iterable(map(self.reader.read, group))):
                    yield from self._rows(file, some, media)

    def _rows(self, file: Path, found: Sequence[Found], media: bool) -> Iterator[dict]:
        long = [isinstance(one, Landmarks) and self._is_continuous(one) for _, one in found]
        told = continuous.answers(self.predictor, [one for _, one in found], long, self.wanted.window, self.wanted.k)
        for (name, landmarks), answer in zip(found, told, strict=True):
            row = {"file": str(file), "clip": name, **self._row(answer)}
            if self.wanted.overlay and isinstance(landmarks, Landmarks) and not row["error"]:
                row |= self._overlaid(Path(name), landmarks, row) if media else NO_PICTURE
            yield row

    def _is_continuous(self, landmarks: Landmarks) -> bool:
        if self.wanted.continuous is not None:
            return self.wanted.continuous
        return bool(self.wanted.window) or continuous.is_long(self.bundle, landmarks)

    def _row(self, answer: tuple | RaysignError) -> dict:
        if isinstance(answer, RaysignError):
            return {"top": [], "error": str(answer)}
        probabilities, told = answer
        likeliest = [] if probabilities is None else top(probabilities, self.bundle.labels, self.wanted.k)
        return {"top": likeliest, "error": None, **told}

    def _overlaid(self, media: Path, landmarks: Landmarks, row: dict) -> dict:
        """Draws the row on its video or image."""
        from raysign.infer import overlay

        assert self.wanted.overlay is not None
        place = overlay.place(self.wanted.overlay, media, self.root)
        try:
            overlay.write(media, landmarks, row, place, self.bundle.config.extract.fps)
        except RaysignError as error:
            return {"overlay": None, "note": str(error)}
        return {"overlay": str(place)}
