"""How do the processes of a fleet talk to its keeper? One line of JSON asks, one line answers.

On the keeper's machine the socket is a file in the fleet's folder, which only its user may enter: that is
all the security it needs. From another machine the same lines go over mutual TLS to the fleet's gate, which
passes on what a node may say. A question that is not answered in time breaks the connection, so that a late
answer is never taken for that of the next question.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rackrate.errors import FleetError

if TYPE_CHECKING:
    from rackrate.fleet.identity import Identity

Message = dict[str, Any]
LONGEST = 1 << 20
"""Bytes of a line."""


def encode(message: Message) -> bytes:
    """Return a message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _left_s(until_s: float) -> float:
    """Return the seconds that are left.

    Raises:
        TimeoutError: none.
    """
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("not in time")
    return left_s


def _as_number(link: socket.socket) -> str:
    """Return the address at the other end: to ask for it by name again may take longer than any patience."""
    host, port = socket.getnameinfo(link.getpeername(), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return f"{host}:{port}"


class Line:
    """A connection to a keeper, opened when it is needed and again after it broke.

    Args:
        keeper: path of its socket, or `host:port` of the gate before it.
        identity: what the gate wants to see; None for a socket.
    """

    def __init__(self, keeper: str | Path, identity: Identity | None = None) -> None:
        self.keeper = str(keeper)
        self._identity = identity
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
        except OSError:
            self.close()
            raise
        except ValueError as error:
            self.close()
            raise ConnectionError(f"{self.keeper}: what answers speaks no JSON") from error
        if "error" in answer:
            problem = answer["error"]
            raise FleetError(problem["detail"], hint=problem["hint"], code=problem["code"])
        return answer

    def _exchange(self, question: bytes, timeout_s: float) -> bytes:
        until_s = time.monotonic() + timeout_s  # for all of it: a lease may wait for the answer
        link = self._connected(timeout_s)
        link.settimeout(_left_s(until_s))
        link.sendall(question)
        while b"\n" not in self._rest:
            link.settimeout(_left_s(until_s))
            part = link.recv(1 << 16)
            if not part:
                raise ConnectionError(f"{self.keeper}: the keeper hung up")
            self._rest += part
        answer, _, self._rest = self._rest.partition(b"\n")
        return answer

    def _connected(self, timeout_s: float) -> socket.socket:
        if self._socket is None:
            self._rest = b""
            if self._identity:
                self._socket = self._identity.dial(self.keeper, timeout_s)
                self.keeper = _as_number(self._socket)
            else:
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.settimeout(timeout_s)
                self._socket.connect(self.keeper)
        return self._socket

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
