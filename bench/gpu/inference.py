"""Measure inference: weights, the prefill and `generate`, the bare context, and a checkpoint's loading."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import transformers
from building import NF4, build, parameters
from cases import Case
from meter import Meter, Reading

ENCODERS = {"classify", "mlm"}
REPEATS = 2


def tokens(case: Case, config: Any, device: torch.device, vocabulary: int = 0) -> dict[str, torch.Tensor]:
    """Return a batch of random token ids, with a mask if the case pads: half of the first sequence."""
    shape = (case.batch, case.tokens)
    given = {"input_ids": torch.randint(2, vocabulary or config.vocab_size, shape, device=device)}
    if case.padded:
        mask = torch.ones(shape, dtype=torch.long, device=device)
        mask[0, : case.tokens // 2] = 0
        given["attention_mask"] = mask
    return given


def forward(model: Any, case: Case, given: dict[str, torch.Tensor]) -> Any:
    """Run one forward pass as `generate` does for the prompt: cache on, logits of the last token."""
    if case.task in ENCODERS:
        return model(**given)
    return model(**given, use_cache=True, logits_to_keep=1)


def generate(model: Any, case: Case, given: dict[str, torch.Tensor]) -> Any:
    """Generate exactly `new_tokens` tokens, greedily."""
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model.generate(
        **given, max_new_tokens=case.new_tokens, min_new_tokens=case.new_tokens, do_sample=False
    )


def cache_bytes(output: Any) -> int:
    """Return the bytes of a forward pass's KV cache, 0 if it has none."""
    cache = getattr(output, "past_key_values", None)
    layers = getattr(cache, "layers", None) or ()
    tensors = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


def run(model: Any, case: Case, config: Any, meter: Meter) -> list[Reading]:
    """Measure one inference case on a loaded model, `REPEATS` times, each from an emptied cache."""
    readings = []
    for _ in range(REPEATS):
        reading = Reading()
        given = tokens(case, config, meter.device)
        meter.empty()
        reading.phases["before"] = meter.allocated_bytes()
        with torch.no_grad():
            if case.new_tokens:
                with reading.phase(meter, "generate"):
                    output = generate(model, case, given)
            else:
                with reading.phase(meter, "prefill"):
                    output = forward(model, case, given)
                reading.phases["kv"] = cache_bytes(output)
        reading.device = meter.device_bytes()
        del output
        readings.append(reading)
    return readings


def context(meter: Meter) -> Reading:
    """Measure what CUDA takes before any model: context, cuBLAS, attention kernels.

    `reading.device` is the bare context; the phases are device bytes after each further step, with the
    allocator's own share (`reserved`) beside them.
    """
    reading = Reading()
    one = torch.zeros(1, device=meter.device)
    reading.device = meter.device_bytes()
    reading.phases["context_reserved"] = meter.reserved_bytes()
    square = torch.ones(1024, 1024, device=meter.device, dtype=torch.bfloat16)
    square @ square
    reading.phases["cublas_device"] = meter.device_bytes()
    reading.phases["cublas_reserved"] = meter.reserved_bytes()
    reading.phases["cublas_allocated"] = meter.allocated_bytes()
    heads = torch.ones(1, 8, 256, 64, device=meter.device, dtype=torch.bfloat16, requires_grad=True)
    torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True).sum().backward()
    reading.phases["attention_device"] = meter.device_bytes()
    reading.phases["attention_reserved"] = meter.reserved_bytes()
    if meter.on_gpu:
        reading.phases["total"] = int(torch.cuda.mem_get_info()[1])
    del one
    return reading


def load(case: Case, config: Any, meter: Meter) -> tuple[int, Reading]:
    """Save a random checkpoint, load it with `from_pretrained` and return (parameters, reading).

    The peak is while loading; the end is what stays.
    """
    model = build(Case("inference", case.model), config, torch.device(meter.device))
    count = parameters(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        del model
        meter.empty()
        reading = Reading()
        with reading.phase(meter, "load"):
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=torch.bfloat16,
                device_map={"": meter.device},
                quantization_config=_quantisation(case.weights),
            )
        reading.device = meter.device_bytes()
        meter.empty()
        reading.phases["weights"] = meter.allocated_bytes()
        del model
    return count, reading


def _quantisation(weights: str) -> Any:
    if weights == "plain":
        return None
    if weights == "int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=NF4[weights],
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
