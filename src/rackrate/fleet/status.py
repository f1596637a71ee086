"""How does a fleet stand: its nodes, its money, the time it has left?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rackrate.fleet.billing import Bill
from rackrate.fleet.ledger import MICROUSD
from rackrate.fleet.node import ALIVE, Node, NodeState
from rackrate.fleet.spec import Spec
from rackrate.fleet.state import Lifecycle
from rackrate.report.block import Block, Cell, Column, Table, Text, to_html

MISMATCH = "a node does not run what its owner runs"
"""Why a fleet closes whose node and owner could not read each other's pickles."""
_COUNTED = (NodeState.READY, NodeState.DRAINING, NodeState.ENDING)


def status_of(life: Lifecycle, spec: Spec, at_s: float) -> dict[str, Any]:
    """Return how a fleet stands at an instant of its life, as plain data."""
    ledger, budget = life.ledger, life.policy.budget
    left = budget.left_microusd(ledger, at_s)
    return {
        "fleet": life.fleet,
        "phase": str(life.phase),
        "why": life.why,
        "remark": life.remark,
        "is_up": life.is_up,
        "wanted": life.wanted,
        "age_s": at_s,
        "left_s": max(spec.max_hours * 3600 - at_s, 0.0),
        "spent_usd": ledger.microusd(at_s) / MICROUSD,
        "least_usd": ledger.least_microusd() / MICROUSD,
        "most_usd": ledger.most_microusd(at_s) / MICROUSD,
        "usd_per_hour": ledger.microusd_per_hour() / MICROUSD,
        "budget_usd": spec.budget_usd,
        "budget_left_usd": None if left is None else left / MICROUSD,
        "nodes": [_node(node, at_s) for node in life.nodes.values()],
    }


def _node(node: Node, at_s: float) -> dict[str, Any]:
    lease_s = node.lease.left_s(at_s) if node.lease and node.state in ALIVE else None
    line = node.line()
    heard_s = at_s - (node.lease.until_s - node.lease.ttl_s) if node.lease else None
    is_billed = node.state is not NodeState.GONE
    return {
        "node": node.name,
        "state": str(node.state),
        "since_s": at_s - node.since_s,
        "lease_s": lease_s,
        "heard_s": heard_s,
        "usd_per_hour": node.rate.microusd_per_hour / MICROUSD if is_billed else 0.0,
        "billed_s": line.seconds(at_s),
        "usd": line.microusd(at_s) / MICROUSD,
        "least_usd": line.least_microusd() / MICROUSD,
        "most_usd": line.most_microusd(at_s) / MICROUSD,
        "why": node.story[-1].why,
        "story": [str(change) for change in node.story],
    }


@dataclass(frozen=True, repr=False)
class Status:
    """How a fleet stands, for people and programs.

    Attributes:
        data: as `status_of` has it.
    """

    data: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        """Return a figure by its name: `status.spent_usd`."""
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def n_ready(self) -> int:
        """Nodes whose worker works."""
        return self._n("ready")

    def _n(self, state: str) -> int:
        return sum(node["state"] == state for node in self.data["nodes"])

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return self.data

    def blocks(self) -> list[Block]:
        """Return a summary and the nodes."""
        columns = (
            Column("node", "node"),
            Column("state", "state"),
            Column("since_s", "for s", 1),
            Column("lease_s", "lease left s", 1, absent="none"),
            Column("usd", "USD", 4),
            Column("why", "why"),
        )
        rows = tuple(tuple(node[column.key] for column in columns) for node in self.data["nodes"])
        return [Text(f"fleet {self.data['fleet']}", tuple(self._says())), Table("nodes", columns, rows)]

    def _says(self) -> Iterable[str]:
        data = self.data
        yield f"{data['phase']}" + (f": {data['why']}" if data["why"] else "")
        counted = ", ".join(f"{self._n(state)} {state}" for state in _COUNTED if self._n(state))
        yield f"{self.n_ready} of {data['wanted']} wanted nodes work" + (f" ({counted})" if counted else "")
        if data["remark"]:
            yield data["remark"]
        limit = "no limit" if data["budget_usd"] is None else f"of {data['budget_usd']:g} USD"
        spent = " to ".join(dict.fromkeys(f"{data[key]:.4f}" for key in ("least_usd", "most_usd")))
        yield f"{spent} USD spent, {limit}; {data['usd_per_hour']:.4f} USD an hour"
        yield f"{data['age_s']:.0f} s old, ends in {data['left_s'] / 3600:.2f} h at the latest"

    def __repr__(self) -> str:
        """Say how it stands, in one line."""
        phase, works, *_ = self._says()
        return f"<Status of fleet {self.data['fleet']}: {phase}; {works}>"

    def _repr_html_(self) -> str:
        return to_html(self.blocks())


@dataclass(frozen=True, repr=False)
class Cost:
    """What a fleet has cost, node by node: as the keeper reckons, and as the provider bills.

    Attributes:
        data: as `status_of` has it.
        bill: the provider's, where there is one.
    """

    data: dict[str, Any]
    bill: Bill | None = None

    @property
    def usd(self) -> float:
        """Of all nodes together: the provider's bill when it is final, what was reckoned until then."""
        billed_usd = self._billed_usd() if self.bill and self.bill.is_final else None
        return float(self.data["spent_usd"]) if billed_usd is None else billed_usd

    @property
    def range_usd(self) -> tuple[float, float]:
        """Between what it lies: the final bill; until then by what was seen, and no less than is billed."""
        least_usd, most_usd = float(self.data["least_usd"]), float(self.data["most_usd"])
        billed_usd = self._billed_usd()
        if billed_usd is None:
            return least_usd, most_usd
        if self.bill and self.bill.is_final:
            return billed_usd, billed_usd
        return max(least_usd, billed_usd), max(most_usd, billed_usd)

    def _billed_usd(self) -> float | None:
        """Return the sum of the provider's bill; None where it has nothing yet."""
        if self.bill is None or not (self.bill.microusd or self.bill.is_final):
            return None
        return sum(self.bill.microusd.values()) / MICROUSD

    def _node_usd(self, node: str) -> float | None:
        """Return what the provider bills for a node; None where its bill has none."""
        billed = self.bill.microusd.get(node) if self.bill else None
        return None if billed is None else billed / MICROUSD

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; `usd` is reckoned, `bill_usd` billed, `least_usd` to `most_usd` known."""
        keys = ("fleet", "spent_usd", "usd_per_hour", "budget_usd", "budget_left_usd")
        nodes = [
            {key: node[key] for key in ("node", "state", "billed_s", "usd", "least_usd", "most_usd")}
            | {"bill_usd": self._node_usd(node["node"])}
            for node in self.data["nodes"]
        ]
        least_usd, most_usd = self.range_usd
        sums = {key: self.data[key] for key in keys} | {"least_usd": least_usd, "most_usd": most_usd}
        return {**sums, "bill": self._bill_dict(), "nodes": nodes}

    def _bill_dict(self) -> dict[str, Any] | None:
        if self.bill is None:
            return None
        usd = self._billed_usd()
        return {
            "usd": usd,
            "less_than_reckoned_usd": None if usd is None else self.data["spent_usd"] - usd,
            "asked_at": self.bill.asked_at,
            "is_final": self.bill.is_final,
            "trouble": self.bill.trouble,
        }

    def blocks(self) -> list[Block]:
        """Return the bill."""
        columns = (
            Column("node", "node"),
            Column("state", "state"),
            Column("billed_s", "billed s", 1),
            Column("usd", "USD", 6),
            Column("least_usd", "at least", 6),
            Column("bill_usd", "billed USD", 6, absent="none"),
        )
        found = self.to_dict()
        rows = [tuple(node[column.key] for column in columns) for node in found["nodes"]]
        sums = (self.data["spent_usd"], self.data["least_usd"], self._billed_usd())
        rows.append((Cell(None, "total"), Cell(None, ""), Cell(None, ""), *sums))
        notes = (*self._says_range(), *self._says_bill(), self._says_budget())
        return [Table(f"cost of fleet {self.data['fleet']}", columns, tuple(rows), notes)]

    def _says_range(self) -> Iterable[str]:
        """Say between what it lies, where what was seen does not tell."""
        least_usd, most_usd = self.range_usd
        if most_usd > least_usd:
            yield f"it is between {least_usd:.6f} and {most_usd:.6f} USD: what lies between, nobody saw"

    def _says_budget(self) -> str:
        limit = self.data["budget_usd"]
        return "no budget was set" if limit is None else f"the budget is {limit:g} USD"

    def _says_bill(self) -> Iterable[str]:
        """Say which of the two sums is final, and how far they are apart."""
        if self.bill is None:
            yield "nobody bills these nodes one by one: reckoned from the order to the end, by your price"
            return
        billed_usd = self._billed_usd()
        if billed_usd is not None:
            off_usd = self.data["spent_usd"] - billed_usd
            apart = f"{abs(off_usd):.6f} USD {'less' if off_usd >= 0 else 'more'} than was reckoned"
            final = "final" if self.bill.is_final else "not final until an hour after the end"
            yield f"the provider bills {billed_usd:.6f} USD, {apart}: {final}"
            nodes = [node for node in self.data["nodes"] if node["usd"] > 0]
            n_missing = sum(node["node"] not in self.bill.microusd for node in nodes)
            if n_missing:
                yield f"nodes that its bill does not have, or not yet: {n_missing}"
        elif not self.bill.trouble:
            yield "the provider bills none of it yet: reckoned from each order to the answer to its end"
        if self.bill.trouble:
            yield f"its bill could not be asked for now: {self.bill.trouble}"

    def __repr__(self) -> str:
        """Say what it is, in one line."""
        return f"<Cost of fleet {self.data['fleet']}: {self.usd:.6f} USD>"

    def _repr_html_(self) -> str:
        return to_html(self.blocks())
