"""The documents are executable: what they show is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from rackrate import cli
from rackrate.errors import RackrateError
from rackrate.fleet.backends.hosts import read_hosts
from rackrate.market.quality import RULES

ROOT = Path(__file__).resolve().parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_shown_output_is_the_output() -> None:
    done = subprocess.run(
        [sys.executable, "tools/update_docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_python_of_the_readme_does_what_its_comments_say() -> None:
    code = re.search(r"## In Python\n+```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code
    names: dict[str, object] = {}
    n_checked = 0
    for line in code[1].splitlines():
        shown, _, comment = line.partition("#")
        if comment:
            assert repr(eval(shown, names)) == comment.strip(), line  # noqa: S307 - our own README
            n_checked += 1
        else:
            exec(shown, names)  # noqa: S102 - our own README
    assert n_checked >= 4


def test_the_fleet_of_the_readme_does_what_its_comments_say() -> None:
    code = re.search(r"## Run it there\n+```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code
    shown = re.compile(r"^( *)(\S.*?)  # (.*)$", re.MULTILINE)
    assert len(shown.findall(code[1])) == 4
    checked = shown.sub(r"\1assert repr(\2) == '\3', repr(\2)", code[1])
    exec(checked, {"__name__": "__main__"})  # noqa: S102 - our own README; functions of a script travel


def test_the_price_list_of_the_how_to_goes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs/how-to/import-prices.md").read_text()
    for language, name in (("csv", "acme.csv"), ("toml", "acme.toml")):
        block = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
        assert block
        (tmp_path / name).write_text(block[1])
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    rackrate (market import --mapping .*)$", text, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert cli.status([*command.split(), "--data", "store"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert cli.status(["offers", "--gpu", "l40s", "--kind", "any", "--csv", "--data", "store"]) == 0
    assert capsys.readouterr().out.count("acme") == 6  # provider and source of three offers


def test_links_between_documents_resolve() -> None:
    for path in DOCS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_every_command_and_rule_is_documented() -> None:
    texts = "\n".join(path.read_text() for path in DOCS)
    for command in cli.main.list_commands(None):  # type: ignore[arg-type]
        assert f"`{command}`" in texts or f"rackrate {command}" in texts, command
    rules = (ROOT / "docs/concepts/prices.md").read_text()
    for number in {rule.number for rule in RULES}:
        assert f"| {number} |" in rules


def _classes(base: type[RackrateError]) -> list[type[RackrateError]]:
    return [base, *(leaf for child in base.__subclasses__() for leaf in _classes(child))]


def test_every_error_code_is_documented() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text()
    for cls in _classes(RackrateError):
        if cls.code not in ("error", "unknown-name"):
            assert f"`{cls.code}`" in text, cls


def test_version_of_package_and_changelog_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_hosts_of_the_how_to_are_read(tmp_path: Path) -> None:
    text = (ROOT / "docs/how-to/fleet-on-your-own-machines.md").read_text()
    shown = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert shown
    (tmp_path / "rack.toml").write_text(shown[1])
    hosts = read_hosts([str(tmp_path / "rack.toml")])
    assert [(host.address, host.slots) for host in hosts] == [("me@gpu1", 4), ("me@gpu2:2222", 1)]


def test_the_commands_of_that_how_to_have_the_options_that_it_shows() -> None:
    text = (ROOT / "docs/how-to/fleet-on-your-own-machines.md").read_text()
    shown = re.findall(r"^    rackrate (fleet run|run) (.*?) -- ", text, re.MULTILINE)
    assert len(shown) == 2
    for words, rest in shown:
        command: click.Command = cli.main
        for word in words.split():
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), word)
            assert found
            command = found
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known
