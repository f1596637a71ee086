"""Fleets whose nodes are other machines, behind networks that let nobody in: the same work, no secrets."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rackrate
from rackrate.errors import EngineMismatch, UnknownName, UsageError
from rackrate.fleet.folder import Folder, all_folders
from rackrate.testing.machines import Machines

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="machines are emulated on Linux alone")

LEASE_S = 20.0
SECRET = "not-for-everybody"  # noqa: S105


@pytest.fixture
def fleet() -> Iterator[rackrate.Fleet]:
    """Open a fleet of two machines, and look that none runs when it is closed."""
    with rackrate.Fleet(nodes=2, backend="emulated", lease_s=LEASE_S) as fleet:
        yield fleet
    assert machines(fleet.folder).names() == frozenset()


def machines(folder: Folder) -> Machines:
    return Machines(folder.path / "machines")


def test_results_events_and_logs_come_from_machines_that_nobody_can_reach(fleet: rackrate.Fleet) -> None:
    def report_from(number: int) -> tuple[int, str]:
        import os  # noqa: PLC0415 - it runs elsewhere

        from rackrate import fleet  # noqa: PLC0415

        for step in range(3):
            fleet.report(step, loss=number / (step + 1))
        print(f"said by {number}", flush=True)  # noqa: T201
        return number, os.environ["RACKRATE_NODE"]

    names = {node["node"] for node in fleet.status().nodes}
    work = [fleet.submit(report_from, i, workers=[name]) for i, name in enumerate(sorted(names))]
    assert set(fleet.client.gather(work)) == set(enumerate(sorted(names)))
    fleet.scale(1)
    while fleet.status().nodes[1]["state"] != "gone":
        time.sleep(0.05)
    assert "said by 1" in fleet.logs("2")
    fleet.close()
    points = [(point["node"], point["step"], point["loss"]) for point in fleet.events()]
    expected = [(name, step, i / (step + 1)) for i, name in enumerate(sorted(names)) for step in range(3)]
    assert sorted(points) == expected
    assert "said by 0" in fleet.logs("1")


def test_a_worker_takes_from_another_what_it_needs(fleet: rackrate.Fleet) -> None:
    one, other = (node["node"] for node in fleet.status().nodes if node["state"] == "ready")
    made = fleet.submit(bytes, 3_000_000, workers=[one])
    assert fleet.submit(len, made, workers=[other]).result() == 3_000_000


def test_a_task_may_hand_out_work_itself(fleet: rackrate.Fleet) -> None:
    def outer() -> int:
        from distributed import worker_client  # noqa: PLC0415 - it runs elsewhere

        with worker_client() as client:
            return int(client.submit(sum, [1, 2, 3]).result())

    assert fleet.submit(outer).result() == 6


@pytest.mark.parametrize("backend", ["local", "emulated"])
def test_variables_reach_tasks_and_no_file(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    def token() -> str | None:
        import os  # noqa: PLC0415 - it runs elsewhere

        return os.environ.get("HF_TOKEN")

    monkeypatch.setenv("HF_TOKEN", SECRET)
    with rackrate.Fleet(backend=backend, env=["HF_TOKEN"], lease_s=LEASE_S) as fleet:
        assert fleet.submit(token).result() == SECRET
        files = [path for path in fleet.folder.path.rglob("*") if path.is_file()]
        assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_no_task_finds_the_order_of_its_machine(fleet: rackrate.Fleet) -> None:
    def found() -> tuple[bool, str]:
        import os  # noqa: PLC0415 - it runs elsewhere
        from pathlib import Path  # noqa: PLC0415

        shown = Path("/proc/1/environ").read_bytes() + repr(os.environ).encode()
        key = Path(os.environ["TMPDIR"]).parent / "key"
        return b"RACKRATE_ORDER" in shown, oct(key.stat().st_mode & 0o777)

    assert fleet.submit(found).result() == (False, "0o600")


def test_a_variable_that_is_not_set_is_said_before_anything_is_made() -> None:
    with pytest.raises(UsageError, match="NO_SUCH_TOKEN is not set"):
        rackrate.Fleet(backend="emulated", env=["NO_SUCH_TOKEN"])
    assert all_folders() == []


def test_code_beside_the_owner_is_there_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src" / "ours").mkdir(parents=True)
    (tmp_path / "src" / "ours" / "__init__.py").write_text("from ours.inner import answer\n")
    (tmp_path / "src" / "ours" / "inner.py").write_text("def answer(x):\n    return 40 + x\n")
    monkeypatch.syspath_prepend(tmp_path / "src")
    import ours  # type: ignore[import-not-found]  # noqa: PLC0415

    with rackrate.Fleet(backend="emulated", sync=[tmp_path / "src" / "ours"], lease_s=LEASE_S) as fleet:
        assert fleet.submit(ours.answer, 2).result() == 42


def test_a_node_with_other_versions_is_refused_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "cloudpickle-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: cloudpickle\nVersion: 0.0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineMismatch, match=r"cloudpickle .* on the node and 0\.0\.1 here") as caught:
        rackrate.Fleet(nodes=2, backend="emulated", lease_s=LEASE_S)
    assert "cloudpickle==0.0.1" in caught.value.hint
    (folder,) = all_folders()
    assert machines(folder).names() == frozenset()


def test_an_offer_says_what_machine_and_price() -> None:
    offer = rackrate.offers(gpu="l40s")[0]
    with rackrate.Fleet(offer, backend="emulated", budget_usd=1, lease_s=LEASE_S) as fleet:
        assert fleet.status().usd_per_hour == pytest.approx(offer.usd_per_hour, abs=1e-6)


def test_a_provider_without_a_backend_is_named() -> None:
    offer = next(one for one in rackrate.offers(gpu="l40s") if one.provider not in {"runpod", "vast"})
    with pytest.raises(UnknownName, match=offer.provider):
        rackrate.Fleet(offer)
    assert all_folders() == []


@pytest.mark.parametrize("what", [7, {"schema": "rackrate.plan/9"}, "/no/such/plan.json"])
def test_what_is_no_plan_is_refused(what: Any) -> None:
    with pytest.raises(UsageError):
        rackrate.Fleet(what)


def test_what_cannot_be_sent_is_named(fleet: rackrate.Fleet) -> None:
    import threading  # noqa: PLC0415

    lock = threading.Lock()

    def locked() -> bool:
        return lock.locked()

    with pytest.raises(UsageError, match=r"locked .*cannot pickle"):
        fleet.submit(locked)
