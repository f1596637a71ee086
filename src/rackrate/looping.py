"""Does an event loop run here already, as in a cell of a notebook, and how does one not hold it up?

`asyncio` is loaded where a loop runs, and not by this module: a script that opens a fleet need not wait for
it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def is_in_loop() -> bool:
    """Tell whether an event loop runs in this thread, which waiting would hold up."""
    if "asyncio" not in sys.modules:
        return False
    import asyncio  # noqa: PLC0415 - it is loaded

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def aside(function: Callable[..., Result], *args: Any) -> Result:
    """Run a function in a thread while the event loop goes on."""
    import asyncio  # noqa: PLC0415 - it is loaded

    return await asyncio.to_thread(function, *args)


async def to_its_end(function: Callable[[], None]) -> None:
    """Run a function in a thread to its end, also when whoever waits for it is cancelled."""
    import asyncio  # noqa: PLC0415 - it is loaded

    await asyncio.shield(asyncio.to_thread(function))
