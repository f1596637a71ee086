"""A server of the Model Context Protocol: its tools, whatever they are asked through.

Each tool answers one question with Markdown for reading and the same numbers as data. Models are those of the
catalog: an agent may have been told what to ask by a stranger, and a file's name is no question.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel

from rackrate import api, memory, overview, owning, planning
from rackrate.catalog.gpu import find_gpu
from rackrate.catalog.model import find_model
from rackrate.errors import RackrateError
from rackrate.report.block import Answer, to_markdown
from rackrate.report.cards import gpu_card
from rackrate.report.market import Market

if TYPE_CHECKING:
    from rackrate.market.store import Store

INSTRUCTIONS = (
    "GPU prices like for like, whether a model fits, history, plans, rent or own. Prices are USD for one "
    "GPU and hour unless a field says otherwise; kinds (on_demand, spot, reserved, serverless) are never "
    "mixed."
)
_ONLY_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)


class Answered(BaseModel):
    """An answer.

    Attributes:
        markdown: for reading.
        data: the same numbers, units in their names.
    """

    markdown: str
    data: dict[str, Any]


Turn = Callable[[Callable[[], Answered]], Answered]


class Tools:
    """The questions, asked of one market.

    Args:
        market: returns the prices to answer from; None for the default ones.
        in_turn: asks a question when its turn comes: the database answers one at a time.
    """

    def __init__(self, market: Callable[[], Store | None], in_turn: Turn) -> None:
        self._market = market
        self._in_turn = in_turn

    def search_gpus(self, name: str = "", kind: str = "on_demand") -> Answered:
        """Every GPU whose name has a text, with memory, dense rate, low, median, high and its week."""
        return self._answered(lambda data: _matching(name, kind, data))

    def prices(self, gpu: str, kind: str = "on_demand") -> Answered:
        """What one GPU costs per hour, day, week and month, and the spread across providers."""
        return self._answered(lambda data: api.price(gpu, kind=kind, data=data))

    def history(self, gpu: str, kind: str = "on_demand", days: int = 30) -> Answered:
        """The price of a GPU day by day: median, like-for-like index, low, high, who entered and left."""
        return self._answered(lambda data: api.price(gpu, kind=kind, history=f"{days}d", data=data))

    def fit(
        self, model: str, gpu: str = "l40s", precision: str = "", context: str = "", concurrency: int = 1
    ) -> Answered:
        """Does a model fit a GPU (`l40s`, `h100-sxm:2`), term by term, and what would make it fit."""
        how: dict[str, Any] = {"precision": precision} if precision else {}
        return self._answered(
            lambda _: memory.fits(
                find_model(model).slug, gpu, context=context or None, concurrency=concurrency, **how
            )
        )

    def plan(
        self,
        model: str,
        rps: str = "",
        tokens_per_day: str = "",
        gpu: str = "",
        country: str = "",
        kind: str = "",
    ) -> Answered:
        """Which machines to rent to serve a model under a load, where, and what a million tokens cost."""
        fields = {"rps": rps, "tokens_per_day": tokens_per_day, "gpu": gpu, "country": country, "kind": kind}
        given: dict[str, Any] = {name: value for name, value in fields.items() if value}
        return self._answered(
            lambda data: planning.plan(find_model(model).slug, limit=10, data=data, **given)
        )

    def rent_or_own(
        self,
        gpu: str,
        hours_per_day: float = 6,
        country: str = "world",
        price_usd: str = "",
        kwh_usd: str = "",
    ) -> Answered:
        """Whether to rent or to own one GPU: cost of an hour of use with its range, breakeven."""
        said: dict[str, Any] = {"hours_per_day": hours_per_day}
        said |= {name: value for name, value in (("price_usd", price_usd), ("kwh_usd", kwh_usd)) if value}
        return self._answered(lambda data: owning.own(gpu, place=country, data=data, **said))

    def explain(self, gpu: str) -> Answered:
        """Every fact of a GPU with its source, date, and what other sources say."""
        return self._answered(lambda _: gpu_card(find_gpu(gpu)))

    def every(self) -> Sequence[Callable[..., Answered]]:
        """Return the tools."""
        return (
            self.search_gpus, self.prices, self.history, self.fit, self.plan, self.rent_or_own, self.explain
        )  # fmt: skip

    def _answered(self, question: Callable[[Store | None], Answer]) -> Answered:
        """Ask, and return the answer in both forms; an error is said with what to do next.

        Raises:
            ToolError: the question is malformed or has no answer.
        """

        def ask() -> Answered:
            found = question(self._market())
            return Answered(markdown=to_markdown(found.blocks()), data=found.to_dict())

        try:
            return self._in_turn(ask)
        except RackrateError as error:
            raise ToolError(f"{error.code}: {error.message}. {error.hint}".strip()) from error


def make_server(market: Callable[[], Store | None] = lambda: None, in_turn: Turn | None = None) -> MCPServer:
    """Return the server with its tools.

    Args:
        market: as of `Tools`.
        in_turn: as of `Tools`; None for one question after the other.
    """
    found = MCPServer("rackrate", instructions=INSTRUCTIONS, log_level="ERROR")
    for tool in Tools(market, in_turn or _one_by_one()).every():
        found.add_tool(tool, annotations=_ONLY_READS, structured_output=True)
    return found


def _one_by_one() -> Turn:
    lock = threading.Lock()

    def ask(question: Callable[[], Answered]) -> Answered:
        with lock:
            return question()

    return ask


def _matching(name: str, kind: str, data: Store | None) -> Market:
    everything = overview.market(kind=kind, data=data)
    text = name.casefold()
    gpus = (each for each in everything.gpus if text in each.gpu.name.casefold() or text in each.gpu.slug)
    return Market(
        tuple(gpus), everything.kind, everything.as_of, everything.version, {}, everything.n_counted
    )
