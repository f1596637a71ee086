"""Architectures: every tensor by role against what transformers builds from the same config."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rackrate.catalog.architecture import Architecture, read_config

DATA = json.loads((Path(__file__).parents[2] / "data" / "architectures.json").read_text(encoding="utf-8"))
BUILT: dict[str, dict[str, Any]] = DATA["models"]


def totals(architecture: Architecture) -> dict[str, int]:
    """Return parameters by role; what sees and hears only as vectors and the rest."""
    found: Counter[str] = Counter()
    for tensor in architecture.tensors:
        role = tensor.role
        if tensor.part in ("vision", "audio", "encoder"):
            role = f"{tensor.part} {'vectors' if role == 'norm' else 'tensors'}"
        if not tensor.is_extra:
            found[role] += tensor.n_params
    return dict(found)


@pytest.mark.parametrize("name", BUILT)
def test_every_role_has_the_parameters_that_transformers_builds(name: str) -> None:
    assert totals(read_config(BUILT[name]["config"])) == BUILT[name]["totals"]
