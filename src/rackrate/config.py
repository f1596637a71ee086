"""Settings: flags over environment over project file over user file over defaults.

    [rackrate]                 # rackrate.toml in the working directory, config.toml in the user's folder
    data = "/srv/market"       # RACKRATE_DATA or RACKRATE_STORE: the market, a folder or s3://bucket/prefix
    hours_per_month = 720      # RACKRATE_HOURS_PER_MONTH: for USD a month

Each value knows where it comes from (`rackrate config show`).
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rackrate.errors import UnknownName, UsageError, nearest
from rackrate.units import HOURS_PER_MONTH, parse_number

KEYS = {
    "data": "the market: its folder, or s3://bucket/prefix of a shared one",
    "hours_per_month": "hours that a month is counted with",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it comes from.

    Attributes:
        key: its name.
        value: as text.
        origin: `default`, `environment RACKRATE_X` or a file.
        means: what it is for.
    """

    key: str
    value: str
    origin: str
    means: str


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, resolved."""

    settings: tuple[Setting, ...]

    def __getitem__(self, key: str) -> str:
        """Return the value of a key, as text; empty when it is not set."""
        return next(setting.value for setting in self.settings if setting.key == key)

    @property
    def data(self) -> str | None:
        """Return the market that the user named, a folder or an address; None for the default."""
        return self["data"] or None

    @property
    def hours_per_month(self) -> float:
        """Return the hours that a month is counted with.

        Raises:
            UsageError: not a number above 0 and up to 744 (31 days).
        """
        return month_hours(self["hours_per_month"])


def month_hours(text: str) -> float:
    """Read the hours of a month.

    Raises:
        BadQuantity: not a number.
        UsageError: not above 0 and up to 744 (31 days).
    """
    hours = parse_number(text, "hours per month")
    if not 0 < hours <= 744:  # noqa: PLR2004 - 31 days
        raise UsageError(
            f"hours per month {text!r} is not between 0 and 744", hint="730 is a twelfth of a year"
        )
    return hours


def user_folder() -> Path:
    """Return the user's configuration folder."""
    import platformdirs  # noqa: PLC0415 - start-up: only some commands ask for it

    return Path(platformdirs.user_config_dir("rackrate"))


def data_folder() -> Path:
    """Return the user's data folder, where platformdirs has it; reckoned here, for start-up's sake."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "rackrate"
    base = os.environ.get("XDG_DATA_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".local" / "share") / "rackrate"


def default_store() -> Path:
    """Return the market store in the user's data folder."""
    return data_folder() / "market"


def mirrors_folder() -> Path:
    """Return where the mirrors of shared markets lie."""
    return data_folder() / "shared"


def calibration_file() -> Path:
    """Return the user's own measured runs (`rackrate.calibration`); the file need not exist."""
    return data_folder() / "calibration.csv"


def load() -> Config:
    """Resolve all settings.

    Raises:
        UnknownName: a file has a key that is none of ours.
        UsageError: a file is not TOML.
    """
    layers = list(_layers())
    defaults = {"data": "", "hours_per_month": f"{HOURS_PER_MONTH:g}"}
    settings = []
    for key, means in KEYS.items():
        origin, value = next(
            ((origin, str(values[key])) for origin, values in layers if key in values),
            ("default", defaults[key]),
        )
        settings.append(Setting(key, value, origin, means))
    return Config(tuple(settings))


def table(name: str) -> dict[str, Any]:
    """Return a table of its own of the configuration files: the project's, else the user's, else none.

    Raises:
        UsageError: a file is not TOML, or the name is no table in it.
    """
    for path in _files():
        found = _document(path).get(name)
        if isinstance(found, dict):
            return found
        if found is not None:
            raise UsageError(f"{path}: {name} is {found!r}, not a table")
    return {}


def _files() -> Iterator[Path]:
    yield from (path for path in (Path("rackrate.toml"), user_folder() / "config.toml") if path.is_file())


def _layers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, key in {"RACKRATE_STORE": "data", **{f"RACKRATE_{key.upper()}": key for key in KEYS}}.items():
        if os.environ.get(name):
            yield f"environment {name}", {key: os.environ[name]}
    for path in _files():
        yield str(path), _read(path)


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    values = _document(path).get("rackrate", {})
    if not isinstance(values, dict):
        raise UsageError(f"{path} has no table [rackrate]")
    for key in values:
        if key not in KEYS:
            raise UnknownName("setting", key, nearest(key, KEYS) or list(KEYS))
    return values
