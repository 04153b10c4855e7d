"""What answers the questions of a service: its bundles, and the way from a question to clips and to their answers."""

import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import python_multipart  # noqa: F401 - Starlette reads forms with it, and misses it only then
from fastapi import Request
from starlette.datastructures import UploadFile

from raysign.errors import LimitError, RaysignError, nearest
from raysign.schema import Landmarks
from raysign.serve import question
from raysign.serve.about import About
from raysign.serve.answer import answer
from raysign.serve.batches import Found
from raysign.serve.decoders import Clips, Decoders
from raysign.serve.measures import Measures
from raysign.serve.refusal import RefusedError
from raysign.serve.settings import Serve


@dataclass
class Service:
    """What answers.

    recognise: answers of clips by a bundle, one each. ready: whether a bundle can be asked. live: sessions now.
    """

    settings: Serve
    bundles: dict[str, About]
    decoders: Decoders
    recognise: Callable[[str, list[Landmarks]], Awaitable[list[Found]]]
    ready: Callable[[str], bool]
    measures: Measures = field(default_factory=Measures)
    live: int = 0

    def about(self, name: str | None) -> About:
        """The bundle of a question, the first one by default; RefusedError when there is none, or none yet."""
        name = next(iter(self.bundles)) if name is None else name
        if name not in self.bundles:
            known = ", ".join(self.bundles)
            raise RefusedError(
                404, f"bundle: found {name[:80]!r}, expected one of {known}{nearest(name[:80], self.bundles)}"
            )
        if not self.ready(name):
            raise RefusedError(503, f"bundle {name}: not ready yet; ask again in a few seconds")
        return self.bundles[name]

    async def clips(self, about: About, request: Request) -> Clips:
        """The clips of a question."""
        self._refuse_large(request)
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind == "application/json":
            return await self._landmarks(about, request)
        if kind != "multipart/form-data":
            expected = "application/json of landmarks or multipart/form-data with a `file`"
            raise RefusedError(415, f"content-type: found {kind[:60]!r}, expected {expected}")
        return await self.read(about, request)

    async def _landmarks(self, about: About, request: Request) -> Clips:
        """The clips of JSON: of short one here and at once, of long one where it holds up nobody else."""
        with tempfile.SpooledTemporaryFile(question.SHORT) as file:
            async for some in request.stream():
                file.write(some)
            if file.tell() > question.SHORT:
                return await self.decoders.read(about.name, ".json", file)
            file.seek(0)
            clips, many = question.clips_of(question.of_json(file.read()), self.settings)
            return [*clips], many, [""] * len(clips)

    async def read(self, about: About, request: Request, images: bool = False) -> Clips:
        """The clips of the file that was sent. images: other files are refused."""
        self._refuse_large(request)
        async with request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise RefusedError(
                    400, f"file: found {', '.join(form)[:80] or 'nothing'}, expected a file in the field `file`"
                )
            head = await file.read(512)
            suffix = question.suffix_of(head)
            if suffix is None or (images and suffix not in question.IMAGES):
                expected = "a JPEG, PNG, BMP or WebP" if images else "a video, an image, Parquet or npz"
                raise RefusedError(
                    415, f"file: found {'nothing in it' if not head else 'another kind'}, expected {expected}"
                )
            if suffix not in question.TABLES and not about.media:
                raise RefusedError(415, f"bundle {about.name}: {about.note}")
            await file.seek(0)
            return await self.decoders.read(about.name, suffix, file.file, question.name_of(file.filename))

    async def answers(self, about: About, clips: list[Landmarks | RaysignError], top: int) -> list[dict]:
        """Of each clip what is said of it, or its error. RefusedError when nothing answers now."""
        good = [clip for clip in clips if isinstance(clip, Landmarks)]
        found = await self.recognise(about.name, good) if good else []
        for one in found:
            if isinstance(one, RefusedError):
                raise one
        told = (answer(one, clip, about.labels, top) for one, clip in zip(found, good, strict=True))
        return [next(told) if isinstance(clip, Landmarks) else {"error": str(clip)} for clip in clips]

    def _refuse_large(self, request: Request) -> None:
        """Before any of it is read; what does not say its size is counted on its way."""
        told, most = request.headers.get("content-length", ""), self.settings.max_upload_mb
        if told.isdigit() and int(told[:20]) > most * 1e6:
            raise LimitError(f"body: found {int(told[:20]) / 1e6:.1f} MB, expected at most {most:g} MB; send less")

    @contextmanager
    def camera(self) -> Iterator[None]:
        """A place for one more camera; RefusedError when all are taken."""
        if self.live >= self.settings.live_sessions:
            raise RefusedError(429, f"live: found {self.live} cameras already, expected fewer; try again later")
        self.live += 1
        try:
            yield
        finally:
            self.live -= 1

    def measured(self) -> bytes:
        """What is measured, in Prometheus' text format."""
        self.measures.decoding.set(self.decoders.busy)
        self.measures.live.set(self.live)
        return self.measures.text()
