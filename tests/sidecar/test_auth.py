"""Tokens without a network: the file, scopes, expiry, comparison, and how often one may be wrong."""

from __future__ import annotations

import hmac
import inspect
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pricer.cli import app
from pricer.clock import NS_PER_SECOND, Instant, ManualClock
from pricer.config import ServerSection
from pricer.errors import ConfigError
from pricer.sidecar import auth
from pricer.sidecar.auth import Attempts, Authority, Scopes, authority_of, new_token, warn_if_none_is_valid
from pricer.sidecar.denied import Denied
from pricer.sidecar.door import Door
from tests.sidecar.secured import Ring


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(Instant(1_800_000_000 * NS_PER_SECOND, 0))


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path / "tokens.toml")


def settings(ring: Ring, **more: object) -> ServerSection:
    return ServerSection.model_validate({"tokens_file": str(ring.path), **more})


def test_a_token_has_the_scopes_of_its_line_and_no_others(ring: Ring, clock: ManualClock) -> None:
    reads, controls = ring.add("bot"), ring.add("operator", Scopes.CONTROL | Scopes.ADMIN)
    authority = authority_of(settings(ring), clock)
    assert authority.authorize(reads) is Scopes.READ
    assert authority.authorize(controls) == Scopes.CONTROL | Scopes.ADMIN
    assert authority.anonymous == Scopes(0)


def test_without_tokens_everybody_reads_and_nobody_controls(clock: ManualClock) -> None:
    authority = authority_of(ServerSection(), clock)
    assert not authority.asks
    assert authority.authorize(None) is Scopes.READ


def test_a_token_of_the_environment_counts_beside_the_file(ring: Ring, clock: ManualClock) -> None:
    ring.add("bot")
    secret = "c" * 40
    authority = authority_of(settings(ring, token=secret, token_scopes=["control"]), clock)
    assert authority.authorize(secret) is Scopes.CONTROL


def test_Z03_no_wrong_and_expired_tokens_get_the_same_answer(ring: Ring, clock: ManualClock) -> None:
    expiring = ring.add("soon", expires_ns=clock.now().wall_ns + 10 * NS_PER_SECOND)
    door = Door(settings(ring), clock)
    assert door.admit(expiring, "192.0.2.1").scopes is Scopes.READ
    clock.advance(10 * NS_PER_SECOND)
    answers = set()
    for presented in (None, "wrong", expiring, expiring[:-1], "", "ä" * 40, "\udcff"):
        with pytest.raises(Denied) as caught:
            door.admit(presented, "192.0.2.1")
        answers.add((caught.value.status, caught.value.code, str(caught.value), str(caught.value.headers)))
    assert len(answers) == 1
    assert door.authority.authorize(expiring) is None


def test_Z03_comparison_is_constant_time_and_looks_at_every_token(
    ring: Ring, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = [ring.add(f"bot{number}") for number in range(5)]
    authority = authority_of(settings(ring), clock)
    compared: list[int] = []
    real = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    for presented in (secrets[0], secrets[4], "wrong", ""):
        compared.clear()
        authority.find(presented)
        assert compared == [32] * 5, "every digest, whichever fits, and nothing shorter than a digest"
    source = inspect.getsource(Authority)
    assert "digest ==" not in source
    assert "== digest" not in source


def test_Z03_guesses_are_limited_per_address_and_nobody_elses(ring: Ring, clock: ManualClock) -> None:
    right = ring.add("bot")
    door = Door(settings(ring, auth_failures_per_minute=5), clock)

    def code(presented: str | None, address: str) -> str:
        try:
            door.admit(presented, address)
        except Denied as denied:
            return denied.code
        return "in"

    assert [code("guess", "192.0.2.1") for _ in range(7)] == ["unauthorized"] * 5 + ["rate_limited"] * 2
    assert code(right, "192.0.2.1") == "rate_limited", "or the right guess would come through all the same"
    assert code(right, "192.0.2.2") == "in"
    clock.advance(12 * NS_PER_SECOND)  # a fifth of a minute: one more
    assert [code("guess", "192.0.2.1"), code("guess", "192.0.2.1")] == ["unauthorized", "rate_limited"]
    clock.advance(60 * NS_PER_SECOND)
    assert code(right, "192.0.2.1") == "in"
    assert [code(None, "192.0.2.3") for _ in range(20)] == ["unauthorized"] * 20, "who shows none guesses nothing"
    assert door.counts["auth_limited"] == 4


def test_Z03_what_is_remembered_of_addresses_is_bounded_and_ipv6_counts_by_network(clock: ManualClock) -> None:
    attempts = Attempts(3, clock)
    for number in range(3):
        attempts.failed(f"2001:db8::{number:x}")
    assert attempts.wait_s("2001:db8::ffff") > 0
    assert attempts.wait_s("2001:db8:0:1::1") == 0
    for number in range(2 * Attempts.MOST):
        attempts.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(attempts) == Attempts.MOST


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("bot = 3", "bot"),
        ('bot = { sha256 = "12", scopes = ["read"] }', "bot.sha256"),
        (f'bot = {{ sha256 = "{"0" * 64}", scopes = "read" }}', "bot.scopes"),
        (f'bot = {{ sha256 = "{"0" * 64}", scopes = ["write"] }}', "no scope 'write'"),
        (f'bot = {{ sha256 = "{"0" * 64}", scopes = [] }}', "at least one"),
        (f'bot = {{ sha256 = "{"0" * 64}", scopes = ["read"], expires = "soon" }}', "bot.expires"),
        (f'bot = {{ sha256 = "{"0" * 64}", scopes = ["read"], token = "x" }}', "unknown key"),
        (f'"b o t" = {{ sha256 = "{"0" * 64}", scopes = ["read"] }}', "a name that is none"),
        ("", "no token"),
        ("[", "not valid TOML"),
        ("bot = { }\n\nbot = { }", "not valid TOML: line 3: the name bot stands there twice"),
        ("bot = { }\nsecret-words", "not valid TOML: line 2"),
        ("vst_secret = { }\nvst_secret = { }", "not valid TOML: line 2"),
        ("secret\nsecret", "not valid TOML: line 1"),
    ],
)
def test_E09_a_wrong_line_is_named_and_never_shown(ring: Ring, clock: ManualClock, text: str, named: str) -> None:
    ring.path.write_text(text)
    with pytest.raises(ConfigError, match=r"server\.tokens_file") as caught:
        authority_of(settings(ring), clock)
    assert named in str(caught.value)
    assert "0000" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o660, 0o666])
def test_Z03_a_file_that_is_open_to_others_is_refused(ring: Ring, clock: ManualClock, mode: int) -> None:
    ring.add("bot")
    ring.path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o} and is open to others: chmod 600"):
        authority_of(settings(ring), clock)
    ring.path.chmod(0o640)
    assert authority_of(settings(ring), clock).asks


def test_a_file_of_tokens_that_is_none_is_refused(ring: Ring, clock: ManualClock, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigError, match=r"server\.tokens_file"):
            authority_of(ServerSection(tokens_file=str(path)), clock)


def test_tokens_that_have_all_expired_are_told_of_and_one_that_is_valid_is_enough(
    ring: Ring, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    ring.add("old", expires_ns=clock.now().wall_ns)
    warn_if_none_is_valid(authority_of(settings(ring), clock))
    assert caplog.messages == ["all tokens have expired: nobody can come in (old)"]
    ring.add("bot", expires_ns=clock.now().wall_ns + 2 * NS_PER_SECOND)
    warn_if_none_is_valid(authority_of(settings(ring), clock))
    warn_if_none_is_valid(authority_of(ServerSection(), clock))
    assert len(caplog.messages) == 1


def test_a_short_token_in_the_environment_is_refused_and_not_shown() -> None:
    from pricer.config import Settings

    with pytest.raises(ConfigError, match=r"server\.token: .*32") as caught:
        Settings.load(server={"token": "short-and-secret"})
    assert "short-and-secret" not in str(caught.value)


def test_the_command_makes_a_token_whose_line_lets_it_in(ring: Ring, clock: ManualClock) -> None:
    words = ["token", "--name", "bot", "--scope", "read,control", "--expires", "2030-01-01"]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 0
    (secret,) = [line for line in outcome.stderr.splitlines() if line.startswith(auth.PREFIX)]
    assert secret not in outcome.stdout
    ring.path.write_text(outcome.stdout)
    authority = authority_of(settings(ring), clock)
    assert authority.authorize(secret) == Scopes.READ | Scopes.CONTROL
    clock.advance(10 * 365 * 86_400 * NS_PER_SECOND)
    assert authority.authorize(secret) is None


@pytest.mark.parametrize("words", [["--scope", "write"], ["--scope", ""], ["--name", "a b"], ["--expires", "soon"]])
def test_the_command_refuses_what_it_cannot_make(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["token", *words]).exit_code != 0


def test_I10_no_repr_shows_a_token_or_its_digest(ring: Ring, clock: ManualClock) -> None:
    secret = ring.add("bot")
    door = Door(settings(ring, token="e" * 40), clock)
    token = new_token("other", Scopes.READ)[1]
    visit = door.admit(secret, "192.0.2.1")
    for thing in (door, door.authority, token, visit, door.settings, door.attempts):
        for shown in (repr(thing), str(thing)):
            assert secret not in shown
            assert "e" * 40 not in shown
            assert token.digest.hex() not in shown
            assert repr(token.digest) not in shown
