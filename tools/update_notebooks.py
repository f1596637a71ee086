"""Run the notebooks of examples/ anew and keep what they show; run it when factors or prices have changed.

python tools/update_notebooks.py     # rewrites examples/notebooks/*.ipynb; look at the difference
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path

import nbclient
import nbformat

NOTEBOOKS = Path(__file__).resolve().parent.parent / "examples" / "notebooks"


def main() -> None:
    """Execute each notebook in a kernel and a folder of its own; write those whose outputs changed."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        metadata = deepcopy(notebook.metadata)
        kept = {cell.id: cell.get("execution_count") for cell in notebook.cells}
        with tempfile.TemporaryDirectory() as folder:
            nbclient.NotebookClient(
                notebook,
                timeout=100,
                kernel_name="python3",
                resources={"metadata": {"path": folder}},
                record_timing=False,
            ).execute()
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.execution_count = kept[cell.id]
        notebook.metadata = metadata  # the kernel adds its own version
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
