"""How does one function run elsewhere without a word about fleets? A pool is opened at its first call.

    @rackrate.fleet.task(nodes=(0, 4), idle_s=60)
    def train(width): ...

    train(64)                  # runs on a node, returns the result
    train.map([64, 128, 256])  # futures
    train(64)                  # after a minute without calls: on a new node

The pool lives for this process; its nodes go when they idle. On a node, a task that calls another, or itself,
calls the plain function.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from rackrate.errors import TaskExited

if TYPE_CHECKING:
    from rackrate.fleet.fleet import Fleet

P = ParamSpec("P")
R = TypeVar("R")

_FRAMES = 50
"""That the trace of a task's endless recursion keeps."""

_POOL: dict[str, Any] = {"nodes": (0, 4), "idle_s": 60.0}


class Task(Generic[P, R]):
    """A function that runs on a pool of nodes of its own.

    Args:
        function: what is run there.
        asked: what `rackrate.Fleet` takes.
    """

    def __init__(self, function: Callable[P, R], asked: dict[str, Any]) -> None:
        self._function = function
        self._asked = asked
        self._fleet: Fleet | None = None
        self._opening = threading.Lock()
        update_wrapper(self, function)

    @property
    def fleet(self) -> Fleet:
        """The pool, opened when it is first needed and when the last one has ended."""
        from rackrate.fleet.fleet import Fleet  # noqa: PLC0415 - a node that runs the function needs none
        from rackrate.fleet.state import Phase  # noqa: PLC0415

        with self._opening:
            if self._fleet is not None and self._fleet.status().phase != Phase.OPEN:
                self._fleet.close()
                self._fleet = None
            if self._fleet is None:
                self._fleet = Fleet(**self._meant())
            return self._fleet

    def _meant(self) -> dict[str, Any]:
        """Return what is asked of the fleet, with the offer of the day where a GPU is named."""
        from rackrate.fleet.renting import cheapest  # noqa: PLC0415 - as above

        asked = dict(self._asked)
        if gpu := asked.pop("gpu", None):
            asked["what"] = cheapest(gpu, asked.get("backend", ""))
        return asked

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it on a node and return its result."""
        if "RACKRATE_NODE" in os.environ:
            return self._function(*args, **kwargs)
        result: R = self.submit(*args, **kwargs).result()
        return result

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Have it run on a node; return its future."""
        return self.fleet.submit(self._function, *args, **kwargs)

    def map(self, *iterables: Iterable[Any]) -> list[Any]:
        """Have it run for each element; return the futures in their order."""
        return self.fleet.map(self._function, *iterables)

    def close(self) -> None:
        """End the pool now; the next call opens another."""
        with self._opening:
            if self._fleet is not None:
                self._fleet.close()
                self._fleet = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Task, (self._function, self._asked)


class Contained(Generic[P, R]):
    """A function that can end itself and not its node: a program's `main`, say, that ends by `sys.exit`.

    Whatever else it raises reaches who waits for it. Two kinds the engine loses, and who waits would wait for
    ever: what is no `Exception`, which its client does not catch, and the thousand frames of a function
    that called itself for too long, which it cannot pickle.

    Args:
        function: what is called.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        named = getattr(function, "func", function)  # of a partial
        self.__name__ = getattr(named, "__name__", type(named).__name__)  # what its task is called by

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it.

        Raises:
            TaskExited: it called `sys.exit`, or raised what is no `Exception`.
        """
        try:
            return self._function(*args, **kwargs)
        except RecursionError as error:
            _shorten(error)
            raise
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - a KeyboardInterrupt would end the node
            what = (
                f"called sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"raised {error!r}"
            )
            hint = "a task ends with a result or an error"
            raise TaskExited(f"{self.__name__} {what}", hint=hint) from None


def _shorten(error: BaseException) -> None:
    """Cut the trace of an error behind its first frames."""
    last = error.__traceback__
    for _ in range(_FRAMES):
        last = last and last.tb_next
    if last:
        last.tb_next = None


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(**asked: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Callable[P, R] | None = None, /, **asked: Any) -> Any:
    """Make a function run on a pool of nodes, opened at its first call.

    Args:
        function: itself, where nothing is asked: `@fleet.task`.
        asked: what `rackrate.Fleet` takes; by default none to four nodes, each until it idles for a minute.
            `gpu="l40s"` has them rented where that GPU is cheapest on that day, by the keys that are set; it
            needs an `image`, and an address `at` which machines reach this one.

    Example:
        >>> from rackrate import fleet
        >>> @fleet.task(nodes=(0, 2), lease_s=30)
        ... def square(x):
        ...     return x * x
        >>> square(3)
        9
        >>> square.close()
    """
    if function is not None:
        return Task(function, _POOL)
    return lambda function: Task(function, _POOL | asked)
