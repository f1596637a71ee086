"""How does one get an OCI image without a registry? This very Python, packed with Rackrate and its engine.

The image holds the interpreter that runs this, its standard library, Rackrate as it is installed here, what
a node of a fleet imports, the C libraries that all of these name, and a shell. Nothing is downloaded and no
package manager runs: a machine made of it has the Python, and so the pickles, of its owner. It is for
trying and testing fleets of containers; an image for real work has its own drivers and frameworks.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO

import rackrate

NAME = "localhost/rackrate-node"
_LABEL = "rackrate.image=node"
_OLD = ("--filter", "until=24h")
"""Images of what the source once was."""

_ROOTS = ("cryptography", "distributed", "numpy", "platformdirs", "psutil", "rich", "click")
"""What a node imports, with all that these require."""
_LEFT_OUT = frozenset({"site-packages", "test", "tests", "idlelib", "ensurepip", "turtledemo"})
_COMPILED = "__pycache__"
_LIBRARY = re.compile(r"(/\S+) \(0x")
_NAME = re.compile(r"[\w.-]+")
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\n"


def build(engine: str = "podman") -> str:
    """Return the name of an image with this Python and this Rackrate, made unless it is there.

    Raises:
        CalledProcessError: the engine does not take it.
    """
    files = _files()
    name = f"{NAME}:{_digest(files)}"
    with (Path(tempfile.gettempdir()) / "rackrate-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests that run side by side build it once
        if _call(engine, "image", "inspect", name).returncode:
            _import(engine, name, files)
            _call(engine, "image", "prune", "--all", "--force", "--filter", f"label={_LABEL}", *_OLD)
    return name


def _import(engine: str, name: str, files: dict[str, Path]) -> None:
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w", dereference=True) as tar:
            _pack(tar, files)
        packed.seek(0)
        _call(engine, "import", "--change", f"LABEL {_LABEL}", "-", name, stdin=packed).check_returncode()


def _call(engine: str, *words: str, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([engine, *words], stdin=stdin, capture_output=True, check=False)  # noqa: S603


def _pack(tar: tarfile.TarFile, files: dict[str, Path]) -> None:
    for target, source in files.items():
        tar.add(source, target.lstrip("/"), recursive=False)
    for folder, mode in (("tmp", 0o1777), ("root", 0o700), ("run", 0o755)):
        entry = tarfile.TarInfo(folder)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        tar.addfile(entry)
    entry = tarfile.TarInfo("etc/passwd")
    entry.size = len(_PASSWD)
    tar.addfile(entry, io.BytesIO(_PASSWD))


def _files() -> dict[str, Path]:
    """Return what the image holds: path there, file here."""
    python = Path(sys.executable).resolve()
    site = Path(sysconfig.get_path("stdlib")) / "site-packages"
    packed = {str(python): python, "/usr/bin/python3": python, "/bin/sh": Path("/bin/sh").resolve()}
    stdlib = Path(sysconfig.get_path("stdlib"))
    packed |= {str(path): path for path in _walk(stdlib)}
    packed |= {str(site / name): path for name, path in _installed()}
    package = Path(rackrate.__file__).parent
    packed |= {
        str(site / "rackrate" / path.relative_to(package)): path
        for path in _walk(package)
        if _COMPILED not in path.parts
    }
    binaries = [path for path in packed.values() if path.suffix == ".so" or ".so." in path.name]
    packed |= {str(path): path for path in _libraries([python, Path("/bin/sh"), *binaries])}
    return packed


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.suffix != ".a":
            yield path


def _installed() -> Iterator[tuple[str, Path]]:
    """Yield the files of what a node imports, by their path below site-packages."""
    wanted, seen = ["rackrate", *_ROOTS], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # wanted on other systems or by other Pythons
        for file in found.files or ():
            path = Path(str(found.locate_file(file)))
            is_code = ".." not in file.parts and not _LEFT_OUT & set(file.parts) and file.suffix != ".pth"
            if is_code and path.is_file():
                yield str(file), path
        needs = [text for text in found.requires or () if "extra ==" not in text]
        wanted += [_NAME.match(text)[0] for text in needs if name != "rackrate"]  # type: ignore[index]


def _libraries(binaries: Iterable[Path]) -> set[Path]:
    """Return the shared libraries that programs and extension modules name."""
    said = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607
    named = {Path(path) for path in _LIBRARY.findall(said) if "/../" not in path}  # those a wheel brings
    return named | {
        path.parent / "libgcc_s.so.1" for path in named if path.name == "libc.so.6"
    }  # for threads


def _digest(files: dict[str, Path]) -> str:
    """Return a name for the content, by paths, sizes and times."""
    digest = hashlib.sha256()
    for target, source in sorted(files.items()):
        if _COMPILED in source.parts:
            continue  # Python adds to these as it goes
        seen = source.stat()
        digest.update(f"{target} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
