"""What a config says and how: synonyms, defaults, nulls, lists, nesting, and errors that name the key."""

from __future__ import annotations

from typing import Any

import pytest

from rackrate.catalog.architecture import read_config
from rackrate.errors import BadQuantity, NoAnswer

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "tie_word_embeddings": True,
}
ATTENTION, BLOCK, NORM = 64 * 64 * 2 + 2 * 64 * 32, 3 * 64 * 96, 64
LAYERS = 4 * (ATTENTION + BLOCK + 2 * NORM)
TOTAL = 100 * 64 + LAYERS + NORM


def unknown(**more: Any) -> dict[str, Any]:
    return SMALL | {"model_type": "model-of-next-year"} | more


def test_an_unknown_type_is_read_by_its_keys_and_says_so() -> None:
    made = read_config(unknown())
    assert made.n_params == TOTAL
    assert made.model_type == "model-of-next-year"
    assert "not known" in made.assumptions[0]
    assert "''" in read_config(SMALL).assumptions[0]


@pytest.mark.parametrize(
    "said",
    [
        {"n_embd": 64, "n_layer": 4, "n_head": 4, "n_inner": 96, "num_kv_heads": 2, "vocab_size": 100},
        {"d_model": 64, "n_layers": 4, "n_heads": 4, "d_ff": 96, "kv_n_heads": 2, "padded_vocab_size": 100},
    ],
)
def test_numbers_answer_to_their_other_names(said: dict[str, Any]) -> None:
    assert read_config({"model_type": "x", "tie_word_embeddings": True} | said).n_params == TOTAL


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_number_that_is_missing_is_named(key: str) -> None:
    config = unknown()
    del config[key]
    with pytest.raises(NoAnswer, match=rf"acme/model .*`{key}`"):
        read_config(config, "acme/model")


@pytest.mark.parametrize("value", ["64", 64.5, True, -1, 0, 10**12, {}, float("nan")])
def test_a_number_that_is_none_is_named_with_its_value(value: object) -> None:
    with pytest.raises(BadQuantity, match="`hidden_size`"):
        read_config(unknown(hidden_size=value))


@pytest.mark.parametrize("config", [None, [], "llama", 3])
def test_a_config_that_is_no_table_is_refused(config: Any) -> None:
    with pytest.raises(BadQuantity, match="table of keys"):
        read_config(config)


def test_the_default_is_that_of_the_family_and_what_is_said_wins() -> None:
    heads = {name: read_config({"model_type": name}).main.head_dim for name in ("llama", "gemma3_text")}
    assert heads == {"llama": 128, "gemma3_text": 256}
    assert read_config({"model_type": "gemma3_text", "head_dim": 64}).main.head_dim == 64


def test_an_explicit_null_means_derive_it_and_not_the_default() -> None:
    derived = read_config({"model_type": "qwen3", "hidden_size": 1024, "head_dim": None})
    assert derived.main.head_dim == 1024 // 32
    assert read_config({"model_type": "qwen3", "hidden_size": 1024}).main.head_dim == 128


def test_a_number_a_layer_may_stand_for_a_number() -> None:
    sizes = read_config(unknown(intermediate_size=[96, 96, 96, 192]))
    assert sizes.n_params == TOTAL + BLOCK
    assert sizes.main.ffn_size == 192
    heads = read_config(unknown(num_key_value_heads=[2, 2, 2, 4]))
    assert heads.n_params == TOTAL + 2 * 64 * 32
    assert sorted((c.n_layers, c.n_kv_heads) for c in heads.caches) == [(1, 4), (3, 2)]
    with pytest.raises(BadQuantity, match="3 numbers for 4 layers"):
        read_config(unknown(intermediate_size=[96, 96, 96]))


def test_a_list_where_only_one_number_can_be_takes_the_largest_and_says_so() -> None:
    same = {"model_type": "mixtral", "num_experts_per_tok": [2, 2]}
    assert len(read_config(same).assumptions) == 1  # that the class says the sizes
    other = read_config({"model_type": "mixtral", "num_experts_per_tok": [2, 3]})
    assert other.main.n_experts_per_token == 3
    assert "num_experts_per_tok" in other.assumptions[0]


def test_experts_latents_windows_and_recurrences_are_seen_in_an_unknown_type() -> None:
    sparse = read_config(unknown(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32))
    assert sparse.params_of("experts") == 4 * 8 * 3 * 64 * 32
    alternate = unknown(n_routed_experts=8, num_experts_per_tok=2, moe_layer_freq=2, first_k_dense_replace=1)
    assert read_config(alternate).params_of("router") == 64 * 8  # of layers 0 and 2 the first is dense
    latent = unknown(kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=16)
    assert [(c.kind, c.k_dim) for c in read_config(latent).caches] == [("latent", 24)]
    sliding = unknown(sliding_window=32, layer_types=["sliding_attention", "full_attention"] * 2)
    assert {c.kind: c.n_layers for c in read_config(sliding).caches} == {"sliding": 2, "full": 2}
    linear = unknown(
        full_attention_interval=2,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        linear_conv_kernel_dim=4,
    )
    (state,) = (c for c in read_config(linear).caches if c.kind == "state")
    assert (state.n_layers, state.state_numbers, state.conv_numbers) == (2, 4 * 16 * 16, 3 * 128)


def test_a_recurrence_that_nothing_describes_is_an_error() -> None:
    with pytest.raises(NoAnswer, match="recurrent"):
        read_config(unknown(layer_types=["linear_attention"] * 4))


def test_a_window_that_is_switched_off_is_none() -> None:
    off = read_config(unknown(sliding_window=32, use_sliding_window=False))
    assert [c.kind for c in off.caches] == ["full"]


def test_the_language_model_may_stand_in_a_section() -> None:
    for section in ("text_config", "llm_config", "language_config"):
        made = read_config({"model_type": "seer", section: SMALL | {"model_type": "llama"}})
        assert made.n_params == TOTAL
        assert made.task == "vision-language"
    nested = {"model_type": "seer", "thinker_config": {"text_config": SMALL}, "audio_config": {"a": 1}}
    assert any("audio" in said for said in read_config(nested).assumptions)


def test_a_tower_of_a_known_kind_is_counted_and_an_unknown_one_left_out() -> None:
    text = SMALL | {"model_type": "llama"}
    tower = {"model_type": "siglip_vision_model", "vision_use_head": False}
    seeing = read_config({"model_type": "seer", "text_config": text, "vision_config": tower})
    assert seeing.params_by_part()["vision"] > 80_000_000
    assert seeing.vision_tokens == 196
    blind = read_config({"model_type": "seer", "text_config": text, "vision_config": {"depth": 3}})
    assert any("no vision tower" in said for said in blind.assumptions)


def test_a_tower_alone_is_an_encoder_of_the_patches_of_one_image() -> None:
    found = read_config({"model_type": "siglip_vision_model"})
    assert (found.task, found.max_context, found.caches) == ("encoder", 196, ())
    assert found.n_params == 92_884_224


def test_classes_of_an_image_are_those_that_the_config_names() -> None:
    of_imagenet = read_config({"model_type": "vit", "architectures": ["ViTForImageClassification"]})
    of_two = read_config({"model_type": "vit", "architectures": ["ViTForImageClassification"],
                          "id2label": {"0": "cat", "1": "dog"}})  # fmt: skip
    assert of_imagenet.n_params == 86_567_656  # google/vit-base-patch16-224, as the hub states it
    assert of_imagenet.n_params - of_two.n_params == 998 * 769


def test_what_a_listener_says_of_its_sound() -> None:
    found = read_config({"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]})
    assert found.n_params == 94_396_320  # facebook/wav2vec2-base-960h
    with pytest.raises(BadQuantity, match="conv_kernel"):
        read_config({"model_type": "wav2vec2", "conv_dim": [512, 512]})


def test_jina_has_gates_and_no_places_under_the_name_of_bert() -> None:
    plain = {"model_type": "bert", "max_position_embeddings": 8192, "vocab_size": 30528}
    found = read_config(plain | {"position_embedding_type": "alibi", "feed_forward_type": "geglu"})
    assert found.n_params / 1e6 == pytest.approx(137, rel=0.01)  # jinaai/jina-embeddings-v2-base-en
    assert not any(tensor.name == "position_embd" for tensor in found.tensors)


def test_gte_is_an_encoder() -> None:
    config = {"model_type": "new", "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
              "num_hidden_layers": 24, "type_vocab_size": 2}  # fmt: skip
    found = read_config(config | {"architectures": ["NewModel"]})
    assert found.n_params / 1e6 == pytest.approx(434, rel=0.005)  # Alibaba-NLP/gte-large-en-v1.5
    assert (found.task, found.caches) == ("encoder", ())


@pytest.mark.parametrize("key", ["vision_config", "audio_processor", "embd_layer"])
def test_senses_that_are_not_counted_are_named(key: str) -> None:
    found = read_config({"model_type": "minicpmv", **SMALL, key: {"hidden_size": 8}})
    assert any(f"`{key}` was left out" in said for said in found.assumptions)
    molmo = read_config({"model_type": "molmo", **SMALL})
    assert any("eyes" in said for said in molmo.assumptions)


def test_an_omni_model_has_eyes_in_its_thinker() -> None:
    text = {"model_type": "qwen2_5_omni_text", "hidden_size": 3584}
    senses = {"audio_config": {"d_model": 1280}, "vision_config": {"hidden_size": 1280}}
    config = {"thinker_config": {"text_config": text, **senses}, "talker_config": {"hidden_size": 896}}
    found = read_config({"model_type": "qwen2_5_omni", **config})
    assert found.params_by_part()["vision"] > 6e8
    assert found.assumptions == (
        "the audio tower was left out",
        "what speaks (`talker_config`) was left out",
    )


def test_recurrences_that_keep_a_state_of_fixed_size() -> None:
    rwkv = read_config({"model_type": "rwkv"})
    assert [(c.kind, c.n_layers, c.state_numbers) for c in rwkv.caches] == [("state", 32, 5 * 4096)]
    griffin = read_config({"model_type": "recurrent_gemma", "num_key_value_heads": 1})
    kinds = {cache.kind: (cache.n_layers, cache.window) for cache in griffin.caches}
    assert kinds == {"state": (18, 0), "sliding": (8, 2048)}
    with pytest.raises(BadQuantity, match="block_types"):
        read_config({"model_type": "recurrent_gemma", "block_types": ["windowed"]})


def test_an_embedding_model_has_no_head() -> None:
    with_head = read_config({"model_type": "mistral", "architectures": ["MistralForCausalLM"]})
    without = read_config({"model_type": "mistral", "architectures": ["MistralModel"]})
    assert with_head.n_params - without.n_params == 32000 * 4096


def test_precision_and_quantisation_are_handed_on() -> None:
    fp8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    made = read_config(unknown(torch_dtype="bfloat16", quantization_config=fp8))
    assert (made.dtype, made.quantization) == ("bf16", fp8)
    nested = {"model_type": "seer", "text_config": SMALL | {"dtype": "float16", "quantization_config": fp8}}
    assert (read_config(nested).dtype, read_config(nested).quantization) == ("fp16", fp8)
    assert (read_config(unknown()).dtype, read_config(unknown(dtype="float8")).dtype) == ("", "")


def test_a_pattern_of_letters_is_a_layout() -> None:
    made = read_config({"model_type": "nemotron_h", "hybrid_override_pattern": "M*ME-"})
    assert made.main.n_layers == 5
    assert {c.kind: c.n_layers for c in made.caches} == {"state": 2, "full": 1}
    with pytest.raises(BadQuantity, match="'X'"):
        read_config({"model_type": "nemotron_h", "hybrid_override_pattern": "MX"})


def test_a_search_may_take_attention_or_the_block_out_of_a_layer() -> None:
    whole = {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 2.0}}
    lean = {"attention": {"no_op": True}, "ffn": {"ffn_mult": 2.0}}
    base = SMALL | {"model_type": "nemotron-nas"}
    made = read_config(base | {"block_configs": [whole, lean, whole, whole]})
    assert made.caches[0].n_layers == 3
    full = read_config(base | {"block_configs": [whole] * 4})
    assert full.n_params - made.n_params == ATTENTION + NORM
    with pytest.raises(BadQuantity, match=r"block_configs\[0\].*ffn_mult"):
        read_config(base | {"block_configs": [{"ffn": {"ffn_mult": "big"}}] * 4})
    linear = [whole, whole, whole, {"attention": {"replace_with_linear": True}, "ffn": {"ffn_mult": 1.0}}]
    assert "left out" in read_config(base | {"block_configs": linear}).assumptions[0]


def test_words_that_stand_where_lists_belong_are_refused() -> None:
    with pytest.raises(BadQuantity, match="`layer_types`"):
        read_config(unknown(layer_types="full"))
    with pytest.raises(BadQuantity, match="names 1 of 4 layers"):
        read_config(unknown(layer_types=["full_attention"]))
    with pytest.raises(BadQuantity, match="`mlp_only_layers`"):
        read_config(unknown(num_experts=4, mlp_only_layers=3))
    with pytest.raises(BadQuantity, match="`text_config`"):
        read_config({"model_type": "gemma3", "text_config": 3})


def test_a_config_that_leaves_its_size_to_the_class_says_so() -> None:
    assert "hidden_size" in read_config({"model_type": "llama"}).assumptions[0]
    stated = {"model_type": "gpt2", "n_embd": 768}
    assert read_config(stated).assumptions == ()
