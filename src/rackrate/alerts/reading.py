"""Rules as people write them: words of the command line, or a file of TOML.

[[rule]]
when = "below"             # below, moved, new-provider or stale
gpu = "l40s"
kind = "spot"              # on_demand without it
usd_per_gpu_hour = 0.5

[tell]
command = "logger -t rackrate"
webhook = "https://hooks.example.org/gpus"
feed = "alerts.atom"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rackrate.alerts.rule import Below, Moved, NewProvider, Rule, Stale
from rackrate.catalog.gpu import find_gpu
from rackrate.errors import UnknownName, UsageError, nearest
from rackrate.market.filter import kinds_of
from rackrate.market.offer import Kind
from rackrate.units import parse_age, parse_number, parse_price

DAYS = 7
"""Between the two medians of `moved`, where nothing else is said."""
MOST_DAYS = 89
"""What an overview looks back."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to look for and where to tell it.

    Attributes:
        rules: in their order, none twice.
        command: to run with each news; empty for none.
        webhook: address to send each news to; empty for none.
        feed: file of the Atom feed; None for none.
    """

    rules: tuple[Rule, ...] = ()
    command: str = ""
    webhook: str = ""
    feed: Path | None = None

    def merged(self, other: Wish) -> Wish:
        """Add the rules of another, whose ways of telling win."""
        rules = {rule.key: rule for rule in (*self.rules, *other.rules)}
        return replace(
            self,
            rules=tuple(rules.values()),
            command=other.command or self.command,
            webhook=other.webhook or self.webhook,
            feed=other.feed or self.feed,
        )


def read_file(path: Path) -> Wish:
    """Read a file of rules; a feed in it lies beside the file.

    Raises:
        UsageError: it is not TOML, or a table or value of it is none of ours.
    """
    try:
        doc = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    _check_keys(doc, ("rule", "tell"), str(path))
    rules, tell = doc.get("rule", []), doc.get("tell", {})
    if not isinstance(rules, list) or not isinstance(tell, dict):
        raise UsageError(f"{path}: rules are [[rule]], where to tell them is [tell]")
    told = {name: _text(tell, name, f"{path}: [tell]") for name in tell}
    _check_keys(told, ("command", "webhook", "feed"), f"{path}: [tell]")
    feed = path.parent / told["feed"] if "feed" in told else None
    found = tuple(_rule(row, f"{path}: rule {number}") for number, row in enumerate(rules, 1))
    return Wish(found, told.get("command", ""), told.get("webhook", ""), feed)


def of_words(
    *,
    below: Iterable[str] = (),
    moved: Iterable[str] = (),
    new_provider: Iterable[str] = (),
    stale: Iterable[str] = (),
    kind: str = Kind.ON_DEMAND,
) -> tuple[Rule, ...]:
    """Read rules of the command line: `l40s=0.8`, `l40s=10%`, `l40s`, `vast=24h` or `24h`.

    Raises:
        UsageError: one that cannot be read.
    """
    how = _kind(kind)
    rules: list[Rule] = []
    for text in below:
        gpu, price = _pair(text, "below", "l40s=0.80")
        rules.append(_below(gpu, price, how))
    for text in moved:
        gpu, percent = _pair(text, "moved", "l40s=10%")
        rules.append(_moved(gpu, percent, how, DAYS))
    rules += [NewProvider(find_gpu(text).slug, how) for text in new_provider]
    for text in stale:
        source, _, age = text.rpartition("=")
        rules.append(Stale(source.strip(), parse_age(age.strip(), "stale")))
    return tuple(rules)


def _rule(row: Any, where: str) -> Rule:
    """Read one table of a file."""
    if not isinstance(row, dict):
        raise UsageError(f"{where} is {row!r}, not a table")
    when = _text(row, "when", where)
    if when not in _KEYS:
        raise UnknownName("rule", when, nearest(when, _KEYS) or list(_KEYS))
    _check_keys(row, ("when", *_KEYS[when]), where)
    return _READERS[when](row, where)


def _read_below(row: Mapping[str, Any], where: str) -> Rule:
    return _below(_text(row, "gpu", where), _text(row, "usd_per_gpu_hour", where), _kind_of(row, where))


def _read_moved(row: Mapping[str, Any], where: str) -> Rule:
    days = row.get("days", DAYS)
    if not isinstance(days, int) or not 1 <= days <= MOST_DAYS:
        raise UsageError(f"{where}: days {days!r} is not a whole number from 1 to {MOST_DAYS}")
    return _moved(_text(row, "gpu", where), _text(row, "percent", where), _kind_of(row, where), days)


def _read_new_provider(row: Mapping[str, Any], where: str) -> Rule:
    return NewProvider(find_gpu(_text(row, "gpu", where)).slug, _kind_of(row, where))


def _read_stale(row: Mapping[str, Any], where: str) -> Rule:
    source = _text(row, "source", where) if "source" in row else ""
    return Stale(source, parse_age(_text(row, "age", where), "age"))


_KEYS: Mapping[str, tuple[str, ...]] = {
    "below": ("gpu", "kind", "usd_per_gpu_hour"),
    "moved": ("gpu", "kind", "percent", "days"),
    "new-provider": ("gpu", "kind"),
    "stale": ("source", "age"),
}
_READERS: Mapping[str, Callable[[Mapping[str, Any], str], Rule]] = {
    "below": _read_below,
    "moved": _read_moved,
    "new-provider": _read_new_provider,
    "stale": _read_stale,
}


def _below(gpu: str, price: str, kind: Kind) -> Rule:
    return Below(find_gpu(gpu).slug, kind, parse_price(price, "price"))


def _moved(gpu: str, percent: str, kind: Kind, days: int) -> Rule:
    number = parse_number(percent.removesuffix("%"), "percent")
    if number <= 0:
        raise UsageError(f"percent {percent!r} is not above 0", hint="moved tells of both directions")
    return Moved(find_gpu(gpu).slug, kind, number, days)


def _kind_of(row: Mapping[str, Any], where: str) -> Kind:
    return _kind(_text(row, "kind", where)) if "kind" in row else Kind.ON_DEMAND


def _kind(text: str) -> Kind:
    kinds = kinds_of(text)
    if len(kinds) != 1:
        raise UsageError("a rule is of one kind", hint="kinds are never mixed in one statistic")
    return kinds[0]


def _pair(text: str, name: str, example: str) -> tuple[str, str]:
    gpu, mark, value = text.partition("=")
    if not mark or not value:
        raise UsageError(f"--{name} {text!r} is not GPU=VALUE", hint=f"write it like --{name} {example}")
    return gpu, value


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    """Return a value as text; numbers may stand without quotes."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        says = f"has no {name}" if value is None else f"{name} {value!r} is no text or number"
        raise UsageError(f"{where}: {says}")
    return str(value)


def _check_keys(row: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in row:
        if name not in known:
            raise UnknownName("key", name, nearest(name, known) or list(known), why=f"in {where}")
