"""Read and write quantities: the one place where text becomes a number with a unit.

Memory is GiB (2^30 bytes) everywhere; time in prices is hours. A day has 24 hours, a week 168, and
a month 730 (8,760 / 12), because a year of monthly bills must add up to a year; a rental page that
multiplies by 720 is 1.4 % low. Faces print the figure and let people switch it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from rackrate.errors import BadQuantity

HOURS_PER_DAY = 24
HOURS_PER_WEEK = 168
HOURS_PER_MONTH = 730.0  # 8,760 hours of a year / 12
HOURS_PER_YEAR = 8760
GB_PER_GIB = 2**30 / 1e9

GIB_PER_UNIT = {
    "B": 2.0**-30,
    "KIB": 2.0**-20,
    "MIB": 2.0**-10,
    "GIB": 1.0,
    "TIB": 2.0**10,
    "KB": 1e3 / 2**30,
    "MB": 1e6 / 2**30,
    "GB": 1e9 / 2**30,
    "TB": 1e12 / 2**30,
}

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_AGE = re.compile(rf"\s*({_NUMBER})\s*(h|d|w|m|y)?\s*", re.IGNORECASE)
_LONGEST_YEARS = 100
_AGE_HOURS = {"h": 1, "d": 24, "w": 168, "m": HOURS_PER_MONTH, "y": HOURS_PER_YEAR}
_TIME = re.compile(rf"\s*({_NUMBER})\s*(ms|s|min|h|d)?\s*", re.IGNORECASE)
_TIME_S = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_AMOUNT = re.compile(r"\s*(\+?(?:\d[\d_,]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*([kmgbt]?)\s*", re.IGNORECASE)
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}


@dataclass(frozen=True, slots=True)
class Range:
    """A closed interval of numbers; an open end is infinite.

    Attributes:
        low: smallest value inside.
        high: largest value inside.
    """

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, value: float) -> bool:
        """Tell whether `value` lies inside."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """Write it as it is typed: `2`, `40..`, `..8`, `24..80`."""
        low, high = (
            "" if math.isinf(end) else f"{end:g}" if float(f"{end:g}") == end else repr(end)
            for end in (self.low, self.high)
        )
        return low if self.low == self.high else f"{low}..{high}"


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number with the word for so many.

    >>> counted(1, "GPU"), counted(1_500, "GPU"), counted(2, "pass", "passes")
    ('1 GPU', '1,500 GPUs', '2 passes')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def parse_number(text: str, what: str) -> float:
    """Read a finite number.

    Raises:
        BadQuantity: `text` is not one; the message names `what`.
    """
    stripped = text.strip()
    if not re.fullmatch(_NUMBER, stripped) or math.isinf(float(stripped)):
        raise BadQuantity(f"{what} {text!r} is not a number", hint="write it like 2 or 0.95")
    return float(stripped)


def parse_range(text: str, what: str) -> Range:
    """Read `2`, `1..8`, `24..` or `..80`, with an optional GiB or GB after each number.

    "GB" is read as GiB: it is how card memory is spoken of, and the vendors' own "48 GB" is 48 GiB.

    Raises:
        BadQuantity: not of that form, negative, or the low end above the high end.
    """
    low_text, dots, high_text = text.partition("..")
    if not dots:
        high_text = low_text
    low = _end(low_text, what, -math.inf if dots else None)
    high = _end(high_text, what, math.inf if dots else None)
    if low > high:
        raise BadQuantity(f"{what} {text!r} has its low end above its high end", hint="turn it round")
    if high < 0 or (low < 0 and not math.isinf(low)):
        raise BadQuantity(f"{what} {text!r} is negative", hint="give a number of 0 or more")
    return Range(low, high)


def _end(text: str, what: str, when_open: float | None) -> float:
    bare = re.sub(r"(?i)\s*gi?b?\s*$", "", text.strip())
    if not bare and when_open is not None:
        return when_open
    try:
        return parse_number(bare, what)
    except BadQuantity as error:
        hint = "write it like 2, 1..8, 24.. or ..80"
        raise BadQuantity(f"{what} {text!r} is not a number or range", hint=hint) from error


def parse_price(text: str, what: str) -> float:
    """Read a price of 0 USD or more, with or without a dollar sign.

    Raises:
        BadQuantity: not a number, or negative.
    """
    price = parse_number(text.strip().removeprefix("$"), what)
    if price < 0:
        raise BadQuantity(f"{what} {text!r} is negative", hint="give a price of 0 USD or more")
    return price


def parse_age(text: str, what: str) -> timedelta:
    """Read a length of time: `36h`, `90d`, `2w`, `3m`, `1y`; days when there is no letter.

    Raises:
        BadQuantity: not of that form, not above zero, or above 100 years.
    """
    match = _AGE.fullmatch(text)
    hours = float(match[1]) * _AGE_HOURS[(match[2] or "d").lower()] if match else 0.0
    if hours > _LONGEST_YEARS * HOURS_PER_YEAR:
        raise BadQuantity(f"{what} {text!r} is too long", hint=f"{_LONGEST_YEARS}y is the longest")
    age = timedelta(hours=hours)
    if age <= timedelta(0):
        hint = "write it like 36h, 90d, 2w, 3m or 1y"
        raise BadQuantity(f"{what} {text!r} is not a length of time above 0", hint=hint)
    return age


def parse_seconds(text: str, what: str) -> float:
    """Read a time above 0: `60ms`, `1.5s`, `10min`, `8h`, `2d`; seconds when there is no unit.

    >>> parse_seconds("60ms", "tpot")
    0.06

    Raises:
        BadQuantity: not of that form, or not above 0.
    """
    match = _TIME.fullmatch(str(text))
    seconds = float(match[1]) * _TIME_S[(match[2] or "s").lower()] if match else 0.0
    if not 0 < seconds < math.inf:
        hint = "write it like 60ms, 1.5s, 10min or 8h"
        raise BadQuantity(f"{what} {text!r} is not a time above 0", hint=hint)
    return seconds


def parse_amount(text: str, what: str) -> float:
    """Read a number above 0 with a decimal scale: `2.5`, `2k` (2,000), `50M`, `1.5B`.

    >>> parse_amount("50M", "tokens")
    50000000.0

    Raises:
        BadQuantity: not of that form, or not above 0.
    """
    match = _AMOUNT.fullmatch(str(text))
    number = float(match[1].replace(",", "").replace("_", "")) * _SCALES[match[2].lower()] if match else 0.0
    if not 0 < number < math.inf:
        hint = "write it like 2, 0.5, 300k or 50M"
        raise BadQuantity(f"{what} {text!r} is not a number above 0", hint=hint)
    return number


def parse_instant(text: str, what: str) -> datetime:
    """Read a UTC instant, ISO 8601; a day alone means its end, so that it includes the day.

    Raises:
        BadQuantity: not a date or time.
    """
    try:
        return _instant(text.strip())
    except (ValueError, OverflowError) as error:
        hint = "write it like 2026-08-22 or 2026-08-22T06:00Z"
        raise BadQuantity(f"{what} {text!r} is not a date", hint=hint) from error


def _instant(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        instant = datetime.fromisoformat(text)
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    return datetime.combine(day, time.max, UTC)


def format_age(age: timedelta) -> str:
    """Write an age for people: `3 h`, `12 days`; below an hour `under 1 h`."""
    hours = age.total_seconds() / 3600
    if hours < 1:
        return "under 1 h"
    if hours < 2 * HOURS_PER_DAY:
        return f"{hours:.0f} h"
    return f"{hours / HOURS_PER_DAY:.0f} days"
