from __future__ import annotations

from rackrate.catalog.gpu import load_gpu
from rackrate.perf.nearest import SHOWN, all_measured, nearest_measured, was_measured

MEDIA = {"diffusion", "encoder", "speech", "training", "benchmark"}


def test_every_measured_speed_names_a_card_of_the_catalog_and_its_source() -> None:
    for row in all_measured():
        assert load_gpu(row.gpu).slug == row.gpu
        assert row.value > 0
        assert row.source
    assert {row.workload for row in all_measured()} >= MEDIA


def test_the_same_model_goes_before_the_same_card() -> None:
    found = nearest_measured("diffusion", "stable-diffusion-xl", "l40s")
    assert len(found) == SHOWN
    assert found[0].startswith("stable-diffusion-xl on l40s")
    assert all("stable-diffusion-xl" in text for text in found)


def test_a_model_was_measured_at_what_it_does_only() -> None:
    assert was_measured("encoder", "bert-large-uncased")
    assert not was_measured("speech", "bert-large-uncased")
    assert not was_measured("diffusion", "qwen-image")
