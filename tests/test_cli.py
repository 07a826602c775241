"""The command line: what it prints, its exit codes, and errors of one line that name the value."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pricer import cli
from pricer.cli import program
from pricer.errors import ConnectError
from tests.data import CHECKOUT

COMMANDS = ("demo", "serve", "watch", "simulate", "replay", "price", "warmup", "doctor", "token")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def volstream(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> Outcome:
        with pytest.raises(SystemExit) as exit_info:
            cli.main(words)
        captured = capsys.readouterr()
        code = exit_info.value.code
        assert isinstance(code, int)
        return Outcome(code, captured.out, captured.err)

    return run


def process(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "pricer.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110, check=False)


def is_one_line(text: str) -> bool:
    return text.startswith("volstream: ") and text.count("\n") == 1


# -- help and version


def test_version_is_the_packages(volstream: Any) -> None:
    import pricer

    assert volstream("--version") == Outcome(0, f"volstream {pricer.__version__}\n", "")


def test_every_command_has_help_with_an_example(volstream: Any) -> None:
    listed = volstream("--help")
    assert listed.code == 0
    for command in COMMANDS:
        assert command in listed.out
        page = volstream(command, "--help")
        assert page.code == 0
        assert "Example:" in page.out
        assert f"volstream {command}" in " ".join(page.out.split())


def test_without_a_command_the_help_is_printed_and_the_use_is_wrong(volstream: Any) -> None:
    outcome = volstream()
    assert outcome.code == 2
    assert "Usage: volstream" in outcome.out


def test_help_loads_neither_numba_nor_a_web_server() -> None:
    code = (
        "import sys, pricer.cli\n"
        "heavy = ('numba', 'numpy', 'fastapi', 'pandas', 'websockets')\n"
        "try: pricer.cli.main(['--help'])\n"
        "except SystemExit: print([name for name in heavy if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


# -- price

A_CALL = ("price", "--forward", "100,000", "--strike", "110000", "--cp", "call")


def test_price_prints_the_premium_and_all_greeks(volstream: Any) -> None:
    outcome = volstream(*A_CALL, "--ttm", "0.25", "--sigma", "0.6", "--json")
    assert outcome.code == 0
    numbers = json.loads(outcome.out)
    assert numbers["price"] == pytest.approx(8141.012048964208, rel=1e-13)  # 50 digits with mpmath
    assert numbers["delta"] == pytest.approx(0.4334094, abs=1e-6)
    assert numbers["theta_per_day"] == pytest.approx(numbers["theta"] / 365)
    assert {"gamma", "vega", "rho", "vanna", "volga", "charm", "veta", "speed", "zomma", "color", "ultima"} <= set(
        numbers
    )
    text = volstream(*A_CALL, "--ttm", "0.25", "--sigma", "0.6").out
    assert "8141.012" in text
    assert "theta per day" in text


def test_a_premium_in_coin_gives_the_volatility_back(volstream: Any) -> None:
    given = json.loads(volstream(*A_CALL, "--ttm", "0.25", "--sigma", "0.6", "--inverse", "--json").out)
    coin = str(given["premium_in_coin"])
    found = json.loads(volstream(*A_CALL, "--ttm", "0.25", "--premium", coin, "--inverse", "--json").out)
    assert found["sigma"] == pytest.approx(0.6, rel=1e-13)
    assert found["status"] == "OK"
    assert given["delta_premium_adjusted"] == pytest.approx(given["delta"] - given["premium_in_coin"])


def test_an_expiry_counts_from_now_or_from_a_given_moment(volstream: Any) -> None:
    words = (*A_CALL, "--sigma", "0.6", "--json", "--expiry", "27DEC26", "--now")
    assert json.loads(volstream(*words, "2026-12-20T08:00").out)["ttm"] == pytest.approx(7 / 365, rel=1e-14)
    assert volstream(*words, "2026-12-28").code == 2


def test_a_premium_without_a_volatility_fails_with_its_status_and_bounds(volstream: Any) -> None:
    outcome = volstream(
        "price", "--forward", "100000", "--strike", "90000", "--cp", "C", "--ttm", "1", "--premium", "5"
    )
    assert outcome.code == 1
    assert "BELOW_INTRINSIC" in outcome.out
    assert "delta" not in outcome.out
    assert is_one_line(outcome.err)
    assert "10000 and 100000" in outcome.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--strike", "-5"], "'-5'"),
        (["--strike", "abc"], "'abc'"),
        (["--strike", "inf"], "'inf'"),
        (["--cp", "buy"], "'buy'"),
        (["--expiry", "45FOO26"], "'45FOO26'"),
        (["--sigma", "nan"], "'nan'"),
        (["--sigma", "-0.1"], "'-0.1'"),
        (["--nonsense", "1"], "--nonsense"),
        ([], "--strike"),
        (["--strike", "1", "--cp", "c", "--ttm", "1"], "--sigma and --premium"),
        (["--strike", "1", "--cp", "c", "--ttm", "1", "--sigma", "1", "--premium", "1"], "--sigma and --premium"),
        (["--strike", "1", "--cp", "c", "--sigma", "1"], "--ttm and --expiry"),
        (["--strike", "1", "--cp", "c", "--sigma", "1", "--expiry", "26MAR21"], "in the past"),
    ],
)
def test_wrong_use_is_one_line_that_names_the_value_and_exit_code_2(
    volstream: Any, words: list[str], named: str
) -> None:
    outcome = volstream("price", "--forward", "100000", *words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert is_one_line(outcome.err)
    assert named in outcome.err
    assert "volstream price --help" in outcome.err


def test_an_unknown_command_is_named(volstream: Any) -> None:
    outcome = volstream("prise")
    assert outcome.code == 2
    assert is_one_line(outcome.err)
    assert "'prise'" in outcome.err


# -- errors


def test_an_error_of_ours_is_one_line_and_debug_shows_where_it_is_from(
    volstream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectError("ws://127.0.0.1:1\nrefused")

    monkeypatch.setattr("pricer.launch.warm_kernels", refuse)
    outcome = volstream("warmup")
    assert outcome.code == 1
    assert outcome.err == "volstream: ws://127.0.0.1:1 refused\n"
    with pytest.raises(ConnectError):
        cli.main(["warmup", "--debug"])


def test_a_missing_extra_names_what_to_install(volstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def needs_fastapi(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")

    monkeypatch.setattr("pricer.launch.warm_kernels", needs_fastapi)
    outcome = volstream("warmup")
    assert outcome.code == 1
    assert is_one_line(outcome.err)
    assert 'pip install "volstream[server]"' in outcome.err


def test_without_the_server_extra_demo_and_serve_say_so_before_they_compile() -> None:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    code = """
import sys
sys.modules["fastapi"] = None
from pricer.cli import main
for command in ("demo", "serve"):
    try:
        main([command])
    except SystemExit as ended:
        assert ended.code == 1
"""
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=110
    )
    assert found.stdout == ""
    said = found.stderr.splitlines(keepends=True)
    assert len(said) == 2
    for line in said:
        assert is_one_line(line)
        assert 'fastapi, which is not installed: pip install "volstream[server]"' in line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["demo", "--underlying", "DOGE"], "'DOGE'"),
        (["demo", "--underlying", ","], "','"),
        (["demo", "--port", "70000"], "'70000'"),
        (["demo", "--port", "http"], "'http'"),
        (["demo", "--seed", "1.5"], "'1.5'"),
        (["watch", "--rows", "-3"], "'-3'"),
        (["watch", "--rows", "0"], "'0'"),
        (["demo", "--duration", "-1"], "'-1'"),
        (["serve", "--host", "0.0.0.0"], "'0.0.0.0'"),
        (["serve", "--url", "http://127.0.0.1"], "'http://127.0.0.1'"),
        (["serve", "--config", "/nowhere/volstream.toml"], "/nowhere/volstream.toml"),
        (["watch", "--url", "127.0.0.1:8765"], "'127.0.0.1:8765'"),
        (["watch", "--url", "http://127.0.0.1:8765/foo"], "'http://127.0.0.1:8765/foo'"),
        (["watch", "--ca-file", "/nope", "--url", "http://127.0.0.1:8765"], "ca_file"),
        (["watch", "--ca-file", "/nope", "--url", "https://127.0.0.1:8765"], "'/nope'"),
        (["watch", "--url", "http://127.0.0.1:8765", "--venue", "deribit"], "--venue"),
        (["watch", "--venue", "nowhere"], "'nowhere'"),
        (["watch", "--expiry", "soon"], "'soon'"),
        (["simulate", "--venue", "nowhere"], "'nowhere'"),
        (["simulate", "--chaos", "1", "--faults", "script.json"], "--chaos"),
        (["token", "--expires", "2020-01-01"], "--expires"),
        (["replay"], "FILE"),
        (["replay", "x", "--csv", "--json"], "--csv"),
    ],
)
def test_an_impossible_setting_is_wrong_use_and_named(volstream: Any, words: list[str], named: str) -> None:
    outcome = volstream(*words)
    assert outcome.code == 2
    assert is_one_line(outcome.err.splitlines(keepends=True)[-1])
    assert named in outcome.err


@pytest.mark.parametrize("host", ["sleep", "step_clock"])
def test_a_script_with_a_fault_of_the_host_is_refused_by_its_name(volstream: Any, tmp_path: Path, host: str) -> None:
    script = tmp_path / "script.json"
    script.write_text(f'[[2.0, "reset"], [3, "{host}", {{"for_s": 2}}]]')
    outcome = volstream("simulate", "--port", "0", "--faults", str(script))
    assert outcome.code == 2
    assert is_one_line(outcome.err)
    assert f"'{host}' is of the pricer's host, on virtual time only" in outcome.err


@pytest.mark.parametrize(
    ("command", "setting", "value", "named"),
    [
        ("serve", "feed__venue", "okx", "'okx'"),
        ("serve", "feed__proxy", "nowhere", "proxy"),
        ("serve", "server__tokens_file", "/nope", "server.tokens_file"),
        ("demo", "server__tokens_file", "/nope", "server.tokens_file"),
        ("serve", "server__tls_cert", "/nope", "server.tls_key"),
        ("serve", "server__metrics_port", "taken", "server.metrics_port"),
        ("serve", "alerts__webhooks", "https://127.0.0.1/hook", "alerts.webhooks: "),
        ("serve", "alerts__rules", '{"doge": "iv > 1 in DOGE"}', "alerts.rules.doge: "),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_is_compiled_or_announced(
    volstream: Any, monkeypatch: pytest.MonkeyPatch, command: str, setting: str, value: str, named: str
) -> None:
    def compiles(*_: object) -> None:
        raise AssertionError("kernels would be compiled")

    monkeypatch.setattr("pricer.launch.running.compile_unless", compiles)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        value = str(taken.getsockname()[1]) if value == "taken" else value
        monkeypatch.setenv(f"VOLSTREAM_{setting.upper()}", value)
        if setting == "server__tls_cert":
            monkeypatch.setenv("VOLSTREAM_SERVER__TLS_KEY", value)
        outcome = volstream(command, "--port", "0")
    assert outcome.code == 2
    assert is_one_line(outcome.err)
    assert named in outcome.err
    assert outcome.out == ""


def test_an_unknown_key_in_the_settings_file_is_named(volstream: Any, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[server]\nprot = 9000\n")
    outcome = volstream("serve", "--config", str(tmp_path / "settings.toml"))
    assert outcome.code == 2
    assert is_one_line(outcome.err)
    assert "server.prot: unknown key" in outcome.err


def test_a_sidecar_that_is_not_there_fails_with_its_address(volstream: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcome = volstream("watch", "--url", f"http://127.0.0.1:{port}", "--once")
    assert outcome.code == 1
    assert is_one_line(outcome.err)
    assert f"http://127.0.0.1:{port}" in outcome.err
    outcome = volstream("watch", "--url", f"http://127.0.0.1:{port}", "--underlying", "BTC", "--once")
    assert outcome.code == 1
    assert is_one_line(outcome.err)


def test_a_socket_that_is_not_there_is_what_the_error_names(volstream: Any, tmp_path: Path) -> None:
    path = tmp_path / "nope.sock"
    outcome = volstream("watch", "--unix-socket", str(path), "--once")
    assert outcome.code == 1
    assert is_one_line(outcome.err)
    assert f"no sidecar answers at {path}: " in outcome.err


def test_a_taken_port_is_named_by_simulate_and_serve(volstream: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in ("simulate", "serve", "demo"):
            outcome = volstream(command, "--port", port)
            assert outcome.code == 2
            assert is_one_line(outcome.err)
            assert port in outcome.err


def test_simulate_prints_its_addresses_and_ends_with_0_on_a_signal() -> None:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    for number in (signal.SIGTERM, signal.SIGINT):
        command = [sys.executable, "-m", "pricer.cli", "simulate", "--port", "0"]
        running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert running.stdout is not None
            assert re.fullmatch(r"WebSocket  ws://127\.0\.0\.1:\d+/ws/api/v2\n", running.stdout.readline())
            assert re.fullmatch(r"REST       http://127\.0\.0\.1:\d+/api/v2\n", running.stdout.readline())
            running.send_signal(number)
            _, errors = running.communicate(timeout=60)
            assert running.returncode == 0
            assert errors == ""
        finally:
            running.kill()


def test_a_missing_module_of_our_own_is_a_fault_and_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'pricer.nothing'", name="pricer.nothing")

    monkeypatch.setattr("pricer.launch.warm_kernels", broken)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["warmup"])


def test_a_reader_that_goes_away_is_not_an_error_message() -> None:
    script = f"{sys.executable} -m pricer.cli --help | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
    found = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode in (0, 1)
    assert found.stderr == ""


def test_the_module_runs_as_a_process() -> None:
    found = process("price", "--forward", "1", "--strike", "1", "--cp", "x", "--ttm", "1", "--sigma", "1")
    assert found.returncode == 2
    assert is_one_line(found.stderr)


# -- warmup and doctor


def test_warmup_says_whether_it_compiled_and_how_long_it_took(volstream: Any) -> None:
    volstream("warmup")
    outcome = volstream("warmup")
    assert outcome.code == 0
    how, where = outcome.out.splitlines()[-2:]
    assert "warm start" in how
    assert how.endswith(" s")
    assert Path(where).name.startswith("kernels-")


def test_doctor_exits_1_when_a_check_fails(volstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pricer import doctor

    sound = [doctor.Finding("python", "ok", "fine")]
    monkeypatch.setattr(doctor, "examine", lambda: sound)
    assert volstream("doctor").code == 0
    monkeypatch.setattr(doctor, "examine", lambda: [*sound, doctor.Finding("numbers", "failed", "wrong")])
    outcome = volstream("doctor", "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)[1]["state"] == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_a_command_has_begun_is_one_line_and_exit_code_1(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "app", lambda **_: signal.raise_signal(number))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "volstream: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_typers_own_code_for_an_interrupt_is_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "app", lambda **_: program.INTERRUPTED)
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "volstream: interrupted\n"
