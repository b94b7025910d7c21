"""Headless Chromium over its DevTools protocol: for pictures of the docs, and for tests of pages."""

import base64
import fcntl
import io
import json
import os
import shutil
import subprocess
import tempfile
from collections import deque
from types import TracebackType
from typing import Any, Self

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    *("--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    # A container's user is root, which has no sandbox, and its /dev/shm is small; the pages are our own.
    *("--no-sandbox", "--disable-dev-shm-usage"),
)
KEYS = {"Enter": 13, "Escape": 27}


def find_browser() -> str | None:
    """Path of a Chromium, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """Headless Chromium, spoken to through a pipe; a context manager.

    Attributes:
      errors: What the console held since the last `load`: exceptions, errors, warnings, and what the page's security
        policy refused.
    """

    def __init__(self, program: str) -> None:
        """Sets the program."""
        self._program, self._last_id, self._session = program, 0, ""
        self._events: deque[str] = deque(maxlen=1000)
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        to_child, self._writer = os.pipe()
        self._reader, from_child = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (to_child, from_child)]
        self._process = subprocess.Popen(
            [self._program, *OPTIONS, f"--user-data-dir={self._profile.name}"],
            preexec_fn=lambda: [os.dup2(end, 3 + index) for index, end in enumerate(ends)] and None,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (to_child, from_child, *ends):
            os.close(end)
        self._rest = b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        for end in (self._reader, self._writer):
            os.close(end)
        self._profile.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command of the DevTools protocol."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._take()
            if answer.get("id") == self._last_id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def evaluate(self, script: str) -> Any:
        """The value of an expression on the page; None if it throws."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def run(self, script: str) -> Any:
        """The value of an expression on the page.

        Raises:
          RuntimeError: if it throws.
        """
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, userGesture=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{script}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def open(self, url: str, *, width: int, height: int) -> None:
        """Loads a page, also where only what is behind its `#` differs."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)

    def load(self, url: str, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Loads a page as a phone (below 600 pixels) or a desktop shows it, and waits until it is whole."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[theme])
        self.errors.clear()
        self._events.clear()
        self.call("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._events:
            self._take()

    def press(self, key: str) -> None:
        """Presses a key and lets go of it."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def picture(self, *, whole: bool = False) -> Image.Image:
        """What the window shows, or the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return Image.open(io.BytesIO(base64.b64decode(shot["data"])))

    def _take(self) -> dict[str, Any]:
        """The next message. Names of events are kept, and errors among them noted."""
        while b"\0" not in self._rest:
            if not (some := os.read(self._reader, 1 << 20)):
                raise RuntimeError("Chromium ended")
            self._rest += some
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        method, params = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        return message
