"""Ask a source politely and distrust what comes: the only module that speaks HTTP.

Retries with growing, jittered waits (what `Retry-After` says wins, up to a limit); one request at a time
and no more than the declared rate to each host; a limit of time for a request and for a source, and of
bytes for an answer, counted after unpacking; redirects only to the source's own hosts, never from https
to http. Nothing here logs an address with a key: keys travel in headers.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Self
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import stamina

from rackrate.market.collect.archive import Archive, Kept, with_headers
from rackrate.market.collect.base import Answer, Collector, Request, SourceFailed
from rackrate.market.collect.settings import Settings

logging.getLogger("stamina").addHandler(logging.NullHandler())  # a retry is told in the outcome

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_NO_DATA = ("text/html", "application/xhtml", "image/", "video/", "audio/", "application/pdf", "font/")
_OK, _NOT_MODIFIED, _NOT_FOUND = 200, 304, 404
_REFUSED = {401, 403, 451}
_PROXY_REFUSED = 407


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait and how often to ask.

    Attributes:
        connect_s: for a connection.
        silence_s: between two pieces of an answer.
        attempts: of one request, the first included.
        wait_s: before the second attempt; doubles from there, with jitter.
        most_wait_s: between two attempts, also when the source asks for more: then it has failed.
        redirects: followed at most.
        max_s: for a source, instead of what its collector declares.
        max_bytes: of an answer, likewise.
        per_s: requests a second to a host, likewise.
    """

    connect_s: float = 10.0
    silence_s: float = 30.0
    attempts: int = 4
    wait_s: float = 1.0
    most_wait_s: float = 60.0
    redirects: int = 3
    max_s: float | None = None
    max_bytes: int | None = None
    per_s: float | None = None


class Transient(SourceFailed):
    """A failure that the next attempt may not have.

    Attributes:
        wait_s: what the source asks us to wait; None for our own waits.
    """

    def __init__(self, code: str, says: str, wait_s: float | None = None) -> None:
        super().__init__(code, says)
        self.wait_s = wait_s


class Hosts:
    """Who may be asked when: one request at a time to a host, no faster than its rate."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._free_at: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, url: str, per_s: float) -> AsyncIterator[None]:
        """Wait for the host's turn and hold it."""
        host = urlsplit(url).netloc
        loop = asyncio.get_running_loop()
        async with self._locks.setdefault(host, asyncio.Lock()):
            await asyncio.sleep(max(0.0, self._free_at.get(host, 0.0) - loop.time()))
            self._free_at[host] = loop.time() + 1 / per_s
            yield


class Fetcher:
    """Asks the sources of one collection.

    Args:
        settings: addresses and keys.
        limits: of time, size and number.
    """

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._hosts = Hosts()
        self._trouble: dict[str, str] = {}
        self._client = httpx2.AsyncClient(
            headers={
                "User-Agent": f"rackrate/{version('rackrate')} (GPU price collector)",
                "Accept-Encoding": "gzip",
            },
            timeout=httpx2.Timeout(limits.silence_s, connect=limits.connect_s),
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(
        self, collector: Collector, request: Request, archive: Archive, before: Mapping[str, Kept]
    ) -> Kept | Answer | None:
        """Return what the source says, as it lies in the archive now.

        Args:
            collector: whose request it is.
            request: what to ask.
            archive: where the body goes.
            before: bodies of the run before by request name, for conditional requests.

        Returns:
            The body; an `Answer` where it is secret; None for a part that may lack and does.

        Raises:
            SourceFailed: it cannot be had.
        """
        limits = self._limits
        attempts = stamina.retry_context(
            on=self._wait_for,
            attempts=limits.attempts,
            timeout=None,
            wait_initial=limits.wait_s,
            wait_max=limits.most_wait_s,
            wait_jitter=limits.wait_s,
        )
        async for attempt in attempts:
            with attempt:
                try:
                    return await self._once(collector, request, archive, before.get(request.name))
                except Transient as error:
                    self._trouble[collector.name] = error.says
                    raise
        raise AssertionError

    def trouble(self, collector: Collector) -> str:
        """Return what went wrong with a source last and was tried again; empty when nothing did."""
        return self._trouble.get(collector.name, "")

    def _wait_for(self, error: Exception) -> bool | float:
        """Tell whether to try again, and when."""
        if not isinstance(error, Transient):
            return False
        if error.wait_s is None:
            return True
        return error.wait_s if error.wait_s <= self._limits.most_wait_s else False

    async def _once(
        self, collector: Collector, request: Request, archive: Archive, before: Kept | None
    ) -> Kept | Answer | None:
        is_secret = bool(request.secrets) or request.is_secret
        url = self._settings.address(collector, request.url, is_secret=is_secret)
        rate = self._limits.per_s or collector.requests_per_s
        headers = dict(request.secrets)
        if before and before.url == _shown(url, request) and archive.has(before):
            headers |= _conditions(before)
        try:
            for _ in range(self._limits.redirects + 1):
                sent = self._client.build_request(
                    request.method, url, params=request.params or None, json=request.body,
                    data=request.form, headers=headers,
                )  # fmt: skip
                async with self._hosts.turn(url, rate):
                    response = await self._client.send(sent, stream=True)
                    try:
                        if response.status_code not in _REDIRECTS:
                            return await self._take(collector, request, response, archive, before)
                        url = self._redirected(collector, url, response, is_secret=is_secret)
                        request = replace(request, params={})
                    finally:
                        await response.aclose()
        except httpx2.HTTPError as error:
            raise _failure(error, url) from error
        raise SourceFailed("redirect", f"more than {self._limits.redirects} redirects, the last to {url:.80}")

    def _redirected(
        self, collector: Collector, url: str, response: httpx2.Response, *, is_secret: bool
    ) -> str:
        target = urljoin(url, response.headers.get("location", ""))
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise SourceFailed("redirect", f"a redirect from https to {target:.80}")
        return self._settings.address(collector, target, is_secret=is_secret)

    async def _take(
        self,
        collector: Collector,
        request: Request,
        response: httpx2.Response,
        archive: Archive,
        before: Kept | None,
    ) -> Kept | Answer | None:
        """Judge the status and keep the body."""
        status = response.status_code
        if status == _NOT_MODIFIED and before:
            return before
        if status == _NOT_FOUND and request.may_lack:
            return None
        if status in _TRANSIENT:
            code = "rate-limited" if status == 429 else "status"  # noqa: PLR2004
            raise Transient(code, f"{request.name}: HTTP {status}", _retry_after(response))
        if status == _PROXY_REFUSED:
            raise SourceFailed("refused", f"{request.name}: HTTP 407{_by_proxy(str(response.request.url))}")
        if status in _REFUSED:
            raise SourceFailed("refused", f"{request.name}: HTTP {status}; is the key right?")
        if status != _OK:
            raise SourceFailed("status", f"{request.name}: HTTP {status}")
        kind = response.headers.get("content-type", "").lower()
        if kind.startswith(_NO_DATA):
            raise SourceFailed("content-type", f"{request.name} is {kind:.60}, not data")
        most = self._limits.max_bytes or collector.max_bytes
        if request.is_secret:
            return await _secret(request, response, most)
        return await _keep(request, response, archive, most)


async def _secret(request: Request, response: httpx2.Response, most: int) -> Answer:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        _check_size(request, len(body), most)
    return Answer(request.name, "", None, "", len(body), secret=body)


async def _keep(request: Request, response: httpx2.Response, archive: Archive, most: int) -> Kept:
    body = archive.writer()
    try:
        async for chunk in response.aiter_bytes(64 * 1024):
            _check_size(request, body.n_bytes + len(chunk), most)
            body.write(chunk)
        kept = body.keep(request.name, str(response.request.url))
    except BaseException:
        body.drop()
        raise
    return with_headers(kept, response.headers)


def _check_size(request: Request, n_bytes: int, most: int) -> None:
    if n_bytes > most:
        raise SourceFailed("oversized", f"{request.name} is larger than {most:,} bytes")


def _shown(url: str, request: Request) -> str:
    """Return the address with its query, which holds no key."""
    return str(httpx2.URL(url, params=request.params)) if request.params else str(httpx2.URL(url))


def _conditions(before: Kept) -> dict[str, str]:
    if before.etag:
        return {"If-None-Match": before.etag}
    return {"If-Modified-Since": before.last_modified} if before.last_modified else {}


def _retry_after(response: httpx2.Response) -> float | None:
    said = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        return None  # a date, or nothing: our own waits


def _failure(error: httpx2.HTTPError, url: str) -> SourceFailed:
    """Say what went wrong on the way."""
    host = urlsplit(url).netloc
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ssl.SSLError):
            return SourceFailed("tls", f"{host}: {getattr(cause, 'verify_message', '') or cause}"[:200])
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.TimeoutException):
        return Transient("timeout", f"{host} was silent for too long")
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError | httpx2.DecodingError):
        return Transient("truncated", f"{host} broke off: {error}"[:200])
    return Transient("unreachable", f"{host}: {error or type(error).__name__}{_by_proxy(url)}"[:200])


def _by_proxy(url: str) -> str:
    """Name the proxy that a request goes by, without its login, for who looks for the fault elsewhere."""
    parts = urlsplit(url)
    proxies = getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all", "")
    if not named or proxy_bypass(parts.hostname or ""):
        return ""
    proxy = urlsplit(named if "://" in named else f"//{named}")
    return f", asked by way of the proxy {proxy.hostname}" + (f":{proxy.port}" if proxy.port else "")
