"""A script with `# %%` cells as the notebook that is its twin; the script is the source.

python -m tests.notebook examples/surface_research.py    # writes examples/surface_research.ipynb
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

MARK = re.compile(r"^# %%(?: \[(markdown)\])?\n", re.MULTILINE)


def notebook_of(script: str) -> dict[str, Any]:
    """The notebook, nbformat 4.5: a cell for each mark, no outputs, ids by their order."""
    before, *parts = MARK.split(script)
    if before.strip():
        raise ValueError(f"before the first cell stands {before.strip()[:40]!r}")
    cells = []
    for i, (kind, text) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        source = text.strip("\n")
        cell: dict[str, Any] = {"cell_type": kind or "code", "id": f"cell-{i:02d}", "metadata": {}}
        if kind == "markdown":
            source = "\n".join(line.removeprefix("#").removeprefix(" ") for line in source.split("\n"))
        else:
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell | {"source": source.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def main(paths: list[str]) -> None:
    for path in map(Path, paths):
        made = json.dumps(notebook_of(path.read_text(encoding="utf-8")), indent=1, ensure_ascii=False)
        path.with_suffix(".ipynb").write_text(made + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
