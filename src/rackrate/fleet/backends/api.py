"""How is a provider's HTTP API asked? Once a call, for a limited time, and never against a rate limit.

A call is tried once: whoever drives the fleet asks again, because only that knows what is still wanted.
After an answer of 429 the same thing is not asked before the provider allows it; until then a call fails
here, without a request. The key goes into one header and nowhere else.
"""

from __future__ import annotations

import os
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2

from rackrate.errors import AuthRejected, MissingCredential, ProviderDown, ProviderError, RateLimited

Json = dict[str, Any]

_CONNECT_S = 5.0
_ANSWER_S = 30.0
_AGAIN_S = 5.0
"""Until the next try where a provider says "too often" without saying when."""
_WORDS = ("detail", "msg", "message", "error", "title")
"""Where an answer has its words, the most telling first."""
_THRESHOLD = re.compile(r"threshold=([\d.]+)")


class Asked(Protocol):
    """Who is asked, and what is shown to them."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def key_hint(self) -> str:
        """What to look at when the key is not taken."""

    def address(self) -> str:
        """Return the URL that is asked."""

    def session(self) -> Callable[[], dict[str, str]]:
        """Return who says what goes along with a question, each time that one is asked.

        Raises:
            MissingCredential: the environment has no key.
        """

    def refused(self) -> None:
        """Hear that what went along was not taken."""

    def tls(self) -> ssl.SSLContext | None:
        """Return how the server is checked; None for what the system trusts."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Where and how a provider is asked.

    Attributes:
        name: for messages.
        url: of its API.
        url_variable: environment variable that names another URL, for tests and proxies.
        key_variable: environment variable with the account's key.
    """

    name: str
    url: str
    url_variable: str
    key_variable: str

    def key(self) -> str:
        """Return the account's key.

        Raises:
            MissingCredential: the environment has none.
        """
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise MissingCredential(
                f"{self.name} needs a key, and the environment has no {self.key_variable}",
                hint=f"make one in the console of {self.name} and export {self.key_variable}",
            )
        return key

    @property
    def key_hint(self) -> str:
        """Return what to look at when the key is not taken."""
        return f"is {self.key_variable} the key of this account, and still valid?"

    def headers(self) -> dict[str, str]:
        """Return the key as it is shown.

        Raises:
            MissingCredential: the environment has none.
        """
        return {"Authorization": f"Bearer {self.key()}"}

    def session(self) -> Callable[[], dict[str, str]]:
        """Return the key of now for all questions: a keeper forgets the environment's.

        Raises:
            MissingCredential: the environment has none.
        """
        shown = self.headers()
        return lambda: shown

    def refused(self) -> None:
        """Do nothing: there is no other key."""

    def tls(self) -> ssl.SSLContext | None:
        """Return nothing of its own: the system knows who signs for providers."""
        return None

    def address(self) -> str:
        """Return the URL that is asked."""
        return os.environ.get(self.url_variable, self.url).rstrip("/")


class Api:
    """A provider's HTTP API, asked with the account's key.

    Raises:
        MissingCredential: the environment has no key.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._headers = asked.session()
        self._http = httpx2.Client(
            base_url=asked.address(),
            verify=asked.tls() or True,
            timeout=httpx2.Timeout(_ANSWER_S, connect=_CONNECT_S),
            follow_redirects=True,  # a slash at the end, say; the client keeps the key from other places
        )
        self._lock = threading.Lock()
        self._not_before_s: dict[str, float] = {}

    def ask(
        self, method: str, path: str, *, body: Json | None = None, query: Json | None = None, lane: str = ""
    ) -> Json:
        """Return the answer.

        Args:
            method: of HTTP.
            path: below the URL of the API.
            body: sent as JSON.
            query: behind the path.
            lane: what a rate limit is counted for, where a provider counts things apart.

        Raises:
            AuthRejected: the key is not taken.
            RateLimited: too often; nothing was done.
            ProviderDown: no answer: what was asked for may have been done.
            ProviderError: any other answer that is no success, with its status and words.
        """
        return _json(*self._reply(method, path, body, query, lane))

    def text(self, path: str, *, query: Json | None = None) -> str:
        """Return an answer that is text; it raises as `ask` does."""
        return self._reply("GET", path, None, query, "")[0].text

    def _reply(
        self, method: str, path: str, body: Json | None, query: Json | None, lane: str
    ) -> tuple[httpx2.Response, str]:
        """Return an answer that is a success, and what was asked."""
        what = f"{self._asked.name}: {method} {path}"
        self._wait_is_over(what, lane)
        try:
            reply = self._http.request(method, path, json=body, params=query, headers=self._headers())
        except httpx2.HTTPError as error:
            raise ProviderDown(f"{what}: no answer ({type(error).__name__})") from None
        if reply.status_code == httpx2.codes.TOO_MANY_REQUESTS:
            again_s = _again_s(reply)
            with self._lock:
                self._not_before_s[lane] = time.monotonic() + again_s
            raise RateLimited(f"{what}: {_words(reply)}", again_s=again_s)
        if reply.status_code == httpx2.codes.UNAUTHORIZED:
            self._asked.refused()
            raise AuthRejected(
                f"{what}: the key is not taken: {_words(reply)}",
                status=reply.status_code,
                hint=self._asked.key_hint,
            )
        if not reply.is_success:
            words = _words(reply)
            raise ProviderError(
                f"{what}: {reply.status_code}: {words}", status=reply.status_code, words=words
            )
        return reply, what

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _wait_is_over(self, what: str, lane: str) -> None:
        with self._lock:
            left_s = self._not_before_s.get(lane, 0.0) - time.monotonic()
        if left_s > 0:
            raise RateLimited(f"{what}: not asked: it was asked too often before", again_s=left_s)


def _json(reply: httpx2.Response, what: str) -> Json:
    if not reply.content:
        return {}
    try:
        found = reply.json()
    except ValueError as error:
        raise ProviderDown(f"{what}: {reply.status_code} with an answer that is no JSON") from error
    if not isinstance(found, dict):
        raise ProviderDown(f"{what}: {reply.status_code} with an answer that is no object")
    return found


def _words(reply: httpx2.Response) -> str:
    """Return what a provider said, in one line."""
    try:
        found = reply.json()
        said = [str(found[key]) for key in _WORDS if found.get(key)][:1]
        said += [str(one) for one in found.get("errors", ())]
    except (ValueError, AttributeError):
        said = [reply.text]
    return " ".join("; ".join(said).split())[:400] or "no words"


def _again_s(reply: httpx2.Response) -> float:
    """Return the seconds to wait after a 429: as its header says, or its words, or a few."""
    stated = reply.headers.get("Retry-After", "")
    in_words = _THRESHOLD.search(reply.text)
    if stated.isdigit():
        return float(stated)
    return float(in_words[1]) if in_words else _AGAIN_S
