"""What the model says of a measured case that is not LLM serving: one estimate in the case's own unit.

A case names model, GPU, engine and precision in the words of its source; the tables here put them into ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from rackrate.catalog.architecture import Architecture
from rackrate.catalog.architecture.bare import architecture_of_count, best_architecture
from rackrate.catalog.model import load_model
from rackrate.errors import NoAnswer, UnknownName, nearest
from rackrate.fit.resolve import count_in, model_for
from rackrate.perf import benchmark, copies, diffusion, encoder, speech, training
from rackrate.perf.cases import PerfCase
from rackrate.perf.chip import Chip, chip_of
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.wording import gpu_meant

_MODELS = (
    (r"sd[- ]?v?1|stable[- ]diffusion[- ]v?1", "stable-diffusion-1.5"),
    (r"sd[- ]?v?2|stable[- ]diffusion[- ]v?2|stable_diffusion$", "stable-diffusion-2.1"),
    (r"sd[- ]?v?3\.5[- ]large|stable[- ]diffusion[- ]3\.5[- ]large", "stable-diffusion-3.5-large"),
    (r"sd[- ]?v?3|stable[- ]diffusion[- ]v?3", "stable-diffusion-3-medium"),
    (r"sdxl|stable[- ]diffusion[- ]xl", "stable-diffusion-xl"),
    (r"flux.*schnell", "flux.1-schnell"),
    (r"flux(?![. -]*2)", "flux.1-dev"),
    (r"distil.*whisper|distil-(?:large|medium|small)", "distil-whisper-large-v3"),
    (r"whisper.*turbo", "whisper-large-v3-turbo"),
    (r"whisper[- ]?large[- ]v2", "whisper-large-v2"),
    (r"whisper[- ]?large", "whisper-large-v3"),
    (r"whisper.*medium", "whisper-medium"),
    (r"whisper.*small", "whisper-small"),
    (r"whisper.*base", "whisper-base"),
    (r"whisper.*tiny", "whisper-tiny"),
    (r"whisper", "whisper-large-v3"),
    (r"distilbert", "distilbert-base-uncased"),
    (r"roberta[- ]large", "roberta-large"),
    (r"roberta", "roberta-base"),
    (r"bert[- _]?large|\bbert$|\bbert-99", "bert-large-uncased"),
    (r"bert[- _]?base", "bert-base-uncased"),
)
"""What sources call models that the catalog calls otherwise; the first that fits."""


_MEASURES = re.compile(
    r"sample|image|quer|sequence|token|text|step|iter|it_per|batch|latency|time|rtf|speed|second|minute|hour"
    r"|tflops|gbps|(?:per)?_m?s$|per_(?:s|min|h)"
)
"""Words of a metric that is a speed or a time; power, memory and shares of a peak are none."""

_USUAL_METRICS = "samples_per_s, seconds_per_batch, audio_seconds_per_second and the like"


def predict_media(case: PerfCase, factors: Factors | None = None) -> Estimate:
    """Return what the model expects of a case, in the case's unit.

    Args:
        case: its value is not read.
        factors: the table; the bundled one by default.

    Raises:
        UnknownName: a workload, metric, GPU or model that nothing here predicts.
        NoAnswer: no speed is known of the GPU, or no structure of the model.
    """
    if case.workload not in _ANSWERS:
        raise UnknownName("workload", case.workload, nearest(case.workload, WORKLOADS) or WORKLOADS)
    if not _MEASURES.search(case.metric.lower()):
        raise UnknownName("metric", case.metric, hint=f"speeds are forecast, in {_USUAL_METRICS}")
    gpu, taken = gpu_meant(case.gpu)
    found = _ANSWERS[case.workload](_Ask(case, chip_of(gpu), factors or load_factors("media")))
    return replace(found, assumptions=(*taken, *found.assumptions))


@dataclass(frozen=True, slots=True)
class _Ask:
    """A case with what its words mean."""

    case: PerfCase
    chip: Chip
    factors: Factors

    @property
    def batch(self) -> int:
        """Items at once on a GPU where the case says so, else 0."""
        found = re.match(r"\d+", self.case.load)
        return int(found[0]) if found else 0

    def says(self, pattern: str) -> bool:
        """Tell whether engine, precision or settings match."""
        words = f"{self.case.engine} {self.case.precision} {self.case.load} {self.case.extra}".lower()
        return bool(re.search(pattern, words))

    def number_in(self, pattern: str, otherwise: int) -> int:
        """Return the first number that the settings state so."""
        found = re.search(pattern, self.case.extra.lower())
        return int(found[1]) if found else otherwise


@lru_cache(maxsize=256)
def architecture_named(name: str) -> Architecture:
    """Return the model that a source means.

    Raises:
        NoAnswer: no model has that name, and none is known by its parameter count.
    """
    for pattern, slug in _MODELS:
        if re.search(pattern, name.lower()):
            return best_architecture(load_model(slug))
    found = model_for(name)
    if found:
        return best_architecture(found)
    billions = count_in(name)
    if not billions:
        raise NoAnswer(f"{name!r} is no model of the catalog and states no parameter count")
    return architecture_of_count(billions * 1e9, name)


# --- pictures ----------------------------------------------------------------------------------

_DISTILLED, _FEW_STEPS = r"turbo|lightning|\blcm\b", 4  # as their cards recommend: up to 4, without guidance
_FULL_BATCH_OF_IMAGES = 4  # at once, where the harness hands all of them over


def _diffusion(ask: _Ask) -> Estimate:
    case, arch = ask.case, architecture_named(ask.case.model)
    drawing = _drawing_of(ask, arch.name)
    is_server = case.load == "server" or case.metric.startswith("server")
    n_gpus = 1 if case.load == "singlestream" else case.gpu_count
    found = diffusion.images_per_s(
        arch, ask.chip, drawing, n_gpus=n_gpus, is_server=is_server, factors=ask.factors
    )
    thousand = 1e3 if case.unit == "ms" else 1.0
    if re.search(r"step|iter|^it_", case.metric.lower()):
        is_time = case.unit in ("s", "ms")
        a_step = drawing.batch / drawing.steps
        return _inverted(found, a_step * thousand, case) if is_time else _scaled(found, 1 / a_step, case)
    if case.unit in ("s", "ms"):
        n_images = drawing.batch if "batch" in case.metric else 1
        return _inverted(found, n_images * n_gpus * thousand, case)
    return _scaled(found, 1.0, case)


def _drawing_of(ask: _Ask, model: str) -> diffusion.Drawing:
    """Return what was drawn; what a case does not say is the model's usual."""
    usual = diffusion.usual(model)
    sides = re.search(r"(\d{3,4})\s*x\s*(\d{3,4})", ask.case.extra)
    is_single = ask.case.load == "singlestream"
    if re.search(_DISTILLED, ask.case.model.lower()):
        usual = replace(usual, steps=_FEW_STEPS, passes=1)
    return replace(
        usual,
        pixels=int(sides[1]) * int(sides[2]) if sides else usual.pixels,
        steps=ask.number_in(r"(\d+) (?:\w+ )?steps", usual.steps),
        passes=2 if ask.says("cfg") else 1 if ask.says("distilled|1 pass") else usual.passes,
        batch=ask.batch if ask.case.load.isdigit() else 1 if is_single else _FULL_BATCH_OF_IMAGES,
        engine=_drawing_engine(ask),
        number=_drawing_number(ask),
    )


def _drawing_engine(ask: _Ask) -> str:
    if ask.says(r"tensorrt|mlperf|thestage|stable-fast|onediff|oneflow"):
        return "tensorrt"
    return "compiled" if ask.says(r"compile") else "eager"


def _drawing_number(ask: _Ask) -> str:
    words = ask.case.precision.lower()
    if "/" in words or "mlperf" in ask.case.engine.lower():
        return "8-bit"
    for pattern, number in (
        (r"int8wo|int8.*weight|fp8wo|fp8.*weight|w8a16|nf4|int4", "int8wo"),
        (r"fp8|float8", "fp8"),
        (r"int8", "int8"),
        (r"tf32", "tf32"),
        (r"fp32|float32", "fp32"),
    ):
        if re.search(pattern, words):
            return number
    return "fp16"


# --- texts -------------------------------------------------------------------------------------


def _encoder(ask: _Ask) -> Estimate:
    case, arch = ask.case, architecture_named(ask.case.model)
    is_squad = ask.says("squad|mlperf")
    reading = encoder.Reading(
        tokens=encoder.SQUAD_TOKENS if is_squad else case.input_tokens or 128,
        batch=0 if is_squad or not case.load.isdigit() else ask.batch,
        engine="tensorrt" if ask.says("tensorrt|mlperf|cuda") else "eager",
        number="8-bit" if "/" in case.precision or is_squad else _plain_number(case.precision),
    )
    is_time = case.unit in ("ms", "s")
    if is_time and not reading.batch:
        tokens = encoder.SQUAD_P90_TOKENS if is_squad and "p90" in case.metric else reading.tokens
        found = encoder.latency_s(arch, ask.chip, replace(reading, tokens=tokens), ask.factors)
        return _scaled(found, 1e3 if case.unit == "ms" else 1.0, case)
    is_server = case.load == "server" or case.metric.startswith("server")
    found = encoder.texts_per_s(
        arch, ask.chip, reading, n_gpus=case.gpu_count, is_server=is_server, factors=ask.factors
    )
    if is_time:
        return _inverted(found, reading.batch * case.gpu_count * (1e3 if case.unit == "ms" else 1.0), case)
    return _scaled(found, reading.tokens if "tokens" in case.metric else 1, case)


def _plain_number(words: str) -> str:
    for number in ("fp32", "tf32", "int8", "fp8"):
        if number in words.lower():
            return number
    return "fp16"


# --- speech ------------------------------------------------------------------------------------

_SPEECH_ENGINES = (
    ("tensorrt|mlperf", "tensorrt"),
    ("vllm", "vllm"),
    ("whisper.cpp|whisper-cpp|ggml", "whisper.cpp"),
    ("faster|ctranslate|whisperx", "faster-whisper"),
    ("bettertransformer", "bettertransformer"),
    ("flash", "flash-attention"),
    ("openai", "openai-whisper"),
)
_SIZE = re.compile(r"^((?:tiny|base|small|medium|large|turbo)(?:[.-].*)?)$")  # what people call Whisper's
_FULL_BATCH = 64  # windows at once, where the harness hands all of them over


def _speech(ask: _Ask) -> Estimate:
    case = ask.case
    engine = next((name for pattern, name in _SPEECH_ENGINES if ask.says(pattern)), "transformers")
    batch = ask.batch if case.load.isdigit() else _FULL_BATCH
    listening = speech.Listening(
        batch=max(batch, 1),
        beams=max(ask.number_in(r"beam[ =]*(?:size[ =]*)?(\d+)", 1), 1),
        engine=engine,
        number=_heard_number(case.precision),
    )
    arch = architecture_named(_SIZE.sub(r"whisper-\1", case.model.lower()))
    found = speech.audio_s_per_s(arch, ask.chip, listening, n_gpus=case.gpu_count, factors=ask.factors)
    if "token" in case.metric:
        return _scaled(found, speech.WINDOW_TOKENS / speech.WINDOW_S, case)
    if "sample" in case.metric or "queries" in case.metric:
        return _scaled(found, 1 / speech.WINDOW_S, case)
    if re.search(r"rtf(?!x)|real_time_factor", case.metric.lower()):
        return _inverted(found, 1.0, case)
    if case.unit in ("s", "ms"):
        return _inverted(found, _audio_s(case) * (1e3 if case.unit == "ms" else 1.0), case)
    return _scaled(found, 1.0, case)


def _audio_s(case: PerfCase) -> float:
    """Return the length of what was heard, s, as the case states it: `13 min of audio`.

    Raises:
        NoAnswer: it does not.
    """
    said = re.search(r"(\d+(?:\.\d+)?) ?(s|min|h)\w* of audio", case.extra.lower())
    if said:
        return float(said[1]) * {"s": 1.0, "min": 60.0, "h": 3600.0}[said[2]]
    if "audio_hour" in case.metric:
        return 3600.0
    raise NoAnswer("the case does not say how long the audio is", hint="say it in extra: 13 min of audio")


def _heard_number(words: str) -> str:
    if "/" in words:
        return "fp16"
    return "int8" if re.search(r"int8|q8|8-?bit", words.lower()) else "fp32" if "32" in words else "fp16"


# --- training ----------------------------------------------------------------------------------

_BENCHMARKS = (
    (r"llama.*lora|llama2_70b", "llama2-70b-lora"),
    (r"bert", "bert"),
    (r"resnet", "resnet"),
    (r"retinanet|ssd", "retinanet"),
    (r"unet", "unet3d"),
    (r"stable[-_ ]diffusion", "stable-diffusion"),
)
_PHASE2_TOKENS = 320  # NVIDIA's phase 2 runs 1.6 times as fast as 512 full tokens could on either card
_LONG_TOKENS, _SHORT_TOKENS = 8192, 2048  # GovReport's, in MLPerf's LoRA; what others use
_USUAL_BATCH = {512: 48, 384: 64, 128: 192}  # sequences a GPU of 40 GB and more, where none is stated


def _training(ask: _Ask) -> Estimate:
    case = ask.case
    name = next((slug for pattern, slug in _BENCHMARKS if re.search(pattern, case.model.lower())), "")
    is_tuned = ask.says("mlperf")
    if is_tuned and name not in benchmark.SAMPLED:
        if "time" not in case.metric:
            hint = f"minutes to the target are, and the samples of {', '.join(benchmark.SAMPLED)}"
            raise NoAnswer(f"the samples of {case.model} are not modelled", hint=hint)
        return _scaled(
            benchmark.minutes_by_work(
                name or case.model, ask.chip, n_gpus=case.gpu_count, n_nodes=case.nodes, factors=ask.factors
            ),
            1.0,
            case,
        )
    arch, run = architecture_named(case.model), run_of(case, ask.chip)
    if "time_to_train" in case.metric:
        batch = ask.number_in(r"global_batch=(\d+)", 0)
        found = benchmark.minutes_by_samples(name, arch, ask.chip, run, batch, ask.factors)
        return _scaled(found, 1.0, case)
    if "token" in case.metric:
        return _scaled(training.tokens_per_s(arch, ask.chip, run, ask.factors), 1.0, case)
    found = training.samples_per_s(arch, ask.chip, run, ask.factors)
    if "step" in case.metric:
        return _inverted(found, run.batch * run.n_gpus * (1e3 if case.unit == "ms" else 1.0), case)
    return _scaled(found, 1.0, case)


def run_of(case: PerfCase, chip: Chip) -> training.Run:
    """Return how a case was trained; what it does not say is usual."""
    words = f"{case.model} {case.precision} {case.engine} {case.extra} {case.parallel}".lower()
    is_tuned = "mlperf" in words
    method = "qlora" if "qlora" in words else "lora" if "lora" in words else "full"
    usually_checkpoints = method != "full" and not is_tuned and "checkpointing off" not in words
    tokens = _tokens_of(case, words, is_tuned=is_tuned)
    return training.Run(
        method=method,
        tokens=tokens,
        batch=_batch_of(case, words, tokens),
        number=_trained_number(case, chip, is_tuned=is_tuned),
        engine="tuned" if is_tuned else "container" if "deeplearningexamples" in words else "torch",
        has_checkpointing="checkpointing on" in words or usually_checkpoints,
        is_sharded=bool(re.search("fsdp|zero|sharded", words)),
        n_gpus=case.gpu_count,
        n_nodes=case.nodes,
    )


def _tokens_of(case: PerfCase, words: str, *, is_tuned: bool) -> int:
    if "pretrain (seq 512)" in words:
        return _PHASE2_TOKENS
    stated = re.search(r"seq (\d+)", words)
    if case.input_tokens or stated:
        return case.input_tokens or int(stated[1] if stated else 0)
    return _LONG_TOKENS if is_tuned else _SHORT_TOKENS


def _batch_of(case: PerfCase, words: str, tokens: int) -> int:
    """Return the sequences of one GPU: some sources state the batch of all of them."""
    stated = re.findall(r"\d+", case.load)
    if not stated:
        return _USUAL_BATCH.get(tokens, 1)
    is_of_all = "mlperf" in words or "container" in words
    return max(int(stated[-1]) // (case.gpu_count if is_of_all else 1), 1)


def _trained_number(case: PerfCase, chip: Chip, *, is_tuned: bool) -> str:
    for word in ("tf32", "fp32"):
        if word in case.precision.lower():
            return word
    return benchmark.tuned_number(chip) if is_tuned else "fp16"


# --- the card itself ---------------------------------------------------------------------------


def _gemm(ask: _Ask) -> Estimate:
    number = {"fp8": "fp8", "int8": "int8", "fp32": "fp32", "tf32": "tf32"}.get(ask.case.precision, "fp16")
    return copies.product_tflops(ask.chip, number, ask.factors)


def _bandwidth(ask: _Ask) -> Estimate:
    metric = ask.case.metric
    for word, question in (("p2p", "peer"), ("local", "local"), ("d2h", "to-host"), ("h2d", "from-host")):
        if word in metric:
            return copies.copy_gb_per_s(ask.chip, question, ask.factors)
    raise UnknownName("metric", metric, ("h2d_copy_GBps", "d2h_copy_GBps", "p2p_read_GBps"))


_ANSWERS: Mapping[str, Callable[[_Ask], Estimate]] = {
    "diffusion": _diffusion,
    "encoder": _encoder,
    "asr": _speech,
    "bert_ft": _training,
    "train": _training,
    "gemm": _gemm,
    "bandwidth": _bandwidth,
}

WORKLOADS = ("llm_decode", "llm_prefill", "llm_offline", "llm_server", "comm", *_ANSWERS)
"""Of all cases that are forecast, by any module."""


_A_RATE_IN = (
    (re.compile(r"/ ?min|per_min"), 60.0),
    (re.compile(r"(?<!h)/ ?h|per_hour$"), 3600.0),
)
"""What a second's work is in other units of time: a pattern of unit or metric, and the factor."""


def _scaled(found: Estimate, by: float, case: PerfCase) -> Estimate:
    words = f"{case.metric} {case.unit}".lower()
    if case.workload != "asr":  # whose ratio of two times is the same in any unit
        by *= next((factor for pattern, factor in _A_RATE_IN if pattern.search(words)), 1.0)
    if re.search(r"per_gpu|/ ?gpu", words):
        by /= case.gpu_count
    return replace(
        found, value=found.value * by, low=found.low * by, high=found.high * by, unit=case.unit or found.unit
    )


def _inverted(found: Estimate, by: float, case: PerfCase) -> Estimate:
    return replace(
        found, value=by / found.value, low=by / found.high, high=by / found.low, unit=case.unit or found.unit
    )
