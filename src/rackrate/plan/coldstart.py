"""How long until the first result, and what do distance and reclaimed machines cost?

    start = boot + image + weights / min(disk, network, host link)

    time on spot = time x (1 + reclaims x (start + interval / 2) + checkpoint / interval)
    interval     = sqrt(2 x checkpoint / reclaims)

The interval between checkpoints is Young's (1974): what it loses at a reclaim and what writing costs are then
equal. Boot and image were measured on rented machines; networks and distances are assumed, with their range.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

from rackrate.plan import estimate
from rackrate.plan.estimate import table
from rackrate.units import GB_PER_GIB

HOUR_S = 3600.0


known = partial(estimate.known, "coldstart")


@dataclass(frozen=True, slots=True)
class Start:
    """From the request of a machine to its first result, seconds.

    Attributes:
        boot_s: request to a running system.
        image_s: container pulled and started.
        load_s: weights from where they lie onto the GPUs.
        slowest: what the weights wait for: `disk`, `network` or `host link`.
        egress_usd: traffic out of the object store.
    """

    boot_s: float
    image_s: float
    load_s: float
    slowest: str
    egress_usd: float

    @property
    def total_s(self) -> float:
        """All of it, seconds."""
        return self.boot_s + self.image_s + self.load_s


@cache
def start(provider: str, country: str, weights_gib: float, pcie_bytes_per_s: float, store: str = "") -> Start:
    """Return how a machine comes up.

    Args:
        provider: slug.
        country: of the machine, ISO code; empty where it is not said.
        weights_gib: of one copy of the model.
        pcie_bytes_per_s: of the host's link to a GPU.
        store: country of the object store; empty for one in the machine's.
    """
    boot_s = table("coldstart")["providers"].get(provider, known("boot_s").value)
    is_far = bool(store) and store != country
    rates = {
        "disk": known("disk_gb_per_s").value,
        "network": known("far_gb_per_s" if is_far else "network_gb_per_s").value,
        "host link": known("host_link_frac").value * pcie_bytes_per_s / 1e9,
    }
    slowest = min(rates, key=lambda name: rates[name])
    weights_gb = weights_gib * GB_PER_GIB
    egress = known("egress_usd_per_gb").value * weights_gb if is_far else 0.0
    return Start(boot_s, known("image_s").value, weights_gb / rates[slowest], slowest, egress)


def usual_start_s() -> float:
    """Return boot and image of a usual machine, seconds."""
    return known("boot_s").value + known("image_s").value


def way_to_users_s(country: str, users: str) -> float:
    """Return the time there and back between a machine and users; 0 where nobody says where they are."""
    if not users:
        return 0.0
    if country == users:
        return known("near_s").value
    parts = {code: row["region"] for code, row in table("electricity")["countries"].items()}
    is_near = country in parts and parts[country] == parts.get(users)
    return known("region_s" if is_near else "world_s").value


@dataclass(frozen=True, slots=True)
class Reclaims:
    """What spot costs in time.

    Attributes:
        per_hour: reclaims of a machine.
        interval_s: between two checkpoints.
        lost_frac: time that is lost, as a share of what the work takes.
    """

    per_hour: float
    interval_s: float
    lost_frac: float


def reclaims(start_s: float, checkpoint_s: float, per_hour: float | None = None) -> Reclaims:
    """Return what is lost to reclaimed machines at the best interval between checkpoints.

    Args:
        start_s: until a new machine works.
        checkpoint_s: to write one; 0 for a server, which has none.
        per_hour: reclaims of a machine; None for the usual.
    """
    rate_per_s = (known("reclaims_per_hour").value if per_hour is None else per_hour) / HOUR_S
    interval_s = (2 * checkpoint_s / rate_per_s) ** 0.5
    writing = checkpoint_s / interval_s if interval_s else 0.0
    lost = rate_per_s * (start_s + interval_s / 2) + writing
    return Reclaims(rate_per_s * HOUR_S, interval_s, lost)
