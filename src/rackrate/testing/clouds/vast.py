"""An emulated Vast.ai: its API as published in August 2026, as far as nodes need it.

Bills the disk by the second from the order until the instance is destroyed, and the GPU while it runs. Each
machine for rent is one ask, which is gone while it is taken.
"""

from __future__ import annotations

import base64
import json
import math
import secrets
import shlex
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from rackrate.testing.clouds.cloud import Cloud, Ground, Json, Refusal, Rented, Reply, Request, Stock
from rackrate.testing.clouds.faults import Faults

STOCK = (
    Stock("L40S", 48, 0.62, n_free=70),
    Stock("RTX 4090", 24, 0.31, n_free=70),
    Stock("H100 SXM", 80, 1.93, n_free=8),
)
DISK_USD_PER_GB_MONTH = 0.15
HOURS_PER_MONTH = 730
SHOWN_MEMORY = 0.94
"""Of the memory on the data sheet, what a driver shows."""

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda found, asked: found == asked,
    "neq": lambda found, asked: found != asked,
    "gt": lambda found, asked: found > asked,
    "gte": lambda found, asked: found >= asked,
    "lt": lambda found, asked: found < asked,
    "lte": lambda found, asked: found <= asked,
    "in": lambda found, asked: found in asked,
    "notin": lambda found, asked: found not in asked,
}
_STATUS = {"making": "loading", "running": "running", "exited": "exited", "error": "exited"}
_MOST_ON_A_PAGE = 25
_USUAL_CHARGES, _MOST_CHARGES = 100, 500
_FIRST_ASK = 7_000_000
_FIRST_INSTANCE = 31_000_000


class VastCloud(Cloud):
    """An emulated Vast.ai."""

    def __init__(
        self,
        ground: Ground,
        stock: tuple[Stock, ...] = STOCK,
        faults: Faults | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        super().__init__(ground, stock, faults, address)
        kinds = [one for one in stock for _ in range(one.n_free)]
        self._asks = dict(enumerate(kinds, _FIRST_ASK))
        self._taken: dict[int, Rented] = {}

    def route(self, request: Request) -> Reply:
        """Answer a request."""
        own = self._allowed(request)
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["api", "v0", "bundles"]:
                return self._search(request.body or {})
            case "PUT", ["api", "v0", "asks", ask] if ask.isdigit():
                return self._create(int(ask), request.body or {})
            case "GET", ["api", "v1", "instances"]:
                return self._page(request.query)
            case "GET", ["api", "v0", "charges"]:
                return self._charges(request.query)
            case "DELETE", ["api", "v0", "instances", number] if number.isdigit():
                one = self.find(number)
                if one is None or (own and one is not own):
                    raise _refusal(404, "not_found", "Instance not found")
                return self.delete(one) or Reply(200, {"success": True, "msg": "Instance destroyed"})
        raise _refusal(404, "not_found", "no such path")

    def too_many(self) -> Reply:
        """Answer 429 without a header, the time to wait in words."""
        words = f"API requests too frequent endpoint threshold={self.faults.retry_after_s}.0"
        return Reply(429, {"detail": words})

    def nonsense(self, request: Request, why: str) -> Reply:
        """Answer 400, by another name of an order."""
        error = "invalid_args" if request.method == "PUT" else "invalid_request"
        return _refusal(400, error, f"error 400: {why}").reply

    def fault(self) -> Reply:
        """Answer 500."""
        return Reply(500, {"success": False, "error": "server_error", "msg": "something went wrong"})

    def inside(self, one: Rented) -> dict[str, str]:
        """Return an instance's number and the key that it may end itself with."""
        return {"CONTAINER_ID": one.id, "CONTAINER_API_KEY": one.key, "RACKRATE_VAST_URL": self.url_inside}

    def meters_at(self, one: Rented, at_s: float) -> None:
        """Bill the disk until the instance is destroyed, and the GPU while it runs."""
        if one.state == "ended":
            one.meter.stop(at_s)
            return
        one.meter.start("disk", round(_disk_usd_per_hour(one.asked["disk"]) * 1e6), at_s)
        if one.state == "running":
            one.meter.start("gpu", round(one.asked.get("price", one.stock.usd_per_hour) * 1e6), at_s)
        else:
            one.meter.stop(at_s, "gpu")

    def _allowed(self, request: Request) -> Rented | None:
        """Return the instance whose own key was shown; None for the account's."""
        if secrets.compare_digest(request.token, self.key):
            return None
        own = next((one for one in self.machines if one.key == request.token), None)
        if own is None and request.path.strip("/") == "api/v0/bundles":
            raise Refusal(Reply(404, {"error": "auth_error", "msg": "Invalid user key"}))
        if own is None or not request.path.startswith("/api/v0/instances/"):
            raise _refusal(401, "auth_error", "Invalid user key")
        return own

    def _search(self, body: Json) -> Reply:
        disk_gb = body.get("allocated_storage", 8)
        free = [] if self.faults.use("n_no_capacity") else self._free()
        offers = [self._offer(number, disk_gb) for number in free]
        tests = {name: test for name, test in body.items() if isinstance(test, dict)}
        found = [
            offer for offer in offers if all(_passes(offer.get(name), test) for name, test in tests.items())
        ]
        for name, direction in reversed(body.get("order", [])):
            found.sort(key=lambda offer, by=name: offer[by], reverse=direction == "desc")  # type: ignore[misc]
        return Reply(200, {"offers": found[: body.get("limit", 64)]})

    def _free(self) -> list[int]:
        """Return the asks that nobody has taken; one that was is there again when its instance is gone."""
        return [
            number
            for number in self._asks
            if number not in self._taken or self._taken[number].state == "ended"
        ]

    def _offer(self, number: int, disk_gb: float) -> Json:
        stock = self._asks[number]
        disk_usd_per_hour = _disk_usd_per_hour(disk_gb)
        return {
            "id": number,
            "ask_contract_id": number,
            "gpu_name": stock.gpu_id,
            "num_gpus": 1,
            "gpu_ram": round(stock.memory_gb * 1024 * SHOWN_MEMORY),
            "dph_base": stock.usd_per_hour,
            "dph_total": stock.usd_per_hour + disk_usd_per_hour,
            "min_bid": stock.usd_per_hour / 2,
            "storage_cost": DISK_USD_PER_GB_MONTH,
            "storage_total_cost": disk_usd_per_hour,
            "disk_space": 500.0,
            "geolocation": "RO",
            "verified": True,
            "rentable": True,
            "rented": False,
        }

    def _create(self, ask: int, body: Json) -> Reply:
        if not body.get("image"):
            raise _refusal(400, "invalid_args", "error 400/3467: Invalid args: 'image' is required", ask)
        for name in ("image", "label"):
            if not isinstance(body.get(name) or "", str):
                raise _refusal(400, "invalid_args", f"error 400: Invalid args: '{name}' is no string", ask)
        if self.faults.is_broke:
            raise _refusal(403, "insufficient_credit", "Your account lacks credit", ask)
        if ask not in self._asks:
            raise _refusal(404, "invalid_args", f"error 404/3603: no_such_ask {ask} is not available.", ask)
        if self.faults.use("n_asks_gone") or ask not in self._free():
            raise _refusal(410, "no_such_ask", f"error 410/3907: {ask} is no longer available.", ask)
        number = _FIRST_INSTANCE + len(self.machines)
        asked = {"disk": 8, "label": None, **body}
        refused = self.rent(str(number), asked["label"] or "", asked, _env(asked), self._asks[ask])
        if self.machines and self.machines[-1].id == str(number):
            self._taken[ask] = self.machines[-1]
        return refused or Reply(200, {"success": True, "new_contract": number})

    def _page(self, query: dict[str, str]) -> Reply:
        listed = self.listed()
        limit = min(int(query.get("limit", _MOST_ON_A_PAGE)), _MOST_ON_A_PAGE)
        here, token = _paged(listed, query, limit)
        columns = json.loads(query.get("select_cols", '["*"]'))
        return Reply(
            200,
            {
                "success": True,
                "instances_found": len(here),
                "total_instances": len(listed),
                "next_token": token,
                "instances": [_columns(self._instance(one), columns) for one in here],
            },
        )

    def _charges(self, query: dict[str, str]) -> Reply:
        """Answer what instances have cost, of those that cost anything in the days that are asked for."""
        try:
            asked = json.loads(query["select_filters"])
            first, last = asked["day"]["gte"], asked["day"]["lte"]
        except (KeyError, TypeError, ValueError):
            words = "Must provide both 'day' gte and lte filters for instance charges"
            raise _refusal(400, "invalid_args", words) from None
        found = [one for one in self.machines if self._charged_within(one, first, last)]
        limit = min(int(query.get("limit", _USUAL_CHARGES)), _MOST_CHARGES)
        here, token = _paged(found, query, limit)
        results = [self._charge(one) for one in here]
        return Reply(
            200,
            {
                "success": True,
                "count": len(here),
                "total": len(found),
                "next_token": token,
                "results": results,
            },
        )

    def _charged_within(self, one: Rented, first: float, last: float) -> bool:
        start, end = self._unix(one.created_s), self._unix(self._until_s(one))
        return start <= last and end >= first and one.created_s <= self.billed_until_s()

    def _until_s(self, one: Rented) -> float:
        return min(self.billed_until_s(), math.inf if one.ended_s is None else one.ended_s)

    def _unix(self, at_s: float) -> int:
        return int(self.at(at_s).timestamp())

    def _charge(self, one: Rented) -> Json:
        """Return what an instance has cost: the sum in whole tenths of a cent, its parts as they are."""
        until_s = self._until_s(one)
        times = {"start": self._unix(one.created_s), "end": self._unix(until_s)}
        items: list[Json] = [
            {
                **times,
                "type": what,
                "source": None,
                "description": what,
                "amount": float(one.meter.charged(until_s, what)) / 1e6,
                "metadata": {},
                "items": [],
            }
            for what in ("gpu", "disk")
        ]
        return {
            **times,
            "type": "instance",
            "source": f"instance-{one.id}",
            "description": f"Instance {one.id} Charges",
            "amount": round(float(one.meter.charged(until_s)) / 1e6, 3),
            "metadata": {"label": one.name} if one.name else {},
            "items": items,
        }

    def _instance(self, one: Rented) -> Json:
        return {
            "id": int(one.id),
            "label": one.name or None,
            "actual_status": _STATUS.get(one.state, "exited"),
            "intended_status": "running",
            "image_uuid": one.asked["image"],
            "gpu_name": one.stock.gpu_id,
            "num_gpus": 1,
            "dph_total": one.stock.usd_per_hour + _disk_usd_per_hour(one.asked["disk"]),
        }


def _paged(ones: list[Rented], query: dict[str, str], limit: int) -> tuple[list[Rented], str | None]:
    """Return those of a page, by number, and the token of the next one."""
    try:
        after = int(base64.b64decode(query["after_token"])) if "after_token" in query else 0
    except ValueError:
        raise _refusal(400, "invalid_token", "after_token cannot be read") from None
    rest = sorted((one for one in ones if int(one.id) > after), key=lambda one: int(one.id))
    here = rest[:limit]
    return here, base64.b64encode(here[-1].id.encode()).decode() if len(rest) > limit else None


def _columns(instance: Json, asked: list[str]) -> Json:
    return instance if asked == ["*"] else {name: instance.get(name) for name in asked}


def _passes(found: Any, test: Json) -> bool:
    return found is not None and all(_OPERATORS[op](found, value) for op, value in test.items())


def _env(asked: Json) -> dict[str, str]:
    """Return the variables of a string of docker's flags."""
    words = shlex.split(asked.get("env", ""))
    pairs = [word.partition("=") for flag, word in pairwise(words) if flag == "-e"]
    return {name: value for name, _, value in pairs}


def _disk_usd_per_hour(disk_gb: float) -> float:
    return disk_gb * DISK_USD_PER_GB_MONTH / HOURS_PER_MONTH


def _refusal(status: int, error: str, words: str, ask: int | None = None) -> Refusal:
    body: Json = {"success": False, "error": error, "msg": words}
    return Refusal(Reply(status, body if ask is None else {**body, "ask_id": ask}))
