from __future__ import annotations

import pytest

from rackrate.catalog.gpu import load_gpu
from rackrate.errors import NoAnswer, UsageError
from rackrate.perf.rough import alignment_hours, rendering_speed, streaming_speed, transcoding_speed


def test_8_v100_take_the_published_47_minutes_and_half_as_many_twice_that() -> None:
    v100 = load_gpu("v100-16gb-sxm")
    assert alignment_hours(v100, 8).value == pytest.approx(47 / 60, abs=0.01)
    assert alignment_hours(v100, 4).value == pytest.approx(94 / 60, abs=0.02)


def test_alignment_says_that_it_is_rough_and_how_rough() -> None:
    found = alignment_hours(load_gpu("l40s"))
    assert "rough" in found.assumptions[0]
    assert found.high / found.value >= 1.4
    assert found.unit == "hours"


@pytest.mark.parametrize(
    ("fast", "slow", "ratio"),
    [("rtx-4080", "rtx-3080", 1.86), ("rtx-4090", "rtx-3090", 2.2)],
)
def test_rendering_scales_as_chaos_measured_within_the_range(fast: str, slow: str, ratio: float) -> None:
    found = rendering_speed(load_gpu(fast))
    assert found.value / rendering_speed(load_gpu(slow)).value == pytest.approx(ratio, rel=0.15)
    assert found.high / found.value >= 1.4


def test_an_l40s_is_the_measure() -> None:
    l40s = load_gpu("l40s")
    for found in (rendering_speed(l40s), transcoding_speed(l40s), streaming_speed(l40s)):
        assert found.value == 1
        assert found.unit == "x l40s"


def test_a_streamed_game_needs_both_pixels_and_encoders() -> None:
    a10 = load_gpu("a10")
    assert transcoding_speed(a10).value == pytest.approx(1 / 3)
    assert streaming_speed(a10).value == min(rendering_speed(a10).value, 1 / 3)


@pytest.mark.parametrize("slug", ["h100-sxm", "a100-80gb-pcie"])
def test_compute_cards_neither_render_nor_encode(slug: str) -> None:
    with pytest.raises(NoAnswer, match="no ray-tracing cores"):
        rendering_speed(load_gpu(slug))
    with pytest.raises(NoAnswer, match="no video encoder"):
        transcoding_speed(load_gpu(slug))


def test_what_nobody_states_is_no_zero() -> None:
    with pytest.raises(NoAnswer, match="no source states"):
        transcoding_speed(load_gpu("rtx-pro-4500"))


def test_alignment_needs_cuda_and_a_gpu() -> None:
    with pytest.raises(NoAnswer, match="mi300x"):
        alignment_hours(load_gpu("mi300x"))
    with pytest.raises(UsageError, match="GPUs 0"):
        alignment_hours(load_gpu("l40s"), 0)
