"""The user's measured runs: each once, all whole, the nearest one found."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from rackrate import calibration, config
from rackrate.errors import ImportRejected
from rackrate.fit.cases import COLUMNS, Case, case_from_row


def case(**said: str) -> Case:
    row = {
        "workload": "inference",
        "model": "llama-3.1-8b",
        "precision": "bf16",
        "engine": "vLLM 0.11",
        "gpu": "l40s",
        "context": "8192",
        "quantity": "weights_gib",
        "value": "14.99",
        "per": "gpu",
    }
    return case_from_row(row | said)


NEAREST = {"model": "llama-3.1-8b", "engine": "vllm", "gpu": "l40s"}


def test_the_file_has_the_columns_of_cases_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "calibration.csv"
    first, second = [case(), case(quantity="kv_gib", value="20")], [case(value="15.01")]
    assert calibration.save(first, path) == 2
    text = path.read_text()
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert calibration.save(second, path) == 1
    assert path.read_text().startswith(text)
    assert [found.value for found in calibration.load(path)] == [14.99, 20.0, 15.01]
    assert os.listdir(path.parent) == ["calibration.csv"]  # noqa: PTH208 - nothing half-written stays


def test_the_same_run_goes_in_once_whatever_its_ids(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    cases = [case(), case(quantity="kv_gib")]
    assert calibration.save(cases, path) == 2
    assert calibration.save([replace(each, id=f"log-{n}") for n, each in enumerate(cases)], path) == 0
    assert calibration.save([], path) == 0
    assert len(calibration.load(path)) == 2


def test_no_file_is_no_cases_and_a_broken_row_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    assert calibration.load(path) == ()
    calibration.save([case()], path)
    path.write_text(path.read_text() + "x,y\n")
    with pytest.raises(ImportRejected, match="line 3"):
        calibration.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ImportRejected, match="cannot be read"):
        calibration.load(path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.csv"
    calibration.save([case()], path)
    before = path.read_text()

    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        calibration.save([case(value="1")], path)
    assert path.read_text() == before


def test_the_nearest_run_has_the_same_model_engine_and_gpu() -> None:
    others = [case(model="x"), case(engine="SGLang 0.5"), case(gpu="a10")]
    assert (
        calibration.nearest_run([replace(each, id=f"{n}-1") for n, each in enumerate(others)], **NEAREST)
        == ()
    )
    runs = [
        replace(case(precision="fp8", context="8192"), id="a-1"),
        replace(case(context="32768"), id="b-1"),
        replace(case(context="4096"), id="c-1"),
        replace(case(context="4096", value="15"), id="d-1"),
        replace(case(context="4096", quantity="kv_gib"), id="d-2"),
    ]
    near = calibration.nearest_run(runs, **NEAREST, precision="bf16", context=8192)
    assert [found.id for found in near] == ["d-1", "d-2"], "the newest of those as near, whole"
    assert calibration.nearest_run(runs, **NEAREST, precision="fp8", context=1)[0].id == "a-1"


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="where platformdirs is asked")
@pytest.mark.parametrize("base", ["", "/elsewhere/data"])
def test_the_data_folder_is_where_platformdirs_has_it(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", base)
    assert str(config.data_folder()) == platformdirs.user_data_dir("rackrate")
    assert config.calibration_file().parent == config.data_folder()
