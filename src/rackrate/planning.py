"""Which one: a question in words, keyword arguments or a file to a plan, over the market as it is."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate import api
from rackrate.catalog.aliases import family_members, gpu_names
from rackrate.catalog.gpu import all_gpus, load_gpu
from rackrate.catalog.load import slugs
from rackrate.clock import now
from rackrate.errors import BadQuantity, ImportRejected, NothingFits, UnknownName, UsageError
from rackrate.fit.setup import choose_engine
from rackrate.fit.training import Training
from rackrate.market.stats import SHOWN as SHOWN_AGE
from rackrate.perf.factors import load_factors
from rackrate.plan.answer import Plan, Row
from rackrate.plan.asking import choose_workload, read_question
from rackrate.plan.cards import Cards
from rackrate.plan.copies import Found
from rackrate.plan.fitting import LeftOut
from rackrate.plan.question import ALIGNMENT, IMAGES, ROUGH, SERVING, SPEECH, Question
from rackrate.plan.search import SHOWN, Goods, Market, goods_for, make_plan
from rackrate.plan.serving import Serving, serving
from rackrate.plan.stock import ANY_AGE, Stock
from rackrate.plan.terms import COLUMNS as TERMS
from rackrate.plan.terms import Terms
from rackrate.report.plan import PlanAnswer
from rackrate.report.plan_diff import PlanDiff
from rackrate.sizing import Weights, Wish, find_weights, model_of, setup_for
from rackrate.units import format_age, parse_age

if TYPE_CHECKING:
    from rackrate.market.store import Store
    from rackrate.plan.frontier import Shapes
    from rackrate.plan.options import Options

_VERBS: Mapping[str, Mapping[str, str]] = {
    "serve": {},
    "run": {},
    "finetune": {"finetune": ""},
    "fine-tune": {"finetune": ""},
    "lora": {"finetune": "lora"},
    "qlora": {"finetune": "qlora"},
    "sweep": {"sweep": "bert"},
}
"""First words of a question to the fields that they stand for."""

FIRST_BF16 = 8.0
"""Compute capability from which NVIDIA's cards compute bfloat16."""

_SWEPT = {"bert": "bert-base-uncased", "": "bert-base-uncased"}
"""What is fine-tuned in a sweep that names a family."""

_COLUMNS = {
    "gpu": "gpu", "count": "gpu_count", "usd_per_hour": "usd_per_hour", "provider": "provider",
    "seller": "seller", "country": "country", "region": "region", "kind": "kind", "sku": "sku",
    "seen": "observed_at", "source": "source",
}  # fmt: skip
"""Fields of a stock to columns of the market."""


def plan(
    what: str = "",
    *,
    as_of: api.Instant = None,
    data: Path | str | Store | None = None,
    limit: int = SHOWN,
    is_explained: bool = False,
    **fields: Any,
) -> PlanAnswer:
    """Return which machines to rent for a workload, where, and what that costs.

    Args:
        what: a model (`llama-3.1-70b`), a verb and a model (`finetune bert-base`), or a `workload.toml`.
        as_of: look at the market of that day or instant; None for the newest.
        data: the market; None for the default.
        limit: rows at most.
        is_explained: whether the formulae are written out.
        fields: the load (`rps`, `tokens_per_day`, `users`, ...), what is promised (`ttft`, `tpot`), and what
            is allowed (`gpu`, `provider`, `country`, `kind`, ...), by the names of
            `rackrate.plan.asking.FIELDS`.

    Raises:
        UnknownName: a model, GPU, workload or field that is not there, with the nearest.
        BadQuantity: a number that cannot be, or that no machine of this world reaches.
        UsageError: fields that contradict each other.
        NoAnswer: nothing that is for rent does it; the hint names the nearest miss.

    Example:
        >>> import rackrate
        >>> rackrate.plan("llama-3.1-8b", rps=1, gpu="l40s").best.taken_as
        'l40s'
    """
    if limit < 1:
        raise UsageError(f"limit {limit} is not above 0", hint="leave it out for the usual number")
    given = {**_words(what), **fields}
    model = str(given.pop("model", "") or "")
    if "sweep" in given:
        model = model or str(given["sweep"])
        model = _SWEPT.get(model.lower(), model)
    weights = find_weights(model) if model else None
    workload = choose_workload(given | {"model": model}, weights.arch.task if weights else "")
    question = read_question(given | ({"model": model} if model else {}), workload, model)
    store, at = api.open_market(data), api.to_instant(as_of)
    question = _with_providers(question, store)
    stock = _stock(store, at, question.allowed.max_age)
    cards = _cards(frozenset(stock.gpu.names) | {machine.gpu for machine in question.allowed.own})
    goods = goods_for(question, stock, cards)
    found, left_out = _found(question, weights, cards, goods)
    made = make_plan(
        question,
        cards,
        goods,
        found,
        left_out,
        _market(store, at),
        limit,
    )
    return PlanAnswer(made, is_explained=is_explained)


def kept(path: str | Path, *, is_explained: bool = False) -> PlanAnswer:
    """Return a plan that was kept as JSON.

    Raises:
        ImportRejected: no such file, or no plan of this schema.
    """
    return PlanAnswer(_read(path), is_explained=is_explained)


def compared(before: str | Path, after: str | Path) -> PlanDiff:
    """Return what differs between two plans that were kept as JSON.

    Raises:
        ImportRejected: no such file, or no plan of this schema.
    """
    return PlanDiff(_read(before), _read(after))


def exported(path: str | Path, to: str, *, weights: str = "", row: int = 1) -> str:
    """Return a kept plan as the text of a file that another tool reads.

    Args:
        path: of the plan.
        to: `skypilot`, `dstack`, `compose` or `kubernetes`.
        weights: repository or folder of the weights; empty for those that the model was published with.
        row: of the ranking, from 1.

    Raises:
        ImportRejected: no such file, or no plan of this schema.
        UnknownName: no such tool, or a GPU that it does not name.
        UsageError: a row that is not there, or weights that must be named.
        NoAnswer: a plan that no such file can run.
    """
    from rackrate.plan.exports import export  # noqa: PLC0415 - start-up
    from rackrate.plan.exports.server import server_for  # noqa: PLC0415

    made = _read(path)
    if not 1 <= row <= len(made.rows):
        raise UsageError(f"row {row} is not in the plan", hint=f"it has 1 to {len(made.rows)}")
    chosen = made.rows[row - 1]
    repository, published = _weights_of(made, chosen, weights)
    capability = load_gpu(chosen.taken_as).compute_capability.value
    is_old = str(capability).replace(".", "").isdigit() and float(str(capability)) < FIRST_BF16
    server = server_for(made, chosen, repository, published, is_old=is_old)
    several = (f"for each of {chosen.machines} machines",) if to == "compose" and chosen.machines > 1 else ()
    place = (
        f"{chosen.what} at {chosen.where}, {chosen.usd_per_hour.value:.2f} USD/h, prices of {made.as_of[:10]}"
    )
    return export(chosen, server, to, (f"rackrate plan of {made.name}: {place}", *several))


def _weights_of(made: Plan, row: Row, weights: str) -> tuple[str, str]:
    """Return the repository of the weights and their precision."""
    model = str(made.question["model"])
    if weights or not model:  # who names weights for a plan has those of the plan
        return weights, row.precision
    repository = model.removeprefix("hf:") if model.startswith("hf:") else ""
    if not repository:
        try:
            repository = model_of(model).hf_id
        except UnknownName:
            what = f"the plan's model {model!r} names no repository"
            raise UsageError(what, hint="add --weights owner/model") from None
    return repository, setup_for(find_weights(model), 1, Wish()).precision.name


def _read(path: str | Path) -> Plan:
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImportRejected(
            f"{path} cannot be read as a plan: {error}", hint="rackrate plan ... -o FILE"
        ) from None
    return Plan.from_dict(data)


def _words(what: str) -> dict[str, Any]:
    """Return the fields that a line of words, or a file, states."""
    if not isinstance(what, str):
        raise BadQuantity(f"{what!r} is no model in words", hint="name it: 'llama-3.1-8b'")
    text = what.strip()
    if text.endswith(".toml"):
        return _from_file(Path(text))
    verb, _, rest = text.partition(" ")
    if verb.lower() in _VERBS:
        return {**_VERBS[verb.lower()], "model": rest.strip()}
    return {"model": text} if text else {}


def _from_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ImportRejected(f"there is no workload file {path}", hint="give its path, or a model's name")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ImportRejected(f"{path} cannot be read as a workload: {error}", hint="it is TOML") from None


def _with_providers(question: Question, store: Store) -> Question:
    """Return the question with the slugs of its providers."""
    slugs = tuple(api.provider_slug(name, store) for name in question.allowed.providers)
    return replace(question, allowed=replace(question.allowed, providers=slugs)) if slugs else question


@lru_cache(maxsize=4)
def _cards(names: frozenset[str]) -> Cards:
    """Return the GPUs that these names mean, families included: only what is for rent is read."""
    known = set(gpu_names())
    wanted = {slug for name in names & known for slug in family_members(name)}
    return Cards((load_gpu(slug) for slug in slugs("gpus") if slug in wanted), load_factors("llm"))


@lru_cache(maxsize=4)
def _stock(store: Store, as_of: datetime | None, max_age: str) -> Stock:
    """Return the market as columns; it is read once for each state of the data."""
    age = None
    if max_age:
        age = timedelta.max if max_age == ANY_AGE else parse_age(max_age, "max age")
    names = dict.fromkeys((*_COLUMNS.values(), *TERMS))
    read = store.columns(list(names), as_of=as_of, max_age=age)
    columns = {name: read[column] for name, column in _COLUMNS.items()} | {"doubt": read["doubt"]}
    terms = Terms.of(read)
    days = {at: at.date().isoformat() for at in set(columns["seen"]) if at}
    columns["seen"] = [days.get(at, "") for at in columns["seen"]]
    return Stock.of(columns, terms)


def _found(question: Question, weights: Weights | None, cards: Cards, goods: Goods) -> tuple[Found, LeftOut]:
    """Return the copies that do the work, and the cards that do not.

    Raises:
        BadQuantity: a promise below what any card can do, or a request longer than the model takes.
        UsageError: a workload that needs a model, or a model that does not do that.
        NothingFits: nothing that is for rent does it.
    """
    left_out, shapes = LeftOut(), goods.shapes
    if question.family == SERVING and weights:
        return _serving(question, weights, cards, goods, left_out), left_out
    return _some(_options(question, weights, cards, shapes, left_out), left_out), left_out


def _serving(question: Question, weights: Weights, cards: Cards, goods: Goods, left_out: LeftOut) -> Serving:
    arch, sold = weights.arch, goods.shapes.sold()
    if arch.task not in ("text", "vision-language"):
        what = f"{question.model} is no language model that answers requests"
        raise UsageError(what, hint="without a workload it is planned for what it does")
    question.check_context(arch.max_context)
    published = setup_for(weights, 1, Wish()).precision
    found = serving(question, arch, published, cards, sold, left_out)
    if not len(found.copies):
        from rackrate.plan.misses import check_promise, miss  # noqa: PLC0415 - start-up

        check_promise(question, arch, published, Cards(all_gpus(), load_factors("llm")))
        raise miss(question, arch, published, cards, sold, found.fits)
    return found


def _options(
    question: Question, weights: Weights | None, cards: Cards, shapes: Shapes, left_out: LeftOut
) -> Options:
    """Return what does work that is no language serving; each module is loaded where it is used."""
    if question.family in (ROUGH, ALIGNMENT):
        from rackrate.plan.rough import rough  # noqa: PLC0415 - start-up

        return rough(question, cards, shapes.counts(), left_out)
    if weights is None:
        raise UsageError(f"{question.workload} needs a model", hint="name one: rackrate models list")
    arch = weights.arch
    if question.family in (IMAGES, SPEECH):
        from rackrate.plan.media import media  # noqa: PLC0415 - start-up

        choose_engine(arch, "inference", "diffusers" if question.family == IMAGES else "faster-whisper")
        return media(question, arch, cards, shapes.sold(), left_out)
    from rackrate.plan.learning import learning  # noqa: PLC0415 - start-up

    method = question.workload.removeprefix("finetune-")
    task = method if method in ("lora", "qlora") else "full"
    setup = setup_for(weights, 1, Wish(task=task, precision=question.precision, training=Training()))
    return learning(question, arch, setup, cards, shapes.counts(), left_out)


def _some(found: Options, left_out: LeftOut) -> Options:
    """Return the options, of which there must be one.

    Raises:
        NothingFits: there is none; the hint says why of most cards.
    """
    if not len(found.copies):
        rule, slugs = max(left_out.rules.items(), key=lambda item: len(item[1]))
        hint = f"{len(slugs)} of the GPUs for rent, such as {slugs[0]}: {rule}"
        hint += f"; {left_out.nearest}" if left_out.nearest else ""
        raise NothingFits("no GPU that is for rent under these conditions does it", hint=hint)
    return found


def _market(store: Store, as_of: datetime | None) -> Market:
    newest = as_of or store.newest
    return Market(newest.isoformat() if newest else "", store.version, tuple(_dates(store, newest)))


def _dates(store: Store, newest: datetime | None) -> Iterator[str]:
    """Say of which day the prices are, and when they are old."""
    if newest is None:
        yield "the prices give no date"
        return
    said = f"prices of {newest:%Y-%m-%d}"
    if store.is_sample:
        yield f"{said}, the bundled sample: import today's before you rent (rackrate market import)"
    elif now() - newest > SHOWN_AGE:
        yield f"{said}: {format_age(now() - newest)} old"
    else:
        yield said
