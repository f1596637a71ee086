"""Rules over the market, and which of them are news: pure, so that no clock and no store is in the way.

A rule finds the subjects that it holds for now: a GPU, a provider, a source. A subject is news when it was
not found on the look before; it is told again only after a look has not found it. What cannot be judged
(nobody offers the GPU just now) is left as it was: silence of a source clears nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol
from uuid import NAMESPACE_URL, uuid5

from rackrate.market.offer import Kind
from rackrate.market.stats import HistoryDay, Spread
from rackrate.units import format_age

Held = Mapping[str, frozenset[str]]
"""Rule, by its key, to the subjects that it held for on the last look that could judge it."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What rules ask of one GPU under one kind.

    Attributes:
        spread: across providers now; None where nobody offers it so.
        history: day by day, oldest first.
    """

    spread: Spread | None
    history: Sequence[HistoryDay] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The market as rules see it.

    Attributes:
        at: when it was looked at, UTC.
        prices: by GPU and kind.
        listed_at: source to the instant of its newest whole listing.
    """

    at: datetime
    prices: Mapping[tuple[str, Kind], Prices]
    listed_at: Mapping[str, datetime]

    def of(self, gpu: str, kind: Kind) -> Prices:
        """Return the prices of a GPU."""
        return self.prices.get((gpu, kind), Prices(None))


@dataclass(frozen=True, slots=True)
class News:
    """Something to be told.

    Attributes:
        id: the same for the same news, so that a reader knows what it has seen.
        at: when it was noticed, ISO 8601 UTC.
        rule: key of the rule.
        subject: what it was found for.
        text: one sentence.
        numbers: behind the sentence, units in their names.
    """

    id: str
    at: str
    rule: str
    subject: str
    text: str
    numbers: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Found:
    """Why a rule holds for a subject."""

    text: str
    numbers: Mapping[str, Any]


class Rule(Protocol):
    """A condition on the market."""

    learns_first: ClassVar[bool]
    """Whether what the first look finds is how things are, and no news."""

    @property
    def key(self) -> str:
        """Name the rule by all that it says: a changed rule is another one."""

    def judge(self, facts: Facts) -> dict[str, Found] | None:
        """Return the subjects that it holds for now; None where the facts do not tell."""


@dataclass(frozen=True, slots=True)
class Below:
    """The cheapest counted offer of a GPU costs less than a price.

    Attributes:
        gpu: slug.
        kind: how it is sold.
        usd_per_gpu_hour: the price.
    """

    learns_first: ClassVar[bool] = False
    gpu: str
    kind: Kind
    usd_per_gpu_hour: float

    @property
    def key(self) -> str:
        """Name the rule."""
        return f"below {self.gpu} {self.kind} {self.usd_per_gpu_hour!r}"

    def judge(self, facts: Facts) -> dict[str, Found] | None:
        """Compare the cheapest provider."""
        spread = facts.of(self.gpu, self.kind).spread
        if spread is None:
            return None
        who, usd = spread.cheapest
        if usd >= self.usd_per_gpu_hour:
            return {}
        says = f"{self.gpu} {self.kind}: {usd:.3f} USD/GPU-h at {who}, below {self.usd_per_gpu_hour:g}"
        return {self.gpu: Found(says, {"provider": who, "usd_per_gpu_hour": usd})}


@dataclass(frozen=True, slots=True)
class Moved:
    """The median of a GPU lies some percent above or below that of some days before.

    The sentence has the like-for-like index too: a median also moves when a provider comes or goes.

    Attributes:
        gpu: slug.
        kind: how it is sold.
        percent: at least.
        days: between the two medians, at least.
    """

    learns_first: ClassVar[bool] = False
    gpu: str
    kind: Kind
    percent: float
    days: int

    @property
    def key(self) -> str:
        """Name the rule."""
        return f"moved {self.gpu} {self.kind} {self.percent!r}% {self.days}d"

    def judge(self, facts: Facts) -> dict[str, Found] | None:
        """Compare the newest median with that of the last day that is old enough."""
        prices = facts.of(self.gpu, self.kind)
        history = prices.history if prices.spread else ()
        before = [day for day in history if (history[-1].day - day.day).days >= self.days]
        if not before:
            return None
        then, now = before[-1], history[-1]
        moved_frac = now.median_usd_per_gpu_hour / then.median_usd_per_gpu_hour - 1
        if round(abs(moved_frac) * 100, 9) < self.percent:  # 1.00 to 0.90 is 10 %, whatever floats say
            return {}
        index_frac = now.index / then.index - 1
        says = (
            f"{self.gpu} {self.kind}: median {then.median_usd_per_gpu_hour:.3f} to "
            f"{now.median_usd_per_gpu_hour:.3f} USD/GPU-h since {then.day} ({moved_frac:+.1%}); "
            f"like for like {index_frac:+.1%}, {then.n} and {now.n} providers"
        )
        numbers = {"moved_frac": moved_frac, "like_for_like_frac": index_frac, "since": then.day.isoformat()}
        return {"up" if moved_frac > 0 else "down": Found(says, numbers)}


@dataclass(frozen=True, slots=True)
class NewProvider:
    """A provider offers a GPU that it did not offer on the look before.

    Attributes:
        gpu: slug.
        kind: how it is sold.
    """

    learns_first: ClassVar[bool] = True
    gpu: str
    kind: Kind

    @property
    def key(self) -> str:
        """Name the rule."""
        return f"new-provider {self.gpu} {self.kind}"

    def judge(self, facts: Facts) -> dict[str, Found] | None:
        """Name everyone who offers it; the look before tells who is new."""
        spread = facts.of(self.gpu, self.kind).spread
        if spread is None:
            return None
        return {
            who: Found(
                f"{self.gpu} {self.kind}: {who} offers it now, {usd:.3f} USD/GPU-h",
                {"provider": who, "usd_per_gpu_hour": usd},
            )
            for who, usd in spread.by_provider.items()
        }


@dataclass(frozen=True, slots=True)
class Stale:
    """The newest whole listing of a source is older than it should be.

    Attributes:
        source: id of the list; empty for each one.
        age: at most.
    """

    learns_first: ClassVar[bool] = False
    source: str
    age: timedelta

    @property
    def key(self) -> str:
        """Name the rule."""
        return f"stale {self.source or 'any'} {self.age.total_seconds() / 3600:g}h"

    def judge(self, facts: Facts) -> dict[str, Found]:
        """Compare the ages."""
        ages = {
            source: facts.at - at
            for source, at in facts.listed_at.items()
            if self.source in ("", source) and facts.at - at > self.age
        }
        return {
            source: Found(
                f"{source}: its newest listing is {format_age(age)} old",
                {"source": source, "age_hours": round(age.total_seconds() / 3600, 2)},
            )
            for source, age in ages.items()
        }


def settle(held: Held, rules: Sequence[Rule], facts: Facts) -> tuple[dict[str, frozenset[str]], list[News]]:
    """Judge all rules, and return what holds now and what of it is news.

    Args:
        held: what the look before returned; empty at first.
        rules: to judge; what was held by others is forgotten.
        facts: the market now.
    """
    after: dict[str, frozenset[str]] = {}
    news = []
    for rule in rules:
        found, before = rule.judge(facts), held.get(rule.key)
        if found is None:
            if before is not None:
                after[rule.key] = before
            continue
        after[rule.key] = frozenset(found)
        if before is None and rule.learns_first:
            continue
        news += [
            _news(rule.key, subject, why, facts.at)
            for subject, why in found.items()
            if subject not in (before or ())
        ]
    return after, news


def _news(rule: str, subject: str, why: Found, at: datetime) -> News:
    instant = at.isoformat(timespec="seconds")
    name = str(uuid5(NAMESPACE_URL, f"{rule}|{subject}|{instant}"))
    return News(name, instant, rule, subject, why.text, why.numbers)
