"""What a start-up log says was measured. The logs are our own, in the wording of the engine named."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from rackrate.errors import ImportRejected
from rackrate.fit.logs import EngineLog, parse_log, to_cases

LOGS = {
    path.stem: path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("logs/*.txt"))
}
VLLM_0_5_4 = LOGS["vllm-0.5.4"]
VLLM_0_6_4 = LOGS["vllm-0.6.4"]
VLLM_0_6_5 = LOGS["vllm-0.6.5"]
VLLM_0_8_5_TP2 = LOGS["vllm-0.8.5-tp2"]
VLLM_0_11_TP2 = LOGS["vllm-0.11.0-tp2"]
VLLM_0_27 = LOGS["vllm-0.27.1"]
SGLANG_0_5 = LOGS["sglang-0.5"]
LLAMA_2024 = LOGS["llama.cpp-b3600"]
LLAMA_2026 = LOGS["llama.cpp-b9943"]


def figures(log: EngineLog, *names: str) -> list[float]:
    return [round(log.measured[name], 4) for name in names]


def rows(log: EngineLog, gpu: str = "") -> dict[str, dict[str, str]]:
    return {row["quantity"]: row for row in to_cases(log, gpu)}


# --- vLLM -------------------------------------------------------------------------------------


def test_vllm_0_5_says_gb_and_means_gib_and_counts_blocks_of_16() -> None:
    log = parse_log(VLLM_0_5_4)
    assert (log.engine, log.version, log.model, log.n_gpus) == ("vLLM", "0.5.4", "org/tiny-8b", 1)
    assert figures(log, "weights_gib", "kv_tokens") == [14.9595, 27896 * 16]
    assert "cuda_graph_gib" not in log.measured  # 0.5 does not say what the graphs took
    assert log.settings["dtype"] == "bfloat16"
    assert log.settings["max_model_len"] == "8192"
    assert "quantization" not in log.settings
    assert (log.outcome, log.reason) == ("started", "")


def test_vllm_0_6_4_takes_the_weights_off_the_peak() -> None:
    log = parse_log(VLLM_0_6_4)
    assert figures(log, "weights_gib", "activation_gib", "non_torch_gib") == [2.6419, 0.4781, 0.47]
    assert figures(log, "kv_gib", "total_gib", "kv_tokens", "max_concurrency") == [3.54, 7.92, 19312, 9.43]
    assert log.settings["gpu_memory_utilization"] == "0.90"
    assert log.model == "org/phi"
    assert log.outcome == "unknown"
    assert "ends before" in log.reason


def test_vllm_0_6_5_says_one_figure_a_line() -> None:
    log = parse_log(VLLM_0_6_5)
    names = ("weights_gib", "non_torch_gib", "activation_gib", "kv_gib", "total_gib")
    assert figures(log, *names) == [14.96, 1.79, 1.26, 53.29, 79.22]
    assert log.settings["gpu_memory_utilization"] == "0.90"


def test_vllm_0_8_5_of_two_gpus_reports_the_fullest_and_the_least_room() -> None:
    log = parse_log(VLLM_0_8_5_TP2)
    assert [gpu.name for gpu in log.per_gpu] == ["pid 91", "0"]
    assert log.n_gpus == 2
    names = ("weights_gib", "activation_gib", "non_torch_gib", "kv_gib", "cuda_graph_gib")
    assert figures(log, *names) == [7.6085, 1.45, 0.26, 12.62, 0.85]
    assert figures(log, "kv_tokens") == [12923 * 16]
    assert log.settings["max_model_len"] == "32768"
    assert log.outcome == "started"


def test_vllm_blocks_are_as_large_as_the_line_on_concurrency_says() -> None:
    text = VLLM_0_6_4.replace("9.43x", "37.72x")  # 4 times the tokens in as many blocks
    assert parse_log(text).measured["kv_tokens"] == 1207 * 64
    told = "INFO [cuda.py:1] Forcing kv cache block size to 64 for FlashMLA backend.\n"
    assert parse_log(told + VLLM_0_6_4).measured["kv_tokens"] == 1207 * 64


def test_vllm_0_11_v1_reads_arguments_config_and_the_last_line() -> None:
    log = parse_log(VLLM_0_11_TP2)
    assert (log.version, log.model, log.n_gpus, log.n_starts) == ("0.11.0", "org/moe-fp8", 2, 1)
    assert [gpu.name for gpu in log.per_gpu] == ["TP0", "TP1"]
    names = ("weights_gib", "activation_gib", "non_torch_gib", "kv_gib", "cuda_graph_gib", "free_gib")
    assert figures(log, *names) == [74.2756, 5.58, 1.38, 44.5, 2.37, 139.21]
    assert figures(log, "kv_tokens", "max_concurrency", "total_gib") == [973760, 14.77, 139.81]
    assert log.settings["max_num_seqs"] == "64"
    assert log.settings["max_num_batched_tokens"] == "8192"
    assert log.settings["enforce_eager"] == "True"
    assert log.settings["engine_generation"] == "V1"
    assert log.outcome == "started"


def test_vllm_0_27_takes_the_weights_off_the_consumed_memory() -> None:
    log = parse_log(VLLM_0_27)
    assert log.version == "0.27.1"
    assert figures(log, "weights_gib", "non_torch_gib", "activation_gib") == [0.93, 0.56, 0.25]
    assert figures(log, "cuda_graph_gib", "cuda_graph_estimated_gib", "kv_gib") == [0.37, 0.36, 18.65]
    assert log.settings["gpu_memory_utilization"] in {"0.8500", "0.85"}
    assert log.settings["speculative"] == "yes"
    assert log.model == "org/half-b"
    assert log.per_gpu[0].name == "0"


def test_vllm_v1_debug_lines_have_what_the_info_lines_lack() -> None:
    log = parse_log(
        "DEBUG 06-07 [gpu_worker.py:243] Memory profiling takes 2.10 seconds. Total non KV cache memory: "
        "16.29GiB; torch peak memory increase: 1.18GiB; non-torch forward increase memory: 0.12GiB; weights "
        "memory: 14.99GiB.\nINFO 06-07 [gpu_worker.py:252] Available KV cache memory: 54.90 GiB\n"
    )
    assert figures(log, "weights_gib", "activation_gib", "non_torch_gib") == [14.99, 1.18, 0.12]


def test_vllm_data_parallel_engines_are_one_start_and_add_their_tokens() -> None:
    engine = (
        "(EngineCore_DP{0} pid=1{0}) INFO [core.py:77] Initializing a V1 LLM engine (v0.11.0) with config: "
        "model='org/m', tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=2\n"
        "(EngineCore_DP{0} pid=1{0}) INFO [runner.py:1] Model loading took 3.{0} GiB and 1.0 seconds\n"
        "(EngineCore_DP{0} pid=1{0}) INFO [kv_cache_utils.py:1] GPU KV cache size: 1,000 tokens\n"
    )
    log = parse_log(engine.format(0) + engine.format(1))
    assert (log.n_starts, log.n_gpus, log.measured["kv_tokens"]) == (1, 2, 2000)
    assert [gpu.measured["weights_gib"] for gpu in log.per_gpu] == [3.0, 3.1]
    assert parse_log(engine.format(0) + engine.format(0)).n_starts == 2
    under_ray = [engine.format(i).replace(f"(EngineCore_DP{i} pid", "(DPEngineCoreActor pid") for i in (0, 1)]
    log = parse_log("".join(under_ray))
    assert (log.n_starts, log.n_gpus, log.measured["kv_tokens"]) == (1, 2, 2000)


TORCH = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 2 has a total capacity of "
    "14.62 GiB of which 3.31 MiB is free. Of the allocated memory 14.42 GiB is allocated by PyTorch"
)
TOO_LONG_V1 = (
    "ValueError: To serve at least one request with the models's max seq len (1048576), (24.00 GiB KV cache "
    "is needed, which is larger than the available KV cache memory (9.97 GiB). Based on the available "
    "memory, the estimated maximum model length is 34736. Try increasing `gpu_memory_utilization`"
)
TOO_LONG_V0 = (
    "ValueError: The model's max seq len (4096) is larger than the maximum number of tokens that can be "
    "stored in KV cache (3664). Try increasing `gpu_memory_utilization`"
)
NO_BLOCKS = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"


@pytest.mark.parametrize(
    ("line", "reason", "figure"),
    [
        (TORCH, "20.00 MiB asked, 3.31 MiB of 14.62 GiB free", {"asked_gib": 20 / 1024}),
        (NO_BLOCKS, "cache blocks", {}),
        (
            TOO_LONG_V1,
            "needs 24.00 GiB, 9.97 GiB are available",
            {"kv_needed_gib": 24.0, "kv_available_gib": 9.97, "longest_context_tokens": 34736},
        ),
        (TOO_LONG_V0, "holds 3664 tokens", {"longest_context_tokens": 3664}),
    ],
)
def test_vllm_refusals_are_out_of_memory_with_their_numbers(
    line: str, reason: str, figure: dict[str, float]
) -> None:
    head = "(EngineCore_DP0 pid=9) INFO [runner.py:1] Model loading took 9.10 GiB and 1.0 seconds\n"
    log = parse_log(
        f"{head}(EngineCore_DP0 pid=9) ERROR [core.py:1] {line}\nEngine core initialization failed."
    )
    assert log.outcome == "out_of_memory"
    assert reason in log.reason
    assert figure.items() <= log.measured.items()
    assert rows(log)["oom"]["value"] == "1"


def test_vllm_negative_room_is_a_lack() -> None:
    line = (
        "INFO [worker.py:295] model weights take 6.59GiB; non_torch_memory takes 8.29GiB; PyTorch activation "
    )
    log = parse_log(
        line + "peak memory takes 4.93GiB; the rest of the memory reserved for KV Cache is -7.83GiB."
    )
    assert "kv_gib" not in log.measured
    assert log.measured["kv_missing_gib"] == 7.83


def test_a_card_that_others_hold_is_no_verdict_on_the_model() -> None:
    log = parse_log(
        "ValueError: Free memory on device cuda:0 (27.28/31.86 GiB) on startup is less than desired GPU "
        "memory utilization (0.97, 30.9 GiB). Decrease GPU memory utilization."
    )
    assert log.outcome == "unknown"
    assert "less memory free" in log.reason
    assert figures(log, "free_gib", "total_gib") == [27.28, 31.86]


def test_the_last_complete_start_of_a_restart_loop_counts() -> None:
    head, _, _ = VLLM_0_11_TP2.partition("(Worker_TP1 pid=12) INFO 10-23 15:14:29")
    banner, _, _ = VLLM_0_11_TP2.partition("(Worker_TP0")
    failed = f"{head}{NO_BLOCKS}\n"
    log = parse_log(failed + failed.replace("74.2756", "70.0001") + banner)
    assert (log.n_starts, log.outcome) == (2, "out_of_memory")
    assert log.measured["weights_gib"] == 70.0001
    assert parse_log(failed + VLLM_0_11_TP2).outcome == "started"


def test_memory_that_runs_out_while_serving_leaves_no_verdict() -> None:
    log = parse_log(
        VLLM_0_11_TP2 + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"
    )
    assert log.outcome == "started"
    assert "while serving: out of memory: 2.00 GiB asked" in log.reason
    assert not {"fits", "oom"} & rows(log).keys()


# --- SGLang -----------------------------------------------------------------------------------


def test_sglang_0_5_reads_ranks_pools_and_limits() -> None:
    log = parse_log(SGLANG_0_5)
    assert (log.engine, log.model, log.n_gpus) == ("SGLang", "org/tiny-8b", 2)
    assert figures(log, "weights_gib", "kv_gib", "cuda_graph_gib", "free_gib") == [7.52, 54.94, 1.04, 78.4]
    assert figures(log, "kv_tokens", "distributed_gib", "free_after_gib") == [900000, 0.09, 14.8]
    assert log.settings["mem_fraction_static"] == "0.85"
    assert log.settings["dtype"] == "bfloat16"
    assert log.settings["context_length"] == "131072"
    assert [gpu.name for gpu in log.per_gpu] == ["TP0", "TP1"]
    assert log.outcome == "started"


def test_sglang_0_4_1_gives_weights_by_what_became_of_the_free_memory() -> None:
    log = parse_log(
        "[2025-01-23 19:35:15 TP0] Load weight begin. avail mem=78.81 GB\n"
        "[2025-01-23 19:35:20 TP0] Load weight end. type=LlamaForCausalLM, dtype=torch.bfloat16, avail "
        "mem=63.72 GB\n[2025-01-23 19:35:20 TP0] KV Cache is allocated. K size: 27.13 GB, V size: 27.13 GB.\n"
        "[2025-01-23 19:35:27 TP0] Capture cuda graph end. Time elapsed: 6.57 s\n"
        "[2025-01-23 19:35:27 TP0] max_total_num_tokens=444500, max_prefill_tokens=16384, "
        "max_running_requests=2049, context_len=131072\n[2025-01-23 19:35:27] INFO: Uvicorn running on http://x\n"
    )
    assert figures(log, "weights_gib", "kv_gib", "kv_tokens") == [15.09, 54.26, 444500]
    assert log.outcome == "started"


def test_sglang_0_5_hybrid_and_latent_caches_and_a_draft() -> None:
    log = parse_log(
        "[2026-02-01 00:05:02 TP0] Load weight begin. avail mem=111.97 GB\n"
        "[2026-02-01 00:05:03 TP0] Load weight end. elapsed=1.25 s, type=Hybrid, quant=modelopt_fp4, avail "
        "mem=29.01 GB, mem usage=82.97 GB.\n[2026-02-01 00:05:04 TP0] Load weight begin. avail mem=28.81 GB\n"
        "[2026-02-01 00:05:05 TP0] Load weight end. elapsed=94 s, type=HybridMTP, avail mem=30.67 GB, mem "
        "usage=-1.86 GB.\n[2026-02-01 00:05:06 TP0] Mamba Cache is allocated. max_mamba_cache_size: 38, "
        "conv_state size: 0.03GB, ssm_state size: 2.74GB \n"
        "[2026-02-01 00:05:06 TP0] KV Cache is allocated. #tokens: 2454421, KV size: 160.63 GB\n"
        "[2026-02-01 00:05:07 TP0] Capture target verify CUDA graph end. elapsed=1.61 s, mem usage=0.11 GB, "
        "avail mem=26.15 GB.\n"
    )
    assert figures(log, "weights_gib", "draft_weights_gib", "state_gib", "kv_gib") == [
        82.97,
        0.0,
        2.77,
        160.63,
    ]
    assert log.settings["quantization"] == "modelopt_fp4"
    assert log.measured["cuda_graph_gib"] == 0.11
    assert rows(log)["weights_gib"]["precision"] == "nvfp4"


def test_sglang_0_5_sliding_window_pools_are_counted_once() -> None:
    end = "Load weight end. elapsed=2.46 s, type=Gemma, avail mem=97.30 GB, mem usage=15.56 GB.\n"
    pools = 2 * "KV Cache is allocated. dtype: torch.bfloat16, #tokens: 9, K size: 10.0 GB, V size: 10.0 GB\n"
    summary = "SWAKVPool mem usage: 40.00 GB, swa size: 798276, full size: 997846\n"
    assert parse_log(end + pools + summary).measured["kv_gib"] == 40.0
    assert parse_log(end + summary).measured["kv_gib"] == 40.0


def test_sglang_data_parallel_attention_shares_the_gpus() -> None:
    text = SGLANG_0_5.replace("dp_size=1", "dp_size=2")
    assert parse_log(text).n_gpus == 4
    assert parse_log(text.replace("enable_dp_attention=False", "enable_dp_attention=True")).n_gpus == 2


def test_sglang_without_room_is_out_of_memory() -> None:
    head, _, _ = SGLANG_0_5.partition("[2026-02-09 03:51:06 TP0] Using")
    log = parse_log(f"{head}RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.\n")
    assert log.outcome == "out_of_memory"
    assert "mem_fraction_static" in log.reason


# --- llama.cpp --------------------------------------------------------------------------------


def test_llama_cpp_of_2024_sums_the_cards_and_leaves_the_host_out() -> None:
    log = parse_log(LLAMA_2024)
    assert (log.engine, log.version, log.model, log.per, log.n_gpus) == (
        "llama.cpp",
        "b3600",
        "C 35B",
        "total",
        2,
    )
    assert figures(log, "weights_gib", "kv_gib", "compute_gib") == [
        round(mib / 1024, 4) for mib in (5434.38 + 13989.53, 5120.0, 672.01 + 705.02)
    ]
    assert figures(log, "host_weights_gib", "params_b", "file_gib") == [1.6022, 34.98, 20.05]
    assert log.per_gpu[1].measured["kv_gib"] == 3.5
    assert log.settings["gpu"] == "NVIDIA GeForce RTX 4070 Ti, NVIDIA GeForce RTX 3090 Ti"
    assert log.settings["n_gpu_layers"] == "41/41"
    assert log.settings["type_k"] == "f16"
    assert rows(log)["fits"]["gpu_count"] == "2"


def test_llama_cpp_of_2026_tells_a_trial_from_the_load_and_keeps_what_it_projected() -> None:
    log = parse_log(LLAMA_2026)
    assert (log.version, log.model, log.n_gpus, log.n_starts) == ("b9943", "Q 27B", 1, 1)
    assert figures(log, "weights_gib", "kv_gib", "state_gib", "compute_gib") == [
        13.7033,
        6.4912,
        0.1461,
        0.6394,
    ]
    assert figures(log, "projected_gib", "projected_free_gib", "kv_tokens") == [24.8857, 22.6113, 200192]
    assert figures(log, "free_gib", "total_gib") == [22.6113, 23.5586]
    assert log.settings["flash_attn"] == "enabled"
    assert log.settings["type_k"] == "q8_0"
    found = rows(log)
    assert found["peak_gib"]["context"] == found["oom"]["context"] == "262144"  # as it was asked for
    assert found["fits"]["context"] == found["kv_gib"]["context"] == "200192"
    assert found["oom"]["raw"] == "25483 MiB vs 23154 MiB free"
    assert "KV q8_0" in found["kv_gib"]["note"]


@pytest.mark.parametrize(
    ("device", "is_gpu"),
    [
        ("CUDA1", True),
        ("ROCm0", True),
        ("Vulkan0", True),
        ("MTL0_Mapped", True),
        ("Metal_Mapped", True),
        ("Metal", True),
        ("SYCL0", True),
        ("CUDA0_Split", True),
        ("RPC0[192.168.1.9:50052]", True),
        ("CPU", False),
        ("CPU_Mapped", False),
        ("CPU_REPACK", False),
        ("CUDA_Host", False),
        ("Vulkan_Host", False),
        ("BLAS", False),
    ],
)
def test_llama_cpp_buffers_belong_to_a_card_or_to_the_host(device: str, *, is_gpu: bool) -> None:
    log = parse_log(f"load_tensors: {device:>12} model buffer size =  1024.00 MiB\n")
    assert log.measured["weights_gib" if is_gpu else "host_weights_gib"] == 1.0
    assert log.n_gpus == is_gpu


def test_llama_cpp_sliding_window_caches_and_a_draft_add_up() -> None:
    log = parse_log(
        "llama_model_loader: loaded meta data with 9 pairs and 9 tensors from g.gguf (version GGUF V3)\n"
        "load_tensors:        ROCm0 model buffer size =  2048.00 MiB\n"
        "llama_context: n_ctx         = 65536\n"
        "llama_kv_cache_unified:      ROCm0 KV buffer size =   512.00 MiB\n"
        "llama_kv_cache_unified:      ROCm0 KV buffer size =    24.00 MiB\n"
        "llama_context:      ROCm0 compute buffer size =   256.00 MiB\n"
        "llama_model_loader: loaded meta data with 9 pairs and 9 tensors from d.gguf (version GGUF V3)\n"
        "load_tensors:        ROCm0 model buffer size =   512.00 MiB\n"
        "llama_context: n_ctx         = 65536\n"
        "llama_kv_cache_unified:      ROCm0 KV buffer size =    64.00 MiB\n"
        "llama_context:      ROCm0 compute buffer size =   128.00 MiB\n"
        "main: model loaded\n"
    )
    assert figures(log, "weights_gib", "draft_weights_gib", "kv_gib", "compute_gib") == [
        2,
        0.5,
        0.5859,
        0.375,
    ]
    assert (log.model, log.settings["speculative"], log.n_starts) == ("g.gguf", "yes", 1)


def test_llama_cpp_failed_allocation_is_out_of_memory_with_its_size() -> None:
    log = parse_log(
        "load_tensors: loading model tensors, this can take a while... (mmap = true)\n"
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 144817.04 MiB on device 0: cudaMalloc "
        "failed: out of memory\nalloc_tensor_range: failed to allocate CUDA0 buffer of size 151851674624\n"
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer\n"
    )
    assert (log.outcome, log.reason) == ("out_of_memory", "device 0 had no 144817.04 MiB left")
    assert figures(log, "asked_gib") == [141.4229]
    vulkan = parse_log("ggml_vulkan: Device memory allocation of size 1073741824 failed.\n")
    assert (vulkan.outcome, vulkan.measured["asked_gib"]) == ("out_of_memory", 1.0)


def test_llama_cpp_that_tries_again_with_less_has_started() -> None:
    tried = (
        "ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size 150995968\n"
        "llama_context: compute buffer allocation failed, retrying without pipeline parallelism\n"
    )
    log = parse_log(LLAMA_2024.replace("llama_print_timings", tried + "llama_print_timings"))
    assert log.outcome == "started"
    assert parse_log(LLAMA_2024.partition("llama_print")[0] + tried).outcome == "unknown"


def test_llama_cpp_out_of_host_memory_says_nothing_of_the_card() -> None:
    log = parse_log("alloc_tensor_range: failed to allocate CPU buffer of size 151851674624\n")
    assert (log.outcome, log.reason) == ("unknown", "the host's memory ran out")


@pytest.mark.parametrize(
    "split", ["load_tensors: offloaded 40/65 layers to GPU\n", "tensor blk.1 buffer type overriden to CPU\n"]
)
def test_llama_cpp_with_layers_or_experts_on_the_host_does_not_fit(split: str) -> None:
    log = parse_log(LLAMA_2026.replace("load_tensors:   CPU_Mapped", split + "load_tensors:   CPU_Mapped"))
    assert log.outcome == "started"
    assert "fits" not in rows(log)


def test_ollama_runner_prefers_the_buffers_to_its_estimate() -> None:
    estimate = (
        'time=2026-05-05T01:30:33Z source=server.go:432 msg="starting runner" cmd="ollama runner"\n'
        'time=2026-05-05T01:30:33Z source=device.go:240 msg="model weights" device=CUDA0 size="4.1 GiB"\n'
        'time=2026-05-05T01:30:33Z source=device.go:251 msg="kv cache" device=CUDA0 size="190.5 MiB"\n'
        'time=2026-05-05T01:30:33Z source=device.go:262 msg="model weights" device=CPU size="1.0 GiB"\n'
    )
    done = 'time=2026-05-05T01:30:40Z source=server.go:1388 msg="llama runner started in 2.51 seconds"\n'
    own_engine = parse_log(estimate + done)
    assert figures(own_engine, "weights_gib", "kv_gib", "host_weights_gib") == [4.1, 0.186, 1.0]
    runner = parse_log(f"{estimate}load_tensors:        CUDA0 model buffer size =  4200.00 MiB\n{done}")
    assert figures(runner, "weights_gib") == [4.1016]
    assert (runner.settings["front_end"], runner.outcome) == ("ollama", "started")
    assert rows(runner)["weights_gib"]["engine"] == "llama.cpp ollama"


def test_koboldcpp_is_named_with_its_version() -> None:
    log = parse_log(f"Welcome to KoboldCpp - Version 1.92.1\n{LLAMA_2026}Load Text Model OK: True\n")
    assert rows(log)["weights_gib"]["engine"] == "llama.cpp koboldcpp 1.92.1"


def test_several_models_of_one_ollama_log_are_several_starts() -> None:
    log = parse_log(LLAMA_2024 + LLAMA_2026)
    assert (log.n_starts, log.model) == (2, "Q 27B")


def test_the_first_generation_and_who_samples_stand_in_the_rows() -> None:
    config = "Initializing a V0 LLM engine (v0.8.5) with config: model='org/m', max_seq_len=4096, dtype=x\n"
    log = parse_log(
        config + "INFO Using FlashInfer for top-p & top-k sampling.\nINFO Model loading took 2 GiB\n"
    )
    weights = rows(log)["weights_gib"]
    assert weights["engine"] == "vLLM V0 0.8.5"
    assert "FlashInfer samples" in weights["note"].split("; ")


def test_what_graphs_really_took_is_read_and_not_what_was_expected_of_them() -> None:
    took = (
        "INFO Model loading took 15 GiB\nINFO CUDA graph pool memory: 0.91 GiB (actual), 0.84 GiB (estimated)"
    )
    assert parse_log(took).measured["cuda_graph_gib"] == 0.91


@pytest.mark.parametrize("width", [120, 132, 150])
@pytest.mark.parametrize("name", ["vllm-0.11.0-tp2", "vllm-0.5.4"])
def test_lists_of_settings_that_a_terminal_cut_are_put_together(name: str, width: int) -> None:
    lines = LOGS[name].splitlines()
    cut = [line[i : i + width] for line in lines for i in range(0, len(line), width)]
    assert len(cut) > len(lines)
    found, whole = parse_log("\n".join(cut)), parse_log(LOGS[name])
    assert found.settings == whole.settings
    assert (found.model, found.version) == (whole.model, whole.version)


def test_bare_figures_after_a_list_are_not_taken_for_its_rest() -> None:
    """As people paste them: without time and process, right behind the list."""
    text = (
        "INFO Initializing a V1 LLM engine (v0.9.0) with config: model='org/m', max_seq_len=4096,\n"
        "Model loading took 14.99 GiB and 3 seconds\n"
        "Memory profiling: total_gpu_memory=23.58GiB, non_torch_memory=0.35GiB, kv_cache_size=3.81GiB\n"
    )
    assert figures(parse_log(text), "weights_gib", "kv_gib") == [14.99, 3.81]


# --- of all -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n", "hello\nworld", "INFO: Application startup complete."])
def test_a_text_without_any_engine_is_one_error_that_says_what_was_expected(text: str) -> None:
    with pytest.raises(ImportRejected, match=r"vLLM, SGLang or llama\.cpp") as caught:
        parse_log(text)
    assert caught.value.code == "import-rejected"
    assert "model buffer size" in caught.value.hint


@pytest.mark.parametrize("name", LOGS)
def test_prefixes_and_line_ends_of_other_tools_do_not_matter(name: str) -> None:
    plain = parse_log(LOGS[name])
    docker = "\r\n".join(
        f"engine-1  | 2026-01-01T00:00:00.000000000Z {line}" for line in LOGS[name].splitlines()
    )
    assert parse_log(docker) == plain
    assert pickle.loads(pickle.dumps(plain)) == plain  # noqa: S301


@pytest.mark.parametrize("name", LOGS)
def test_a_log_cut_off_anywhere_is_read_as_far_as_it_goes(name: str) -> None:
    lines = LOGS[name].splitlines(keepends=True)
    for n_lines in range(1, len(lines)):
        try:
            log = parse_log("".join(lines[:n_lines]))
        except ImportRejected:
            continue
        assert log.engine == parse_log(LOGS[name]).engine
        assert log.outcome in {"unknown", "started"}


def test_rows_have_the_wording_and_columns_of_the_cases() -> None:
    found = rows(parse_log(VLLM_0_11_TP2), "h200-sxm")
    assert list(found) == [
        "weights_gib",
        "non_torch_gib",
        "activation_gib",
        "kv_gib",
        "cuda_graph_gib",
        "kv_tokens",
        "fits",
    ]
    weights = found["weights_gib"]
    assert (weights["value"], weights["per"], weights["gpu"]) == ("74.2756", "gpu", "h200-sxm")
    assert (weights["gpu_count"], weights["context"], weights["precision"]) == ("2", "262144", "fp8")
    assert weights["engine"] == "vLLM 0.11.0"
    for words in ("eager", "gpu_memory_utilization 0.9", "max_num_seqs 64", "tensor_parallel_size 2"):
        assert words in weights["note"].split("; ")
    assert (found["kv_tokens"]["value"], found["kv_tokens"]["per"]) == ("973760", "total")
    assert (found["fits"]["value"], found["fits"]["raw"]) == ("1", "starts")
