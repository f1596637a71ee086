"""Send news to an address, signed as standardwebhooks.com has it, so that its owner knows whose they are.

`webhook-signature` is `v1,` and the base64 of an HMAC-SHA256 over `id.timestamp.body`. The key comes from the
environment alone; it stands in no message, file or process list.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import logging
import os
from urllib.parse import urlsplit

import httpx2
import stamina

from rackrate import clock
from rackrate.alerts.rule import News
from rackrate.errors import MissingCredential, ProviderDown, Refused, UsageError

KEY = "RACKRATE_WEBHOOK_KEY"
_PREFIX = "whsec_"
_ATTEMPTS = 4
_WAIT_S = 0.2
_LONGEST_S = 10.0
"""For one attempt in all: a server that sends a byte now and then is never silent."""
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}

logging.getLogger("stamina").addHandler(logging.NullHandler())  # a failure is told when it is the last


class _Again(Exception):
    """An answer after which another attempt is worth making."""


class Webhook:
    """One address.

    Args:
        url: https, or http on loopback.

    Raises:
        UsageError: no such address.
        Refused: the news would go out unencrypted.
        MissingCredential: the environment has no key.
    """

    def __init__(self, url: str) -> None:
        self.host = _checked_host(url)
        self._url = url
        self._key = _key()

    def __call__(self, news: News) -> None:
        """Send one.

        Raises:
            ProviderDown: it was not taken, after four attempts where another one could help.
        """
        body = json.dumps(news.to_dict(), ensure_ascii=False).encode()
        try:
            for attempt in stamina.retry_context(
                on=(_Again, httpx2.TransportError), attempts=_ATTEMPTS, wait_initial=_WAIT_S
            ):
                with attempt:
                    self._send(news.id, body)
        except (_Again, httpx2.HTTPError) as error:
            says = str(error) or type(error).__name__
            raise ProviderDown(f"webhook at {self.host}: {says}", hint="it is tried again later") from error

    def _send(self, name: str, body: bytes) -> None:
        sent_at = str(int(clock.now().timestamp()))
        headers = {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": sent_at,
            "webhook-signature": signature(self._key, name, sent_at, body),
        }
        try:
            status = asyncio.run(asyncio.wait_for(self._post(headers, body), _LONGEST_S))
        except TimeoutError as error:
            raise _Again(f"no answer within {_LONGEST_S:g} s") from error
        if status in _TRANSIENT:
            raise _Again(f"HTTP {status}")
        if not 200 <= status < 300:  # noqa: PLR2004 - what HTTP calls success
            hint = "a redirect is not followed; it is tried again later"
            raise ProviderDown(f"webhook at {self.host}: HTTP {status}", hint=hint)

    async def _post(self, headers: dict[str, str], body: bytes) -> int:
        """Return the status of one attempt; it can be given up at any byte, which a blocking read cannot."""
        async with (
            httpx2.AsyncClient(timeout=None) as client,
            client.stream("POST", self._url, content=body, headers=headers) as answer,
        ):
            return answer.status_code  # what it says beside that is not read: it may never end


def signature(key: bytes, name: str, sent_at: str, body: bytes) -> str:
    """Return the value of `webhook-signature`."""
    signed = hmac.new(key, b".".join((name.encode(), sent_at.encode(), body)), hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


def _key() -> bytes:
    text = os.environ.get(KEY, "")
    if not text:
        hint = f"set {KEY}: any secret text, or whsec_ and base64"
        raise MissingCredential("a webhook is signed, and there is no key", hint=hint)
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise UsageError(f"{KEY} starts with whsec_ and is not base64 after it") from error


def _checked_host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in ("https", "http"):
        raise UsageError("a webhook is an address like https://example.org/hook")
    if parts.scheme == "http" and not _is_loopback(host):
        raise Refused(f"a webhook at {host} would be told unencrypted", hint="use https")
    return host if port is None else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
