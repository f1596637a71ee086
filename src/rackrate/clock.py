"""The one place that reads the time, so that tests can set it and pure parts stay pure."""

from __future__ import annotations

import os
from datetime import UTC, datetime


def now() -> datetime:
    """Return the current UTC time; the environment variable RACKRATE_NOW (ISO 8601) sets it."""
    fixed = os.environ.get("RACKRATE_NOW")
    return datetime.fromisoformat(fixed).astimezone(UTC) if fixed else datetime.now(UTC)
