"""What must hold of every forecast of pictures, texts, speech and training, on any card and load."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.catalog.architecture import Architecture
from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.gpu import all_gpus
from rackrate.catalog.model import load_model
from rackrate.perf.chip import CLASSES, Chip, chip_of
from rackrate.perf.diffusion import ENGINES as DRAWN_BY
from rackrate.perf.diffusion import Drawing, batch_spent, images_per_s
from rackrate.perf.encoder import Reading, texts_per_s
from rackrate.perf.estimate import LIMITS, Estimate
from rackrate.perf.power import SHARES, drawn_w
from rackrate.perf.speech import ENGINES as HEARD_BY
from rackrate.perf.speech import Listening, audio_s_per_s
from rackrate.perf.training import METHODS, Run, samples_per_s, step_spent

CHIPS = [chip_of(gpu) for gpu in all_gpus()]
PICTURES = [best_architecture(load_model(m)) for m in ("flux.1-dev", "stable-diffusion-1.5", "qwen-image")]
TEXTS = [best_architecture(load_model(m)) for m in ("bert-base-uncased", "bert-large-uncased")]
SPEECH = [best_architecture(load_model(m)) for m in ("whisper-tiny", "whisper-large-v3")]
TRAINED = [best_architecture(load_model(m)) for m in ("llama-3.2-1b", "mixtral-8x7b", "bert-base-uncased")]

chips = st.sampled_from(CHIPS)
counts = st.integers(1, 64)
drawings = st.builds(
    Drawing,
    pixels=st.integers(256**2, 2048**2),
    steps=st.integers(1, 50),
    passes=st.integers(1, 2),
    batch=st.integers(1, 16),
    engine=st.sampled_from(DRAWN_BY),
    number=st.sampled_from(("fp16", "int8wo", "8-bit")),
)
runs = st.builds(
    Run,
    method=st.sampled_from(METHODS),
    tokens=st.integers(16, 8192),
    batch=counts,
    engine=st.sampled_from(("torch", "container", "tuned")),
    has_checkpointing=st.booleans(),
    is_sharded=st.booleans(),
    n_gpus=st.integers(1, 16),
)


def faster(chip: Chip, by: float) -> Chip:
    """Return a chip that multiplies and reads faster."""
    flops = {number: peak * by for number, peak in chip.flops.items()}
    return replace(chip, flops=flops, bandwidth=chip.bandwidth * by)


def check(found: Estimate) -> None:
    assert 0 < found.low <= found.value <= found.high < float("inf")
    assert found.limit in LIMITS
    assert found.assumptions


@given(chip=chips, arch=st.sampled_from(PICTURES), drawing=drawings, by=st.floats(1, 4))
@settings(max_examples=60)
def test_pictures(chip: Chip, arch: Architecture, drawing: Drawing, by: float) -> None:
    found = images_per_s(arch, chip, drawing)
    check(found)
    assert images_per_s(arch, faster(chip, by), drawing).value >= found.value * (1 - 1e-9)
    longer = replace(drawing, steps=drawing.steps + 1)
    assert images_per_s(arch, chip, longer).value < found.value
    alone = replace(drawing, batch=1)
    assert found.value >= images_per_s(arch, chip, alone).value * (1 - 1e-9)
    larger = replace(drawing, pixels=drawing.pixels * 2)
    both = [batch_spent(arch, chip, d).total_s for d in (drawing, larger)]
    assert both[0] <= both[1]


@given(chip=chips, arch=st.sampled_from(TEXTS), tokens=st.integers(1, 512), n=counts, by=st.floats(1, 4))
@settings(max_examples=60)
def test_texts(chip: Chip, arch: Architecture, tokens: int, n: int, by: float) -> None:
    reading = Reading(tokens, n, "eager", "fp16")
    found = texts_per_s(arch, chip, reading)
    check(found)
    assert texts_per_s(arch, faster(chip, by), reading).value >= found.value * (1 - 1e-9)
    assert texts_per_s(arch, chip, replace(reading, batch=1)).value <= found.value * (1 + 1e-9)
    assert texts_per_s(arch, chip, reading, is_server=True).value < found.value
    assert texts_per_s(arch, chip, replace(reading, tokens=tokens + 64)).value <= found.value


@given(
    chip=chips, arch=st.sampled_from(SPEECH), engine=st.sampled_from(HEARD_BY), n=counts,
    beams=st.integers(1, 5), by=st.floats(1, 4),
)  # fmt: skip
@settings(max_examples=60)
def test_speech(chip: Chip, arch: Architecture, engine: str, n: int, beams: int, by: float) -> None:
    listening = Listening(n, beams, engine)
    found = audio_s_per_s(arch, chip, listening)
    check(found)
    assert audio_s_per_s(arch, faster(chip, by), listening).value >= found.value * (1 - 1e-9)
    alone = audio_s_per_s(arch, chip, replace(listening, batch=1)).value
    assert alone <= found.value * (1 + 1e-9)
    greedy = audio_s_per_s(arch, chip, replace(listening, beams=1)).value
    assert greedy >= found.value * (1 - 1e-9)


@given(chip=chips, arch=st.sampled_from(TRAINED), run=runs, by=st.floats(1, 4))
@settings(max_examples=80)
def test_training(chip: Chip, arch: Architecture, run: Run, by: float) -> None:
    found = samples_per_s(arch, chip, run)
    check(found)
    assert samples_per_s(arch, faster(chip, by), run).value >= found.value * (1 - 1e-9)
    assert samples_per_s(arch, chip, replace(run, batch=1)).value <= found.value * (1 + 1e-9)
    again = replace(run, has_checkpointing=True)
    assert samples_per_s(arch, chip, again).value <= found.value * (1 + 1e-9)
    assert step_spent(arch, chip, run).link_s >= 0


@given(chip=chips, doing=st.sampled_from(sorted(SHARES)), n=counts)
def test_no_gpu_draws_more_than_its_board_may(chip: Chip, doing: str, n: int) -> None:
    found = drawn_w(chip, doing, n)
    assert 0 < found.low <= found.value <= found.high <= n * chip.tdp_w * (1 + 1e-9)
    assert chip.kind in CLASSES
