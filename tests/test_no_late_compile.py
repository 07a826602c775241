"""FAULTS M12: what `warmup` compiled is all that pricing and publishing ever need."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.data import CHECKOUT

# In a process of its own: other tests call kernels with other types.
PROGRAM = """
import sys
from numba.core.dispatcher import Dispatcher
import pricer
from pricer.engine import Engine
from pricer.clock import Instant
from tests.scene import SECOND, Scene

def compiled():
    modules = [module for name, module in sys.modules.items() if name.startswith("pricer.")]
    kernels = {id(v): v for m in modules for v in vars(m).values() if isinstance(v, Dispatcher)}
    return {(k.__module__, k.__name__): len(k.signatures) for k in kernels.values()}

pricer.warmup()
import pricer.streaming, pricer.playback
from pricer.sidecar import wire
picture = None
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
    old, picture = picture, wire.take_picture(snapshot, 9, picture)
    if old is not None and picture.has_rows_of(old):
        wire.encode(wire.delta_body(old, picture, "deribit", 9))
    scene.clock.advance(SECOND // 2)
    quotes = scene.quotes()
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


def test_M12_after_warmup_no_tick_compiles_anything() -> None:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert "kernels" in done.stdout
