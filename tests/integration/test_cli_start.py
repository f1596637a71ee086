"""What a command may load: start-up is counted in modules, not in milliseconds of a busy machine."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

HEAVY = (
    "altair",
    "duckdb",
    "numpy",
    "obstore",
    "pandas",
    "platformdirs",
    "pyarrow",
    "pydantic",
    "rich",
    "vl_convert",
)
LISTING = """
import sys
before = set(sys.modules)
from rackrate.cli import status
assert status(sys.argv[1:]) == 0
import json
print(json.dumps(sorted(set(sys.modules) | before)), file=sys.stderr)
"""


def loaded(process: Any, *args: str) -> set[str]:
    ran = process("-c", LISTING, *args)
    assert ran.code == 0, ran.err
    return set(json.loads(ran.err.splitlines()[-1]))


@pytest.mark.parametrize(
    ("args", "allowed", "most"),
    [
        (["--help"], set(), 250),
        (["--version"], set(), 250),
        (["gpus", "--help"], set(), 250),
        (["offers", "--help"], set(), 250),
        (["gpus", "show", "l40s"], set(), 250),
        (["models", "show", "llama-3.1-70b"], set(), 300),
        (["models", "list"], set(), 300),
        (["fit", "--help"], set(), 250),
        (["fit", "llama-3.1-70b", "--gpu", "l40s"], set(), 300),
        (["fit", "llama-3.1-8b", "--task", "lora", "--json"], set(), 300),
        (["models", "--gpu", "l40s", "--name", "llama"], set(), 320),
        (["config", "show"], {"platformdirs"}, 250),
        (["gpu", "l40s"], {"duckdb", "platformdirs"}, 450),
        (["plan", "--help"], set(), 250),
        (["plan", "llama-3.1-8b", "--rps", "1"], {"duckdb", "numpy", "platformdirs"}, 620),
        (["price", "l40s", "--csv"], {"duckdb", "platformdirs"}, 450),
        (["offers", "--gpu", "l40s", "--json"], {"duckdb", "platformdirs"}, 450),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_no_more_than_it_needs(
    args: list[str], allowed: set[str], most: int, process: Any
) -> None:
    modules = loaded(process, *args)
    assert {name for name in HEAVY if name in modules} == allowed
    assert len(modules) <= most


def test_only_the_command_that_is_used_is_loaded(process: Any) -> None:
    modules = loaded(process, "models", "list")
    assert {name for name in modules if name.startswith("rackrate.cli.")} == {
        "rackrate.cli.models",
        "rackrate.cli.output",
    }


def test_a_question_of_memory_loads_nothing_of_the_market(process: Any) -> None:
    modules = loaded(process, "fit", "llama-3.1-70b", "--gpu", "l40s")
    assert not {name for name in modules if name.startswith(("rackrate.market", "rackrate.api"))}
    third_party = (
        {name.split(".")[0] for name in modules} - sys.stdlib_module_names - {"rackrate", "__main__"}
    )
    assert {name for name in third_party if not name.startswith("_")} <= {"click"}


def test_the_package_runs_as_a_module_too(process: Any) -> None:
    ran = process("-m", "rackrate", "--version")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("rackrate, version ")


def test_importing_the_package_reads_neither_data_nor_database(process: Any) -> None:
    ran = process(
        "-c",
        "import rackrate, sys; print(sorted(m for m in sys.modules if 'rackrate' in m or m == 'duckdb'))",
    )
    assert ran.out.strip() == "['rackrate']"
