"""Which model and which card does a measured case mean? Names as people and logs write them.

`architecture_for` and `card_for` answer from the catalog alone. A source writes `Qwen2.5-7B-Instruct`,
`Yi-34B class (60 layers)`, `FLUX.1-dev pipeline`; `H100-80GB`, `24 GB class card (21.48 GiB seen)`,
`4x RTX 3090`, or nothing. What cannot be resolved is answered wide and says so: a model by its
parameter count alone carries an assumption, an unknown card a large error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from rackrate.catalog.aliases import family_members, match_gpu
from rackrate.catalog.architecture import Architecture, architecture_of, read_config
from rackrate.catalog.architecture.bare import (
    architecture_of_count,
    architecture_of_parts,
    best_architecture,
)
from rackrate.catalog.gpu import Gpu, load_gpu
from rackrate.catalog.load import slugs
from rackrate.catalog.model import Model, find_model
from rackrate.catalog.names import fold, tokens
from rackrate.errors import NoAnswer, UnknownName
from rackrate.fit.cases import Case
from rackrate.fit.overhead import DRIVER_FRAC, Card, usable_memory

SAME_COUNT, LIKE_COUNT = 0.005, 0.10
"""How far a stated parameter count may be from that of a model: whose name is only half said; whose name
is said, and where the count may be that of one part (FLUX's transformer)."""

UNKNOWN_GIB, UNKNOWN_SIGMA_GIB = 80.0, 30.0  # a card that nothing is said of: 24 to 141 GiB
CLASS_SIGMA = 0.03  # of "a 24 GB card": 21.5 to 24 GiB were seen
FAMILY_SIGMA = 0.004  # of one that may be any of a family: SXM and PCIe boards differ by 0.3 %

_REMARKS = re.compile(r"\([^)]*\)|\[[^\]]*\]")
_KINDS = re.compile(
    r"\b(?:pipeline|training|class|model|finetun\w*|fine-tun\w*|lora|inference|server)\b.*", re.IGNORECASE
)
_TUNED = re.compile(
    r"[-_ ](?:instruct|chat|it|base|hf|gguf|awq|gptq|fp8|int4|bnb-4bit|nf4|dynamic|uncensored)\b.*$",
    re.IGNORECASE,
)
_COUNT = re.compile(r"(?<![\w.])(?:(\d+)x)?(\d+(?:\.\d+)?)\s?b(?![\w.])", re.IGNORECASE)
_MILLIONS = re.compile(r"(?<![\w.])(\d{2,3})m(?![\w.])", re.IGNORECASE)  # `-1M` is a length of context


def architecture_for(case: Case, config: Mapping[str, Any] | None = None) -> Architecture:
    """Return the model that a case is about.

    Args:
        case: its `model` and `params_b` are read.
        config: a Hugging Face config, where one came with the case: it decides.

    In that order: the config; the catalog, by the name as written and then without what people add to
    it; the parameter count, stated or in the name, which gives a wide range and says so.

    Raises:
        NoAnswer: none of the three.
        BadQuantity: a config with a value that cannot be.
    """
    if config:
        return read_config(config, case.model)
    model = model_for(case.model, case.params_b)
    if not model and case.workload == "asr":  # whose tools say `large-v2`
        model = model_for(f"whisper-{case.model}", case.params_b)
    if model:
        try:
            return _as_counted(best_architecture(model), case.params_b)
        except NoAnswer:
            pass  # the catalog knows its name and not its numbers
    billions = case.params_b or count_in(case.model)
    if not billions:
        hint = "give its parameter count in params_b, or its config"
        raise NoAnswer(f"{case.model!r} is no model of the catalog and has no parameter count", hint=hint)
    if case.workload == "diffusion":
        return architecture_of_parts(case.model, {"transformer": round(billions * 1e9)})
    layers, heads = _LAYERS.search(case.note), _KV_HEADS.search(case.note)
    return _of_count(billions, case.model, int(layers[1]) if layers else 0, int(heads[1]) if heads else 0)


def _as_counted(arch: Architecture, billions: float | None) -> Architecture:
    """Return the model as a tool built it whose count shows that it did not tie the output matrix."""
    table = next((t for t in arch.tensors if t.name == "token_embd"), None)
    if not billions or table is None or any(t.role == "head" for t in arch.tensors):
        return arch
    untied = (arch.n_params + table.n_params) / 1e9
    if abs(untied / billions - 1) > SAME_COUNT or abs(arch.n_params / 1e9 / billions - 1) <= SAME_COUNT:
        return arch
    return replace(arch, tensors=(*arch.tensors, replace(table, name="output", role="head")))


_LAYERS, _KV_HEADS = re.compile(r"\b(\d{1,3}) layers"), re.compile(r"\b(\d{1,3}) KV heads", re.IGNORECASE)


@lru_cache(maxsize=256)
def _of_count(billions: float, name: str, n_layers: int, n_kv_heads: int) -> Architecture:
    return architecture_of_count(billions * 1e9, name, n_layers=n_layers, n_kv_heads=n_kv_heads)


@lru_cache(maxsize=1024)
def model_for(name: str, params_b: float | None = None) -> Model | None:
    """Return the catalog's model of that name; None when no one answers to it.

    A name that leaves words of the catalog's out is believed only with the right count: `Qwen-14B` is not
    the one model of 14B in the catalog whose name has a `Qwen` in it.

    Args:
        name: as a source writes it.
        params_b: billions of parameters, where the source says.
    """
    for spelling in _spellings(name):
        try:
            found = find_model(spelling)
        except UnknownName:
            continue
        allowed = LIKE_COUNT if _is_spelt(found, spelling) else SAME_COUNT
        if _agrees(found, params_b, allowed):
            return found
    return None


def _spellings(name: str) -> Iterator[str]:
    """Give the name as written, then with less and less of what is not the name."""
    plain = _REMARKS.sub(" ", name).strip()
    bare = _KINDS.sub("", plain).strip(" -_,")
    last = bare.rsplit("/", 1)[-1]
    seen = set()
    for spelling in (name, plain, bare, last, _TUNED.sub("", last)):
        if spelling and spelling not in seen:
            seen.add(spelling)
            yield spelling


def _is_spelt(model: Model, name: str) -> bool:
    key, words = fold(name), tokens(name)
    return any(fold(known) == key or tokens(known) == words for known in model.spellings())


def _agrees(model: Model, params_b: float | None, allowed: float) -> bool:
    """Tell whether a stated count is that of the model; without one the name must be said in full."""
    if not params_b:
        return allowed == LIKE_COUNT
    try:
        arch = architecture_of(model)
    except NoAnswer:
        return allowed == LIKE_COUNT
    counts = [arch.n_params]
    if allowed == LIKE_COUNT:
        counts += arch.params_by_part().values()
    return any(abs(count / 1e9 / params_b - 1) <= allowed for count in counts)


def count_in(name: str) -> float | None:
    """Return the billions of parameters that a name states; experts are multiplied out.

    >>> count_in("Some-Model-7B-v2"), count_in("Mixtral-8x7B"), count_in("BERT")
    (7.0, 56.0, None)
    >>> count_in("SmolLM-135M")
    0.135
    """
    plain = name.replace("-", " ").replace("_", " ")
    if found := _COUNT.search(plain):
        return int(found[1] or 1) * float(found[2])
    found = _MILLIONS.search(plain)
    return int(found[1]) / 1000 if found else None


@lru_cache(maxsize=1024)
def card_for(text: str, hint: str = "") -> Card:
    """Return the memory of one card that a source names, however vaguely.

    >>> card_for("24 GB class card (21.48 GiB seen)").gib
    21.48

    Args:
        text: GPU as the source writes it; a count before it is passed over.
        hint: more words of the source, which may state what CUDA saw (`H100 79.18 GiB`).

    In that order: memory that was seen; a product; a family, by the member whose memory was measured, else
    the smallest; a class (`24 GB card`); else a card of unknown size, with a large error.
    """
    name = re.sub(r"^\s*\d+\s*[x\u00d7]\s+", "", text)
    seen = re.search(r"(\d+(?:\.\d+)?) ?GiB (?:seen|visible|total)", text)
    plain = _REMARKS.sub(" ", name).strip()
    match = match_gpu(plain) if plain else None
    is_a100 = bool(match and match.slug and match.slug.startswith("a100"))
    if seen:
        return Card(plain, float(seen[1]), 0.02, "as the source saw it", "the case", is_a100)
    if match and match.slug:
        members = [load_gpu(m) for m in family_members(match.slug) if m in slugs("gpus")]
        if members:
            stated = re.search(rf"{re.escape(plain.split('-')[0])} (\d+\.\d+) GiB", hint)
            card = _of_members(match.slug, members)
            if stated:
                how, whose = "as the source saw it", "the case"
                return replace(card, gib=float(stated[1]), sigma_gib=0.02, formula=how, source=whose)
            return card
    memory = re.search(r"(\d+(?:\.\d+)?)(?:\s?\+\s?\d+)*\s?(?:GB|GiB|G)\b", plain, re.IGNORECASE)
    if memory:
        return _of_class(plain, float(memory[1]))
    how = f"nothing is known of {text!r}: {UNKNOWN_GIB:g} GiB are taken" if text else "no card was named"
    return Card(text or "unknown", UNKNOWN_GIB, UNKNOWN_SIGMA_GIB, how, "assumed")


def _of_members(slug: str, members: list[Gpu]) -> Card:
    measured = [gpu for gpu in members if gpu.memory_cuda_gib.value is not None]
    card = min((usable_memory(gpu) for gpu in measured or members), key=lambda card: card.gib)
    if len(members) == 1:
        return card
    sigma = (card.sigma_gib**2 + (FAMILY_SIGMA * card.gib) ** 2) ** 0.5
    how = f"{card.formula}; of the {slug} family, {card.gpu} is taken"
    return replace(card, gpu=slug, sigma_gib=sigma, formula=how)


def _of_class(name: str, nominal_gib: float) -> Card:
    gib = nominal_gib * (1 - DRIVER_FRAC - 0.003)
    how = f"a card of {nominal_gib:g} GB, less the driver's share"
    return Card(name, gib, CLASS_SIGMA * gib, how, "assumed", "a100" in fold(name))
