"""The API server of an emulated cluster: pods, Secrets and nodes, as `kubectl` and a fleet ask for them.

It answers on loopback over TLS, to whoever shows its token or a certificate of its authority. Of the
published API (v1 of the core group) it has the routes below, selectors by equality, and watches of pods.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from rackrate.testing.clouds.cloud import Request
from rackrate.testing.kubernetes.certificates import Authority, Shown
from rackrate.testing.kubernetes.pods import Json, Pod, Pods

_LOOPBACK = "127.0.0.1"
_TICK_S = 0.02
_WATCH_S = 60.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SELECTED = re.compile(r"(?P<name>[^=!,]+)(?:(?P<test>!=|==?)(?P<value>[^,]*))?")
_VERBS = ["create", "delete", "get", "list", "watch"]
_RESOURCES: list[Json] = [
    {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "shortNames": ["po"]},
    {"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret"},
    {"name": "nodes", "singularName": "node", "namespaced": False, "kind": "Node", "shortNames": ["no"]},
]
_ABOUT: dict[str, Json] = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [one | {"verbs": _VERBS} for one in _RESOURCES],
    },
}
"""What clients ask first: what the server is and has."""


@dataclass(frozen=True)
class Answer:
    """What the server answers: all at once, or one JSON after the other as they come."""

    status: int
    body: bytes | Iterator[Json]
    kind: str = "application/json"


def _json(status: int, data: Json) -> Answer:
    return Answer(status, json.dumps(data).encode())


class Refusal(Exception):
    """The answer is a Status that says no."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        words = {"status": "Failure", "message": message, "reason": reason, "code": status}
        self.answer = _json(status, {"kind": "Status", "apiVersion": "v1", "metadata": {}} | words)


class KubernetesServer:
    """An emulated cluster's API server, from `with` to its end.

    Args:
        pods: what it speaks of; it is taken down with the server.
        console: names the file with what a machine wrote, by the uid of its pod.

    Attributes:
        pods: what it speaks of.
        most_pods: that a namespace may have; None for no quota.
        forbidden: methods and resources that the user has no right to.
        token: of the user.
        authority: that signs for server and users.
    """

    def __init__(self, pods: Pods, console: Callable[[str], Path]) -> None:
        self.pods = pods
        self.most_pods: int | None = None
        self.forbidden: set[tuple[str, str]] = set()
        self.token = secrets.token_urlsafe(24)
        self.authority = Authority()
        self._console = console
        self._server = _Server((_LOOPBACK, 0), _Handler)
        self._server.answer = self.answer
        context = _context(self.authority.sign("api-server", _LOOPBACK))
        context.load_verify_locations(cadata=self.authority.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        # Hands are shaken where requests are read: who is slow at it holds up nobody.
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_TICK_S,), name="api-server")

    @property
    def url(self) -> str:
        """Return where it answers."""
        return f"https://{_LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.pods.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def kubeconfig(self, *, by_certificate: bool = False) -> Json:
        """Return what a user's kubeconfig has for this cluster; JSON is YAML."""
        user: Json = {"token": self.token}
        if by_certificate:
            shown = self.authority.sign("somebody")
            user = {"client-certificate-data": _coded(shown.certificate)}
            user |= {"client-key-data": _coded(shown.key)}
        cluster = {"server": self.url, "certificate-authority-data": _coded(self.authority.certificate)}
        context = {"cluster": "emulated", "user": "me", "namespace": "work"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": context}],
            "clusters": [{"name": "emulated", "cluster": cluster}],
            "users": [{"name": "me", "user": user}],
        }

    def answer(self, request: Request, *, has_certificate: bool) -> Answer:
        """Answer a request."""
        try:
            self._let_in(request.token, has_certificate=has_certificate)
            return _json(200, _ABOUT[request.path]) if request.path in _ABOUT else self._route(request)
        except Refusal as refusal:
            return refusal.answer

    def _let_in(self, token: str, *, has_certificate: bool) -> None:
        if not has_certificate and not secrets.compare_digest(token.encode(), self.token.encode()):
            raise Refusal(401, "Unauthorized", "Unauthorized")
        if self.pods.faults.use("n_too_many"):
            raise Refusal(429, "TooManyRequests", "the server has received too many requests")

    def _route(self, request: Request) -> Answer:
        match request.path.strip("/").split("/"):
            case ["api", "v1", "nodes"]:
                self._check_right(request, "nodes")
                nodes = [node.to_json() for node in self.pods.nodes]
                return self._listed("NodeList", nodes, request)
            case ["api", "v1", "namespaces", namespace, resource, *rest] if resource in ("pods", "secrets"):
                self._check_right(request, resource)
                with self.pods.changed:
                    if resource == "secrets":
                        return self._secrets(request, namespace, rest)
                    return self._pods(request, namespace, rest)
        raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def _check_right(self, request: Request, resource: str) -> None:
        if (request.method, resource) in self.forbidden:
            words = f'{resource} is forbidden: User "me" cannot {request.method} resource "{resource}"'
            raise Refusal(403, "Forbidden", words)

    def _pods(self, request: Request, namespace: str, rest: list[str]) -> Answer:
        match request.method, rest:
            case "GET", []:
                if request.query.get("watch") in ("1", "true"):
                    return Answer(200, self._watched(request, namespace))
                found = [pod.data for (there, _), pod in self.pods.now.items() if there == namespace]
                return self._listed("PodList", found, request)
            case "POST", []:
                return self._make(namespace, request.body or {})
            case "GET", [name]:
                return _json(200, self._pod(namespace, name).data)
            case "GET", [name, "log"]:
                return self._log(self._pod(namespace, name), int(request.query.get("tailLines", 0)))
            case "DELETE", [name]:
                pod = self._pod(namespace, name)
                if self.pods.faults.use("n_delete_500"):
                    raise Refusal(500, "InternalError", "etcdserver: request timed out")
                self.pods.delete(pod)
                return _json(200, pod.data)
        raise Refusal(405, "MethodNotAllowed", "the server does not allow this method on the resource")

    def _pod(self, namespace: str, name: str) -> Pod:
        pod = self.pods.now.get((namespace, name))
        if pod is None:
            raise Refusal(404, "NotFound", f'pods "{name}" not found')
        return pod

    def _make(self, namespace: str, asked: Json) -> Answer:
        name = _checked(asked)
        if (namespace, name) in self.pods.now:
            raise Refusal(409, "AlreadyExists", f'pods "{name}" already exists')
        n_there = sum(there == namespace for there, _ in self.pods.now)
        if self.most_pods is not None and n_there >= self.most_pods:
            words = f"exceeded quota: pods, requested: pods=1, used: pods={n_there}"
            raise Refusal(403, "Forbidden", f'pods "{name}" is forbidden: {words}')
        if self.pods.faults.use("n_create_500"):
            raise Refusal(500, "InternalError", "etcdserver: request timed out")
        pod = self.pods.make(namespace, asked)
        if self.pods.faults.use("n_create_500_but_makes"):
            raise Refusal(500, "InternalError", "etcdserver: request timed out")
        return _json(201, pod.data)

    def _log(self, pod: Pod, n_lines: int) -> Answer:
        if not pod.is_booted:
            name = pod.data["metadata"]["name"]
            raise Refusal(400, "BadRequest", f'container "node" in pod "{name}" is waiting to start')
        lines = self._console(pod.uid).read_text(errors="replace").splitlines(keepends=True)
        return Answer(200, "".join(lines[-n_lines:]).encode(), "text/plain")

    def _secrets(self, request: Request, namespace: str, rest: list[str]) -> Answer:
        match request.method, rest:
            case "POST", []:
                asked = request.body or {}
                name = _named(asked)
                if (namespace, name) in self.pods.secrets:
                    raise Refusal(409, "AlreadyExists", f'secrets "{name}" already exists')
                coded = {key: _coded(value) for key, value in asked.pop("stringData", {}).items()}
                secret = asked | {"data": asked.get("data", {}) | coded}
                self.pods.secrets[namespace, name] = secret
                return _json(201, secret)
            case "GET", []:
                found = [one for (there, _), one in self.pods.secrets.items() if there == namespace]
                return self._listed("SecretList", found, request)
        raise Refusal(405, "MethodNotAllowed", "the server does not allow this method on the resource")

    def _listed(self, kind: str, found: list[Json], request: Request) -> Answer:
        chosen = [one for one in found if _is_selected(one, request.query)]
        metadata = {"resourceVersion": str(self.pods.version)}
        return _json(200, {"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": chosen})

    def _watched(self, request: Request, namespace: str) -> Iterator[Json]:
        until_s = time.monotonic() + float(request.query.get("timeoutSeconds", _WATCH_S))
        for kind, data in self.pods.since(int(request.query.get("resourceVersion") or 0), until_s):
            if data["metadata"]["namespace"] == namespace and _is_selected(data, request.query):
                yield {"type": kind, "object": data}


def _checked(asked: Json) -> str:
    """Return the name of a pod that is asked for, or refuse what the API does."""
    name = _named(asked)
    spec = asked.get("spec", {})
    wrong = []
    if spec.get("restartPolicy", "Always") not in ("Always", "OnFailure", "Never"):
        wrong.append(f'spec.restartPolicy: Unsupported value: "{spec["restartPolicy"]}"')
    deadline_s = spec.get("activeDeadlineSeconds", 1)
    if not isinstance(deadline_s, int) or deadline_s < 1:
        wrong.append(f"spec.activeDeadlineSeconds: Invalid value: {deadline_s}")
    if not spec.get("containers") or not all(one.get("image") for one in spec["containers"]):
        wrong.append("spec.containers[0].image: Required value")
    if wrong:
        raise Refusal(422, "Invalid", f'Pod "{name}" is invalid: {", ".join(wrong)}')
    return name


def _named(asked: Json) -> str:
    name = str(asked.get("metadata", {}).get("name", ""))
    if not _NAME.fullmatch(name):
        words = f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain is needed'
        raise Refusal(422, "Invalid", f'"{name}" is invalid: {words}')
    return name


def _is_selected(data: Json, query: dict[str, str]) -> bool:
    """Tell whether an object passes the selectors of a query."""
    metadata = data["metadata"]
    fields = {f"metadata.{name}": metadata.get(name) for name in ("name", "namespace")}
    fields["status.phase"] = data.get("status", {}).get("phase")
    pairs = (
        (query.get("labelSelector", ""), metadata.get("labels", {})),
        (query.get("fieldSelector", ""), fields),
    )
    return all(
        _passes(found.get(one["name"]), one["test"], one["value"])
        for selector, found in pairs
        for one in _SELECTED.finditer(selector)
    )


def _passes(found: str | None, test: str | None, value: str) -> bool:
    if test is None:
        return found is not None
    return (found != value) if test == "!=" else (found == value)


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _context(shown: Shown) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", prefix="rr-") as file:
        file.write(shown.certificate + shown.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    answer: Callable[..., Answer]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless a client hung up or did not like our certificate."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        has_certificate = bool(self.connection.getpeercert())
        answer = self.server.answer(Request.of(self), has_certificate=has_certificate)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.end_headers()
        if isinstance(answer.body, bytes):
            self.wfile.write(answer.body)
        else:
            for one in answer.body:
                self.wfile.write(json.dumps(one).encode() + b"\n")

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names of http.server

    def log_message(self, *said: object) -> None:
        """Keep quiet: tests ask for what is printed."""
