"""What does the text of a GPU name say, before anyone knows which GPU it is?

A raw name mixes the product with its memory ("80 GB"), form ("SXM4", "PCIe"), count ("8x", "1/6")
and words that distinguish nothing ("NVIDIA", "Edition"). `read` takes those off and leaves the
words of the product. It knows no product: which words are names is `gpu_table`'s business.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from rackrate.catalog.names import words

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"\*?(?<![\d.])(\d{1,2})/(\d{1,2})(?!\d)")
# "8x H100", "1x-A40" and "2xL40_48GB", but not the size in "g6e.4xlarge"; "x0.25" and "L40Sx10",
# but neither the X of RTX nor x86 nor four-digit models.
_COUNT = re.compile(
    r"(?<![0-9a-z.])(\d{1,2}|0?\.\d+) ?[x*](?!\d|large)"
    r"|(?<![rg]t)x ?(?!86)(\d{1,2}|0?\.\d+)(?![0-9a-z]|\.\d)"
    r"|(?<![0-9a-z])(\d{1,2})[ _-]?gpus?(?![0-9a-z])"
    r"|(?<=hbm\d)_(\d{1,2})$"  # "NVIDIA H100 80GB HBM3_8"
    r"|^(\d{1,2})(?=[a-z]{1,2}\d|[rg]tx)"  # Verda's "8A100.40S.176V"
)
_MEMORY = re.compile(r"(?<![0-9a-z.])(\d{1,6}(?:\.\d+)?) ?(mib|gib|gb|g)(?![0-9a-z])")
_FORMS = (
    ("nvl", re.compile(r"nvl")),
    ("sxm", re.compile(r"s[xm]{2}\d?")),
    ("oam", re.compile(r"oam")),
    ("pcie", re.compile(r"pc[il]e?")),
)
_BOARDS = frozenset({"hgx", "dgx"})  # chassis and boards that carry SXM modules only
_NOISE = frozenset(
    {"nvidia", "geforce", "tesla", "tensor", "core", "gpu", "gpus"} | {"generation", "edition", "series"}
)
_MEMORY_KIND = re.compile(r"gddr\dx?|hbm\de?")


@dataclass(frozen=True, slots=True)
class Reading:
    """A raw name, taken apart.

    Attributes:
        words: what is left, in order.
        whole: all letters and digits but the noise, joined: the name as one key.
        memory_gib: every memory figure that carries a unit, in GiB.
        form: `sxm`, `pcie`, `nvl`, `oam`, or empty.
        count: number of GPUs or share of one, None when not said.
    """

    words: tuple[str, ...]
    whole: str
    memory_gib: tuple[float, ...]
    form: str
    count: float | None


def read(text: str) -> Reading:
    """Take a raw GPU name, or a provider's SKU, apart."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u00d7", "x")  # the times sign
    text, count = _take_count(_THOUSANDS.sub("", text))
    memory = tuple(float(figure) / (1024 if unit == "mib" else 1) for figure, unit in _MEMORY.findall(text))
    said = [word for word in words(_MEMORY.sub(" ", text)) if word not in _NOISE]
    return Reading(
        words=tuple(word for word in said if not _is_attribute(word)),
        whole="".join(word for word in words(text) if word not in _NOISE),
        memory_gib=memory,
        form=form_of(said),
        count=count,
    )


def form_of(said: Iterable[str]) -> str:
    """Return the form factor that folded words state, or an empty string."""
    said = frozenset(said)
    for form, pattern in _FORMS:
        if any(map(pattern.fullmatch, said)):
            return form
    return "sxm" if _BOARDS & said else ""


def _is_attribute(word: str) -> bool:
    return (
        word in _BOARDS
        or _MEMORY_KIND.fullmatch(word) is not None
        or any(pattern.fullmatch(word) for _, pattern in _FORMS)
    )


def _take_count(text: str) -> tuple[str, float | None]:
    if found := _FRACTION.search(text):
        share = int(found[1]) / int(found[2]) if int(found[2]) else None
        return _FRACTION.sub(" ", text, count=1), share
    if found := _COUNT.search(text):
        count = float(next(group for group in found.groups() if group))
        return _COUNT.sub(" ", text, count=1), count or None
    return text, None
