"""Files on web servers, a few bytes at a time: HTTP range requests with the standard library alone.

A server may redirect, ignore ranges, cut off, dribble or lie; each ends in one error that says so. A
token goes to the origin that it is for and nowhere else, redirected or not, and into no message.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit

from rackrate.checkpoint.source import JSON_LIMIT_BYTES, Absent, Source, clip, whole
from rackrate.errors import DataError, ImportRejected, UsageError

TIMEOUT_S = 20.0
"""Longest silence of a server, seconds."""

SLOWEST_BYTES_PER_S = 20_000
"""An answer may take the time-out, and what came of it as long again as at this rate: a dribble ends."""

_PROBE_BYTES = 8  # what `open` asks for: a safetensors header begins with them
_CHUNK_BYTES = 2**16
_MAX_REDIRECTS = 5
_MAX_SKIP_BYTES = 64 * 2**20  # read and thrown away where a server knows no ranges
_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
_REDIRECTS = (301, 302, 303, 307, 308)
_GONE = (404, 410)
_FORBIDDEN = (401, 403)
_TOO_MANY = 429
_PORTS = {"http": 80, "https": 443}
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_TOTAL = re.compile(r"bytes \*/(\d{1,18})")


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        data: the bytes asked for; fewer only where the file ends.
        size: bytes of the whole file; None when the server did not say.
    """

    data: bytes
    size: int | None


@dataclass(frozen=True)
class Session:
    """How we speak to servers.

    Attributes:
        timeout_s: longest silence, seconds.
        token: secret for one origin; empty for none.
        origin: scheme, host and port that the token is for, as `origin_of` writes it.
        owner: what the files belong to, for messages about rights: a hub repository; may be empty.
    """

    timeout_s: float = TIMEOUT_S
    token: str = field(default="", repr=False)
    origin: str = ""
    owner: str = ""

    def fetch(self, url: str, offset: int, n_bytes: int) -> Answer:
        """Return `n_bytes` from byte `offset` of what an address holds.

        Raises:
            Absent: the server has no such file.
            DataError: `network`, the server is silent, breaks off or answers with an error; `gated`,
                it wants other rights.
            ImportRejected: the answer contradicts itself.
        """
        try:
            with self._open(url, offset, n_bytes) as response:
                return _answer(response, url, offset, n_bytes, self.timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            return self._refused(url, error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _network(url, _why(error)) from error

    def _open(self, url: str, offset: int, n_bytes: int) -> http.client.HTTPResponse:
        for _ in range(_MAX_REDIRECTS + 1):
            request = urllib.request.Request(url, headers=_headers(offset, n_bytes))  # noqa: S310 - http(s), by check
            origin = origin_of(url)
            if self.token and origin == self.origin:
                request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            try:
                response: http.client.HTTPResponse = _OPENER.open(request, timeout=self.timeout_s)
            except urllib.error.HTTPError as error:
                if error.code not in _REDIRECTS or not error.headers.get("Location"):
                    raise
                error.close()
                url = urljoin(url, error.headers["Location"])
            else:
                return response
            if origin.startswith("https") and not origin_of(url).startswith("https"):
                raise _network(url, "an https address leads to an unprotected one")
        raise _network(url, f"more than {_MAX_REDIRECTS} redirects")

    def _refused(self, url: str, error: urllib.error.HTTPError) -> Answer:
        """Return an empty answer for a range past the end; raise what any other status means."""
        status = error.code
        if status == _UNSATISFIABLE:
            total = _TOTAL.fullmatch(error.headers.get("Content-Range", ""))
            return Answer(b"", int(total[1]) if total else None)
        if status in _GONE:
            raise Absent(f"there is no {shown(url)} (HTTP {status})", hint="check name and revision")
        if status in _FORBIDDEN:
            raise self._forbidden(url, status)
        hint = "wait and try again" if status == _TOO_MANY else ""
        raise _network(url, f"HTTP {status}", hint) from error

    def _forbidden(self, url: str, status: int) -> DataError:
        thing = clip(self.owner) or shown(url)
        if self.token:
            why = "the token in use may not read it"
            hint = "accept the model's conditions on its page with the account of the token"
        else:
            why = "no token was sent"
            hint = "accept the model's conditions on its page, then set HF_TOKEN; check the name, too"
        return DataError(
            f"{thing} is gated, private or not there (HTTP {status}): {why}",
            hint=hint if self.owner else "download the file with a program that may, and name it here",
            code="gated",
        )


class WebFile:
    """A file on a web server; its first bytes are kept.

    Attributes:
        name: as it is to be called in messages.
        size: bytes of the whole file; None while the server has not said so.
    """

    def __init__(self, session: Session, url: str, name: str) -> None:
        self._session = session
        self._url = url
        self.name = name
        first = session.fetch(url, 0, _PROBE_BYTES)
        self.size = first.size
        self._first = first.data

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """Return `n_bytes` from byte `offset`; fewer only where the file ends.

        Raises:
            DataError: the server does not give them.
            ImportRejected: it gives another file than before.
        """
        if offset + n_bytes <= len(self._first):
            return self._first[offset : offset + n_bytes]
        if self.size is not None:
            n_bytes = min(n_bytes, self.size - offset)
        if n_bytes <= 0:
            return b""
        answer = self._session.fetch(self._url, offset, n_bytes)
        if self.size is not None and answer.size is not None and answer.size != self.size:
            raise ImportRejected(f"{clip(self.name)} changed while it was read", hint="try again")
        if self.size is None:
            self.size = answer.size
        return answer.data


class WebFolder:
    """A folder on a web server; what it holds is found by asking for it."""

    is_remote = True
    files: tuple[str, ...] | None = None

    def __init__(self, url: str, session: Session | None = None, name: str = "") -> None:
        """Take the address of a folder.

        Raises:
            UsageError: not an address that we can use.
        """
        check_address(url)
        base, mark, query = url.partition("?")
        self._base = base.rstrip("/")
        self._query = mark + query  # a signature or a `download=true` holds for each file
        self._session = session or Session()
        self.name = name or shown(self._base)

    def open(self, path: str) -> Source | None:
        """Return the file at a relative path, or None when there is none."""
        try:
            return WebFile(self._session, self._address(path), path)
        except Absent:
            return None

    def read_text(self, path: str) -> bytes | None:
        """Return the whole of a small file, or None when there is none."""
        return read_small(self._session, self._address(path), path)

    def _address(self, path: str) -> str:
        return f"{self._base}/{quote(path)}{self._query}"


@dataclass
class _Unseen:
    """A file that is read in one go, without a first look at it."""

    session: Session
    url: str
    name: str
    size: int | None = None

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        return self.session.fetch(self.url, offset, min(n_bytes, JSON_LIMIT_BYTES + 1)).data


def read_small(session: Session, url: str, name: str) -> bytes | None:
    """Return the whole of a small file on a server, or None when there is none.

    Raises:
        DataError, ImportRejected: as `Session.fetch` says, or it is not small.
    """
    try:
        return whole(_Unseen(session, url, name))
    except Absent:
        return None


def check_address(url: str) -> None:
    """Check that an address is http(s) with a host and nothing secret before it.

    Raises:
        UsageError: it is not.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not url.isprintable() or " " in url:
        raise UsageError(f"{shown(url)} is not an http(s) address", hint="write it like https://host/path")
    if "@" in parts.netloc:
        raise UsageError("an address with a name or password in it is not used", hint="leave it out")


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address: what a token may be sent to.

    Raises:
        DataError: `network`, not http(s).
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise _network(url, "not an http(s) address") from error
    return f"{parts.scheme}://{parts.hostname}:{port}"


def shown(url: str) -> str:
    """Return an address fit for a message: without name, password, query (signatures) and length."""
    scheme, mark, rest = url.partition("?")[0].partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return clip(f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}")


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http(s) that follows no redirect: the library's would drain its body."""
    opener = urllib.request.OpenerDirector()
    opener.addheaders = []
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


_OPENER = _opener()


def _headers(offset: int, n_bytes: int) -> dict[str, str]:
    return {
        "Range": f"bytes={offset}-{offset + n_bytes - 1}",
        "Accept-Encoding": "identity",  # a range of a compressed stream is of no use
        "User-Agent": "rackrate",
    }


def _answer(
    response: http.client.HTTPResponse, url: str, offset: int, n_bytes: int, timeout_s: float
) -> Answer:
    """Read an answer with status 200 (the whole file) or 206 (the range)."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _contradiction(url, "it compresses what was asked for as it is")
    length = response.headers.get("Content-Length", "")
    skip, size = offset, int(length) if re.fullmatch(r"\d{1,18}", length) else None
    if response.status == _PARTIAL:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset or int(match[2]) >= offset + n_bytes:
            raise _contradiction(url, "it sends another range than was asked for")
        skip, size = 0, None if match[3] == "*" else int(match[3])
        n_bytes = int(match[2]) + 1 - offset
    elif response.status != _OK:
        raise _network(url, f"HTTP {response.status}")
    elif offset > _MAX_SKIP_BYTES:
        raise _network(url, "it sends whole files only, and what is needed lies too deep")
    elif size is not None:
        n_bytes = max(0, min(n_bytes, size - offset))
    data = _read(response, url, skip + n_bytes, timeout_s)[skip:]
    if len(data) < n_bytes and (size is not None or response.status == _PARTIAL):
        raise _network(url, f"it broke off after {len(data)} of {n_bytes} bytes", "try again")
    return Answer(data, size)


def _read(response: http.client.HTTPResponse, url: str, n_bytes: int, timeout_s: float) -> bytes:
    """Return the first `n_bytes` of an answer, as they come; never more than arrive are held."""
    held = bytearray()
    began_s = time.monotonic()
    while len(held) < n_bytes:
        piece = response.read1(min(_CHUNK_BYTES, n_bytes - len(held)))
        if not piece:
            break
        held += piece
        if time.monotonic() - began_s > timeout_s + len(held) / SLOWEST_BYTES_PER_S:
            raise _network(url, f"only {len(held)} of {n_bytes} bytes came in time", "try again")
    return bytes(held)


def _why(error: Exception) -> str:
    """Return why a connection failed, in words that hold nothing secret."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return clip(reason.strerror)
    return type(reason).__name__ if isinstance(reason, Exception) else clip(str(reason))


def _network(url: str, why: str, hint: str = "") -> DataError:
    hint = hint or "check address and connection; a downloaded file can be read without"
    return DataError(f"{shown(url)} cannot be read: {why}", hint=hint, code="network")


def _contradiction(url: str, why: str) -> ImportRejected:
    return ImportRejected(f"the server's answer for {shown(url)} cannot be used: {why}")
