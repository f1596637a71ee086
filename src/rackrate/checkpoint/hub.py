"""Read what a model on a hub holds, without downloading it: config, index and headers by HTTP range.

The hub is asked only when a caller asks for it here. HF_ENDPOINT names another hub; the token comes
from HF_TOKEN or the file that the hub's own tools keep, goes to that hub alone, and is never shown.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from rackrate.checkpoint import layout
from rackrate.checkpoint.header import Header
from rackrate.checkpoint.reader import HUB_ID
from rackrate.checkpoint.remote import TIMEOUT_S, Session, WebFolder, check_address, origin_of, read_small
from rackrate.checkpoint.source import LocalFile, clip, inside, parse_json, whole
from rackrate.errors import DataError, UsageError

ENDPOINT = "https://huggingface.co"
"""The public hub, where HF_ENDPOINT names no other."""

_TOKEN = re.compile(r"[!-~]{1,4096}")  # printable, no spaces: what may stand in a header
_TOKEN_LIMIT_BYTES = 2**14


def read(what: str, *, file: str = "", timeout_s: float = TIMEOUT_S) -> Header:
    """Return the tensors of a model on the hub.

    Args:
        what: `owner/name` or `owner/name@revision`.
        file: path of one file in the repository, for one that holds several models (GGUF in several
            precisions); empty for the model that the repository is.
        timeout_s: longest silence of the hub, seconds.

    Raises:
        UsageError: not of that form, or HF_ENDPOINT is no address.
        DataError: `file`, there is no such model or revision, or it holds no weights; `gated`, it
            wants a token or another one; `network`, the hub does not answer.
        ImportRejected: its files are broken or of a kind that we do not read.
    """
    if not HUB_ID.fullmatch(what):
        hint = "write it like owner/name or owner/name@revision"
        raise UsageError(f"{clip(what)} is not the id of a model on the hub", hint=hint)
    if file:
        inside(file, "the caller")
    repository, _, revision = what.partition("@")
    place = Repository(repository, revision or "main", timeout_s)
    return layout.read_file(place, file) if file else layout.read_folder(place)


class Repository(WebFolder):
    """A model's repository on the hub, at one revision."""

    def __init__(self, repository: str, revision: str, timeout_s: float = TIMEOUT_S) -> None:
        """Ask the hub what the repository holds.

        Raises:
            DataError, UsageError: as `read` says.
        """
        endpoint = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        check_address(endpoint)
        session = Session(timeout_s, _token(), origin_of(endpoint), repository)
        about = f"{endpoint}/api/models/{repository}/revision/{quote(revision, safe='')}"
        listing = read_small(session, about, f"the hub's answer about {repository}")
        address = f"{endpoint}/{repository}/resolve/{quote(revision, safe='')}"
        if listing is not None:  # a mirror may serve files only; then we ask for each by name
            facts = parse_json(listing, f"the hub's answer about {repository}")
            self.files = _files(facts.get("siblings"))
            sha = facts.get("sha")
            if isinstance(sha, str) and re.fullmatch(r"[0-9a-f]{40}", sha):
                # all files of one commit, whatever is pushed meanwhile
                address = f"{endpoint}/{repository}/resolve/{sha}"
        super().__init__(address, session, repository)


def _files(siblings: object) -> tuple[str, ...] | None:
    if not isinstance(siblings, list):
        return None
    names = [entry.get("rfilename") if isinstance(entry, dict) else None for entry in siblings]
    return tuple(sorted(n for n in names if isinstance(n, str) and ".." not in n.split("/")))


def _token() -> str:
    """Return the caller's token; empty when there is none.

    Raises:
        DataError: it cannot be one; the message does not show it.
    """
    token = os.environ.get("HF_TOKEN", "").strip() or _stored_token()
    if token and not _TOKEN.fullmatch(token):
        raise DataError(
            "the hub token has spaces or signs that a token cannot have",
            hint="set HF_TOKEN again, or log in again",
            code="gated",
        )
    return token


def _stored_token() -> str:
    """Return the token that the hub's own tools have stored."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    home = Path(os.environ.get("HF_HOME") or cache)
    try:
        path = Path(os.environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
        found = LocalFile.find(path)
        return whole(found, _TOKEN_LIMIT_BYTES).decode(errors="replace").strip() if found else ""
    except (DataError, RuntimeError):  # a token that we may not read is none: public models need none
        return ""
