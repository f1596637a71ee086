from __future__ import annotations

import pytest

from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.gpu import load_gpu
from rackrate.catalog.model import load_model
from rackrate.errors import UsageError
from rackrate.perf.benchmark import minutes_by_samples, minutes_by_work, tuned_number
from rackrate.perf.chip import chip_of
from rackrate.perf.training import Run

H100, L40S = chip_of(load_gpu("h100-sxm")), chip_of(load_gpu("l40s"))


def test_llama_2_70b_learns_govreport_in_half_an_hour_on_8_h100() -> None:
    """MLPerf Training v4.0: 28.05 minutes at best, 29.4 in the middle."""
    run = Run("lora", 8192, 1, "8-bit", "tuned", n_gpus=8)
    found = minutes_by_samples("llama2-70b-lora", best_architecture(load_model("llama-2-70b")), H100, run, 8)
    assert found.value == pytest.approx(29.4, rel=0.25)
    assert found.unit == "min"


def test_larger_batches_need_more_samples() -> None:
    arch = best_architecture(load_model("bert-large-uncased"))
    run = Run("full", 512, 48, "fp16", "tuned", n_gpus=4)
    small, usual, large = (minutes_by_samples("bert", arch, L40S, run, n).value for n in (176, 0, 3000))
    assert small < usual < large < 1.5 * small


@pytest.mark.parametrize(
    ("name", "minutes"), [("resnet", 13.3), ("unet3d", 12.0)]
)  # MLPerf Training v4.0, 8 H100
def test_other_benchmarks_take_the_work_that_was_fitted(name: str, minutes: float) -> None:
    assert minutes_by_work(name, H100, n_gpus=8).value == pytest.approx(minutes, rel=0.2)


def test_more_machines_are_faster_but_not_in_proportion() -> None:
    one, eight = (minutes_by_work("resnet", H100, n_gpus=8 * n, n_nodes=n).value for n in (1, 8))
    assert one / 8 < eight < one / 4


def test_a_benchmark_that_nobody_measured_is_answered_wide_and_says_so() -> None:
    unknown, known = (minutes_by_work(name, H100, n_gpus=8) for name in ("dlrm", "resnet"))
    assert unknown.high / unknown.low > 2 * known.high / known.low
    assert "as others have" in unknown.assumptions[0]
    assert any("hardly anything" in text for text in unknown.assumptions)


def test_submitters_use_8_bits_where_engines_train_in_them() -> None:
    assert tuned_number(H100) == "8-bit"
    assert tuned_number(L40S) == "fp16"


def test_no_gpus_are_refused() -> None:
    with pytest.raises(UsageError, match="GPUs 0"):
        minutes_by_work("resnet", H100, n_gpus=0)
