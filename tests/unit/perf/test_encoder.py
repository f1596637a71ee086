from __future__ import annotations

import pytest

from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.gpu import load_gpu
from rackrate.catalog.model import load_model
from rackrate.errors import UnknownName, UsageError
from rackrate.perf.chip import Chip, chip_of
from rackrate.perf.encoder import SQUAD_TOKENS, Reading, batch_spent, latency_s, texts_per_s

BERT = best_architecture(load_model("bert-large-uncased"))


def chip(slug: str) -> Chip:
    return chip_of(load_gpu(slug))


@pytest.mark.parametrize(
    ("gpu", "per_gpu"),
    [("a2", 252.7), ("a100-80gb-pcie", 3210.4), ("h100-sxm", 8366.9), ("l40s", 3312.1)],
)
def test_bert_large_reads_what_mlperf_measured_on_one_gpu(gpu: str, per_gpu: float) -> None:
    found = texts_per_s(BERT, chip(gpu), Reading())
    assert found.value == pytest.approx(per_gpu, rel=0.25)
    assert found.unit == "samples/s"


def test_a_slow_card_gathers_smaller_batches_for_a_server() -> None:
    shares = [
        texts_per_s(BERT, chip(gpu), Reading(), is_server=True).value
        / texts_per_s(BERT, chip(gpu), Reading()).value
        for gpu in ("a2", "a100-80gb-pcie")
    ]
    assert shares[0] < 0.8 < shares[1] < 1  # MLPerf v2.1: 0.67 to 0.74, 0.90 to 0.95


def test_one_text_takes_longer_than_its_share_of_a_batch() -> None:
    alone = latency_s(BERT, chip("a2"), Reading(tokens=280))
    assert alone.value == pytest.approx(8.05e-3, rel=0.15)  # MLPerf v2.1, 9 of 10 texts
    assert alone.value > 1 / texts_per_s(BERT, chip("a2"), Reading(tokens=280)).value


def test_stock_transformers_launch_layer_by_layer_so_that_one_text_waits_for_the_host() -> None:
    reading = Reading(tokens=128, batch=1, engine="eager", number="fp16")
    found = batch_spent(BERT, chip("h100-sxm"), reading)
    assert found.limit == "host"
    assert found.total_s == pytest.approx(8.7e-3, rel=0.4)  # our H100: 8.69 ms


def test_gpus_read_side_by_side() -> None:
    one, eight = (texts_per_s(BERT, chip("l40s"), Reading(), n_gpus=n).value for n in (1, 8))
    assert eight == pytest.approx(8 * one)


def test_no_batch_is_a_full_gpu() -> None:
    full = batch_spent(BERT, chip("l40s"), Reading(tokens=SQUAD_TOKENS))
    assert full.host_s == 0


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(UsageError, match="tokens 0"):
        Reading(tokens=0)
    with pytest.raises(UsageError, match="batch -1"):
        Reading(batch=-1)
    with pytest.raises(UnknownName, match="engine"):
        Reading(engine="onnx")
