"""How does one try a fleet on machines of one's own with one machine? By OpenSSH's real server, on loopback.

It runs as the current user on a port of its own, with keys and settings of its own: nothing of the machine's
own server or of the user's own keys is read or written.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from getpass import getuser
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from rackrate.errors import FleetError
from rackrate.fleet.backends.hosts import Host

_PRIVILEGES = Path("/run/sshd")
"""A folder that a server that root starts asks for."""
_UP_S = 10.0


def program() -> str | None:
    """Return the path of OpenSSH's server; None where it is not installed."""
    return shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin")


class Sshd:
    """A server of OpenSSH, from `with` to its end.

    Args:
        folder: for its keys and settings.
        env: what the shells of its users see, beside what the machine gives them.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = env
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def host(self, slots: int = 1) -> Host:
        """Return this machine as a host, with the Python that runs this."""
        return Host(
            f"{getuser()}@127.0.0.1:{self._port}",
            slots=slots,
            python=sys.executable,
            key=str(self._folder / "user"),
            known_hosts=str(self._folder / "known_hosts"),
        )

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in ("host", "user"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._folder / name)]
            subprocess.run(key, check=True)  # noqa: S603 - a key of our own
        self._port = _free_port()
        shown = (self._folder / "host.pub").read_text("ascii")
        (self._folder / "known_hosts").write_text(f"[127.0.0.1]:{self._port} {shown}", "ascii")
        (self._folder / "settings").write_text(self._settings(), "utf-8")
        self.start()
        return self

    def start(self) -> None:
        """Start it, on the port that it had if it had one.

        Raises:
            FleetError: it does not come up.
        """
        if _PRIVILEGES.parent.is_dir() and not _PRIVILEGES.exists() and getuser() == "root":
            _PRIVILEGES.mkdir(mode=0o755)
        command = [str(program()), "-D", "-e", "-f", str(self._folder / "settings")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
        until_s = time.monotonic() + _UP_S
        while not _answers(self._port):
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise FleetError(f"sshd does not come up: {(self._folder / 'log').read_text('utf-8')}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it with every session that it has."""
        if self._process is not None:
            sessions = psutil.Process(self._process.pid).children(recursive=True)
            sessions = [one for one in sessions if "sshd" in one.name()]  # not the nodes that they started
            for process in (psutil.Process(self._process.pid), *sessions):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()
            self._process = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _settings(self) -> str:
        seen = " ".join(f'"{name}={value}"' for name, value in self._env.items())
        return "\n".join(
            [
                f"Port {self._port}",
                "ListenAddress 127.0.0.1",
                f"HostKey {self._folder / 'host'}",
                f"AuthorizedKeysFile {self._folder / 'user.pub'}",
                "AuthenticationMethods publickey",
                "StrictModes no",  # of a temporary folder above which others may write
                "UsePAM no",
                "PidFile none",
                "AllowAgentForwarding no",
                *([f"SetEnv {seen}"] if seen else []),
                "",
            ]
        )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0
