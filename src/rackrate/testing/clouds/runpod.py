"""An emulated RunPod: REST API v2 as published in August 2026, as far as nodes need it.

Bills compute and disk by the second from the order on: the published pages do not say when the clock
starts, so it starts as early as it can. A pod whose program has ended is EXITED: its compute costs
nothing, its disk does.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta

from rackrate.testing.clouds.cloud import Cloud, Ground, Json, Refusal, Rented, Reply, Request, Stock
from rackrate.testing.clouds.faults import Faults

STOCK = (
    Stock("NVIDIA L40S", 48, 0.99),
    Stock("NVIDIA GeForce RTX 4090", 24, 0.69),
    Stock("NVIDIA H100 80GB HBM3", 80, 3.49),
)
DISK_MICROUSD_PER_GB_MONTH = 100_000
HOURS_PER_MONTH = 730

_FIELDS = {
    "name": str,
    "image": str,
    "args": str,
    "env": dict,
    "disk": int,
    "ports": list,
    "registry": str,
    "cloud": str,
    "gpu": dict,
    "cpu": dict,
    "dataCenterIds": list,
    "globalNetworking": bool,
    "mounts": dict,
    "startJupyter": bool,
    "startSsh": bool,
    "templateId": str,
}
_BUCKETS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
_AMOUNTS = ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount")
_CLOUDS = ("SECURE", "COMMUNITY")
_GPU_FIELDS = {"id", "count", "allowedCudaVersions", "minCudaVersion"}
_STATUS = {
    "making": "STARTING",
    "running": "RUNNING",
    "exited": "EXITED",
    "error": "ERROR",
    "ended": "TERMINATED",
}
_ACTIONS = {
    "making": ["stop", "terminate"],
    "running": ["stop", "restart", "terminate"],
    "exited": ["start", "terminate"],
    "error": ["start", "terminate"],
    "ended": [],
}


class RunPodCloud(Cloud):
    """An emulated RunPod."""

    json_type = "application/problem+json"

    def __init__(
        self,
        ground: Ground,
        stock: tuple[Stock, ...] = STOCK,
        faults: Faults | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        super().__init__(ground, stock, faults, address)

    def route(self, request: Request) -> Reply:
        """Answer a request."""
        own = self._allowed(request)
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["v2", "catalog", "gpus"]:
                return Reply(200, {"gpus": [self._gpu(one, request) for one in self.stock.values()]})
            case "GET", ["v2", "pods"]:
                return Reply(200, {"pods": [self._pod(one) for one in self.listed()]})
            case "GET", ["v2", "billing", "pods"]:
                return self._billing(request.query)
            case "POST", ["v2", "pods"]:
                return self._create(request.body)
            case ("GET" | "DELETE") as method, ["v2", "pods", pod_id]:
                one = self.find(pod_id)
                if one is None or (own and one is not own):
                    raise _problem(404, "Not Found", "pod not found")
                if method == "GET":
                    return Reply(200, self._pod(one))
                return self.delete(one) or Reply(204)
        raise _problem(404, "Not Found", "resource not found")

    def too_many(self) -> Reply:
        """Answer 429, with the time to wait."""
        reply = _problem(429, "Too Many Requests", "rate limit exceeded for the minute window").reply
        return Reply(429, reply.body, {"Retry-After": str(self.faults.retry_after_s)})

    def nonsense(self, request: Request, why: str) -> Reply:
        """Answer 400."""
        del request  # it is said alike of all
        return _problem(400, "Bad Request", why).reply

    def fault(self) -> Reply:
        """Answer 500."""
        return _problem(500, "Internal Server Error", "something went wrong").reply

    def inside(self, one: Rented) -> dict[str, str]:
        """Return a pod's id and the key that it may end itself with."""
        return {"RUNPOD_POD_ID": one.id, "RUNPOD_API_KEY": one.key, "RACKRATE_RUNPOD_URL": self.url_inside}

    def meters_at(self, one: Rented, at_s: float) -> None:
        """Bill compute until the pod exits, and its disk until it is terminated."""
        n_gpus = one.asked["gpu"].get("count", 1)
        if one.state in ("making", "running"):
            one.meter.start("gpu", round(one.stock.usd_per_hour * 1e6) * n_gpus, at_s)
            one.meter.start("disk", self._disk_microusd_per_hour(one), at_s)
        elif one.state == "ended":
            one.meter.stop(at_s)
        else:
            one.meter.stop(at_s, "gpu")
            one.meter.start("disk", self._disk_microusd_per_hour(one), at_s)

    def _disk_microusd_per_hour(self, one: Rented) -> int:
        disk_gb: int = one.asked.get("disk", 20)
        return -(-disk_gb * DISK_MICROUSD_PER_GB_MONTH // HOURS_PER_MONTH)

    def _allowed(self, request: Request) -> Rented | None:
        """Return the pod whose own key was shown; None for the account's."""
        if not request.token:
            raise _problem(401, "Unauthorized", "missing bearer token")
        if secrets.compare_digest(request.token, self.key):
            return None
        own = next((one for one in self.machines if one.key == request.token), None)
        if own is None:
            raise _problem(401, "Unauthorized", "invalid bearer token")
        if not request.path.startswith("/v2/pods/"):
            raise _problem(403, "Forbidden", "access denied")
        return own

    def _create(self, body: Json | None) -> Reply:
        asked = _checked(body)
        if self.faults.is_broke:
            raise _problem(402, "Payment Required", "insufficient balance")
        if "gpu" not in asked:
            raise _problem(400, "Bad Request", "exactly one of gpu or cpu must be set")
        stock = self.stock.get(asked["gpu"]["id"])
        if stock is None:
            raise _problem(400, "Bad Request", f"no such GPU type: {asked['gpu']['id']}")
        if self.faults.use("n_no_capacity") or self.n_free(stock) < 1:
            raise _problem(400, "Bad Request", "there are no instances available that meet your request")
        pod_id = secrets.token_hex(7)
        refused = self.rent(pod_id, asked["name"], asked, asked.get("env", {}), stock)
        return refused or Reply(201, self._pod(self.machines[-1]))

    def _gpu(self, stock: Stock, request: Request) -> Json:
        found: Json = {
            "id": stock.gpu_id,
            "name": stock.gpu_id.removeprefix("NVIDIA "),
            "pool": None,
            "manufacturer": "NVIDIA",
            "memory": stock.memory_gb,
            "secure": True,
            "community": True,
            "price": {"secure": stock.usd_per_hour, "community": stock.usd_per_hour},
            "maxCount": {"secure": 8, "community": 8},
        }
        if request.query.get("include") == "AVAILABILITY":
            if "product" not in request.query:
                raise _problem(400, "Bad Request", "include=AVAILABILITY needs product")
            is_free = self.n_free(stock) > 0 and not self.faults.n_no_capacity
            found["availability"] = "HIGH" if is_free else "NONE"
        return found

    def _pod(self, one: Rented) -> Json:
        is_billed = one.state in ("making", "running")
        n_gpus = one.asked["gpu"].get("count", 1)
        disk_usd_per_hour = self._disk_microusd_per_hour(one) / 1e6
        return {
            "id": one.id,
            "name": one.name,
            "status": _STATUS[one.state],
            "actions": _ACTIONS[one.state],
            "image": one.asked["image"],
            "args": one.asked.get("args", ""),
            "disk": one.asked.get("disk", 20),
            "mounts": {},
            "ports": one.asked.get("ports", []),
            "env": one.env,
            "registry": None,
            "cloud": one.asked.get("cloud", "SECURE"),
            "dataCenterId": (one.asked.get("dataCenterIds") or ["EU-RO-1"])[0],
            "cudaVersion": "12.8",
            "ssh": {"proxy": None, "direct": None},
            "template": None,
            "cost": one.stock.usd_per_hour * n_gpus + disk_usd_per_hour if is_billed else 0.0,
            "locked": False,
            "runtime": {"uptime": self._uptime_s(one)} if one.state == "running" else None,
            "createdAt": self._time(one.created_s),
            "startedAt": None if one.running_s is None else self._time(one.running_s),
            "globalNetworking": {"enabled": False},
            "gpu": {"id": one.stock.gpu_id, "count": n_gpus},
        }

    def _uptime_s(self, one: Rented) -> int:
        return int(time.monotonic() - (one.running_s or one.created_s))

    def _time(self, at_s: float) -> str:
        """Return an instant as the cloud's clock has it."""
        return _written(self.at(at_s))

    def _billing(self, query: dict[str, str]) -> Reply:
        """Answer what pods cost, a record a pod and bucket, of whole buckets by the cloud's clock."""
        size = query.get("bucketSize", "day")
        if size not in _BUCKETS or "lastN" in query:
            raise _problem(400, "Bad Request", "emulated are startTime, endTime and buckets of hour and day")
        bucket = _BUCKETS[size]
        now = self.at(time.monotonic())
        first = _bucket_of(_read(query.get("startTime")) or now - timedelta(days=30), bucket)
        end = _read(query.get("endTime")) or now
        last = _bucket_of(end, bucket)
        last += bucket if last < end else timedelta()
        n_buckets = (last - first) // bucket
        starts = [first + number * bucket for number in range(n_buckets)]
        records = [
            record for start in starts for record in self._records(start, start + bucket, query.get("podId"))
        ]
        totals = {key: sum(record[key] for record in records) for key in _AMOUNTS}
        asked = {"startTime": _written(first), "endTime": _written(last), "bucketSize": size}
        metadata = {
            "query": asked | ({"podId": query["podId"]} if "podId" in query else {}),
            "recordCount": len(records),
            "uniquePodCount": len({record["podId"] for record in records}),
            "totals": totals,
        }
        return Reply(200, {"records": records, "metadata": metadata})

    def _records(self, start: datetime, end: datetime, pod_id: str | None) -> list[Json]:
        """Return what each pod cost in a bucket, of those that cost anything in it."""
        from_s, to_s = self.instant_s(start), min(self.instant_s(end), self.billed_until_s())
        found = []
        for one in self.machines:
            usd = {
                what: float(one.meter.charged(to_s, what) - one.meter.charged(from_s, what)) / 1e6
                for what in ("gpu", "disk")
            }
            if to_s > from_s and any(usd.values()) and pod_id in (None, one.id):
                amounts = (sum(usd.values()), usd["gpu"], 0.0, usd["disk"])
                times = {"startTime": _written(start), "endTime": _written(end)}
                found.append({**times, "podId": one.id, **dict(zip(_AMOUNTS, amounts, strict=True))})
        return found


def _written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(text: str | None) -> datetime | None:
    """Return a time of a query, or refuse what is none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise _problem(400, "Bad Request", f"not a time: {text}") from None


def _bucket_of(at: datetime, bucket: timedelta) -> datetime:
    """Return the beginning of the bucket in which a time lies."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (at - epoch) // bucket * bucket


def _checked(body: Json | None) -> Json:
    """Return the order of a pod, or refuse what the published contract does not have."""
    if body is None:
        raise _problem(422, "Unprocessable Entity", "Request validation failed.", ["$: expected an object"])
    errors = [f"$: additional properties '{key}' not allowed" for key in body if key not in _FIELDS]
    errors += [
        f"$.{key}: expected {kind.__name__}"
        for key, kind in _FIELDS.items()
        if key in body and not (isinstance(body[key], kind) and isinstance(body[key], bool) == (kind is bool))
    ]
    if body.get("cloud", _CLOUDS[0]) not in _CLOUDS:
        errors.append(f"$.cloud: expected one of {', '.join(_CLOUDS)}")
    errors += ["$.disk: minimum: 1"] if isinstance(disk := body.get("disk"), int) and disk < 1 else []
    errors += [f"$: missing property '{key}'" for key in ("name", "image") if not body.get(key)]
    gpu = body.get("gpu", {})
    if isinstance(gpu, dict):
        errors += [f"$.gpu: additional properties '{key}' not allowed" for key in gpu.keys() - _GPU_FIELDS]
    if errors:
        raise _problem(422, "Unprocessable Entity", "Request validation failed.", errors)
    return body


def _problem(status: int, title: str, detail: str, errors: list[str] | None = None) -> Refusal:
    body: Json = {"title": title, "status": status, "detail": detail}
    return Refusal(Reply(status, body | ({"errors": errors} if errors else {})))
