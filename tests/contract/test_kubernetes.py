"""What is asked of a Kubernetes cluster, and what of its refusals and faults becomes of a node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rackrate.errors import AuthRejected, ProviderDown, ProviderError
from rackrate.fleet.backends import kubeconfig
from rackrate.fleet.backends.base import ORDER, Machine, NoNode, NotNow, Order
from rackrate.fleet.backends.kubeconfig import read_cluster
from rackrate.fleet.backends.kubernetes import KubernetesBackend
from rackrate.testing.kubernetes import KubernetesServer, Pods
from rackrate.testing.kubernetes.certificates import Authority

FLEET = "c0117ac7"
NAME = f"rr-{FLEET}-1"
KEY = ("work", NAME)
L40S = Machine(image="example/worker:1", gpu="l40s", n_gpus=2)


def until(is_so: Callable[[], Any]) -> None:
    """Wait until it is so."""
    started_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - started_s < 10, "it never was so"
        time.sleep(0.01)


class Still:
    """Machines in which nothing happens but that they were started; each says so on its console."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env: dict[str, dict[str, str]] = {}

    def start(self, name: str, env: Mapping[str, str]) -> None:
        self.env[name] = dict(env)
        self.console(name).write_text("line 1\nits last words\n")

    def names(self) -> frozenset[str]:
        return frozenset(self.env)

    def stop(self, name: str) -> None:
        self.env.pop(name, None)

    def console(self, name: str) -> Path:
        return self.folder / f"{name}.console"


@pytest.fixture
def ground(tmp_path: Path) -> Still:
    return Still(tmp_path)


@pytest.fixture
def server(ground: Still, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesServer]:
    with KubernetesServer(Pods(ground), ground.console) as server:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        write(tmp_path, server.kubeconfig())
        yield server


def write(folder: Path, config: dict[str, Any]) -> None:
    (folder / "kubeconfig").write_text(json.dumps(config))


@pytest.fixture
def backend(server: KubernetesServer, tmp_path: Path) -> Iterator[KubernetesBackend]:
    del server  # it must be there
    backend = KubernetesBackend(read_cluster(), tmp_path / "fleet")
    yield backend
    backend.close()


def order(machine: Machine | None = L40S, **more: Any) -> Order:
    asked = {"ttl_s": 5.0, "longest_s": 3600.0, "identity": "the node's own key", "machine": machine} | more
    return Order(NAME, FLEET, "worker", "192.0.2.7:7700", **asked)


def test_a_pod_bears_its_marks_and_ends_in_the_cluster_itself(
    server: KubernetesServer, backend: KubernetesBackend
) -> None:
    backend.create(order(longest_s=99.2))
    pod = server.pods.now[KEY].data
    assert pod["metadata"]["labels"]["rackrate.fleet"] == FLEET
    assert pod["metadata"]["labels"]["rackrate.node"] == NAME
    spec = pod["spec"]
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 100)
    assert spec["automountServiceAccountToken"] is False
    assert spec["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert server.pods.now[KEY].products == {"NVIDIA-L40S"}


def test_its_order_is_in_a_secret_that_belongs_to_it_and_nowhere_else(
    server: KubernetesServer, backend: KubernetesBackend, ground: Still
) -> None:
    asked = order()
    backend.create(asked)
    until(lambda: ground.env)
    (env,) = ground.env.values()
    assert Order.from_env(env) == asked
    pod = server.pods.now[KEY]
    assert asked.to_env()[ORDER] not in json.dumps(pod.data)
    assert server.pods.secrets[KEY]["metadata"]["ownerReferences"][0]["uid"] == pod.uid
    backend.destroy(NAME)
    until(lambda: not server.pods.now)
    assert server.pods.secrets == {}
    assert ground.env == {}


def test_the_cluster_ends_a_pod_at_its_deadline_and_the_next_listing_takes_it_away(
    server: KubernetesServer, backend: KubernetesBackend, ground: Still
) -> None:
    backend.create(order(longest_s=1.0))
    assert backend.list(FLEET) == {NAME}
    until(lambda: server.pods.now[KEY].phase == "Failed")
    assert ground.env == {}
    assert backend.list(FLEET) == frozenset()
    words = backend.logs(NAME).read_text()
    assert "DeadlineExceeded" in words
    assert "its last words" in words
    until(lambda: not server.pods.now)
    assert server.pods.secrets == {}


def test_pods_of_others_are_neither_listed_nor_touched(
    server: KubernetesServer, backend: KubernetesBackend
) -> None:
    backend.create(order())
    assert backend.list("another") == frozenset()
    assert KEY in server.pods.now


def test_what_a_quota_forbids_is_no_node_in_the_words_of_the_server(
    server: KubernetesServer, backend: KubernetesBackend
) -> None:
    server.most_pods = 0
    with pytest.raises(NoNode, match="exceeded quota"):
        backend.create(order())
    assert (server.pods.now, server.pods.secrets) == ({}, {})


def test_a_pod_that_must_not_have_a_secret_is_destroyed(
    server: KubernetesServer, backend: KubernetesBackend, ground: Still
) -> None:
    server.forbidden.add(("POST", "secrets"))
    with pytest.raises(NoNode, match="secrets is forbidden"):
        backend.create(order())
    until(lambda: not server.pods.now)
    assert ground.env == {}


def test_a_server_that_fails_and_makes_it_all_the_same_has_one_node_when_it_is_asked_again(
    server: KubernetesServer, backend: KubernetesBackend, ground: Still
) -> None:
    server.pods.faults.n_create_500_but_makes = 1
    with pytest.raises(ProviderError) as failed:
        backend.create(order())
    assert not isinstance(failed.value, NoNode)
    assert backend.list(FLEET) == {NAME}
    backend.create(order())
    until(lambda: ground.env)
    assert len(ground.env) == 1


def test_a_server_that_is_asked_too_often_made_nothing(
    server: KubernetesServer, backend: KubernetesBackend
) -> None:
    server.pods.faults.n_too_many = 1
    with pytest.raises(NotNow) as refused:
        backend.create(order())
    assert refused.value.again_s > 0
    assert server.pods.now == {}


def test_a_destroy_that_fails_is_said_and_may_be_asked_again(
    server: KubernetesServer, backend: KubernetesBackend
) -> None:
    backend.create(order())
    server.pods.faults.n_delete_500 = 1
    with pytest.raises(ProviderError):
        backend.destroy(NAME)
    assert backend.list(FLEET) == {NAME}
    backend.destroy(NAME)
    until(lambda: not backend.list(FLEET))


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (None, "made of an image"),
        (Machine(), "made of an image"),
        (Machine(image="i", gpu="h100-sxm", n_gpus=1), "no node of the cluster has h100-sxm"),
    ],
)
def test_what_no_pod_can_be_made_of_is_no_node(
    server: KubernetesServer, backend: KubernetesBackend, machine: Machine | None, says: str
) -> None:
    with pytest.raises(NoNode, match=says):
        backend.create(order(machine))
    assert server.pods.now == {}


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (Machine(image="example/none:1"), "ImagePullBackOff"),
        (Machine(image="i", gpu="l40s", n_gpus=9), "Unschedulable"),
    ],
)
def test_why_a_pod_never_came_up_is_kept_when_it_is_destroyed(
    server: KubernetesServer, backend: KubernetesBackend, machine: Machine, why: str
) -> None:
    server.pods.missing = frozenset({"example/none:1"})
    backend.create(order(machine))
    until(lambda: why in json.dumps(server.pods.now[KEY].data))
    backend.destroy(NAME)
    assert why in backend.logs(NAME).read_text()


def test_a_certificate_opens_the_cluster_too(server: KubernetesServer, tmp_path: Path) -> None:
    write(tmp_path, server.kubeconfig(by_certificate=True))
    backend = KubernetesBackend(read_cluster(), tmp_path)
    assert backend.list(FLEET) == frozenset()
    backend.close()


def test_another_token_opens_nothing_and_is_not_repeated(server: KubernetesServer, tmp_path: Path) -> None:
    config = server.kubeconfig()
    config["users"][0]["user"]["token"] = "of-somebody-else"  # noqa: S105 - it is refused
    write(tmp_path, config)
    backend = KubernetesBackend(read_cluster(), tmp_path)
    with pytest.raises(AuthRejected) as refused:
        backend.list(FLEET)
    with pytest.raises(NoNode, match="not taken"):
        backend.create(order())
    backend.close()
    assert "of-somebody-else" not in str(refused.value) + repr(read_cluster())
    assert server.pods.now == {}


PROGRAM = f"""#!{sys.executable}
import pathlib, sys
sys.stdout.write((pathlib.Path(sys.argv[1]) / "says").read_text())
"""


@pytest.fixture
def issue(server: KubernetesServer, tmp_path: Path) -> Callable[..., None]:
    """Have the kubeconfig name a program, and say what that prints from now on."""
    program = tmp_path / "plugin"
    program.write_text(PROGRAM)
    program.chmod(0o700)
    config = server.kubeconfig()
    version = "client.authentication.k8s.io/v1"
    entry = {"apiVersion": version, "command": str(program), "args": [str(tmp_path)]}
    config["users"][0]["user"] = {"exec": entry}
    write(tmp_path, config)

    def say(**status: str) -> None:
        said = {"apiVersion": version, "kind": "ExecCredential", "status": status}
        (tmp_path / "says").write_text(json.dumps(said))

    return say


def test_a_token_of_a_program_opens_the_cluster_and_the_next_one_when_it_is_taken_no_more(
    server: KubernetesServer, issue: Callable[..., None], tmp_path: Path
) -> None:
    issue(token=server.token)
    backend = KubernetesBackend(read_cluster(), tmp_path)
    backend.create(order())
    server.token = "of-the-next-hour"  # noqa: S105 - of an emulated cluster
    issue(token=server.token)
    with pytest.raises(AuthRejected):
        backend.list(FLEET)
    assert backend.list(FLEET) == {NAME}
    backend.close()


def test_a_token_that_ends_is_replaced_before_the_server_refuses_it(
    server: KubernetesServer, issue: Callable[..., None], tmp_path: Path
) -> None:
    issue(token=server.token, expirationTimestamp="2026-01-01T00:00:00Z")
    backend = KubernetesBackend(read_cluster(), tmp_path)
    assert backend.list(FLEET) == frozenset()
    server.token = "of-the-next-hour"  # noqa: S105 - of an emulated cluster
    issue(token=server.token)
    assert backend.list(FLEET) == frozenset()
    backend.close()


def test_a_certificate_of_a_program_opens_the_cluster_and_one_of_nobody_does_not(
    server: KubernetesServer, issue: Callable[..., None], tmp_path: Path
) -> None:
    shown = server.authority.sign("somebody")
    issue(clientCertificateData=shown.certificate, clientKeyData=shown.key)
    backend = KubernetesBackend(read_cluster(), tmp_path)
    assert backend.list(FLEET) == frozenset()
    backend.close()
    stranger = Authority().sign("somebody")
    issue(clientCertificateData=stranger.certificate, clientKeyData=stranger.key)
    backend = KubernetesBackend(read_cluster(), tmp_path)
    with pytest.raises(ProviderError):
        backend.list(FLEET)
    backend.close()


def test_a_pod_opens_its_own_cluster(
    server: KubernetesServer, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del own_home  # it has no kubeconfig
    host, _, port = server.url.removeprefix("https://").rpartition(":")
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(kubeconfig, "ACCOUNT", tmp_path)
    there = {"ca.crt": server.authority.certificate, "namespace": "work", "token": server.token}
    for name, text in there.items():
        (tmp_path / name).write_text(text)
    backend = KubernetesBackend(read_cluster(), tmp_path)
    backend.create(order())
    assert KEY in server.pods.now
    backend.close()


def test_a_server_that_another_authority_signed_for_is_told_nothing(
    server: KubernetesServer, backend: KubernetesBackend, tmp_path: Path
) -> None:
    backend.create(order())
    config = server.kubeconfig()
    del config["clusters"][0]["cluster"]["certificate-authority-data"]
    (tmp_path / "other.crt").write_text(Authority().certificate)
    config["clusters"][0]["cluster"]["certificate-authority"] = "other.crt"
    write(tmp_path, config)
    stranger = KubernetesBackend(read_cluster(), tmp_path)
    with pytest.raises(ProviderDown):
        stranger.list(FLEET)
    stranger.close()


def kubectl(*words: str) -> str:
    said = subprocess.run(
        ["kubectl", *words], capture_output=True, text=True, check=False, timeout=60, env=os.environ
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("by_certificate", [False, True])
def test_kubectl_sees_and_ends_what_a_fleet_made(
    server: KubernetesServer, backend: KubernetesBackend, tmp_path: Path, *, by_certificate: bool
) -> None:
    write(tmp_path, server.kubeconfig(by_certificate=by_certificate))
    backend.create(order())
    until(lambda: server.pods.now[KEY].phase == "Running")
    assert kubectl("get", "pods", "-l", f"rackrate.fleet={FLEET}", "-o", "name").split() == [f"pod/{NAME}"]
    assert kubectl("get", "pods", "-l", "rackrate.fleet=another", "-o", "name") == ""
    assert "its last words" in kubectl("logs", NAME)
    assert "deleted" in kubectl("delete", "pod", NAME)
    assert backend.list(FLEET) == frozenset()
    assert kubectl("get", "secrets", "-o", "name") == ""


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_what_kubectl_makes_under_our_label_is_seen(
    server: KubernetesServer, backend: KubernetesBackend, tmp_path: Path
) -> None:
    metadata = {"name": "by-hand", "labels": {"rackrate.fleet": FLEET}}
    spec = {"containers": [{"name": "node", "image": "i"}]}
    pod = tmp_path / "pod.json"
    pod.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
    kubectl("create", "-f", str(pod), "--validate=false")
    assert backend.list(FLEET) == {"by-hand"}
    backend.destroy("by-hand")
    until(lambda: not server.pods.now)
