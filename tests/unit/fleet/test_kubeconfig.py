"""How a cluster is read from a kubeconfig, and what is said of one that leads nowhere."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rackrate.errors import MissingCredential, RackrateError, UsageError
from rackrate.fleet.backends import kubeconfig
from rackrate.fleet.backends.kubeconfig import read_cluster

V1 = "client.authentication.k8s.io/v1"


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
    assert (found.address(), found.namespace) == ("https://k.example:6443", "ml")
    assert found.headers() == {"Authorization": "Bearer a-token"}
    assert "a-token" not in repr(found)


def test_files_are_looked_for_beside_the_kubeconfig(path: Path) -> None:
    (path.parent / "token").write_text("from-a-file\n")
    (path.parent / "ca.crt").write_text("its authority")
    path.write_text(
        yaml.safe_dump(config(user={"tokenFile": "token"}, cluster={"certificate-authority": "ca.crt"}))
    )
    found = read_cluster()
    assert found.authority == "its authority"
    assert found.headers() == {"Authorization": "Bearer from-a-file"}
    (path.parent / "token").write_text("the next one\n")
    assert found.headers() == {"Authorization": "Bearer the next one"}
    (path.parent / "token").unlink()
    with pytest.raises(MissingCredential, match="cannot be read"):
        found.headers()


def test_certificates_stand_in_it_in_base_64(path: Path) -> None:
    coded = {
        f"client-{name}-data": base64.b64encode(name.encode()).decode() for name in ("certificate", "key")
    }
    path.write_text(yaml.safe_dump(config(user=coded)))
    found = read_cluster()
    assert (found.user.certificate, found.user.key, found.headers()) == ("certificate", "key", {})


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
    "a program of no version": (config(user={"exec": {"command": "x"}}), UsageError, "exec is of 'None'"),
    "a version that is no more": (
        config(user={"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}),
        UsageError,
        "v1alpha1",
    ),
    "a program without a name": (config(user={"exec": {"apiVersion": V1}}), UsageError, "runs ''"),
    "a program that asks": (
        config(user={"exec": {"command": "x", "apiVersion": V1, "interactiveMode": "Always"}}),
        UsageError,
        "wants to ask you",
    ),
    "variables of a program": (
        config(user={"exec": {"command": "x", "apiVersion": V1, "env": [{"name": "A"}]}}),
        UsageError,
        "env of exec cannot be read",
    ),
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


@pytest.fixture
def account(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have what a pod has: two variables and a folder."""
    del own_home  # it has no kubeconfig
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    monkeypatch.setattr(kubeconfig, "ACCOUNT", tmp_path)
    for name, text in {"ca.crt": "its authority", "namespace": "jobs", "token": "the pod's\n"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_pod_asks_its_own_cluster_with_the_token_that_it_has_by_then(account: Path) -> None:
    found = read_cluster()
    assert (found.address(), found.namespace) == ("https://[fd00::1]:6443", "jobs")
    assert found.authority == "its authority"
    assert found.headers() == {"Authorization": "Bearer the pod's"}
    (account / "token").write_text("an hour later")
    assert found.headers() == {"Authorization": "Bearer an hour later"}


def test_a_pod_without_an_account_is_told_so(account: Path) -> None:
    (account / "ca.crt").unlink()
    with pytest.raises(MissingCredential, match="without a kubeconfig or a service account"):
        read_cluster()


def test_a_kubeconfig_that_is_named_counts_in_a_pod_too(
    account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(account / "none"))
    with pytest.raises(MissingCredential, match="there is none at"):
        read_cluster()


PROGRAM = """#!{python}
import json, os, pathlib, sys
here = pathlib.Path(sys.argv[1])
with (here / "asked").open("a") as asked:
    asked.write(os.environ["KUBERNETES_EXEC_INFO"] + os.environ.get("REGION", "") + "\\n")
sys.stderr.write("opening a browser\\nthe session is over\\n")
sys.stdout.write((here / "says").read_text())
sys.exit(int((here / "code").read_text()))
"""


class Program:
    """A program that prints what a test wrote down for it, and keeps how it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "plugin").write_text(PROGRAM.format(python=sys.executable))
        (folder / "plugin").chmod(0o700)
        self.says({})

    def says(self, status: dict[str, str], *, version: str = V1, code: int = 0) -> None:
        said = {"kind": "ExecCredential", "apiVersion": version, "status": status}
        (self.folder / "says").write_text(json.dumps(said))
        (self.folder / "code").write_text(str(code))

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    def entry(self, **more: Any) -> dict[str, Any]:
        return {"exec": {"apiVersion": V1, "command": "./plugin", "args": [str(self.folder)]} | more}


@pytest.fixture
def program(path: Path) -> Program:
    return Program(path.parent)


def at(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def test_a_program_is_asked_when_it_is_needed_and_again_when_what_it_said_ends(
    path: Path, program: Program
) -> None:
    env = [{"name": "REGION", "value": "eu-west-1"}]
    path.write_text(yaml.safe_dump(config(user=program.entry(env=env, provideClusterInfo=True))))
    program.says({"token": "first", "expirationTimestamp": at(3600)})
    found = read_cluster()
    assert [found.headers() for _ in range(3)] == [{"Authorization": "Bearer first"}] * 3
    (asked,) = program.asked
    assert asked.endswith("eu-west-1")
    told = json.loads(asked.removesuffix("eu-west-1"))
    assert told["spec"] == {"interactive": False, "cluster": {"server": "https://k.example:6443/"}}
    assert "first" not in repr(found)
    program.says({"token": "second", "expirationTimestamp": at(5)})  # as good as over
    found.refused()
    assert found.headers() == found.headers() == {"Authorization": "Bearer second"}
    assert len(program.asked) == 3


@pytest.mark.parametrize(
    ("status", "more", "says"),
    [
        ({"token": "s3cret"}, {"version": "client.authentication.k8s.io/v1beta1"}, "printed no ExecCred"),
        ({"clientCertificateData": "s3cret"}, {}, "printed no ExecCredential"),
        ({"token": "s3cret", "expirationTimestamp": "soon"}, {}, "printed no ExecCredential"),
        ({"token": "s3cret"}, {"code": 3}, r"failed \(3\): the session is over"),
    ],
)
def test_a_program_that_fails_is_one_error_without_what_it_printed(
    path: Path, program: Program, status: dict[str, str], more: dict[str, Any], says: str
) -> None:
    path.write_text(yaml.safe_dump(config(user=program.entry(installHint="install it anew"))))
    program.says(status, **more)
    with pytest.raises(MissingCredential, match=says) as refused:
        read_cluster().headers()
    assert refused.value.hint == "install it anew"
    assert "s3cret" not in str(refused.value)


def test_a_program_that_is_not_there_is_said(path: Path) -> None:
    path.write_text(yaml.safe_dump(config(user={"exec": {"apiVersion": V1, "command": "no-such-plugin"}})))
    with pytest.raises(MissingCredential, match="no-such-plugin: No such file"):
        read_cluster().headers()


def test_who_has_a_token_too_is_not_asked(path: Path, program: Program) -> None:
    path.write_text(yaml.safe_dump(config(user=program.entry() | {"token": "a-token"})))
    assert read_cluster().headers() == {"Authorization": "Bearer a-token"}
    assert not (program.folder / "asked").exists()
