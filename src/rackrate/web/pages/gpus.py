"""The pages of a GPU: overview, instances, models, history; and GPUs side by side."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rackrate import api, chart, overview, owning, pairing
from rackrate.catalog.fact import Fact
from rackrate.catalog.gpu import Gpu, all_gpus, find_gpu
from rackrate.catalog.load import sources
from rackrate.catalog.model import TASKS
from rackrate.catalog.workload import CAPABILITIES, suitable_workloads
from rackrate.errors import BadQuantity, NoAnswer, RackrateError, UsageError
from rackrate.market.offer import Kind
from rackrate.report.block import Table
from rackrate.report.compare import link_name
from rackrate.report.instances import Instances
from rackrate.report.price import Price
from rackrate.web.artist import draw
from rackrate.web.page import Ask, Drawing, Field, Page, month_of
from rackrate.web.pages.faq import questions
from rackrate.web.pages.structured import product
from rackrate.web.shared import once

if TYPE_CHECKING:
    from rackrate.report.dossier import Dossier
    from rackrate.report.own import OwnAnswer

KINDS = tuple(kind.value for kind in Kind)
RANGES = {"7d": "7 days", "30d": "30 days", "90d": "90 days", "all": "all"}
CALCULATOR = ("hours_per_day", "price_usd", "kwh_usd", "hours_per_month", "gpus")
OVERVIEW_FIELDS = (*CALCULATOR, "range", "kind")
MOST_GPUS = 1024
DAYS_SHOWN = 100
"""Days in the table of a history; who wants more wants them as a file."""

MODEL_FIELDS = ("q", "task", "kind", "precision", "gpus", "context", "page")
TRAINING_TASKS = (
    ("inference", "inference"),
    ("lora", "LoRA"),
    ("qlora", "QLoRA"),
    ("full", "full fine-tuning"),
)


def gpu_of(ask: Ask) -> Gpu:
    """Return the GPU that the address names."""
    return find_gpu(ask.path["gpu"])


def moved(ask: Ask, gpu: Gpu, tab: str = "") -> Page | None:
    """Return the page that says where a GPU's page is, where the address has another name of it."""
    if ask.path["gpu"] == gpu.slug:
        return None
    return Page(gpu.name, "", moved=f"/gpus/{gpu.slug}{tab}")


def show(ask: Ask) -> Page:
    """Return the Overview of one GPU."""
    gpu = gpu_of(ask)
    if elsewhere := moved(ask, gpu):
        return elsewhere
    hours = month_of(ask)
    kind = ask.query.choice("kind", KINDS, Kind.ON_DEMAND.value)
    dossier = once(
        ask.market,
        ("dossier", gpu.slug, hours),
        lambda: api.gpu(gpu.slug, data=ask.market, hours_per_month=hours),
    )
    history = _history(ask, gpu.slug, kind, hours)
    usual = owning.usual(gpu.slug)
    said = _said(ask, usual)
    own, own_numbers, problem = _own(ask, gpu, said)
    where, older = Instances(gpu.slug, "any", dossier.offers).parted()
    models = once(
        ask.market, ("models", gpu.slug), lambda: pairing.models_on(gpu.slug, limit=6, data=ask.market)
    )
    page = Page(
        title=gpu.name,
        lead=_lead(dossier),
        answer=dossier,
        template="gpu_overview.html",
        context={
            **_head(gpu, "overview"),
            "dossier": dossier,
            "price": dossier.price,
            "history": history,
            "ranges": RANGES,
            "range": ask.query.text("range", "90d"),
            "kind": kind,
            "kinds": [k for k in KINDS if k == Kind.ON_DEMAND or Kind(k) in dossier.price.other_kinds],
            "where": where,
            "older": older,
            "own": own,
            "own_numbers": own_numbers,
            "own_problem": problem,
            "own_said": said,
            "n_gpus": ask.query.whole("gpus", 1, least=1, most=MOST_GPUS),
            "calculator": _calculator(ask, usual, hours),
            "workloads": suitable_workloads(gpu),
            "models": models,
            "instances": _instances(ask, gpu.slug),
            "why": _why(gpu.slug),
            "seen_in": _seen_in(gpu),
            "faq": questions(gpu.slug, dossier.price),
            "facts": dossier.blocks()[0],
            "hours_per_month": hours,
        },
        fields=(),
        charts=history_charts(ask, history),
        picture=_picture(gpu, history),
        crumbs=(("GPUs", "/"),),
        json_ld=(product(dossier),),
    )
    return page.with_problem(problem) if isinstance(problem, BadQuantity) else page


def instances(ask: Ask) -> Page:
    """Return the machines in which a GPU is rented."""
    gpu = gpu_of(ask)
    if elsewhere := moved(ask, gpu, "/instances"):
        return elsewhere
    kind = ask.query.choice("kind", (*KINDS, "any"), Kind.ON_DEMAND.value)
    page = Page(
        title=f"{gpu.name}: cloud instances",
        lead=f"Whole machines with the {gpu.name}: vCPU, memory, disk, place and price of each shape.",
        template="gpu_instances.html",
        context={**_head(gpu, "instances"), "kind": kind, "kinds": (*KINDS, "any"), "found": None,
                 "faq": questions(gpu.slug, None)},
        crumbs=(("GPUs", "/"), (gpu.name, f"/gpus/{gpu.slug}")),
    )  # fmt: skip
    try:
        found = overview.instances(gpu.slug, kind=kind, data=ask.market)
    except NoAnswer as error:
        return page.with_problem(error)
    counted, older = found.parted()
    shown = {"found": found, "counted": counted, "older": older}
    return replace(page, answer=found, context={**page.context, **shown})


def models(ask: Ask) -> Page:
    """Return the models of the catalog on a GPU, with filters."""
    gpu = gpu_of(ask)
    if elsewhere := moved(ask, gpu, "/models"):
        return elsewhere
    query = ask.query
    number = query.whole("page", 1, least=1, most=10_000)
    page = Page(
        title=f"{gpu.name}: AI models",
        lead=f"The open-weights models that fit one or several {gpu.name}, and why the others do not.",
        template="gpu_models.html",
        context={**_head(gpu, "models"), "found": None, "faq": questions(gpu.slug, None)},
        fields=_model_fields(ask, {}),
        crumbs=(("GPUs", "/"), (gpu.name, f"/gpus/{gpu.slug}")),
    )
    try:
        task = query.choice("task", [name for name, _ in TRAINING_TASKS], "inference")
        found = pairing.models_on(
            gpu.slug,
            name=query.text("q"),
            kind=query.choice("kind", ("", *TASKS), ""),
            precision=query.text("precision"),
            count=query.whole("gpus", 0, most=8),
            task=task,
            context=query.text("context") or None,
            first=(number - 1) * pairing.SHOWN,
            data=ask.market,
        )
    except UsageError as error:
        return page.with_problem(error)
    n_pages = max(1, -(-found.n_matching // pairing.SHOWN))
    return replace(
        page,
        lead=f"{found.n_fitting} of {len(found.every)} open-weights models fit one or several {gpu.name} "
        f"({dict(TRAINING_TASKS)[task]}): with what precision, memory, speed and price, and why the others "
        "do not.",
        answer=found,
        context={**page.context, "found": found, "number": number, "n_pages": n_pages},
        fields=_model_fields(ask, found.by_precision()),
    )


def history(ask: Ask) -> Page:
    """Return the price history of a GPU under one kind."""
    gpu = gpu_of(ask)
    if elsewhere := moved(ask, gpu, "/history"):
        return elsewhere
    kind = ask.query.choice("kind", KINDS, Kind.ON_DEMAND.value)
    page = Page(
        title=f"{gpu.name}: price history",
        lead=f"Daily {kind} prices of the {gpu.name}: median, like-for-like index, low to high.",
        template="gpu_history.html",
        context={**_head(gpu, "history"), "ranges": RANGES, "range": ask.query.text("range", "all"),
                 "kind": kind, "kinds": KINDS, "history": None},
        crumbs=(("GPUs", "/"), (gpu.name, f"/gpus/{gpu.slug}")),
    )  # fmt: skip
    try:
        found = api.price(
            gpu.slug, kind=kind, history=range_of(ask, "all"), by_provider=True, data=ask.market,
            hours_per_month=month_of(ask),
        )  # fmt: skip
    except NoAnswer as error:
        return page.with_problem(error)
    context = {**page.context, "history": found, "days": _newest(found.history_table())}
    return replace(
        page, answer=found, context=context, charts=history_charts(ask, found), picture=_picture(gpu, found)
    )


def _newest(days: Table) -> Table:
    """Return the newest days of a history, and say how many are older."""
    older = len(days.rows) - DAYS_SHOWN
    if older <= 0:
        return days
    note = f"{older} older days: as CSV, Parquet or JSON, or in the chart"
    return replace(days, rows=days.rows[older:], notes=(*days.notes, note))


def compare(ask: Ask) -> Page:
    """Return GPUs side by side."""
    names = ask.query.several("gpu") or ("l40s", "a10", "a100-80gb-sxm", "h100-sxm", "rtx-4090")
    page = Page(
        title="GPUs side by side",
        lead="Dense rates of one precision, on-demand medians of one day; the first GPU is the baseline.",
        template="compare.html",
        context={"names": names, "choices": choices_of_gpus()},
    )
    try:
        return replace(page, answer=api.compare(*names[:8], data=ask.market))
    except RackrateError as error:
        return page.with_problem(error)


def embed(ask: Ask) -> str:
    """Return the price history as a picture for other pages.

    Raises:
        NoAnswer: there are not two days of it.
    """
    theme = ask.query.choice("theme", ("light", "dark"), "light")
    found = _drawable(ask)
    drawn = _kept(ask, found)(lambda: draw("history_svg", found))
    return chart.in_colours(drawn, chart.DARK) if theme == "dark" else drawn


def preview(ask: Ask) -> bytes:
    """Return the price history as PNG, for previews of links.

    Raises:
        NoAnswer: there are not two days of it.
    """
    found = _drawable(ask)
    key = ("preview", found.gpu, found.kind, found.history[0].day, found.history[-1].day)
    return once(ask.market, key, lambda: b64decode(draw("preview_png", found)))


def _drawable(ask: Ask) -> Price:
    gpu = gpu_of(ask)
    kind = ask.query.choice("kind", KINDS, Kind.ON_DEMAND.value)
    found = api.price(gpu.slug, kind=kind, history=range_of(ask, "90d"), data=ask.market)
    if len(found.history) < 2:  # noqa: PLR2004
        raise NoAnswer(f"{gpu.name} has no {kind} history to draw", hint="ask for range=all")
    return found


def range_of(ask: Ask, usual: str) -> str:
    """Return how far to look back."""
    asked = ask.query.choice("range", tuple(RANGES), usual)
    return "100y" if asked == "all" else asked


def history_charts(ask: Ask, price: Price | None) -> tuple[Drawing, ...]:
    """Return the chart of a history for a page; none where there are not two days."""
    if price is None or len(price.history) < 2:  # noqa: PLR2004
        return ()
    says = f"{price.line().title}. The history page has the numbers as a table."
    return (Drawing("history", price, says, _kept(ask, price)),)


def _picture(gpu: Gpu, price: Price | None) -> str:
    """Return where the picture of a GPU's page is; empty where there is nothing to draw."""
    if price is None or len(price.history) < 2:  # noqa: PLR2004
        return ""
    return f"/embed/gpus/{gpu.slug}/history.png?kind={price.kind}&range=all"


def _kept(ask: Ask, price: Price) -> Callable[[Callable[[], str]], str]:
    first, last = price.history[0].day, price.history[-1].day
    key = ("history", price.gpu, price.kind, first, last)
    return lambda make: once(ask.market, key, make)


@lru_cache(maxsize=256)
def _why(slug: str) -> tuple[tuple[tuple[str, str], tuple[str, ...]], ...]:
    """Return what sets a GPU apart: a source with its address, and what it says; catalog facts only."""
    gpu = find_gpu(slug)
    found: list[tuple[str, Fact[Any]]] = []
    link = CAPABILITIES["nvlink"](gpu)
    if link is not None:
        words = (
            f"{link_name(gpu)} at {gpu.nvlink_gb_per_s.value:g} GB/s: GPUs of a node can train and serve "
            "as one."
            if link
            else "No NVLink: GPUs talk over PCIe. Fine for inference, for fine-tuning that fits one card "
            "and for "
            "many jobs side by side; not for tightly coupled training of a large model."
        )
        found.append((words, gpu.nvlink_gb_per_s))
    draws = CAPABILITIES["graphics_api"](gpu)
    if draws is not None:
        kept = ", ".join(gpu.graphics_apis.value or ())
        words = (
            f"Graphics kept ({kept}): it renders and streams, beside its AI work."
            if draws
            else ("Compute only: no graphics interface, so no rendering and no games.")
        )
        found.append((words, gpu.graphics_apis or gpu.rt_cores))
    if gpu.nvenc:
        n, m = gpu.nvenc.value, gpu.nvdec.value or 0
        words = f"{n:g} video encoder{'s' * (n != 1)} and {m:g} decoder{'s' * (m != 1)}."
        found.append((words, gpu.nvenc))
    if gpu.form_factor:
        cooled = f", {gpu.cooling.value} cooling" if gpu.cooling else ""
        power = f", {gpu.tdp_w.value:g} W" if gpu.tdp_w else ""
        found.append((f"Form factor: {gpu.form_factor.value}{cooled}{power}.", gpu.form_factor))
    if gpu.memory_visible_gib and gpu.memory_gib:
        words = (
            f"Of {gpu.memory_gib.value:g} GiB the driver shows {gpu.memory_visible_gib.value:.1f}: "
            "reckon with those."
        )
        found.append((words, gpu.memory_visible_gib))
    return tuple(
        (source, tuple(words for words, _ in of))
        for source, of in groupby(found, key=lambda each: _source(each[1]))
    )


def _source(fact: Fact[Any]) -> tuple[str, str]:
    source = sources().get(fact.source)
    return (source.title, source.url) if source else (fact.source, "")


def _seen_in(gpu: Gpu) -> tuple[tuple[str, str], ...]:
    """Return the pages that name this GPU for a workload that suits it."""
    names = {each.workload.source for each in suitable_workloads(gpu) if each.verdict != "unsuitable"}
    listed = (sources()[name] for name in sorted(names) if name in sources())
    return tuple((source.title, source.url) for source in listed if gpu.name in source.title)


def _head(gpu: Gpu, tab: str) -> dict[str, Any]:
    """Return what all tabs of a GPU share."""
    chips = [gpu.architecture, gpu.memory_label]
    if gpu.tdp_w:
        chips.append(f"{gpu.tdp_w.value:g} W")
    if gpu.bandwidth_gb_per_s:
        chips.append(f"{gpu.bandwidth_gb_per_s.value:,.0f} GB/s")
    rates = ((name, gpu.dense_tflops(name)) for name in ("fp16", "fp8"))
    chips += [f"{name.upper()} {rate.value:,.0f} TFLOPS dense" for name, rate in rates if rate]
    if gpu.pcie_gen:
        chips.append(f"PCIe {gpu.pcie_gen.value:g}")
    chips.append({True: link_name(gpu), False: "no NVLink", None: ""}[CAPABILITIES["nvlink"](gpu)])
    chips.append({True: "renders", False: "compute only", None: ""}[CAPABILITIES["graphics_api"](gpu)])
    return {"gpu": gpu, "tab": tab, "chips": [chip for chip in chips if chip]}


def _lead(dossier: Dossier) -> str:
    spread = dossier.price.spread
    if spread is None:
        return f"Nobody offers the {dossier.gpu.name} on demand in these data; facts, models, owning one."
    who, low = spread.cheapest
    beside = "models that fit, speeds, history, rent or own."
    if spread.n == 1:
        return f"{dossier.gpu.name} on demand: ${low:.2f} per GPU-hour at {who}, alone; {beside}"
    return (
        f"{dossier.gpu.name} on demand: median ${spread.median_usd_per_gpu_hour:.2f} per GPU-hour of "
        f"{spread.n} providers, from ${low:.2f} ({who}); {beside}"
    )


def _history(ask: Ask, slug: str, kind: str, hours: float) -> Price | None:
    back = range_of(ask, "90d")

    def find() -> Price | None:
        try:
            return api.price(slug, kind=kind, history=back, data=ask.market, hours_per_month=hours)
        except NoAnswer:
            return None

    return once(ask.market, ("price", slug, kind, back, hours), find)


def _said(ask: Ask, usual: Mapping[str, float]) -> dict[str, Any]:
    """Return the inputs that a reader changed.

    The form sends back all that it was filled with: what is still as usual is no more certain for that.
    """
    asked = {name: ask.query.text(name) for name in CALCULATOR[:3] if name in ask.query}
    return {name: text for name, text in asked.items() if name not in usual or text != f"{usual[name]:g}"}


def _own(
    ask: Ask, gpu: Gpu, said: dict[str, Any]
) -> tuple[OwnAnswer | None, dict[str, Any] | None, RackrateError | None]:
    """Return the reckoning of rent or own with its numbers, or why there is none."""

    def reckon() -> tuple[OwnAnswer, dict[str, Any]]:
        found = owning.own(gpu.slug, data=ask.market, **said)
        return found, found.to_dict()

    try:
        return *once(ask.market, ("own", gpu.slug, tuple(said.items())), reckon), None
    except RackrateError as error:
        return None, None, error


def _calculator(ask: Ask, usual: Mapping[str, float], hours: float) -> tuple[Field, ...]:
    months = {"730": "730 h (year / 12)", "720": "720 h (30 days)"}
    months.setdefault(f"{hours:g}", f"{hours:g} h")

    def field(name: str, title: str, limits: tuple[float, float, float], kind: str = "number") -> Field:
        now = f"{usual[name]:g}" if name in usual else ""
        return Field(name, title, ask.query.text(name, now), kind=kind, limits=limits)

    return (
        field("hours_per_day", "Hours of use a day", (1, 24, 0.5), "range"),
        field("price_usd", "Price of the card, USD", (1, 1_000_000, 0.01)),
        field("kwh_usd", "Electricity, USD/kWh", (0, 5, 0.0001)),
        Field("gpus", "GPUs", ask.query.text("gpus", "1"), kind="number", limits=(1, MOST_GPUS, 1)),
        Field(
            "hours_per_month",
            "A month is",
            f"{hours:g}",
            choices=tuple(months.items()),
        ),
    )


def _instances(ask: Ask, slug: str) -> Instances | None:
    def find() -> Instances | None:
        try:
            return overview.instances(slug, data=ask.market)
        except NoAnswer:
            return None

    return once(ask.market, ("instances", slug), find)


def _model_fields(ask: Ask, precisions: dict[str, int]) -> tuple[Field, ...]:
    query = ask.query
    any_ = ("", "any")
    widest = [(name, f"{name} ({n} on one GPU)") for name, n in precisions.items()]
    if query.text("precision") not in ("", "none", *precisions):  # what was asked for stays
        widest.append((query.text("precision"), query.text("precision")))
    return (
        Field("q", "Name", query.text("q"), hint="llama", kind="search"),
        Field("task", "For", query.text("task", "inference"), choices=TRAINING_TASKS),
        Field("kind", "Kind", query.text("kind"), choices=(any_, *((task, task) for task in TASKS))),
        Field(
            "precision",
            "Precision",
            query.text("precision"),
            choices=(
                any_,
                *widest,
                ("none", "does not fit"),
            ),
        ),
        Field("gpus", "GPUs", query.text("gpus"), choices=(any_, *((str(n), str(n)) for n in (1, 2, 4, 8)))),
        Field("context", "Context, tokens", query.text("context"), hint="8k"),
    )


def choices_of_gpus() -> Sequence[tuple[str, str]]:
    """Return every GPU for a field."""
    return tuple((gpu.slug, gpu.name) for gpu in all_gpus())
