"""Make the models: random weights on the device, from a configuration, plain or quantised."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import torch
import transformers
from cases import Case
from shapes import MODELS, TINY, written

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
HEADS = {
    "lm": transformers.AutoModelForCausalLM,
    "mlm": transformers.AutoModelForMaskedLM,
    "classify": transformers.AutoModelForSequenceClassification,
    "seq2seq": transformers.AutoModelForSeq2SeqLM,
}
NF4 = {"nf4": False, "nf4-double": True}  # whether the scales are quantised a second time


def configuration(case: Case, *, tiny: bool) -> Any:
    """Return the case's transformers configuration, made small for a dry run."""
    numbers = dict(MODELS[case.model])
    if tiny:
        numbers |= {name: small for name, small in TINY.items() if name in numbers}
    numbers |= {} if tiny else dict(case.changes)
    kind = numbers.pop("model_type")
    return transformers.AutoConfig.for_model(kind, **numbers)


def preload(cases: Iterable[Case]) -> None:
    """Import what every forked process would: the families' modelling code, and what optimisers ask for."""
    importlib.import_module("torch._dynamo")
    for case in {case.model: case for case in cases}.values():
        HEADS[case.task]._model_mapping[type(configuration(case, tiny=True))]  # noqa: SLF001


def describe(config: Any) -> dict[str, object]:
    """Return the numbers of a configuration that memory depends on."""
    return written(config.to_dict())


def build(case: Case, config: Any, device: torch.device) -> Any:
    """Return the model on `device` with random weights, its linear layers quantised if the case says so."""
    with torch.device(device):
        model = HEADS[case.task].from_config(
            config, dtype=DTYPES[case.dtype], attn_implementation=case.attention
        )
    if case.weights != "plain":
        quantise(model, case.weights)
    return model


def parameters(model: torch.nn.Module) -> int:
    """Return the number of parameters, tied ones once; to be asked before quantisation packs them."""
    return sum(parameter.numel() for parameter in model.parameters())


def quantise(model: Any, weights: str) -> None:
    """Replace every linear layer but the head by its bitsandbytes form, as transformers does on loading.

    One layer at a time, so the model never stands twice in memory.
    """
    head = model.get_output_embeddings()
    linears = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is torch.nn.Linear and child is not head
    ]
    for parent, name, child in linears:
        setattr(parent, name, _quantised(child, weights))
    if weights == "int8":
        model.is_loaded_in_8bit = True
    else:
        model.is_loaded_in_4bit = True


def _quantised(linear: torch.nn.Linear, weights: str) -> torch.nn.Module:
    import bitsandbytes as bnb  # noqa: PLC0415 - optional, and it starts CUDA: only in the child

    has_bias = linear.bias is not None
    device, dtype = linear.weight.device, linear.weight.dtype
    with torch.device("meta"):
        if weights == "int8":
            layer = bnb.nn.Linear8bitLt(
                linear.in_features, linear.out_features, has_bias, has_fp16_weights=False, threshold=6.0
            )
        else:
            layer = bnb.nn.Linear4bit(
                linear.in_features, linear.out_features, has_bias, compute_dtype=dtype, quant_type="nf4"
            )
    if weights == "int8":
        halves = linear.weight.data.cpu()  # int8 is made on the way from the CPU; on the GPU it would wait
        layer.weight = bnb.nn.Int8Params(halves, requires_grad=False, has_fp16_weights=False)
    else:
        layer.weight = bnb.nn.Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=NF4[weights]
        )
    layer.weight = layer.weight.to(device)
    if has_bias:
        layer.bias = torch.nn.Parameter(linear.bias.data, requires_grad=False)
    layer.requires_grad_(requires_grad=False)
    return layer
