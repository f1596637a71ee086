"""What does a start-up log say that an engine measured? Text in, figures out.

    log = parse_log(text)
    log.outcome, log.measured["weights_gib"], log.settings["gpu_memory_utilization"]
    to_cases(log, gpu="l40s")

Three engines are read, each by its module: vLLM, SGLang, llama.cpp (and Ollama, koboldcpp and
ik_llama.cpp, which print llama.cpp's lines). A log may hold lines of anything else, be cut off at either
end, and hold several starts. What an engine does not say is not made up.
"""

from __future__ import annotations

from rackrate.errors import ImportRejected
from rackrate.fit.logs import llama_cpp, sglang, vllm
from rackrate.fit.logs.lines import clean_lines, whole_lines
from rackrate.fit.logs.record import EngineLog, GpuLog, Outcome, Per, gpu_logs, last_complete
from rackrate.fit.logs.rows import to_cases

__all__ = ["EngineLog", "GpuLog", "Outcome", "Per", "parse_log", "to_cases"]

_EXPECTED = (
    "give the start-up log of vLLM (with a line like 'Model loading took 14.99 GiB'), SGLang ('Load weight "
    "end. ... mem usage=14.98 GB') or llama.cpp ('load_tensors: CUDA0 model buffer size = 4403.49 MiB')"
)


def parse_log(text: str) -> EngineLog:
    """Read what the last complete start in a log measured.

    Where a log holds lines of several engines, the one with the most is read.

    Args:
        text: the log, whatever stands before its lines (timestamps, container names, colours).

    Raises:
        ImportRejected: no line is one of a known engine.

    Example:
        >>> log = parse_log("INFO Model loading took 14.99 GiB and 3.2 seconds")
        >>> log.engine, dict(log.measured), log.outcome
        ('vLLM', {'weights_gib': 14.99}, 'unknown')
    """
    readers = (vllm.Reader(), sglang.Reader(), llama_cpp.Reader())
    n_lines = 0
    for line in whole_lines(list(clean_lines(text))):
        n_lines += 1
        for reader in readers:
            reader.feed(line)
    best = max(range(len(readers)), key=lambda i: readers[i].n_hits)
    if not readers[best].n_hits:
        lines_read = f"none of its {n_lines} lines" if n_lines else "it is empty: no line"
        message = f"no log of an engine's start: {lines_read} is one that vLLM, SGLang or llama.cpp writes"
        raise ImportRejected(message, hint=_EXPECTED)
    engine = (vllm, sglang, llama_cpp)[best]
    starts = readers[best].finish()
    start = last_complete(starts)
    per: Per = "total" if engine is llama_cpp else "gpu"
    outcome, reason = start.verdict()
    return EngineLog(
        engine=engine.NAME,
        version=start.version,
        model=start.model,
        settings=dict(sorted(start.settings.items())),
        measured=start.fold(per),
        per=per,
        per_gpu=gpu_logs(start),
        n_gpus=engine.n_gpus(start),
        outcome=outcome,
        reason=reason,
        n_starts=max(1, sum(each.has_body for each in starts)),
    )
