"""What others would say of the same cases: the rule of 1.2, accelerate's arithmetic, vramcalc.

A peer that has no word for a quantity, precision or model refuses, which counts as it does for us.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from rackrate.catalog.architecture import Architecture
from rackrate.fit.cases import VERDICTS, Case
from rackrate.fit.overhead import Card
from rackrate.fit.precision import Precision
from rackrate.fit.predict import Prediction
from rackrate.fit.tools import style_of

GIB = 2.0**30
RULE = 1.2
ADAM_BYTES = 16.0  # the rule for full fine-tuning: weights, gradients and AdamW states in 32 bit
CALC_USABLE = 0.97  # of a card's nominal memory, by vramcalc
Peer = Callable[[Case, Architecture, Card, Precision], Prediction]


class Refused(Exception):
    """A peer has no answer; the message says why."""


def _said(gib: float) -> Prediction:
    return Prediction(gib, 0.0)


def _gpus(case: Case) -> int:
    """Return over how many GPUs a figure of one of them is shared out."""
    return max(case.gpu_count, 1) if case.per == "gpu" else 1


def _capacity_gib(case: Case, card: Card) -> float:
    return round(card.gib) * max(case.gpu_count, 1)


# --- the rule of 1.2 -----------------------------------------------------------------------------


def rule(case: Case, arch: Architecture, card: Card, precision: Precision) -> Prediction:
    """Answer as people do in their heads: parameters x bytes, and a fifth on top for all else.

    Bytes are the nominal ones: 4, 2, 1, 0.5. Full fine-tuning takes 16 bytes a parameter instead. Weights
    go without the fifth. It fits when that is no more than the cards' memory.
    """
    params = arch.n_params
    weights = params * _nominal_bytes(precision) / GIB
    if case.quantity == "weights_gib":
        return _said(weights / _gpus(case))
    peak = RULE * (params * ADAM_BYTES / GIB if case.workload == "full_ft" else weights)
    if case.quantity == "peak_gib":
        return _said(peak / _gpus(case))
    if case.quantity in VERDICTS:
        return _said(float(peak <= _capacity_gib(case, card)))
    raise Refused(f"the rule has no {case.quantity}")


def _nominal_bytes(precision: Precision) -> float:
    """Return the bytes that the name of a precision promises: Q4_K_M is "4 bit"."""
    for bits in (4, 8, 16):
        if precision.bits < bits + 1.2:  # formats carry up to a bit of scales; Q5 and Q6 count as 8
            return bits / 8
    return 4.0


# --- accelerate ----------------------------------------------------------------------------------


def accelerate(case: Case, arch: Architecture, card: Card, precision: Precision) -> Prediction:
    """Answer as `accelerate estimate-memory` 1.15 does.

    It builds `AutoModel`, which has no output matrix, counts its parameters and prints "Total Size" at 4,
    2, 1 or 0.5 bytes (its dtypes are float32, float16, int8, int4), and "Training using Adam": the
    largest of model 4, gradients 6 and optimiser 8 bytes a parameter for float16, 16 for float32, and
    N/A for int8 and int4. It knows no KV cache, no adapters, and no library but transformers and timm.
    Verified against the real package (see tests/unit/test_bench_score.py for the figures).
    """
    if arch.task == "image":
        raise Refused("accelerate estimates transformers and timm models only")
    params = arch.n_params - sum(t.n_params for t in arch.tensors if t.role == "head" and not t.is_extra)
    size = _nominal_bytes(precision)
    if case.workload in ("lora", "qlora"):
        raise Refused("accelerate has no adapters")
    if case.workload == "full_ft":
        gib = params * (ADAM_BYTES if case.precision == "fp32" else 8.0) / GIB
    else:
        gib = params * size / GIB
    if case.quantity in ("weights_gib", "peak_gib"):
        return _said(gib / _gpus(case))
    if case.quantity in VERDICTS:
        return _said(float(gib <= _capacity_gib(case, card)))
    raise Refused(f"accelerate has no {case.quantity}")


# --- vramcalc ------------------------------------------------------------------------------------


def vramcalc(case: Case, arch: Architecture, card: Card, precision: Precision) -> Prediction:
    """Answer as vramcalc 0.1.2 does: five families, 16 or 32 bit, one GPU."""
    if not precision.is_wide:
        raise Refused("vramcalc has no quantisation")
    if any("only a count" in text for text in arch.assumptions):
        raise Refused("vramcalc needs a config")
    if max(case.gpu_count, 1) > 1:
        raise Refused("vramcalc has no multi-GPU")
    module: Any = importlib.import_module("vramcalc")
    try:
        found = module.estimate(
            config_of(arch), batch=case.batch or 1, seq_len=case.context or 2048, **_vramcalc_options(case)
        )
    except (module.UnsupportedModelError, ValueError) as error:
        raise Refused(f"vramcalc: {error}") from None
    return _said(_vramcalc_value(case, card, found))


def _vramcalc_options(case: Case) -> dict[str, Any]:
    """Return how a case is asked: what its note says of training, else vramcalc's defaults."""
    how: dict[str, Any] = {"dtype": {"fp32": "fp32", "fp16": "fp16"}.get(case.precision, "bf16")}
    if case.workload not in ("full_ft", "lora"):
        return how
    said = case.settings
    is_pure = "autocast" not in case.note and (case.workload == "lora" or "states bf16" in case.note)
    how |= {"mode": "train", "grad_checkpoint": said.get("checkpointing") != "no"}
    how["precision"] = "pure" if is_pure else "amp"
    if case.workload == "lora":
        how["lora_rank"] = int(said.get("lora_rank", 16))
    return how


def _vramcalc_value(case: Case, card: Card, found: Any) -> float:
    style = style_of(case)
    if case.quantity in VERDICTS:
        return float(found.total + found.overhead <= CALC_USABLE * round(card.gib) * GIB)
    if case.quantity == "weights_gib":
        return float(found.weights / GIB)
    if case.quantity == "peak_gib":
        return float((found.total + (found.overhead if style.footing == "device" else 0)) / GIB)
    if case.quantity == "kv_gib" and style.engine not in ("vllm", "sglang"):
        return float(found.kv_cache / GIB)
    raise Refused(f"vramcalc has no {case.quantity} of {case.engine or 'an engine'}")


def config_of(arch: Architecture) -> dict[str, Any]:
    """Return the numbers of a decoder as its `config.json` has them."""
    main = arch.main
    return {
        "model_type": arch.model_type,
        "hidden_size": main.hidden_size,
        "num_hidden_layers": main.n_layers,
        "num_attention_heads": main.n_heads,
        "num_key_value_heads": main.n_kv_heads or main.n_heads,
        "head_dim": main.head_dim or main.hidden_size // main.n_heads,
        "intermediate_size": main.ffn_size,
        "vocab_size": arch.vocab_size,
        "tie_word_embeddings": not any(tensor.role == "head" for tensor in arch.tensors),
    }


def installed() -> list[str]:
    """Return the packages of the others that are installed here."""
    return [name for name in ("vramcalc",) if importlib.util.find_spec(name)]


def peers() -> Mapping[str, Peer | None]:
    """Return the others by name; None for one that is not installed here."""
    has_vramcalc = importlib.util.find_spec("vramcalc") is not None
    return {"rule of 1.2": rule, "accelerate": accelerate, "vramcalc": vramcalc if has_vramcalc else None}
