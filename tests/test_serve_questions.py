"""A service asked about landmarks: the predictor's answers, else one line that says what is wrong."""

import asyncio
import base64
import json
import socket
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_bundles import settings as tiny
from made_bundles import untrained
from made_services import as_json, asked, form, listening, service_of

from raysign.errors import ConfigError, RaysignError
from raysign.infer.predictor import Predictor
from raysign.schema import Landmarks
from raysign.serve import settings as telling
from raysign.serve.question import SHORT, clips_of
from raysign.serve.recogniser import Recogniser
from raysign.sources import synthetic


@pytest.fixture(scope="module")
def clips() -> list[Landmarks]:
    source = tiny().source
    return [synthetic.read(ref, source) for ref in synthetic.clips(source)][:6]


@pytest.fixture(scope="module")
def service(bundle_dir):
    with asked(bundle_dir, "media=false", "max_clips=8", "max_upload_mb=4") as made:
        yield made


@pytest.fixture(scope="module")
def truth(bundle, clips) -> list[list[dict]]:
    """What the predictor answers."""
    found = Predictor(bundle).predict(clips)
    return [[{"gloss": g, "probability": p} for p, g in sorted(zip(row, bundle.labels, strict=True), reverse=True)]
            for row in found]  # fmt: skip


def same(told: list[dict], wanted: list[dict]) -> bool:
    glosses = [one["gloss"] for one in told] == [one["gloss"] for one in wanted]
    return glosses and all(abs(a["probability"] - b["probability"]) < 1e-4 for a, b in zip(told, wanted, strict=True))


def coded(clip: Landmarks) -> dict:
    """The same landmarks with arrays in base64."""
    told = as_json(clip)
    for name in ("values", "visibility"):
        array = getattr(clip, name)
        told[name] = {"base64": base64.b64encode(array.astype("<f4").tobytes()).decode(), "shape": [*array.shape]}
    return told


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("written", [as_json, coded])
def test_a_clip_is_answered_as_the_predictor_does(service, clips, truth, written):
    client, run = service
    for clip, wanted in zip(clips, truth, strict=True):
        answer = run(client.post(written(clip)))
        assert answer.status == 200
        assert same(answer.json["top"], wanted)
        assert answer.json["frames"] == clip.values.shape[1]


def test_clips_asked_together_are_answered_as_each_alone(service, clips, truth):
    client, run = service
    told = run(client.post({"clips": [as_json(clip) for clip in clips]})).json["clips"]
    assert len(told) == len(clips)
    assert all(same(one["top"], wanted) for one, wanted in zip(told, truth, strict=True))


def test_many_who_ask_at_once_get_their_own_answers(service, clips, truth):
    client, run = service

    async def at_once() -> list:
        return await asyncio.gather(*(client.post(coded(clips[i % 6])) for i in range(30)))

    for i, answer in enumerate(run(at_once())):
        assert same(answer.json["top"], truth[i % 6])


def test_persons_visibility_and_rate_may_be_left_out(service, clips):
    client, run = service
    clip = as_json(clips[0])
    told = {"layout": clip["layout"], "values": clip["values"][0]}
    assert run(client.post(told)).status == 200


def test_nan_and_null_are_both_not_seen(service, clips):
    client, run = service
    null = json.dumps(as_json(clips[0]))
    assert "null" in null
    answers = [run(client.post(body.encode())).json["top"] for body in (null, null.replace("null", "NaN"))]
    assert answers[0] == answers[1]


def test_one_clip_of_several_that_cannot_be_used_costs_the_others_nothing(service, clips, truth):
    client, run = service
    bad = {"layout": "holistic_75", "values": np.full((5, 75, 3), np.nan).tolist()}
    told = run(client.post({"clips": [as_json(clips[0]), bad, as_json(clips[1])]})).json["clips"]
    assert same(told[0]["top"], truth[0]) and same(told[2]["top"], truth[1])
    assert "error" in told[1]


def test_one_clip_that_breaks_its_recipe_costs_the_others_nothing(bundle_dir, clips, bundle):
    huge = replace(clips[0], values=np.full_like(clips[0].values, 3e38))
    found = Recogniser(bundle_dir).answers([clips[1], huge, clips[2]])
    wanted = Predictor(bundle).predict([clips[1], clips[2]])
    np.testing.assert_allclose([found[0][0], found[2][0]], wanted, atol=1e-5)  # pyright: ignore
    assert isinstance(found[1], RaysignError)


def test_no_more_glosses_are_named_than_asked_for(service, clips):
    client, run = service
    answer = run(client.post(as_json(clips[0]), "/api/v1/recognitions?top=2"))
    assert len(answer.json["top"]) == 2


def test_points_to_draw_are_those_of_the_landmarks(service, clips):
    client, run = service
    clip = clips[0]
    told = run(client.post(as_json(clip), "/api/v1/recognitions?landmarks=true")).json["landmarks"]
    points = np.array(told["points"], float).reshape(1, clip.values.shape[1], -1, 2)
    assert {part["part"] for part in told["parts"]} == {"pose", "left_hand", "right_hand"}
    assert all(max(bone) < points.shape[2] for part in told["parts"] for bone in part["bones"])
    hand = clip.values[0, :, -21:, :2]  # all of its points are drawn
    np.testing.assert_allclose(points[0, :, -21:], hand, atol=1e-4)


def test_what_is_served_is_listed_without_paths(service, bundle_dir):
    client, run = service
    told = run(client.get("/api/v1/bundles"))
    assert [(one["name"], one["glosses"], one["recipe"]) for one in told.json["bundles"]] == [
        ("tiny", 3, "shoulder_centered")
    ]
    assert str(bundle_dir.parent) not in told.body.decode()


def test_figures_of_the_glosses_it_learned_by_heart_are_not_told(tmp_path):
    replace(untrained(), card={"metrics": {"epoch": 3, "train/top1": 1.0, "val/top1": 0.5}}).save(tmp_path / "bundle")
    with asked(tmp_path / "bundle") as (client, run):
        (told,) = run(client.get("/api/v1/bundles")).json["bundles"]
    assert (told["metrics"], told["media"]) == ({"val/top1": 0.5}, False)


def test_what_is_measured_counts_what_was_asked(service):
    client, run = service
    line = 'raysign_requests_total{route="/api/v1/recognitions",status="400"} '

    def count() -> float:
        text = run(client.get("/metrics")).body.decode()
        return float(text.partition(line)[2].split("\n")[0] or 0)

    before = count()
    run(client.post(b"no json"))
    assert count() == before + 1


# ---------------------------------------------------------------- what cannot be answered

FRAME = np.zeros((2, 75, 3)).tolist()
GOOD = {"layout": "holistic_75", "values": FRAME}
BAD = {
    "nothing": (b"", 400),
    "no JSON": (b"{", 400),
    "no text": (b"\xff\xfe\x00", 400),
    "deep": (b"[" * 200_000, 400),
    "deep values": (b'{"layout": "holistic_75", "values": ' + b"[" * 900 + b"]" * 900 + b"}", 400),
    "a list": ([GOOD], 400),
    "a number": (7, 400),
    "unknown key": ({**GOOD, "value": 1}, 400),
    "no layout": ({"values": FRAME}, 400),
    "unknown layout": ({**GOOD, "layout": "holistic_57"}, 400),
    "layout of a bomb": ({**GOOD, "layout": '{"name": "x", "parts": [["a", 1e300]]}'}, 400),
    "no values": ({"layout": "holistic_75"}, 400),
    "another shape": ({**GOOD, "values": np.zeros((2, 74, 3)).tolist()}, 400),
    "ragged": ({**GOOD, "values": [FRAME[0], FRAME[0][:5]]}, 400),
    "words": ({**GOOD, "values": [[["1", "2", "3"]] * 75]}, 400),
    "NaN in words": ({**GOOD, "values": [[["NaN", "NaN", "NaN"]] * 75]}, 400),
    "truth": ({**GOOD, "values": [[[True, False, True]] * 75]}, 400),
    "objects": ({**GOOD, "values": [[[{}, {}, {}]] * 75]}, 400),
    "too large": ({**GOOD, "values": [[[1e300, 0, 0]] * 75]}, 400),
    "far too large": (json.dumps({**GOOD, "values": 1}).replace("1", "1" + "0" * 9000).encode(), 400),
    "infinite": (json.dumps({**GOOD, "values": [[[0, 0, 0]] * 75]}).replace("0, 0, 0", "Infinity, 0, 0").encode(), 400),
    "no frames": ({**GOOD, "values": []}, 400),
    "visibility of another shape": ({**GOOD, "visibility": [[1, 2]]}, 400),
    "a rate in words": ({**GOOD, "fps": "fast"}, 400),
    "a rate below 0": ({**GOOD, "fps": -1}, 400),
    "a width without end": (b'{"layout": "holistic_75", "width": 1e400, "values": []}', 400),
    "hours": ({**GOOD, "fps": 1e-9}, 413),
    "base64 of something else": ({**GOOD, "values": {"base64": "AAAA", "shape": [2, 75, 3]}}, 400),
    "no base64": ({**GOOD, "values": {"base64": "!", "shape": [2, 75, 3]}}, 400),
    "a shape of a bomb": ({**GOOD, "values": {"base64": "AAAAAA==", "shape": [2**30, 2**30, 2**30, 2**30]}}, 400),
    "a shape below 0": ({**GOOD, "values": {"base64": "AAAAAA==", "shape": [-1]}}, 400),
    "too many frames": ({**GOOD, "values": {"base64": base64.b64encode(bytes(4 * 3 * 21 * 5000)).decode(),
                                            "shape": [5000, 21, 3]}, "layout": "hand_21"}, 413),
    "too many clips": ({"clips": [GOOD] * 9}, 413),
    "no clips": ({"clips": []}, 400),
    "clips and more": ({"clips": [GOOD], **GOOD}, 400),
    "clips of nothing": ({"clips": [None]}, 400),
    "nothing seen": ({**GOOD, "values": [[[None] * 3] * 75]}, 422),
    "another layout than that of training": ({"layout": "ntu_25", "values": np.zeros((2, 25, 3)).tolist()}, 422),
}  # fmt: skip


def test_text_in_place_of_numbers_takes_no_memory(bundle_dir):
    told = {"layout": "hand_21", "values": ["x" * 1_000_000] + [""] * 100}
    settings = telling.load([str(bundle_dir)])
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match="values: found no array"):
            clips_of(told, settings)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("told", [GOOD, {"clips": [GOOD]}, {**GOOD, "fps": -1}, {**GOOD, "fps": 1e-9}, [GOOD]])
def test_a_question_of_many_bytes_is_read_elsewhere_and_answered_as_a_short_one(service, told):
    client, run = service
    short = json.dumps(told).encode()
    assert not client.service.decoders.busy
    answers = [run(client.post(body)) for body in (short, short + b" " * SHORT)]
    assert client.service.decoders.idle  # a process that was made for it
    assert answers[0].status == answers[1].status
    first, second = ({**answer.json, "milliseconds": 0} for answer in answers)
    assert first == second


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_answered_is_told_in_a_line(service, name):
    client, run = service
    body, status = BAD[name]
    answer = run(client.post(body))
    assert answer.status == status, answer.body
    assert set(answer.json) == {"error"}
    assert "\n" not in answer.json["error"]
    assert ": " in answer.json["error"] or status == 422  # a recipe knows no place
    assert len(answer.json["error"]) < 800


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*GOOD, "clips", "base64", "shape", "fps", "features"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=VALUE, over=st.booleans())
def test_whatever_is_sent_is_the_askers_fault(service, told, over):
    client, run = service
    body = {**GOOD, **told} if over and isinstance(told, dict) else told
    assert run(client.post(body)).status in (200, 400, 413, 422)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/recognitions", 405),
        ("POST", "/api/v1/recognitions?bundle=tinny", 404),
        ("POST", "/api/v1/recognitions?top=none", 400),
        ("POST", "/api/v1/recognitions?top=0", 400),
        ("POST", "/api/v1/recognitions", 415),
        ("GET", "/../settings.py", 404),
        ("GET", "/docs", 404),
    ],
)
def test_a_wrong_address_is_told_in_a_line(service, method, path, status):
    client, run = service
    answer = run(client.ask(method, path))
    assert answer.status == status
    assert set(answer.json) == {"error"}


@pytest.mark.parametrize(
    "path", ["/api/v1/recognitions", "/api/v1/asl/recognitions", "/api/v1/bundles", "/api/v1/live"]
)
def test_a_parameter_that_a_question_does_not_have_is_told(service, path):
    client, run = service

    async def asked() -> str:
        if path.endswith("live"):
            async with client.camera(f"{path}?tpo=3") as camera:
                await camera.next()
                return json.loads((await camera.next())["text"])["error"]
        answer = await client.ask("GET" if path.endswith("bundles") else "POST", f"{path}?tpo=3")
        assert answer.status == 422
        return answer.json["error"]

    told = run(asked())
    assert told.startswith("query: found 'tpo', expected ")
    assert ("did you mean 'top'" in told) == (path in ("/api/v1/recognitions", "/api/v1/live"))


def test_the_nearest_bundle_is_named(service):
    client, run = service
    assert "did you mean 'tiny'" in run(client.ask("POST", "/api/v1/recognitions?bundle=tinny")).json["error"]


@pytest.mark.parametrize("told", [True, False])
def test_too_much_is_refused_also_when_its_size_is_not_told(service, told):
    client, run = service
    pieces = [b"[" + b"1," * 500_000] * 20
    body = b"".join(pieces) if told else pieces
    answer = run(client.ask("POST", "/api/v1/recognitions", body, content_type="application/json"))
    assert answer.status == 413
    assert "4 MB" in answer.json["error"]


def test_a_question_that_does_not_come_is_given_up(bundle_dir):
    async def slow() -> int:
        async with service_of(bundle_dir, "media=false", "request_seconds=0.2") as client:

            async def never():
                return await asyncio.Future()

            sent = []

            async def send(message):
                sent.append(message)

            scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
                     "path": "/api/v1/recognitions", "raw_path": b"", "query_string": b"", "scheme": "http",
                     "headers": [(b"content-type", b"application/json")], "server": ("here", 80),
                     "client": ("here", 1), "root_path": ""}  # fmt: skip
            await client.app(scope, never, send)
            return sent[0]["status"]

    assert asyncio.run(slow()) == 408


def test_a_browser_may_load_nothing_from_elsewhere(service):
    client, run = service
    for path in ("/", "/page.js", "/api/v1/bundles", "/nowhere"):
        headers = run(client.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_who_goes_away_in_the_middle_of_a_question_is_no_fault_of_the_service(bundle_dir, capfd):
    with listening(bundle_dir, "media=false") as address:
        host, port = address.removeprefix("http://").split(":")
        for kind in ("application/json", form(b"")[1]):
            head = (
                f"POST /api/v1/recognitions HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 900\r\n\r\n"
            )
            with socket.create_connection((host, int(port))) as door:
                door.sendall(head.encode() + form(b"x" * 300)[0][:200])
        end, told = time.monotonic() + 60, ""
        while 'status="499"} 2.0' not in told:
            assert time.monotonic() < end, told
            told = requests.get(f"{address}/metrics", timeout=30).text
    assert "Traceback" not in capfd.readouterr().err


def test_a_bundle_that_is_being_loaded_is_not_ready(bundle_dir):
    async def early() -> tuple:
        async with service_of(bundle_dir, "media=false") as client:
            client.service.ready = lambda _: False
            return await client.post(GOOD), await client.get("/healthz"), await client.get("/")

    asked_early, health, page = asyncio.run(early())
    assert (asked_early.status, health.status, page.status) == (503, 503, 200)
    assert "not ready" in asked_early.json["error"]
