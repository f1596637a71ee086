"""Why this one: the reasons of a recommendation, the bill with its numbers in, what is worth a thought."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rackrate.plan.answer import Row
from rackrate.plan.prices import TITLES, units_an_hour
from rackrate.plan.question import HOUR_S, IMAGES, ROUGH, SERVING, SPEECH, Question
from rackrate.units import HOURS_PER_MONTH

CENTS_ABOVE = 0.1  # USD
_HARDLY = 0.005  # of what a machine could do
_MANY_TIMES = 10  # from which percent are hard to read
_NAMED = 4  # providers, before the rest is counted
_NEARLY = 0.005  # a difference in price that nobody pays attention to


def money(usd: float) -> str:
    """Write USD with as many digits as matter."""
    return f"{usd:,.2f}" if usd >= CENTS_ABOVE else f"{usd:.3g}"


def price_words(row: Row) -> str:
    """Write the first price of a unit with its range."""
    name, price = next(iter(row.price.items()))
    return f"{money(price.value)} {TITLES[name]} ({money(price.low)} to {money(price.high)})"


def reasons(
    question: Question,
    rows: Sequence[Row],
    frontier: Sequence[Row],
    precisions: Sequence[Row],
    engines: Sequence[Row],
) -> Iterator[str]:
    """Yield why the first row is recommended."""
    best = rows[0]
    yield f"{_aim(question)}: {money(best.usd_per_hour.value)} USD/h, {price_words(best)}"
    yield _kept(question, best)
    yield from _next_best(best, rows)
    yield from _wider(best, precisions)
    for other in engines:
        if other.engine != best.engine:
            what = f"{other.what} at {other.where} in {other.precision}"
            yield f"with {other.engine} the cheapest is {what}: {_more(_paid(best), _paid(other))}"
    if question.family != ROUGH:
        yield from _faster(best, frontier)


def _aim(question: Question) -> str:
    what = "does the run" if question.is_run else "carries the load"
    return {
        "cost": f"the cheapest that {what}",
        "latency": f"the fastest that {what}",
        "balance": f"the least cost times time that {what}",
    }[question.objective]


def _kept(question: Question, best: Row) -> str:
    if question.is_run:
        hours = best.speed["hours"]
        ends = f"{hours.low:,.3g} to {hours.high:,.3g}"
        return f"takes {hours.value:,.3g} h ({ends}), {best.start_s / 60:,.0f} min of it to start"
    used = f"{_share(best.utilisation_frac)} of what it could do is used"
    if question.family == SERVING:
        ttft, tpot = best.speed["ttft_s"], best.speed["tpot_s"]
        return (
            f"first token after {ttft.value:.2f} s ({ttft.low:.2f} to {ttft.high:.2f}), then "
            f"{tpot.value * 1e3:.0f} ms a token ({tpot.low * 1e3:.0f} to {tpot.high * 1e3:.0f}); {used}"
        )
    if question.family == ROUGH:
        return f"{used}; roughly, see the range"
    return f"{_ONE[question.family]} {time_words(best.speed['seconds'].value)}; {used}"


_ONE = {IMAGES: "an image takes", SPEECH: "a batch of speech takes"}


def _share(frac: float) -> str:
    return "under 1%" if 0 < frac < _HARDLY else f"{frac:.0%}"


def _next_best(best: Row, rows: Sequence[Row]) -> Iterator[str]:
    others = [row for row in rows[1:] if row.gpu != best.gpu]
    if others:
        other = others[0]
        yield f"the next GPU, {other.what} at {other.where}, costs {_more(_paid(best), _paid(other))}"


def _wider(best: Row, precisions: Sequence[Row]) -> Iterator[str]:
    """Say what the published precision costs, where a narrower one is recommended."""
    if precisions and precisions[0].precision != best.precision:
        wide = precisions[0]
        yield (
            f"in {wide.precision} the cheapest is {wide.what} at {wide.where}: "
            f"{_more(_paid(best), _paid(wide))} for weights that are not narrowed to {best.precision}"
        )


def _faster(best: Row, frontier: Sequence[Row]) -> Iterator[str]:
    if len(frontier) > 1 and frontier[-1].what != best.what:
        fast = frontier[-1]
        ratio = best.speed["seconds"].value / fast.speed["seconds"].value
        if ratio > 1 + _NEARLY:
            yield f"{ratio:.1f} times as fast: {fast.what} at {fast.where}, {_more(_paid(best), _paid(fast))}"


def _paid(row: Row) -> float:
    """Return what the work costs: of a run all of it, of a stream an hour."""
    return row.price["usd_per_run"].value if "usd_per_run" in row.price else row.usd_per_hour.value


def _more(base: float, other: float) -> str:
    """Write how much more something costs."""
    ratio = other / base
    if abs(ratio - 1) < _NEARLY:
        return "as much"
    if ratio >= _MANY_TIMES:
        return f"{ratio:,.0f} times as much"
    return f"{ratio - 1:.0%} more" if ratio > 1 else f"{1 - ratio:.0%} less"


def bill_words(question: Question, best: Row) -> Iterator[str]:
    """Yield how the bill of a row is reckoned, with the numbers in."""
    yield from _beside(best)
    yield from _run_bill(best) if question.is_run else _stream_bill(question, best)
    start = best.start
    yield (
        f"start = boot {start['boot_s']:.0f} + image {start['image_s']:.0f} + {best.weights_gib:.1f} GiB of "
        f"weights over the {start['slowest']} {start['load_s']:.0f} = {best.start_s:.0f} s"
    )


def _stream_bill(question: Question, best: Row) -> Iterator[str]:
    n, usd = best.machines, best.usd_per_hour.value
    a_copy = best.capacity_per_s.value / (n * best.copies)
    yield (
        f"machines = ceil({question.rate_per_s:.4g} / ({best.copies} copies x {a_copy:.4g}/s)) = {n}; "
        f"{_machines(best)} over the range"
    )
    traffic_usd = best.beside.traffic_usd
    sent = f" + traffic {traffic_usd:.4f}" if traffic_usd else ""
    yield f"USD/h = {n} x {_machine(best)}{_lost(best)}{sent} = {usd:.4f}"
    for name, an_hour in units_an_hour(question).items():
        yield f"{TITLES[name]} = {usd:.4f} / {an_hour:.6g} an hour = {best.price[name].value:.6g}"


def _run_bill(best: Row) -> Iterator[str]:
    usd, hours = best.usd_per_hour.value, best.speed["hours"].value
    traffic_usd = best.start["egress_usd"] + best.beside.traffic_usd
    yield f"USD/h = {best.machines} x {_machine(best)} = {usd:.4f}"
    seconds = best.speed["seconds"].value
    yield f"hours = {seconds:,.0f} s{_lost(best)} + start {best.start_s:,.0f} s = {hours:.4g} h"
    billed = hours if best.beside.billed_hours is None else best.beside.billed_hours
    if billed != hours:
        yield f"billed = {_least(best)} = {billed:.4g} h"
    run_usd = best.price["usd_per_run"].value
    yield f"USD = {usd:.4f} x {billed:.4g} + traffic {traffic_usd:.2f} = {run_usd:.4f}"


def _beside(best: Row) -> Iterator[str]:
    """Yield what disk and traffic cost, or that nobody says it."""
    beside = best.beside
    if beside.disk_usd_per_hour == 0:
        yield f"disk of {beside.disk_gb:,.0f} GB is in the price of the hour"
    elif beside.disk_usd_per_hour:
        yield (
            f"disk = ({beside.disk_gb:,.0f} GB - {beside.included_disk_gb or 0.0:,.0f} included) x "
            f"{beside.storage_usd_per_gb_month:g} USD / {HOURS_PER_MONTH:g} h = "
            f"{beside.disk_usd_per_hour:.4f} USD/h a machine"
        )
    sent, received = f"{beside.sent_gb:,.4g} GB sent", f"{beside.received_gb:,.4g} GB received"
    if beside.egress_usd == 0 and beside.sent_gb and not beside.ingress_usd:
        yield f"traffic of {sent} and {received} costs nothing"
    elif beside.traffic_usd:
        free = f" (less {beside.included_egress_gb_per_month or 0.0:,.0f} GB a machine and month)"
        yield (
            f"traffic = {sent}{free} x {beside.egress_usd_per_gb or 0.0:g} USD + {received} x "
            f"{beside.ingress_usd_per_gb or 0.0:g} USD = {beside.traffic_usd:.4f} USD"
        )
    if beside.unknown:
        yield f"not counted, because no source says what it costs: {', '.join(beside.unknown)}"


def _machine(best: Row) -> str:
    """Write the price of a machine, with its disk where that costs."""
    price, disk_usd = f"{best.usd_per_machine_hour:.4f}", best.beside.disk_usd_per_hour
    return f"({price} + disk {disk_usd:.4f})" if disk_usd else price


def _least(best: Row) -> str:
    """Write how the hours that are billed follow from those that a run takes."""
    beside = best.beside
    least = f"at least {time_words(beside.least_s)}" if beside.least_s else ""
    whole = f"whole steps of {time_words(beside.step_s)}" if beside.step_s else ""
    return ", ".join(filter(None, (least, whole)))


def _lost(best: Row) -> str:
    return f" x (1 + {best.lost_frac:.4f} lost to reclaims)" if best.lost_frac else ""


def _machines(best: Row) -> str:
    """Write the ends of the range of the number of machines, which alone makes that of the price."""
    traffic_usd = best.beside.traffic_usd
    of_one = (best.usd_per_hour.value - traffic_usd) / best.machines
    ends = (best.usd_per_hour.low, best.usd_per_hour.high)
    low, high = (round((end - traffic_usd) / of_one) for end in ends)
    return f"{low} to {high}" if low != high else f"{low}"


def remarks_on(question: Question, rows: Sequence[Row]) -> Iterator[str]:
    """Yield what is worth a thought before one rents."""
    best = rows[0]
    if best.gpu != best.taken_as:
        yield f"{best.gpu} may be any of its family; it was taken as the slowest, {best.taken_as}"
    if best.kind == "spot":
        yield f"spot machines are taken back: {best.lost_frac:.1%} of the time is counted as lost"
    if best.kind == "reserved":
        yield "a reserved price binds for a term"
    if best.machines * best.copies > 1 and not question.is_run:
        yield f"{best.machines * best.copies} copies need something that shares the requests among them"
    if best.start["egress_usd"]:
        yield f"{best.start['egress_usd']:,.2f} USD of traffic out of the object store at each start"
    yield from _not_counted(rows)


def _not_counted(rows: Sequence[Row]) -> Iterator[str]:
    """Say once what no source tells of some rows."""
    who: dict[str, dict[str, None]] = {}
    for row in rows:
        for part in row.beside.unknown:
            who.setdefault(part, {})[row.provider] = None
    if who:
        parts = (f"{part} at {_some(list(names))}" for part, names in who.items())
        yield f"not counted, because no source says what it costs: {'; '.join(parts)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def time_words(seconds: float) -> str:
    """Write a time for people: `45 ms`, `1.2 s`, `38 min`, `3.5 h`."""
    if seconds < 1:
        return f"{seconds * 1e3:,.3g} ms"
    for unit, length, most in (("s", 1.0, 120.0), ("min", 60.0, 2 * HOUR_S)):
        if seconds < most:
            return f"{seconds / length:,.3g} {unit}"
    return f"{seconds / HOUR_S:,.3g} h"
