from __future__ import annotations

import pytest

from rackrate.catalog.architecture import Architecture
from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.gpu import load_gpu
from rackrate.catalog.model import load_model
from rackrate.errors import NoAnswer, UnknownName, UsageError
from rackrate.perf.chip import Chip, chip_of
from rackrate.perf.training import Run, forward, samples_per_s, step_spent, tokens_per_s


def arch_of(slug: str) -> Architecture:
    return best_architecture(load_model(slug))


def chip(slug: str) -> Chip:
    return chip_of(load_gpu(slug))


BERT, LLAMA_1B, LLAMA_8B = (arch_of(m) for m in ("bert-large-uncased", "llama-3.2-1b", "llama-3.1-8b"))


def test_the_way_forward_is_2_flop_a_parameter_and_token() -> None:
    """6 N in the usual formula for training: 2 N for each of three ways. Half the keys are seen."""
    found = forward(LLAMA_8B, 2048, writes_scores=False).flop
    looked_up = 128_256 * 4096
    by_hand = 2 * (8.03e9 - looked_up) * 2048 + 4 * 32 * 4096 * 2048 * 1024
    assert found == pytest.approx(by_hand, rel=0.005)


def test_a_tied_output_matrix_multiplies_all_the_same() -> None:
    found = forward(LLAMA_1B, 1, writes_scores=False).flop
    assert found == pytest.approx(2 * 1.236e9, rel=0.005)


def test_experts_work_only_on_the_tokens_that_chose_them() -> None:
    arch = arch_of("mixtral-8x7b")
    found = forward(arch, 1, writes_scores=False).flop
    assert found == pytest.approx(2 * 12.8e9, rel=0.02)  # 12.9 billion active, less the embedding


def test_scores_that_are_written_grow_with_the_square_of_the_length() -> None:
    lean, written = (forward(BERT, 512, writes_scores=flag).numbers for flag in (False, True))
    assert written - lean == 24 * 16 * 512 * 512


@pytest.mark.parametrize(
    ("method", "has_checkpointing", "ways"),
    [("full", False, 3), ("full", True, 4), ("lora", False, 2), ("qlora", True, 3)],
)
def test_frozen_weights_save_a_way_and_computing_again_adds_one(
    method: str,
    has_checkpointing: bool,  # noqa: FBT001 - a case of the table
    ways: int,
) -> None:
    assert Run(method, has_checkpointing=has_checkpointing).ways == ways


@pytest.mark.parametrize(
    ("slug", "run", "measured"),
    [
        ("llama-3.2-1b", Run("full", 2048, 4), 45_688),
        ("llama-3.1-8b", Run("lora", 2048, 4, has_checkpointing=True), 6_597),
        ("bert-large-uncased", Run("full", 512, 64), 158_000),
    ],
)
def test_an_h100_learns_as_fast_as_we_measured(slug: str, run: Run, measured: float) -> None:
    found = tokens_per_s(arch_of(slug), chip("h100-sxm"), run)
    assert found.value == pytest.approx(measured, rel=0.25)
    assert found.low < measured < found.high
    assert found.unit == "tokens/s"


@pytest.mark.parametrize(
    ("gpu", "batch", "measured"),
    [("a100-80gb-sxm", 112, 152), ("rtx-4090", 28, 93), ("h200-sxm", 64, 350)],
)
def test_bert_large_in_nvidias_container_is_as_fast_as_lambda_measured(
    gpu: str, batch: int, measured: float
) -> None:
    run = Run("full", 384, batch, engine="container")
    assert samples_per_s(BERT, chip(gpu), run).value == pytest.approx(measured, rel=0.3)


def test_fast_cards_wait_for_memory_where_slow_ones_wait_for_products() -> None:
    run = Run("full", 384, 64, engine="container")
    assert step_spent(BERT, chip("b200-sxm"), run).limit == "memory"
    assert step_spent(BERT, chip("rtx-3090"), run).limit == "compute"


def test_a_batch_of_one_waits_for_python() -> None:
    run = Run("lora", 128, 1, has_checkpointing=True)
    assert step_spent(LLAMA_8B, chip("h100-sxm"), run).limit == "host"


def test_two_gpus_are_less_than_twice_one_and_pcie_keeps_less() -> None:
    """Our H200s: BERT-large keeps 94 % with NVLink and 72 % without."""
    kept = []
    for gpu in ("h200-sxm", "l40s"):
        one, two = (samples_per_s(BERT, chip(gpu), Run("full", 512, 16, n_gpus=n)).value for n in (1, 2))
        kept.append(two / one / 2)
    assert kept[1] < kept[0]
    assert 0.9 < kept[0] < 1
    assert 0.5 < kept[1] < 0.95


def test_a_bridge_joins_a_pair_and_no_more() -> None:
    shares = []
    for n_gpus in (2, 4):
        found = step_spent(BERT, chip("a100-80gb-pcie"), Run("full", 512, 16, n_gpus=n_gpus))
        shares.append(found.link_s / (2 * (n_gpus - 1) / n_gpus))
    assert shares[1] > 2 * shares[0]


def test_shared_weights_are_gathered_and_4_bit_ones_widened() -> None:
    card = chip("l40s")
    plain, shared = (step_spent(LLAMA_1B, card, Run(n_gpus=4, is_sharded=flag)) for flag in (False, True))
    assert shared.link_s > plain.link_s
    assert shared.memory_s < plain.memory_s  # each GPU steps a quarter of the states
    lora, qlora = (step_spent(LLAMA_8B, card, Run(method, 512, 1)) for method in ("lora", "qlora"))
    assert qlora.memory_s > lora.memory_s + 2 * 8e9 * 4 / 864e9


def test_what_cannot_be_trained_here_is_refused() -> None:
    with pytest.raises(NoAnswer, match="flux"):
        samples_per_s(arch_of("flux.1-dev"), chip("l40s"), Run())
    with pytest.raises(UnknownName, match="method"):
        Run("dora")
    with pytest.raises(UnknownName, match="engine"):
        Run(engine="jax")
    with pytest.raises(UsageError, match="batch 0"):
        Run(batch=0)
