"""From what a person writes to a question: options, keyword arguments and a `workload.toml` say the same.

Every field has one reader here and belongs to some ways of planning; a field that the workload does not have
is refused, not passed over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rackrate.catalog.gpu import find_gpu
from rackrate.catalog.names import fold
from rackrate.catalog.workload import all_workloads
from rackrate.errors import BadQuantity, NoAnswer, UnknownName, UsageError, nearest
from rackrate.fit.engine import CACHE_TYPES, find_engine
from rackrate.fit.precision import PRECISIONS, find_precision
from rackrate.market.filter import countries_of, kinds_of, wanted_of
from rackrate.plan.question import (
    ALIGNMENT,
    DAY_S,
    FAMILIES,
    HOUR_S,
    IMAGES,
    OBJECTIVES,
    ROUGH,
    SERVING,
    SPEECH,
    SWEEP,
    TRAINING,
    USUAL_INPUT,
    USUAL_OUTPUT,
    Allowed,
    Owned,
    Promise,
    Question,
    one_load,
)
from rackrate.units import parse_amount, parse_number, parse_price, parse_seconds

USUAL_TTFT_S, USUAL_TPOT_S = 2.0, 0.1
"""Promised to people where nobody says: MLPerf's server scenario of Llama 2 70B takes 2 s and 200 ms; 100 ms
is faster than people read."""

VARIANT_TOKENS = 10e6
"""That a variant of a sweep is trained on where nobody says: 20,000 texts of 512 tokens."""

_METHODS = ("full", "lora", "qlora")
_WORKLOAD_OF_TASK = {
    "text": "llm-serving",
    "vision-language": "llm-serving",
    "image": "image-generation",
    "asr": "asr",
}
_LOADS = {
    SERVING: ("rps", "tokens_per_day", "users"),
    IMAGES: ("images_per_hour",),
    SPEECH: ("audio_hours_per_day",),
    TRAINING: ("tokens",),
    SWEEP: ("variants",),
    ALIGNMENT: ("genomes",),
    ROUGH: ("as_fast_as",),
}


_USUAL_LOADS: Mapping[str, tuple[str, float]] = {
    SWEEP: ("variants", 64),
    ALIGNMENT: ("genomes", 1),
    ROUGH: ("as_fast_as", 1.0),
}
"""What is meant where nobody says: the sweep of the wiki page, a pair of genomes, one L40S's worth."""


@dataclass(frozen=True, slots=True)
class _Field:
    read: Callable[[Any, str], Any]
    families: tuple[str, ...]
    to: str = ""  # the attribute of Question, Promise or Allowed, where it is not read by hand


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise BadQuantity(f"{what} {value!r} is no text", hint="give a name")
    return value.strip()


def _amount(value: Any, what: str) -> float:
    return parse_amount(str(value), what)


def _whole(value: Any, what: str) -> int:
    number = parse_amount(str(value), what)
    if number != int(number):
        raise BadQuantity(f"{what} {value!r} is no whole number", hint=f"the nearest is {round(number)}")
    return int(number)


def _frac(value: Any, what: str) -> float:
    text = str(value).strip()
    number = parse_number(text.removesuffix("%"), what) / (100 if text.endswith("%") else 1)
    if not 0 <= number <= 1:
        raise BadQuantity(f"{what} {value!r} is no share of 0 to 1", hint="write it like 0.5 or 50%")
    return number


def _seconds(value: Any, what: str) -> float:
    return parse_seconds(str(value), what)


def _usd(value: Any, what: str) -> float:
    found = parse_price(str(value), what)
    if not found:
        raise BadQuantity(f"{what} {value!r} is not above 0", hint="leave it out for no limit")
    return found


def _names(value: Any, what: str) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise BadQuantity(f"{what} {value!r} is neither a name nor a list of names", hint="give names")
    return tuple(_text(item, what) for item in items)


def _gpus(value: Any, what: str) -> tuple[str, ...]:
    names = _names(value, what)
    for name in names:
        if wanted_of(name).counts.high < 1:  # a wrong name is an error there
            hint = f"the nearest that can be is {name.rpartition(':')[0]}:1"
            raise BadQuantity(f"{name!r} asks for machines without a GPU", hint=hint)
    return names


def _gpu(value: Any, what: str) -> str:
    return wanted_of(_text(value, what)).slugs[0]


def _kinds(value: Any, what: str) -> tuple[str, ...]:
    read = [kinds_of(name) for name in _names(value, what)]
    return () if () in read else tuple(kind.value for kinds in read for kind in kinds)


def _countries(value: Any, what: str) -> tuple[str, ...]:
    return tuple(countries_of(_names(value, what)))


def _country(value: Any, what: str) -> str:
    found = _countries(_text(value, what), what)
    if len(found) != 1:
        raise BadQuantity(f"{what} {value!r} is several countries", hint="name one, such as DE")
    return found[0]


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise BadQuantity(f"{what} {value!r} is neither true nor false", hint="write true or false")
    return value


def _pixels(value: Any, what: str) -> int:
    width, by, height = str(value).lower().replace("*", "x").partition("x")
    try:
        return _whole(width, what) * (_whole(height, what) if by else 1)
    except BadQuantity:
        hint = "write them like 1024x1024"
        raise BadQuantity(f"{what} {value!r} are no width and height", hint=hint) from None


def _owned(value: Any, what: str) -> tuple[Owned, ...]:
    return tuple(_one_owned(text, what) for text in _names(value, what))


def _one_owned(text: str, what: str) -> Owned:
    """Read `l40s:4=0.80`: machines of four, 0.80 USD for an hour of one."""
    shape, equals, usd = text.partition("=")
    name, _, count = shape.partition(":")
    if not equals:
        hint = "write it like l40s:4=0.80: a machine of four at 0.80 USD/h; rackrate own says what it costs"
        raise BadQuantity(f"{what} {text!r} does not say what an hour costs", hint=hint)
    return Owned(find_gpu(name).slug, _whole(count or 1, "GPU count"), _usd(usd, what))


def _objective(value: Any, what: str) -> str:
    if value not in OBJECTIVES:
        raise UnknownName(what, str(value), nearest(str(value), OBJECTIVES) or OBJECTIVES)
    return str(value)


def _precision(value: Any, what: str) -> str:
    return find_precision(_text(value, what)).name


def _engine(value: Any, what: str) -> str:
    found = find_engine(_text(value, what)).name
    if found not in CACHE_TYPES:
        raise UsageError(f"{found} is no server for many users", hint=f"these are: {', '.join(CACHE_TYPES)}")
    return found


def _check_types(engine: str, precision: str, kv: str) -> None:
    """Refuse weights or a cache of a type that the engine does not take."""
    is_gguf = bool(precision) and bool(PRECISIONS[precision].recipe)
    named = engine or ("llama.cpp" if is_gguf else "vllm")
    if precision and not PRECISIONS[precision].is_wide and is_gguf != (named == "llama.cpp"):
        hint = "GGUF files run in llama.cpp, other narrow weights in vllm and sglang"
        raise UsageError(f"{named} does not take {precision} weights", hint=hint)
    if kv not in CACHE_TYPES[named]:
        near = nearest(kv, CACHE_TYPES[named]) or CACHE_TYPES[named]
        raise UnknownName("KV cache type", kv, near, why=f"{named} does not take it")


_ALL = tuple(_LOADS)
_MODELS = (SERVING, IMAGES, SPEECH, TRAINING, SWEEP)
_LEARN = (TRAINING, SWEEP)

FIELDS: Mapping[str, _Field] = {
    "workload": _Field(_text, _ALL),
    "finetune": _Field(_text, (TRAINING,)),
    "sweep": _Field(_text, (SWEEP,)),
    "model": _Field(_text, _MODELS),
    "rps": _Field(_amount, (SERVING,)),
    "tokens_per_day": _Field(_amount, (SERVING,)),
    "users": _Field(_amount, (SERVING,)),
    "images_per_hour": _Field(_amount, (IMAGES,)),
    "audio_hours_per_day": _Field(_amount, (SPEECH,)),
    "tokens": _Field(_amount, _LEARN),
    "variants": _Field(_whole, (SWEEP,)),
    "genomes": _Field(_whole, (ALIGNMENT,)),
    "as_fast_as": _Field(_amount, (ROUGH,)),
    "input": _Field(_amount, (SERVING,), "input_tokens"),
    "output": _Field(_amount, (SERVING,), "output_tokens"),
    "ttft": _Field(_seconds, (SERVING,)),
    "tpot": _Field(_seconds, (SERVING,)),
    "percentile": _Field(_frac, (SERVING,)),
    "cached": _Field(_frac, (SERVING,), "cached_frac"),
    "speculative": _Field(_amount, (SERVING,), "tokens_a_step"),
    "kv": _Field(_text, (SERVING,), "kv"),
    "pixels": _Field(_pixels, (IMAGES,), "pixels"),
    "steps": _Field(_whole, (IMAGES,), "steps"),
    "sequence": _Field(_whole, _LEARN, "sequence"),
    "batch": _Field(_whole, _LEARN, "batch"),
    "within": _Field(_seconds, (*_LEARN, ALIGNMENT), "within_s"),
    "nodes": _Field(_whole, (SWEEP, ALIGNMENT), "nodes"),
    "precision": _Field(_precision, _MODELS, "precision"),
    "engine": _Field(_engine, (SERVING,), "engine"),
    "objective": _Field(_objective, _ALL, "objective"),
    "store_in": _Field(_country, _MODELS, "store"),
    "instead_of": _Field(_gpu, _ALL, "instead_of"),
    "users_in": _Field(_country, _ALL, "users"),
    "gpu": _Field(_gpus, _ALL, "gpus"),
    "provider": _Field(_names, _ALL, "providers"),
    "country": _Field(_countries, _ALL, "countries"),
    "region": _Field(_text, _ALL, "region"),
    "kind": _Field(_kinds, _ALL, "kinds"),
    "max_usd_per_hour": _Field(_usd, _ALL, "max_usd_per_hour"),
    "graphics": _Field(_flag, _ALL, "has_graphics"),
    "own": _Field(_owned, _ALL, "own"),
    "max_age": _Field(_text, _ALL, "max_age"),
}
"""Every field by its name, the same in options, keyword arguments and files."""


def choose_workload(fields: Mapping[str, Any], task: str) -> str:
    """Return the workload that is meant.

    Args:
        fields: as given.
        task: of the model (`text`, `image`, `asr`, `encoder`, ...); empty without one.

    Raises:
        UnknownName: a field, workload or method that is none.
        UsageError: fields of several workloads, or neither workload nor model.
        NoAnswer: what is done with such a model must be said.
    """
    check_names(fields)
    said = [name for name in ("workload", "finetune", "sweep") if name in fields]
    if len(said) > 1:
        raise UsageError(f"{' and '.join(said)} are given at once", hint="say one of them")
    if "workload" in fields:
        return _named(_text(fields["workload"], "workload"))
    if "finetune" in fields:
        usual = "full" if task == "encoder" else "lora"
        method = _text(fields["finetune"], "finetune").lower() or usual
        if method not in _METHODS:
            raise UnknownName("method", method, nearest(method, _METHODS) or _METHODS)
        return f"finetune-{method}"
    if "sweep" in fields:
        return "bert-sweep"
    if not task:
        hint = "rackrate plan llama-3.1-70b --rps 2, or --workload rendering"
        raise UsageError("the question names neither model nor workload", hint=hint)
    if task not in _WORKLOAD_OF_TASK:
        hint = "say what is done with it: --finetune full --tokens 50M, or --sweep bert"
        raise NoAnswer(f"serving {fields.get('model', 'it')} is not planned", hint=hint)
    return _WORKLOAD_OF_TASK[task]


def check_names(fields: Iterable[str]) -> None:
    """Check that every field is one.

    Raises:
        UnknownName: one is not, with the nearest.
    """
    for name in fields:
        if name not in FIELDS:
            raise UnknownName("workload field", name, nearest(name, FIELDS) or list(FIELDS))


def read_question(fields: Mapping[str, Any], workload: str, model: str = "") -> Question:
    """Return the question that fields state.

    Args:
        fields: name to text, number or list, see `FIELDS`.
        workload: slug, see `choose_workload`.
        model: as given.

    Raises:
        UnknownName: a name that is none.
        BadQuantity: a number that cannot be.
        UsageError: fields that the workload does not have, or that contradict each other.
    """
    family = FAMILIES[workload]
    check_names(fields)
    for name in fields:
        if family not in FIELDS[name].families:
            own = [other for other, field in FIELDS.items() if family in field.families]
            what = f"{name} does not belong to {workload}"
            raise UsageError(what, hint=f"its fields: {', '.join(own)}")
    read = {name: FIELDS[name].read(value, name) for name, value in fields.items()}
    shape = {FIELDS[name].to: value for name, value in read.items() if FIELDS[name].to}
    allowed = Allowed(**{name: shape.pop(name) for name in Allowed.__slots__ if name in shape})
    load = one_load(_with_usual_load(read, family), _LOADS[family])
    found = {"workload": workload, "model": model, "allowed": allowed, **shape}
    found["promise"] = _promise(read, load)
    if family == SERVING:
        _check_types(found.get("engine", ""), found.get("precision", ""), found.get("kv", "fp16"))
    return Question(**found, **_load(read, load, found))


def _with_usual_load(read: dict[str, Any], family: str) -> dict[str, Any]:
    """Give work of which people usually mean one piece that piece; a sweep a variant for each machine."""
    if "nodes" in read and family == SWEEP:
        read.setdefault("variants", read["nodes"])
    if family in _USUAL_LOADS:
        name, value = _USUAL_LOADS[family]
        read.setdefault(name, value)
    return read


def _promise(read: Mapping[str, Any], load: str) -> Promise:
    """Return what users are promised: something to people by default, nothing to a batch of tokens."""
    is_for_people = load in ("rps", "users")
    return Promise(
        read.get("ttft", USUAL_TTFT_S if is_for_people else math.inf),
        read.get("tpot", USUAL_TPOT_S if is_for_people else math.inf),
        read.get("percentile", 0.9),
    )


def _load(read: Mapping[str, Any], load: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return rate or amount, and the load in words."""
    n = read[load]
    if load == "tokens":
        return {"amount": n, "load": f"{_counted(n)} tokens"}
    if load == "genomes":
        return {"amount": float(n), "load": f"{n:,} pair{'s' * (n > 1)} of genomes aligned"}
    if load == "variants":
        each = read.get("tokens", VARIANT_TOKENS)
        words = f"{n:,} variant{'s' * (n > 1)} of {_counted(each)} tokens each"
        return {"amount": float(n), "variant_tokens": each, "load": words}
    rate_per_s = n * _rate_of_one(load, found)
    words = f"{_counted(n)} {_STREAMS[load].format(s='s' * (n != 1))}"
    if load == "as_fast_as" and n == 1:
        words = "as much as one L40S does"
    if load in ("users", "tokens_per_day"):
        words += f": {rate_per_s:,.3g} requests a second"
    return {"rate_per_s": rate_per_s, "load": words}


def _counted(n: float) -> str:
    return f"{n:,.0f}" if n == round(n) else f"{n:,.6g}"


_STREAMS = {
    "rps": "request{s} a second",
    "users": "user{s} with a request under way each",
    "tokens_per_day": "token{s} a day, in and out",
    "images_per_hour": "image{s} an hour",
    "audio_hours_per_day": "hour{s} of audio a day",
    "as_fast_as": "times what an L40S does",
}


def _rate_of_one(load: str, found: Mapping[str, Any]) -> float:
    """Return results a second for each unit of a load."""
    n_in, n_out = found.get("input_tokens", USUAL_INPUT), found.get("output_tokens", USUAL_OUTPUT)
    promise: Promise = found["promise"]
    of_one: dict[str, float] = {
        "users": 1 / (promise.ttft_s + n_out * promise.tpot_s),  # each at the pace that is promised
        "tokens_per_day": 1 / ((n_in + n_out) * DAY_S),
        "images_per_hour": 1 / HOUR_S,
        "audio_hours_per_day": HOUR_S / DAY_S,
    }
    return of_one.get(load, 1.0)


def _named(name: str) -> str:
    """Return the slug of the workload with this slug, name or example, or a part of one that is clear."""
    key = fold(name)
    spelt = {each.slug: {fold(t) for t in (each.slug, each.name, *each.examples)} for each in all_workloads()}
    exact = [slug for slug, forms in spelt.items() if key in forms]
    part = [slug for slug, forms in spelt.items() if key and any(key in form for form in forms)]
    for found in (exact, part):
        if len(found) == 1:
            return found[0]
    raise UnknownName("workload", name, nearest(name, spelt) or list(spelt))
