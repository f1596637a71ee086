"""How does the keeper begin? With the zygote, which has most to load; then it loads itself.

All that is imported here the zygote waits for, and all nodes for the zygote: so that is little.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from rackrate.fleet.backends.local import LocalBackend
from rackrate.fleet.folder import Folder


def main(path: Path) -> None:
    """Keep the fleet of a folder; wherever its nodes live, its head is forked here."""
    folder = Folder(path)
    spec = json.loads(folder.spec.read_text("utf-8"))
    home = LocalBackend(path, folder.fleet, preload=spec["preload"], path=spec["path"])
    home.start()
    import_module("rackrate.fleet.keeper").keep(folder, home)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
