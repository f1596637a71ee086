from __future__ import annotations

import pytest

from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.gpu import load_gpu
from rackrate.catalog.model import load_model
from rackrate.errors import NoAnswer, UnknownName, UsageError
from rackrate.perf.chip import chip_of
from rackrate.perf.factors import load_factors
from rackrate.perf.speech import ENGINES, Listening, audio_s_per_s, encoder_spent, step_spent

LARGE = best_architecture(load_model("whisper-large-v3"))
H100, V100S = chip_of(load_gpu("h100-sxm")), chip_of(load_gpu("v100s"))
MEDIA = load_factors("media")


def test_the_encoder_takes_what_we_measured() -> None:
    """Whisper large-v3 on an H100, eager: 114.6 ms for 16 windows. (One waits for Python: 12.1 ms, not 7.)"""
    found = encoder_spent(LARGE, H100, Listening(16, engine="transformers"), MEDIA)
    assert found.total_s == pytest.approx(0.1146, rel=0.1)


def test_faster_whisper_on_a_v100s_is_as_fast_as_its_authors_once_measured() -> None:
    """13 minutes of audio in 54 s with 5 beams (README of early 2023); the fit has not seen it."""
    arch = best_architecture(load_model("whisper-large-v2"))
    found = audio_s_per_s(arch, V100S, Listening(1, 5, "faster-whisper"))
    assert found.value == pytest.approx(780 / 54, rel=0.3)
    assert found.unit == "s/s"


def test_a_step_reads_the_decoder_or_waits_for_its_launches() -> None:
    python = step_spent(LARGE, H100, Listening(1, engine="openai-whisper"), MEDIA)
    assert python.limit == "host"
    assert python.total_s > 32e-3  # a millisecond a layer and more
    full = step_spent(LARGE, H100, Listening(64, 5, "tensorrt"), MEDIA)
    assert full.limit == "memory"
    caches = 64 * 5 * 2 * 32 * 1500 * 1280 * 2 / 3.35e12  # read once at the data sheet's bandwidth
    assert caches < full.total_s < 2 * caches


def test_a_short_decoder_pays_where_launches_count() -> None:
    turbo = best_architecture(load_model("whisper-large-v3-turbo"))
    for engine in ("transformers", "faster-whisper"):
        slow, fast = (audio_s_per_s(arch, H100, Listening(1, 1, engine)).value for arch in (LARGE, turbo))
        assert fast > 2 * slow


def test_engines_stand_in_the_order_that_people_measure() -> None:
    arch = best_architecture(load_model("whisper-large-v2"))
    speeds = {name: audio_s_per_s(arch, V100S, Listening(8, 1, name)).value for name in ENGINES}
    assert speeds["openai-whisper"] < speeds["transformers"] < speeds["faster-whisper"] < speeds["tensorrt"]
    assert speeds["bettertransformer"] < speeds["flash-attention"]


def test_gpus_listen_side_by_side() -> None:
    one, four = (audio_s_per_s(LARGE, H100, Listening(8), n_gpus=n).value for n in (1, 4))
    assert four == pytest.approx(4 * one)


def test_what_does_not_listen_is_refused() -> None:
    with pytest.raises(NoAnswer, match="bert"):
        audio_s_per_s(best_architecture(load_model("bert-base-uncased")), H100, Listening())
    with pytest.raises(UnknownName) as caught:
        Listening(engine="fast-whisper")
    assert caught.value.nearest[0] == "faster-whisper"
    with pytest.raises(UsageError, match="beams 0"):
        Listening(beams=0)
