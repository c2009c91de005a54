from collections.abc import Sequence

import pytest

from wideseek_core.commands import Command, Program

Captured = pytest.CaptureFixture[str]


def program(seen: list[Sequence[str]]) -> Program:
    return Program(
        name="boats",
        summary="Sails about.",
        distribution="wideseek-core",
        commands={
            "sail": Command(summary="Sail away.", run=seen.append, group="At sea"),
            "moor": Command(summary="Come home.", run=seen.append, group="In port"),
        },
    )


def ended(*arguments: str) -> object:
    with pytest.raises(SystemExit) as caught:
        program([]).main(arguments)
    return caught.value.code


def test_a_command_gets_the_arguments_behind_its_name() -> None:
    seen: list[Sequence[str]] = []
    program(seen).main(["sail", "a=b", "--help"])
    program(seen).main(["help", "moor", "x"])
    assert seen == [["a=b", "--help"], ["--help", "x"]]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_the_commands_by_group(arguments: tuple[str, ...], capsys: Captured) -> None:
    assert ended(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("At sea:") + 1] == "  sail  Sail away."
    assert lines[lines.index("In port:") + 1] == "  moor  Come home."


def test_the_version_is_that_of_the_distribution(capsys: Captured) -> None:
    assert ended("--version") == 0
    assert capsys.readouterr().out == "boats 0.1.0\n"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("sial", "ConfigError: unknown command 'sial'; did you mean 'sail'?\n"),
        ("x", "ConfigError: unknown command 'x'; known: sail, moor\n"),
    ],
)
def test_an_unknown_command_is_one_line(name: str, complaint: str, capsys: Captured) -> None:
    assert ended(name) == 2
    assert capsys.readouterr().err == complaint
