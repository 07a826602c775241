"""FAULTS M12: what `warmup` compiled is all that pricing and publishing ever need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.data import CHECKOUT

# In a process of its own: other tests call kernels with other types.
PROGRAM = """
import sys
from numba.core.dispatcher import Dispatcher
import pricer
from pricer.engine import Engine, EngineSettings
from pricer.clock import Instant
from tests.scene import SECOND, Scene

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("pricer.")]
    kernels = {id(v): v for m in modules for v in vars(m).values() if isinstance(v, Dispatcher)}
    return {(k.__module__, k.__name__): len(k.signatures) for k in kernels.values()}

pricer.warmup()
import pricer.streaming, pricer.playback
from pricer.sidecar.channels import CHANNELS, Market
from pricer.sidecar.protocol import StreamKey
keys = [StreamKey(name, "deribit", "BTC", "BTC-X" if name == "depth" else "") for name in CHANNELS]
keys += [StreamKey("chain", "deribit", "BTC", columns=("iv", "bid_iv"), expiries=2, strikes=("count", 2.0))]
pictures = {}
before = compiled()
scene = Scene()
engine = Engine(clock=scene.clock)
for event in scene.listings():
    engine.apply(event)
quotes = scene.quotes()
for step in range(12):  # from no quote at all over sparse slices to a full chain, then forward ticks, silence, expiry
    for event in [scene.index(), *quotes[: (step * step) % (len(quotes) + 1)]]:
        engine.apply(event)
    snapshot = engine.price(scene.clock.now())
    snapshot.surface, snapshot.columns()
    market = Market(snapshot, None, 9)
    for key in keys:
        old = pictures.get(key)
        picture = pictures[key] = CHANNELS[key.channel].take(market, key, old)
        picture.whole(), picture.crc32()
        if old is not None and picture.has_rows_of(old):
            picture.says_the_same_as(old), picture.since(old)
    scene.clock.advance(SECOND // 2)
    quotes = scene.quotes()
bare = Engine(clock=scene.clock)  # of a venue that gives no forward
for event in [*scene.listings(), *(scene.quote(each, forward=float("nan")) for each in scene.instruments())]:
    bare.apply(event)
assert {forward.source for forward in bare.price(scene.clock.now()).forwards.values()} == {"parity"}
other = Engine(EngineSettings(dynamics="sticky_delta", surface_half_life=1.0), clock=scene.clock)
for event in scene.listings():
    other.apply(event)
for step in range(6):  # another rule of the Greeks, and smoothing in time
    scene.half_spread_iv *= 1.02
    for event in [scene.index(), *scene.quotes()]:
        other.apply(event)
    other.price(scene.clock.now()).raw_surface
    scene.clock.advance(SECOND // 4)
scene.clock.advance(-3 * SECOND // 2)
for event in quotes:
    engine.apply(event)
engine.price(scene.clock.now())
scene.clock.advance(15 * SECOND)
engine.price(scene.clock.now())
scene.clock.advance(7 * 86_400 * SECOND)
engine.price(scene.clock.now())
late = {name: count - before.get(name, 0) for name, count in compiled().items() if count != before.get(name, 0)}
assert before and not late, late
print(len(before), "kernels")
"""


# Every type and layout that people hand over, for every public function. A strike of 105 in each.
TYPES = """
import sys
import numpy as np
import pandas as pd
import pricer
from pricer import bachelier, bsm, digital, displaced
from numba.core.dispatcher import Dispatcher

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("pricer.")]
    kernels = {id(v): v for m in modules for v in vars(m).values() if isinstance(v, Dispatcher)}
    return {(k.__module__, k.__name__): len(k.signatures) for k in kernels.values()}

class Quoted(float):
    pass

six = np.full(6, 105.0)
packed = np.zeros(6, np.dtype([("flag", "u1"), ("strike", "f8")]))  # its doubles are not aligned
packed["strike"] = six
fixed = six.copy()
fixed.flags.writeable = False
strikes = {
    "float": 105.0, "int": 105, "subclass": Quoted(105.0), "float64": np.float64(105.0), "float32": np.float32(105.0),
    "int32": np.int32(105), "longdouble": np.longdouble(105.0), "0-d": np.array(105.0), "0-d of int": np.array(105),
    "list": [105.0, 105], "list of int": [105], "tuple": (105, 105.0), "nested": [[105, 105], [105.0, 105]],
    "range": range(105, 106), "empty": [], "float32s": six.astype("f4"), "int64s": six.astype("i8"),
    "uint8s": six.astype("u1"), "big-endian": six.astype(">f8"), "big-endian int": six.astype(">i2"),
    "every other": np.full(12, 105.0)[::2], "reversed": six[::-1], "Fortran": np.full((2, 3), 105.0, order="F"),
    "transposed": np.full((3, 2), 105.0).T, "3-d": np.full((2, 1, 3), 105.0), "read-only": fixed,
    "broadcast": np.broadcast_to(105.0, (2, 3)), "unaligned": packed["strike"], "memoryview": memoryview(six),
    "objects": np.array([105, 105.0], object), "Series": pd.Series(six, list("abcdef")), "ints": pd.Series([105] * 6),
    "frame column": pd.DataFrame({"strike": six, "other": "text"})["strike"],
    "Float64": pd.Series([105.0] * 3, dtype="Float64"),
}
words = {"word": "call", "number": 1, "float": 1.0, "words": ["C"], "ints": np.array([1]), "int8s": np.array([1], "i1"),
         "objects": np.array(["call"], object), "Series": pd.Series(["call"])}
calls = {
    "price": lambda k, cp: pricer.price(100, k, 0.5, 0.2, cp),
    "implied_vol": lambda k, cp: pricer.implied_vol(4, 100, k, 0.5, cp),
    "implied_vol again": lambda k, cp: pricer.implied_vol(4, 100, k, 0.5, cp, previous=np.asarray(0.2)),
    "greeks": lambda k, cp: pricer.greeks(100, k, 0.5, 0.2, cp).ultima,
    "venue_greeks": lambda k, cp: pricer.venue_greeks("deribit", 100, k, 0.5, 0.2, cp).theta,
}
for module, more in ((bsm, {"rate": 0.01}), (bachelier, {}), (displaced, {"shift": 30})):
    name = module.__name__
    calls[name + ".price"] = lambda k, cp, of=module, more=more: of.price(100, k, 0.5, 0.2, cp, **more)
    calls[name + ".implied_vol"] = lambda k, cp, of=module, more=more: of.implied_vol(4, 100, k, 0.5, cp, **more)
    calls[name + ".greeks"] = lambda k, cp, of=module, more=more: of.greeks(100, k, 0.5, 0.2, cp, **more).vanna
calls["digital.price"] = lambda k, cp: digital.price(100, k, 0.5, 0.2, cp)
calls["digital.greeks"] = lambda k, cp: digital.greeks(100, k, 0.5, 0.2, cp).gamma

pricer.warmup()
before = compiled()
for name, call in calls.items():
    expected = call(105.0, "call")
    assert type(expected) is float, (name, expected)
    for kind, strike in strikes.items():
        for word in words.values() if kind in ("float", "list", "float32s") else ["call"]:
            found = call(strike, word)
            np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12, err_msg=f"{name} {kind} {word}")
            assert np.shape(found) == np.broadcast_shapes(np.shape(strike), np.shape(word)), (name, kind, word)
late = {name: count - before.get(name, 0) for name, count in compiled().items() if count != before.get(name, 0)}
assert before and not late, late
print(len(before), "kernels")
"""


@pytest.mark.parametrize("program", [PROGRAM, TYPES], ids=["ticks", "types"])
def test_M12_after_warmup_nothing_compiles(program: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert "kernels" in done.stdout


def test_M12_a_second_start_compiles_nothing() -> None:
    """What warm-up has compiled, the next process loads, to the last kernel."""
    again = """
import pricer
from numba.core import event
with event.install_recorder("numba:compile") as seen:
    pricer.warmup()
compiled = {record.data["dispatcher"].py_func.__name__ for _, record in seen.buffer}
assert not compiled, compiled
"""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    for program in ("import pricer; pricer.warmup()", again):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=110
        )
        assert done.returncode == 0, done.stderr
