"""Headless Chromium, driven by its DevTools protocol: what a page shows, what it asks for, and its keyboard."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

WAIT = 60  # seconds, on a busy machine
KEYS = {"Tab": 9, "Enter": 13, "Space": 32}


def program() -> str | None:
    """Chromium or Chrome, if it is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One tab. `asked`: every address that it asked for; `logged`: errors on its console."""

    def __init__(self, socket):
        self.socket, self.count = socket, 0
        self.asked: list[str] = []
        self.logged: list[str] = []
        for domain in ("Page", "Network", "Runtime", "DOM", "Log"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **arguments) -> dict:
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": arguments}))
        while True:
            message = json.loads(self.socket.recv(WAIT))
            self._note(message.get("method"), message.get("params", {}))
            if message.get("id") == self.count:
                assert "error" not in message, message
                return message["result"]

    def _note(self, method: str | None, told: dict) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.asked.append(told["url"])
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.logged.append(told["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.logged.append(json.dumps(told["exceptionDetails"])[:500])

    def open(self, address: str) -> None:
        self.do("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def tell(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        found = self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> Any:
        """The value of an expression as soon as it holds."""
        end = time.monotonic() + WAIT
        while not (found := self.tell(script)):
            assert time.monotonic() < end, f"{script}\n{self.tell('document.body.innerText')}\n{self.logged}"
            time.sleep(0.2)
        return found

    def text(self, name: str) -> str:
        return self.tell(f"document.getElementById('{name}').textContent")

    def choose(self, file: Path) -> None:
        """As with the button and the dialog of the system."""
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        node = self.do("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.do("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def press(self, key: str) -> None:
        text = {"Enter": "\r", "Space": " "}.get(key)
        about: dict = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        self.do("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.do("Input.dispatchKeyEvent", type="keyUp", **about)

    def wide(self, width: int, height: int = 900) -> None:
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                mobile=width < 600)  # fmt: skip

    def save(self, file: Path) -> None:
        """A picture of all of the page."""
        found = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(*flags: str) -> Iterator[Page]:
    """A tab of a browser that forgets everything at its end."""
    home = Path(tempfile.mkdtemp(prefix="raysign-browser-"))
    command = [program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
               f"--user-data-dir={home}", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-dev-shm-usage", *flags, "about:blank"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end, told = time.monotonic() + WAIT, home / "DevToolsActivePort"
        while not told.exists() or not told.read_text().strip():
            assert process.poll() is None and time.monotonic() < end, "the browser did not start"
            time.sleep(0.1)
        port, path = told.read_text().split()
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as socket:
            socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            targets = json.loads(socket.recv(WAIT))["result"]["targetInfos"]
        tab = next(target["targetId"] for target in targets if target["type"] == "page")
        with connect(f"ws://127.0.0.1:{port}/devtools/page/{tab}", max_size=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(home, ignore_errors=True)
