"""A server of the Model Context Protocol: its tools, whatever they are asked through.

Each tool answers one question with Markdown for reading and the same numbers as data. Models are those of the
catalog: an agent may have been told what to ask by a stranger, and a file's name is no question.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field, ValidationError

from rackrate import api, memory, overview, owning, planning
from rackrate.agent.answer import Answered, answered
from rackrate.agent.wording import said
from rackrate.catalog.gpu import find_gpu
from rackrate.catalog.model import find_model
from rackrate.errors import RackrateError, UnknownName, UsageError, nearest
from rackrate.report.block import Answer
from rackrate.report.cards import Listing, gpu_card
from rackrate.report.market import Market

if TYPE_CHECKING:
    from rackrate.market.store import Store

INSTRUCTIONS = (
    "GPU prices like for like, whether a model fits, history, plans, rent or own. Prices are USD for one "
    "GPU and hour unless a field says otherwise; kinds (on_demand, spot, reserved, serverless) are never "
    "mixed. Names of GPUs and models come from search_gpus and search_models; every answer has its date, "
    "every modelled number its range."
)
_ONLY_READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_LONGEST = 200
"""Characters of a text: no name or number of ours is longer."""

Name = Annotated[str, Field(max_length=_LONGEST, description="text within a name; empty for all")]
Gpu = Annotated[str, Field(max_length=_LONGEST, description="a GPU: l40s, h100-sxm; see search_gpus")]
Cards = Annotated[
    str, Field(max_length=_LONGEST, description="a GPU with a count, l40s, h100-sxm:2; or memory, 24GiB")
]
OneGpu = Annotated[str, Field(max_length=_LONGEST, description="only this GPU, l40s; empty for any")]
Model = Annotated[str, Field(max_length=_LONGEST, description="a model: llama-3.1-8b; see search_models")]
Kind = Annotated[
    Literal["on_demand", "spot", "reserved", "serverless"], Field(description="how the GPUs are sold")
]
AnyKind = Annotated[
    Literal["", "on_demand", "spot", "reserved", "serverless"],
    Field(description="how the GPUs are sold; empty for on_demand"),
]
Days = Annotated[int, Field(ge=1, le=36_500, description="how many days to look back")]
Precision = Annotated[
    str, Field(max_length=_LONGEST, description="of the weights: bf16, fp8, int4; empty for as published")
]
Context = Annotated[
    int | str, Field(description="tokens of a sequence, prompt and answer: 8192, 32k; empty for 8,192")
]
AtOnce = Annotated[int, Field(ge=1, le=65_536, description="sequences at once")]
Amount = Annotated[float | str, Field(description="a number above 0: 2, 300k, 50M; say one of the loads")]
Country = Annotated[
    str, Field(max_length=_LONGEST, description="where it may stand: DE, EU; empty for anywhere")
]
Place = Annotated[
    str, Field(max_length=_LONGEST, description="of the electricity: DE, Germany, europe, world")
]
Hours = Annotated[
    Annotated[float, Field(ge=0.1, le=24)] | None,
    Field(description="hours of use a day; left out: what is usual, with its range"),
]
Usd = Annotated[
    float | str, Field(description="USD, a number or a range 0.12..0.20; empty for what is known")
]
Whole = Annotated[bool, Field(description="whether the answer may be longer than some 20,000 characters")]
Found = Annotated[CallToolResult, Answered]

Turn = Callable[[Callable[[], CallToolResult]], CallToolResult]


class Tools:
    """The questions, asked of one market.

    Args:
        market: returns the prices to answer from; None for the default ones.
        in_turn: asks a question when its turn comes: the database answers one at a time.
    """

    def __init__(self, market: Callable[[], Store | None], in_turn: Turn) -> None:
        self._market = market
        self._in_turn = in_turn

    def search_gpus(self, name: Name = "", kind: Kind = "on_demand", *, whole: Whole = False) -> Found:
        """Every GPU whose name has a text, with memory, dense rate, low, median, high and its week.

        Those that most providers rent out come first. Prices: USD for one GPU and hour.
        """
        return self._answered(lambda data: _matching(name, kind, data), is_whole=whole)

    def search_models(self, name: Name = "", *, whole: Whole = False) -> Found:
        """Every open-weights model whose name has a text, with its parameters, context and KV cache."""
        return self._answered(lambda _: _models(name), is_whole=whole)

    def prices(self, gpu: Gpu, kind: Kind = "on_demand") -> Found:
        """What one GPU costs per hour, day, week and month, and the spread across providers, in USD."""
        return self._answered(lambda data: api.price(gpu, kind=kind, data=data))

    def history(self, gpu: Gpu, kind: Kind = "on_demand", days: Days = 30, *, whole: Whole = False) -> Found:
        """The price of a GPU day by day, in USD for one GPU and hour.

        Median, low and high of its providers, an index of like for like, who entered and left; the newest
        days where there are too many.
        """
        return self._answered(
            lambda data: api.price(gpu, kind=kind, history=f"{days}d", data=data),
            is_whole=whole,
            has_newest_last=True,
        )

    def fit(
        self,
        model: Model,
        gpu: Cards = "l40s",
        precision: Precision = "",
        context: Context = "",
        concurrency: AtOnce = 1,
    ) -> Found:
        """Does a model fit into the memory of a GPU, term by term in GiB, and what would make it fit."""
        how: dict[str, Any] = {"precision": precision} if precision else {}
        return self._answered(
            lambda _: memory.fits(
                find_model(model).slug, gpu, context=context or None, concurrency=concurrency, **how
            )
        )

    def plan(  # noqa: PLR0913, PLR0917 - each is an argument of the tool
        self,
        model: Model,
        rps: Amount = "",
        tokens_per_day: Amount = "",
        users: Amount = "",
        images_per_hour: Amount = "",
        audio_hours_per_day: Amount = "",
        gpu: OneGpu = "",
        country: Country = "",
        kind: AnyKind = "",
        *,
        whole: Whole = False,
    ) -> Found:
        """Which machines to rent to serve a model under a load, where, and what a million tokens cost.

        Say the load by one of rps (requests a second), tokens_per_day and users (at once); of a model of
        images by images_per_hour, of speech by audio_hours_per_day. The cheapest that keeps the promised
        times comes first.
        """
        fields = {
            "rps": rps, "tokens_per_day": tokens_per_day, "users": users,
            "images_per_hour": images_per_hour, "audio_hours_per_day": audio_hours_per_day,
            "gpu": gpu, "country": country, "kind": kind,
        }  # fmt: skip
        given: dict[str, Any] = {name: str(value) for name, value in fields.items() if value != ""}
        return self._answered(
            lambda data: planning.plan(find_model(model).slug, limit=10, data=data, **given), is_whole=whole
        )

    def rent_or_own(
        self,
        gpu: Gpu,
        hours_per_day: Hours = None,
        country: Place = "world",
        price_usd: Usd = "",
        kwh_usd: Usd = "",
        *,
        whole: Whole = False,
    ) -> Found:
        """Whether to rent or to own one GPU: USD for an hour of use with its range, breakeven.

        price_usd is what one card costs to buy, kwh_usd a kWh of electricity.
        """
        asked = {"hours_per_day": hours_per_day, "price_usd": price_usd, "kwh_usd": kwh_usd}
        said: dict[str, Any] = {name: value for name, value in asked.items() if value not in (None, "")}
        return self._answered(lambda data: owning.own(gpu, place=country, data=data, **said), is_whole=whole)

    def explain(self, gpu: Gpu, *, whole: Whole = False) -> Found:
        """Every fact of a GPU with its source, date, and what other sources say."""
        return self._answered(lambda _: gpu_card(find_gpu(gpu)), is_whole=whole)

    def every(self) -> Sequence[Callable[..., CallToolResult]]:
        """Return the tools."""
        return (
            self.search_gpus, self.search_models, self.prices, self.history, self.fit, self.plan,
            self.rent_or_own, self.explain,
        )  # fmt: skip

    def _answered(
        self,
        question: Callable[[Store | None], Answer],
        *,
        is_whole: bool = False,
        has_newest_last: bool = False,
    ) -> CallToolResult:
        """Ask, and return the answer in both forms; an error is said with what to do next.

        Raises:
            ToolError: the question is malformed or has no answer.
        """

        def ask() -> CallToolResult:
            found = question(self._market())
            return answered(found, ARGUMENTS, is_whole=is_whole, has_newest_last=has_newest_last)

        try:
            return self._in_turn(ask)
        except RackrateError as error:
            raise _said(error) from error


def _arguments(tool: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(tool).parameters if name != "self")


ARGUMENTS = frozenset(
    name for tool in vars(Tools).values() if inspect.isfunction(tool) and tool.__name__[0] != "_"
    for name in _arguments(tool)
)  # fmt: skip
"""Arguments that the tools have."""


class _Server(MCPServer):
    """Tells what is wrong with arguments in the words of their own tool."""

    def __init__(self, tools: Sequence[Callable[..., CallToolResult]]) -> None:
        super().__init__("rackrate", instructions=INSTRUCTIONS, log_level="ERROR")
        self._arguments: Mapping[str, tuple[str, ...]] = {each.__name__: _arguments(each) for each in tools}
        for tool in tools:
            says = inspect.getdoc(tool)
            self.add_tool(tool, description=says, annotations=_ONLY_READS, structured_output=True)

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool.

        Raises:
            ToolError: there is no such tool or argument, or it has no answer.
        """
        if name not in self._arguments:
            raise _said(UnknownName("tool", name[:_LONGEST], nearest(name[:_LONGEST], self._arguments)))
        known = self._arguments[name]
        for given in arguments:
            if given not in known:
                near = nearest(given[:_LONGEST], known) or known
                raise _said(UnknownName("argument", given[:_LONGEST], near, why=f"{name} has no such"))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise _said(_wrong(error.__cause__, known)) from error
            raise


def _said(error: RackrateError) -> ToolError:
    """Return an error in the words of the tools, with what to do next."""
    hint = error.hint
    if isinstance(error, UnknownName) and not hint and error.kind in _LISTED:
        hint = f"{_LISTED[error.kind]} lists them"
    return ToolError(said(f"{error.code}: {error.message}. {hint}".strip(), ARGUMENTS))


_LISTED = {"GPU": "search_gpus", "model": "search_models"}


def _wrong(error: ValidationError, known: Sequence[str]) -> UsageError:
    """Return what is wrong with the values of arguments."""
    says = {str(each["loc"][0]): each["msg"][0].lower() + each["msg"][1:] for each in error.errors()}
    return UsageError(
        "; ".join(f"{name}: {message}" for name, message in says.items()),
        hint=f"arguments: {', '.join(known)}",
        code="bad-argument",
    )


def make_server(market: Callable[[], Store | None] = lambda: None, in_turn: Turn | None = None) -> MCPServer:
    """Return the server with its tools.

    Args:
        market: as of `Tools`.
        in_turn: as of `Tools`; None for one question after the other.
    """
    return _Server(Tools(market, in_turn or _one_by_one()).every())


def _one_by_one() -> Turn:
    lock = threading.Lock()

    def ask(question: Callable[[], CallToolResult]) -> CallToolResult:
        with lock:
            return question()

    return ask


def _matching(name: str, kind: str, data: Store | None) -> Market:
    everything = overview.market(kind=kind, data=data)
    text = name.casefold()
    gpus = tuple(
        each for each in everything.gpus if text in each.gpu.name.casefold() or text in each.gpu.slug
    )
    return replace(everything, gpus=gpus, others={})


def _models(name: str) -> Listing:
    found, text = api.models(), name.casefold()
    rows = tuple(row for row in found.rows if text in f"{row[0]} {row[1]}".casefold())
    return replace(found, title=f"{len(rows)} of {found.title}", rows=rows)
