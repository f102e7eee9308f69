"""A small WebDriver client for headless Chromium: the W3C protocol over the standard library."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")
AVAILABLE = CHROMIUM is not None and DRIVER is not None

# the protocol's code points of keys
TAB, ENTER, ESCAPE, HOME, END = "\ue004", "\ue007", "\ue00c", "\ue011", "\ue010"
LEFT, UP, RIGHT, DOWN = "\ue012", "\ue013", "\ue014", "\ue015"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One browser window. Use as a context manager."""

    def __init__(self, width: int = 1280, height: int = 1600) -> None:
        self._process = subprocess.Popen(
            [str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "successfully on port" in line:
                port = line.strip().rstrip(".").rpartition(" ")[2]
                self._url = f"http://127.0.0.1:{port}"
                break
        else:
            raise RuntimeError("chromedriver did not start")
        flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        options = {"binary": CHROMIUM, "args": [*flags, f"--window-size={width},{height}"]}
        asked = {
            "alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        }
        self._session = ""
        self._session = self._call("POST", "/session", capabilities=asked)["sessionId"]

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            self._call("DELETE", "")
        finally:
            self._process.terminate()
            self._process.wait(10)
            if self._process.stdout is not None:
                self._process.stdout.close()

    def _call(self, method: str, path: str, **body: Any) -> Any:
        base = f"{self._url}/session/{self._session}" if self._session else self._url
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(
            base + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as err:
            with err:
                raise RuntimeError(json.load(err)["value"]["message"]) from None

    def open(self, page: Path) -> float:
        """Open a page and wait until it says it is ready; return the seconds it took."""
        start = time.perf_counter()
        self._call("POST", "/url", url=page.resolve().as_uri())
        while self.js("return document.documentElement.dataset.ready") != "true":
            if time.perf_counter() - start > 60:
                raise TimeoutError(f"{page} is not ready: {self.log()}")
            time.sleep(0.02)
        return time.perf_counter() - start

    def js(self, code: str, *arguments: Any) -> Any:
        """Run a function body in the page."""
        return self._call("POST", "/execute/sync", script=code, args=list(arguments))

    def log(self) -> list[str]:
        """Return what the page wrote to its console: errors and refused contents among it."""
        return [entry["message"] for entry in self._call("POST", "/se/log", type="browser")]

    def find(self, selector: str) -> str:
        """Return the first element of a CSS selector."""
        found = self._call("POST", "/element", using="css selector", value=selector)
        return str(found[_ELEMENT])

    def click(self, selector: str) -> None:
        """Click an element."""
        self._call("POST", f"/element/{self.find(selector)}/click")

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def point(self, x: float, y: float, click: bool = False) -> None:
        """Move the mouse to a place of the window, and click there."""
        moves: list[dict[str, Any]] = [{"type": "pointerMove", "x": round(x), "y": round(y)}]
        if click:
            moves += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        mouse = {"type": "pointer", "id": "mouse", "actions": moves}
        self._call("POST", "/actions", actions=[mouse])

    def text(self, selector: str) -> str:
        """Return an element's text."""
        return str(self.js("return document.querySelector(arguments[0]).textContent", selector))

    def count(self, selector: str) -> int:
        """Return the number of elements of a CSS selector."""
        return int(self.js("return document.querySelectorAll(arguments[0]).length", selector))

    def screenshot(self, path: Path) -> None:
        """Write a picture of the window."""
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def resize(self, width: int, height: int) -> None:
        """Set the window's size."""
        self._call("POST", "/window/rect", width=width, height=height)

    def viewport(self, width: int, height: int) -> None:
        """Set the page's size, which may be less than the 500 pixels that a window has."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        command = "Emulation.setDeviceMetricsOverride"
        self._call("POST", "/goog/cdp/execute", cmd=command, params=size)

    def colors(self, scheme: str) -> None:
        """Have the reader prefer ``light`` or ``dark`` pages."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        params = {"media": "", "features": features}
        self._call("POST", "/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params=params)

    def pdf(self, path: Path) -> None:
        """Print the page."""
        path.write_bytes(base64.b64decode(self._call("POST", "/print")))
