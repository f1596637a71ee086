"""Model files made byte by byte, and a web server that behaves as well or as badly as a test wants."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from typing import Any
from urllib.parse import unquote

import pytest

from rackrate.checkpoint.ggml_types import TYPES
from rackrate.checkpoint.safetensors import BITS

KINDS = {bool: (7, "?"), int: (4, "I"), float: (6, "f"), str: (8, ""), list: (5, "i")}
NUMBERS = {kind.name: number for number, kind in TYPES.items()}


def build_safetensors(
    tensors: Mapping[str, tuple[str, list[int]]], *, pad: int = 0, data: bool = True
) -> bytes:
    """Return a file with tensors of a type and shape, its header padded with spaces."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        n_bytes = BITS[dtype] * prod(shape) // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    raw = json.dumps(header).encode()
    raw += b" " * (pad - len(raw))
    return struct.pack("<Q", len(raw)) + raw + bytes(at if data else 0)


class Gguf:
    """Writes GGUF of either byte order, right or wrong."""

    def __init__(self, order: str = "<", version: int = 3, alignment: int = 32) -> None:
        self.order, self.version, self.alignment = order, version, alignment

    def pack(self, form: str, *values: Any) -> bytes:
        return struct.pack(self.order + form, *values)

    def string(self, text: str | bytes) -> bytes:
        raw = text.encode() if isinstance(text, str) else text
        return self.pack("Q", len(raw)) + raw

    def value(self, value: Any) -> bytes:
        if isinstance(value, bytes):
            return value  # as it is to stand there, wrong or right
        kind, letter = KINDS[type(value[0] if isinstance(value, list) and value else value)]
        values = value if isinstance(value, list) else [value]
        raw = b"".join(self.string(item) if kind == 8 else self.pack(letter, item) for item in values)
        return (self.pack("IIQ", 9, kind, len(values)) if values is value else self.pack("I", kind)) + raw

    def __call__(
        self,
        metadata: Mapping[str, Any],
        tensors: Mapping[str, tuple[str | int, list[int]]],
        *,
        data: bool = True,
        shift: int = 0,
    ) -> bytes:
        """Return a file; shapes are given as ours, the row last; `shift` moves the second tensor."""
        raw = b"GGUF" + self.pack("IQQ", self.version, len(tensors), len(metadata))
        raw += b"".join(self.string(key) + self.value(value) for key, value in metadata.items())
        at = 0
        for number, (name, (dtype, shape)) in enumerate(tensors.items()):
            kind = TYPES.get(NUMBERS.get(dtype, -1) if isinstance(dtype, str) else dtype, TYPES[0])
            code = NUMBERS[dtype] if isinstance(dtype, str) else dtype
            raw += self.string(name) + self.pack(f"I{len(shape)}Q", len(shape), *shape[::-1])
            raw += self.pack("IQ", code, at + (shift if number == 1 else 0))
            n_bytes = prod(shape) // kind.block_elements * kind.block_bytes
            at += -(-n_bytes // self.alignment) * self.alignment
        return raw + bytes(-len(raw) % self.alignment) + bytes(at if data else 0)


@pytest.fixture(scope="session")
def make_safetensors() -> Callable[..., bytes]:
    return build_safetensors


@pytest.fixture(scope="session")
def make_gguf() -> type[Gguf]:
    return Gguf


class Server(ThreadingHTTPServer):
    """A web server of files in memory.

    Attributes:
        files: what it holds, by path; a tuple (status, headers, body) is sent as it is.
        asked: path, range and authorization of each request.
        mode: how it misbehaves: "", `no-range`, `cut`, `slow`, `silent`, `wrong-range`, `gzip`, `grow`.
        token: what it wants to be shown; empty for nothing.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Any] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.mode = ""
        self.token = ""
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path, wanted = unquote(self.path), self.headers.get("Range")
        self.server.asked.append((path, wanted, self.headers.get("Authorization")))
        self.close_connection = True
        found = self.server.files.get(path)
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.answer(401, {}, b"")
        elif found is None:
            self.answer(404, {}, b"not here")
        elif isinstance(found, tuple):
            self.answer(*found)
        else:
            self.send_file(found, wanted or "bytes=0-")

    def send_file(self, body: bytes, wanted: str) -> None:
        mode = self.server.mode
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(body)) + 1, len(body))
        size = len(body) + (len(self.server.asked) if mode == "grow" else 0)
        if mode == "silent":
            self.server.released.wait(5)
        elif mode == "no-range":
            self.answer(200, {}, body)
        elif begin >= len(body):
            self.answer(416, {"Content-Range": f"bytes */{size}"}, b"")
        else:
            if mode == "wrong-range":
                begin += 1
            headers = {"Content-Range": f"bytes {begin}-{end - 1}/{size}"}
            if mode == "gzip":
                headers["Content-Encoding"] = "gzip"
            self.answer(206, headers, body[begin:end])

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            if self.server.mode == "cut":
                body = body[: len(body) // 2]
            if self.server.mode == "slow":
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(0.02)
            else:
                self.wfile.write(body)
        except OSError:
            pass  # the reader has had enough


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serve()


@pytest.fixture
def other_server() -> Iterator[Server]:
    yield from serve()


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a test from the real hub and from the token of whoever runs it."""
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def serve() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.released.set()
    running.shutdown()
    thread.join()
    running.server_close()
