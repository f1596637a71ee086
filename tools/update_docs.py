"""Run the commands that the documents show and put their output below them; `--check` only compares.

A block is fenced as `console` and starts with `$ rackrate ...`; what follows is the output. It runs on
the bundled sample in an empty home, so that everybody gets the same.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"```console\n\$ (?P<command>rackrate [^\n]*)\n(?P<output>.*?)```", re.DOTALL)


def output_of(command: str, home: Path) -> str:
    """Return what a command prints on the bundled sample."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RACKRATE_")}
    env |= {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "XDG_CONFIG_HOME": str(home / "config")}
    words = [sys.executable, "-m", "rackrate", *shlex.split(command)[1:]]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=env, cwd=home)  # noqa: S603
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def updated(text: str, home: Path) -> str:
    """Return a document with the output of each of its commands."""

    def run(block: re.Match[str]) -> str:
        return f"```console\n$ {block['command']}\n{output_of(block['command'], home)}\n```"

    return BLOCK.sub(run, text)


def main() -> int:
    """Update the documents, or with --check return 1 when one is out of date."""
    stale = []
    with tempfile.TemporaryDirectory() as home:
        for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
            text = path.read_text(encoding="utf-8")
            new = updated(text, Path(home))
            if new != text:
                stale.append(path.name)
                if "--check" not in sys.argv:
                    path.write_text(new, encoding="utf-8")
    print("out of date: " + ", ".join(stale) if stale else "documents are up to date")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
