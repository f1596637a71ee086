"""The one place that reads the time, so that tests can set it and pure parts stay pure."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from rackrate.units import parse_instant


def now() -> datetime:
    """Return the current UTC time; the environment variable RACKRATE_NOW (ISO 8601) sets it.

    Raises:
        BadQuantity: the variable is no date.
    """
    fixed = os.environ.get("RACKRATE_NOW")
    return parse_instant(fixed, "RACKRATE_NOW") if fixed else datetime.now(UTC)
