"""Which models there are: their architecture numbers, each with its source, and their names.

The numbers keep the names of the Hugging Face configs, which are the field's own words. A part with
a config of its own (vision tower, text encoder, VAE) stands in `parts` under the name that its
config has there. What the rental page said about a model is kept apart, in `listed`: it is a claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from rackrate.catalog import load
from rackrate.catalog.fact import Fact
from rackrate.catalog.names import fold, tokens
from rackrate.errors import CatalogInvalid, UnknownName, nearest

TASKS = ("text", "vision-language", "image", "asr", "encoder")


@dataclass(frozen=True, slots=True)
class Listing:
    """What the pages that asked for Rackrate say about a model, in their own words.

    Attributes:
        pages: source ids of the pages that name it, the one quoted here first.
        name: as the page writes it.
        maker: as the page writes it.
        params: parameter count, such as `27B (27B active)`.
        context: context length, such as `128K`.
        precision: the precision at which the page says that it fits one L40S.
    """

    pages: tuple[str, ...]
    name: Fact[str]
    maker: Fact[str]
    params: Fact[str]
    context: Fact[str]
    precision: Fact[str]


@dataclass(frozen=True, slots=True)
class Model:
    """One model with its facts; a fact that its architecture does not have says so.

    Attributes:
        slug: stable identifier.
        name: display name.
        maker: who published it.
        hf_id: repository on the Hugging Face hub.
        family: `model_type` of its config: which reader applies (`rackrate.catalog.architecture`).
        architecture: class name in transformers or diffusers.
        task: one of `TASKS`.
        aliases: other names; a hub id stands for its last part too.
        listed: what the rental page said.
        published_differs: why the published count is more than 1 % off ours; empty if it is not.
        remarks: what else one should know.
        parts: facts of the parts with a config of their own, by part and name.
        config: what its family needs beyond the common numbers below, by the name in its config
            (`kv_lora_rank`, `first_k_dense_replace`, `layer_types`, ...).
        sliding_window: tokens that a sliding-window layer looks back.
        full_attention_layers: layers whose KV cache grows with the whole context.
        linear_attention_layers: layers with a fixed recurrent state instead of a KV cache.
        mtp_layers: multi-token prediction layers in the checkpoint, not counted in `params_total`.
        vision_params: parameters of vision tower and projector.
        params_total: all parameters, tied embeddings once.
        params_embedding: input embedding, and output embedding where it is not tied.
        params_active: parameters that one generated token (or denoising step) passes through.
        params_published: the count that the maker or a loader prints.
        kv_bytes_per_token_bf16: growth of the KV cache a token in the full-attention layers, bytes.

    The other facts are the config values of that name: counts, widths and lengths in tokens.
    """

    slug: str
    name: str
    maker: str
    hf_id: str
    family: str
    architecture: str
    task: str
    aliases: tuple[str, ...]
    listed: Listing
    published_differs: str
    remarks: tuple[str, ...]
    parts: Mapping[str, Mapping[str, Fact[Any]]]
    config: Mapping[str, Fact[Any]]
    num_hidden_layers: Fact[int]
    encoder_layers: Fact[int]
    decoder_layers: Fact[int]
    hidden_size: Fact[int]
    intermediate_size: Fact[int]
    num_attention_heads: Fact[int]
    num_key_value_heads: Fact[int]
    head_dim: Fact[int]
    vocab_size: Fact[int]
    type_vocab_size: Fact[int]
    tie_word_embeddings: Fact[bool]
    max_position_embeddings: Fact[int]
    max_source_positions: Fact[int]
    max_target_positions: Fact[int]
    num_mel_bins: Fact[int]
    attention_layout: Fact[str]
    sliding_window: Fact[int]
    full_attention_layers: Fact[int]
    linear_attention_layers: Fact[int]
    linear_num_value_heads: Fact[int]
    linear_num_key_heads: Fact[int]
    linear_key_head_dim: Fact[int]
    linear_value_head_dim: Fact[int]
    linear_conv_kernel_dim: Fact[int]
    num_experts: Fact[int]
    num_experts_per_tok: Fact[int]
    moe_intermediate_size: Fact[int]
    shared_expert_intermediate_size: Fact[int]
    mtp_layers: Fact[int]
    vision_params: Fact[int]
    params_total: Fact[int]
    params_embedding: Fact[int]
    params_active: Fact[int]
    params_published: Fact[int]
    kv_bytes_per_token_bf16: Fact[int]

    def facts(self) -> dict[str, Fact[Any]]:
        """Return the facts by name, without those of the parts."""
        return {name: getattr(self, name) for name in _FACTS}

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain data, for `--json` and the API."""
        return {
            **{name: getattr(self, name) for name in _TEXTS},
            "aliases": list(self.aliases),
            "listed": {"pages": list(self.listed.pages)}
            | {name: getattr(self.listed, name).to_dict() for name in _CLAIMS},
            "published_differs": self.published_differs,
            "remarks": list(self.remarks),
            "facts": _plain(self.facts()),
            "parts": {part: _plain(facts) for part, facts in self.parts.items()},
            "config": _plain(self.config),
        }

    def spellings(self) -> Iterator[str]:
        """Yield every name that means this model, its slug first."""
        yield from (self.slug, self.name)
        for name in (self.hf_id, *self.aliases):
            yield name
            if "/" in name:  # a hub id is also called by its last part
                yield name.rpartition("/")[2]
        # A page may name a whole family ("Whisper"): such a name means no single model.
        if self.listed.maker and self.listed.name.value:
            yield self.listed.name.value


_TEXTS = ("slug", "name", "maker", "hf_id", "family", "architecture", "task")
_CLAIMS = ("name", "maker", "params", "context", "precision")
_COMPUTED = (
    "params_total",
    "params_embedding",
    "params_active",
    "params_published",
    "kv_bytes_per_token_bf16",
)
_MOST_NAMED = 12  # models that an ambiguous name is answered with
_NOT_STATED = {"unknown": "no source states it"}
_FACTS = tuple(field.name for field in fields(Model) if str(field.type).startswith("Fact["))


@cache
def load_model(slug: str) -> Model:
    """Return the model with this exact slug.

    >>> load_model("qwen3-32b").num_hidden_layers.value
    64

    Raises:
        UnknownName: the catalog has no such slug.
        CatalogInvalid: its file has a fact that no model has.
    """
    if slug not in load.slugs("models"):
        raise UnknownName("model", slug, nearest(slug, load.slugs("models")))
    return from_table(load.table(f"models/{slug}"))


def from_table(row: Mapping[str, Any]) -> Model:
    """Return the model that a TOML table states: the form of the files in `data/models`.

    A fact is a table of its own, or a bare value whose source is the `source` of the file. `listed` may
    be left out: no page that asked for Rackrate speaks of most models.

    Raises:
        CatalogInvalid: a fact that no model has, or a text that is missing.
    """
    stray, missing = row["facts"].keys() - set(_FACTS), set(_TEXTS) - row.keys()
    if stray or missing:
        raise CatalogInvalid(f"model {row.get('slug')!r}: {sorted(stray)=}, {sorted(missing)=}")
    none = {"unknown": f"not part of {row['architecture']}"}
    facts = dict.fromkeys(_FACTS, none) | dict.fromkeys(_COMPUTED, _NOT_STATED) | row["facts"]
    return Model(
        **{name: row[name] for name in _TEXTS},
        aliases=tuple(row.get("aliases", ())),
        listed=_listing(row.get("listed", {"pages": []})),
        published_differs=row.get("published_differs", ""),
        remarks=tuple(row.get("remarks", ())),
        parts={part: _facts(table, row) for part, table in row.get("parts", {}).items()},
        config=_facts(row.get("config", {}), row),
        **_facts(facts, row),
    )


def _facts(table: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Read facts; one that is a bare value has the source of the file."""
    source = row.get("source", "")
    tables = {name: fact if isinstance(fact, dict) else {"value": fact} for name, fact in table.items()}
    return {name: Fact.from_table(fact, source) for name, fact in tables.items()}


@cache
def all_models() -> tuple[Model, ...]:
    """Return every model of the catalog, by slug."""
    return tuple(load_model(slug) for slug in load.slugs("models"))


def find_model(name: str) -> Model:
    """Return the model that `name` means.

    A slug, display name, hub id or the page's name is taken in any case and with any separators.
    Else the words of `name` may stand in any order, and words may be left out as long as one model
    remains.

    >>> find_model("llama 70b 3.1").slug, find_model("Whisper Turbo").slug
    ('llama-3.1-70b', 'whisper-large-v3-turbo')

    Raises:
        UnknownName: no model answers to it, with the nearest; or several do, with all of them.
    """
    key = fold(name)
    if key in _slugs_by_key():  # the common case parses one file instead of all
        return load_model(_slugs_by_key()[key])
    found = [model for model in all_models() if key in _names(model.slug).keys] or _short_forms(name)
    if len(found) == 1:
        return found[0]
    if found:
        closest = [model.slug for model in found[:_MOST_NAMED]]
        raise UnknownName("model", name, closest, why=f"the name fits {len(found)} models")
    raise UnknownName("model", name, _nearest_slugs(name))


@dataclass(frozen=True, slots=True)
class _Names:
    """The spellings of one model as they are compared: folded, and as sets of words."""

    keys: frozenset[str]
    words: tuple[frozenset[str], ...]


@cache
def _names(slug: str) -> _Names:
    spellings = tuple(load_model(slug).spellings())
    return _Names(frozenset(map(fold, spellings)), tuple(map(tokens, spellings)))


@cache
def _slugs_by_key() -> dict[str, str]:
    return {fold(slug): slug for slug in load.slugs("models")}


def _short_forms(name: str) -> list[Model]:
    wanted = tokens(name)
    left_out: dict[str, int] = {}
    for model in all_models():
        gaps = [len(have - wanted) for have in _names(model.slug).words if wanted and wanted <= have]
        if gaps:
            left_out[model.slug] = min(gaps)
    complete = [slug for slug, gap in left_out.items() if gap == 0]
    return [load_model(slug) for slug in complete or sorted(left_out, key=left_out.__getitem__)]


def _nearest_slugs(name: str) -> list[str]:
    owner = {spelling: model.slug for model in all_models() for spelling in model.spellings()}
    return list(dict.fromkeys(owner[hit] for hit in nearest(name, owner, n=6)))[:3]


def _listing(row: Mapping[str, Any]) -> Listing:
    page = row["pages"][0] if row["pages"] else ""
    silent = {"unknown": "the page does not say" if page else "no page that asked for Rackrate lists it"}
    claims: dict[str, Fact[str]] = {
        name: Fact.from_table({"value": row[name], "source": page} if name in row else silent)
        for name in _CLAIMS
    }
    return Listing(pages=tuple(row["pages"]), **claims)


def _plain(facts: Mapping[str, Fact[Any]]) -> dict[str, Any]:
    return {name: fact.to_dict() for name, fact in facts.items()}
