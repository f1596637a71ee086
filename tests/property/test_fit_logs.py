"""Reading logs and cases: nothing that a text may hold raises anything but our error."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.errors import ImportRejected
from rackrate.fit.cases import COLUMNS, case_from_row, read_cases, write_cases
from rackrate.fit.logs import parse_log, to_cases

LOGS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).resolve().parents[1] / "unit" / "fit").glob("logs/*.txt"))
}
LINES = sorted({line for text in LOGS.values() for line in text.splitlines()})
FOREIGN = (
    "[GIN] 2026/05/09 - 10:34:21 | 200 | 29.826022057s | 127.0.0.1 | POST /api/generate",
    "Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:13<00:11,  2.87s/it]",
    "|   0  NVIDIA L40S        On   | 00000000:01:00.0 Off |   40123MiB / 46068MiB |  100%  Default |",
    'INFO:     127.0.0.1:47208 - "GET /v1/models HTTP/1.1" 200 OK',
    "2026-01-01 postgres LOG: checkpoint complete: wrote 3 buffers (0.0%); buffer size = 128 MB",
    "W0301 21:31:44.540000 16396 torch/utils/cpp_extension.py:2425] TORCH_CUDA_ARCH_LIST is not set",
    "Capturing batches (bs=1 avail_mem=11.18 GB): 100%|#####| 36/36 [00:10<00:00,  3.37it/s]",
    "Traceback (most recent call last):",
    '  File "serve.py", line 12, in main',
    "",
)
# A line of noise with the digits, names and signs that the patterns look for.
noise = st.text(alphabet="0123456789.,:=()[]' -GiBMtokens\x1b\x00\u2028", max_size=60)
# Any line of an engine, cut, with noise before, after or inside.
mangled = st.builds(
    lambda line, cut, extra: line[:cut] + extra + line[cut:],
    st.sampled_from(LINES),
    st.integers(0, 300),
    noise,
)


@given(st.lists(st.text(max_size=80) | noise | mangled | st.sampled_from(LINES), max_size=30))
@settings(max_examples=150)
def test_no_text_raises_anything_but_our_error_and_every_row_is_a_case(lines: list[str]) -> None:
    try:
        log = parse_log("\n".join(lines))
    except ImportRejected:
        return
    for row in to_cases(log):
        case_from_row(row)
    assert log.n_starts >= 1


@given(st.sampled_from(sorted(LOGS)), st.lists(st.sampled_from(FOREIGN), max_size=40), st.integers(0, 2**32))
@settings(max_examples=100)
def test_lines_of_other_tools_in_between_change_nothing(name: str, foreign: list[str], seed: int) -> None:
    lines = LOGS[name].splitlines()
    shuffled = random.Random(seed)  # noqa: S311  where the lines go is no secret
    for line in foreign:
        lines.insert(shuffled.randint(0, len(lines)), line)
    assert parse_log("\n".join(lines)) == parse_log(LOGS[name])


cells = st.text(max_size=20) | st.sampled_from(
    ["1", "0", "14.99", "gpu", "total", "fits", "weights_gib", "1e99"]
)


@given(st.lists(st.lists(cells, min_size=15, max_size=18), max_size=5))
@settings(max_examples=150)
def test_every_row_of_any_table_is_a_case_or_rejected_and_cases_survive(table: list[list[str]]) -> None:
    rows = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in table]
    try:
        read = read_cases("\n".join([",".join(COLUMNS), *rows]))
    except ImportRejected:
        return
    assert read_cases(write_cases(read.cases)).cases == read.cases
    for case in read.cases:
        assert all(case.settings.values())
