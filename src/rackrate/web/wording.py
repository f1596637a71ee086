"""Sentences that every face shares, for who reads a page: fields of an address in place of options.

Answers and errors advise in the words of the command line. On a page the same advice is a field of the
address, `--max-age any` is `max_age=any`, and a command is the page that answers it. Options of other
programs (vLLM's `--max-num-seqs`) stay as they are: one types them there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from markupsafe import Markup, escape

from rackrate.web.pages.asking import ON_FIELDS, OWN_FIELDS, PLAN_FIELDS
from rackrate.web.pages.gpus import MODEL_FIELDS, OVERVIEW_FIELDS
from rackrate.web.pages.lists import OFFER_FIELDS

FIELDS = frozenset((*ON_FIELDS, *OWN_FIELDS, *PLAN_FIELDS, *MODEL_FIELDS, *OVERVIEW_FIELDS, *OFFER_FIELDS))
_RENAMED = {
    "vram": "vram_gib", "vram_total": "vram_total_gib", "ram": "ram_gib", "disk": "disk_gib",
    "max_price": "max_usd_per_gpu_hour", "max_total": "max_usd_per_hour",
}  # fmt: skip
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?: (any|\d[\w.]*|[A-Z]{2})\b| [A-Z]{3,}\b)?")
_PLACE = "no country is named (--country DE)"
"""Said of owning, whose page takes regions of the world too, by a field of another name."""
_ADDRESS = re.compile(r"https?://[^\s]+")
_CODE = re.compile(
    r"`([^`]+)`|\b([a-z_]{2,}=[\w.:]+)|(?<![\w-])(--[a-z][\w-]*(?: [\d.]+\d)?)|(rackrate market [a-z]+)"
)
_ADDRESSES = (
    (r"rackrate offers --gpu ([\w.-]+) --kind (\w+)(?: --limit \d+)?", r"/offers?gpu=\1&kind=\2", ""),
    (r"rackrate offers --gpu ([\w.-]+)", r"/offers?gpu=\1", ""),
    (r"rackrate plan ([\w.-]+) --rps (\d+)", r"/plan?model=\1&rps=\2", ""),
    (r"rackrate gpus show ([\w.-]+)", r"/gpus/\1.json", r"/gpus/\1/facts"),
    (r"rackrate own ([\w.-]+)", r"/rent-or-own?gpu=\1", ""),
    (r"rackrate gpus compare ([\w.-]+) ([\w.-]+)", r"/compare?gpu=\1&gpu=\2", ""),
    (r"rackrate own\b", "/rent-or-own", ""),
    (r"`?rackrate gpus list`?", "/?all=1", "/gpus"),
    (r"`?rackrate models list`?", "/models", ""),
)
"""A command, the page that answers it, and the resource of the API where that has another address."""

_PAGES = tuple((re.compile(command), page) for command, page, _ in _ADDRESSES)
_RESOURCES = tuple(
    (re.compile(command), f"/api/v1{resource or page}") for command, page, resource in _ADDRESSES
)
_LINKED = re.compile(_ADDRESS.pattern + r"|(?<!\S)/(?:[a-z-]+(?:/[\w.-]+)*\??|\?)[\w.=&-]*(?=[\s,;)]|$)")


def said(text: str) -> str:
    """Return a text with commands as addresses of this site and our options as fields."""
    return _said(text, _PAGES)


def said_as_data(text: str) -> str:
    """Return a text, of JSON, with commands as addresses of the API and our options as its fields."""
    return _said(text, _RESOURCES)


def _said(text: str, addresses: Sequence[tuple[re.Pattern[str], str]]) -> str:
    text = text.replace(_PLACE, _PLACE.replace("--country ", "place="))
    if "rackrate " in text:
        for command, address in addresses:
            text = command.sub(address, text)
    return _OPTION.sub(_as_field, text) if "--" in text else text


def _as_field(found: re.Match[str]) -> str:
    name = found[1].replace("-", "_")
    name = _RENAMED.get(name, name)
    if name not in FIELDS:
        return found[0]
    return f"{name}={found[2]}" if found[2] else name


@lru_cache(maxsize=4096)
def words(text: str) -> Markup:
    """Write a sentence with its addresses as links and what one types as code."""
    return Markup("").join(_parts(said(text)))


def _parts(text: str) -> list[Markup]:
    parts, at = [], 0
    for found in _LINKED.finditer(text):
        address = found[0].rstrip(").,;")
        write = link if address.startswith("http") else _inside
        parts += [_coded(text[at : found.start()]), write(address, address)]
        at = found.start() + len(address)
    return [*parts, _coded(text[at:])]


def _coded(text: str) -> Markup:
    parts, at = [], 0
    for found in _CODE.finditer(text):
        shown = next(group for group in found.groups() if group)
        parts += [_plain(text[at : found.start()]), Markup("<code>{}</code>").format(shown)]
        at = found.end()
    return Markup("").join([*parts, _plain(text[at:])])


def _plain(text: str) -> Markup:
    return escape(text.replace("on_demand", "on demand"))


@lru_cache(maxsize=2048)
def link(address: str, text: str) -> Markup:
    """Write a link away from the site; what is no address of the web stays text."""
    if not _ADDRESS.fullmatch(address):
        return escape(address)
    return Markup('<a href="{}" rel="nofollow">{}</a>').format(address, text)


def _inside(address: str, text: str) -> Markup:
    return Markup('<a href="{}">{}</a>').format(address, text)
