"""How do the files of the owner reach a machine whose image lacks them? By their content, once.

When the fleet opens, the files of the named folders, packages and modules are copied beside its spec, each
under the hash of its content, with a manifest of what is where: every node works on the same state,
whatever is edited meanwhile. A node asks for the manifest, then for what it does not have. It keeps files
by their hash in a folder of its machine, so that a second worker, or the next fleet on a machine that
stays, fetches only what has changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from rackrate.errors import BadQuantity, FleetError
from rackrate.fleet.lines import Line, Message

MANIFEST = "manifest"
_PART = 1 << 19
"""Bytes of a file in one answer: base64 makes it two thirds of the longest line."""
_N_DIGITS = 64
_MOST_BYTES = 256 << 20
_PATIENCE_S = 10.0
_LEFT_OUT = frozenset(
    {"__pycache__", ".git", ".venv", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)


def collect(paths: Iterable[str | Path], folder: Path) -> None:
    """Copy what is to be the same on every node.

    A package keeps its name; the files of another folder, and a module, go to the top.

    Raises:
        BadQuantity: there is no such file, or it is too much.
    """
    folder.mkdir()
    manifest, n_bytes = {}, 0
    for path in map(Path, paths):
        for name, file in _files(path):
            data = file.read_bytes()
            n_bytes += len(data)
            if n_bytes > _MOST_BYTES:
                hint = "put large data on storage that the nodes can read, or into the image"
                raise BadQuantity(f"sync: more than {_MOST_BYTES >> 20} MiB, at {file}", hint=hint)
            digest = hashlib.sha256(data).hexdigest()
            manifest[name] = digest
            (folder / digest).write_bytes(data)
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def roots(paths: Iterable[str | Path]) -> list[str]:
    """Return where modules are looked for, on a machine that has the files themselves."""
    return [str(_root(Path(path).resolve())) for path in paths]


def _root(path: Path) -> Path:
    """Return the folder by which an import finds what is at a path.

    Raises:
        BadQuantity: there is nothing.
    """
    if not path.exists():
        raise BadQuantity(
            f"sync: no file or folder {str(path)!r}", hint="name a package, a folder or a module"
        )
    return path if path.is_dir() and not (path / "__init__.py").exists() else path.parent


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file below a path with its name on the nodes."""
    path = path.resolve()
    root = _root(path)
    if path.is_file():
        yield path.name, path
        return
    for at, folders, files in os.walk(path):
        folders[:] = sorted(set(folders) - _LEFT_OUT)
        for file in sorted(files):
            found = Path(at, file)
            if found.is_file():  # no socket, no broken link
                yield found.relative_to(root).as_posix(), found


def part_of(folder: Path, question: Message) -> Message:
    """Return a part of a collected file, or of the manifest, base64, and how long the whole is."""
    name = str(question["name"])
    if name != MANIFEST and not (
        len(name) == _N_DIGITS and set(name) <= set("0123456789abcdef")
    ):  # no path from outside
        raise FleetError(f"no file {name!r}", hint="files are asked for by their hash")
    with (folder / name).open("rb") as file:
        file.seek(int(question["first"]))
        data = file.read(_PART)
        return {"data": base64.b64encode(data).decode(), "n_bytes": os.fstat(file.fileno()).st_size}


def fetch(line: Line, kept: Path, into: Path) -> None:
    """Lay out the files of the fleet in a folder, asking for those that this machine does not keep.

    Raises:
        OSError: nobody answers.
        FleetError: what came is not what was asked for.
    """
    kept.mkdir(parents=True, exist_ok=True)
    for name, digest in json.loads(_whole(line, MANIFEST)).items():
        if not (kept / digest).exists():
            data = _whole(line, digest)
            if hashlib.sha256(data).hexdigest() != digest:
                raise FleetError(f"{name} came damaged", hint="open the fleet again")
            made = kept / f"{digest}.{os.getpid()}"
            made.write_bytes(data)
            made.replace(kept / digest)
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept / digest, target)


def _whole(line: Line, name: str) -> bytes:
    data = b""
    while True:
        answer = line.ask("file", _PATIENCE_S, name=name, first=len(data))
        data += base64.b64decode(answer["data"])
        if len(data) >= answer["n_bytes"]:
            return data
