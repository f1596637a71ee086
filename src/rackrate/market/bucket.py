"""Ask an object store for a shared market: the only module that imports obstore.

    s3://bucket/prefix/
      manifest.json          replaced by a conditional PUT: of two writers one wins, the other sees it
      files/SHA256.parquet   named by their content, so that nobody ever overwrites another's

Keys, region and endpoint come from the environment alone (`AWS_...`, as everywhere). Plain HTTP is spoken
to this machine only, or where AWS_ALLOW_HTTP says so. The service that knows the role of a machine in the
cloud is asked only where AWS_METADATA_ENDPOINT names it: elsewhere that question takes minutes to fail.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from rackrate.errors import DataError, StoreBroken, UsageError
from rackrate.market.store.manifest import NAME

if TYPE_CHECKING:
    from obstore.store import ClientConfig

CONNECT_S, SILENCE_S, MOST_S = 5, 30, 60
"""Wait for a connection, for one answer, and for one request with its further attempts, seconds."""

_ATTEMPTS = 3
_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
    "AWS_SKIP_SIGNATURE",
)
"""Any one of them says who asks, or that nobody needs to say."""


class Outrun(Exception):
    """Another writer was faster: the manifest is not the one that was read."""


class Bucket:
    """The objects of one shared market.

    Args:
        address: `s3://bucket/prefix`.

    Raises:
        DataError: the environment holds no key.
        UsageError: it would go over the network unencrypted.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        if not any(os.environ.get(name) for name in _KEYS):
            hint = (
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_SKIP_SIGNATURE=true where all may read"
            )
            raise DataError(f"{address} needs a key, and the environment has none", hint=hint, code="gated")
        if urlsplit(endpoint()).scheme == "http" and not _may_be_plain():
            hint = "https://, or AWS_ALLOW_HTTP=true where the network is your own"
            raise UsageError(f"{endpoint()} would be asked for {address} without encryption", hint=hint)
        options: ClientConfig = {"connect_timeout": f"{CONNECT_S}s", "timeout": f"{SILENCE_S}s"}
        if _may_be_plain():
            options["allow_http"] = True
        with self._asking():
            self._store = S3Store.from_url(
                address,
                client_options=options,
                retry_config={
                    "max_retries": _ATTEMPTS - 1,
                    "retry_timeout": timedelta(seconds=MOST_S),
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=200),
                        "max_backoff": timedelta(seconds=5),
                        "base": 2,
                    },
                },
            )

    def manifest(self, known: str = "") -> tuple[bytes, str] | None:
        """Return the manifest and its tag, empty where the market has none yet; None for the known one.

        Args:
            known: tag of the one that we have.

        Raises:
            DataError: it cannot be had.
        """
        with self._asking():
            try:
                found = self._store.get(NAME, options={"if_none_match": known} if known else {})
                return bytes(found.bytes()), found.meta["e_tag"] or ""
            except NotModifiedError:
                return None
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return b"", ""

    def swap(self, text: str, known: str) -> str:
        """Put a manifest in the place of the known one; return its tag.

        Raises:
            Outrun: another one is there.
            DataError: it cannot be written.
        """
        with self._asking():
            try:
                put = self._store.put(NAME, text.encode(), mode={"e_tag": known} if known else "create")
            except (AlreadyExistsError, PreconditionError) as error:
                raise Outrun from error
            return put["e_tag"] or ""

    def put(self, path: Path, sha256: str) -> None:
        """Put a file there, under its hash.

        Raises:
            StoreBroken: the file is not what was written once.
            DataError: it cannot be written.
        """
        try:
            body = path.read_bytes()
        except OSError as error:
            raise StoreBroken(f"cannot read {path}: {error.strerror}") from error
        if hashlib.sha256(body).hexdigest() != sha256:
            raise StoreBroken(f"{path} is not what was written", hint="rackrate market check names all such")
        with self._asking():
            self._store.put(_key(sha256), body)

    def get(self, sha256: str, path: Path) -> None:
        """Write the file of this hash to `path`.

        Raises:
            StoreBroken: it is not there, or not what its name says.
            DataError: it cannot be had.
            OSError: it cannot be written here.
        """
        digest = hashlib.sha256()
        with self._asking():
            try:
                found = self._store.get(_key(sha256))
            except FileNotFoundError as error:
                raise StoreBroken(f"{self.address}/{_key(sha256)} is missing") from error
            pieces = found.stream()
        with path.open("wb") as out:
            while True:
                with self._asking():
                    piece = next(pieces, None)
                if piece is None:
                    break
                digest.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != sha256:
            raise StoreBroken(f"{self.address}/{_key(sha256)} is not what was published")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Say what went wrong on the way as an error of ours; no key stands in any."""
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            hint = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do there"
            raise DataError(
                f"{self.address} does not take the key ({_told(error)})", hint=hint, code="gated"
            ) from error
        except FileNotFoundError as error:
            where = endpoint() or "AWS"
            hint = "check its name, AWS_REGION and AWS_ENDPOINT_URL"
            name = urlsplit(self.address).netloc
            raise DataError(f"{where} has no bucket {name!r}", hint=hint, code="no-market-data") from error
        except BaseError as error:
            hint = "AWS_ENDPOINT_URL and AWS_REGION say where"
            where = endpoint() or "AWS"
            message = f"{self.address} cannot be asked at {where}: {_told(error)}"
            raise DataError(message, hint=hint, code="network") from error


def endpoint() -> str:
    """Return where the store is asked, if it is not where AWS has it."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _key(sha256: str) -> str:
    return f"files/{sha256}.parquet"


def _may_be_plain() -> bool:
    if os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes"):
        return True
    host = urlsplit(endpoint()).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _told(error: Exception) -> str:
    """Return the server's own code where it gave one, else the first line of what went wrong."""
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"status code: (\d+[\w ]*)", text)
    if code:
        return code[1]
    if status:
        return f"HTTP {status[1].strip()}"
    cause = re.search(r"HTTP error: ([\w ]+)", text)
    return cause[1] if cause else text.splitlines()[0][:160]
