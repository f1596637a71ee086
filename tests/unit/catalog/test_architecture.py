"""Architectures: every tensor by role against what transformers builds from the same config."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rackrate.catalog.architecture import Architecture, architecture_of, counts_of, read_config
from rackrate.catalog.architecture.anatomy import CACHES, ROLES, SPLITS, Cache
from rackrate.catalog.architecture.family import families, family
from rackrate.catalog.model import TASKS, all_models, load_model

DATA = json.loads((Path(__file__).parents[2] / "data" / "architectures.json").read_text(encoding="utf-8"))
BUILT: dict[str, dict[str, Any]] = DATA["models"]

# Families that transformers does not have, or reads otherwise than the published files: the count that
# the hub, the maker or a trainer's log prints for the model.
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "qwen-7b": ({"model_type": "qwen"}, 7_721_324_544),
    "qwen-14b": (
        {
            "model_type": "qwen",
            "hidden_size": 5120,
            "intermediate_size": 27392,
            "num_hidden_layers": 40,
            "num_attention_heads": 40,
            "vocab_size": 152064,
        },
        14_167_290_880,
    ),
    "qwen-1.8b": (
        {
            "model_type": "qwen",
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
        },
        1_836_828_672,
    ),
    "internlm2-7b": (
        {
            "model_type": "internlm2",
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "vocab_size": 92544,
            "bias": False,
        },
        7_737_708_544,
    ),
    "baichuan2-7b": ({"model_type": "baichuan"}, 7_505_973_248),
    "falcon-7b, before transformers had it": (
        {
            "model_type": "RefinedWebModel",
            "hidden_size": 4544,
            "n_head": 71,
            "n_layer": 32,
            "multi_query": True,
            "parallel_attn": True,
            "bias": False,
            "vocab_size": 65024,
        },
        6_921_720_704,
    ),
    "falcon-40b, before transformers had it": (
        {
            "model_type": "RefinedWeb",
            "hidden_size": 8192,
            "n_head": 128,
            "n_head_kv": 8,
            "n_layer": 60,
            "parallel_attn": True,
            "bias": False,
            "vocab_size": 65024,
        },
        41_303_293_952,
    ),
    "phi-3-small": (
        {
            "model_type": "phi3small",
            "hidden_size": 4096,
            "ff_intermediate_size": 14336,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "vocab_size": 100352,
            "max_position_embeddings": 8192,
        },
        7_392_272_384,
    ),
    "chatglm3-6b": (
        {
            "model_type": "chatglm",
            "add_bias_linear": False,
            "add_qkv_bias": True,
            "multi_query_attention": True,
            "multi_query_group_num": 2,
            "num_layers": 28,
            "padded_vocab_size": 65024,
        },
        6_243_584_000,
    ),
    "minicpm-2b": (
        {
            "model_type": "minicpm",
            "hidden_size": 2304,
            "intermediate_size": 5760,
            "num_hidden_layers": 40,
            "num_attention_heads": 36,
            "vocab_size": 122753,
        },
        2_724_880_896,
    ),
    "exaone-3.0-7.8b": (
        {
            "model_type": "exaone",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_layers": 32,
            "num_key_value_heads": 8,
            "tie_word_embeddings": False,
        },
        7_818_448_896,
    ),
    "deepseek-moe-16b": (
        {
            "model_type": "deepseek",
            "hidden_size": 2048,
            "intermediate_size": 10944,
            "moe_intermediate_size": 1408,
            "n_routed_experts": 64,
            "n_shared_experts": 2,
            "num_experts_per_tok": 6,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "first_k_dense_replace": 1,
        },
        16_375_728_128,
    ),
    "openelm-270m": (
        {
            "model_type": "openelm",
            "model_dim": 1280,
            "num_transformer_layers": 16,
            "head_dim": 64,
            "ffn_multipliers": [
                *(0.5, 0.73, 0.97, 1.2, 1.43, 1.67, 1.9, 2.13),
                *(2.37, 2.6, 2.83, 3.07, 3.3, 3.53, 3.77, 4.0),
            ],
            "num_query_heads": [12] * 5 + [16] * 7 + [20] * 4,
            "num_kv_heads": [3] * 5 + [4] * 7 + [5] * 4,
            "normalize_qk_projections": True,
        },
        271_527_168,
    ),
    "flan-t5-xxl": (
        {
            "model_type": "t5",
            "d_model": 4096,
            "d_ff": 10240,
            "num_heads": 64,
            "num_layers": 24,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
        },
        11_135_332_352,
    ),
}
# Pipelines by component: what diffusers 0.42.1 and transformers 5.23 build on the meta device.
CLIP_L, CLIP_G, T5_XXL, VAE_4, VAE_16 = 123_060_480, 694_659_840, 4_762_310_656, 83_653_863, 83_819_683
PIPELINES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "stable-diffusion-1.5": (
        {"_class_name": "StableDiffusionPipeline"},
        {"unet": 859_520_964, "text_encoder": CLIP_L, "vae": VAE_4},
    ),
    "stable-diffusion-2.1-unet": (
        {
            "_class_name": "StableDiffusionPipeline",
            "unet": {
                "cross_attention_dim": 1024,
                "attention_head_dim": [5, 10, 20, 20],
                "use_linear_projection": True,
            },
            "text_encoder": None,
            "vae": None,
        },
        {"unet": 865_910_724},
    ),
    "sdxl": (
        {"_class_name": "StableDiffusionXLPipeline"},
        {"unet": 2_567_463_684, "text_encoder": CLIP_L, "text_encoder_2": CLIP_G, "vae": VAE_4},
    ),
    "stable-diffusion-3-medium": (
        {"_class_name": "StableDiffusion3Pipeline"},
        {
            "transformer": 2_028_328_000,
            "text_encoder": CLIP_L + 768 * 768,
            "text_encoder_2": CLIP_G,
            "text_encoder_3": T5_XXL,
            "vae": VAE_16,
        },
    ),
    "stable-diffusion-3.5-large": (
        {
            "model_type": "stable_diffusion_3",
            "transformer": {"num_layers": 38, "num_attention_heads": 38, "qk_norm": "rms_norm"},
            "text_encoder": None,
            "text_encoder_2": None,
            "text_encoder_3": None,
            "vae": None,
        },
        {"transformer": 8_056_627_520},
    ),
    "stable-diffusion-3.5-medium": (
        {
            "model_type": "stable_diffusion_3",
            "transformer": {"qk_norm": "rms_norm", "dual_attention_layers": list(range(13))},
            "text_encoder": None,
            "text_encoder_2": None,
            "text_encoder_3": None,
            "vae": None,
        },
        {"transformer": 2_243_171_520},
    ),
    "flux.1-dev": (
        {"_class_name": "FluxPipeline", "transformer": {"guidance_embeds": True}},
        {
            "transformer": 11_901_408_320,
            "text_encoder": CLIP_L,
            "text_encoder_2": T5_XXL,
            "vae": VAE_16,
        },
    ),
    "cogvideox-2b": (
        {"_class_name": "CogVideoXPipeline"},
        {"transformer": 1_693_783_872, "text_encoder": T5_XXL, "vae": 215_583_907},
    ),
    "cogvideox-5b": (
        {"_class_name": "CogVideoXPipeline", "transformer": {"num_layers": 42, "num_attention_heads": 48}},
        {"transformer": 5_570_283_072, "text_encoder": T5_XXL, "vae": 215_583_907},
    ),
}
# The same where only a rounded count was published.
ROUNDED: dict[str, tuple[dict[str, Any], float]] = {
    "grok-1": ({"model_type": "grok-1"}, 314e9),
    "arctic": (
        {
            "model_type": "arctic",
            "hidden_size": 7168,
            "intermediate_size": 4864,
            "num_hidden_layers": 35,
            "num_attention_heads": 56,
            "num_key_value_heads": 8,
            "num_local_experts": 128,
            "num_experts_per_tok": 2,
        },
        480e9,
    ),
    "minimax-text-01": ({"model_type": "minimax_text_01"}, 456e9),
}


def totals(architecture: Architecture) -> dict[str, int]:
    """Return parameters by role; of what sees and hears only vectors and the rest."""
    found: Counter[str] = Counter()
    for tensor in architecture.tensors:
        role = tensor.role
        if tensor.part in ("vision", "audio", "encoder"):
            role = f"{tensor.part} {'vectors' if role == 'norm' else 'tensors'}"
        if not tensor.is_extra:
            found[role] += tensor.n_params
    return dict(found)


def cache(architecture: Architecture, kind: str) -> Cache:
    """Return the one cache of a kind."""
    (found,) = (cache for cache in architecture.caches if cache.kind == kind)
    return found


@pytest.mark.parametrize("name", BUILT)
def test_every_role_has_the_parameters_that_transformers_builds(name: str) -> None:
    architecture = read_config(BUILT[name]["config"], name)
    assert totals(architecture) == BUILT[name]["totals"]
    assert [note for note in architecture.assumptions if "no hidden_size" not in note] == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_families_that_transformers_lacks_have_the_published_count(name: str) -> None:
    config, published = PUBLISHED[name]
    architecture = read_config(config, name)
    assert architecture.n_params == published
    assert [note for note in architecture.assumptions if "no hidden_size" not in note] == []


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_have_the_components_that_diffusers_builds(name: str) -> None:
    config, parts = PIPELINES[name]
    made = read_config(config, name)
    assert made.params_by_part() == parts
    assert made.caches == ()
    assert counts_of(made).active == parts[made.main.name]
    left_out = [part for part in config if config[part] is None]
    assert len(made.assumptions) == len(left_out)


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_counts_are_met_within_a_hundredth(name: str) -> None:
    config, published = ROUNDED[name]
    assert read_config(config, name).n_params == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("name", BUILT)
def test_the_words_are_those_of_the_anatomy_and_parts_add_up(name: str) -> None:
    made = read_config(BUILT[name]["config"], name)
    assert {tensor.role for tensor in made.tensors} <= set(ROLES)
    assert {tensor.split for tensor in made.tensors} <= set(SPLITS)
    assert {cache.kind for cache in made.caches} <= set(CACHES)
    assert made.task in TASKS
    assert sum(made.params_by_part().values()) == made.n_params == counts_of(made).total
    assert counts_of(made).active <= made.n_params
    assert all(min(t.rows, t.cols, t.count) > 0 for t in made.tensors)
    assert len(set(made.caches)) == len(made.caches)
    assert made.main.n_layers > 0


@pytest.mark.parametrize("name", sorted(families()))
def test_every_family_file_can_be_read(name: str) -> None:
    assert family(name).model_type == name


def test_every_model_of_the_catalog_has_an_architecture_made_once() -> None:
    for model in all_models():
        if model.params_total:
            made = architecture_of(model)
            assert made is architecture_of(model)
            assert made.n_params == model.params_total.value
            assert made.vocab_size == (model.vocab_size.value or 0)
            assert made.task == model.task
            assert made.assumptions == ()


def test_the_layers_that_the_catalog_states_are_those_of_the_caches() -> None:
    for model in all_models():
        stated = model.full_attention_layers.value
        if stated is not None and model.kv_bytes_per_token_bf16:
            full = cache(architecture_of(model), "full")
            assert full.n_layers == stated
            assert 2 * full.n_layers * full.n_kv_heads * (full.k_dim + full.v_dim) == (
                model.kv_bytes_per_token_bf16.value
            )
        if model.linear_attention_layers.value:
            assert cache(architecture_of(model), "state").n_layers == model.linear_attention_layers.value


@pytest.mark.parametrize(("name", "mib"), [("Qwen3.6-27B-NVFP4", 149.63), ("qwen3_5_moe", 62.8)])
def test_a_recurrent_state_is_as_large_as_loaders_print(name: str, mib: float) -> None:
    state = cache(read_config(BUILT[name]["config"]), "state")
    numbers = state.n_layers * (state.state_numbers + state.conv_numbers)
    assert 4 * numbers / 2**20 == pytest.approx(mib, abs=0.02)


def test_latent_attention_keeps_one_compressed_token_and_the_indexers_key() -> None:
    assert read_config(BUILT["DeepSeek-V3"]["config"]).caches == (Cache("latent", 61, 1, 576),)
    caches = read_config(BUILT["GLM-5.3"]["config"]).caches
    assert Cache("latent", 78, 1, 576) in caches
    assert Cache("full", 21, 1, 128) in caches  # only some layers have an indexer of their own


def test_windows_follow_the_patterns_of_the_families() -> None:
    gemma = read_config(BUILT["gemma-3-27b-it"]["config"])
    assert cache(gemma, "sliding") == Cache("sliding", 52, 16, 128, 128, 1024)
    assert cache(gemma, "full").n_layers == 10
    mimo = read_config(BUILT["MiMo-V2-Flash"]["config"])
    assert cache(mimo, "sliding") == Cache("sliding", 39, 8, 192, 128, 128)
    assert cache(mimo, "full") == Cache("full", 9, 4, 192, 128)
    sliding = read_config(BUILT["qwen2-0.5b-sliding"]["config"])
    assert cache(sliding, "sliding").n_layers == 3  # from `max_window_layers` on
    assert [c.kind for c in read_config({"model_type": "qwen2"}).caches] == ["full"]
    unlimited = read_config({"model_type": "mistral", "sliding_window": None})
    assert [c.kind for c in unlimited.caches] == ["full"]


def test_layers_that_share_keys_keep_none_and_gemma_4_keeps_both_key_and_value() -> None:
    shared = read_config(BUILT["gemma3n_text"]["config"])
    assert sum(c.n_layers for c in shared.caches) == shared.main.n_layers - 15
    full = cache(read_config(BUILT["gemma-4-26B-A4B"]["config"]), "full")
    assert (full.n_kv_heads, full.k_dim, full.v_dim) == (2, 512, 512)


def test_an_encoder_remembers_nothing_and_a_decoder_behind_one_keeps_the_source() -> None:
    assert read_config(BUILT["bge-m3"]["config"]).caches == ()
    whisper = architecture_of(load_model("whisper-large-v3"))
    assert cache(whisper, "cross") == Cache("cross", 32, 20, 64, 64, 1500)
    assert (whisper.main.name, whisper.main.n_cross_layers) == ("decoder", 32)
    assert cache(read_config(BUILT["mllama"]["config"]), "cross").n_layers == 8


def test_the_largest_image_is_cut_into_tiles_or_is_as_large_as_its_processor_lets_it() -> None:
    llava = architecture_of(load_model("llava-v1.6-34b"))
    assert llava.vision_tokens == 5 * 24**2  # four tiles and the whole
    assert architecture_of(load_model("gemma-3-27b")).vision_tokens == 64**2
    assert architecture_of(load_model("qwen2.5-vl-72b")).vision_tokens == 2**16
    assert architecture_of(load_model("llama-3.1-70b")).vision_tokens == 0


def test_multi_token_prediction_stands_beside_what_engines_load() -> None:
    counts = counts_of(read_config(BUILT["DeepSeek-V3"]["config"] | {"num_nextn_predict_layers": 1}))
    assert counts.total == 671_026_419_200
    assert counts.checkpoint == pytest.approx(684.5e9, rel=1e-4)  # the published files


def test_splits_follow_outputs_inputs_key_heads_vocabulary_and_experts() -> None:
    made = read_config(BUILT["Qwen3-235B-A22B"]["config"])
    split = {tensor.name: tensor.split for tensor in made.tensors}
    assert split["attn_q"] == "column"
    assert split["attn_k"] == split["attn_v"] == "kv"
    assert split["attn_output"] == "row"
    assert {split["token_embd"], split["output"]} == {"vocab"}
    assert split["ffn_gate_exps"] == split["ffn_down_exps"] == "expert"
    assert split["attn_norm"] == split["ffn_gate_inp"] == "whole"


def test_rows_are_outputs_and_columns_inputs() -> None:
    made = architecture_of(load_model("qwen2.5-72b"))
    shape = {tensor.name: (tensor.rows, tensor.cols, tensor.count) for tensor in made.tensors}
    assert shape["ffn_down"] == (8192, 29568, 80)  # 29568 is what K-quants cannot take in full
    assert shape["attn_k"] == (1024, 8192, 80)
    assert shape["attn_k_bias"] == (1, 1024, 80)


def test_the_stack_says_what_a_token_meets() -> None:
    main = architecture_of(load_model("qwen3.6-35b-a3b")).main
    assert (main.n_experts, main.n_experts_per_token) == (256, 8)
    assert main.ffn_size == 9 * 512  # eight chosen and one shared
    assert main.q_size == 4096
    assert main.has_head_norms
    assert architecture_of(load_model("llama-3.1-70b")).main.kv_size == 1024
