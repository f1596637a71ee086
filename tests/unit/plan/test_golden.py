"""A few plans over the bundled sample, kept: `python tools/update_plans.py` answers them anew."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((Path(__file__).parent / "golden").glob("*.json"))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("update_plans", ROOT / "tools" / "update_plans.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(found: Any, kept: Any) -> bool:
    """Tell whether two answers are one, but for what floating point does to the last digits."""
    if isinstance(kept, dict):
        return found.keys() == kept.keys() and all(close(found[key], kept[key]) for key in kept)
    if isinstance(kept, list):
        return len(found) == len(kept) and all(map(close, found, kept))
    if isinstance(kept, float):
        return bool(found == pytest.approx(kept, rel=2e-3))
    return bool(found == kept)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_kept_plan_is_still_the_plan(path: Path, tool: ModuleType) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))
    found = json.loads(json.dumps(tool.answer(kept["asked"])))
    assert close(found, kept["answer"]), json.dumps(found, indent=2)


def test_there_are_plans_to_keep() -> None:
    assert len(FILES) >= 4
