"""What a check of the catalog reports: a fact that cannot be true beside the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A broken rule.

    Attributes:
        where: the file or slug and, where it has one, the fact: `l40s.tdp_w`.
        rule: stable name of the rule, for example `bandwidth`.
        says: what is wrong, with the values.
    """

    where: str
    rule: str
    says: str

    def __str__(self) -> str:
        return f"{self.where}: {self.says} ({self.rule})"
