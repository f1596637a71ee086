"""Where a header's bytes come from: the interface, local files, and the checks that all sources share.

A file says how long its own header is, and may lie. So every length is held against the size of the
file, where that is known, and against a bound, before a byte of it is asked for.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rackrate.errors import DataError, ImportRejected

JSON_LIMIT_BYTES = 64 * 2**20
"""A config is kilobytes; the largest index (90,000 tensors of DeepSeek V3) is 9 MB."""

_SHOWN = 80  # characters of a stranger's text in a message


class Absent(DataError):
    """There is no such file."""

    code = "file"


class Source(Protocol):
    """A file that can be read at any place.

    Attributes:
        name: for messages and for `Header.files`.
        size: bytes of the whole file; None while nobody has said so.
    """

    name: str
    size: int | None

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """Return `n_bytes` from byte `offset`; fewer only where the file ends."""


class Place(Protocol):
    """A folder of files, here or elsewhere.

    Attributes:
        name: for messages.
        files: paths of what it holds, relative, with `/`, in order; None when it cannot be listed.
        is_remote: whether each file costs a journey, so that several had better travel at once.
    """

    name: str
    files: tuple[str, ...] | None
    is_remote: bool

    def open(self, path: str) -> Source | None:
        """Return the file at a relative path, or None when there is none."""

    def read_text(self, path: str) -> bytes | None:
        """Return the whole of a small file, or None when there is none."""


@dataclass
class LocalFile:
    """A regular file on this machine.

    Attributes:
        path: where it is.
        name: as it is to be called in messages.
        size: its bytes.
    """

    path: Path
    name: str
    size: int | None

    @classmethod
    def find(cls, path: Path, name: str = "") -> LocalFile | None:
        """Return the file, or None when there is none.

        Raises:
            DataError: `file`, it is a folder or a device, or may not be looked at.
        """
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise unreadable(name or str(path), error) from error
        if not stat.S_ISREG(found.st_mode):  # a pipe would wait, a device would never end
            raise DataError(f"{clip(name or str(path))} is not a regular file", code="file")
        return cls(path, name or path.name, found.st_size)

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """Return `n_bytes` from byte `offset`; fewer only where the file ends.

        Raises:
            DataError: `file`, it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(max(0, min(n_bytes, (self.size or 0) - offset)))
        except OSError as error:
            raise unreadable(self.name, error) from error


class Folder:
    """A folder on this machine and the folders in it, one level down."""

    is_remote = False

    def __init__(self, path: Path, *, is_listed: bool = True) -> None:
        """Take a folder.

        Args:
            path: where it is.
            is_listed: whether to look what it holds; not, to read one file of it.

        Raises:
            DataError: `file`, it may not be looked at.
        """
        self.path = path
        self.name = path.name or str(path)
        self.files: tuple[str, ...] | None = None
        if is_listed:
            try:
                self.files = tuple(sorted(_listing(path)))
            except OSError as error:
                raise unreadable(self.name, error) from error

    def open(self, path: str) -> Source | None:
        """Return the file at a relative path, or None when there is none."""
        return LocalFile.find(self.path / path, path)

    def read_text(self, path: str) -> bytes | None:
        """Return the whole of a small file, or None when there is none."""
        file = self.open(path)
        return None if file is None else whole(file)


def _listing(folder: Path, prefix: str = "", depth: int = 1) -> list[str]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                found.append(prefix + entry.name)
            elif depth and not entry.name.startswith("."):  # .git and .cache hold no model
                found += _listing(Path(entry.path), f"{prefix}{entry.name}/", depth - 1)
    return found


def whole(source: Source, limit_bytes: int = JSON_LIMIT_BYTES) -> bytes:
    """Return all of a small file.

    Raises:
        ImportRejected: it is larger than `limit_bytes`.
    """
    if source.size is not None and source.size > limit_bytes:
        raise _too_large(source.name, limit_bytes)
    text = source.read_at(0, limit_bytes + 1)
    if len(text) > limit_bytes:
        raise _too_large(source.name, limit_bytes)
    return text


def exactly(source: Source, offset: int, n_bytes: int, what: str) -> bytes:
    """Return `n_bytes` from byte `offset`.

    Raises:
        ImportRejected: the file ends before; `what` names what was cut off.
    """
    end = offset + n_bytes
    if source.size is None or end <= source.size:
        found = source.read_at(offset, n_bytes)
        if len(found) == n_bytes:
            return found
        end = offset + len(found)
    has = source.size if source.size is not None else end
    raise ImportRejected(
        f"{clip(source.name)} is cut off: its {what} would end at byte {offset + n_bytes}, it has {has}",
        hint="download it again",
    )


def parse_json(text: bytes, name: str, kind: type = dict) -> Any:
    """Read a JSON object, or a list where `kind` says so.

    Raises:
        ImportRejected: not JSON, or another thing than was asked for.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else clip(str(error))
        raise ImportRejected(f"{clip(name)} is not JSON: {why}", hint="download it again") from error
    if not isinstance(found, kind):
        raise ImportRejected(f"{clip(name)} holds a {type(found).__name__}, not a {kind.__name__}")
    return found


def inside(path: object, origin: str) -> str:
    """Return a relative path that a file names, when it stays inside its folder.

    Raises:
        ImportRejected: it is no text, absolute, or climbs out with `..`: a model's index names its
            own files only, and one that does not is an attack or broken.
    """
    parts = path.split("/") if isinstance(path, str) else [".."]
    text = str(path)
    is_odd = any(part in ("", ".", "..") for part in parts) or not text.isprintable()
    if is_odd or "\\" in text or ":" in text:
        raise ImportRejected(
            f"{clip(origin)} names the file {clip(repr(path))}, which does not lie in its folder",
            hint="do not use this model: an honest index names its own files",
        )
    return text


def clip(text: str) -> str:
    """Return text from outside, fit for a message: one line, printable, not long."""
    plain = "".join(char if char.isprintable() else "?" for char in text[: _SHOWN + 1])
    return plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…"


def unreadable(name: str, error: Exception) -> DataError:
    """Return the error for a file that the system does not let us read."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return DataError(f"{clip(name)} cannot be read: {why}", hint="check path and rights", code="file")


def _too_large(name: str, limit_bytes: int) -> ImportRejected:
    return ImportRejected(f"{clip(name)} is larger than {limit_bytes} bytes; no such file of a model is")
