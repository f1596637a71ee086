"""Read what a path or an address holds: a file, a folder or a web address, by its look."""

from __future__ import annotations

import re
from pathlib import Path

from rackrate.checkpoint import layout
from rackrate.checkpoint.header import Header
from rackrate.checkpoint.source import Absent, Folder, clip, unreadable
from rackrate.errors import UsageError

HUB_ID = re.compile(
    r"(?!.*(?:\.\.|--))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}(?:@[\w./-]{1,200})?", re.ASCII
)
"""`owner/name`, with or without `@revision`."""

_FILE_ENDS = (".safetensors", ".gguf", ".json", *layout.PICKLES)


def read(what: str) -> Header:
    """Return the tensors that a model's files hold; their headers are read, their data are not.

    Args:
        what: path of a .safetensors or .gguf file, of a folder with one model (sharded, a diffusion
            pipeline, sentence-transformers), of an index; or the http(s) address of any of them. One
            part of a split set stands for the set. Hub ids are read by `rackrate.checkpoint.hub.read`.

    Raises:
        DataError: `file`, nothing is there or it cannot be read; `network`, `gated`, a server does
            not give it.
        ImportRejected: it is broken, cut off, or of a kind that we do not read (a pickle).
        UsageError: nothing, or not an address that we can use.
    """
    if re.match(r"https?://", what, re.IGNORECASE):
        return _read_address(what)
    if not what.strip():
        raise UsageError("no path was given", hint="name a file or folder; . is the current one")
    try:
        path = Path(what).expanduser()
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, a name too long, no home
        raise unreadable(what, error) from error
    if is_folder:
        return layout.read_folder(Folder(path))
    if not is_there:
        is_id = HUB_ID.fullmatch(what) is not None
        hint = "a hub id is read by rackrate.checkpoint.hub.read" if is_id else "check the path"
        raise Absent(f"there is no {clip(what)}", hint=hint)
    return layout.read_file(Folder(path.parent, is_listed=False), path.name)


def _read_address(url: str) -> Header:
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - the same

    from rackrate.checkpoint.remote import WebFolder, check_address  # noqa: PLC0415 - start-up: HTTP and TLS

    check_address(url)
    parts = urlsplit(url)
    folder, _, name = parts.path.rpartition("/")
    if not name.endswith(_FILE_ENDS):
        return layout.read_folder(WebFolder(url))
    base = parts._replace(path=folder, fragment="").geturl()
    return layout.read_file(WebFolder(base), unquote(name))
