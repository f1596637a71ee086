"""Ways to make it fit: every one of them does."""

from __future__ import annotations

import pytest

from rackrate.fit.solve import SURE
from rackrate.fit.ways import ways
from rackrate.sizing import fits

QUESTIONS = [
    ("llama-3-70b", "l40s", {}),
    ("llama-3-70b", "h100", {"precision": "fp8", "context": "8k", "concurrency": 64}),
    ("qwen2.5-72b", "l40s", {"precision": "int4"}),
    ("qwen3-32b", "rtx-4090", {"precision": "q8_0", "engine": "llama.cpp"}),
    ("flux.1-dev", "rtx-4090", {}),
    ("deepseek-v3", "h100:8", {}),
    ("llama-3.1-8b", "a100-40gb", {"task": "full"}),
    ("llama-3.1-8b", "rtx-4090", {"task": "lora", "context": 8192, "concurrency": 8}),
    ("qwen3-14b", "rtx-4090", {"task": "qlora", "context": "8k"}),
    ("qwen3.6-35b-a3b", "l40s", {"concurrency": 256}),
]


@pytest.mark.parametrize(("model", "gpu", "options"), QUESTIONS)
def test_every_way_fits_and_says_its_price(model: str, gpu: str, options: dict[str, object]) -> None:
    fit = fits(model, gpu, **options)  # type: ignore[arg-type]
    assert fit.verdict != "fits"
    found = ways(fit)
    assert 1 <= len(found) <= 3
    for way in found:
        assert way.probability >= SURE
        assert way.total.gib < fit.total.gib or "utilization" in way.change
        assert way.price
    assert len({way.change for way in found}) == len(found)


def test_what_fits_needs_no_way() -> None:
    assert ways(fits("llama-3.1-8b", "l40s")) == []


def test_a_way_done_by_hand_gives_the_same_answer() -> None:
    """The change in words leads to the set-up that was judged."""
    found = ways(fits("llama-3-70b", "l40s:2", precision="bf16"), n=5)
    fp8 = next(way for way in found if way.change == "weights in fp8")
    again = fits("llama-3-70b", "l40s:2", precision="fp8")
    assert again.total.gib == fp8.total.gib
    assert again.probability == fp8.probability


def test_more_gpus_are_whole_doublings() -> None:
    found = ways(fits("llama-3.1-405b", "h100:8", precision="bf16"))
    assert found[-1].change.startswith("16 GPUs")
    again = fits("llama-3.1-405b", "h100:16", precision="bf16")
    assert again.verdict == "fits"
    assert again.total.gib == found[-1].total.gib


def test_a_way_as_plain_data() -> None:
    data = ways(fits("llama-3-70b", "l40s"))[0].to_dict()
    assert set(data) == {"change", "price", "total_gib", "limit_gib", "probability"}
