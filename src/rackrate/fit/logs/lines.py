"""Take a log apart: lines without colours, numbers, settings; the messages that engines share.

Patterns are searched for inside a line, so that whatever docker, Kubernetes, journald or a notebook
put before it does not matter. A pattern is tried only on lines that hold its key word: a hundred
thousand lines of a server's chatter take about five seconds. Numbers are bounded in length: a line of
noise must not become infinity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rackrate.fit.logs.record import Start
from rackrate.units import GIB_PER_UNIT

NUMBER = r"(-?\d{1,9}(?:\.\d{1,12})?)"
COUNT = r"(\d{1,12}|\d{1,3}(?:,\d{3}){1,4})"

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# PyTorch says GiB and MiB and divides by 1024^3 and 1024^2 (its allocator's format_size).
_TORCH_ASKED = re.compile(rf"Tried to allocate {NUMBER} ([GMK]iB|bytes)")
_TORCH_ROOM = re.compile(rf"total capacity of {NUMBER} ([GMK]iB) of which {NUMBER} ([GMK]iB|bytes) is free")

# A terminal may have cut what states settings into pieces of its width; none but the first begins a record.
_STATING = ("non-default args: {", "args: Namespace(", "LLM engine (v")
_RECORD = re.compile(r"\(\w[^)]* pid=\d|\[\d{4}-\d\d-|\b(?:INFO|DEBUG|WARNING|ERROR|CRITICAL)\b")
_PREFIX = (
    80  # characters in which a record begins, behind what a container put there; no terminal is narrower
)
_TRIMMED = 13  # what a terminal counts and a copy loses: the colours of a process's name
_LEAST_PIECES = 3  # so many lines are as long as the longest where a text was cut: two GPUs say things twice


@dataclass(frozen=True, slots=True)
class Figures:
    """A line that states figures of one GPU, all in the unit that the engine divides by.

    Attributes:
        key: a word that the line holds; tried before the pattern.
        pattern: with one group for each name.
        names: of the groups, see `record`.
        is_coarse: the line rounds a figure that another line gives with more digits.
    """

    key: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    is_coarse: bool = False


def figures(key: str, pattern: str, *names: str, is_coarse: bool = False) -> Figures:
    """Return a line's figures; in `pattern` a blank stands for any run of them, `#` for a number."""
    text = pattern.replace("#", NUMBER).replace(" ", r"\s+")
    return Figures(key, re.compile(text), names, is_coarse)


def read_figures(table: tuple[Figures, ...], start: Start, gpu: str, line: str) -> bool:
    """Put every figure of the table that `line` states under `gpu`; tell whether there was any."""
    found = False
    for entry in table:
        match = entry.pattern.search(line) if entry.key in line else None
        if not match:
            continue
        found = True
        for name, text in zip(entry.names, match.groups(), strict=True):
            put = start.put_if_new if entry.is_coarse else start.put
            put(gpu, name, float(text))
    return found


def clean_lines(text: str) -> Iterator[str]:
    """Yield the lines without terminal colours; progress bars that overwrite themselves come apart."""
    for line in text.splitlines():
        yield _COLOUR.sub("", line) if "\x1b" in line else line


def whole_lines(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines, those that state settings put together again where a terminal cut them.

    A text was cut where several lines are as long as the longest: those that went on.
    """
    full = max(max(map(len, lines), default=0) - _TRIMMED, _PREFIX)
    is_cut = sum(len(line) >= full for line in lines) >= _LEAST_PIECES
    held, goes_on = "", False
    for line in lines:
        if goes_on and not _RECORD.search(line[:_PREFIX]):
            held += line
        else:
            if held:
                yield held
            held = line if is_cut and any(words in line for words in _STATING) else ""
            if not held:
                yield line
        goes_on = bool(held) and len(line) >= full
    if held:
        yield held


def count(text: str) -> int:
    """Return a count that may be written with thousands separators: `143,360`."""
    return int(text.replace(",", ""))


def gib(value: str, unit: str) -> float:
    """Return a size in GiB; `unit` is binary (GiB, MiB, KiB) or bytes."""
    return float(value) * GIB_PER_UNIT["B" if unit == "bytes" else unit.upper()]


def setting(line: str, name: str) -> str:
    """Return the value of `name=value`, `'name': value` or `--name value`; empty if absent or None."""
    option = name.replace("_", "[_-]")
    match = re.search(rf"(?<![\w.]){option}['\"]?\s*[=:]\s*(?:'([^']*)'|\"([^\"]*)\"|([^\s,)}}]+))", line)
    match = match or re.search(rf"--{option}[ =](?:'([^']*)'|\"([^\"]*)\"|([^\s,)}}\]]+))", line)
    if not match:
        return ""
    value = next((part for part in match.groups() if part), "")
    return "" if value == "None" else value.removeprefix("torch.")


def read_settings(start: Start, line: str, names: dict[str, str], *, wins: bool) -> None:
    """Note the settings that `line` states.

    Args:
        start: where they are kept.
        line: a line that lists settings.
        names: our name by the engine's.
        wins: the line tells what the engine made of its arguments and overrides them.
    """
    for theirs, ours in names.items():
        value = setting(line, theirs)
        if value and (wins or ours not in start.settings):
            start.settings[ours] = value


def serves(start: Start, line: str, own: tuple[str, ...]) -> bool:
    """Note that the engine serves; tell whether the engine itself said so.

    uvicorn's words are those of every web server: they count only for a start that measured
    something and met no fault, so that another server in the same log cannot vouch for this one.
    """
    if any(word in line for word in own):
        start.serve()
        return True
    is_up = "Application startup complete" in line or "Uvicorn running on" in line
    if is_up and start.has_body and not start.failure and not start.fault:
        start.serve()
    return False


def torch_failure(start: Start, line: str) -> bool:
    """Note PyTorch's out-of-memory error, if `line` is one; the words of advice in logs are not.

    Logs are full of "if out-of-memory error occurs ...": only the error itself counts.
    """
    asked = _TORCH_ASKED.search(line)
    is_error = "CUDA out of memory" in line or "HIP out of memory" in line or "OutOfMemoryError" in line
    if not (is_error or "CUDA error: out of memory" in line):
        return False
    if not asked and start.failure:
        return True
    reason = "out of memory"
    if asked:
        start.measured["asked_gib"] = gib(asked[1], asked[2])
        reason += f": {asked[1]} {asked[2]} asked"
    room = _TORCH_ROOM.search(line)
    if room:
        reason += f", {room[3]} {room[4]} of {room[1]} {room[2]} free"
    if asked and start.failure == "out of memory":
        start.failure = ""  # the bare name of the error came first; this line has its numbers
    start.fail(reason)
    return True
