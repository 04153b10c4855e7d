"""`raysign serve` itself: its start, answers on a port, a recogniser that dies, its end; and what its page says."""

import contextlib
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import requests
from click.testing import CliRunner
from made_bundles import settings, untrained
from made_services import as_json
from PIL import Image
from test_infer_files import landmark_file

from raysign import bench, store
from raysign.bench import serve as serving
from raysign.cli import main
from raysign.infer.predictor import Predictor
from raysign.schema import LANDMARKS, landmarks_row, to_table
from raysign.serve import settings as telling
from raysign.sources import synthetic

WAIT = 300  # seconds, on a busy machine
PAGE = Path(__file__).parents[1] / "docs" / "serve.md"


@dataclass
class Running:
    address: str
    process: subprocess.Popen
    log: Path
    early: list[int]  # what was answered while it was starting


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the page's commands are about, below one folder."""
    home = tmp_path_factory.mktemp("service")
    for name in ("mine", "letters"):
        made = untrained()
        replace(made, config=made.config.model_copy(update={"name": name})).save(home / "runs" / name / "bundle")
    (yaml,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (home / "service.yaml").write_text(yaml)
    source = settings().source
    clip = synthetic.read(synthetic.clips(source)[0], source)
    landmark_file(home / "landmarks.parquet", clip)
    rows = [landmarks_row(ref, "made up", synthetic.read(ref, source)) for ref in synthetic.clips(source)[:2]]
    shard = home / "runs" / "demo" / "landmarks" / "shard-0000-00000.parquet"
    store.write_table(shard, to_table(rows, LANDMARKS))
    (home / "clip.json").write_text(json.dumps(as_json(clip)))
    Image.new("RGB", (64, 64), "gray").save(home / "photo.jpg")
    shutil.copy(home / "photo.jpg", home / "new_video.mp4")
    return home


@pytest.fixture(scope="module")
def service(folder):
    program = [sys.executable, "-c", "from raysign.cli import main; main()", "serve"]
    words = ["runs/mine/bundle", "runs/letters/bundle", "port=0", "any_extractor=true", "ray.cpus=2", "decoders=1"]
    log = folder / "service.log"
    with log.open("w") as file:
        process = subprocess.Popen([*program, *words], cwd=folder, stderr=file, start_new_session=True)
    try:
        early, said, end = [], "", time.monotonic() + WAIT
        while said.count("is ready") < 2:
            assert process.poll() is None and time.monotonic() < end, said
            time.sleep(0.2)
            said = log.read_text()
            if found := re.search(r"http://localhost:\d+", said):
                early.append(requests.get(f"{found[0]}/healthz", timeout=30).status_code)
        yield Running(found[0], process, log, early)  # pyright: ignore[reportOptionalSubscript]
    finally:
        process.kill()
        process.wait()


def ask(service: Running, clip, query: str = "") -> requests.Response:
    return requests.post(f"{service.address}/api/v1/recognitions{query}", json=as_json(clip), timeout=WAIT)


@pytest.fixture(scope="module")
def clip():
    source = settings().source
    return synthetic.read(synthetic.clips(source)[0], source)


def test_it_answers_before_it_is_ready_and_says_that_it_is_not(service):
    assert service.early[0] == 503
    assert requests.get(f"{service.address}/healthz", timeout=30).json() == {
        "ready": True, "bundles": {"mine": True, "letters": True},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["mine", "letters"])
def test_a_port_is_answered_as_the_predictor_does(service, bundle, clip, name):
    told = ask(service, clip, f"?bundle={name}").json()
    assert told["bundle"] == name
    wanted = dict(zip(bundle.labels, Predictor(bundle).predict([clip])[0], strict=True))
    assert {one["gloss"]: one["probability"] for one in told["top"]} == pytest.approx(wanted, abs=1e-4)


def test_it_listens_on_this_machine_alone(service):
    port = int(service.address.rpartition(":")[2])
    process = psutil.Process(service.process.pid)
    heard = {c.laddr for c in process.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
    assert {place.ip for place in heard} == {"127.0.0.1"}


def test_a_port_that_is_taken_is_told_in_a_line(service, folder):
    port = service.address.rpartition(":")[2]
    done = CliRunner().invoke(main, ["serve", str(folder / "runs" / "mine" / "bundle"), f"port={port}", "media=false"])
    assert done.exit_code == 1
    assert done.output.startswith(f"raysign: 127.0.0.1:{port}: cannot be listened at")


def test_a_stranger_who_talks_no_http_disturbs_nobody(service, clip):
    host, port = service.address.removeprefix("http://").split(":")
    for words in (
        b"\x16\x03\x01" + bytes(200),
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), 10) as door:
            door.sendall(words)
            assert not door.recv(4096).startswith(b"HTTP/1.1 5")
    assert ask(service, clip).status_code == 200


@pytest.mark.models
def test_the_pages_questions_are_answered_as_it_says(service, folder):
    text = PAGE.read_text()
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    asked = [line.replace("curl", "curl -sS", 1) for line in blocks.splitlines() if line.startswith("curl")]
    answers = []
    for line in asked:
        words = ["bash", "-c", line.replace("http://localhost:8000", service.address)]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
        answers.append(json.loads(done.stdout))
    several, *answers = answers
    assert [set(one) & {"clip", "top", "error"} for one in several["clips"]] == [{"clip", "top"}] * 2
    assert "no person or hand found" in answers[0]["error"]  # it is told by its content that it is a photo
    assert len(answers[1]["top"]) == 3 and "points" in answers[1]["landmarks"]
    (shown,) = re.findall(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert set(answers[2]) == set(json.loads(shown))
    assert "no person or hand found" in answers[3]["error"]
    assert [one["name"] for one in answers[4]["bundles"]] == ["mine", "letters"]


def test_the_pages_commands_can_be_given(folder, monkeypatch):
    monkeypatch.chdir(folder)
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))
    known = []
    for program, verb, *words in (shlex.split(line) for line in blocks.splitlines() if line.startswith("raysign")):
        assert program == "raysign"
        if verb == "bench":
            assert bench.arguments(serving.run, words[1:]) == {}
        else:
            known.append(list(telling.load(words).bundles))
    assert known == [["mine"], ["mine", "letters"], ["words", "letters"], ["words", "letters"]]


def test_every_setting_that_the_page_names_exists():
    named = re.findall(r"`([a-z]+_[a-z_]+|replicas|gpus|threads|decoders)`", PAGE.read_text())
    settings_known = {*telling.Serve.model_fields, "any_extractor"}
    elsewhere = {"holistic_75", "holistic_543"}
    assert {name for name in named if not re.search(r"\d", name)} - elsewhere <= settings_known


def test_a_recogniser_that_dies_is_replaced_and_its_question_answered(service, clip):
    below = psutil.Process(service.process.pid).children(recursive=True)
    replicas = [one for one in below if "-mine:mine" in " ".join(one.cmdline())]
    assert len(replicas) == 1
    replicas[0].kill()
    assert ask(service, clip, "?bundle=mine").status_code == 200


def test_it_ends_at_once_answers_what_was_asked_and_leaves_nothing(service, clip):
    process = psutil.Process(service.process.pid)
    below = process.children(recursive=True)
    assert len(below) > 3

    def asks(_) -> list[int]:
        """Statuses of one question after the other, until nobody listens any more."""
        found = []
        with contextlib.suppress(requests.ConnectionError):
            while True:
                found.append(ask(service, clip).status_code)
        return found

    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(asks, range(8))
        time.sleep(1)
        service.process.send_signal(signal.SIGTERM)
        assert {status for statuses in asked for status in statuses} == {200}
    assert service.process.wait(60) == 0
    _, alive = psutil.wait_procs(below, 30)
    assert alive == []
    lines = [line for line in service.log.read_text().splitlines() if " I " not in line]  # Ray's own
    assert lines[-1] == "raysign: the service has ended"
    assert len(lines) == 4, lines


def test_the_benchmark_finds_no_fault_of_the_service(capsys):
    found = serving.run(requests=60, frames=20, clients=(1, 4))
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert set(found["clients"]) == {"1", "4"}
    statuses = found["flood"]["statuses"]
    assert sum(statuses.values()) == 60 and statuses["200"] == 57
    assert all(status < "500" for status in statuses)
    assert found["bare_clips_per_second"] > 0
