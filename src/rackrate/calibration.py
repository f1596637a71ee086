"""The user's own measured runs: one CSV file of cases, appended to by `rackrate fit --from-log --save`.

The file stands in the user's data folder and has the columns of `rackrate.fit.cases`. The id of a case
begins with the key of its run, made of all that was measured, so that a run is there once however
often its log is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from rackrate.config import calibration_file
from rackrate.durable import write_whole
from rackrate.errors import ImportRejected
from rackrate.fit.cases import Case, read_cases, write_cases

_KEY_LENGTH = 10  # hexadecimal digits: a person's runs are thousands at most


def load(path: Path | None = None) -> tuple[Case, ...]:
    """Return the cases of a calibration file; none when it does not exist.

    Raises:
        ImportRejected: it cannot be read, or holds a row that is no case; the message names file and line.
    """
    path = path or calibration_file()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ImportRejected(f"{path} cannot be read: {error}") from None
    hint = f"mend the file or move it away: {path}"
    try:
        table = read_cases(text)
    except ImportRejected as error:
        raise ImportRejected(f"your calibration file: {error.message}", hint=hint) from None
    if table.rejected:
        first = table.rejected[0]
        raise ImportRejected(f"your calibration file, line {first.line}: {first.reason}", hint=hint)
    return table.cases


def save(cases: Sequence[Case], path: Path | None = None) -> int:
    """Append the cases of one run and return how many were new: all, or none when the run is there.

    The file is replaced at once, so that a reader or a crash never meets half of it.

    Raises:
        ImportRejected: the file that is there is broken; it is left as it is.
    """
    path = path or calibration_file()
    before = load(path)
    key = run_key(cases)
    if not cases or any(case.id.startswith(f"{key}-") for case in before):
        return 0
    named = [replace(case, id=f"{key}-{number}") for number, case in enumerate(cases, start=1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, write_cases([*before, *named]), mark=f".{os.getpid()}")
    return len(named)


def run_key(cases: Iterable[Case]) -> str:
    """Return the key of a run: the same for the same figures and settings, whatever the ids."""
    return sha256(write_cases(replace(case, id="") for case in cases).encode()).hexdigest()[:_KEY_LENGTH]


def nearest_run(
    cases: Iterable[Case], *, model: str, engine: str, gpu: str, precision: str = "", context: int = 0
) -> tuple[Case, ...]:
    """Return the cases of the run that is most like a question: the same model, engine and GPU.

    Of several the one of the same precision, then of the nearest context, then the newest.

    Args:
        cases: in the order in which they were saved.
        model: slug.
        engine: its name, without a version.
        gpu: slug.
        precision: of the weights.
        context: tokens of a sequence.
    """
    runs: dict[str, list[Case]] = {}
    for case in cases:
        name = (case.engine.split() or [""])[0].lower()
        if (case.model, name, case.gpu) == (model, engine, gpu):
            runs.setdefault(case.id.rpartition("-")[0], []).append(case)
    if not runs:
        return ()

    def distance(run: list[Case]) -> tuple[bool, int]:
        return run[0].precision != precision, abs((run[0].context or 0) - context)

    nearest = min(reversed(runs.values()), key=distance)  # the newest of those as near
    return tuple(nearest)
