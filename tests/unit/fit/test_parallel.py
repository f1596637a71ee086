"""Layouts: shares that add up to the whole, and what a bad split says."""

from __future__ import annotations

from itertools import product

import pytest

from rackrate.errors import UsageError
from rackrate.fit.parallel import Layout, kv_heads_on_gpu, layers_on_gpu, share
from rackrate.sizing import find_weights

MODELS = (
    "llama-3.1-8b",
    "mixtral-8x7b",
    "gpt-oss-20b",
    "deepseek-v3",
    "qwen3.6-27b",
    "qwen2.5-vl-7b",
    "falcon-7b",
)


@pytest.mark.parametrize("slug", MODELS)
def test_the_shares_of_all_gpus_cover_every_tensor(slug: str) -> None:
    arch = find_weights(slug).arch
    for tensor, pipeline in product((1, 2, 4, 8), (1, 2, 3, 5)):
        layout = Layout(tensor=tensor, pipeline=pipeline)
        for t in arch.tensors:
            part = share(t, arch, layout)
            assert 0 < part <= 1
            assert part * layout.n_gpus >= 1 - 1e-12, t.name
    for expert in (2, 8):
        assert all(share(t, arch, Layout(expert=expert)) * expert >= 1 - 1e-12 for t in arch.tensors)


@pytest.mark.parametrize("slug", MODELS)
def test_a_finer_split_never_holds_more(slug: str) -> None:
    arch = find_weights(slug).arch
    for t in arch.tensors:
        by_tensor = [share(t, arch, Layout(tensor=n)) for n in (1, 2, 4, 8, 16)]
        by_stage = [share(t, arch, Layout(pipeline=n)) for n in (1, 2, 3, 4, 8)]
        assert by_tensor == sorted(by_tensor, reverse=True)
        assert by_stage == sorted(by_stage, reverse=True)


def test_norms_and_routers_are_on_every_gpu() -> None:
    arch = find_weights("mixtral-8x7b").arch
    whole = {t.name for t in arch.tensors if share(t, arch, Layout(tensor=8)) == 1}
    assert {"attn_norm", "ffn_norm", "ffn_gate_inp"} <= whole
    assert not {"attn_q", "ffn_down_exps", "token_embd", "output"} & whole


def test_61_layers_in_four_stages() -> None:
    assert layers_on_gpu(61, Layout(pipeline=4)) == 16


def test_key_heads() -> None:
    caches = find_weights("llama-3-70b").arch.caches
    assert [kv_heads_on_gpu(caches[0], Layout(tensor=n)) for n in (1, 2, 4, 8, 16)] == [8, 4, 2, 1, 1]


@pytest.mark.parametrize("name", ["tensor", "pipeline", "expert", "data"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_split_below_one_is_our_error(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=str(value)):
        Layout(**{name: value})


@pytest.mark.parametrize("stage", [-1, 4, 99])
def test_an_unknown_zero_stage_is_our_error(stage: int) -> None:
    with pytest.raises(UsageError):
        Layout(data=2, shard=stage)


def test_a_layout_in_words() -> None:
    assert str(Layout()) == "1 GPU"
    assert str(Layout(tensor=2, pipeline=4)) == "TP2 PP4"
    assert str(Layout(data=8, shard=3)) == "DP8 ZeRO-3"
    assert Layout(tensor=2, pipeline=2, data=2).n_gpus == 8
    assert Layout(tensor=8, expert=8).n_gpus == 8
