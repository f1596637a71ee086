"""Read what vLLM measured when it started: V0 from 0.5 on, V1 up to 0.28.

All its memory is GiB. The lines that say GB (`Loading model weights took 14.99 GB`, until 0.7) divide
by `float(2**30)` in `model_runner.py` of 0.5 to 0.7; from 0.8 the same figure is printed as GiB and
divided by `GiB_bytes`. Wordings, from the worker's and the runner's sources and from issues; where
the log that shows one names no version, the version is the release of its date:

| wording | seen in |
| --- | --- |
| `Loading model weights took N GB`, `# GPU blocks: N` | 0.5 to 0.6.2 (all that V0 said then), V1 to 0.7 |
| `Memory profiling results: total_gpu_memory=NGiB ... peak_torch_memory= ... kv_cache_size=` | 0.6.3, 0.6.4 |
| the same as a table, one figure a line: `non_torch_memory  NGiB` | 0.6.5 |
| `model weights take NGiB; non_torch_memory takes ...; the rest of the memory reserved for ...` | 0.6.6 on |
| `Model loading took N GB and ...`, then `GiB and`, then `GiB memory and` | 0.7.3, 0.8 to 0.11, 2026 |
| `Available KV cache memory: N GiB`, `GPU KV cache size: N tokens` | V1 0.8 on |
| `Actual usage is N GiB for weight, ...` | 0.11 |
| `Actual usage is N GiB for consumed memory (weights + non-torch), ...` | 0.27, 0.28 |

The peak of 0.6.3 and 0.6.4 is `allocated_bytes.all.peak`, weights and all: the activation is what is
left when the weights are taken off.
"""

from __future__ import annotations

import re

from rackrate.fit.logs.lines import (
    COUNT,
    NUMBER,
    count,
    figures,
    gib,
    read_figures,
    read_settings,
    serves,
    torch_failure,
)
from rackrate.fit.logs.record import Start

NAME = "vLLM"

_FIGURES = (
    figures("oading took", r"Model loading took # Gi?B", "weights_gib"),
    figures("model weights took", r"Loading model weights took # GB", "weights_gib"),
    figures("model weights take", r"model weights take #\s*GiB", "weights_gib", is_coarse=True),
    figures("Actual usage", r"Actual usage is # GiB for weights?\b", "weights_gib", is_coarse=True),
    figures("weights memory:", r"weights memory: #GiB", "weights_gib", is_coarse=True),
    figures("total_gpu_memory", r"total_gpu_memory\s*[(=]?\s*#GiB", "total_gib"),
    figures(
        "Free memory on", r"Free memory on device (?:\S+ )?\(#/# GiB\) on startup", "free_gib", "total_gib"
    ),
    figures("non_torch_memory", r"non_torch_memory(?: takes|=)?\s*#GiB", "non_torch_gib"),
    figures("non-torch memory", r"# GiB for non-torch memory", "non_torch_gib"),
    figures("non-torch forward", r"non-torch forward increase memory: #GiB", "non_torch_gib"),
    figures("consumed memory", r"# GiB for consumed memory", "consumed_gib"),
    figures("activation peak", r"PyTorch activation peak memory(?: takes)? #GiB", "activation_gib"),
    figures("peak activation", r"# GiB for peak activation", "activation_gib"),
    figures("torch peak memory", r"torch peak memory increase: #GiB", "activation_gib"),
    figures("peak_torch_memory", r"peak_torch_memory=#GiB", "peak_torch_gib"),
    figures("for KV Cache is", r"rest of the memory reserved for KV Cache is #GiB", "kv_gib"),
    figures("available_kv_cache", r"available_kv_cache_memory #GiB", "kv_gib"),
    figures("kv_cache_size=", r"kv_cache_size=#GiB", "kv_gib"),
    figures("Available KV", r"Available KV cache memory: # GiB", "kv_gib"),
    figures("Graph capturing", r"Graph capturing finished in \S+ secs?, took # GiB", "cuda_graph_gib"),
    figures("graph pool memory", r"CUDA graph pool memory: # GiB \(actual\)", "cuda_graph_gib"),
    figures("CUDAGraph memory", r"# GiB for CUDAGraph memory", "cuda_graph_gib", is_coarse=True),
    figures("Estimated CUDA", r"Estimated CUDA graph memory: # GiB", "cuda_graph_estimated_gib"),
)

# Ours by vLLM's, of its arguments (a Namespace, or since 0.9 only those that differ from the default).
_ARGUMENTS = {
    name: name
    for name in (
        "dtype",
        "quantization",
        "max_model_len",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "enable_expert_parallel",
        "gpu_memory_utilization",
        "max_num_seqs",
        "max_num_batched_tokens",
        "kv_cache_dtype",
        "kv_cache_memory_bytes",
        "enforce_eager",
        "block_size",
        "cpu_offload_gb",
        "enable_lora",
        "max_loras",
        "max_lora_rank",
        "speculative_config",
        "speculative_model",
    )
}
# Of the line that says what the engine made of them.
_CONFIG = _ARGUMENTS | {"max_seq_len": "max_model_len"}
_STATED = (
    ("max_num_batched_tokens", "max_num_batched_tokens", r"max_num_batched_tokens=(\d{1,9})\b"),
    (
        "gpu_memory_utilization",
        "gpu_memory_utilization",
        r"gpu_memory_utilization\s*(?:\(|=)?\s*(\d?\.\d+|1)\b",
    ),
    (
        "GPU memory utilization",
        "gpu_memory_utilization",
        r"Desired GPU memory utilization is \((\d?\.\d+|1),",
    ),
    ("--gpu-memory-util", "gpu_memory_utilization", r"current --gpu-memory-utilization=(\d?\.\d+|1)"),
    ("max model len", "max_model_len", r"Using max model len (\d{1,9})"),
    ("block size to", "block_size", r"Forcing kv cache block size to (\d{1,4})"),
)
_STATED_PATTERNS = tuple((key, name, re.compile(pattern)) for key, name, pattern in _STATED)

_ANNOUNCING = ("LLM engine (v", "API server version", "█")
_ENGINE = re.compile(r"Initializing an? (?:(V\d) )?LLM engine \(v(\S+?)\) with config")
_SERVER = re.compile(r"vLLM API server version v?(\S+)|█\s+version\s+v?(\S+)")
_BANNER_MODEL = re.compile(r"█\s+model\s+(\S+)")
_MODEL = re.compile(r"(?<![\w])['\"]?model(?:_tag)?['\"]?\s*[=:]\s*['\"]([^'\"]+)['\"]")
_STARTING = re.compile(r"Starting to load model (\S+?)\.\.\.")
# `(Worker_DP0_TP1 pid=7)`, `(VllmWorker rank=1 pid=7)`, `(RayWorkerWrapper pid=7, ip=10.0.0.2)`,
# `(VllmWorkerProcess pid=7)`; an EngineCore is the worker itself where there is one GPU an engine.
_PROCESS = re.compile(
    r"\((?P<kind>Vllm\w*?Worker(?:Process)?|Worker(?:Proc)?|RayWorker\w*?|(?:DP)?EngineCore(?:Actor)?)"
    r"(?P<name>[_ ](?!pid=)[\w=]+?)?(?: pid=(?P<pid>\d+))?(?:, ip=(?P<ip>[\d.]+))?\)"
)
_TOKENS = re.compile(rf"(?<!CPU )KV cache size: {COUNT} tokens")
_BLOCKS = re.compile(rf"# (?!CPU)\w+ blocks: {COUNT}")
_CONCURRENCY = re.compile(rf"Maximum concurrency for {COUNT} tokens per request: {NUMBER}x")
_IN_USE = re.compile(rf"Current kv cache memory in use is {NUMBER}\s?(GiB|bytes)")
_IN_USE_BYTES = re.compile(r"Current kv cache memory in use is (\d{1,15}) bytes")

_NEEDED = re.compile(rf"{NUMBER} GiB KV cache is needed, which is larger than .*?\({NUMBER} GiB\)")
_ESTIMATED = re.compile(rf"estimated maximum model length is {COUNT}")
_TOO_LONG = re.compile(rf"max seq len \({COUNT}\) is larger than the maximum number of tokens .*?\({COUNT}\)")
_NO_BLOCKS = "No available memory for the cache blocks"
_NOT_FREE = re.compile(r"Free memory on device .*? is less than desired GPU memory utilization")
_SERVING = ("init engine (profile, create kv cache, warmup model) took", "Avg prompt throughput:")
_FAULTS = (
    "Engine core initialization failed",
    "EngineCore failed to start",
    "Engine process failed to start",
)
_BLOCK_SIZES = (16, 8, 32, 64, 128, 256, 1)  # 16 first: the default on a GPU


class Reader:
    """Reads the lines of one log; `starts` holds what it found.

    Attributes:
        starts: one for each start seen, in order.
        n_hits: lines that only vLLM writes.
    """

    def __init__(self) -> None:
        self.starts = [Start()]
        self.n_hits = 0

    def feed(self, line: str) -> None:
        """Read one line."""
        may_announce = any(word in line for word in _ANNOUNCING)
        self.n_hits += (may_announce and self._announce(line)) or self._read(line)

    def _announce(self, line: str) -> bool:
        """Take a line that opens a start, or one more engine of the same start."""
        start = self.starts[-1]
        engine, server = _ENGINE.search(line), _SERVER.search(line)
        if engine:
            who = _rank(line)
            # Data-parallel engines each announce themselves; the same one twice is a restart.
            if start.has_body and (not start.who or who in start.who or start.failure):
                start = self._open()
            start.who.add(who)
            start.version = engine[2] if engine[2] != "dev" else ""
            start.settings["engine_generation"] = engine[1] or "V0"
            model = _MODEL.search(line)
            start.model = model[1] if model else start.model
            read_settings(start, line, _CONFIG, wins=True)
            return True
        if server:
            start = self._open() if start.has_body else start
            start.version = server[1] or server[2]
            return True
        banner = _BANNER_MODEL.search(line)
        if banner:
            start.model = start.model or banner[1]
        return bool(banner)

    def _open(self) -> Start:
        self.starts.append(Start())
        return self.starts[-1]

    def _read(self, line: str) -> bool:
        start = self.starts[-1]
        gpu = _rank(line)
        found = read_figures(_FIGURES, start, gpu, line)
        found |= _read_cache(start, gpu, line)
        found |= _read_settings(start, line)
        found |= _read_failure(start, line)
        return found

    def finish(self) -> list[Start]:
        """Return the starts, with what two lines together tell."""
        for start in self.starts:
            for figures_gib in start.gpus.values():
                _derive(figures_gib, start)
            _count_tokens(start)
            _tidy(start)
        return self.starts


def n_gpus(start: Start) -> int:
    """Return the GPUs of a start: tensor x pipeline x data parallel, else the ranks that reported."""
    sizes = [start.settings.get(f"{kind}_parallel_size", "") for kind in ("tensor", "pipeline", "data")]
    if not any(sizes):
        return len(start.gpus)
    product = 1
    for size in sizes:
        product *= int(size) if size.isdecimal() else 1
    return product


def _rank(line: str) -> str:
    """Return the rank that wrote a line; the driver of V0 writes without a prefix and is `0`."""
    if "(" not in line:
        return "0"
    rank = "0"
    for match in _PROCESS.finditer(line):
        name = (match["name"] or "").strip("_ ").replace("_", " ").replace("rank=", "rank ")
        if match["kind"].endswith("Actor"):  # data-parallel engines under Ray bear no number
            rank = f"DP pid {match['pid']}"
        elif "EngineCore" in match["kind"]:
            rank = name if name.startswith("DP") and name != "DP0" else "0"
        else:
            rank = name or f"pid {match['pid']}" + (f" of {match['ip']}" if match["ip"] else "")
    return rank


def _read_cache(start: Start, gpu: str, line: str) -> bool:
    """Take the size of the cache in tokens or blocks, and how many requests it holds."""
    tokens = _TOKENS.search(line) if "KV cache size" in line else None
    blocks = _BLOCKS.search(line) if " blocks:" in line else None
    held = _CONCURRENCY.search(line) if "Maximum concurrency" in line else None
    in_use = _IN_USE.search(line) or _IN_USE_BYTES.search(line) if "kv cache memory in use" in line else None
    engine = gpu if gpu.startswith("DP") else "0"
    if tokens:
        start.engines[engine] = count(tokens[1])
    if blocks:
        start.measured["n_blocks"] = count(blocks[1])
    if held:
        start.measured["max_concurrency"] = float(held[2])
        start.settings.setdefault("max_model_len", str(count(held[1])))
    if in_use:
        unit = "bytes" if in_use[0].endswith("bytes") else "GiB"
        start.put_if_new(gpu, "kv_gib", gib(in_use[1], unit))
    found = bool(tokens or blocks or held or in_use)
    start.has_body |= found
    return found


def _read_settings(start: Start, line: str) -> bool:
    is_list = "args: Namespace(" in line or "non-default args" in line or "vllm serve " in line
    if is_list:
        model = _MODEL.search(line)
        start.model = start.model or (model[1] if model else "")
        read_settings(start, line, _ARGUMENTS, wins=False)
    for key, name, pattern in _STATED_PATTERNS:
        match = pattern.search(line) if key in line and not is_list else None
        if match:
            start.settings.setdefault(name, match[1])
    loading = _STARTING.search(line) if "Starting to load model" in line else None
    if loading:
        start.model = start.model or loading[1]
    if "Cudagraph is disabled under eager mode" in line:
        start.settings["enforce_eager"] = "True"
    if "Using FlashInfer for top-p & top-k sampling" in line:
        start.settings["sampler"] = "FlashInfer"
    return bool(loading) or "non-default args" in line


def _read_failure(start: Start, line: str) -> bool:
    """Take what stopped the start, or that nothing did."""
    if serves(start, line, _SERVING):
        return True
    if _NO_BLOCKS in line:
        start.fail("no available memory for the cache blocks")
        return True
    if "KV cache" in line and _read_refusal(start, line):
        return True
    if "Free memory on" in line and _NOT_FREE.search(line):
        # Other processes hold the card: that says nothing of what the model needs.
        start.fault = "less memory free on the card than gpu_memory_utilization asks for"
        start.has_body = True
        return True
    fault = next((word for word in _FAULTS if word in line), "")
    if fault:
        start.fault = start.fault or fault
        start.has_body = True
        return True
    torch_failure(start, line)
    return False


def _read_refusal(start: Start, line: str) -> bool:
    """Take a refusal to start because one request of full length does not fit in the cache."""
    needed, long = _NEEDED.search(line), _TOO_LONG.search(line)
    if needed:
        start.measured |= {"kv_needed_gib": float(needed[1]), "kv_available_gib": float(needed[2])}
        start.fail(f"KV cache of one request needs {needed[1]} GiB, {needed[2]} GiB are available")
    if long:
        start.settings["max_model_len"] = str(count(long[1]))
        start.measured["longest_context_tokens"] = count(long[2])
        start.fail(f"max_model_len {count(long[1])}, the KV cache holds {count(long[2])} tokens")
    length = re.search(rf"max seq len \({COUNT}\)", line)
    if needed and length:
        start.settings["max_model_len"] = str(count(length[1]))
    estimated = _ESTIMATED.search(line)
    if estimated:
        start.measured["longest_context_tokens"] = count(estimated[1])
    return bool(needed or long)


def _derive(figures_gib: dict[str, float], start: Start) -> None:
    """Take the weights off the figures that include them; a negative room is a lack."""
    peak = figures_gib.pop("peak_torch_gib", None)
    consumed = figures_gib.pop("consumed_gib", None)
    weights = figures_gib.get("weights_gib", start.gpus.get("0", {}).get("weights_gib"))
    if weights is not None and peak is not None:
        figures_gib.setdefault("activation_gib", round(max(peak - weights, 0.0), 4))
    if weights is not None and consumed is not None:
        figures_gib.setdefault("non_torch_gib", round(max(consumed - weights, 0.0), 4))
    if figures_gib.get("kv_gib", 0.0) < 0:
        figures_gib["kv_missing_gib"] = -figures_gib.pop("kv_gib")


def _count_tokens(start: Start) -> None:
    """Turn blocks into tokens; the line about concurrency tells the size of a block."""
    n_blocks = start.measured.pop("n_blocks", 0)
    if not n_blocks or start.engines:
        return
    size = start.settings.get("block_size", "")
    if size.isdecimal():
        start.engines["0"] = n_blocks * int(size)
        return
    length = start.settings.get("max_model_len", "")
    held = start.measured.get("max_concurrency", 0.0) * int(length) if length.isdecimal() else 0.0
    # The concurrency has two decimals, so the nearest size is the one.
    block = min(_BLOCK_SIZES, key=lambda each: abs(held / n_blocks - each)) if held else _BLOCK_SIZES[0]
    start.engines["0"] = n_blocks * block


def _tidy(start: Start) -> None:
    """Leave out switches that are off and a draft's description, which is not one word."""
    for name in ("enforce_eager", "enable_expert_parallel", "enable_lora"):
        if start.settings.get(name) == "False":
            del start.settings[name]
    for name in ("cpu_offload_gb", "kv_cache_memory_bytes"):
        if start.settings.get(name) in {"0", "0.0"}:
            del start.settings[name]
    if start.settings.pop("speculative_config", "") or start.settings.get("speculative_model"):
        start.settings["speculative"] = "yes"
