"""What does a program say that a kubeconfig names for credentials? Asked as `kubectl` asks it.

The kubeconfig's `exec` entry names a program (`aws eks get-token`, `gke-gcloud-auth-plugin`, ...) that prints
an `ExecCredential` of `client.authentication.k8s.io`: a token, or a certificate with its key, and until when
they hold. It is run when they are first needed, again shortly before they end, and after the server refused
them. What it prints is kept in memory alone, and never repeated in a message. Nobody is there to answer a
question, so it is told that it may ask none.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rackrate.errors import MissingCredential, UsageError

_GROUP = "client.authentication.k8s.io"
_VERSIONS = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
_PATIENCE_S = 60.0
_EARLY = timedelta(seconds=10)
"""Before its end a credential is asked for anew: a call takes its time."""
_MOST_WORDS = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """What opens a cluster for a while.

    Attributes:
        token: empty where a certificate is shown.
        certificate: as PEM; empty where there is none.
        key: of that certificate.
        until_at: when it ends; None where nobody says.
    """

    token: str = field(default="", repr=False)
    certificate: str = ""
    key: str = field(default="", repr=False)
    until_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether it must be asked for anew."""
        return self.until_at is not None and datetime.now(UTC) > self.until_at - _EARLY


def show(shown: Shown, context: ssl.SSLContext) -> None:
    """Show a certificate, where there is one, in new connections of a context.

    Raises:
        SSLError: it is none.
    """
    if shown.certificate:
        with tempfile.NamedTemporaryFile("w", prefix="rr-") as file:  # mode 600, and at once gone
            file.write(f"{shown.certificate}\n{shown.key}\n")
            file.flush()
            context.load_cert_chain(file.name)


class Plugin:
    """The program of a kubeconfig's user.

    Args:
        who: the user, for messages.
        entry: of the kubeconfig.
        folder: of the kubeconfig; a program with a relative path is looked for there.
        cluster: what the program is told of the cluster where it wants to know.

    Raises:
        UsageError: the entry is none, or wants to ask the user.
    """

    def __init__(self, who: str, entry: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any]) -> None:
        self._who = who
        self._version = str(entry.get("apiVersion"))
        self._hint = str(entry.get("installHint") or "does it work in a terminal?").strip()
        self._command = str(entry.get("command") or "")
        if self._version not in _VERSIONS or not self._command:
            raise UsageError(
                f"{who}: exec is of {self._version!r} and runs {self._command!r}",
                hint=f"it needs a command and an apiVersion of {' or '.join(_VERSIONS)}",
            )
        if entry.get("interactiveMode") == "Always":
            raise UsageError(
                f"{who}: {self._command} wants to ask you something (interactiveMode Always)",
                hint="a fleet outlives its terminal: use a user whose program asks nothing",
            )
        self._folder = folder
        try:
            self._words = [str(word) for word in entry.get("args") or ()]
            self._env = {str(one["name"]): str(one["value"]) for one in entry.get("env") or ()}
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"{who}: args or env of exec cannot be read", hint="env has entries of a name and a value"
            ) from error
        self._told = cluster if entry.get("provideClusterInfo") else None
        self._lock = threading.Lock()
        self._shown: Shown | None = None
        self._contexts: list[ssl.SSLContext] = []

    def shown(self) -> Shown:
        """Return what opens the cluster now.

        Raises:
            MissingCredential: the program is not there, or says nothing that does.
        """
        with self._lock:
            if self._shown is None or self._shown.is_over:
                self._shown = self._asked()
                for context in self._contexts:
                    show(self._shown, context)
            return self._shown

    def show_in(self, context: ssl.SSLContext) -> None:
        """Show the certificate in new connections of a context, and each later one in its place."""
        self.shown()
        with self._lock:
            self._contexts.append(context)
            show(self._shown or Shown(), context)

    def forget(self) -> None:
        """Ask anew next time: the server refused what it said."""
        with self._lock:
            self._shown = None

    def _asked(self) -> Shown:
        shown = _read(self._run(), self._version)
        if shown is None:  # and not a word of what it printed: it may have been the token
            raise MissingCredential(
                f"{self._who}: {self._command} printed no ExecCredential of {self._version} with a token, or "
                "with a certificate and its key",
                hint=self._hint,
            )
        return shown

    def _run(self) -> bytes:
        info: dict[str, Any] = {"interactive": False}
        info |= {} if self._told is None else {"cluster": dict(self._told)}
        asked = {"apiVersion": self._version, "kind": "ExecCredential", "spec": info}
        env = os.environ | self._env | {"KUBERNETES_EXEC_INFO": json.dumps(asked)}
        try:
            ran = subprocess.run(  # noqa: S603 - what the user's own kubeconfig names
                [self._path(), *self._words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=env,
                timeout=_PATIENCE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = getattr(error, "strerror", None) or f"no answer in {_PATIENCE_S:g} s"
            raise MissingCredential(f"{self._who}: {self._command}: {why}", hint=self._hint) from None
        if ran.returncode:
            last = ran.stderr.decode(errors="replace").strip().splitlines()[-1:]
            words = "".join(last)[:_MOST_WORDS] or "it said nothing"
            raise MissingCredential(
                f"{self._who}: {self._command} failed ({ran.returncode}): {words}", hint=self._hint
            )
        return ran.stdout

    def _path(self) -> str:
        """Return where it is: from the kubeconfig's folder on where it has a path, else as a shell does."""
        if os.sep in self._command:
            return str(self._folder / self._command)
        return shutil.which(self._command) or self._command


def _read(said: bytes, version: str) -> Shown | None:
    """Return what an ExecCredential opens a cluster with; None where it is none, or has nothing."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        credential = json.loads(said)
        if (credential["kind"], credential["apiVersion"]) != ("ExecCredential", version):
            return None
        status = credential["status"]
        until = status.get("expirationTimestamp")
        until_at = datetime.fromisoformat(until).astimezone(UTC) if until else None
        certificate, key = status.get("clientCertificateData", ""), status.get("clientKeyData", "")
        if status.get("token") or (certificate and key):
            return Shown(status.get("token", ""), certificate, key, until_at)
    return None


def cluster_info(server: str, authority: str) -> dict[str, Any]:
    """Return what a program is told of the cluster that it is to open."""
    coded = {"certificate-authority-data": base64.b64encode(authority.encode()).decode()} if authority else {}
    return {"server": server, **coded}
