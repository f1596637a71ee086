"""Read what SGLang measured when it started: 0.4 and 0.5, 2025-01 to 2026-09.

Its "GB" are GiB: `get_available_gpu_memory` returns the free bytes over `1 << 30`, and the pools print
their bytes over `GB = 1024 * 1024 * 1024`. Wordings, from the model runner's and the pools' sources; SGLang
prints no version, so most stand under the month of the log that shows them:

| wording | seen in |
| --- | --- |
| `Load weight end. type=..., dtype=..., avail mem=N GB` (weights: begin less end) | 0.4.1, early 2025 |
| the same with `mem usage=N GB` | later in 2025 |
| `Load weight end. elapsed=N s, type=...` | 2026 |
| `KV Cache is allocated. K size: N GB, V size: N GB.` | 0.4.1, early 2025 |
| the same with `#tokens: N,`; `KV size: N GB` for latent attention | 2025-07 on |
| `Capture cuda graph end. ... mem usage=N GB` | 2025-11, 2026-02 |
| `Capture target verify CUDA graph end. elapsed=..., mem usage=N GB` | 2026-08 on |

A draft model is loaded after the model and prints the same lines: its weights stand apart, its cache
counts with the model's because the lines do not say whose it is.
"""

from __future__ import annotations

import re

from rackrate.fit.logs.lines import (
    NUMBER,
    figures,
    read_figures,
    read_settings,
    serves,
    setting,
    torch_failure,
)
from rackrate.fit.logs.record import Start

NAME = "SGLang"

_SETTINGS = {
    name: name
    for name in (
        "dtype",
        "quantization",
        "context_length",
        "mem_fraction_static",
        "max_running_requests",
        "max_total_tokens",
        "chunked_prefill_size",
        "max_prefill_tokens",
        "kv_cache_dtype",
        "page_size",
        "attention_backend",
        "cuda_graph_max_bs",
        "disable_cuda_graph",
        "enable_dp_attention",
        "speculative_algorithm",
        "cpu_offload_gb",
        "tp_size",
        "pp_size",
        "dp_size",
        "ep_size",
    )
}
_FIGURES = (
    figures("Init torch dist", r"Init torch distributed ends\..*?mem usage=# GB", "distributed_gib"),
    # The sum of the pools of a sliding window, told after each of them.
    figures("SWAKVPool", r"SWAKVPool mem usage: # GB", "kv_gib", is_coarse=True),
    figures("Load weight begin", r"Load weight begin\. avail mem=# GB", "begin_gib"),
)
_RANK = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d((?: [A-Z_]+\d+)+)\]")
_WEIGHTS = re.compile(rf"Load weight end\..*?avail mem={NUMBER} GB(?:, mem usage={NUMBER} GB)?")
_LOADED_DTYPE = re.compile(r"Load weight end\..*?dtype=torch\.(\w+)")
_LOADED_QUANT = re.compile(r"Load weight end\..*?quant=(\w+)")
_KV_PAIR = re.compile(rf"KV Cache is allocated\..*?K size: {NUMBER} GB, V size: {NUMBER} GB")
_KV_ONE = re.compile(rf"KV Cache is allocated\..*?KV size: {NUMBER} GB")
_KV_DTYPE = re.compile(r"Using KV cache dtype: torch\.(\w+)")
_STATE = re.compile(r"(?:conv_state|ssm_state|intermediate_\w+)(?: size)?:? (\d{1,5}\.\d+)\s?GB")
_GRAPH = re.compile(rf"Capture .*?(?:cuda|CUDA) graph end\..*?mem usage={NUMBER} GB")
_LIMITS = re.compile(r"max_total_num_tokens=(\d{1,12})\b")
_ROOM = re.compile(rf"available_gpu_mem={NUMBER} GB")
_VERSION = re.compile(r"sglang(?:[ =]+| version:? v?)(\d+\.\d+[\w.+]*)", re.IGNORECASE)
_SERVING = ("The server is fired up and ready to roll",)
_NO_ROOM = "Not enough memory. Please try to increase --mem-fraction-static"
_FAULT = "Scheduler hit an exception"


class Reader:
    """Reads the lines of one log; `starts` holds what it found.

    Attributes:
        starts: one for each start seen, in order.
        n_hits: lines that only SGLang writes.
    """

    def __init__(self) -> None:
        self.starts = [Start()]
        self.n_hits = 0

    def feed(self, line: str) -> None:
        """Read one line."""
        if "server_args=ServerArgs(" in line:
            self._announce(line)
            self.n_hits += 1
            return
        start = self.starts[-1]
        gpu = _rank(line)
        found = "Load weight" in line and _read_weights(start, gpu, line)
        found |= read_figures(_FIGURES, start, gpu, line)
        found |= "allocated" in line and _read_cache(start, gpu, line)
        found |= _read_rest(start, gpu, line)
        self.n_hits += found

    def _announce(self, line: str) -> None:
        if self.starts[-1].has_body:
            self.starts.append(Start())
        start = self.starts[-1]
        start.model = setting(line, "model_path")
        read_settings(start, line, _SETTINGS, wins=True)

    def finish(self) -> list[Start]:
        """Return the starts, without what was only needed on the way."""
        for start in self.starts:
            for figures_gib in start.gpus.values():
                begin = figures_gib.pop("begin_gib", None)
                if begin is not None:
                    figures_gib.setdefault("free_gib", begin)
            for name in ("disable_cuda_graph", "enable_dp_attention"):
                if start.settings.get(name) == "False":
                    del start.settings[name]
            for name in ("cpu_offload_gb", "speculative_algorithm"):
                if start.settings.get(name) in {"0", "None"}:
                    del start.settings[name]
        return self.starts


def n_gpus(start: Start) -> int:
    """Return the GPUs of a start; with data-parallel attention the replicas share those of `tp_size`."""
    sizes = {name: start.settings.get(name, "") for name in ("tp_size", "pp_size", "dp_size")}
    if not sizes["tp_size"].isdecimal():
        return len(start.gpus)
    product = int(sizes["tp_size"])
    product *= int(sizes["pp_size"]) if sizes["pp_size"].isdecimal() else 1
    shares = "enable_dp_attention" in start.settings
    return product * (int(sizes["dp_size"]) if sizes["dp_size"].isdecimal() and not shares else 1)


def _rank(line: str) -> str:
    """Return the rank that wrote a line: `TP0`, `DP1 TP1 EP1`; `0` where one GPU serves."""
    match = _RANK.search(line) if "[" in line else None
    return match[1].strip() if match else "0"


def _read_weights(start: Start, gpu: str, line: str) -> bool:
    match = _WEIGHTS.search(line)
    if not match:
        return False
    known = start.gpus.setdefault(gpu, {})
    begin = known.pop("begin_gib", None)
    used = float(match[2]) if match[2] else None
    if used is None and begin is not None:
        used = round(begin - float(match[1]), 4)
    is_draft = "weights_gib" in known
    if used is not None:
        # A draft that shares the embedding frees more than it takes: then it took nothing.
        start.put(gpu, "draft_weights_gib" if is_draft else "weights_gib", max(used, 0.0))
    if begin is not None and not is_draft:
        start.put(gpu, "free_gib", begin)
    for name, pattern in (("dtype", _LOADED_DTYPE), ("quantization", _LOADED_QUANT)):
        told = pattern.search(line)
        if told and not is_draft and start.settings.get(name, "auto") == "auto":
            start.settings[name] = told[1]
    return True


def _read_cache(start: Start, gpu: str, line: str) -> bool:
    """Add a pool of keys and values or of recurrent state: hybrid models have several."""
    pair, one = _KV_PAIR.search(line), _KV_ONE.search(line)
    size_gib = float(pair[1]) + float(pair[2]) if pair else float(one[1]) if one else None
    name = "kv_gib"
    if size_gib is None and "Mamba Cache is allocated" in line:
        name, size_gib = "state_gib", sum(float(size) for size in _STATE.findall(line))
    if size_gib is None:
        return False
    start.put(gpu, name, round(start.gpus.get(gpu, {}).get(name, 0.0) + size_gib, 4))
    return True


def _read_rest(start: Start, gpu: str, line: str) -> bool:
    graph = _GRAPH.search(line) if "graph end" in line else None
    if graph:
        before = start.gpus.get(gpu, {}).get("cuda_graph_gib", 0.0)
        start.put(gpu, "cuda_graph_gib", round(before + max(float(graph[1]), 0.0), 4))
    limits = _LIMITS.search(line) if "max_total_num_tokens" in line else None
    if limits:
        replica = next((part for part in gpu.split() if part.startswith("DP")), "0")
        start.engines[replica] = int(limits[1])
        names = {"context_len": "context_length", "max_running_requests": "max_running_requests"}
        read_settings(start, line, names, wins=True)
        room = _ROOM.search(line)
        if room:
            start.put(gpu, "free_after_gib", float(room[1]))
        start.has_body = True
    dtype = _KV_DTYPE.search(line) if "KV cache dtype" in line else None
    if dtype and start.settings.get("kv_cache_dtype", "auto") == "auto":
        start.settings["kv_cache_dtype"] = dtype[1]
    version = _VERSION.search(line) if "glang" in line.lower() else None
    if version:
        start.version = start.version or version[1]
    return _read_outcome(start, line) or bool(graph or limits or dtype)


def _read_outcome(start: Start, line: str) -> bool:
    if serves(start, line, _SERVING):
        return True
    if _NO_ROOM in line:
        start.fail("no room left for a KV cache within mem_fraction_static")
        return True
    if _FAULT in line:
        start.fault = start.fault or "the scheduler hit an exception"
        start.has_body = True
        return True
    torch_failure(start, line)
    return False
