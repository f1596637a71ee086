"""What podman says of a container at each step of its life, and whether that is a node."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rackrate.fleet.backends.container import ContainerBackend
from rackrate.fleet.backends.engines import quirks

FLEET = "c0117ac8"
NAME = f"rr-{FLEET}-1"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[ContainerBackend]:
    backend = ContainerBackend(tmp_path, engine="podman")
    yield backend
    backend.destroy(NAME)
    backend.close()


def podman(*words: str) -> None:
    subprocess.run(["podman", *words], capture_output=True, check=True)


def test_a_container_is_a_node_from_when_it_is_made_until_it_has_ended(
    node_image: str, backend: ContainerBackend
) -> None:
    """Between made and running podman has a state of its own, seconds long on a machine with much to do."""
    command = ["python3", "-c", "import time; time.sleep(60)"]
    flags = ["--name", NAME, "--label", f"rackrate.fleet={FLEET}", *quirks("podman")]
    for step in (("create", *flags, node_image, *command), ("init", NAME), ("start", NAME)):
        podman(*step)
        assert backend.list(FLEET) == {NAME}, step
    podman("kill", NAME)
    podman("wait", NAME)
    assert backend.list(FLEET) == frozenset()
