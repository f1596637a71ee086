from __future__ import annotations

import pytest

from rackrate.catalog.architecture import Architecture, Stack, Tensor
from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.model import load_model
from rackrate.errors import NoAnswer
from rackrate.perf.flop import Work, attention, encoder_pass, product, products, stack_named


def test_a_matrix_multiplies_and_adds_for_every_weight_and_token() -> None:
    up = Tensor("ffn_up", "mlp", rows=8, cols=4, count=3)
    assert product(up, 10) == Work(flop=2 * 8 * 4 * 3 * 10, numbers=8 * 3 * 10)


@pytest.mark.parametrize("role", ["embedding", "norm"])
def test_what_is_looked_up_or_added_is_no_product(role: str) -> None:
    assert product(Tensor("t", role, rows=1000, cols=64), 10) == Work()


def test_what_engines_do_not_load_does_no_work() -> None:
    assert product(Tensor("mtp", "mlp", rows=8, cols=4, is_extra=True), 1) == Work()


def test_works_add_up_and_repeat() -> None:
    tensors = [Tensor("a", "mlp", 2, 3), Tensor("b", "mlp", 5, 7)]
    assert products(tensors, 1) == product(tensors[0], 1) + product(tensors[1], 1)
    assert Work(2, 3).times(4) == Work(8, 12)


def test_attention_meets_every_key_twice_once_for_scores_and_once_for_values() -> None:
    n_layers, n_queries, n_keys, width = 2, 3, 5, 7
    one_way = 2 * n_queries * n_keys * width  # a product of (queries x width) with (width x keys)
    assert attention(n_layers, n_queries, n_keys, width) == Work(flop=2 * n_layers * one_way)


def test_bert_large_does_what_mlcommons_counts_for_it() -> None:
    """0.6 GFLOP a token without attention: 302 million parameters of its 24 layers."""
    arch = best_architecture(load_model("bert-large-uncased"))
    found = encoder_pass(arch, "language", "encoder", 1)
    assert found.flop == pytest.approx(2 * 24 * 12 * 1024**2, rel=0.01)
    long = encoder_pass(arch, "language", "encoder", 384)
    assert long.flop - 384 * found.flop == pytest.approx(4 * 24 * 1024 * (384**2 - 384), rel=1e-6)


def test_a_stack_is_found_by_its_name_or_the_error_says_which_there_are() -> None:
    arch = Architecture("m", "m", "encoder", (), (), (Stack("encoder", 1, 8, 8),))
    assert stack_named(arch, "encoder").hidden_size == 8
    with pytest.raises(NoAnswer) as caught:
        stack_named(arch, "decoder")
    assert "encoder" in caught.value.hint
