"""Everything that can go wrong, as one tree.

Each class says when it is raised. `code` is stable and documented in docs/reference/errors.md;
tests and programs match on it, never on words. The message says what happened (with the value) and
why; `hint` says what to do next, so that a face may set it apart.

    RackrateError
      UsageError           2 / 400   the question is malformed
        UnknownName        2 / 404   no such GPU, model, provider, column...: with the nearest
        BadQuantity        2 / 400   a number, range, date or price that cannot be read
      NoAnswer             3 / 404   a good question without an answer, with the nearest miss
        NothingFits        3 / 404   no GPU for rent holds the model, keeps the promise and the budget
      DataError            4 / 503   data missing, too old, broken or not to be trusted
        CatalogInvalid     4 / 503   a bundled fact contradicts itself
        ImportRejected     4 / 422   a price list or a model's file that cannot be taken at all
        StoreBroken        4 / 503   a file of the market store cannot be read
        StaleData          4 / 503   older than --max-age
      ProviderError        5 / 502   a provider's API said no, or nothing
        MissingCredential  5 / 401   the environment lacks the key of a provider
        AuthRejected       5 / 401   a provider does not take the key
        RateLimited        5 / 429   a provider was asked too often; the error says when it may be asked again
        ProviderDown       5 / 502   no answer, or one that cannot be read: what was asked for may be done
      FleetError           5 / 500   nodes, or the fleet that keeps them, failed
        BootFailed         5 / 500   nodes do not come up; what they wrote last is in the message
          EngineMismatch   5 / 500   a node runs other versions than its owner
        FleetClosed        5 / 410   the fleet has ended: the message says why
        TaskExited         5 / 500   a task called `sys.exit`, or was interrupted inside
        InvalidTransition  5 / 500   a fault of ours in the life of a node, with its story
      Refused              6 / 403   nothing was changed
        OverBudget         6 / 402   it would cost more than the budget
      InternalError        1 / 500   a fault of ours
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class RackrateError(Exception):
    """Base of all our errors.

    Attributes:
        code: stable identifier, for example `unknown-gpu`.
        message: what happened and why, in one sentence that names the value.
        hint: what to do next; may be empty.
        exit_code: process exit status of the command line.
        http_status: status of the JSON API.
    """

    code = "error"
    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code:
            self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by attributes: errors cross process boundaries."""
        return (_rebuild, (type(self), self.args, self.__dict__))

    def to_problem(self) -> dict[str, Any]:
        """Return the error as an RFC 9457 problem object, the same for `--json` and the API."""
        return {
            "type": f"/errors/{self.code}",
            "title": self.code.replace("-", " "),
            "status": self.http_status,
            "detail": self.message,
            "hint": self.hint,
            "code": self.code,
        }


def _rebuild(cls: type[RackrateError], args: tuple[Any, ...], state: dict[str, Any]) -> RackrateError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class UsageError(RackrateError):
    """The question is malformed."""

    code = "usage"
    exit_code = 2
    http_status = 400


class UnknownName(UsageError):
    """A name that nothing answers to.

    Args:
        kind: what was looked for, in the singular: `GPU`, `model`, `column`.
        name: the name as given.
        nearest: the closest valid names, best first.
        why: replaces the default reason, for example when a name fits several things.
        hint: what to do next, where there is no nearest name.
    """

    code = "unknown-name"
    http_status = 404

    def __init__(
        self, kind: str, name: str, nearest: Sequence[str] = (), *, why: str = "", hint: str = ""
    ) -> None:
        hint = f"did you mean {_or(nearest)}?" if nearest else hint
        super().__init__(
            f"unknown {kind} {name!r}" + (f": {why}" if why else ""),
            hint=hint,
            code=f"unknown-{kind.lower().replace(' ', '-')}",
        )
        self.kind = kind
        self.name = name
        self.nearest = tuple(nearest)


class BadQuantity(UsageError):
    """A number, range, date, duration or price that cannot be read or is out of bounds."""

    code = "bad-quantity"


class NoAnswer(RackrateError):
    """A good question that has no answer; the message names the nearest miss."""

    code = "no-answer"
    exit_code = 3
    http_status = 404


class NothingFits(NoAnswer):
    """No machine for rent holds the model, keeps the promise and stays in the budget."""

    code = "nothing-fits"


class DataError(RackrateError):
    """Data missing, too old, broken or not to be trusted."""

    code = "data"
    exit_code = 4
    http_status = 503


class CatalogInvalid(DataError):
    """A bundled fact contradicts itself or its schema."""

    code = "catalog-invalid"


class ImportRejected(DataError):
    """A price list or a model's file that cannot be taken at all: nothing of it was stored."""

    code = "import-rejected"
    http_status = 422


class StoreBroken(DataError):
    """A file of the market store is missing, truncated or of another schema."""

    code = "store-broken"


class StaleData(DataError):
    """The newest data are older than the caller allows."""

    code = "stale-data"


class ProviderError(RackrateError):
    """A provider's API said no; the message has its words.

    Args:
        message: who was asked for what, and the answer.
        status: of the answer; 0 where there was none.
        words: the provider's own.
    """

    code = "provider"
    exit_code = 5
    http_status = 502

    def __init__(
        self, message: str, *, status: int = 0, words: str = "", hint: str = "", code: str = ""
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.status = status
        self.words = words


class MissingCredential(ProviderError):
    """The environment lacks the key of a provider."""

    code = "missing-credential"
    http_status = 401


class AuthRejected(ProviderError):
    """A provider does not take the key."""

    code = "auth-rejected"
    http_status = 401


class RateLimited(ProviderError):
    """A provider was asked too often, and has done nothing.

    Args:
        message: who was asked for what.
        again_s: seconds until it may be asked again.
    """

    code = "rate-limited"
    http_status = 429

    def __init__(self, message: str, *, again_s: float = 0.0, hint: str = "", code: str = "") -> None:
        hint = hint or (f"it may be asked again in {again_s:.0f} s" if again_s else "")
        super().__init__(message, status=429, hint=hint, code=code)
        self.again_s = again_s


class ProviderDown(ProviderError):
    """No answer, or one that cannot be read: what was asked for may have been done."""

    code = "provider-down"


class FleetError(RackrateError):
    """Nodes, or the fleet that keeps them, failed."""

    code = "fleet"
    exit_code = 5


class BootFailed(FleetError):
    """Nodes, or what keeps them, do not come up."""

    code = "boot-failed"


class EngineMismatch(BootFailed):
    """A node runs other versions than its owner: what one pickles the other may not read."""

    code = "engine-mismatch"


class FleetClosed(FleetError):
    """The fleet has ended; the message says why."""

    code = "fleet-closed"
    http_status = 410


class TaskExited(FleetError):
    """A task called `sys.exit`, or raised what is no `Exception`: it has no result."""

    code = "task-exited"


class InvalidTransition(FleetError):
    """A node was to go from one state into another that does not follow it: a fault of ours.

    Args:
        message: which node, from which state to which.
        story: every change of the node before, oldest first.
    """

    code = "invalid-transition"

    def __init__(self, message: str, *, story: Sequence[str] = (), hint: str = "", code: str = "") -> None:
        super().__init__(message, hint=hint or "; ".join(story), code=code)
        self.story = tuple(story)


class Refused(RackrateError):
    """Something we will not do; nothing was changed."""

    code = "refused"
    exit_code = 6
    http_status = 403


class OverBudget(Refused):
    """It would cost more than the budget."""

    code = "over-budget"
    http_status = 402


class InternalError(RackrateError):
    """A fault of ours: please report it."""

    code = "internal"


def nearest(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """Return up to `n` of `choices` that look most like `name`, best first, case folded."""
    folded = {choice.casefold(): choice for choice in choices}
    return [folded[hit] for hit in get_close_matches(name.casefold(), folded, n=n, cutoff=0.5)]


def _or(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
