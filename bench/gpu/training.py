"""Measure training: steps of full fine-tuning, LoRA and QLoRA, phase by phase."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import transformers
from cases import Case
from inference import tokens
from meter import Meter, Reading

STEPS = 4
TARGETS: dict[str, list[str] | str] = {"qv": ["q_proj", "v_proj"], "all-linear": "all-linear"}
LEARNING_RATE = 1e-5


def _bnb(name: str) -> Callable[..., Any]:
    def make(parameters: Any, lr: float) -> Any:
        import bitsandbytes as bnb  # noqa: PLC0415 - optional, and it starts CUDA: only in the child

        return getattr(bnb.optim, name)(parameters, lr=lr)

    return make


def _hf_adafactor(parameters: Any, lr: float) -> Any:
    return transformers.Adafactor(parameters, lr=lr, relative_step=False, scale_parameter=False)


OPTIMISERS: dict[str, Callable[..., Any]] = {
    "adamw": torch.optim.AdamW,  # torch's default on a GPU: foreach
    "adamw-fused": partial(torch.optim.AdamW, fused=True),
    "adamw-loop": partial(torch.optim.AdamW, foreach=False),
    "adamw8bit": _bnb("AdamW8bit"),
    "paged-adamw8bit": _bnb("PagedAdamW8bit"),
    "paged-adamw32bit": _bnb("PagedAdamW32bit"),
    "adafactor": torch.optim.Adafactor,
    "adafactor-hf": _hf_adafactor,
    "sgd": torch.optim.SGD,
    "sgd-momentum": partial(torch.optim.SGD, momentum=0.9),
}


def prepare(model: Any, case: Case) -> Any:
    """Return the model ready to train: checkpointing, adapters, training mode."""
    if not case.use_cache:
        model.config.use_cache = False
    if case.adapts:
        import peft  # noqa: PLC0415 - it imports bitsandbytes, which starts CUDA: only in the child
    if case.prepared:
        model = peft.prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=case.checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": case.reentrant},
        )
    elif case.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": case.reentrant})
        if case.adapts:
            model.enable_input_require_grads()
    if case.adapts:
        wanted = peft.LoraConfig(
            r=case.rank,
            lora_alpha=2 * case.rank,
            lora_dropout=case.dropout,
            target_modules=TARGETS[case.targets],
            task_type="CAUSAL_LM",
        )
        model = peft.get_peft_model(model, wanted, autocast_adapter_dtype=case.adapters == "fp32")
    model.train()
    return model


def examples(case: Case, config: Any, device: torch.device) -> dict[str, torch.Tensor]:
    """Return a random batch with labels for the case's task."""
    given = tokens(case, config, device)
    if case.task == "classify":
        given["labels"] = torch.zeros(case.batch, dtype=torch.long, device=device)
    else:
        given["labels"] = given["input_ids"].clone()
    return given


def _loss(model: Any, case: Case, given: dict[str, torch.Tensor]) -> tuple[torch.Tensor, Any]:
    casting = torch.autocast(given["input_ids"].device.type, torch.bfloat16) if case.autocast else None
    with casting or contextlib.nullcontext():
        output = model(**given)
    return output.loss / case.accumulate, output if case.keep_logits else None


def _step(model: Any, optimiser: Any, case: Case, given: dict[str, torch.Tensor], meter: Meter) -> Reading:
    """Take one optimiser step; with accumulation the phases are those of the last micro-batch."""
    reading = Reading()
    for _ in range(case.accumulate):
        with reading.phase(meter, "forward"):
            loss, output = _loss(model, case, given)
        with reading.phase(meter, "backward"):
            loss.backward()
        del loss, output
    with reading.phase(meter, "step"):
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    reading.phases["between_steps"] = meter.allocated_bytes()
    return reading


def _steps(model: Any, optimiser: Any, case: Case, given: dict[str, torch.Tensor], meter: Meter) -> Reading:
    """Take `STEPS` steps; phases are the last step's, peaks are over all."""
    total = Reading()
    for _ in range(STEPS):
        step = _step(model, optimiser, case, given, meter)
        total.phases = step.phases
        total.peak = max(total.peak, step.peak)
        total.reserved = max(total.reserved, step.reserved)
    total.device = meter.device_bytes()
    return total


def run(model: Any, case: Case, config: Any, meter: Meter) -> Iterator[Reading]:
    """Train `STEPS` steps from a fresh allocator, then once more from an emptied one."""
    model = prepare(model, case)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    given = examples(case, config, meter.device)
    meter.empty()
    ready = meter.allocated_bytes()
    optimiser = OPTIMISERS[case.optimiser](trainable, lr=LEARNING_RATE)
    for _ in range(2):
        reading = _steps(model, optimiser, case, given, meter)
        reading.phases["ready"] = ready
        reading.phases["trainable_parameters"] = sum(parameter.numel() for parameter in trainable)
        reading.phases["trainable"] = sum(p.numel() * p.element_size() for p in trainable)
        yield reading
        meter.empty()
