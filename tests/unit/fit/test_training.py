"""Training: bytes a parameter, adapters by hand, and the copies that others measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rackrate.catalog.architecture import Architecture
from rackrate.errors import RackrateError, UnknownName
from rackrate.fit.backward import (
    WORKSPACE_GIB,
    dequantised_term,
    gathered_term,
    kept_terms,
    saved_bytes_per_token,
)
from rackrate.fit.parallel import ONE_GPU, Layout
from rackrate.fit.precision import find_precision
from rackrate.fit.term import GIB
from rackrate.fit.training import (
    OLD_COPIES,
    OPTIMISERS,
    Training,
    adapter_params,
    autocast_gib,
    gradient_gib,
    lora_targets,
    merged_bytes,
    state_terms,
)
from rackrate.sizing import find_weights

BF16 = find_precision("bf16")
LLAMA_8B = 8_030_261_248
LARGEST = 2 * 128_256 * 4096 / LLAMA_8B


def model(slug: str) -> Architecture:
    return find_weights(slug).arch


def bytes_a_parameter(training: Training, layout: Layout = ONE_GPU) -> float:
    arch = model("llama-3.1-8b")
    held = sum(term.gib for term in state_terms(arch, BF16, training, layout))
    return float((held + gradient_gib(arch, training, layout)) * GIB / LLAMA_8B)


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (Training(is_fp32=True), 4 + 4 + 8),  # weights, gradients, two moments; ours on an H100: 16 B
        (Training(), 2 + 2 + 4),  # pure bf16: 8 B
        (Training(is_mixed=True), 4 + 4 + 8),  # and 2 of autocast's copies, see below
        (Training(is_fp32=True, optimiser="sgd"), 8),
        (Training(is_fp32=True, optimiser="sgd-momentum"), 12),
        (
            Training(is_fp32=True, optimiser="adamw-8bit"),
            4 + 4 + 2 + 2 * 4 / 256,
        ),  # blocks of 256, 32-bit scale
        (Training(optimiser="adamw-8bit"), 2 + 2 + 2 + 2 * 4 / 256),
        (Training(is_fp32=True, optimiser="lion"), 12),
        (Training(is_fp32=True, optimiser="paged-adamw-8bit"), 8),  # states wait on the host
        (Training(is_fp32=True, optimiser="adafactor"), 8.02),
        (Training(is_fp32=True, has_offload=True), 8),
        (
            Training(has_step_in_backward=True, optimiser="adamw-8bit"),
            2 + 2.03 + LARGEST,
        ),  # a matrix at a time
    ],
)
def test_bytes_of_a_trained_parameter(training: Training, expected: float) -> None:
    assert bytes_a_parameter(training) == pytest.approx(expected, rel=0.002)


def test_autocast_makes_it_18_bytes() -> None:
    """The ml-engineering book's 18 B a parameter: 16-bit copies until the way back is done."""
    copies = autocast_gib(model("llama-3.1-8b"), Training(is_mixed=True), ONE_GPU) * GIB / LLAMA_8B
    assert bytes_a_parameter(Training(is_mixed=True)) + copies == pytest.approx(18, rel=1e-6)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (0, 16.0),  # DDP: everything on every GPU
        (1, 4 + 4 + 8 / 8),  # ZeRO paper, figure 1: optimiser states
        (2, 4 + (4 + 8) / 8),  # and gradients
        (3, 16 / 8),  # and weights
    ],
)
def test_zero_stages_on_eight_gpus(stage: int, expected: float) -> None:
    layout = Layout(data=8, shard=stage)
    assert bytes_a_parameter(Training(is_fp32=True), layout) == pytest.approx(expected)


def test_lora_on_all_linear_layers_of_llama_8b() -> None:
    """Peft prints 41,943,040 for r=16: r x (in + out) of seven matrices in 32 layers."""
    kinds = [(4096, 4096), (4096, 1024), (4096, 1024), (4096, 4096)] + 3 * [(4096, 14336)]
    by_hand = 16 * 32 * sum(a + b for a, b in kinds)
    assert by_hand == 41_943_040
    assert adapter_params(model("llama-3.1-8b"), Training(method="lora", rank=16)) == by_hand


def test_lora_on_query_and_value_of_llama_7b() -> None:
    """Peft prints 4,194,304 for r=8."""
    training = Training(method="lora", rank=8, targets=("attn_q", "attn_v"))
    assert adapter_params(model("llama-2-7b"), training) == 8 * 32 * 2 * (4096 + 4096) == 4_194_304


def test_adapters_take_16_bytes_a_parameter_with_their_gradients() -> None:
    arch, training = model("llama-3.1-8b"), Training(method="lora")
    base, adapters = state_terms(arch, BF16, training, ONE_GPU)
    assert base.gib == pytest.approx(2 * LLAMA_8B / GIB)
    assert adapters.gib * GIB == pytest.approx(41_943_040 * (4 + 8))
    assert gradient_gib(arch, training, ONE_GPU) * GIB == pytest.approx(41_943_040 * 4)


def test_a_quantised_base_is_narrow() -> None:
    arch = model("llama-3.1-8b")
    base = state_terms(arch, find_precision("nf4-dq"), Training(method="qlora"), ONE_GPU)[0]
    linear, wide = 6_979_321_856, LLAMA_8B - 6_979_321_856
    assert base.gib == pytest.approx((linear * 4.127 / 8 + wide * 2) / GIB, rel=1e-4)


@pytest.mark.parametrize(
    ("slug", "copies"),
    [
        # ml-engineering book, training/performance: hidden vectors of 16 bit that a layer of its
        # transformers saved a token; newer ones save 3.25 fewer
        ("llama-3.1-8b", 28.0),
        ("mistral-7b-v0.3", 28.0),
        ("smollm2-360m", 24.0),
        ("qwen3-8b", 29.8),
        ("qwen3-4b", 38.0),
        ("gemma-2b", 48.0),
    ],
)
def test_copies_that_a_layer_keeps(slug: str, copies: float) -> None:
    stack = model(slug).main
    saved = saved_bytes_per_token(stack, Training(hidden_copies=11.5))
    assert saved / (2 * stack.hidden_size) == pytest.approx(copies, rel=0.06)


@pytest.mark.parametrize(("training", "factor"), [(Training(), 44), (Training(is_fp32=True), 67)])
def test_bert_keeps_44_or_67_bytes_a_hidden_number(training: Training, factor: float) -> None:
    """Our H100: BERT activations about 44 B (bf16) or 67 B (fp32) x layers x hidden a token."""
    stack = model("bert-large-uncased").main
    assert saved_bytes_per_token(stack, training) / stack.hidden_size == pytest.approx(factor, rel=0.03)


def test_checkpoints_are_a_hidden_vector_a_layer() -> None:
    llama = model("llama-3.1-8b")
    kept, _, layer = kept_terms(llama, Training(), 2048, 1, ONE_GPU)
    assert kept.gib == pytest.approx(32 * 2048 * 4096 * 2 / GIB + WORKSPACE_GIB)
    none, _, same = kept_terms(llama, Training(offloads_checkpoints=True), 2048, 1, ONE_GPU)
    assert none.gib == WORKSPACE_GIB
    assert layer == same
    as_the_book = Training(has_checkpointing=False, hidden_copies=11.5)
    whole, _, again = kept_terms(llama, as_the_book, 2048, 1, ONE_GPU)
    assert whole.gib == pytest.approx(32 * 2048 * 28 * 4096 * 2 / GIB, rel=0.01)
    assert again == 0


def test_the_loss_of_a_large_vocabulary_is_more_than_all_checkpoints() -> None:
    arch = model("llama-3.1-8b")
    kept, loss, _ = kept_terms(arch, Training(), 2048, 1, ONE_GPU)
    assert loss.gib > kept.gib
    assert loss.gib * GIB / (2048 * 128_256) == pytest.approx(12, abs=2)  # notes: about 12 B a word
    _, fused, _ = kept_terms(arch, Training(loss="fused"), 2048, 1, ONE_GPU)
    assert fused.gib < loss.gib / 4


def test_eager_attention_grows_with_the_square() -> None:
    arch, how = model("bert-large-uncased"), Training(has_checkpointing=False, attention="eager")
    flash = replace(how, attention="flash")
    extra = [
        kept_terms(arch, how, n, 8, ONE_GPU)[0].gib - kept_terms(arch, flash, n, 8, ONE_GPU)[0].gib
        for n in (128, 256, 512)
    ]
    assert extra[1] / extra[0] == pytest.approx(4)
    # our H100: 7.1 B a score in autocast, 8.9 in 32 bit
    assert extra[2] * GIB / (24 * 16 * 512**2 * 8) == pytest.approx(7.1, abs=1)


def test_gathered_layers_only_where_weights_are_shared() -> None:
    arch = model("llama-3.1-8b")
    assert gathered_term(arch, BF16, Layout(data=8, shard=2)) is None
    assert gathered_term(arch, BF16, Layout(data=1, shard=3)) is None
    gathered = gathered_term(arch, BF16, Layout(data=8, shard=3))
    assert gathered is not None
    assert gathered.gib > 2 * 2 * 218_103_808 / GIB  # two layers of Llama-3.1-8B in 16 bit


def test_only_narrow_matrices_are_widened() -> None:
    arch = model("llama-3.1-70b")
    assert dequantised_term(arch, BF16, ONE_GPU) is None
    widened = dequantised_term(arch, find_precision("nf4"), ONE_GPU)
    assert widened is not None
    assert widened.gib == 2 * 28672 * 8192 / GIB


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_every_optimiser_has_states_of_its_own(optimiser: str, method: str) -> None:
    terms = state_terms(model("llama-3.1-8b"), BF16, Training(method=method, optimiser=optimiser), ONE_GPU)
    assert all(term.gib >= 0 for term in terms)


@pytest.mark.parametrize(
    "bad",
    [
        {"method": "dora"},
        {"optimiser": "adam"},
        {"loss": ""},
        {"attention": "sdpa"},
        {"rank": 0},
        {"rank": -8},
    ],
)
def test_a_bad_value_is_our_error(bad: dict[str, object]) -> None:
    with pytest.raises(RackrateError):
        Training(**bad)  # type: ignore[arg-type]


def test_arrays_give_the_numbers_of_single_loads() -> None:
    lengths = np.array([128, 2048, 8192])
    for how in (Training(), Training(has_checkpointing=False, attention="eager")):
        many = kept_terms(model("qwen3-8b"), how, lengths, 2, ONE_GPU)
        for i, n in enumerate(lengths):
            one = kept_terms(model("qwen3-8b"), how, int(n), 2, ONE_GPU)
            assert [term.gib[i] for term in many[:2]] == pytest.approx([term.gib for term in one[:2]])


def test_lora_targets_go_by_qwens_first_names_where_the_model_has_them() -> None:
    arch = find_weights("qwen-7b").arch
    assert lora_targets(arch, "c_attn") == ("attn_q", "attn_k", "attn_v")
    assert lora_targets(arch, "c_proj") == ("attn_output", "ffn_down")
    assert lora_targets(arch, " o_proj") == lora_targets(arch, "o") == ("attn_output",)
    with pytest.raises(UnknownName) as caught:
        lora_targets(arch, "attn_w")
    assert "attn_q" in caught.value.hint


def test_adapters_of_all_linear_layers_are_on_the_experts_too() -> None:
    """Counted on an H100 (peft 0.21, rank 16): 166,084,608 parameters of 8 layers of Qwen3 30B."""
    arch = model("qwen3-30b-a3b")
    per_layer = adapter_params(arch, Training(method="lora", rank=16)) / arch.main.n_layers
    assert per_layer == pytest.approx(166_084_608 / 8, rel=0.01)  # a router's adapter is not counted


def test_experts_with_adapters_are_added_up_once_a_layer() -> None:
    arch = model("qwen3-30b-a3b")
    lora = Training(method="lora", rank=16)
    assert merged_bytes(arch, lora, ONE_GPU) == pytest.approx(1.258e9, rel=0.01)
    assert merged_bytes(arch, replace(lora, targets=("attn_q",)), ONE_GPU) == 0
    assert merged_bytes(arch, replace(lora, hidden_copies=OLD_COPIES), ONE_GPU) == 0
    assert merged_bytes(arch, Training(method="full"), ONE_GPU) == 0
    assert merged_bytes(model("qwen3-8b"), lora, ONE_GPU) == 0
