"""Read what llama.cpp measured when it started: 2023-09 to builds of 2026, and what is built on it.

Sizes are MiB, bytes over 1024 twice in its own sources. The buffers have been printed in one shape
since 2023, `<function>: <device> <what> buffer size = N MiB`, while the functions changed their names
(`llm_load_tensors` to `load_tensors`, `llama_new_context_with_model` to `llama_init_from_model` to
`llama_context`, `llama_kv_cache_init` to `llama_kv_cache_unified` to `llama_kv_cache`, and `reserve` to
`sched_reserve`): so the shape is read and the names are not. Only the weights of early 2024 lack
their `<what>`: `llm_load_tensors: CUDA0 buffer size`.

Which buffers are the card's: `CPU*`, `*_Host`, `BLAS` and `AMX` are the host's memory (pinned or mapped);
all others are a device's, `Metal_Mapped` and `MTL0_Mapped` those of the GPU that maps the file.

`-fit` loads the model without memory before it loads it, and prints the same lines at the higher log
levels: what stands between "getting device memory data" and "fitting params ... took" is a trial. Its
sum, "projected to use", is kept as projected. A second model before the server is up is a draft.

Ollama's runner and koboldcpp print llama.cpp's lines. Ollama's own engine prints sizes with one
decimal (`msg="model weights" device=CUDA0 size="4.1 GiB"`): read only where there is nothing finer,
because for llama.cpp's runner the same words are an estimate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rackrate.fit.logs.lines import COUNT, NUMBER, count, gib
from rackrate.fit.logs.record import Start

NAME = "llama.cpp"

_MIB = 2.0**-10

_BUFFER = re.compile(rf"([\w\[\].:-]+)\s+(model|KV|RS|compute)\s+buffer size\s*=\s*{NUMBER} MiB")
_OLD_WEIGHTS = re.compile(rf"llm_load_tensors:\s+([\w\[\].:-]+)\s+buffer size\s*=\s*{NUMBER} MiB")
_HOST = re.compile(r"CPU|BLAS|AMX|Host$|.*_Host$")
_KV_SIZE = re.compile(rf"size\s*=\s*{NUMBER} MiB(?: \(\s*{COUNT} cells[^)]*\))?, K \((\w+)\):.*?V \((\w+)\)")
_CONTEXT = re.compile(r"\b(n_ctx(?:_per_seq|_seq)?|n_u?batch|n_seq_max|flash_attn|kv_unified)\s*=\s*'?(\w+)")
_FLASH = re.compile(r"Flash Attention (?:was auto, set to )?(enabled|disabled)")
_LAYERS = re.compile(r"offloaded\s+(\d{1,5}/\d{1,5}) layers to GPU")
_DEVICE = re.compile(r"using device (\w+) \((.*)\) - (\d{1,9}) MiB free")
_FOUND = re.compile(r"found (\d{1,3}) (CUDA|ROCm|MUSA|SYCL) devices")
_CARD = re.compile(r"\bDevice (\d{1,3}): ([^,]+), (?:compute capability|gfx)(?:.*?VRAM: (\d{1,9}) MiB)?")
_BREAKDOWN = re.compile(r"\|\s+- (\w+) \((.+?)\)\s*\|\s*(\d{1,9}) = (-?\d{1,9}) \+ \(")
_PROJECTED = re.compile(r"projected to use (\d{1,9}) MiB of device memory vs\. (a total of )?(\d{1,9}) MiB")
_REDUCED = re.compile(r"context size reduced from (\d{1,9}) to (\d{1,9})")
_OVERFLOW = re.compile(r"\(\d+ overflowing\)|buffer type overrid+en to CPU")

_META = re.compile(r"loaded meta data with .*? from (.+?) \(version")
_FILE_TYPE = re.compile(r"(?:file type|model ftype)\s*=\s*(.+?)\s*$")
_FILE_SIZE = re.compile(rf"(?:file|model) size\s*=\s*{NUMBER} ([GMK]iB)(?: \({NUMBER} BPW\))?")
_PARAMS = re.compile(rf"model params\s*=\s*{NUMBER} ([BM])\b")
_TITLE = re.compile(r"general\.name\s*(?:str\s*)?=\s*(.+?)\s*$")

_TELLS_MODEL = ("print_info:", "print_meta:", "general.name")

_BUILD = re.compile(r"\bbuild(?::| =)? (\d{1,6}) \((?:commit )?[0-9a-f]{6,}")
_KOBOLD = re.compile(r"Welcome to KoboldCpp - Version (\S+)")
_OLLAMA = re.compile(r'msg="Listening on .*?\(version (\S+?)\)"')
_RUNNERS = ('msg="starting runner"', 'msg="starting go runner"', 'msg="starting llama server"')
_OLLAMA_SIZE = re.compile(
    rf'msg="(model weights|kv cache|compute graph)" device="?(\S+?)"? size="{NUMBER} ([GMK]iB|B)"'
)
_OLLAMA_NAMES = {"model weights": "weights_gib", "kv cache": "kv_gib", "compute graph": "compute_gib"}
_OLLAMA_LOAD = re.compile(r"BatchSize:(\d{1,7}) FlashAttention:(\w+) KvSize:(\d{1,9}) KvCacheType:(\w*)")

_MALLOC = re.compile(rf"allocating {NUMBER} MiB on device (\d+): \w+Malloc failed: out of memory")
_NO_BUFFER = re.compile(r"(?:failed|unable) to allocate ([\w\[\].:-]+) buffer(?: of size (\d{1,15}))?")
_VULKAN = re.compile(r"Device memory allocation of size (\d{1,15}) failed")
_OUT = (
    "CUDA error: out of memory",
    "ROCm error: out of memory",
    "ErrorOutOfDeviceMemory",
    "failed to allocate compute buffers",
    "failed to allocate compute pp buffers",
    "failed to allocate buffer for kv cache",
    "error: failed to allocate buffer, size",
    "kIOGPUCommandBufferCallbackErrorOutOfMemory",
)
_RETRIES = "retrying without pipeline parallelism"
_SERVING = (
    "server is listening on",
    "main: model loaded",
    "all slots are idle",
    "llama runner started in",
    "Load Text Model OK: True",
    "llama_perf_context_print:",
    "common_perf_print:",
    "llama_print_timings:",
)
_FAULTS = (
    "Load Text Model OK: False",
    "failed to create context with model",
    "error loading model",
    "failed to load model",
)
_TRIAL_BEGINS = "getting device memory data"
_TRIAL_ENDS = re.compile(r"(?:successfully fit|failed to fit) params|fitting params to \w+ memory took")
_FORK = re.compile(r"llama_new_context_with_model: (?:mla_attn|fused_moe|attn_max_b)")


@dataclass(slots=True)
class _Context:
    """Buffers of one context, GiB by device."""

    settings: dict[str, str] = field(default_factory=dict)
    kv: dict[str, float] = field(default_factory=dict)
    state: dict[str, float] = field(default_factory=dict)
    compute: dict[str, float] = field(default_factory=dict)
    kv_total_gib: float = 0.0
    n_cells: int = 0


@dataclass(slots=True)
class _Load:
    """One model that was loaded: its weights by device in GiB, and its contexts."""

    is_trial: bool = False
    path: str = ""
    title: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    contexts: list[_Context] = field(default_factory=list)

    def context(self) -> _Context:
        if not self.contexts:
            self.contexts.append(_Context())
        return self.contexts[-1]

    def has_memory(self) -> bool:
        return bool(self.weights or any(c.kv or c.compute or c.kv_total_gib for c in self.contexts))


class Reader:
    """Reads the lines of one log; `starts` holds what it found.

    Attributes:
        starts: one for each start seen, in order.
        n_hits: lines that only llama.cpp or what is built on it writes.
    """

    def __init__(self) -> None:
        self.starts = [Start()]
        self.n_hits = 0
        self._loads: list[list[_Load]] = [[]]
        self._cards: list[dict[str, str]] = [{}]
        self._rough: list[dict[str, dict[str, float]]] = [{}]
        self._is_trial = False
        self._front_end = ""
        self._backend = "CUDA"
        self._front_version = ""

    def feed(self, line: str) -> None:
        """Read one line."""
        if ("params" in line or "projected" in line) and self._read_fit(line):
            self.n_hits += 1
            return
        found = self._read_announcement(line)
        found |= "buffer size" in line and self._read_buffer(line)
        found |= self._read_model(line)
        found |= self._read_context(line)
        found |= self._read_devices(line)
        found |= "msg=" in line and self._read_ollama(line)
        found |= self._read_outcome(line)
        self.n_hits += found

    def finish(self) -> list[Start]:
        """Return the starts, each with its last real load."""
        for start, loads, cards, rough in zip(
            self.starts, self._loads, self._cards, self._rough, strict=True
        ):
            _settle(start, loads, rough)
            used = [gpu for gpu, sizes in start.gpus.items() if _size(sizes)]
            names = dict.fromkeys(cards[gpu] for gpu in used or cards if gpu in cards)
            if names:
                start.settings["gpu"] = ", ".join(names)
            if self._front_end:
                start.settings["front_end"] = self._front_end
                start.version = self._front_version or start.version
        return self.starts

    def _open(self) -> None:
        self.starts.append(Start())
        self._loads.append([])
        self._cards.append({})
        self._rough.append({})
        self._is_trial = False

    def _load(self) -> _Load:
        loads = self._loads[-1]
        if not loads or loads[-1].is_trial != self._is_trial:
            loads.append(_Load(is_trial=self._is_trial))
        return loads[-1]

    def _read_announcement(self, line: str) -> bool:
        found, build = _FOUND.search(line), _BUILD.search(line)
        kobold = _KOBOLD.search(line) if "KoboldCpp" in line else None
        is_runner = "msg=" in line and any(word in line for word in _RUNNERS)
        if not (found or build or kobold or is_runner):
            return False
        if self.starts[-1].has_body:
            self._open()
        if found:
            self._backend = found[2]
        if build:
            self.starts[-1].version = f"b{build[1]}"
        if kobold:
            self._front_end, self._front_version = "koboldcpp", kobold[1]
        if is_runner:
            self._front_end = "ollama"
        return True

    def _read_fit(self, line: str) -> bool:
        """Take the lines of `-fit`: where a trial begins and ends, and what it worked out."""
        start = self.starts[-1]
        if _TRIAL_BEGINS in line:
            self._is_trial = True
            return True
        if _TRIAL_ENDS.search(line):
            self._is_trial = False
            return True
        projected = _PROJECTED.search(line)
        # The first projection is of the parameters as asked; later ones are of smaller ones.
        if projected and "projected_gib" not in start.measured:
            start.measured["projected_gib"] = int(projected[1]) * _MIB
            if not projected[2]:
                start.measured["projected_free_gib"] = int(projected[3]) * _MIB
            start.has_body = True
        reduced = _REDUCED.search(line)
        if reduced:
            start.settings["n_ctx_asked"] = reduced[1]
        return bool(projected or reduced)

    def _read_buffer(self, line: str) -> bool:
        match = _BUFFER.search(line)
        old = None if match else _OLD_WEIGHTS.search(line)
        device, what, mib = (match[1], match[2], match[3]) if match else ("", "model", "")
        if old:
            device, mib = old[1], old[2]
        if not mib:
            return "output buffer size" in line
        device = device.rsplit(":", maxsplit=1)[-1] if "[" not in device else device
        device = re.sub(r"_(?:Mapped|Private|REPACK)$", "", device)
        size_gib = float(mib) * _MIB
        load = self._load()
        if what == "model":
            if load.contexts:  # weights after a context: another model, whose loader line is missing
                load = _Load(is_trial=self._is_trial)
                self._loads[-1].append(load)
            load.weights[device] = load.weights.get(device, 0.0) + size_gib
        else:
            context = load.context()
            sizes = {"KV": context.kv, "RS": context.state, "compute": context.compute}[what]
            if what == "compute":  # reserved anew when the graph grows: the last one holds
                key = f"{device} of the projector" if "alloc_compute_meta" in line else device
                sizes[key] = size_gib
            else:  # a hybrid model has several caches on one device
                sizes[device] = sizes.get(device, 0.0) + size_gib
        self.starts[-1].has_body |= not self._is_trial
        return True

    def _read_model(self, line: str) -> bool:
        meta = _META.search(line) if "loaded meta data" in line else None
        if meta:
            start = self.starts[-1]
            if (start.is_serving or start.failure) and not self._is_trial:
                self._open()
            self._loads[-1].append(_Load(is_trial=self._is_trial, path=meta[1]))
            return True
        return any(word in line for word in _TELLS_MODEL) and _read_metadata(self._load(), line)

    def _read_context(self, line: str) -> bool:
        context = _CONTEXT.search(line) if "llama_" in line and "=" in line else None
        if _FORK.search(line):
            self._front_end = self._front_end or "ik_llama"
            return True
        if context:
            load = self._load()
            name, value = context[1], context[2]
            # `n_ctx` or the batch opens the list of a context; one already told begins another.
            if name in load.context().settings and (load.context().kv or load.context().compute):
                load.contexts.append(_Context())
            load.context().settings.setdefault(name, value)
            return True
        size = _KV_SIZE.search(line) if ", K (" in line else None
        if size:
            this = self._load().context()
            this.kv_total_gib += float(size[1]) * _MIB
            this.n_cells = max(this.n_cells, count(size[2]) if size[2] else 0)
            this.settings.setdefault("type_k", size[3])
            this.settings.setdefault("type_v", size[4])
            return True
        flash = _FLASH.search(line) if "Flash Attention" in line else None
        if flash:
            self._load().context().settings["flash_attn"] = flash[1]
        return bool(flash)

    def _read_devices(self, line: str) -> bool:
        layers = _LAYERS.search(line) if "offloaded" in line else None
        if layers:
            self._load().settings["n_gpu_layers"] = layers[1]
            self.starts[-1].settings["n_gpu_layers"] = layers[1]
        cards = self._cards[-1]
        device = _DEVICE.search(line) if "MiB free" in line else None
        if device:
            # The bus address stands in a second pair of brackets.
            cards[device[1]] = re.sub(r"\) \((?:[\w.:]+|unknown id)$", "", device[2])
            self._sizes(device[1])["free_gib"] = int(device[3]) * _MIB
        card = _CARD.search(line) if "Device " in line else None
        if card:
            cards.setdefault(f"{self._backend}{card[1]}", card[2])
            if card[3]:
                self._sizes(f"{self._backend}{card[1]}")["total_gib"] = int(card[3]) * _MIB
        row = _BREAKDOWN.search(line) if "memory_breakdown" in line else None
        if row:
            self._sizes(row[1])["total_gib"] = int(row[3]) * _MIB
        if _OVERFLOW.search(line):
            self.starts[-1].settings["cpu_moe"] = "yes"
            return True
        return bool(layers or device or row)

    def _sizes(self, gpu: str) -> dict[str, float]:
        return self.starts[-1].gpus.setdefault(gpu, {})

    def _read_ollama(self, line: str) -> bool:
        version = _OLLAMA.search(line)
        if version:
            self._front_end, self._front_version = "ollama", version[1]
        size = _OLLAMA_SIZE.search(line)
        if size:
            name = _OLLAMA_NAMES[size[1]]
            self._rough[-1].setdefault(name, {})[size[2]] = gib(size[3], size[4])
        asked = _OLLAMA_LOAD.search(line)
        if asked:
            self._rough[-1].clear()  # each attempt tells its sizes anew
            settings = self.starts[-1].settings
            settings |= {"n_batch": asked[1], "flash_attn": asked[2].lower(), "n_ctx": asked[3]}
            if asked[4]:
                settings |= {"type_k": asked[4], "type_v": asked[4]}
        return bool(version or size or asked)

    def _read_outcome(self, line: str) -> bool:
        start = self.starts[-1]
        if any(word in line for word in _SERVING):
            # A model that was loaded on the host's processor served too, but says nothing here.
            start.serve()
            return True
        if self._is_trial:
            return False
        if _read_failure(start, line):
            return True
        fault = next((word for word in _FAULTS if word in line), "")
        if fault:
            start.fault = start.fault or fault
            start.has_body = True
        return bool(fault)


def n_gpus(start: Start) -> int:
    """Return the devices that hold weights, cache or buffers of the start."""
    return sum(1 for sizes in start.gpus.values() if _size(sizes))


def _size(sizes: dict[str, float]) -> float:
    return sum(value for name, value in sizes.items() if name not in {"free_gib", "total_gib"})


def _read_metadata(load: _Load, line: str) -> bool:
    """Take what the file says of itself; the first word on each holds."""
    title, kind = _TITLE.search(line), _FILE_TYPE.search(line)
    size, params = _FILE_SIZE.search(line), _PARAMS.search(line)
    if title and not load.title:
        load.title = title[1].strip("'\"")
    if kind:
        load.settings.setdefault("quantization", kind[1].removeprefix("all ").strip())
    if size:
        load.measured.setdefault("file_gib", gib(size[1], size[2]))
        if size[3]:
            load.settings.setdefault("bits_per_weight", size[3])
    if params:
        load.measured.setdefault("params_b", float(params[1]) * (1.0 if params[2] == "B" else 1e-3))
    return bool(params or title)


def _read_failure(start: Start, line: str) -> bool:
    """Take an allocation on a device that failed; one on the host is another matter."""
    asked = _MALLOC.search(line) if "Malloc failed" in line else None
    if asked:
        start.measured.setdefault("asked_gib", float(asked[1]) * _MIB)
        start.fail(f"device {asked[2]} had no {asked[1]} MiB left")
        return True
    vulkan = _VULKAN.search(line) if "Device memory" in line else None
    if vulkan:
        start.measured.setdefault("asked_gib", gib(vulkan[1], "B"))
        start.fail(f"a device had no {int(vulkan[1]) / 2**20:.2f} MiB left")
        return True
    word = next((word for word in _OUT if word in line), "")
    if word:
        start.fail(word)
        return True
    return "allocat" in line and _read_lack(start, line)


def _read_lack(start: Start, line: str) -> bool:
    """Take a buffer that could not be had, by its device; llama.cpp may try again with less."""
    if _RETRIES in line:
        start.failure = ""
        return True
    buffer = _NO_BUFFER.search(line)
    if buffer and _HOST.match(buffer[1]):
        start.fault = start.fault or "the host's memory ran out"
        return True
    if buffer:
        if buffer[2]:
            start.measured.setdefault("asked_gib", gib(buffer[2], "B"))
        start.fail(f"no room for a buffer on {buffer[1]}")
    return bool(buffer)


def _settle(start: Start, loads: list[_Load], rough: dict[str, dict[str, float]]) -> None:
    """Put the buffers of the real loads, or of the last trial, under their devices."""
    filled = [load for load in loads if load.has_memory()]
    real = [load for load in filled if not load.is_trial] or filled[-1:]
    main = real[0] if real else next((load for load in reversed(loads) if load.title or load.path), None)
    if main:
        start.model = main.title or main.path
        start.settings |= main.settings | ({"file": main.path} if main.path else {})
        start.measured |= main.measured
        for context in main.contexts[:1]:
            start.settings |= context.settings
    for load in real:
        _put(start, load.weights, "weights_gib" if load is main else "draft_weights_gib")
        for context in load.contexts:
            _put(start, context.kv, "kv_gib")
            _put(start, context.state, "state_gib")
            _put(start, context.compute, "compute_gib")
            if context.kv_total_gib and not context.kv:
                start.measured["kv_gib"] = start.measured.get("kv_gib", 0.0) + context.kv_total_gib
    if main and main.contexts and main.contexts[0].n_cells:
        start.measured["kv_tokens"] = main.contexts[0].n_cells
    if len(real) > 1:
        start.settings["speculative"] = "yes"
    if not real:
        for name, sizes in rough.items():
            _put(start, sizes, name)


def _put(start: Start, sizes: dict[str, float], name: str) -> None:
    """Add sizes by device to the start; those of the host apart, and only its weights."""
    for device, size_gib in sizes.items():
        if _HOST.match(device):
            if name == "weights_gib":
                total = start.measured.get("host_weights_gib", 0.0)
                start.measured["host_weights_gib"] = total + size_gib
            continue
        known = start.gpus.setdefault(device.removesuffix(" of the projector"), {})
        known[name] = known.get(name, 0.0) + size_gib
