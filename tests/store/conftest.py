"""An object store on loopback (moto's, by HTTP) that can be made to fail, machines that share a market."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

BUCKET = "market"
ADDRESS = f"s3://{BUCKET}/prices"
MANIFEST = "manifest.json"
PEOPLE = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-mine",
    "AWS_REGION": "us-east-1",
}

Hook = Callable[["Asked"], "Iterable[bytes] | None"]


@dataclass
class Asked:
    """A request that came, and how to answer it otherwise."""

    method: str
    path: str
    environ: dict[str, Any]
    start: Any

    def refuse(self, status: str) -> list[bytes]:
        self.start(status, [("Content-Length", "0")])
        return [b""]

    def cut_short(self, body: bytes) -> list[bytes]:
        """Promise more than is sent, and close."""
        self.start("200 OK", [("Content-Length", str(len(body) + 1000)), ("Connection", "close")])
        return [body]


@dataclass
class S3:
    """moto's server: one request takes effect after the other, as in S3; `hook` comes before that.

    Attributes:
        hook: looks at each request first; what it returns is the answer.
        asked: method and path of every request.
    """

    hook: Hook | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        from moto import server  # noqa: PLC0415 - it takes a second to load
        from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - comes with it

        class Quiet(WSGIRequestHandler):
            def log(self, *_: Any) -> None:
                pass

        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self._app = server.DomainDispatcherApplication(server.create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.tell("POST", "/moto-api/reset")
        self.tell("PUT", f"/{BUCKET}")
        self.asked.clear()

    def _answer(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        asked = Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ, start)
        self.asked.append((asked.method, asked.path))
        said = self.hook(asked) if self.hook else None
        if said is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return said
        with self._turn:
            found: Iterable[bytes] = self._app(environ, start)
            return found

    def tell(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """Ask as the owner of the bucket, not as one who shares the market."""
        owner = "AWS4-HMAC-SHA256 Credential=owner/20260822/us-east-1/s3/aws4_request"
        said = {"Content-Type": "text/plain"} | ({} if path.startswith("/moto") else {"Authorization": owner})
        line = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            line.request(method, path, body, said | headers)
            answer = line.getresponse()
            assert answer.status < 300, answer.read()
            return answer.read()
        finally:
            line.close()

    def key(self, name: str) -> str:
        return f"/{BUCKET}/prices/{name}"

    def puts(self) -> list[str]:
        return [path.rpartition("/")[2] for method, path in self.asked if method == "PUT"]

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    made = S3()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.port}")
    for name, value in PEOPLE.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Machine:
    """A machine with a home of its own."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "XDG_DATA_HOME": str(self.home), "RACKRATE_NOW": "2026-08-22T12:00:00+00:00"}

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**self.env, **env})

    def run(self, *words: str, **env: str) -> Ran:
        """Run a command of ours in a process of its own."""
        process = self.start("-m", "rackrate", *words, **env)
        out, err = process.communicate(timeout=60)
        return Ran(process.returncode, out, err)

    @property
    def mirror(self) -> Path:
        (found,) = (self.home / "rackrate" / "shared").iterdir()
        return found

    @contextmanager
    def here(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Make this process one of that machine."""
        with monkeypatch.context() as patch:
            patch.setenv("XDG_DATA_HOME", str(self.home))
            yield


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    return lambda name: Machine(tmp_path / name)


@pytest.fixture
def price_list(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a list of `n` prices in the format gpurentalprices, of day `day`."""

    def write(day: int, n: int = 3, usd: float = 1.0) -> Path:
        path = tmp_path / "lists" / f"2026-08-{day:02d}.json"
        path.parent.mkdir(exist_ok=True)
        at = f"2026-08-{day:02d}T06:00:00Z"
        offer = {"gpu": "l40s", "kind": "on-demand", "fetched_at": at, "source_url": "https://a.example"}
        offers = [offer | {"provider": f"p{each}", "usd_hr": usd + each / 100} for each in range(n)]
        path.write_text(json.dumps({"generated_at": at, "offers": offers}))
        return path

    return write
