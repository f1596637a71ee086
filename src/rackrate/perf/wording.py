"""What do the words of a measured case mean? GPU, model, engine, precision and layout, as sources write them.

What a source leaves open is answered by what is usual, and said; a word that means nothing here is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rackrate.catalog.aliases import match_gpu
from rackrate.catalog.architecture import Architecture
from rackrate.catalog.architecture.bare import architecture_of_count, best_architecture
from rackrate.catalog.gpu import Gpu, find_gpu, load_gpu
from rackrate.errors import NoAnswer, UnknownName
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import Precision, find_precision, precision_in
from rackrate.fit.resolve import count_in, model_for
from rackrate.perf.cases import PerfCase
from rackrate.perf.chip import Chip

_USUAL_MEMBERS: Mapping[str, str] = {
    "a100": "a100-80gb-sxm",
    "a100-40gb": "a100-40gb-sxm",
    "a100-80gb": "a100-80gb-sxm",
    "a100-pcie": "a100-80gb-pcie",
    "a100-sxm": "a100-80gb-sxm",
    "h100": "h100-sxm",
    "h200": "h200-sxm",
    "gh200": "gh200-96gb",
    "p100": "p100-pcie",
    "v100": "v100-16gb-sxm",
    "v100-16gb": "v100-16gb-sxm",
    "v100-32gb": "v100-32gb-sxm",
    "v100-pcie": "v100-16gb-pcie",
    "v100-sxm": "v100-16gb-sxm",
    "rtx-pro-6000": "rtx-pro-6000-server",
}
"""The member of a family that most measurements of its bare name are of. Of the cases that the factors were
fitted to, 328 rows are of the H100's SXM board and 28 of the PCIe one, and all 246 of the H200's SXM; where
no case tells, it is the member that was sold first."""

_ENGINES = (
    (r"llama[._-]?cpp|llama[ -]?bench|ollama|lm ?studio|kobold", "llama.cpp"),
    (r"vllm", "vllm"),
    (r"tensorrt|\btrt-?llm", "tensorrt-llm"),
    (r"\bsgl(?:ang)?\b", "sglang"),
    (r"\bmlc\b|mlc-?llm", "mlc"),
    (r"exllama|tabbyapi", "exllama"),
    (r"lmdeploy|turbomind", "lmdeploy"),
)

_OTHER_NAMES = (
    (r"\bllama-70b\b", "llama-3.3-70b"),
    (r"\bllama-8b\b", "llama-3.1-8b"),
    (r"-(?:fp8|nvfp4|fp4|mxfp4|awq|gptq|int4|int8|q4|q8|4bit|bf16|fp16)\b.*$", ""),
    (r"[.-](?:i?q\d(?:_\w+)?|b?f16|gguf)(?:\.gguf)?$", ""),
)
"""What sources call models that the catalog calls otherwise: a pattern and what stands in its place."""

_OPEN = re.compile(r"\b(?:auto|amp|mixed|tf32|none|default|unknown|not stated)\b|^n/?a$|^-$")
"""Words for a precision that leave that of the weights open."""

ENDLESS = 1e9
"""Requests at once where a benchmark sends them all in one moment."""

_AT_ONCE = re.compile(r"(?:(?:c|bs|batch(?: size)?|conc(?:urrency)?)[ =:_-]*)?(\d{1,9}(?:\.\d+)?)")

_BORN_FP8 = ("deepseek_v3", "minimax_m2")


def gpu_meant(text: str) -> tuple[Gpu, tuple[str, ...]]:
    """Return the GPU that a source means, and what was assumed.

    >>> gpu_meant("NVIDIA H100")[0].slug
    'h100-sxm'

    Raises:
        UnknownName: no such GPU, or a family whose members are too unlike.
    """
    match = match_gpu(text)
    usual = _USUAL_MEMBERS.get(match.slug or "")
    if not match.is_family or not usual:
        return find_gpu(text), ()
    return load_gpu(usual), (f"{text!r} may be any {match.slug}: {usual} is taken, the usual one",)


def engine_of(text: str) -> str:
    """Return the family of an engine that a source names; `other` for one that is not known.

    >>> engine_of("NVIDIA TensorRT-LLM 1.0"), engine_of("llama-bench"), engine_of("somebody's server")
    ('tensorrt-llm', 'llama.cpp', 'other')
    """
    name = text.lower()
    return next((engine for pattern, engine in _ENGINES if re.search(pattern, name)), "other")


def precision_for(case: PerfCase, arch: Architecture, chip: Chip) -> Precision:
    """Return how the weights of a case are stored.

    Raises:
        UnknownName: no such precision.
    """
    if "bnb-4bit" in case.setting("hf").lower():
        return find_precision("nf4")
    if arch.model_type == "gpt_oss":
        return find_precision("mxfp4")  # there is no other
    word = _stored(case, arch, chip)
    bits = re.match(r"exl\d-([\d.]+)bpw", word)
    if bits:
        word = f"gguf:q{min(max(int(float(bits[1])), 2), 8)}_k" if float(bits[1]) in (2, 6) else "gguf:q5_k_m"
    try:
        return find_precision(word)
    except UnknownName:
        known = precision_in(word)
        if not known:
            raise
        return find_precision(known)


def _stored(case: PerfCase, arch: Architecture, chip: Chip) -> str:
    """Return the word for the precision: of several the first, of none what the model's name says."""
    word = case.precision.strip().lower()
    born = "fp8-block" if arch.model_type in _BORN_FP8 else "bf16"
    if word.startswith("fp4 or fp8"):
        return "fp4" if "fp4" in chip.flops else "fp8"
    if word == "bf16/fp16":
        return born
    if not word or _OPEN.search(word):
        named = f"{case.setting('hf')} {case.model}"
        word = precision_in(named) or _gguf_in(named) or born
    word = word.split("/")[0]
    return "fp8-block" if word == "fp8" and arch.model_type == "deepseek_v3" else word


def _gguf_in(name: str) -> str:
    found = re.search(r"[.-](i?q\d_\w+)", name.lower())
    return found[1] if found else ""


def architecture_meant(case: PerfCase) -> Architecture:
    """Return the model that a case is about.

    By its name as written, then without what people add to it; else by its parameter count, which gives an
    assumption.

    Raises:
        NoAnswer: neither is known.
    """
    names = [case.setting("hf"), case.setting("hf").rsplit("/", 1)[-1], case.model]
    for pattern, other in _OTHER_NAMES:
        names.append(re.sub(pattern, other, names[-1].lower()))
    for name in names:
        model = model_for(name) if name else None
        if model:
            return best_architecture(model)
    stated = case.setting("params")
    billions = float(stated) / 1e9 if stated.isdigit() else next((b for b in map(count_in, names) if b), None)
    if not billions:
        hint = "a name of the catalog, or one with its parameter count"
        raise NoAnswer(f"{case.model!r} is no model of the catalog", hint=hint)
    return architecture_of_count(billions * 1e9, case.model)


def layout_of(case: PerfCase, engine: str) -> tuple[Layout, int]:
    """Return how GPUs share a copy of the model, and how many copies the case states.

    Where nothing is said, llama.cpp gives each GPU some layers, and every other engine shares each layer out.
    """
    words = case.parallel.lower()
    if "layer" in words or (not words and engine == "llama.cpp"):
        return Layout(pipeline=case.gpu_count), 1
    tensor, stages = _count(r"tp|tensor\w*", words), _count(r"pp|pipeline\w*", words)
    layout = Layout(tensor=tensor if words else case.gpu_count, pipeline=stages)
    copies = _count(r"dp|data\w*", words)
    # More than there are GPUs for share the attention out alone, within one copy.
    return layout, copies if copies * tensor * stages <= case.gpu_count else 1


def _count(names: str, words: str) -> int:
    found = re.search(rf"\b(?:{names})[ =:_-]*(\d+)", words)
    return max(int(found[1]), 1) if found else 1


def requests_at_once(text: str) -> float:
    """Return the requests at once that a load states, as `16`, `c32` or `batch 8` do; else `ENDLESS`.

    >>> requests_at_once("c32"), requests_at_once("0.5"), requests_at_once("offline") == ENDLESS
    (32.0, 0.5, True)
    """
    found = _AT_ONCE.fullmatch(text.strip().lower())
    return (float(found[1]) if found else 0.0) or ENDLESS
