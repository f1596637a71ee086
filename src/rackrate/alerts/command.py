"""Tell news to a program: JSON on its stdin, the sentence in RACKRATE_ALERT; no shell is between."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

from rackrate.alerts.rule import News
from rackrate.errors import RackrateError, UsageError

_MOST_S = 60
_SHOWN = 200


class Command:
    """One program with its words.

    Args:
        line: as a shell would read it.

    Raises:
        UsageError: no word, or an open quote.
    """

    def __init__(self, line: str) -> None:
        try:
            self._words = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"command {line!r} cannot be read: {error}") from error
        if not self._words:
            raise UsageError("the command to run is empty", hint="--command 'notify-send Rackrate'")

    def __call__(self, news: News) -> None:
        """Run it.

        Raises:
            RackrateError: it cannot be run, fails, or takes longer than a minute.
        """
        name = self._words[0]
        try:
            done = subprocess.run(  # noqa: S603 - what the user asked to be run
                self._words,
                input=json.dumps(news.to_dict(), ensure_ascii=False),
                env={**os.environ, "RACKRATE_ALERT": news.text},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                timeout=_MOST_S,
                check=False,
            )
        except OSError as error:
            raise _failed(f"{name} cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise _failed(f"{name} took longer than {_MOST_S} s") from error
        if done.returncode:
            raise _failed(f"{name} ended with status {done.returncode}: {done.stderr.strip()[:_SHOWN]}")


def _failed(says: str) -> RackrateError:
    return RackrateError(says, hint="it is tried again later")
