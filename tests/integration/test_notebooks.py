"""The notebooks of examples/ run from top to bottom, and what they show is what comes."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import nbclient
import nbformat
import pytest

from rackrate.fleet import opening
from rackrate.fleet.folder import all_folders

NOTEBOOKS = Path(__file__).resolve().parents[2] / "examples" / "notebooks"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's client and its loop
MOST_BYTES = 40_000


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Look that no process of any fleet is left."""
    yield
    assert [folder.fleet for folder in all_folders() if opening.reap(folder)] == []


def shown(notebook: Any) -> list[list[Any]]:
    """Return what each cell of code shows: what it wrote, in one piece, and its values."""
    return [_shown(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def _shown(outputs: list[Any]) -> list[Any]:
    wrote = "".join(out["text"] for out in outputs if out.get("name") == "stdout")  # it comes in any pieces
    return [*([wrote] if wrote else []), *(out["data"] for out in outputs if "data" in out)]


def run(name: str, folder: Path) -> tuple[Any, Any]:
    """Return a notebook as it is kept, and as it runs now in a kernel of its own."""
    kept = nbformat.read(NOTEBOOKS / name, as_version=4)
    again = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbclient.NotebookClient(
        again, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return kept, again


@pytest.mark.parametrize("name", ["choose_a_gpu.ipynb", "run_a_sweep.ipynb"])
def test_a_notebook_shows_what_it_shows(name: str, tmp_path: Path) -> None:
    kept, again = run(name, tmp_path)
    assert any(shown(kept))
    assert shown(kept) == shown(again)
    assert (NOTEBOOKS / name).stat().st_size < MOST_BYTES
    assert "/root" not in (NOTEBOOKS / name).read_text()


def test_the_sweep_finds_what_the_arithmetic_says(tmp_path: Path) -> None:
    _, again = run("run_a_sweep.ipynb", tmp_path)
    best, top, n, states = (of[0] for of in shown(again) if of)
    loss = 10.0
    for _ in range(20):
        loss += (100 / 128 - loss) / 10
    assert best == f"{{'lr': 1.0, 'width': 128}} loss {loss:.4f} {loss:.6f}\n"
    values = [row["value"] for row in ast.literal_eval(top["text/plain"])]
    assert values == sorted(values)
    assert values[0] == pytest.approx(loss)
    assert n["text/plain"] == "(240, 'values were reported')"
    assert states["text/plain"] == "{'gone'}"


def test_the_marimo_notebook_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RACKRATE_NOW", "")  # put back after the notebook has set it
    app = runpy.run_path(str(NOTEBOOKS / "choose_a_gpu_marimo.py"))["app"]
    outputs, names = app.run()
    assert names["model"].value == "llama-3.1-8b"
    drawn = [out.to_dict()["title"]["text"] for out in outputs if isinstance(out, alt.TopLevelMixin)]
    assert drawn == [names[name].plot().to_dict()["title"]["text"] for name in ("fit", "price")]
    assert names["plan"] in outputs
