"""The live view in a real kernel that is busy and a real browser: curves move, the button works."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import rackrate
from rackrate.errors import FleetError
from rackrate.fleet import opening
from rackrate.fleet.folder import all_folders

pytest.importorskip("anywidget")
playwright = pytest.importorskip("playwright.sync_api")
jupyter_client = pytest.importorskip("jupyter_client")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs the Debian package chromium"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of jupyter_client and its event loop
]

CELL = """
import rackrate
from rackrate.notebook import live
fleet = rackrate.Fleet(nodes=2, lease_s=5, usd_per_node_hour=1.5, budget_usd=3)
view = live(fleet)
display(view)
def train(number):
    import time
    from rackrate import fleet
    for step in range(100_000):
        fleet.report(step, loss=number + 1 / (step + 1))
        time.sleep(0.1)
work = fleet.map(train, range(2))
print("busy", flush=True)
while True:
    pass
"""
SWEEP = """
import rackrate
from pathlib import Path
def train(params):
    import time
    from rackrate import fleet
    for step in range(1, 41):
        fleet.report(step, loss=params["floor"] + 1 / step)
        time.sleep(0.02)
    while not Path({go!r}).exists():
        time.sleep(0.02)
with rackrate.Fleet(nodes=2, lease_s=5) as fleet:
    sweep = fleet.sweep(train, [{{"floor": float(n)}} for n in (2, 1, 3)], metric="loss", name="shown")
    sweep.show()
    best = sweep.best()
"""
HOST = """<!doctype html><meta charset="utf-8"><title>host</title><div id="out"></div>
<script type="module">
import widget from "/live.js";
const heard = [];
window.sent = [];
window.deliver = (content) => heard.forEach((hear) => hear(content, []));
const model = {
  on: (name, hear) => name === "msg:custom" && heard.push(hear),
  off: () => {},
  send: (content) => window.sent.push(content),
};
widget.render({ model, el: document.getElementById("out") });
window.ready = true;
</script>"""


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Look that no process of any fleet is left."""
    yield
    assert [folder.fleet for folder in all_folders() if opening.reap(folder)] == []


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """Open a page with the view's own module, in Chromium."""
    module = Path(rackrate.__file__).parent / "notebook" / "live.js"
    (tmp_path / "live.js").write_bytes(module.read_bytes())
    (tmp_path / "index.html").write_text(HOST)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.wait_for_function("window.ready")
            yield page
            browser.close()
        server.shutdown()
        serving.join()


class Kernel:
    """A real kernel, and what its widget says to the page."""

    def __init__(self) -> None:
        self.manager = jupyter_client.KernelManager()
        self.manager.start_kernel(env={**os.environ, "PYTHONWARNINGS": "ignore"})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.said: list[dict[str, Any]] = []

    def take(self, page: Any, is_enough: Callable[[], bool], patience_s: float = 60.0) -> None:
        """Hand what the kernel says to the page until it is enough."""
        until_s = time.monotonic() + patience_s
        while not is_enough():
            assert time.monotonic() < until_s, [message["msg_type"] for message in self.said][-20:]
            message = self.client.get_iopub_msg(timeout=patience_s)
            self.said.append(message)
            content = message["content"]
            assert message["msg_type"] != "error", content
            if message["msg_type"] == "comm_msg" and content["data"].get("method") == "custom":
                page.evaluate("content => window.deliver(content)", content["data"]["content"])

    def displayed(self, kind: str) -> list[dict[str, Any]]:
        return [message["content"]["data"] for message in self.said if message["msg_type"] == kind]

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.mark.alone
def test_curves_move_and_the_stop_button_works_while_the_kernel_is_busy(page: Any, kernel: Kernel) -> None:
    kernel.client.execute(CELL)

    def n_points() -> int:
        return int(page.locator("canvas").get_attribute("data-points") or 0)

    kernel.take(page, lambda: n_points() > 10)
    assert page.locator(".node").count() == 2
    assert "ready" in page.locator(".node").first.inner_text()
    assert page.locator("canvas").get_attribute("aria-label") == "2 curves of loss"
    assert "of $3" in page.locator(".bar").inner_text()
    before = n_points()
    kernel.take(page, lambda: n_points() > before + 10)
    (folder,) = all_folders()
    page.get_by_role("button", name="Stop").click()
    assert opening.status(folder).phase == "open"  # one click is none
    page.get_by_role("button", name="Really stop?").click()
    started_s = time.monotonic()
    kernel.take(page, lambda: page.get_by_role("button", name="Ended").count() == 1, 10)
    assert time.monotonic() - started_s < 5
    assert opening.status(folder).why == "its stop button was pressed"
    assert page.evaluate("window.sent") == [{"do": "hello"}]  # the kernel was asked for nothing
    kernel.take(page, lambda: bool(kernel.displayed("update_display_data")), 30)
    (shown,), picture = kernel.displayed("display_data"), kernel.displayed("update_display_data")[-1]
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "<svg" in picture["text/html"]
    assert "loss of 2 tasks" in picture["text/html"]
    saved = json.dumps([shown, picture, *(m["content"] for m in kernel.said if m["msg_type"] == "comm_open")])
    token = next(
        m["content"]["data"]["content"]["stop"]["token"]
        for m in kernel.said
        if m["msg_type"] == "comm_msg" and m["content"]["data"].get("method") == "custom"
    )
    assert token not in saved


def test_a_sweep_is_shown_live_and_its_results_are_what_the_notebook_keeps(
    page: Any, kernel: Kernel, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    kernel.client.execute(SWEEP.format(go=str(go)))
    says = page.locator(".says")
    kernel.take(page, lambda: says.count() == 1 and "sweep shown: 2 running" in says.inner_text())
    kernel.take(page, lambda: int(page.locator("canvas").get_attribute("data-points") or 0) >= 80)
    assert page.locator("canvas").get_attribute("aria-label") == "2 curves of loss"
    assert page.locator(".node").count() == 2
    go.touch()
    kernel.take(page, lambda: bool(kernel.displayed("update_display_data")))
    assert "3 done" in says.inner_text()
    assert "best loss 1.0250" in says.inner_text()
    kept = kernel.displayed("update_display_data")[-1]["text/html"]
    assert "sweep shown" in kept
    assert "best loss 1.0250" in "".join(ET.fromstring(kept[kept.index("<svg") :]).itertext())  # noqa: S314


def test_the_module_is_small_and_its_own() -> None:
    text = (Path(rackrate.__file__).parent / "notebook" / "live.js").read_text()
    assert len(text.encode()) < 15_000
    assert "import" not in text
    assert "innerHTML" not in text


def test_a_kernel_that_is_asked_stops_too() -> None:
    """Where the browser is on another machine the button's words come through the kernel."""
    from rackrate.notebook import live  # noqa: PLC0415 - where its packages are

    with rackrate.Fleet(nodes=1, lease_s=5) as fleet:
        view = live(fleet)
        view._hear(view, {"do": "stop"}, [])
        view.wait()
        assert fleet.status().why == "its stop button was pressed"
        assert "fleet" in view.picture()["text/html"]
        view.close()


def test_of_a_fleet_that_has_ended_there_is_a_picture() -> None:
    from rackrate.notebook import live  # noqa: PLC0415 - where its packages are

    with rackrate.Fleet(nodes=1, lease_s=5) as fleet:
        fleet.submit(lambda: __import__("rackrate.fleet").fleet.report(1, loss=0.5)).result()
    view = live(fleet)
    view.wait()
    assert "loss of 1 task" in view.picture()["text/html"]
    assert fleet.plot().to_dict()["title"]["text"].endswith("least 0.5")
    with pytest.raises(rackrate.NoAnswer):
        fleet.plot("accuracy")
    view.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /stop HTTP/1.1\r\nContent-Length: 5\r\n\r\nwrong",
        b"POST /stop HTTP/1.1\r\n\r\n",
        b"GET /stop HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 32\r\n\r\n%(token)s",
        b"POST /stop HTTP/1.1\r\nContent-Length: -4\r\n\r\n",
        b"POST /stop HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"\x00" * 20_000,
    ],
)
def test_without_the_token_nothing_is_stopped(request_: bytes, shared_fleet: rackrate.Fleet) -> None:
    import socket  # noqa: PLC0415

    told = shared_fleet.folder.ask("button")
    assert told
    port = int(told["url"].split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        try:
            line.sendall(request_.replace(b"%(token)s", told["token"].encode()))
            answer = line.recv(1000)
        except ConnectionError:
            answer = b""
    assert b"200" not in answer
    assert shared_fleet.status().phase == "open"


@pytest.fixture(scope="module")
def shared_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rackrate.Fleet]:
    """Open one fleet for all bad requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("d")))
        fleet = rackrate.Fleet(nodes=0, lease_s=5)
    with fleet:
        yield fleet


def test_the_button_is_told_again_and_stays_the_same(shared_fleet: rackrate.Fleet) -> None:
    assert shared_fleet.folder.ask("button") == shared_fleet.folder.ask("button")
    with pytest.raises(FleetError):
        shared_fleet.folder.ask("buton")
