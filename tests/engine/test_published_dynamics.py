"""Published Greeks under each rule of the smile: those of `surface.greeks`, for the whole chain."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from pricer.clock import ManualClock
from pricer.config import Settings
from pricer.conventions import DYNAMICS, Dynamics, Status
from pricer.engine import Engine, EngineSettings
from pricer.errors import ConfigError
from pricer.snapshot import DELTA_FORMS, GREEK_FIELDS, Snapshot
from pricer.surfaces.dynamics import SmileGreeks
from tests.embedded_chain import EmbeddedChain
from tests.scene import Scene
from tests.sidecar.replicas import Replica
from tests.sidecar.snapshots import whole_chain

RULES = [rule for rule in DYNAMICS if rule != "sticky_strike"]
MOVED = {"delta", "gamma", "vega", "theta", *DELTA_FORMS}


def published(dynamics: Dynamics, steps: int = 3) -> list[Snapshot]:
    """Snapshots of the embedded chain, the last of which prices every option anew."""
    market = EmbeddedChain()
    engine = Engine(EngineSettings(dynamics=dynamics), clock=market.clock)
    for event in [*market.listings(), market.index(), *market.quotes()]:
        engine.apply(event)
    out = [engine.price(market.clock.now())]
    for _ in range(steps):
        for event in market.step():
            engine.apply(event)
        out.append(engine.price(market.clock.now()))
    market.clock.advance(engine.settings.reprice_every_ns)
    out.append(engine.price(market.clock.now()))
    return out


@pytest.fixture(scope="module")
def sticky() -> list[Snapshot]:
    return published("sticky_strike")


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_the_whole_chain_has_the_greeks_of_the_surface_under_the_rule(dynamics: Dynamics) -> None:
    snapshot = published(dynamics)[-1]
    surface = snapshot.surface
    assert surface is not None
    compared = 0
    for at, block in enumerate(snapshot.blocks):
        assert block.ttm == surface.slices[at].ttm
        rows = np.flatnonzero(block.status[-1] != Status.INVALID)
        definition = block.definition
        wanted = surface.greeks(definition.strike[rows], at, definition.cp[rows], dynamics=dynamics)
        for name in GREEK_FIELDS:
            np.testing.assert_allclose(
                block.column(name)[rows], getattr(wanted, name), rtol=1e-8, atol=1e-13 * scale(wanted, name)
            )
        compared += len(rows)
    assert compared > 900


def scale(greeks: SmileGreeks, name: str) -> float:
    return float(np.abs(getattr(greeks, name)).max())


@pytest.mark.parametrize("dynamics", RULES)
def test_only_what_moves_with_the_smile_differs_from_sticky_strike(dynamics: Dynamics, sticky: list[Snapshot]) -> None:
    still, moving = sticky[-1].columns(), published(dynamics)[-1].columns()
    for name in ("iv", "theo", "iv_error", "status", "reasons", *(set(GREEK_FIELDS) - MOVED)):
        np.testing.assert_array_equal(still[name], moving[name])
    changed = {name for name in MOVED if not np.array_equal(still[name], moving[name], equal_nan=True)}
    assert changed == (MOVED if dynamics == "sticky_delta" else MOVED - {"vega", "theta", "vega_coin"})


@pytest.mark.parametrize("dynamics", RULES)
def test_the_delta_forms_are_made_of_the_rules_own_delta(dynamics: Dynamics) -> None:
    snapshot = published(dynamics)[-1]
    for block in snapshot.blocks:
        forward, spot = block.forward.value, snapshot.index.value
        delta, value = block.column("delta"), block.column("price")
        wanted = {
            "delta_premium_adjusted": delta - value / forward,
            "delta_coin": (delta - value / forward) / forward,
            "delta_cash": delta * forward,
            "delta_cash_premium_adjusted": delta * forward - value,
            "vega_coin": block.column("vega") / forward,
        }
        if block.column("delta_spot")[0] == block.column("delta_spot")[0]:
            wanted["delta_spot"] = delta * forward / spot
        for name, column in wanted.items():
            np.testing.assert_allclose(block.column(name), column, rtol=1e-12, atol=1e-12 * np.nanmax(np.abs(column)))


@pytest.mark.parametrize("dynamics", RULES)
def test_a_run_repeated_gives_the_same_bytes(dynamics: Dynamics) -> None:
    first, second = ([snapshot.digest() for snapshot in published(dynamics)] for _ in range(2))
    assert first == second


def test_an_expiry_without_a_smile_has_blacks_greeks() -> None:
    scene = Scene(strikes=(100_000.0,), expiry_days=(30.0,))
    columns = []
    for dynamics in ("sticky_strike", "minimum_variance"):
        engine = Engine(EngineSettings(dynamics=dynamics), clock=scene.clock)
        for event in [*scene.listings(), scene.index(), scene.quote(next(scene.instruments()), bid=float("nan"))]:
            engine.apply(event)
        columns.append(engine.price(scene.clock.now()).columns())
    np.testing.assert_array_equal(columns[0]["delta"], columns[1]["delta"])


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_snapshots_messages_and_clients_say_the_rule(dynamics: Dynamics) -> None:
    snapshot = published(dynamics, steps=0)[-1]
    assert snapshot.convention.dynamics == dynamics
    body = whole_chain(snapshot)
    assert body["convention"] == asdict(snapshot.convention)
    clock = Following(snapshot.clock.now())
    replica = Replica(clock)
    replica.apply(body | {"type": "snapshot", "seq": 1, "venue": "deribit", "underlying": "BTC"})
    assert replica.snapshot().convention == snapshot.convention


class Following(ManualClock):
    def heard(self, server_mono_ns: int) -> None:
        assert server_mono_ns == self.now().mono_ns


def test_the_rule_is_a_setting_and_an_unknown_one_is_refused() -> None:
    settings = Settings.load(engine={"dynamics": "minimum_variance"})
    assert settings.engine_settings().dynamics == "minimum_variance"
    with pytest.raises(ConfigError, match=r"engine\.dynamics.*'sticky_tree'"):
        Settings.load(engine={"dynamics": "sticky_tree"})
    with pytest.raises(ValueError, match="unknown dynamics 'sticky_tree'"):
        EngineSettings(dynamics="sticky_tree")  # type: ignore[arg-type]  # the point of the test
