"""How is a cluster reached? As `kubectl` reaches it: by the current context of the user's kubeconfig.

What is read is the server, its authority, the namespace, and a token or a client certificate. Credentials
that a program must be asked for (`exec`) are not: they end while a fleet lives. Of several files in
KUBECONFIG the first that has an entry counts.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rackrate.errors import MissingCredential, UsageError

VARIABLE = "KUBECONFIG"
_TOKEN_HINT = "put a token of a service account there: `kubectl create token NAME --duration=24h`"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster's API, and what opens it.

    Attributes:
        server: its URL.
        namespace: in which nodes live.
        authority: that signed the server's certificate, as PEM; empty for those that the system trusts.
        token: of the user; empty where a certificate is shown.
        certificate: of the user, as PEM.
        key: of that certificate.
    """

    server: str
    namespace: str
    authority: str = ""
    token: str = field(default="", repr=False)
    certificate: str = ""
    key: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """Return who is asked, for messages."""
        return f"Kubernetes at {self.server}"

    @property
    def key_hint(self) -> str:
        """Return what to look at when the key is not taken."""
        return f"does `kubectl auth whoami` work? {_TOKEN_HINT}"

    def address(self) -> str:
        """Return the URL that is asked."""
        return self.server.rstrip("/")

    def headers(self) -> dict[str, str]:
        """Return what goes along with each question."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def tls(self) -> ssl.SSLContext:
        """Return how the server is checked and the user is shown.

        Raises:
            UsageError: authority, certificate or key is none.
        """
        try:
            context = ssl.create_default_context(cadata=self.authority or None)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # clusters' own authorities often lack a key id
            if self.certificate:
                with tempfile.NamedTemporaryFile("w", prefix="rr-") as file:  # mode 600, and at once gone
                    file.write(f"{self.certificate}\n{self.key}\n")
                    file.flush()
                    context.load_cert_chain(file.name)
        except (ssl.SSLError, ValueError) as error:
            raise UsageError(
                f"the kubeconfig's certificates for {self.server} cannot be read: {error}",
                hint="`kubectl config view --raw` shows them",
            ) from error
        return context


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a kubeconfig, and the folder that its paths are relative to."""

    what: str
    data: dict[str, Any]
    folder: Path

    def text(self, name: str) -> str:
        """Return a value that stands here as text; empty where there is none."""
        found = self.data.get(name)
        if found is not None and not isinstance(found, str):
            raise UsageError(f"{self.what}: {name} is no text", hint="`kubectl config view` shows it")
        return found or ""

    def pem(self, name: str) -> str:
        """Return a value that stands here in base 64, or in a file that is named here."""
        try:
            if coded := self.text(f"{name}-data"):
                return base64.b64decode(coded, validate=True).decode("ascii")
            return self.file(name)
        except ValueError as error:
            raise UsageError(
                f"{self.what}: {name} cannot be read: {error}", hint="`kubectl config view --raw` shows it"
            ) from error

    def file(self, name: str) -> str:
        """Return what a file has that is named here."""
        path = self.text(name)
        try:
            return (self.folder / path).read_text("utf-8").strip() if path else ""
        except OSError as error:
            raise UsageError(
                f"{self.what}: {name} {path!r} cannot be read: {error.strerror}",
                hint=f"paths are relative to {self.folder}",
            ) from error


def read_cluster() -> Cluster:
    """Return the cluster of the current context.

    Raises:
        MissingCredential: there is no kubeconfig, or it has neither token nor certificate.
        UsageError: it cannot be read, or names what is not there or not safe.
    """
    paths = [Path(path).expanduser() for path in _named_paths()]
    configs = [(path, _load(path)) for path in paths if path.is_file()]
    if not configs:
        raise MissingCredential(
            f"Kubernetes needs a kubeconfig, and there is none at {', '.join(map(str, paths))}",
            hint=f"point {VARIABLE} to one; `kubectl config view` shows what kubectl uses",
        )
    current = next((name for _, config in configs if (name := config.get("current-context"))), "")
    context = _entry(configs, "context", str(current))
    cluster = _entry(configs, "cluster", context.text("cluster"))
    user = _entry(configs, "user", context.text("user"))
    _check_server(cluster)
    found = Cluster(
        server=cluster.text("server"),
        namespace=context.text("namespace") or "default",
        authority=cluster.pem("certificate-authority"),
        token=user.text("token") or user.file("tokenFile"),
        certificate=user.pem("client-certificate"),
        key=user.pem("client-key"),
    )
    if not found.token and not (found.certificate and found.key):
        how = "asks a program for its credentials" if "exec" in user.data else "has no token or certificate"
        raise MissingCredential(f"{user.what} {how}", hint=_TOKEN_HINT)
    return found


def _named_paths() -> list[str]:
    named = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    return named or ["~/.kube/config"]


def _load(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - only who asks a cluster waits for it

    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise UsageError(
            f"the kubeconfig {str(path)!r} cannot be read: {why}", hint="`kubectl config view` reads it"
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f"{str(path)!r} is no kubeconfig", hint="`kubectl config view` shows one")
    return found


def _entry(configs: list[tuple[Path, dict[str, Any]]], kind: str, name: str) -> _Entry:
    """Return a context, cluster or user by its name.

    Raises:
        UsageError: there is none of that name.
    """
    there: list[str] = []
    for path, config in configs:
        for one in config.get(f"{kind}s") or ():
            if isinstance(one, dict) and isinstance(one.get(kind), dict):
                if one.get("name") == name:
                    return _Entry(f"{kind} {name!r} of {path}", one[kind], path.parent)
                there.append(str(one.get("name")))
    hint = f"it has {', '.join(there)}; `kubectl config use-context` chooses" if there else ""
    raise UsageError(f"the kubeconfig has no {kind} {name!r}", hint=hint or f"it has no {kind}s")


def _check_server(cluster: _Entry) -> None:
    server = cluster.text("server")
    if not server.startswith("https://"):
        raise UsageError(
            f"{cluster.what}: server {server!r} is not https", hint="credentials go over TLS alone"
        )
    if cluster.data.get("insecure-skip-tls-verify"):
        raise UsageError(
            f"{cluster.what}: its certificate is not to be checked (insecure-skip-tls-verify)",
            hint="name its certificate-authority",
        )
