"""The answer to "as what whole machines can I rent it": shapes with their vCPU, memory and disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Any

from rackrate.catalog.provider import find_provider, match_provider
from rackrate.market.offer import Kind, Offer
from rackrate.report.block import Block, Cell, Column, Table, Text
from rackrate.report.offers import Offers, age_of, is_fresh
from rackrate.report.shown import Shown

_SAME = 0.005  # what rounds to 0 %

COLUMNS = (
    Column("provider", "provider"),
    Column("usd_per_gpu_hour", "USD/GPU-h", 3),
    Column("usd_per_hour", "USD/h", 3),
    Column("gpu_count", "GPUs", 0),
    Column("kind", "kind"),
    Column("age", "seen"),
    Column("vcpu", "vCPU", 0),
    Column("ram_gib", "RAM GiB", 0),
    Column("disk_gib", "disk GiB", 0),
    Column("region", "region"),
    Column("sku", "instance"),
    Column("billing_increment_s", "billed in"),
    Column("source_url", "view", absent="none given"),
    Column("site", "launch", absent="not known"),
)


@dataclass(frozen=True)
class Instances(Shown):
    """The shapes in which one GPU is rented.

    Attributes:
        gpu: slug.
        kind: `on_demand`, ..., or `any`.
        offers: the cheapest current offer of each shape: of lists that count today, then of others,
            the cheapest per GPU first.
    """

    gpu: str
    kind: str
    offers: Offers

    @cached_property
    def tiles(self) -> tuple[tuple[str, str, float | int, Offer | None], ...]:
        """Key, title, value and offer of four figures: USD an hour, of fresh lists if there are."""
        if not self.offers:
            return ()
        total = min(self._counted, key=lambda offer: offer.usd_per_hour)
        each = min(self._counted, key=lambda offer: offer.usd_per_gpu_hour)
        return (
            ("cheapest_usd_per_hour", "Cheapest instance", total.usd_per_hour, total),
            ("cheapest_usd_per_gpu_hour", "Lowest per GPU", each.usd_per_gpu_hour, each),
            ("n_providers", "Providers", len({offer.provider for offer in self.offers}), None),
            ("n_shapes", "Instance shapes", len(self.offers), None),
        )

    @cached_property
    def _counted(self) -> Sequence[Offer]:
        """What figures are taken from: offers of fresh lists, or all where there are none."""
        now = self.offers.as_of
        return [offer for offer in self.offers if is_fresh(offer, now)] or list(self.offers)

    def parted(self) -> tuple[Instances, Instances]:
        """Return the shapes that count in statistics of today, and those of older or undated lists."""
        now = self.offers.as_of
        counts = [is_fresh(offer, now) for offer in self.offers]
        return self._only(counts), self._only([not each for each in counts])

    def _only(self, is_kept: Sequence[bool]) -> Instances:
        kept = tuple(compress(self.offers.rows, is_kept))
        return replace(self, offers=replace(self.offers, found=replace(self.offers.found, rows=kept)))

    def by_count(self) -> tuple[tuple[float, float, str], ...]:
        """Return the lowest USD/GPU-h of each count of GPUs and who asks it, of one kind and as the tiles."""
        best: dict[float, Offer] = {}
        kind = Kind.ON_DEMAND if self.kind == "any" else self.kind
        for offer in (offer for offer in self._counted if offer.kind == kind):
            if offer.gpu_count not in best or offer.usd_per_gpu_hour < best[offer.gpu_count].usd_per_gpu_hour:
                best[offer.gpu_count] = offer
        return tuple((n, best[n].usd_per_gpu_hour, best[n].provider) for n in sorted(best))

    def count_words(self) -> str:
        """Say what a GPU costs in machines of one and in larger ones."""
        steps = self.by_count()
        if len(steps) < 2:  # noqa: PLR2004
            return f"All shapes have {steps[0][0]:g} GPU." if steps else "No such shape is listed."
        (first, one, _), (most, many, who) = steps[0], min(steps[1:], key=lambda step: step[1])
        change = many / one - 1
        if abs(change) < _SAME:
            return (
                f"Lowest USD/GPU-h{self._of_kind()}: {one:.3f}, with {first:g} GPU as with {most:g} ({who})."
            )
        return (
            f"Lowest USD/GPU-h{self._of_kind()}: {one:.3f} with {first:g} GPU, {many:.3f} with {most:g} "
            f"({who}): "
            f"{abs(change):.0%} {'more' if change > 0 else 'less'} in the larger machine."
        )

    def _of_kind(self) -> str:
        return f", {Kind.ON_DEMAND} only" if self.kind == "any" else ""

    def to_dict(self) -> dict[str, Any]:
        """Return tiles and shapes."""
        keys = [column.key for column in COLUMNS]
        return {
            "gpu": self.gpu,
            "kind": self.kind,
            "tiles": {key: value for key, _, value, _ in self.tiles},
            "by_count": [
                {"gpu_count": n, "usd_per_gpu_hour": usd, "provider": who} for n, usd, who in self.by_count()
            ],
            "data": [
                {
                    key: value.value if isinstance(value, Cell) else value
                    for key, value in zip(keys, row, strict=True)
                }
                for row in self.rows()
            ],
            "meta": self.offers.to_dict()["meta"],
        }

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the values of `COLUMNS`, a row a shape."""
        return [self._row(offer) for offer in self.offers]

    def _row(self, offer: Offer) -> tuple[Any, ...]:
        site, billed = _terms(offer.provider)
        said = {
            "kind": offer.kind.value,
            "age": age_of(offer, self.offers.as_of),
            "region": offer.region or offer.country,
            "billing_increment_s": billed,
            "site": site,
        }
        return tuple(
            said[column.key] if column.key in said else getattr(offer, column.key) for column in COLUMNS
        )

    def blocks(self) -> list[Block]:
        """Return the table of shapes, and what more GPUs in a machine cost."""
        return [
            Table(f"{self.gpu}: instances, {self.kind}", COLUMNS, self.rows(), tuple(self._notes())),
            Text("More GPUs in a machine", (self.count_words(),)),
        ]

    def _notes(self) -> Iterator[str]:
        yield "one row a provider, shape and kind: its cheapest current offer"
        yield "view: where the price was seen; launch: the provider's site; no link is paid for"
        yield "lists made once are shown with their date and not counted in the spread"
        if self.offers.hidden:
            yield "left out: " + ", ".join(f"{n} {why}" for why, n in sorted(self.offers.hidden.items()))


def shapes_of(gpu: str, kind: str, offers: Offers) -> Instances:
    """Return the cheapest offer of each provider, shape and kind, from offers sorted by price.

    Those that count today come first: a list that was made once may be cheaper than anybody is now.
    """
    seen: set[tuple[Any, ...]] = set()
    kept = []
    for row, offer in zip(offers.rows, offers, strict=True):
        shape = (offer.provider, offer.sku, offer.gpu_count, offer.kind)
        if shape not in seen:
            seen.add(shape)
            kept.append(row)
    found = Instances(gpu, kind, replace(offers, found=replace(offers.found, rows=tuple(kept))))
    rows = tuple(row for part in found.parted() for row in part.offers.rows)
    return replace(found, offers=replace(offers, found=replace(offers.found, rows=rows)))


def _terms(provider: str) -> tuple[str | None, Cell | None]:
    """Return site and billing step of a provider, where the catalog knows them."""
    match = match_provider(provider)
    if not match.is_known:
        return None, None
    found = find_provider(match.slug)
    step = found.billing_increment_s.value
    words = {1: "seconds", 60: "minutes", 3600: "hours"}
    return found.site.value, None if step is None else Cell(step, words.get(step, f"{step:,} s"))
