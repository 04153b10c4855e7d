"""What HTTP, Ray Serve and batches cost: `raysign serve` under load against the bare predictor asked clip by clip.

Both sides answer the same landmarks with the same bundle, recipe included, on the same CPUs; those who ask the service
run on these too. Then many requests, some of them malformed, as they come from the world: none may be answered with a
fault of the service, and its memory must stay as it is.
"""

import asyncio
import base64
import itertools
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import torch
from pydantic import PositiveInt

from raysign import config
from raysign.bench._cluster import below
from raysign.bench._made import landmarks
from raysign.bench._watch import seconds
from raysign.clips import form
from raysign.errors import RaysignError
from raysign.infer.predictor import Predictor
from raysign.learn import bundle as bundles
from raysign.learn import recogniser
from raysign.learn.labels import Labels
from raysign.schema import Landmarks

LAYOUT, CLIPS, ROUNDS = "holistic_75", 64, 3
TARGET = 0.8  # of the bare predictor's clips a second, at 32 clients
START = 300  # seconds that the service may take to be ready
BAD = 20  # one request of so many is malformed


def run(requests: PositiveInt = 10_000, frames: PositiveInt = 60, clients: tuple[PositiveInt, ...] = (1, 8, 32),
        replicas: PositiveInt = 1) -> dict:  # fmt: skip
    """Print a table and, as the last line, one JSON object; return it.

    requests: of the last part; a tenth of them measure each number of clients. frames: of a clip, about. clients: that
    ask at a time. replicas: of the recogniser.
    """
    home = Path(tempfile.mkdtemp(prefix="raysign-bench-"))
    try:
        clips = [landmarks(seed, LAYOUT, frames) for seed in range(CLIPS)]
        predictor = Predictor(_bundle(home / "bundle"))
        bare = [_bare(predictor, clips)]
        with _served(home, replicas) as (address, process):
            asked = _Asked(address, [_question(clip) for clip in clips])
            loads = {str(n): asked.load(max(n, requests // 10), n) for n in clients}
            before, began = _memory(process), time.perf_counter()
            statuses = asked.flood(requests, max(clients))
            flood = {"seconds": round(time.perf_counter() - began, 1), "statuses": statuses,
                     "megabytes_before": before, "megabytes_after": _memory(process)}  # fmt: skip
        bare.append(_bare(predictor, clips))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    alone = statistics.median(bare)
    for load in loads.values():
        load["of_bare"] = round(load["clips_per_second"] / alone, 3)
    found = {"bare_clips_per_second": round(alone, 1), "clients": loads, "flood": flood, "frames": frames,
             "replicas": replicas}  # fmt: skip
    _print(found)
    return found


def _print(found: dict) -> None:
    print(f"{'':34}{'clips/s':>10}{'of bare':>10}{'p50, ms':>10}{'p95':>8}{'p99':>8}")
    print(f"{'bare predictor, clip by clip':34}{found['bare_clips_per_second']:>10}")
    for count, load in found["clients"].items():
        wanted = f" (wanted: at least {TARGET})" if count == "32" else ""
        speeds = f"{load['clips_per_second']:>10}{load['of_bare']:>10}"
        print(f"{f'clients: {count}{wanted}':34}{speeds}{load['p50']:>10}{load['p95']:>8}{load['p99']:>8}")
    print(f"{'requests, 5 % malformed: statuses':34}{found['flood']['statuses']}")
    print(f"{'memory of the service, MB':34}{found['flood']['megabytes_before']}, {found['flood']['megabytes_after']}")
    print(json.dumps(found))


# ---------------------------------------------------------------- the two sides


def _bundle(place: Path) -> bundles.Bundle:
    """The default recogniser of 100 glosses, untrained: it computes what a trained one does."""
    torch.manual_seed(0)
    tree = config.load(["source.kind=synthetic", "name=bench"])
    skeleton, channels = form.of_layouts([LAYOUT], tree)
    names = Labels([f"sign{i:02d}" for i in range(100)])
    network = recogniser.build(tree, skeleton, channels, names).eval()
    bundles.Bundle(tree, skeleton, names, channels, network, {"extractor": "import made up"}).save(place)
    return bundles.load(place)


def _bare(predictor: Predictor, clips: list[Landmarks]) -> float:
    """Clips a second, one after the other; the best of some rounds."""
    predictor.predict(clips[:1])
    return len(clips) / min(seconds(lambda: [predictor.predict([clip]) for clip in clips]) for _ in range(ROUNDS))


@contextmanager
def _served(home: Path, replicas: int) -> Iterator[tuple[str, psutil.Process]]:
    """The address of `raysign serve` and its process. RaysignError when it does not start."""
    program = [sys.executable, "-c", "from raysign.cli import main; main()"]
    command = [*program, "serve", str(home / "bundle"), "port=0", f"replicas={replicas}"]
    with (home / "service.log").open("w+") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, start_new_session=True)
        try:
            end, said = time.monotonic() + START, ""
            while "is ready" not in said:
                if process.poll() is not None or time.monotonic() > end:
                    raise RaysignError(f"raysign serve: did not start ({said.strip()[-500:]}); run it by itself")
                time.sleep(0.5)
                said = Path(log.name).read_text()
            yield next(word for word in said.split() if word.startswith("http://")), psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _memory(process: psutil.Process) -> int:
    """Megabytes that the processes of the service have for themselves."""
    total = 0
    for one in (process, *below(process.pid)):
        with suppress(psutil.Error):  # it has just ended
            total += one.memory_full_info().uss
    return round(total / 2**20)


# ---------------------------------------------------------------- those who ask


@dataclass(frozen=True)
class _Question:
    body: bytes
    kind: str = "application/json"
    path: str = "/api/v1/recognitions"


def _question(clip: Landmarks) -> _Question:
    """A clip, its arrays in base64."""
    arrays = {
        name: {"base64": base64.b64encode(array.astype("<f4").tobytes()).decode(), "shape": [*array.shape]}
        for name, array in (("values", clip.values), ("visibility", clip.visibility))
    }
    told = {"layout": clip.layout, **arrays, "fps": clip.fps, "width": clip.width, "height": clip.height}
    return _Question(json.dumps(told).encode())


def _malformed() -> list[_Question]:
    told = {"layout": LAYOUT, "values": np.zeros((3, 75, 3)).tolist()}
    bodies = [b"", b"{", b"[" * 100_000, b"\xff\xfe", json.dumps({**told, "values": [[["NaN"] * 3] * 75]}).encode(),
              json.dumps({**told, "layout": "ntu_25"}).encode(), json.dumps({**told, "fps": 1e-9}).encode(),
              json.dumps({"clips": [told] * 1000}).encode()]  # fmt: skip
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../a"\r\n\r\nPAR1\r\n--x--\r\n'
    forms = [(b"x", "multipart/form-data; boundary=x"), (b"x", "multipart/form-data"), (b"x", "text/plain"),
             (file, "multipart/form-data; boundary=x")]  # fmt: skip
    return [*map(_Question, bodies), *(_Question(*form) for form in forms), _Question(b"{}", path="/nowhere")]


class _Asked:
    """Clients that each ask again as soon as they are answered, over one connection each."""

    def __init__(self, address: str, questions: list[_Question]):
        self.address, self.questions, self.bad = address, questions, _malformed()

    def load(self, count: int, clients: int) -> dict:
        """Clips a second and milliseconds of an answer with so many clients."""
        asked = itertools.islice(itertools.cycle(self.questions), count)
        asyncio.run(self._all(iter(self.questions[:clients]), clients))  # a round that is not counted
        began = time.perf_counter()
        answers = asyncio.run(self._all(asked, clients))
        spent = time.perf_counter() - began
        if wrong := [status for status, _ in answers if status != 200]:
            raise RaysignError(f"raysign serve: answered {Counter(wrong)} to good questions, expected 200")
        p50, p95, p99 = np.percentile([1000 * took for _, took in answers], (50, 95, 99)).round(1).tolist()
        return {"clips_per_second": round(count / spent, 1), "p50": p50, "p95": p95, "p99": p99}

    def flood(self, count: int, clients: int) -> dict[str, int]:
        """How many answers of each status there were."""
        good, bad = itertools.cycle(self.questions), itertools.cycle(self.bad)
        asked = (next(bad) if number % BAD == 0 else next(good) for number in range(count))
        statuses = Counter(status for status, _ in asyncio.run(self._all(asked, clients)))
        return {str(status): statuses[status] for status in sorted(statuses)}

    async def _all(self, asked: Iterator[_Question], clients: int) -> list[tuple[int, float]]:
        async with aiohttp.ClientSession(self.address, connector=aiohttp.TCPConnector(limit=clients)) as session:
            found = await asyncio.gather(*(_client(session, asked) for _ in range(clients)))
        return [answer for answers in found for answer in answers]


async def _client(session: aiohttp.ClientSession, asked: Iterator[_Question]) -> list[tuple[int, float]]:
    """Status and seconds of each answer."""
    found = []
    for one in asked:
        began = time.perf_counter()
        async with session.post(one.path, data=one.body, headers={"Content-Type": one.kind}) as answer:
            await answer.read()
        found.append((answer.status, time.perf_counter() - began))
    return found
