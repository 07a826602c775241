"""The public list: lazy, complete, documented, and the same in the code, the docs and for type checkers."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pricer
from tests.data import CHECKOUT

HEAVY = ("numpy", "numba", "pandas", "fastapi", "uvicorn", "pydantic", "typer", "rich", "websockets", "vollib")


def run_python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.parametrize("name", pricer.__all__)
def test_every_public_name_imports_and_says_what_it_is(name: str) -> None:
    documentation = inspect.getdoc(getattr(pricer, name))
    assert documentation, f"{name} has no docstring"
    assert not documentation.startswith(f"{name}("), f"{name} has only the docstring that dataclasses write"


def test_the_list_the_table_of_homes_and_the_type_checkers_imports_agree() -> None:
    assert sorted(pricer.__all__) == sorted(pricer._HOME_OF)
    assert len(set(pricer.__all__)) == len(pricer.__all__)
    tree = ast.parse(Path(inspect.getfile(pricer)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        (alias.name, node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }
    modules = {
        (str(alias.asname), alias.name) for node in block.body if isinstance(node, ast.Import) for alias in node.names
    }
    assert imported | modules == set(pricer._HOME_OF.items())


def test_importing_pricer_loads_nothing_heavy_and_using_a_name_loads_its_home() -> None:
    code = f"import sys, pricer; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert run_python(code).strip() == "[]"
    assert run_python("import sys, pricer; pricer.NotTradable; print('pricer.errors' in sys.modules)").strip() == "True"


def test_importing_pricer_takes_under_fifty_milliseconds() -> None:
    # Inside the process: its own start is not ours to answer for.
    code = "import time; start = time.process_time(); import pricer; print(time.process_time() - start)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.05


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match=r"module 'pricer' has no attribute 'implied_volatility'"):
        pricer.implied_volatility  # noqa: B018  # the access is the test
    with pytest.raises(ImportError, match="implied_volatility"):
        exec("from pricer import implied_volatility")


def test_dir_lists_every_public_name() -> None:
    assert set(pricer.__all__) <= set(dir(pricer))
    assert "__version__" in dir(pricer)


def test_the_functions_are_functions_even_after_all_submodules_were_imported() -> None:
    # A module called pricer/live.py would replace pricer.live on its import.
    for name in ("streaming", "playback", "pricing", "engine", "snapshot"):
        importlib.import_module(f"pricer.{name}")
    for name in ("live", "replay", "price", "greeks", "implied_vol", "venue_greeks", "warmup"):
        assert callable(getattr(pricer, name)), name


def test_every_pricer_name_in_the_readme_and_the_docs_exists() -> None:
    pages = [*sorted(CHECKOUT.glob("*.md")), *sorted((CHECKOUT / "docs").rglob("*.md"))]
    missing = [
        f"{page.relative_to(CHECKOUT)}: pricer.{name}"
        for page in pages
        for name in re.findall(r"(?<![\w/.])pricer\.([A-Za-z_]\w*)(?![\w/])", page.read_text(encoding="utf-8"))
        if name not in pricer.__all__ and importlib.util.find_spec(f"pricer.{name}") is None
    ]
    assert not missing
