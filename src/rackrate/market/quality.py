"""The quality gate: what a row must pass between collection and publication.

Each rule is one line of data: what it is called, what happens to a row that meets it, and when it
does, as an SQL condition over the row and the features that `query/features.sql` puts beside it
(price of the 1-GPU shape, median of the day, price before, ...). The store runs them all in one
query. What each number was measured on stands in docs/concepts/prices.md.

    reject  the row is not published; it goes to quarantine with the reason
    hold    the row is published, and no statistic uses it
    flag    the row is published and counted, and says so
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rackrate.units import HOURS_PER_YEAR


class Action(StrEnum):
    """What happens to a row that meets a rule."""

    REJECT = "reject"
    HOLD = "hold"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the gate.

    Attributes:
        number: its number in docs/concepts/prices.md.
        code: what stands in the row's `flags`.
        action: what happens to the row.
        says: why, for people.
        when: SQL condition over the features; empty for a rule that reading itself applies.
        detail: SQL text expression that adds the values concerned.
    """

    number: int
    code: str
    action: Action
    says: str
    when: str = ""
    detail: str = "''"


UNIT_SLIP = 25
"""A price this many times off the usual one is in another unit. In the bundled sample the dearest true
offer is 16.9 times the median of its GPU and kind (AWS g4dn.16xlarge in sa-east-1: one T4 with 64
vCPUs), the cheapest 8 times below it; cents for dollars are 100 times off, a month for an hour 730."""

USD_PER_VCPU_HOUR = 0.1
"""What a vCPU with its memory costs at most: a 64-vCPU machine with one T4 is dear for its vCPUs, not by
a slip. The 99 machines without a GPU in the SkyPilot lists ask 0.007 to 0.079 USD per vCPU-hour."""

MOST_STORAGE_USD = 3.0
"""For a GB and month: the dearest disk of a large cloud that we recall asks 0.2 USD (2026-11), and a price in
cents, or of a year, is further off than fifteen times."""

MOST_TRAFFIC_USD = 1.0
"""For a GB: the dearest way out of a large cloud that we recall asks 0.25 USD (2026-11); a price of a TB, or
in cents, is above."""

LONGEST_RENTAL_S = 5 * HOURS_PER_YEAR * 3600
"""Reservations are of one, three and rarely five years."""

RULES = (
    Rule(1, "no_provider", Action.REJECT, "the record names no provider"),
    Rule(1, "no_price", Action.REJECT, "the record has no price, or one below zero"),
    Rule(1, "price", Action.REJECT, "the price is no finite number"),
    Rule(1, "free", Action.HOLD, "a price of zero that is not spot", "price = 0 AND kind <> 'spot'"),
    Rule(2, "zero_spot", Action.REJECT, "a spot price of zero is a missing one",
         "price = 0 AND kind = 'spot'"),
    Rule(3, "total_as_per_gpu", Action.HOLD, "the price per GPU is that of the whole instance",
         "price_per = 'gpu' AND gpu_count >= 2 AND "
         "(abs(usd_per_gpu_hour / usd_of_one / gpu_count - 1) <= 0.25"
         " OR is_of_totals OR abs(usd_per_gpu_hour / usd_as_total - 1) <= 0.25"
         " OR (gpu_count >= 4 AND NOT is_hyperscaler"
         "     AND abs(usd_per_gpu_hour / usual_usd / gpu_count - 1) <= 0.25))"),
    Rule(3, "per_gpu_as_total", Action.HOLD, "the price of the instance is that of one GPU",
         "price_per = 'instance' AND gpu_count >= 2 AND "
         "abs(usd_per_gpu_hour / usd_of_one * gpu_count - 1) <= 0.1"),
    Rule(4, "unit", Action.REJECT, "the price is in another unit",
         f"price > 0 AND (usd_per_gpu_hour > {UNIT_SLIP} * (usual_usd"
         f" + {USD_PER_VCPU_HOUR} * coalesce(vcpu, 0) / gpu_count)"
         f" OR usd_per_gpu_hour < usual_usd / {UNIT_SLIP})",
         "printf('%.4g USD per GPU-hour where %.4g is usual%s', usd_per_gpu_hour, usual_usd,"
         " CASE WHEN abs(usd_per_gpu_hour / usual_usd / 100 - 1) < 0.6 THEN ': cents for dollars?'"
         "      WHEN abs(usd_per_gpu_hour / usual_usd / 730 - 1) < 0.6 THEN ': a month for an hour?'"
         "      ELSE '' END)"),
    Rule(5, "corridor", Action.FLAG, "3 times off the day's median of comparable providers",
         "usd_per_gpu_hour > 3 * median_usd OR usd_per_gpu_hour < median_usd / 3"),
    Rule(5, "jump", Action.HOLD, "moved 3-fold since the listing before and not seen twice yet (2-fold where"
         " it moved away from the provider's price of one GPU)",
         "usd_before > 0 AND (usd_per_gpu_hour > 3 * usd_before OR usd_per_gpu_hour < usd_before / 3"
         " OR (usd_per_gpu_hour > 2 * usd_before AND usd_per_gpu_hour > 2 * usd_of_one)"
         " OR (usd_per_gpu_hour < usd_before / 2 AND usd_per_gpu_hour < usd_of_one / 2))"
         " AND NOT coalesce(abs(usd_per_gpu_hour / usd_before_that - 1) <= 0.25, false)"),
    Rule(6, "spot_dear", Action.FLAG, "spot costs more than on-demand for the same shape",
         "kind = 'spot' AND usd_per_hour > on_demand_usd"),
    Rule(6, "spot_unknown", Action.HOLD, "every spot price of the provider is its on-demand price",
         "kind = 'spot' AND n_spot_compared >= 3 AND n_spot_compared = n_spot_equal"),
    Rule(6, "kind_assumed", Action.FLAG, "the source does not say which kind the price is of",
         "contains(notes, 'kind assumed')"),
    Rule(7, "vram_unit", Action.FLAG, "GPU memory was stated in another unit or as a total; nominal used",
         "regexp_matches(hints, 'vram_(total|mib|gib)')"),
    Rule(7, "vram_off", Action.FLAG, "GPU memory as stated fits no known size; nominal used",
         "contains(hints, 'vram_off')"),
    Rule(7, "vram_missing", Action.FLAG, "GPU memory was stated as 0", "contains(hints, 'vram_missing')"),
    Rule(8, "gpu_count", Action.REJECT, "the GPU count is no number above zero", "gpu_count <= 0"),
    Rule(8, "no_gpu", Action.REJECT, "not an offer of a GPU", "gpu IS NULL AND trim(gpu_raw) = ''"),
    Rule(8, "count_odd", Action.FLAG, "a fractional GPU count that is no known slice",
         "gpu_count <> floor(gpu_count) AND "
         "NOT (gpu_count < 1 AND abs(1 / gpu_count - round(1 / gpu_count)) < 0.02)"),
    Rule(8, "count_disagrees", Action.HOLD, "the shape's name states another GPU count",
         "count_in_sku <> gpu_count AND gpu_count >= 1"),
    Rule(9, "zero_shape", Action.FLAG, "vCPU or memory of 0; treated as unknown",
         "vcpu = 0 OR ram_gib = 0"),
    Rule(9, "one_shape", Action.FLAG, "one vCPU and memory figure for every shape; treated as unknown",
         "is_one_shape"),
    Rule(9, "shape_unread", Action.FLAG, "a size or further price that is no number; treated as unknown",
         "contains(hints, 'shape_unread')"),
    Rule(9, "ram_unit", Action.FLAG, "memory or disk that no machine has; treated as unknown",
         "ram_gib > 32768 OR ram_gib / vcpu > 1024 OR (ram_gib > 0 AND ram_gib < 0.5)"
         " OR disk_gib > 4000000"),
    Rule(10, "list_only", Action.FLAG, "one price in every region and no stock data: a list, not stock",
         "n_regions >= 5 AND n_prices_by_region = 1 AND available IS NULL"),
    Rule(10, "country_odd", Action.FLAG, "the country does not lie where the region's name says",
         "region_says IS NOT NULL AND NOT list_contains(region_says, country)"),
    Rule(11, "stale", Action.HOLD, "seen more than 72 hours before its listing",
         "observed_at < snapshot_at - INTERVAL 72 HOUR"),
    Rule(12, "synthetic", Action.REJECT, "marked as made-up data",
         r"regexp_matches(lower(concat_ws(' ', notes, sku)),"
         r" '(^|[^a-z])(seed(ed)?|mock(ed)?|dummy|fake|synthetic|placeholder|sample)([^a-z]|$)')"
         r" OR regexp_matches(lower(provider_raw),"
         r" '(^|[^a-z])(mock|dummy|fake|synthetic|placeholder|(seed|sample) data)([^a-z]|$)')"),
    Rule(13, "duplicate", Action.REJECT, "the same offer stands there cheaper", "NOT is_cheapest"),
    Rule(13, "had_duplicates", Action.FLAG, "the cheapest of several like offers",
         "is_cheapest AND n_alike > 1"),
    Rule(14, "no_fx_rate", Action.REJECT, "there is no exchange rate for its currency"),
    Rule(14, "fx_far", Action.HOLD, "the nearest exchange rate lies more than 60 days off",
         "contains(hints, 'fx_far')"),
    Rule(14, "currency_assumed", Action.FLAG, "no currency is given, and the provider bills in another",
         "contains(hints, 'currency_assumed')"),
    Rule(15, "reseller", Action.FLAG, "sold by another than who runs it", "seller IS NOT NULL"),
    Rule(17, "shrunk", Action.HOLD, "the listing fell by more than half since the one before",
         "has_shrunk"),
    Rule(18, "no_term", Action.HOLD, "a reserved price without its term",
         "kind = 'reserved' AND term_months IS NULL"),
    Rule(19, "kind_serverless", Action.FLAG, "sold as on-demand by a provider of serverless only",
         "contains(hints, 'kind_serverless')"),
    Rule(20, "no_date", Action.HOLD, "the source does not say when the price was true",
         "observed_at IS NULL"),
    Rule(20, "no_url", Action.FLAG, "the source names no page", "source_url IS NULL"),
    Rule(20, "gpu_unknown", Action.FLAG, "no GPU is known by that name", "gpu IS NULL"),
    Rule(20, "malformed", Action.REJECT, "the record cannot be read"),
    Rule(21, "storage_price", Action.REJECT, "disk costs what nobody asks",
         f"storage_usd_per_gb_month < 0 OR storage_usd_per_gb_month > {MOST_STORAGE_USD}",
         "printf('%.4g USD for a GB and month', storage_usd_per_gb_month)"),
    Rule(21, "traffic_price", Action.REJECT, "traffic costs what nobody asks",
         f"least(egress_usd_per_gb, ingress_usd_per_gb) < 0"
         f" OR greatest(egress_usd_per_gb, ingress_usd_per_gb) > {MOST_TRAFFIC_USD}",
         "printf('%.4g USD for a GB', CASE WHEN least(egress_usd_per_gb, ingress_usd_per_gb) < 0"
         " THEN least(egress_usd_per_gb, ingress_usd_per_gb)"
         " ELSE greatest(egress_usd_per_gb, ingress_usd_per_gb) END)"),
    Rule(21, "long_rental", Action.REJECT, "nobody must rent for so long",
         f"min_rental_s > {LONGEST_RENTAL_S}", "printf('%.4g days at least', min_rental_s / 86400)"),
)  # fmt: skip

BY_CODE = {rule.code: rule for rule in RULES}
