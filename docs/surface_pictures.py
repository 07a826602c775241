"""Make docs/images/surface_*.png: the pictures of the research example, of the embedded market, always the same.

python docs/surface_pictures.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SHOWN = (
    "smiles", "residuals", "total_variance", "durrleman_g", "density", "term_structure", "local_vol", "surface_3d",
    "skew_history", "raw_and_smoothed", "before_and_after",
)  # fmt: skip
COLORS = 256  # a third of the bytes, and no difference to the eye
# Colours spread over all that occur, then refined: the usual choice by number of pixels leaves steps in colour bars.
PALETTE: dict[str, Any] = {"method": Image.Quantize.MAXCOVERAGE, "kmeans": 3, "dither": Image.Dither.NONE}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, ROOT / "examples" / "surface_research.py", folder], cwd=ROOT, check=True)
        for name in SHOWN:
            target = ROOT / "docs" / "images" / f"surface_{name.removeprefix('surface_')}.png"
            with Image.open(Path(folder) / f"{name}.png") as picture:
                picture.convert("RGB").quantize(COLORS, **PALETTE).save(target, optimize=True)


if __name__ == "__main__":
    main()
