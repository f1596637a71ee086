"""The columns of measured cases, and the settings that their prose tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rackrate.errors import ImportRejected
from rackrate.fit.cases import COLUMNS, Case, case_from_row, read_cases, write_cases
from rackrate.fit.logs import parse_log, to_cases

HEADER = ",".join(COLUMNS)
GOOD = "x-1,inference,M,8.03,bf16,bf16,vLLM 0.11,H100,1,,16000,weights_gib,14.99,gpu,14.99,a log,eager"


def case(**fields: str) -> Case:
    base = {"workload": "inference", "model": "M", "quantity": "peak_gib", "value": "1", "per": "total"}
    return case_from_row(base | fields)


def test_a_row_becomes_a_case_with_numbers() -> None:
    table = read_cases(f"{HEADER}\n{GOOD}\n")
    assert table.rejected == ()
    (one,) = table.cases
    assert (one.params_b, one.gpu_count, one.batch, one.context) == (8.03, 1, None, 16000)
    assert (one.quantity, one.value, one.per) == ("weights_gib", 14.99, "gpu")


def test_columns_may_come_in_any_order_with_others_between() -> None:
    order = ["remark", *reversed(COLUMNS)]
    cells = dict(zip(COLUMNS, GOOD.split(","), strict=True)) | {"remark": "?"}
    text = "\ufeff" + ",".join(order) + "\r\n" + ",".join(cells[name] for name in order) + "\r\n\r\n"
    assert read_cases(text).cases == read_cases(f"{HEADER}\n{GOOD}").cases


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("14.99,gpu,14.99", "neither gpu nor total"),
        ("weights_gib,14.99", "value 'much'"),
        ("weights_gib,", "quantity 'W!'"),
        (",1,,16000", "gpu_count '1.5'"),
        (",16000,", "context '-1'"),
        ("inference", "workload is empty"),
        ("8.03", "params_b 'inf'"),
        (",a log,eager", "16 fields"),
    ],
)
def test_a_bad_row_is_rejected_with_its_line_and_reason(change: str, reason: str) -> None:
    replaced = {
        "14.99,gpu,14.99": "14.99,node,14.99",
        "weights_gib,14.99": "weights_gib,much",
        "weights_gib,": "W!,",
        ",1,,16000": ",1.5,,16000",
        ",16000,": ",-1,",
        "inference": "",
        "8.03": "inf",
        ",a log,eager": ",a log",
    }[change]
    table = read_cases(f"{HEADER}\n{GOOD}\n{GOOD.replace(change, replaced).replace('x-1', 'x-2')}\n")
    assert len(table.cases) == 1
    assert [(row.line, reason in row.reason) for row in table.rejected] == [(3, True)]


def test_an_id_may_not_come_twice_and_a_verdict_is_yes_or_no() -> None:
    table = read_cases(
        f"{HEADER}\n{GOOD}\n{GOOD}\n{GOOD.replace('x-1', 'x-2').replace('weights_gib', 'fits')}\n"
    )
    assert [row.line for row in table.rejected] == [3, 4]
    assert "twice" in table.rejected[0].reason
    assert "not 0 or 1" in table.rejected[1].reason


@pytest.mark.parametrize("text", ["", "id,model\n1,2\n", HEADER.replace("per,", "")])
def test_a_table_without_the_columns_is_an_error(text: str) -> None:
    with pytest.raises(ImportRejected, match="no column"):
        read_cases(text)


def test_a_column_that_is_not_needed_may_be_missing() -> None:
    text = (
        'workload,model,quantity,value,per\nInference,m,weights_gib,"1,024",GPU\nfull-FT,m,fits,yes,total\n'
    )
    one, other = read_cases(text).cases
    assert (one.workload, one.value, one.per, one.note, one.batch) == ("inference", 1024, "gpu", "", None)
    assert (other.workload, other.value) == ("full_ft", 1.0)


def test_what_is_written_is_read_back() -> None:
    cases = read_cases(f"{HEADER}\n{GOOD}\n").cases
    odd = case(id="q", note='a "quoted", note', gpu_count="0", batch="8", value="0.125")
    assert read_cases(write_cases([*cases, odd])).cases == (*cases, odd)


def test_the_rows_of_a_log_are_cases_and_say_its_settings() -> None:
    log = parse_log(
        "INFO [core.py:1] Initializing a V1 LLM engine (v0.11.0) with config: model='m', "
        "dtype=torch.bfloat16, max_seq_len=4096, tensor_parallel_size=2, enforce_eager=True, "
        "kv_cache_dtype=fp8\nINFO [gpu_model_runner.py:1] Model loading took 14.9889 GiB and 3.5 seconds\n"
        "INFO [worker.py:1] total_gpu_memory (79.22GiB) x gpu_memory_utilization (0.90) = 71.29GiB\n"
    )
    (row,) = to_cases(log, gpu="h100-sxm")
    settings = case_from_row(row).settings
    assert settings["gpu_memory_utilization"] == "0.90"
    assert settings["enforce_eager"] == "yes"
    assert settings["tensor_parallel_size"] == "2"
    assert settings["kv_cache_dtype"] == "fp8"
    assert (settings["engine"], settings["engine_version"]) == ("vLLM", "0.11.0")


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("vLLM 0.8.5", {"engine": "vLLM", "engine_version": "0.8.5"}),
        ("vLLM V0 0.7.x", {"engine": "vLLM", "engine_generation": "V0", "engine_version": "0.7.x"}),
        ("vLLM 0.6.4-0.7", {"engine": "vLLM", "engine_version": "0.6.4-0.7"}),
        ("vLLM 2026", {"engine": "vLLM", "engine_date": "2026"}),
        (
            "llama.cpp ollama 2024-09",
            {"engine": "llama.cpp", "front_end": "ollama", "engine_date": "2024-09"},
        ),
        ("llama.cpp 2026-04 ROCm", {"engine": "llama.cpp", "backend": "ROCm", "engine_date": "2026-04"}),
        ("llama.cpp b9943", {"engine": "llama.cpp", "engine_version": "b9943"}),
        (
            "transformers 4.51.3, torch 2.6.0, flash-attn 2.7.4",
            {
                "engine": "transformers",
                "engine_version": "4.51.3",
                "torch": "2.6.0",
                "flash_attn": "2.7.4",
                "attention": "flash",
            },
        ),
        (
            "litgpt 8641822, torch 2.1, bitsandbytes 0.41.1",
            {"engine": "litgpt", "engine_version": "8641822", "torch": "2.1", "bitsandbytes": "0.41.1"},
        ),
        ("HF + FA2", {"engine": "HF", "attention": "flash"}),
        ("HF trainer + flash-attn 2, CUDA 11.8", {"engine": "HF trainer", "flash_attn": "2", "cuda": "11.8"}),
        ("torchtune (2025), torch.compile", {"engine": "torchtune", "engine_date": "2025", "compile": "yes"}),
        ("transformers (profile script)", {"engine": "transformers"}),
        ("kohya sd-scripts", {"engine": "kohya sd-scripts"}),
        ("", {}),
    ],
)
def test_the_words_of_engines(engine: str, expected: dict[str, str]) -> None:
    settings = case(engine=engine).settings
    assert expected.items() <= settings.items()
    if "engine" not in expected:
        assert settings == {}


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (
            "gpu_memory_utilization 0.9; max_num_seqs 1024 (H100 default)",
            {"gpu_memory_utilization": "0.9", "max_num_seqs": "1024", "max_num_seqs_is_default": "yes"},
        ),
        ("gpu_memory_utilization None; max_num_seqs ", {}),
        ("gpu-memory-utilization=0.95", {"gpu_memory_utilization": "0.95"}),
        ("mem_fraction_static 0.88", {"mem_fraction_static": "0.88"}),
        (
            "max_num_batched_tokens 8192, eager; x",
            {"max_num_batched_tokens": "8192", "enforce_eager": "yes"},
        ),
        ("xformers, 32768 profiled tokens", {"attention": "xformers", "profiled_tokens": "32768"}),
        ("eager attention", {"attention": "eager"}),
        ("no flash attention, ubatch 512", {"attention": "no flash", "n_ubatch": "512"}),
        ("flash attention 2", {"attention": "flash"}),
        ("KV q8_0; 64 layers, 8 KV heads", {"kv_cache_dtype": "q8_0"}),
        ("kv_cache_dtype fp8_e4m3", {"kv_cache_dtype": "fp8_e4m3"}),
        ("encoder: no KV cache", {"kv_cache": "none"}),
        ("TP 4, EP 8", {"tensor_parallel_size": "4", "expert_parallel_size": "8"}),
        (
            "LoRA r=8 on q,v; no activation checkpointing; longest sample 1304 tokens",
            {
                "lora_rank": "8",
                "lora_targets": "q,v",
                "checkpointing": "no",
                "longest_sample_tokens": "1304",
            },
        ),
        ("r=32 all linear", {"lora_rank": "32", "lora_targets": "all-linear"}),
        ("LoRA rank 16, gradient checkpointing off", {"lora_rank": "16", "checkpointing": "no"}),
        (
            "optimizer in backward + 8-bit/paged AdamW, activation checkpointing; packed to 2048",
            {
                "optimizer_in_backward": "yes",
                "optimizer": "adamw_8bit",
                "paged": "yes",
                "checkpointing": "yes",
                "packed_tokens": "2048",
            },
        ),
        ("AdamW, bs 1, gradient checkpointing on", {"optimizer": "adamw", "micro_batch": "1"}),
        ("Adafactor, ZeRO-3, CPU offload", {"optimizer": "adafactor", "sharding": "zero3", "offload": "cpu"}),
        ("sequential CPU offload; tiling", {"offload": "sequential", "vae_tiling": "yes"}),
        ("model CPU offload", {"offload": "model"}),
        ("optimizer CPU offload", {"offload": "cpu"}),
        ("no offload", {"offload": "none"}),
        ("TP 2; PP 3; DP 8", {"pipeline_parallel_size": "3", "data_parallel_size": "8"}),
        ("DeepSpeed ZeRO stage 2", {"sharding": "zero2"}),
        ("FSDP; packed to 2048", {"sharding": "fsdp"}),
        ("2 x 30 GiB, ViT frozen", {"frozen": "ViT"}),
        ("49 frames, no tiling", {"n_frames": "49", "vae_tiling": "no"}),
        ("GPU part; embedding stays on the host", {"host_embedding": "yes"}),
        ("engine's own projection", {"evidence": "projection"}),
        ("rounded; unit taken as GiB; context not stated", {"evidence": "rounded", "unit": "assumed"}),
        ("short prompt; memory exhausted", {}),
    ],
)
def test_the_words_of_notes(note: str, expected: dict[str, str]) -> None:
    settings = case(note=note).settings
    assert expected.items() <= settings.items()
    if not expected:
        assert settings == {}


def test_formats_and_raw_figures_tell_settings_too() -> None:
    assert case(quant_format="AWQ-Int4 g128").settings == {"quant_group": "128"}
    assert case(quant_format="FP8 block 128x128").settings == {"quant_group": "128x128"}
    assert case(quant_format="bnb nf4 double-quant").settings == {"double_quant": "yes"}
    assert case(quant_format="bf16 LoRA r=128").settings == {"lora_rank": "128"}
    assert case(raw="OOM, micro-batch 4").settings == {"micro_batch": "4"}


def test_a_full_fine_tune_has_no_adapter_whatever_the_note_says_of_its_table() -> None:
    note = "LoRA r=64 on c_attn,c_proj by default script; gradient checkpointing on"
    assert case(workload="full_ft", note=note).settings == {"checkpointing": "yes"}
    assert case(workload="lora", note=note).settings["lora_targets"] == "c_attn,c_proj"


def test_every_shared_case_is_read_and_its_prose_understood(shared: Path) -> None:
    table = read_cases((shared / "data/fit_cases.csv").read_text(encoding="utf-8"))
    assert len(table.cases) >= 105
    assert table.rejected == ()
    assert read_cases(write_cases(table.cases)).cases == table.cases
    for one in table.cases:
        settings = one.settings
        assert settings["engine"], one.id
        assert all(settings.values()), one.id
        said = re.findall(r"gpu_memory_utilization (0\.\d+)|max_num_seqs (\d+)|LoRA r=(\d+)", one.note)
        values = {value for words in said for value in words if value}
        if one.workload != "full_ft":
            assert values <= set(settings.values()), one.id
