"""How do the processes of a fleet talk to its keeper? One line of JSON asks, one line answers.

The socket is a file in the fleet's folder, which only its user may enter: that is all the security it
needs, and nothing listens on the network. A question that is not answered in time breaks the
connection, so that a late answer is never taken for that of the next question.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rackrate.errors import FleetError

Message = dict[str, Any]
LONGEST = 1 << 20
"""Bytes of a line."""


def encode(message: Message) -> bytes:
    """Return a message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Line:
    """A connection to a keeper, opened when it is needed and again after it broke."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None
        self._rest = b""

    def ask(self, do: str, timeout_s: float, **message: Any) -> Message:
        """Ask and return the answer.

        Raises:
            OSError: nobody answers, or not in time.
            FleetError: the keeper says no.
        """
        try:
            answer: Message = json.loads(self._exchange(encode({"do": do, **message}), timeout_s))
        except (OSError, ValueError) as error:
            self.close()
            raise error if isinstance(error, OSError) else ConnectionError("no JSON") from error
        if "error" in answer:
            problem = answer["error"]
            raise FleetError(problem["detail"], hint=problem["hint"], code=problem["code"])
        return answer

    def _exchange(self, question: bytes, timeout_s: float) -> bytes:
        if self._socket is None:
            self._rest = b""
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(self.path))
        self._socket.settimeout(timeout_s)
        self._socket.sendall(question)
        while b"\n" not in self._rest:
            part = self._socket.recv(1 << 16)
            if not part:
                raise ConnectionError(f"{self.path}: the keeper hung up")
            self._rest += part
        answer, _, self._rest = self._rest.partition(b"\n")
        return answer

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
