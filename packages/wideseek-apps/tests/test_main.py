"""The console command: its sub-commands, their help, `--version`, `--dry-run` and `env`."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from wideseek_apps.main import main
from wideseek_apps.program import command_name, program
from wideseek_core import ConfigError

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _interrupts_as_before() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def run(*arguments: str) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def test_the_overview_names_every_command(capsys: Captured) -> None:
    assert run("--help") == 0
    out = capsys.readouterr().out
    for name in (
        "train sft widesearch qa ask score regrade report compare "
        "import export view index serve env"
    ).split():
        assert f"\n  {name} " in out
    assert max(map(len, out.splitlines())) <= 100


def test_a_module_is_named_as_a_command() -> None:
    assert command_name("schedule_sim") == "schedule-sim"
    assert command_name("import_") == "import"


@pytest.mark.parametrize("name", program().commands)
def test_every_command_has_help(name: str, capsys: Captured) -> None:
    assert run(name, "--help") == 0
    out, err = capsys.readouterr()
    assert f"usage: wideseek {name}" in out
    assert err == ""


def test_an_unknown_command_is_one_line(capsys: Captured) -> None:
    assert run("trian") == 2
    assert capsys.readouterr().err == (
        "ConfigError: unknown command 'trian'; did you mean 'train'?\n"
    )


def test_the_version_is_shown(capsys: Captured) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == "wideseek 0.1.0\n"


@pytest.mark.parametrize("name", ["train", "sft", "widesearch", "qa", "ask", "cluster"])
def test_a_dry_run_shows_settings_that_can_be_given_back(
    name: str, capsys: Captured, tmp_path: Path
) -> None:
    words = ["Which moons are there?"] if name == "ask" else []
    assert run(name, *words, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert isinstance(yaml.safe_load(shown), dict)
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert run(name, str(again), "--dry-run") == 0
    assert capsys.readouterr().out == shown


def test_a_dry_run_shows_no_passwords(capsys: Captured, tmp_path: Path) -> None:
    settings = [
        "placement.engines.base_urls=[http://me:hunter2@a.example]",
        "policy.engine.kind=vllm",
        "judge.kind=llm",
        "judge.endpoint.base_url=http://me:hunter2@b.example",
    ]
    assert run("train", *settings, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert "http://[redacted]@a.example" in shown
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert run("train", str(again), "--dry-run") == 2  # rather than to ask without the password


def test_the_environment_is_shown_without_secrets(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy")
    monkeypatch.setenv("WIDESEEK_CACHE", str(tmp_path))
    assert run("env") == 0
    out = capsys.readouterr().out
    assert "wideseek-apps 0.1.0" in out
    assert "CPU cores" in out
    assert str(tmp_path) in out
    assert "HTTPS_PROXY" in out
    assert "hunter2" not in out


def test_a_command_without_settings_takes_none(capsys: Captured) -> None:
    assert run("env", "verbose=1") == 2
    assert capsys.readouterr().err == "ConfigError: unknown key 'verbose'\n"


def test_the_usage_of_a_passed_on_command_is_that_of_wideseek() -> None:
    with pytest.raises(ConfigError, match=r"usage: wideseek report RUN"):
        program().run(["report", "runs/a", "runs/b"])
