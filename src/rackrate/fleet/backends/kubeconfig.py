"""How is a cluster reached? As `kubectl` reaches it: by the current context of the user's kubeconfig.

What is read is the server, its authority, the namespace, and a token, a client certificate, or the program
that is to be asked for them (`exec`: see `plugin`). Of several files in KUBECONFIG the first that has an
entry counts. In a pod without a kubeconfig it is the pod's own service account, whose files the cluster puts
there. A token in a file is read at each call: whoever wrote it writes another before it ends.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rackrate.errors import MissingCredential, UsageError
from rackrate.fleet.backends.plugin import Plugin, Shown, cluster_info, show

VARIABLE = "KUBECONFIG"
HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
"""Variables by which a pod knows its cluster."""
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the cluster puts what a pod shows to it."""
_TOKEN_HINT = "put a token of a service account there: `kubectl create token NAME --duration=24h`"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster's API, and what opens it.

    Attributes:
        server: its URL.
        namespace: in which nodes live.
        authority: that signed the server's certificate, as PEM; empty for those that the system trusts.
        user: what is shown to it, where that stays.
        token_file: has the user's token at each moment; None where it stays.
        plugin: is asked for what is shown; None where that stays.
    """

    server: str
    namespace: str
    authority: str = ""
    user: Shown = field(default_factory=Shown)
    token_file: Path | None = None
    plugin: Plugin | None = None

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
        """Return what goes along with each question.

        Raises:
            MissingCredential: the program or the file that has it does not say it.
        """
        token = self._shown().token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def session(self) -> Callable[[], dict[str, str]]:
        """Return who says it each time: a token does not last."""
        return self.headers

    def refused(self) -> None:
        """Ask the program anew before the next question: the server did not take what was shown."""
        if self.plugin:
            self.plugin.forget()

    def _shown(self) -> Shown:
        if self.plugin:
            return self.plugin.shown()
        if self.token_file is None:
            return self.user
        try:
            return Shown(self.token_file.read_text("utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise MissingCredential(
                f"the token of {self.name} cannot be read from {self.token_file}: {error}", hint=_TOKEN_HINT
            ) from None

    def tls(self) -> ssl.SSLContext:
        """Return how the server is checked and the user is shown.

        Raises:
            UsageError: authority, certificate or key is none.
            MissingCredential: the program that has them does not say them.
        """
        try:
            context = ssl.create_default_context(cadata=self.authority or None)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # clusters' own authorities often lack a key id
            if self.plugin:
                self.plugin.show_in(context)
            else:
                show(self.user, context)
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

    def path(self, name: str) -> Path | None:
        """Return where a file is that is named here."""
        named = self.text(name)
        return self.folder / named if named else None

    def file(self, name: str) -> str:
        """Return what a file has that is named here."""
        path = self.path(name)
        try:
            return path.read_text("utf-8").strip() if path else ""
        except OSError as error:
            raise UsageError(
                f"{self.what}: {name} {str(path)!r} cannot be read: {error.strerror}",
                hint=f"paths are relative to {self.folder}",
            ) from error


def read_cluster() -> Cluster:
    """Return the cluster of the current context.

    Raises:
        MissingCredential: there is no kubeconfig and no service account, or no token, certificate or program.
        UsageError: it cannot be read, or names what is not there or not safe.
    """
    paths = [Path(path).expanduser() for path in _named_paths()]
    configs = [(path, _load(path)) for path in paths if path.is_file()]
    if not configs and os.environ.get(HOST) and VARIABLE not in os.environ:
        return _own_cluster(os.environ[HOST], os.environ.get(PORT, "443"))
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
    server, authority = cluster.text("server"), cluster.pem("certificate-authority")
    namespace = context.text("namespace") or "default"
    shown = Shown(user.text("token"), user.pem("client-certificate"), user.pem("client-key"))
    token_file = user.path("tokenFile")
    if shown.token or token_file or (shown.certificate and shown.key):
        return Cluster(server, namespace, authority, shown, token_file)
    if "exec" not in user.data:
        raise MissingCredential(f"{user.what} has no token, certificate or program", hint=_TOKEN_HINT)
    told = cluster_info(server, authority)
    return Cluster(
        server, namespace, authority, plugin=Plugin(user.what, user.data["exec"], user.folder, told)
    )


def _own_cluster(host: str, port: str) -> Cluster:
    """Return the cluster in whose pod this runs."""
    try:
        authority, namespace = (
            (ACCOUNT / name).read_text("utf-8").strip() for name in ("ca.crt", "namespace")
        )
    except OSError as error:
        raise MissingCredential(
            f"this is a pod ({HOST} is set) without a kubeconfig or a service account: {error}",
            hint=f"give the pod a service account, or point {VARIABLE} to a kubeconfig",
        ) from None
    host = f"[{host}]" if ":" in host else host
    return Cluster(f"https://{host}:{port}", namespace, authority, token_file=ACCOUNT / "token")


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
