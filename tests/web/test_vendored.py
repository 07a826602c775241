"""Libraries of others are what their makers published, with their licence beside them."""

from __future__ import annotations

import hashlib
import re

from tests.data import CHECKOUT

VENDOR = CHECKOUT / "pricer" / "sidecar" / "web" / "vendor"
LINE = re.compile(r"^(\S+) +(\S+ [\d.]+) (\S+) (\S+) +([0-9a-f]{64})$", re.MULTILINE)
LISTED = LINE.findall((VENDOR / "VENDORED").read_text(encoding="utf-8"))


def test_every_file_is_listed_with_its_hash() -> None:
    present = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    del present["VENDORED"]
    assert {name: sha for name, *_, sha in LISTED} == present


def test_each_package_has_its_licence_beside_it() -> None:
    packages = {package for _, package, *_ in LISTED}
    licensed = {package for name, package, *_ in LISTED if name.endswith(".LICENSE")}
    assert packages == licensed
    for name, _, licence, *_ in LISTED:
        if name.endswith(".LICENSE"):
            assert licence in (VENDOR / name).read_text(encoding="utf-8").replace("The MIT License", "MIT")
