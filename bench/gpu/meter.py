"""Read how many bytes of GPU memory are in use, as torch's allocator and as the driver count them."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import torch


class Meter:
    """Torch's allocator, and the driver's view through the parent process.

    The parent owns NVML: it reads what the whole card has in use without a CUDA context of its own, and
    knows what that was before this process began. Without a GPU (a dry run) every figure is 0.

    Attributes:
        device: what torch calls the GPU, or the CPU in a dry run.
    """

    def __init__(self, device: str, driver: Connection) -> None:
        self.device = torch.device(device)
        self._driver = driver

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU to read."""
        return str(self.device.type) == "cuda"

    def allocated_bytes(self) -> int:
        """Bytes of all live tensors, in the allocator's blocks."""
        return int(torch.cuda.memory_allocated()) if self.on_gpu else 0

    def peak_bytes(self) -> int:
        """Most bytes allocated since the last `restart`."""
        return int(torch.cuda.max_memory_allocated()) if self.on_gpu else 0

    def peak_reserved_bytes(self) -> int:
        """Most bytes the allocator held from the driver since the last `restart`."""
        return int(torch.cuda.max_memory_reserved()) if self.on_gpu else 0

    def reserved_bytes(self) -> int:
        """Bytes the allocator holds from the driver now."""
        return int(torch.cuda.memory_reserved()) if self.on_gpu else 0

    def device_bytes(self) -> int:
        """Bytes in use on the whole card now, less what was before this process, by NVML."""
        self.settle()
        self._driver.send(("device", None))
        return int(self._driver.recv())

    def settle(self) -> None:
        """Wait for the GPU to finish."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def restart(self) -> None:
        """Count the peaks anew from here."""
        self.settle()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()

    def empty(self) -> None:
        """Drop dead objects and give cached blocks back to the driver, then count anew."""
        gc.collect()
        self.settle()
        if self.on_gpu:
            torch.cuda.empty_cache()
        self.restart()


@dataclass(slots=True)
class Reading:
    """What one run of a case showed, in bytes.

    Attributes:
        phases: name of a phase to bytes: `<phase>_peak` while it ran and `<phase>_end` after it.
        peak: most allocated over all phases.
        reserved: most reserved over all phases.
        device: in use on the card at the end, less before the process; the allocator gives nothing
            back in between, so this is the peak too.
    """

    phases: dict[str, int] = field(default_factory=dict)
    peak: int = 0
    reserved: int = 0
    device: int = 0

    @contextlib.contextmanager
    def phase(self, meter: Meter, name: str) -> Iterator[None]:
        """Measure the block as phase `name`; a later phase of that name replaces it, the peak stays."""
        meter.restart()
        yield
        meter.settle()
        self.phases[f"{name}_peak"] = meter.peak_bytes()
        self.phases[f"{name}_end"] = meter.allocated_bytes()
        self.peak = max(self.peak, meter.peak_bytes())
        self.reserved = max(self.reserved, meter.peak_reserved_bytes())
