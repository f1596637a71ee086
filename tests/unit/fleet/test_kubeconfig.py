"""How a cluster is read from a kubeconfig, and what is said of one that leads nowhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from rackrate.errors import MissingCredential, RackrateError, UsageError
from rackrate.fleet.backends.kubeconfig import read_cluster


def config(**changes: Any) -> dict[str, Any]:
    cluster = {"server": "https://k.example:6443/"} | changes.pop("cluster", {})
    context = {"cluster": "c", "user": "u"} | changes.pop("context", {})
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": context}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": changes.pop("user", {"token": "a-token"})}],
    } | changes


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


def test_the_current_context_names_cluster_user_and_namespace(path: Path) -> None:
    path.write_text(yaml.safe_dump(config(context={"namespace": "ml"})))
    found = read_cluster()
    assert (found.address(), found.namespace, found.token) == ("https://k.example:6443", "ml", "a-token")
    assert found.headers() == {"Authorization": "Bearer a-token"}
    assert "a-token" not in repr(found)


def test_files_are_looked_for_beside_the_kubeconfig(path: Path) -> None:
    (path.parent / "token").write_text("from-a-file\n")
    (path.parent / "ca.crt").write_text("its authority")
    path.write_text(
        yaml.safe_dump(config(user={"tokenFile": "token"}, cluster={"certificate-authority": "ca.crt"}))
    )
    found = read_cluster()
    assert (found.token, found.authority) == ("from-a-file", "its authority")


def test_certificates_stand_in_it_in_base_64(path: Path) -> None:
    coded = {
        f"client-{name}-data": base64.b64encode(name.encode()).decode() for name in ("certificate", "key")
    }
    path.write_text(yaml.safe_dump(config(user=coded)))
    found = read_cluster()
    assert (found.certificate, found.key, found.headers()) == ("certificate", "key", {})


def test_of_several_files_the_first_that_has_an_entry_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = path.parent / "second"
    path.write_text(yaml.safe_dump({"users": [{"name": "u", "user": {"token": "first"}}]}))
    second.write_text(yaml.safe_dump(config()))
    monkeypatch.setenv("KUBECONFIG", f"{path}:{second}:{path.parent / 'none'}")
    assert read_cluster().headers() == {"Authorization": "Bearer first"}


def test_without_the_variable_it_is_the_file_that_kubectl_takes(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(MissingCredential, match=r"none at .*\.kube/config"):
        read_cluster()
    (own_home / ".kube").mkdir()
    (own_home / ".kube" / "config").write_text(yaml.safe_dump(config()))
    assert read_cluster().namespace == "default"


BAD: dict[str, tuple[Any, type[RackrateError], str]] = {
    "no YAML": ("a: [", UsageError, "cannot be read"),
    "a list": ("[1]", UsageError, "is no kubeconfig"),
    "nothing": ("{}", UsageError, "no context ''"),
    "unknown context": (config(**{"current-context": "away"}), UsageError, "no context 'away'"),
    "unknown cluster": (config(context={"cluster": "x"}), UsageError, "no cluster 'x'"),
    "unknown user": (config(context={"user": "x"}), UsageError, "no user 'x'"),
    "plain http": (config(cluster={"server": "http://k"}), UsageError, "is not https"),
    "no server": (config(cluster={"server": ""}), UsageError, "is not https"),
    "a number": (config(cluster={"server": 7}), UsageError, "server is no text"),
    "unchecked": (config(cluster={"insecure-skip-tls-verify": True}), UsageError, "not to be checked"),
    "bad base 64": (config(cluster={"certificate-authority-data": "%"}), UsageError, "cannot be read"),
    "no such file": (config(cluster={"certificate-authority": "none"}), UsageError, "No such file"),
    "no credentials": (config(user={}), MissingCredential, "has no token"),
    "a program": (config(user={"exec": {"command": "x"}}), MissingCredential, "asks a program"),
    "half a certificate": (
        config(user={"client-certificate-data": base64.b64encode(b"c").decode()}),
        MissingCredential,
        "has no token",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_leads_nowhere_is_one_error_that_says_where_and_what(path: Path, bad: str) -> None:
    text, kind, says = BAD[bad]
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
    with pytest.raises(kind, match=says) as refused:
        read_cluster()
    assert refused.value.hint


@pytest.mark.parametrize("where", ["authority", "certificate"])
def test_what_is_no_certificate_is_said(path: Path, where: str) -> None:
    coded = base64.b64encode(b"no certificate").decode()
    bad = {
        "authority": config(cluster={"certificate-authority-data": coded}),
        "certificate": config(user={"client-certificate-data": coded, "client-key-data": coded}),
    }
    path.write_text(yaml.safe_dump(bad[where]))
    with pytest.raises(UsageError, match="certificates"):
        read_cluster().tls()
