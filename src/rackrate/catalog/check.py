"""Prove the catalog: every check of GPUs, models, providers and workloads."""

from __future__ import annotations

from rackrate.catalog.check_gpus import check_gpus
from rackrate.catalog.check_models import check_models, check_providers, check_workloads
from rackrate.catalog.problem import Problem


def check_catalog() -> list[Problem]:
    """Return every contradiction in the bundled facts; none in a sound catalog."""
    return [*check_gpus(), *check_models(), *check_providers(), *check_workloads()]
