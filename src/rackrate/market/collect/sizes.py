"""Which GPUs a machine size has, where the price list names the size alone.

The tables are facts of the providers' documents of machine sizes, one pattern a family. `vcpu` and
`ram_gib` stand there only where the price list does not tell them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """Sizes that share a GPU.

    Attributes:
        pattern: of the whole size name; its first group is the vCPUs.
        gpu: raw name.
        form: form factor.
        vram_gib: nominal, where the name alone does not tell.
        sizes: vCPUs to GPUs and memory, GiB.
    """

    pattern: str
    gpu: str
    form: str
    vram_gib: float | None
    sizes: dict[int, tuple[float, float]]


# Source: learn.microsoft.com/azure/virtual-machines/sizes, GPU-accelerated sizes (recalled 2026-11).
AZURE = (
    Family(r"NC(\d+)r?s_v3", "Tesla V100", "PCIe", 16, {6: (1, 112), 12: (2, 224), 24: (4, 448)}),
    Family(r"NC(\d+)as_T4_v3", "Tesla T4", "PCIe", 16,
           {4: (1, 28), 8: (1, 56), 16: (1, 110), 64: (4, 440)}),
    Family(r"NC(\d+)ads_A100_v4", "A100 80GB", "PCIe", 80, {24: (1, 220), 48: (2, 440), 96: (4, 880)}),
    Family(r"NC(\d+)adi?s_H100_v5", "H100 NVL", "NVL", 94, {40: (1, 320), 80: (2, 640)}),
    Family(r"NCC(\d+)ads_H100_v5", "H100 NVL", "NVL", 94, {40: (1, 320)}),
    Family(r"ND(\d+)rs_v2", "Tesla V100", "SXM", 32, {40: (8, 672)}),
    Family(r"ND(\d+)asr(?:_A100)?_v4", "A100 40GB", "SXM", 40, {96: (8, 900)}),
    Family(r"ND(\d+)amsr_A100_v4", "A100 80GB", "SXM", 80, {96: (8, 1900)}),
    Family(r"ND(\d+)isr?f?_H100_v5", "H100", "SXM", 80, {96: (8, 1900)}),
    Family(r"ND(\d+)isr?f?_H200_v5", "H200", "SXM", 141, {96: (8, 1850)}),
    Family(r"ND(\d+)isr?f?_MI300X_v5", "MI300X", "OAM", 192, {96: (8, 1850)}),
    Family(r"ND(\d+)isr_(?:NDR_)?GB200_v6", "GB200", "", None, {128: (4, 900)}),
    Family(r"ND(\d+)isr_(?:NDR_)?GB300_v6", "GB300", "", None, {128: (4, 900)}),
    Family(r"NV(\d+)adm?s_A10_v5", "A10", "PCIe", 24,
           {6: (1 / 6, 55), 12: (1 / 3, 110), 18: (1 / 2, 220), 36: (1, 440), 72: (2, 880)}),
    Family(r"NV(\d+)s_v3", "Tesla M60", "PCIe", 8, {12: (1, 112), 24: (2, 224), 48: (4, 448)}),
    Family(r"NV(\d+)as_v4", "Radeon Instinct MI25", "PCIe", 16,
           {4: (1 / 8, 14), 8: (1 / 4, 28), 16: (1 / 2, 56), 32: (1, 112)}),
    Family(r"NG(\d+)adm?s_V620_v1", "Radeon PRO V620", "PCIe", 32,
           {8: (1 / 4, 16), 16: (1 / 2, 32), 32: (1, 64)}),
)  # fmt: skip

_TYPE = re.compile(r"_Type[12]$")  # the same size on an older or newer host


def find_size(families: Sequence[Family], name: str) -> dict[str, Any] | None:
    """Return the fields of a shape that a size name stands for; None when the table does not have it."""
    name = _TYPE.sub("", name)
    for family in families:
        found = re.fullmatch(family.pattern, name)
        if found and int(found[1]) in family.sizes:
            count, ram_gib = family.sizes[int(found[1])]
            if name == "NV36adms_A10_v5":
                ram_gib = 880
            return {
                "gpu_raw": family.gpu,
                "gpu_count": count,
                "vram_gib": family.vram_gib,
                "interconnect": family.form,
                "vcpu": int(found[1]),
                "ram_gib": ram_gib,
            }
    return None
