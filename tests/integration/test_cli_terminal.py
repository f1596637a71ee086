"""On a terminal people get tables; nothing is lost where it is narrow, colourless or dumb."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import Any

import pytest

import rackrate

COLOUR = re.compile(r"\x1b\[[0-9;]*?(3[0-7]|9[0-7]|38)[0-9;]*m")
RUN = "from rackrate.cli import run; run()"


def on_terminal(*args: str, columns: int = 80, **env: str) -> str:
    """Return what a command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "LINES")}
    settings = {**kept, "TERM": "xterm-256color", "RACKRATE_NOW": "2026-08-22T12:00:00+00:00", **env}
    with subprocess.Popen([sys.executable, "-c", RUN, *args], stdout=theirs, stderr=theirs, env=settings):
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    return b"".join(parts).decode()


def visible(text: str) -> list[str]:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()


@pytest.mark.parametrize("columns", [80, 200])
def test_every_provider_and_price_of_a_spread_is_whole(columns: int) -> None:
    shown = on_terminal("price", "l40s", columns=columns)
    spread = rackrate.price("l40s").spread
    assert spread is not None
    lines = visible(shown)
    assert "\x1b[1m" in shown
    assert max(map(len, lines)) <= columns
    for provider, usd in spread.by_provider.items():
        assert any(re.match(rf"{provider} +{usd:.3f} ", line) for line in lines)


@pytest.mark.parametrize("columns", [60, 80, 120, 400])
def test_a_wide_table_loses_no_cell_at_any_width(columns: int) -> None:
    lines = visible(on_terminal("offers", "--gpu", "l40s", columns=columns))
    text = "".join(lines)
    assert max(map(len, lines)) <= columns
    assert "…" not in text
    joined = re.sub(r"\s+", "", text)
    for offer in rackrate.offers("l40s", limit=20):
        assert offer.provider in joined
        assert f"{offer.usd_per_hour:,.3f}" in joined
        assert re.sub(r"\s+", "", offer.sku or "notsaid") in joined
        assert re.sub(r"\s+", "", offer.region or "notsaid") in joined


def test_a_dossier_at_80_columns_has_every_provider_and_draws_the_history() -> None:
    shown = on_terminal("gpu", "l40s")
    lines = visible(shown)
    assert max(map(len, lines)) <= 80
    assert COLOUR.search(shown)
    assert sum(any(0x2800 <= ord(sign) < 0x2900 for sign in line) for line in lines) == 8
    assert any(line.rstrip().endswith("USD/GPU-h") and "2026-08-22" in line for line in lines)
    text = "\n".join(lines)
    assert all(offer.provider in text for offer in rackrate.gpu("l40s").offers)


def test_no_color_leaves_no_colour() -> None:
    for args in (("gpu", "l40s"), ("gpu", "l40sx")):
        shown = on_terminal(*args, NO_COLOR="1")
        assert visible(shown)
        assert not COLOUR.search(shown)
    assert COLOUR.search(on_terminal("gpu", "l40sx"))


def test_a_dumb_terminal_gets_the_text_of_a_pipe(cli: Any) -> None:
    shown = on_terminal("price", "l40s", TERM="dumb")
    assert "\x1b" not in shown
    assert shown.replace("\r\n", "\n") == cli("price", "l40s").out
    assert "\x1b" not in on_terminal("gpu", "l40sx", TERM="dumb")


@pytest.mark.parametrize("form", ["--json", "--csv", "--md"])
def test_forms_for_programs_are_the_same_on_a_terminal(form: str, cli: Any) -> None:
    shown = on_terminal("price", "l40s", form).replace("\r\n", "\n")
    assert shown == cli("price", "l40s", form).out


def test_a_pipe_is_no_terminal_whatever_the_environment_says(process: Any) -> None:
    ran = process("-c", RUN, "price", "l40s", FORCE_COLOR="1", CLICOLOR_FORCE="1", COLUMNS="20")
    plain = process("-c", RUN, "price", "l40s")
    assert ran.code == 0
    assert ran.out == plain.out
    assert "\x1b" not in ran.out


def test_a_pipe_of_another_encoding_is_no_fault(process: Any) -> None:
    ran = process("-c", RUN, "price", "l40s", "--json", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ran.code == 0, ran.err
    assert ran.json["gpu"] == "l40s"


def test_an_output_that_is_closed_is_no_fault() -> None:
    words = ["sh", "-c", 'exec "$0" -c "$1" gpu l40s >&-', sys.executable, RUN]
    now = {"RACKRATE_NOW": "2026-08-22T12:00:00+00:00"}
    done = subprocess.run(words, capture_output=True, check=False, env=os.environ | now)
    assert (done.returncode, done.stderr) == (0, b"")
