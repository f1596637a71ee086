"""Why this one: the reasons of a recommendation, the bill with its numbers in, what is worth a thought."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rackrate.plan.answer import Row
from rackrate.plan.doubt import Ranged
from rackrate.plan.prices import TITLES, units_an_hour
from rackrate.plan.question import HOUR_S, IMAGES, ROUGH, SERVING, SPEECH, Question

CENTS_ABOVE = 0.1  # USD
_HARDLY = 0.005  # of what a machine could do
_MANY_TIMES = 10  # from which percent are hard to read
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
        f"{_of(best.usd_per_hour, best.usd_per_machine_hour)} over the range"
    )
    yield f"USD/h = {n} x {best.usd_per_machine_hour:.4f}{_lost(best)} = {usd:.4f}"
    for name, an_hour in units_an_hour(question).items():
        yield f"{TITLES[name]} = {usd:.4f} / {an_hour:.6g} an hour = {best.price[name].value:.6g}"


def _run_bill(best: Row) -> Iterator[str]:
    usd, hours, egress = best.usd_per_hour.value, best.speed["hours"].value, best.start["egress_usd"]
    yield f"USD/h = {best.machines} x {best.usd_per_machine_hour:.4f} = {usd:.4f}"
    seconds = best.speed["seconds"].value
    yield f"hours = {seconds:,.0f} s{_lost(best)} + start {best.start_s:,.0f} s = {hours:.4g} h"
    yield f"USD = {usd:.4f} x {hours:.4g} + traffic {egress:.2f} = {best.price['usd_per_run'].value:.4f}"


def _lost(best: Row) -> str:
    return f" x (1 + {best.lost_frac:.4f} lost to reclaims)" if best.lost_frac else ""


def _of(usd_per_hour: Ranged, price: float) -> str:
    low, high = round(usd_per_hour.low / price), round(usd_per_hour.high / price)
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


def time_words(seconds: float) -> str:
    """Write a time for people: `45 ms`, `1.2 s`, `38 min`, `3.5 h`."""
    if seconds < 1:
        return f"{seconds * 1e3:,.3g} ms"
    for unit, length, most in (("s", 1.0, 120.0), ("min", 60.0, 2 * HOUR_S)):
        if seconds < most:
            return f"{seconds / length:,.3g} {unit}"
    return f"{seconds / HOUR_S:,.3g} h"
