"""How names are compared: by their letters and digits alone, whatever stands between them."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"\d+(?:\.\d+)*b?|[^\W\d_]+")


def words(name: str) -> list[str]:
    """Return the runs of letters and digits of `name`, compatibility forms and case folded.

    >>> words("Latitude.sh (USA)")
    ['latitude', 'sh', 'usa']
    """
    return _WORD.findall(_folded(name))


def fold(name: str) -> str:
    """Return the key under which spellings of one name meet.

    >>> fold("Prime-Intellect") == fold("prime intellect") == fold("PrimeIntellect")
    True
    """
    return "".join(words(name))


def slugify(name: str) -> str:
    """Return a slug for a name that the catalog does not have; it folds to the same key.

    >>> slugify("Some New_Cloud!")
    'some-new-cloud'
    """
    return "-".join(words(name)) or "unnamed"


def tokens(name: str) -> frozenset[str]:
    """Return the parts of a short form, whose order does not matter.

    A size keeps its unit and a version its dots, so that `3.1 70b` is not read as `31 70b`.

    >>> sorted(tokens("Llama-3.1-70B"))
    ['3.1', '70b', 'llama']
    """
    return frozenset(_TOKEN.findall(_folded(name)))


def _folded(name: str) -> str:
    # Folding the case can undo the normal form, so a second pass makes the key stable.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
