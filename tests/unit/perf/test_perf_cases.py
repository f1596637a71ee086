"""The reader of measured speeds: what it takes, and why it rejects what it does not."""

from __future__ import annotations

import csv
import io

import pytest

from rackrate.errors import ImportRejected
from rackrate.perf.cases import COLUMNS, PerfCase, read_perf_cases

ROW = {
    "id": "d1", "workload": "llm_decode", "model": "llama-3.1-8b", "precision": "bf16", "engine": "vLLM 0.11",
    "gpu": "l40s", "gpu_count": "2", "nodes": "", "parallel": "tp2", "batch_or_concurrency": "1",
    "input_tokens": "1024", "output_tokens": "256", "metric": "tpot_mean_ms", "value": "11.1", "unit": "ms",
    "extra": "hf=meta/Llama-8B;max_batched=2048; kv fp8", "quality": "note: one run", "source": "s",
    "licence": "l", "group": "g",
}  # fmt: skip


def text(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def only(**changes: str) -> PerfCase:
    found = read_perf_cases(text(ROW | changes))
    assert not found.rejected, found.rejected
    return found.cases[0]


def test_a_row_in_full() -> None:
    found = only()
    assert (found.gpu_count, found.nodes, found.load) == (2, 1, "1")
    assert (found.input_tokens, found.output_tokens, found.value) == (1024, 256, 11.1)
    assert found.is_trusted
    assert (found.setting("hf"), found.setting("max_batched")) == ("meta/Llama-8B", "2048")
    assert found.setting("hf2") == found.setting("batched") == ""


def test_numbers_as_sources_write_them() -> None:
    """Means of many requests are no whole numbers; a share of one is written with and without its 0."""
    assert only(input_tokens="512.6", output_tokens="1.5e3").input_tokens == 513
    assert only(value=".5").value == 0.5
    assert only(quality="OK").is_trusted


def test_what_does_not_apply_is_none_and_columns_come_in_any_order() -> None:
    assert only(input_tokens="").input_tokens is None
    turned = read_perf_cases("\ufeff" + text(ROW, columns=("more", *COLUMNS[::-1]))).cases
    assert turned == (only(),)


@pytest.mark.parametrize(
    ("quality", "is_trusted"), [("ok", True), ("note: x", True), ("suspect: slow", False), ("", False)]
)
def test_only_what_its_source_stands_by_is_trusted(quality: str, is_trusted: bool) -> None:  # noqa: FBT001
    assert only(quality=quality).is_trusted is is_trusted


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"value": "0"}, "'0' is not above 0"),
        ({"value": "-3"}, "'-3' is not a number"),
        ({"value": "fast"}, "'fast' is not a number"),
        ({"value": "nan"}, "'nan' is not a number"),
        ({"value": "1e999"}, "'1e999' is not a number"),
        ({"value": ""}, "value is empty"),
        ({"workload": " "}, "workload is empty"),
        ({"metric": ""}, "metric is empty"),
        ({"gpu_count": "1.5"}, "'1.5' is not a whole number"),
        ({"input_tokens": "many"}, "'many' is not a number"),
    ],
)
def test_a_bad_row_is_rejected_with_its_line_and_reason(change: dict[str, str], reason: str) -> None:
    found = read_perf_cases(text(ROW, ROW | change, ROW))
    assert len(found.cases) == 2
    assert [each.line for each in found.rejected] == [3]
    assert reason in found.rejected[0].reason


def test_a_text_that_is_no_table_of_speeds_is_refused() -> None:
    with pytest.raises(ImportRejected, match="no column value") as error:
        read_perf_cases(text(ROW, columns=tuple(c for c in COLUMNS if c != "value")))
    assert "gpu_count" in error.value.hint
    with pytest.raises(ImportRejected):
        read_perf_cases("")
