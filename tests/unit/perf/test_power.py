from __future__ import annotations

import pytest

from rackrate.catalog.gpu import load_gpu
from rackrate.errors import UnknownName, UsageError
from rackrate.perf.chip import chip_of
from rackrate.perf.power import SHARES, drawn_w

H100 = chip_of(load_gpu("h100-sxm"))


def test_products_without_a_pause_draw_what_the_board_may() -> None:
    found = drawn_w(H100, "products")
    assert found.value == pytest.approx(698, rel=0.01)  # measured, 700 W board
    assert found.high == found.value


def test_no_work_draws_more_when_the_gpu_is_less_busy() -> None:
    draws = {doing: drawn_w(H100, doing).value for doing in SHARES}
    assert draws["idle"] < draws["speech"] < draws["decode"] < draws["training"] < draws["products"]


def test_the_range_ends_at_the_boards_power() -> None:
    found = drawn_w(H100, "training", 8)
    assert found.low < found.value < found.high <= 8 * 700
    assert found.value == pytest.approx(8 * drawn_w(H100, "training").value)


def test_unknown_work_and_no_gpus_are_refused() -> None:
    with pytest.raises(UnknownName) as caught:
        drawn_w(H100, "decoding")
    assert "decode" in caught.value.nearest
    with pytest.raises(UsageError, match="GPUs 0"):
        drawn_w(H100, "idle", 0)
