"""One look at the market, and what it makes known: judge, write down what is owed, tell, write down again.

What is owed is on disk before it is told and struck out after, so that a way that fails, or a crash, costs
nothing but a second telling with the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate import api, clock, config, overview
from rackrate.alerts import feed
from rackrate.alerts.command import Command
from rackrate.alerts.reading import Wish
from rackrate.alerts.rule import Below, Facts, Moved, NewProvider, News, Prices, Rule, Stale, settle
from rackrate.alerts.state import KEPT, State, holding, load, save
from rackrate.errors import RackrateError, UnknownName, UsageError, nearest

if TYPE_CHECKING:
    from rackrate.market.offer import Kind
    from rackrate.market.store import Store

Tell = Callable[[News], None]


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look did.

    Attributes:
        news: noticed now.
        failed: why a way could not tell; it is owed until a later look.
        behind: why a shared market may have more by now; empty when it does not.
    """

    news: tuple[News, ...]
    failed: tuple[str, ...]
    behind: str = ""


def default_state() -> Path:
    """Return where a watch without a file of its own keeps its state."""
    return config.data_folder() / "alerts.json"


def ways_of(wish: Wish, say: Tell) -> dict[str, Tell]:
    """Return the ways of telling by name; all of them are checked before the first look.

    Raises:
        UsageError: one that cannot be, or its packages are not installed.
        MissingCredential: a webhook without a key to sign with.
    """
    ways: dict[str, Tell] = {"line": say}
    if wish.command:
        ways["command"] = Command(wish.command)
    if wish.webhook:
        try:
            from rackrate.alerts.webhook import Webhook  # noqa: PLC0415 - its packages are an extra
        except ImportError as error:
            hint = "pip install 'rackrate[collect]'"
            raise UsageError(f"a webhook needs {error.name}", hint=hint, code="extra") from error
        ways["webhook"] = Webhook(wish.webhook)
    return ways


def look(wish: Wish, ways: Mapping[str, Tell], state_file: Path, data: Path | str | None = None) -> Looked:
    """Look once.

    Args:
        wish: rules, and the feed.
        ways: name to what tells one news; it raises where it cannot.
        state_file: what the looks before left, and this one leaves.
        data: the market; None for the default.

    Raises:
        DataError: the market or the state cannot be read.
        Refused: another watch uses the state.
        UnknownName: a rule asks for a source that is not in the market.
    """
    with holding(state_file):
        state = load(state_file)
        store = api.open_market(data)
        facts = facts_of(wish.rules, store)
        state.held, news = settle(state.held, wish.rules, facts)
        state.owed = {name: [*state.owed.get(name, ()), *news] for name in ways}
        state.told = [*state.told, *news][-KEPT:]
        save(state_file, state)
        failed = [says for name, tell in ways.items() if (says := _tell(name, tell, state, state_file))]
        if wish.feed:
            feed.write(wish.feed, state.told, facts.at)
    return Looked(tuple(news), tuple(failed), store.behind)


def _tell(name: str, tell: Tell, state: State, state_file: Path) -> str:
    """Tell what a way owes, oldest first; return why it stopped."""
    while state.owed[name]:
        try:
            tell(state.owed[name][0])
        except RackrateError as error:
            return error.message
        del state.owed[name][0]
        save(state_file, state)
    return ""


def facts_of(rules: Iterable[Rule], data: Path | str | Store | None = None) -> Facts:
    """Return what rules ask of the market as it is now.

    Raises:
        DataError: it cannot be read.
        UnknownName: a rule asks for a source that is not in it.
    """
    store = api.open_market(data)
    listed_at = _listed_at(store)
    kinds: set[Kind] = set()
    for rule in rules:
        if isinstance(rule, Below | Moved | NewProvider):
            kinds.add(rule.kind)
        elif isinstance(rule, Stale) and rule.source and rule.source not in listed_at:
            raise UnknownName("source", rule.source, nearest(rule.source, listed_at) or sorted(listed_at))
    prices = {
        (each.gpu.slug, kind): Prices(each.spread, each.history)
        for kind in kinds
        for each in overview.market(kind=kind, data=store).gpus
    }
    return Facts(clock.now(), prices, listed_at)


def _listed_at(store: Store) -> dict[str, datetime]:
    """Return the newest whole listing of each source that renews itself."""
    found: dict[str, datetime] = {}
    for (source, at), (file, snapshot) in store.live().items():
        if snapshot.is_whole and file.about.get("cadence") != "once":
            instant = datetime.fromisoformat(at).replace(tzinfo=UTC)
            found[source] = max(instant, found.get(source, instant))
    return found
