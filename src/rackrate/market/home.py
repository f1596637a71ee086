"""Where is the market? In a folder, or shared: at `s3://bucket/prefix`, with a mirror of it in a folder here.

Every command and every function that takes `data` asks here what it means. Answers are read from the
folder in either case; a shared market's is brought up to date before, and what was added to it is shared
after.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate import config
from rackrate.errors import DataError, UsageError

if TYPE_CHECKING:
    from rackrate.market.mirror import Mirror

NEEDS = "obstore"
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*):/+(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_SHARED = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*")


@dataclass(frozen=True)
class Home:
    """Where a market is.

    Attributes:
        named: the folder that was named; None for the default, or of a shared market.
        address: of a shared market; empty otherwise.
    """

    named: Path | None = None
    address: str = ""

    @cached_property
    def mirror(self) -> Mirror | None:
        """The mirror of a shared market.

        Raises:
            UsageError: the package for it is not installed.
        """
        if not self.address:
            return None
        try:
            from rackrate.market.mirror import Mirror  # noqa: PLC0415 - its package is an extra
        except ImportError as error:
            hint = "pip install 'rackrate[store]'"
            raise UsageError(f"a shared market needs {error.name}", hint=hint, code="extra") from error
        return Mirror(self.address)

    @property
    def folder(self) -> Path:
        """Where its files are on this machine."""
        return self.mirror.folder if self.mirror else self.named or config.default_store()

    def look(self, *, is_due: bool = False) -> str:
        """Bring the mirror of a shared market up to date; return why it could not be, or nothing.

        Args:
            is_due: ask even when this process has asked a moment ago.

        Raises:
            DataError: the shared market cannot be had, and there is no mirror that could answer.
            Refused: the mirror cannot be written.
        """
        return self.mirror.look(is_due=is_due) if self.mirror else ""

    def share(self) -> str:
        """Put what was added here into the shared market; return why it could not be, or nothing."""
        try:
            if self.mirror:
                self.mirror.share()
        except DataError as error:
            return (
                f"not shared yet: {error.message}; `rackrate market publish` or the next collection does it"
            )
        return ""

    def __str__(self) -> str:
        """Name it for people."""
        return self.address or str(self.folder)


_A_PLACE = "--data takes a folder, or s3://bucket/prefix: see --help"


def home_of(data: Path | str | None = None) -> Home:
    """Return where the market is that is meant.

    Args:
        data: a folder or `s3://bucket/prefix`; None for what is configured, else the user's own.

    Raises:
        UsageError: an address that is none, or a file in place of a folder.
    """
    place = str(data or config.load().data or "")
    found = _SCHEME.fullmatch(place)
    if not found:
        if data and Path(place).is_file():
            raise UsageError(f"{place} is a file, not the folder of a market", hint=_A_PLACE)
        return Home(Path(place).expanduser() if place else None)
    rest = found["rest"].strip("/")
    if found["scheme"].lower() != "s3" or not _SHARED.fullmatch(rest):
        hint = "s3://bucket/prefix; keys and another endpoint come from the environment"
        shown = re.sub(r"//[^/@]*@", "//***@", place)
        raise UsageError(f"{shown!r} is not the address of a shared market", hint=hint)
    return Home(address=f"s3://{rest}")
