"""Does an event loop run here already, as it does in a cell of a notebook?"""

from __future__ import annotations

import asyncio


def is_in_loop() -> bool:
    """Tell whether an event loop runs in this thread, which waiting would hold up."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
