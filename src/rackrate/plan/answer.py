"""The plan: what is recommended and why, what else is possible, what is not, as data that can be kept.

A plan is JSON of the schema `rackrate.plan/1`: `to_dict` and `from_dict` are each other's inverse, so that a
plan can be shown, compared and exported long after it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rackrate.errors import ImportRejected
from rackrate.plan.doubt import Ranged

SCHEMA = "rackrate.plan/1"
_ROWS = ("rows", "frontier", "precisions", "engines", "instead")


@dataclass(frozen=True, slots=True)
class Beside:
    """What is paid beside the price of the hour. None is not known, and not counted.

    Attributes:
        disk_gb: that a machine needs; 0 in plans of older versions, which did not say.
        included_disk_gb: that the price of the hour pays for.
        storage_usd_per_gb_month: of a GB more.
        disk_usd_per_hour: of a machine.
        sent_gb: by all machines to the internet: an hour of a stream, or in a run.
        received_gb: from there, likewise.
        included_egress_gb_per_month: of what each machine sends.
        egress_usd_per_gb: of a GB more.
        ingress_usd_per_gb: of a GB received; None where no list asks for it.
        egress_usd: of all that is sent: an hour of a stream, or in a run.
        ingress_usd: of all that is received, likewise.
        least_s: that is billed in any case.
        step_s: that is billed as a whole.
        billed_hours: of a run; None for a stream.
    """

    disk_gb: float = 0.0
    included_disk_gb: float | None = None
    storage_usd_per_gb_month: float | None = None
    disk_usd_per_hour: float | None = None
    sent_gb: float = 0.0
    received_gb: float = 0.0
    included_egress_gb_per_month: float | None = None
    egress_usd_per_gb: float | None = None
    ingress_usd_per_gb: float | None = None
    egress_usd: float | None = None
    ingress_usd: float = 0.0
    least_s: float | None = None
    step_s: float | None = None
    billed_hours: float | None = None

    @property
    def traffic_usd(self) -> float:
        """Return what traffic costs, as far as that is known."""
        return (self.egress_usd or 0.0) + self.ingress_usd

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return the parts of which nobody says what they cost."""
        parts = {
            "disk": self.disk_usd_per_hour is None,
            "traffic": self.egress_usd is None,
            "the least time billed": self.billed_hours is not None
            and self.least_s is None
            and self.step_s is None,
        }
        return tuple(name for name, is_unknown in parts.items() if is_unknown)


@dataclass(frozen=True, slots=True)
class Row:
    """One way to do the work at one offer.

    Attributes:
        gpu: as sold: a product, or a family.
        taken_as: the product that it was judged as.
        count: GPUs of a machine.
        machines: as many as the load needs.
        copies: of the model on a machine.
        engine: name and version.
        precision: of the weights.
        layout: of one copy.
        tensor: GPUs that share every layer.
        pipeline: stages.
        max_num_seqs: sequences in a step; 0 where the engine has no such limit.
        max_num_batched_tokens: tokens in a step; likewise.
        memory_fraction: of a card that the engine takes.
        headroom_gib: left on the fullest GPU at the load.
        weights_gib: of one copy.
        provider: who runs it.
        seller: who sells it, where that is someone else.
        country: ISO code; empty where it is not said.
        region: as the source writes it.
        kind: how it is sold.
        instance: the provider's own name of the shape.
        seen: day on which the price was true.
        source: id of the price list.
        usd_per_machine_hour: price of one machine, without what comes beside it.
        usd_per_hour: of all machines with their disks, and of a stream the traffic; the range is that of the
            number of machines that it may take.
        capacity_per_s: results a second of all machines within the promise.
        utilisation_frac: of that capacity.
        limit: what keeps a copy from doing more: `compute`, `memory`, `KV room`, `link` or `host`.
        speed: what the work then does, by name with its unit.
        price: USD for a unit of the result, by name.
        start_s: request of a machine to its first result.
        start: boot, image and weights, seconds, and what the weights wait for.
        users_s: way to the users, there and back.
        lost_frac: time lost to reclaimed machines.
        beside: disk, traffic and the least time that is billed; all of it is in `usd_per_hour` and `price`.
    """

    gpu: str
    taken_as: str
    count: int
    machines: int
    copies: int
    engine: str
    precision: str
    layout: str
    tensor: int
    pipeline: int
    max_num_seqs: int
    max_num_batched_tokens: int
    memory_fraction: float
    headroom_gib: float
    weights_gib: float
    provider: str
    seller: str
    country: str
    region: str
    kind: str
    instance: str
    seen: str
    source: str
    usd_per_machine_hour: float
    usd_per_hour: Ranged
    capacity_per_s: Ranged
    utilisation_frac: float
    limit: str
    speed: Mapping[str, Ranged]
    price: Mapping[str, Ranged]
    start_s: float
    start: Mapping[str, Any]
    users_s: float
    lost_frac: float
    beside: Beside = Beside()

    @property
    def where(self) -> str:
        """Provider and place in a few words."""
        return " ".join(filter(None, (self.provider, self.region or self.country)))

    @property
    def what(self) -> str:
        """Machines in a few words: `2 x 4 x l40s`."""
        one = f"{self.count} x {self.gpu}"
        return one if self.machines == 1 else f"{self.machines} x ({one})"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """Return the row that plain data hold."""
        found = dict(data)
        for name in ("usd_per_hour", "capacity_per_s"):
            found[name] = Ranged(**found[name])
        for name in ("speed", "price"):
            found[name] = {key: Ranged(**value) for key, value in found[name].items()}
        found["beside"] = Beside(**found.get("beside", {}))
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Excluded:
    """What is no answer, and by which rule.

    Attributes:
        rule: why.
        what: `offers` or `GPUs`.
        n: how many.
        examples: some of them by name; empty for offers.
    """

    rule: str
    what: str
    n: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer to a question.

    Attributes:
        question: what was asked, as plain data.
        asked: in words, defaults included.
        rows: the best ways, the best first.
        frontier: those of all ways that nothing beats in both cost and time, the cheapest first.
        precisions: the cheapest way in each precision, the widest first.
        engines: the cheapest way with each engine, the cheapest first.
        instead: where the question names a GPU: its cheapest row, and then what costs no more and is faster.
        reasons: why the first row is recommended.
        excluded: what is no answer.
        explained: the formulae with the numbers of the first row in.
        assumptions: what the numbers rest on.
        remarks: what is old, missing or worth a thought.
        as_of: instant of the newest price list; empty without a market.
        dataset: version of the market's data.
        n_offers: that were looked at.
        n_ways: of doing the work that fit and keep the promise, over all machines that are sold.
    """

    question: Mapping[str, Any]
    asked: tuple[str, ...]
    rows: tuple[Row, ...]
    frontier: tuple[Row, ...]
    precisions: tuple[Row, ...]
    engines: tuple[Row, ...]
    instead: tuple[Row, ...]
    reasons: tuple[str, ...]
    excluded: tuple[Excluded, ...]
    explained: tuple[str, ...]
    assumptions: tuple[str, ...]
    remarks: tuple[str, ...]
    as_of: str = ""
    dataset: str = ""
    n_offers: int = 0
    n_ways: int = 0

    @property
    def best(self) -> Row:
        """The row that is recommended."""
        return self.rows[0]

    @property
    def name(self) -> str:
        """Model or workload."""
        return str(self.question["model"] or self.question["workload"])

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, the schema first."""
        found: dict[str, Any] = {"schema": SCHEMA}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in _ROWS:
                value = [row.to_dict() for row in value]
            elif f.name == "excluded":
                value = [{**asdict(each), "examples": list(each.examples)} for each in value]
            elif isinstance(value, tuple):
                value = list(value)
            found[f.name] = value
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that plain data hold.

        Raises:
            ImportRejected: another schema, or something that is no plan.
        """
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if schema != SCHEMA:
            hint = "make it anew: rackrate plan ... --json"
            raise ImportRejected(f"schema {schema!r} is not {SCHEMA}", hint=hint)
        try:
            found = {name: value for name, value in data.items() if name != "schema"}
            for name in _ROWS:
                found[name] = tuple(Row.from_dict(row) for row in found[name])
            found["excluded"] = tuple(
                Excluded(**{**each, "examples": tuple(each["examples"])}) for each in found["excluded"]
            )
            for name in ("asked", "reasons", "explained", "assumptions", "remarks"):
                found[name] = tuple(found[name])
            return cls(**found)
        except (TypeError, KeyError, AttributeError) as error:
            raise ImportRejected(f"the plan lacks what {SCHEMA} has: {error}") from error
