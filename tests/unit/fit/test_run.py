"""How a measured case was run, from the words that sources use."""

from __future__ import annotations

import pytest

from rackrate.catalog.architecture import architecture_of
from rackrate.catalog.model import load_model
from rackrate.errors import UnknownName
from rackrate.fit.cases import Case, case_from_row
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import PRECISIONS
from rackrate.fit.predict import predict
from rackrate.fit.resolve import architecture_for, card_for
from rackrate.fit.run import UNSAID_ERROR, layers_on_gpus, precision_of, setup_of
from rackrate.fit.setup import Setup
from rackrate.fit.tools import style_of
from rackrate.fit.training import lora_targets


def case(**values: str) -> Case:
    row = {"workload": "inference", "model": "Llama-3.1-8B", "precision": "bf16", "engine": "vLLM 0.11",
           "gpu": "H100", "gpu_count": "1", "quantity": "peak_gib", "value": "1", "per": "gpu"}  # fmt: skip
    return case_from_row(row | values)


def setup(**values: str) -> Setup:
    one = case(**values)
    return setup_of(one, architecture_for(one), style_of(one))[0]


@pytest.mark.parametrize(
    ("precision", "words", "name"),
    [
        ("int4", "GPTQ 4bit 32g", "int4-g32"),
        ("int4", "AWQ, group size 64", "int4-g64"),
        ("int4", "GPTQ-Int4 g128", "int4"),
        ("int3", "GPTQ 3-bit", "int3"),
        ("int2", "HQQ 2-bit", "int2"),
        ("mlx", "MLX 3-bit", "mlx-3bit"),
        ("mlx", "4bit g64", "mlx-4bit"),
        ("w4a8", "QServe", "int4"),
        ("bnb-8bit", "", "int8"),
        ("bf16-mixed", "", "bf16"),
        ("tf32", "tf32", "fp32"),
        ("gguf", "UD-Q4_K_XL", "gguf:q4_k_m"),
        ("gguf", "Q2_K_XL", "gguf:q2_k"),
        ("gguf", "Q4", "gguf:q4_k_m"),
        ("gguf", "Q8_K_XL", "gguf:q8_0"),
        ("Q5_K_M", "", "gguf:q5_k_m"),
        ("exl2", "4.0bpw", "exl-4bpw"),
        ("4.65bpw", "exl2", "exl-4.65bpw"),
    ],
)
def test_words_of_a_width(precision: str, words: str, name: str) -> None:
    assert precision_of(case(precision=precision, quant_format=words)).name == name


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "bf16"),
        ({"model": "Qwen2.5-72B-Instruct-AWQ"}, "int4"),
        ({"engine": "ollama 0.5"}, "gguf:q4_k_m"),
        ({"workload": "qlora"}, "nf4-dq"),
        ({"precision": "gguf"}, "gguf:q4_k_m"),
    ],
)
def test_a_width_that_nobody_states_is_the_likely_one(values: dict[str, str], name: str) -> None:
    found = precision_of(case(**({"precision": ""} | values)))
    assert found.name == name
    is_named = "AWQ" in values.get("model", "")
    assert found.error_frac == (PRECISIONS[name].error_frac if is_named else UNSAID_ERROR)


def test_exl2_by_its_definition() -> None:
    """Linear layers at the stated bits, the output matrix at 6, the embedding in 16."""
    one = case(precision="exl2", quant_format="4.0bpw", engine="exllamav2", quantity="weights_gib")
    arch = architecture_for(one)
    matrices, table = arch.params_of("attention", "mlp"), 128_256 * 4096
    by_hand = (matrices * 4 + table * 6 + table * 16) / 8 / 2**30
    assert predict(one, arch, card_for("H100")).value == pytest.approx(by_hand, rel=2e-3)


def test_mxfp4_of_a_model_without_experts_narrows_its_blocks() -> None:
    one = case(precision="mxfp4", quantity="weights_gib")
    assert predict(one, architecture_for(one), card_for("H100")).value == pytest.approx(5.4, abs=0.1)


@pytest.mark.parametrize(
    ("engine", "ours"),
    [
        ("ollama 0.5", "llama.cpp"), ("llama-server b5000", "llama.cpp"), ("koboldcpp 1.80", "llama.cpp"),
        ("llama-cpp-python 0.3", "llama.cpp"), ("LM Studio", "llama.cpp"), ("aphrodite 0.6", "vllm"),
        ("LLaMA-Factory 0.9", "transformers"), ("axolotl", "transformers"), ("SGLang", "sglang"),
    ],
)  # fmt: skip
def test_tools_that_are_made_of_others(engine: str, ours: str) -> None:
    assert style_of(case(engine=engine)).engine == ours


@pytest.mark.parametrize(
    ("note", "layout"),
    [
        ("TP 2 PP 2", Layout(tensor=2, pipeline=2)),
        ("tensor_parallel_size 1; pipeline_parallel_size 4", Layout(pipeline=4)),
        ("tensor_parallel_size 4", Layout(tensor=4)),
        ("TP 0", Layout(tensor=4)),  # nobody runs that: vLLM's own way
    ],
)
def test_layouts_that_notes_state(note: str, layout: Layout) -> None:
    assert setup(note=note, gpu_count="4").layout == layout


@pytest.mark.parametrize(
    ("note", "shard"), [("ZeRO-1", 1), ("ZeRO-2", 2), ("ZeRO-3", 3), ("FSDP", 3), ("DDP", 0)]
)
def test_stages_of_sharding(note: str, shard: int) -> None:
    found = setup(workload="full_ft", engine="transformers 4.46", note=note, gpu_count="4")
    assert found.layout == Layout(data=4, shard=shard)
    assert found.training is not None
    assert found.training.has_master == note.startswith("ZeRO")


def test_what_a_trainer_moves_to_the_host() -> None:
    found = setup(workload="full_ft", note="ZeRO-3, CPU offload", gpu_count="4")
    assert found.training is not None
    assert found.training.has_offload
    image = setup(workload="diffusion", model="FLUX.1-dev", engine="diffusers", note="model CPU offload")
    assert image.offload == "model"


def test_autocast_keeps_32_bit_weights() -> None:
    found = setup(workload="full_ft", precision="fp16", quant_format="AMP fp16")
    assert found.training is not None
    assert found.training.is_mixed


@pytest.mark.parametrize(("word", "ours"), [("Adam", "adamw"), ("Muon", "sgd-momentum"), ("Lion", "lion")])
def test_optimisers_that_keep_as_much_as_ours(word: str, ours: str) -> None:
    found = setup(workload="full_ft", note=f"optimizer {word}")
    assert found.training is not None
    assert found.training.optimiser == ours


@pytest.mark.parametrize(
    ("slug", "word", "names"),
    [
        ("llama-3.1-8b", "qkv_proj", ("attn_q", "attn_k", "attn_v")),
        ("llama-3.1-8b", "gate_up_proj", ("ffn_gate", "ffn_up")),
        ("falcon-7b", "query_key_value", ("attn_q", "attn_k", "attn_v")),
        ("falcon-7b", "dense_h_to_4h", ("ffn_up",)),
        ("bert-base-uncased", "query", ("attn_q",)),
        ("gpt2", "c_attn", ("attn_q", "attn_k", "attn_v")),
        ("gpt2", "c_proj", ("attn_output", "ffn_down")),
        ("t5-base", "wi", ("ffn_up",)),
        ("mixtral-8x7b", "w1", ("ffn_gate_exps",)),
        ("qwen-7b", "w1", ("ffn_up",)),
        ("deepseek-v2-lite", "kv_a_proj_with_mqa", ("attn_kv_a_mqa",)),
        ("deepseek-v2-lite", "gate_proj", ("ffn_gate", "ffn_gate_exps", "ffn_gate_shexp")),
    ],
)
def test_names_of_lora_targets(slug: str, word: str, names: tuple[str, ...]) -> None:
    assert lora_targets(architecture_of(load_model(slug)), word) == names


def test_a_target_that_is_no_matrix() -> None:
    with pytest.raises(UnknownName):
        lora_targets(architecture_of(load_model("llama-3.1-8b")), "foo")
    found = setup(workload="lora", engine="peft", note="LoRA r=8 on q,v,foo")
    assert found.training is not None
    assert found.training.targets == ("attn_q", "attn_v")


@pytest.mark.parametrize(("said", "share"), [("16/33", 0.5), ("33/33", 1.0), ("0/33", 0.0), ("99", 1.0)])
def test_layers_that_llama_cpp_put_on_gpus(said: str, share: float) -> None:
    assert layers_on_gpus(case(engine="llama.cpp", note=f"n_gpu_layers {said}")) == share


@pytest.mark.parametrize("name", ["large-v2", "turbo", "tiny"])
def test_whisper_by_its_size_alone(name: str) -> None:
    assert architecture_for(case(workload="asr", model=name)).task == "asr"


def test_a_pipeline_of_which_only_the_size_is_known() -> None:
    one = case(workload="diffusion", model="Unheard-Of", params_b="6.8", engine="diffusers")
    arch = architecture_for(one)
    assert arch.task == "image"
    assert predict(one, arch, card_for("L40S")).value > 6.8e9 * 2 / 2**30
