"""GPUs are handed out once: to podman itself, by a description of two devices that are no GPUs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.conftest import Gate

from rackrate.fleet.backends.base import Machine, NoNode, Order
from rackrate.fleet.backends.container import ContainerBackend

FLEET = "c0117ac7"
CDI = Path("/var/run/cdi")


@pytest.fixture
def described(node_image: str) -> Iterator[None]:
    """Describe two devices to podman, where it knows none of this machine."""
    del node_image  # it skips where there is no podman
    if [*Path("/etc/cdi").glob("*"), *CDI.glob("*")]:
        pytest.skip("GPUs of this machine are described to its containers")
    devices = [
        {
            "name": str(number),
            "containerEdits": {"deviceNodes": [{"path": f"/dev/card{number}", "hostPath": "/dev/null"}]},
        }
        for number in (0, 1)
    ]
    CDI.mkdir(exist_ok=True)
    file = CDI / f"rackrate-test-{os.getpid()}.json"
    file.write_text(json.dumps({"cdiVersion": "0.3.0", "kind": "nvidia.com/gpu", "devices": devices}))
    yield
    file.unlink()


@pytest.fixture
def order(node_image: str, gate: Gate) -> Callable[[int, int], Order]:
    def numbered(number: int, n_gpus: int) -> Order:
        name = f"rr-{FLEET}-gpu{number}"
        machine = Machine(image=node_image, gpu="l40s", n_gpus=n_gpus)
        pem = gate.identity(name).to_pem()
        return Order(name, FLEET, "worker", "127.0.0.1:1", 60.0, 60.0, machine=machine, identity=pem)

    return numbered


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[ContainerBackend]:
    backend = ContainerBackend(tmp_path)
    yield backend
    for name in backend.list(FLEET):
        backend.destroy(name)
    backend.close()


def cards(name: str) -> str:
    command = ["podman", "exec", name, "python3", "-c", "import glob; print(*glob.glob('/dev/card*'))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.usefixtures("described")
def test_each_container_has_its_own_and_none_has_more_than_there_are(
    backend: ContainerBackend, order: Callable[[int, int], Order]
) -> None:
    for number in (1, 2):
        backend.create(order(number, 1))
    with pytest.raises(NoNode, match="1 GPUs are wanted and 0 of 2 are free"):
        backend.create(order(3, 1))
    assert {cards(f"rr-{FLEET}-gpu{number}") for number in (1, 2)} == {"/dev/card0", "/dev/card1"}
    backend.destroy(f"rr-{FLEET}-gpu1")
    backend.create(order(4, 1))
    assert cards(f"rr-{FLEET}-gpu4") in {"/dev/card0", "/dev/card1"}


def test_where_no_gpu_is_described_the_error_says_how(
    tmp_path: Path, order: Callable[[int, int], Order]
) -> None:
    backend = ContainerBackend(tmp_path, cdi=(tmp_path,))
    try:
        with pytest.raises(NoNode, match="knows no GPU") as caught:
            backend.create(order(1, 1))
    finally:
        backend.close()
    assert "nvidia-ctk" in caught.value.hint


def test_descriptions_as_nvidia_writes_them_are_read(tmp_path: Path) -> None:
    from rackrate.fleet.backends.container import _gpus  # noqa: PLC0415 - what is tested

    text = 'cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: "0"\n- name: "11"\n- name: all\n'
    (tmp_path / "nvidia.yaml").write_text(text)
    (tmp_path / "other.yaml").write_text('kind: vendor.com/net\ndevices:\n- name: "7"\n')
    assert _gpus((tmp_path,)) == {"0", "11"}
