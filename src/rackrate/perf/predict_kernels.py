"""What does the model say of a measured kernel: one matrix product, one all-reduce?

A matrix product takes FLOP / (peak x efficiency) and bytes / (bandwidth x efficiency), joined as in a step,
and its launch; an all-reduce a latency and 2 (n - 1) / n x message / (link x efficiency).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rackrate.errors import NoAnswer
from rackrate.perf.cases import PerfCase
from rackrate.perf.chip import MICRO, Chip, chip_of
from rackrate.perf.wording import gpu_meant

_BYTES: Mapping[str, tuple[str, float]] = {"fp8": ("fp8", 1.0), "fp4": ("fp4", 0.56), "int8": ("int8", 1.0)}
_SHARP = 3.0
_NUMBERS = re.compile(r"\b(message_elements|[mnk])=(\d+)")


def kernel_keys(case: PerfCase) -> dict[str, tuple[str, ...]]:
    """Return the factors of a kernel, each with the keys that may have a multiplier.

    Raises:
        NoAnswer: no speed of the GPU is known.
        UnknownName: no such GPU.
    """
    chip = chip_of(gpu_meant(case.gpu)[0])
    n = min(case.gpu_count, 8)
    number, _ = _BYTES.get(case.precision.lower(), ("fp16", 2.0))
    hardware = (chip.kind, chip.gpu)
    link = (chip.link, f"{chip.link}:x{n}", f"{chip.gpu}:x{n}")
    return {
        "compute": (*hardware, chip.number(number)),
        "memory": hardware,
        "launch_us": hardware,
        "link": link,
        "link_us": (chip.link, f"x{n}", f"{chip.link}:x{n}", chip.gpu),
    }


def kernel_s(case: PerfCase, values: Mapping[str, float]) -> float:
    """Return the time of a kernel, s.

    Args:
        case: its value is not read.
        values: of the factors that `kernel_keys` names.

    Raises:
        NoAnswer: the case does not say how large the kernel is.
        UnknownName: no such GPU.
    """
    chip = chip_of(gpu_meant(case.gpu)[0])
    said = {name: float(text) for name, text in _NUMBERS.findall(case.extra)}
    if case.workload == "comm":
        if "message_elements" not in said:
            raise NoAnswer("the case does not say how large the message is")
        return _all_reduce_s(chip, case.gpu_count, 2 * said["message_elements"], values)
    if not {"m", "n", "k"} <= said.keys():
        raise NoAnswer("the case does not say how large the matrices are")
    number, size = _BYTES.get(case.precision.lower(), ("fp16", 2.0))
    m, n, k = said["m"], said["n"], said["k"]
    compute = 2 * m * n * k / (chip.peak(number) * chip.reached_frac * values["compute"])
    memory = (size * (n * k + m * k) + 2 * m * n) / (chip.bandwidth * values["memory"])
    joined: float = (compute**_SHARP + memory**_SHARP) ** (1 / _SHARP)
    return joined + values["launch_us"] * MICRO


def _all_reduce_s(chip: Chip, n: int, message: float, values: Mapping[str, float]) -> float:
    trips = 2 * (n - 1) / n
    return values["link_us"] * MICRO + trips * message / (chip.link_bandwidth * values["link"])
