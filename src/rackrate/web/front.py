"""What stands before the pages: kept answers, validators, compression, limits, headers, counts.

An answer depends on its address and on the version of data and templates, and on nothing else. So it is made
once and kept as bytes, plain and compressed, with its strong validator; the next reader gets those, or 304,
without a page being made. Errors are never kept.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rackrate.errors import DataError, InternalError, RackrateError, Refused, UsageError
from rackrate.web.problem import problem_bytes, wants_html

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rackrate.web.site import Site

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

KEPT_BYTES = 64 * 2**20
LARGEST_BODY = 64 * 2**10
LONGEST_ADDRESS = 4096
LONGEST_S = 30.0
FRESH_S, STALE_S = 60, 600
_LEAST_ZIPPED = 512
NOT_KEPT = ("/healthz", "/readyz", "/metrics")
_MOVING = "/status"
"""A page that changes while the data do not: it tells ages, and sources that failed."""

_Headers = list[tuple[bytes, bytes]]

SECURITY: _Headers = [
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            b"connect-src 'self'; "
            b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"permissions-policy", b"geolocation=(), camera=(), microphone=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it is sent.

    Attributes:
        etag: strong validator of the plain bytes.
        zipped_etag: of the compressed ones.
        start: first message with the plain bytes, by whether they are compressed.
        same: first message of 304, likewise.
        plain: body.
        zipped: body, compressed; empty where that saves nothing.
    """

    etag: bytes
    zipped_etag: bytes
    start: tuple[Message, Message]
    same: tuple[Message, Message]
    plain: bytes
    zipped: bytes

    @property
    def n_bytes(self) -> int:
        """Return what it takes of memory, roughly."""
        return len(self.plain) + len(self.zipped) + 2048


def keep(version: str, key: str, headers: _Headers, body: bytes) -> Kept:
    """Return an answer made ready to be sent again."""
    zipped = gzip.compress(body, 6, mtime=0) if len(body) >= _LEAST_ZIPPED else b""
    name = hashlib.sha256(f"{version} {key}".encode()).hexdigest()[:20].encode()
    etag, zipped_etag = b'"' + name + b'"', b'"' + name + b'-gz"'
    cached = [
        (b"cache-control", f"public, max-age={FRESH_S}, stale-while-revalidate={STALE_S}".encode()),
        (b"vary", b"Accept, Accept-Encoding"),
    ]
    known = {name for name, _ in headers}
    mine = [*headers, *(pair for pair in cached if pair[0] not in known)]
    mine = [pair for pair in mine if pair[0] != b"content-length"]

    def start(status: int, tag: bytes, *more: tuple[bytes, bytes]) -> Message:
        return {"type": "http.response.start", "status": status, "headers": [*mine, (b"etag", tag), *more]}

    plain_start = start(200, etag, (b"content-length", str(len(body)).encode()))
    zipped_start = start(
        200, zipped_etag, (b"content-length", str(len(zipped)).encode()), (b"content-encoding", b"gzip")
    )
    return Kept(
        etag,
        zipped_etag,
        (plain_start, zipped_start),
        (start(304, etag), start(304, zipped_etag)),
        body,
        zipped,
    )


@dataclass
class Allowance:
    """How many new answers each client may still ask for.

    Attributes:
        per_minute: a client may ask for; 0 for no limit.
    """

    per_minute: int
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, client: str, now_s: float) -> bool:
        """Tell whether a client may ask for one more, and count it."""
        if not self.per_minute:
            return True
        left, since = self._left.pop(client, (float(self.per_minute), now_s))
        left = min(float(self.per_minute), left + (now_s - since) * self.per_minute / 60)
        self._left[client] = (max(left - 1, 0.0), now_s)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return left >= 1


_MOST_CLIENTS = 10_000


class Counts:
    """What `/metrics` tells."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "rackrate_requests", "Answers sent, by status and whether they were kept.", ("status", "kept"),
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "rackrate_answer_seconds", "Time to make an answer that was not kept.", registry=self.registry
        )
        self.kept_bytes = Gauge("rackrate_kept_bytes", "Answers kept in memory.", registry=self.registry)
        self.newest = Gauge(
            "rackrate_newest_price_timestamp_seconds",
            "Instant of the newest price list.",
            registry=self.registry,
        )
        self._cached: dict[tuple[int, bool], Any] = {}

    def count(self, status: int, *, is_kept: bool) -> None:
        """Count an answer."""
        child = self._cached.get((status, is_kept))
        if child is None:
            labels = (str(status), "yes" if is_kept else "no")
            child = self._cached[status, is_kept] = self.requests.labels(*labels)
        child.inc()


class Front:
    """The ASGI application that the server runs."""

    def __init__(self, app: App, site: Site, *, per_minute: int) -> None:
        self.app = app
        self.site = site
        self.counts = Counts()
        self._kept: OrderedDict[tuple[str, str, bytes, bool], Kept] = OrderedDict()
        self._version = ""
        self._n_bytes = 0
        self._allowance = Allowance(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wants = wants_of(scope)
        key = (self.site.version, scope["path"], scope["query_string"], wants.is_markdown)
        kept = self._kept.get(key) if scope["method"] in _READING else None
        if kept is None:
            await self._make(scope, receive, send, key, wants)
            return
        await self._send(send, kept, wants, scope["method"], is_kept=True)

    async def _send(self, send: Send, kept: Kept, wants: Wants, method: str, *, is_kept: bool) -> None:
        is_zipped = wants.takes_gzip and bool(kept.zipped)
        tag = kept.zipped_etag if is_zipped else kept.etag
        if wants.has and (tag in wants.has or wants.has == b"*"):
            self.counts.count(304, is_kept=is_kept)
            await send(kept.same[is_zipped])
            await send(_EMPTY)
            return
        self.counts.count(200, is_kept=is_kept)
        await send(kept.start[is_zipped])
        body = b"" if method == "HEAD" else kept.zipped if is_zipped else kept.plain
        await send({"type": "http.response.body", "body": body})

    async def _make(
        self, scope: Scope, receive: Receive, send: Send, key: tuple[str, str, bytes, bool], wants: Wants
    ) -> None:
        """Have an answer made, send it, and keep it where it will be asked for again."""
        started = time.perf_counter()
        made = _Made()
        error = self._refused(scope, wants)
        if error is None:
            inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            try:
                async with asyncio.timeout(LONGEST_S):
                    await self.app(inner, _limited(receive), made.take)
            except TimeoutError:
                error = DataError(
                    f"the answer took more than {LONGEST_S:g} s", hint="ask for less", code="busy"
                )
            except RackrateError as fault:
                error = fault
            except Exception as fault:  # noqa: BLE001 - logged, and told without its words
                _log.exception("%s %s", scope["method"], scope["path"])
                says = f"{type(fault).__name__} while making the page"
                error = InternalError(says, hint="please report it with its address")
        if error is not None:
            made = _problem(error, scope, self.site)
        self.counts.seconds.observe(time.perf_counter() - started)
        known = {name for name, _ in made.headers}
        headers = [*made.headers, *(pair for pair in SECURITY if pair[0] not in known)]
        is_lasting = scope["path"] not in NOT_KEPT and scope["path"].partition(".")[0] != _MOVING
        if made.status == 200 and scope["method"] in _READING and is_lasting:  # noqa: PLR2004
            kept = keep(key[0], f"{key[1:]}", headers, made.body)
            if self.site.version == key[0]:  # else the data changed while the answer was made
                self._remember(key, kept)
            await self._send(send, kept, wants, scope["method"], is_kept=False)
            return
        self.counts.count(made.status, is_kept=False)
        if (b"cache-control", b"no-store") not in headers:
            headers.append((b"cache-control", b"no-store"))
        await send({"type": "http.response.start", "status": made.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else made.body})

    def _refused(self, scope: Scope, wants: Wants) -> RackrateError | None:
        """Return why a request is not answered at all; None where it is."""
        if len(scope["path"]) + len(scope["query_string"]) > LONGEST_ADDRESS:
            return UsageError(
                "the address is too long", hint=f"at most {LONGEST_ADDRESS} characters", code="too-long"
            )
        if wants.n_body > LARGEST_BODY:
            return _TooLarge(f"a body of {wants.n_body:,} bytes", hint=f"at most {LARGEST_BODY:,}")
        is_free = scope["path"] in NOT_KEPT or scope["path"].startswith("/static/")
        client = (scope.get("client") or ("",))[0]
        if not is_free and not self._allowance.take(client, time.monotonic()):
            hint = "answers that others asked for before cost nothing; try again in a minute"
            return _TooMany(f"more than {self._allowance.per_minute} new answers a minute", hint=hint)
        return None

    def _remember(self, key: tuple[str, str, bytes, bool], kept: Kept) -> None:
        if self._version != key[0]:
            self._kept.clear()
            self._version, self._n_bytes = key[0], 0
        self._kept[key] = kept
        self._n_bytes += kept.n_bytes
        while self._n_bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._n_bytes -= oldest.n_bytes
        self.counts.kept_bytes.set(self._n_bytes)


_READING = ("GET", "HEAD")
_EMPTY: Message = {"type": "http.response.body", "body": b""}


class _TooLarge(UsageError):
    """The body of a request is too large."""

    code = "too-large"
    http_status = 413


class _TooMany(Refused):
    """A client asked for too much in a minute."""

    code = "too-many"
    http_status = 429


@dataclass(frozen=True, slots=True)
class Wants:
    """What a request's headers say.

    Attributes:
        takes_gzip: whether it takes a compressed body.
        is_markdown: whether it asks for Markdown.
        has: validators that it has.
        n_body: bytes that it announces.
    """

    takes_gzip: bool
    is_markdown: bool
    has: bytes
    n_body: int


def wants_of(scope: Scope) -> Wants:
    """Return what a request's headers say: the pages ask it too, so that what is kept is what was asked for.

    A header on several lines is one list.
    """
    encoding = accept = has = b""
    n_body = 0
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            encoding = encoding + b"," + value if encoding else value
        elif name == b"accept":
            accept = accept + b"," + value if accept else value
        elif name == b"if-none-match":
            has = has + b"," + value if has else value
        elif name == b"content-length" and value.isdigit():
            n_body = int(value[:12])
    return Wants(_takes_gzip(encoding), accept.lower().startswith(b"text/markdown"), has.strip(), n_body)


def _takes_gzip(encoding: bytes) -> bool:
    """Tell whether a client takes a compressed body; `gzip;q=0` says that it does not.

    >>> _takes_gzip(b"br, GZip"), _takes_gzip(b"gzip;Q=0, identity"), _takes_gzip(b"")
    (True, False, False)
    """
    encoding = encoding.lower()
    if encoding == b"gzip" or b"gzip" not in encoding:  # nearly always
        return bool(encoding == b"gzip")
    asked = next(part for part in encoding.split(b",") if b"gzip" in part)
    return re.search(rb";\s*q=0(\.0*)?\s*$", asked) is None


class _Made:
    """An answer that is taken from the application, message by message."""

    def __init__(self, status: int = 500, headers: _Headers | None = None, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers or []
        self.body = body

    async def take(self, message: Message) -> None:
        """Take one message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
        else:
            self.body += message.get("body", b"")


def _problem(error: RackrateError, scope: Scope, site: Site) -> _Made:
    """Return an error as a page or as a problem, whichever the reader takes."""
    body, media = problem_bytes(error, site, is_html=wants_html(scope))
    headers = [(b"content-type", media.encode())]
    if error.http_status in (429, 503):
        headers.append((b"retry-after", b"30"))
    return _Made(error.http_status, headers, body)


def _limited(receive: Receive) -> Receive:
    """Return what hands on a body and stops where it grows too large, announced or not."""
    n_bytes = 0

    async def limited() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > LARGEST_BODY:
            raise _TooLarge("a body that is too large", hint=f"at most {LARGEST_BODY:,} bytes")
        return message

    return limited
