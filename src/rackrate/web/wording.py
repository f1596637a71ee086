"""Sentences that every face shares, for who reads a page: fields of an address in place of options.

Answers and errors advise in the words of the command line. On a page the same advice is a field of the
address, `--max-age any` is `max_age=any`, and a command is the page that answers it. Options of other
programs (vLLM's `--max-num-seqs`) stay as they are: one types them there.
"""

from __future__ import annotations

import re
from functools import lru_cache

from markupsafe import Markup, escape

from rackrate.web.pages.asking import ON_FIELDS, OWN_FIELDS, PLAN_FIELDS
from rackrate.web.pages.gpus import MODEL_FIELDS, OVERVIEW_FIELDS
from rackrate.web.pages.lists import OFFER_FIELDS

FIELDS = frozenset((*ON_FIELDS, *OWN_FIELDS, *PLAN_FIELDS, *MODEL_FIELDS, *OVERVIEW_FIELDS, *OFFER_FIELDS))
_RENAMED = {"vram": "vram_gib"}
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?: (any|\d[\w.]*)\b)?")
_ADDRESS = re.compile(r"https?://[^\s]+")
_CODE = re.compile(
    r"`([^`]+)`|\b([a-z_]+=[\w.:]+)|(?<![\w-])(--[a-z][\w-]*(?: [\d.]+\d)?)|(rackrate market [a-z]+)"
)
_PAGES = (
    (re.compile(r"rackrate offers --gpu ([\w.-]+) --kind (\w+)(?: --limit \d+)?"), r"/offers?gpu=\1&kind=\2"),
    (re.compile(r"rackrate offers --gpu ([\w.-]+)"), r"/offers?gpu=\1"),
    (re.compile(r"rackrate plan ([\w.-]+) --rps (\d+)"), r"/plan?model=\1&rps=\2"),
    (re.compile(r"rackrate gpus show ([\w.-]+)"), r"/gpus/\1.json"),
    (re.compile(r"rackrate own ([\w.-]+)"), r"/rent-or-own?gpu=\1"),
    (re.compile(r"rackrate gpus compare ([\w.-]+) ([\w.-]+)"), r"/compare?gpu=\1&gpu=\2"),
    (re.compile(r"rackrate own\b"), "/rent-or-own"),
    (re.compile(r"`?rackrate gpus list`?"), "/?all=1"),
    (re.compile(r"`?rackrate models list`?"), "/models"),
)
_LINKED = re.compile(_ADDRESS.pattern + r"|(?<!\S)/(?:[a-z-]+(?:/[\w.-]+)*\??|\?)[\w.=&-]*(?=[\s,;)]|$)")


@lru_cache(maxsize=4096)  # the same sentences stand on many pages
def said(text: str) -> str:
    """Return a sentence with commands as addresses of this site and our options as fields."""
    for command, address in _PAGES:
        text = command.sub(address, text)
    return _OPTION.sub(_as_field, text)


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
        parts += [escape(text[at : found.start()]), Markup("<code>{}</code>").format(shown)]
        at = found.end()
    return Markup("").join([*parts, escape(text[at:])])


@lru_cache(maxsize=2048)
def link(address: str, text: str) -> Markup:
    """Write a link away from the site; what is no address of the web stays text."""
    if not _ADDRESS.fullmatch(address):
        return escape(address)
    return Markup('<a href="{}" rel="nofollow">{}</a>').format(address, text)


def _inside(address: str, text: str) -> Markup:
    return Markup('<a href="{}">{}</a>').format(address, text)
