"""The routes of a service. They are given what answers, so that they can be tried without Ray."""

import contextlib
import functools
import mimetypes
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection

from raysign import __version__
from raysign.errors import ClipError, RaysignError, nearest
from raysign.schema import Landmarks
from raysign.serve.answer import drawing_of, hand_of
from raysign.serve.around import LEFT, Around
from raysign.serve.live import GONE, Session
from raysign.serve.refusal import RefusedError, status_of
from raysign.serve.service import Service

_ARRAY = "nested lists, null where not seen; or {base64: little-endian float32, shape: [...]}"
_FILE = {"multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {
    "file": {"type": "string", "format": "binary", "description": "video, image or landmark file"}}}}}  # fmt: skip
_CLIP = {"application/json": {"schema": {"type": "object", "properties": {
    "layout": {"type": "string", "description": "which point is where, such as holistic_75"},
    "values": {"description": f"x, y, z as (frames, points, 3) or (persons, frames, points, 3): {_ARRAY}"},
    "visibility": {"description": "(frames, points) or (persons, frames, points), 0 to 1; default: 1 where seen"},
    "fps": {"type": "number"}, "width": {"type": "integer"}, "height": {"type": "integer"},
    "features": {"description": "(frames, F), for bundles that were trained on features"},
    "features_kind": {"type": "string"},
    "clips": {"type": "array", "description": "instead of the others: several such objects"}}}}}  # fmt: skip
Bundle = Annotated[str | None, Query(description="name of a bundle; default: the first")]
Top = Annotated[int, Query(ge=1, le=10_000, description="how many glosses to name")]

routes = APIRouter()


def build(service: Service) -> FastAPI:
    """The app. Its errors are JSON of one key, `error`: `place: found, expected, next step`."""
    app = FastAPI(title="raysign", version=__version__, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_middleware(Around, service=service)
    app.include_router(routes)
    for file in Path(__file__).with_name("page").iterdir():
        path = "/" if file.name == "index.html" else f"/{file.name}"
        app.add_route(path, _shown(file.read_bytes(), mimetypes.guess_type(file.name)[0]))
    app.add_exception_handler(RaysignError, _refused)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(RequestValidationError, _misspelt)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _broken)
    return app


def _shown(content: bytes, kind: str | None) -> Callable[[Request], Awaitable[Response]]:
    """A file of the page, as it is."""

    async def shown(_: Request) -> Response:
        return Response(content, media_type=kind)

    return shown


# ---------------------------------------------------------------- questions


def _spelt(asked: HTTPConnection) -> None:
    """RefusedError when the address asks for what its route does not know."""
    known = [parameter.alias for parameter in asked.scope["route"].dependant.query_params]
    for name in asked.query_params:
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "none"
            raise RefusedError(422, f"query: found {name[:80]!r}, expected {expected}{nearest(name[:80], known)}")


SPELT = [Depends(_spelt)]


@routes.get("/api/v1/bundles", summary="What there is to ask", dependencies=SPELT)
async def bundles(request: Request) -> dict:
    service: Service = request.app.state.service
    told = [{**about.public(), "ready": service.ready(name)} for name, about in service.bundles.items()]
    taken = service.settings.model_dump(
        include={"max_upload_mb", "max_seconds", "max_pixels", "max_clips", "live_window"}
    )
    return {"bundles": told, "limits": taken}


@routes.post(
    "/api/v1/recognitions",
    summary="What is signed in a clip, or in each of several",
    dependencies=SPELT,
    openapi_extra={"requestBody": {"required": True, "content": {**_CLIP, **_FILE}}},
)
async def recognitions(request: Request, bundle: Bundle = None, top: Top = 5, landmarks: bool = False) -> dict:
    """`landmarks=true` adds the points to draw over the clip."""
    began, service = time.perf_counter(), request.app.state.service
    about = service.about(bundle)
    clips, many, names = await service.clips(about, request)
    answers = await service.answers(about, clips, top)
    answers = [{"clip": name, **told} if name else told for name, told in zip(names, answers, strict=True)]
    if landmarks:
        for told, clip in zip(answers, clips, strict=True):
            told.update({"landmarks": drawing_of(clip)} if isinstance(clip, Landmarks) else {})
    if not many and "error" in answers[0]:
        raise clips[0] if isinstance(clips[0], RaysignError) else ClipError(answers[0]["error"])
    told = {"clips": answers} if many else answers[0]
    return {"bundle": about.name, **told, "milliseconds": round(1000 * (time.perf_counter() - began), 1)}


@routes.post(
    "/api/v1/asl/recognitions",
    summary="The letter that a hand shows in a photo",
    dependencies=SPELT,
    openapi_extra={"requestBody": {"required": True, "content": _FILE}},
)
async def letters(request: Request, bundle: Bundle = None) -> dict:
    service: Service = request.app.state.service
    about = service.about(bundle)
    (photo,), *_ = await service.read(about, request, images=True)
    if isinstance(photo, RaysignError):
        raise photo
    photo, side = hand_of(photo, service.settings.max_hands)
    (told,) = await service.answers(about, [photo], 1)
    if "error" in told:
        raise ClipError(told["error"])
    likeliest = told["top"][0]
    return {"letter": likeliest["gloss"], "confidence": likeliest["probability"], "handedness": side}


@routes.websocket("/api/v1/live")
async def live(socket: WebSocket, bundle: str | None = None, top: int = 5) -> None:
    service: Service = socket.app.state.service
    origin = socket.headers.get("origin")
    if origin and origin.partition("://")[2] != socket.headers.get("host"):  # another site's page in a browser
        await socket.close(1008)
        return
    await socket.accept()
    try:
        _spelt(socket)
        about = service.about(bundle)
        with service.camera():
            recognise = functools.partial(service.recognise, about.name)
            await Session(socket, about, service.decoders, recognise, service.settings, max(1, min(top, 100))).run()
    except RaysignError as error:
        with contextlib.suppress(*GONE):
            await socket.send_json({"error": str(error)})
            await socket.close(1008 if status_of(error) < 429 else 1013)


# ---------------------------------------------------------------- the service itself


@routes.get("/healthz", summary="200 when all bundles are ready, else 503")
async def healthz(request: Request) -> JSONResponse:
    service: Service = request.app.state.service
    ready = {name: service.ready(name) for name in service.bundles}
    good = all(ready.values())
    return JSONResponse({"ready": good, "bundles": ready}, 200 if good else 503)


@routes.get("/metrics", summary="Prometheus text", response_class=Response)
async def metrics(request: Request) -> Response:
    return Response(request.app.state.service.measured(), media_type="text/plain; version=0.0.4")


# ---------------------------------------------------------------- errors


async def _refused(_: Request, error) -> JSONResponse:
    status = status_of(error)
    return JSONResponse({"error": str(error)}, status, {"Retry-After": "2"} if status in (429, 503) else None)


async def _unknown(request: Request, error) -> JSONResponse:
    """No such path or method, a form that is none."""
    return JSONResponse({"error": f"{request.url.path[:80]}: {error.detail}; see /openapi.json"}, error.status_code)


async def _misspelt(_: Request, error) -> JSONResponse:
    first = error.errors()[0]
    return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}; see /openapi.json"}, 400)


async def _gone(_: Request, __) -> Response:
    """Who asked has gone before all of his question was here: nobody reads this, and nothing is wrong."""
    return Response(status_code=LEFT)


async def _broken(_: Request, error: Exception) -> JSONResponse:
    """Of the service, not of the question; uvicorn prints it."""
    return JSONResponse({"error": f"service: {type(error).__name__}; its log has more"}, 500)
