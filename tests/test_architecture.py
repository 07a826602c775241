"""Which module may import which, as one table. A new arrow is a design change; say why in its commit.

A module obeys the row whose pattern is the longest that fits it, and may always import its own row's modules. The
standard library is open to all but for the modules of `GATED`, which read the time, draw chance or reach outside.
`lazy` names what may be imported inside a function or for type checkers only, so that a plain import stays cheap.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.data import CHECKOUT
from tests.tree import project_files

GATED = (
    "asyncio concurrent http.client http.server multiprocessing random select selectors signal socket ssl subprocess"
    " threading time urllib.request"
)

BASE = "errors clock conventions addresses remembered"
MODELS = "columns pricing bsm bachelier displaced digital american position"
EVENTS = "adapters.events adapters.instruments"
ENGINE = "books engine listed_names microstructure recent_trades snapshot"
CONSUMERS = (
    "book_wishes chainview feedplan hedge_gate mailbox orderflow playback research risk streaming supervisor watchdog"
)
EDGE = "calculator cli config doctor embedded launch logs remote report sidecar signals terminal viewer"
PUBLIC = "pricer"  # the package itself, with its public list


class Row(NamedTuple):
    modules: str  # names below `pricer`; each stands for itself and all that is below it
    ours: str = ""
    others: str = ""
    lazy: str = ""


TABLE = (
    Row("errors conventions expiries addresses remembered"),
    Row("clock", others="time"),
    # The rating kernels write the bits of Status and Reason.
    Row("kernels", ours="errors conventions", others="numpy numba"),
    Row("kernels.elementary", ours="kernels", others="numpy numba llvmlite struct fractions"),
    # One thread compiles, the others wait; and processes of our own compile beside it.
    Row("kernels.warmup", ours="kernels errors", others="numba threading time"),
    Row("kernels.compiling", ours="kernels errors", others="subprocess signal"),
    Row("kernels.store", others="numpy numba llvmlite"),
    Row(MODELS, ours="kernels errors", others="numpy"),
    # columns: the Greeks of a surface take options in the same shapes and words as all public functions do.
    Row("surfaces", ours="kernels errors conventions columns", others="numpy numba"),
    Row("surfaces.plots", ours="surfaces kernels errors conventions", others="numpy", lazy="matplotlib plotly"),
    Row("adapters", ours=BASE, others="msgspec numpy"),
    Row("adapters.book", ours=f"adapters {BASE}", others="msgspec numpy numba"),
    # The only ones that wait: a feed's own tasks and timers, and the jitter of its attempts.
    Row("adapters.feed adapters.line adapters.fleet", ours=f"adapters {BASE}", others="asyncio random"),
    Row("adapters.backoff", ours=f"adapters {BASE}", others="random"),
    Row("adapters.connects", ours=f"adapters {BASE}", others="asyncio"),
    # The way out, for every library alike: addresses (the system's resolver blocks, so in threads), proxies and TLS.
    Row("adapters.resolver", ours=f"adapters {BASE}", others="asyncio socket threading"),
    Row("adapters.network", ours=f"adapters {BASE}", others="asyncio socket ssl urllib"),
    # One module for each library that speaks on it.
    Row("adapters.websockets_transport", ours=f"adapters {BASE}", others="asyncio socket ssl websockets"),
    Row("adapters.picows_transport", ours=f"adapters {BASE}", others="asyncio socket", lazy="picows"),
    Row("adapters.fetching", ours=f"adapters {BASE}", others="asyncio", lazy="httpx"),
    Row("adapters.recording", ours=f"adapters {BASE}", others="msgspec", lazy="zstandard"),
    # pandas gives a snapshot as a frame to those who have it.
    Row(ENGINE, ours=f"kernels surfaces {BASE} {EVENTS}", others="numpy", lazy="pandas"),
    # No adapters: the fake venue and the parser must not share one misunderstanding. msgspec writes the frames, some
    # thousands a second; chance comes from seeded numpy generators only; socket resets connections as a fault.
    Row("simulator", ours=f"kernels surfaces {BASE}", others="numpy websockets msgspec asyncio socket"),
    Row(
        CONSUMERS,
        ours=f"kernels surfaces adapters simulator expiries {MODELS} {BASE} {ENGINE}",
        others="numpy asyncio random threading concurrent",
        lazy="pandas polars plotly matplotlib uvloop",
    ),
    Row(
        EDGE,
        ours=f"{PUBLIC} kernels surfaces adapters simulator expiries {MODELS} {BASE} {ENGINE} {CONSUMERS}",
        others="numpy msgspec orjson asyncio random select signal socket ssl threading time websockets httpx pydantic"
        " pydantic_settings fastapi starlette uvicorn typer rich prometheus_client",
        lazy="numba llvmlite vollib pandas",
    ),
    # An answer as Arrow, for those who have it.
    Row("sidecar.routes.arrow", ours=f"sidecar {BASE}", others="numpy orjson", lazy="nanoarrow"),
    # uvicorn's connections are built on h11, and what h11 refuses is told by its own error.
    Row(
        "sidecar.transport",
        ours=f"sidecar config {BASE}",
        others="asyncio socket uvicorn starlette websockets h11",
    ),
    # The public list: every name is loaded when it is first used.
    Row("", lazy=f"kernels surfaces adapters expiries {MODELS} {BASE} {ENGINE} {CONSUMERS}"),
)


class Import(NamedTuple):
    target: str
    line: int
    lazy: bool
    relative: bool


def sources() -> dict[str, Path]:
    """Every module of the tree by the name it is imported by, the two mounted folders included."""
    found = {}
    for folder, mount in (("pricer", "pricer"), ("surfaces", "pricer.surfaces"), ("adapters", "pricer.adapters")):
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            inside = path.relative_to(CHECKOUT / folder)
            if folder == "pricer" and inside.parts[0] in {"surfaces", "adapters"}:
                continue  # through the links; some Pythons follow them
            found[".".join((mount, *inside.with_suffix("").parts)).removesuffix(".__init__")] = path
    return found


MODULES = sources()


def imports(source: str) -> Iterator[Import]:
    """Every import of a module, however deep; `from a import b` counts as `a.b` where the rules know that name."""
    tree = ast.parse(source)
    lazy = {id(inner) for node in ast.walk(tree) if is_lazy_scope(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in lazy, relative=False)
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            for name in (f"{package}.{alias.name}" for alias in node.names):
                target = name if name in MODULES or below_any(name, GATED) else package
                yield Import(target, node.lineno, id(node) in lazy, relative=node.level > 0)


def is_lazy_scope(node: ast.AST) -> bool:
    """Not executed at import: a function's body, or what only type checkers read."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def below_any(module: str, names: str) -> bool:
    return any(is_below(module, name) for name in names.split())


def inside_pricer(module: str) -> str:
    """`pricer.adapters.feed` as the table writes it: `adapters.feed`; the package itself is the empty name."""
    return module.removeprefix("pricer").removeprefix(".")


def row_of(module: str) -> Row:
    """The row of the longest pattern that fits; LookupError where no row speaks of the module."""
    name = inside_pricer(module)
    if name == "":
        return next(row for row in TABLE if row.modules == "")
    fitting = [(len(pattern), row) for row in TABLE for pattern in row.modules.split() if is_below(name, pattern)]
    if not fitting:
        raise LookupError(f"{module} is in no row of the table: give it one")
    return max(fitting, key=lambda found: found[0])[1]


def refusal(module: str, found: Import) -> str | None:
    """Why `module` may not import this; None where it may."""
    row = row_of(module)
    allowed_lazily = row.lazy if found.lazy else ""
    if found.relative:
        return "relative import"
    if is_below(found.target, "surfaces") or is_below(found.target, "adapters"):
        return "bare import makes second classes: say pricer." + found.target
    if is_below(found.target, "pricer"):
        target = inside_pricer(found.target) or PUBLIC
        allowed = f"{row.modules or PUBLIC} {row.ours} {allowed_lazily}"
        return None if below_any(target, allowed) else f"arrow to {found.target}"
    top = found.target.partition(".")[0]
    if top in sys.stdlib_module_names and not below_any(found.target, GATED):
        return None
    return None if top in f"{row.others} {allowed_lazily}".split() else f"import of {top}"


def refusals(module: str, source: str) -> list[str]:
    found = ((item, refusal(module, item)) for item in imports(source))
    return [f"{module}:{item.line} {why}" for item, why in found if why]


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_what_its_row_allows(module: str) -> None:
    assert refusals(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "folder", ["pricer", "pricer/engine", "pricer/streaming", "surfaces", "adapters", "adapters/deribit"]
)
def test_the_page_has_a_place_for_every_module(folder: str) -> None:
    page = (CHECKOUT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = {word for quoted in re.findall(r"`([^`]+)`", page) for word in re.findall(r"\w+", quoted)}
    assert [path.stem for path in (CHECKOUT / folder).glob("[!_]*.py") if path.stem not in named] == []


def test_no_module_stands_in_two_rows() -> None:
    patterns = [pattern for row in TABLE for pattern in row.modules.split()]
    assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize(
    ("module", "source", "why"),
    [
        ("pricer.engine", "import websockets", "import of websockets"),
        ("pricer.engine", "import time", "import of time"),
        ("pricer.engine", "def late():\n    from pricer.streaming import live", "arrow to pricer.streaming"),
        ("pricer.engine", "import pandas", "import of pandas"),
        ("pricer.kernels.black76", "from pricer import clock", "arrow to pricer.clock"),
        (
            "pricer.simulator.venues.deribit",
            "from pricer.adapters.events import Event",
            "arrow to pricer.adapters.events",
        ),
        ("pricer.adapters.deribit", "import httpx", "import of httpx"),
        ("pricer.adapters.feed", "import websockets", "import of websockets"),
        ("pricer.adapters.events", "from . import instruments", "relative import"),
        ("pricer.cli", "from adapters.feed import Feed", "bare import"),
        ("pricer.cli", "import surfaces", "bare import"),
        ("pricer", "from pricer import clock", "arrow to pricer.clock"),
        ("pricer.engine", "import pricer", "arrow to pricer"),
        ("pricer.engine", "from urllib import request", "import of urllib"),
        ("pricer.engine", "import urllib.request", "import of urllib"),
    ],
)
def test_a_forbidden_arrow_is_refused(module: str, source: str, why: str) -> None:
    (complaint,) = refusals(module, source)
    assert why in complaint


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pricer.engine", "from urllib.parse import urlsplit"),
        ("pricer.cli", "import pricer"),
        ("pricer.snapshot", "def to_pandas():\n    import pandas"),
        ("pricer.adapters.websockets_transport", "import websockets\nfrom pricer.adapters.events import Event"),
        ("pricer", "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from pricer.engine import Engine"),
    ],
)
def test_an_arrow_of_the_table_is_allowed(module: str, source: str) -> None:
    assert refusals(module, source) == []


def test_a_module_without_a_row_is_an_error() -> None:
    with pytest.raises(LookupError, match="give it one"):
        row_of("pricer.somewhere")


def test_import_pricer_loads_nothing_but_itself_and_the_standard_library() -> None:
    program = (
        "import sys; before = set(sys.modules); import pricer;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    assert "pricer" in answer.stdout.split()
    assert set(answer.stdout.split()) - sys.stdlib_module_names == {"pricer"}


# Brackets keep the patterns from finding themselves.
PLACES = re.compile(
    r"/[w]ork/|/[r]oot/|/[h]ome/[a-z]|/[t]mp/[a-z]"
    r"|[i]ndex-url|[p]ypi\.org|[p]ythonhosted\.org|[r]egistry\.npmjs|\"[r]esolved\": *\"http"
)


def test_no_file_names_a_place_on_one_machine_or_a_registry_address() -> None:
    hits = []
    for name in project_files():
        if (CHECKOUT / name).is_file():
            text = (CHECKOUT / name).read_bytes().decode("utf-8", errors="replace")
            hits += [f"{name}: {match.group()}" for match in PLACES.finditer(text)]
    assert hits == []


def test_the_search_for_places_finds_them() -> None:
    for place in ("/" + "work/x", "/" + "home/someone", "https://py" + "pi.org/simple", "--extra-index" + "-url"):
        assert PLACES.search(place), place
