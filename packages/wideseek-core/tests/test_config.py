from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr, model_validator

from wideseek_core import Config, ConfigError, load_config
from wideseek_core.config import HelpRequested, cache_folder, environment, secret


class Boat(Config):
    kind: Literal["boat"] = "boat"
    sails: int = 1
    crew: tuple[str, ...] = ()


class Train(Config):
    kind: Literal["train"] = "train"
    cars: int = Field(default=4, ge=1)
    """How many it pulls."""
    engine: str


Vehicle = Annotated[Boat | Train, Field(discriminator="kind")]


class Limits(Config):
    turns: int = 5
    seconds: float | None = None


class Depot(Config):
    first: Vehicle = Boat(sails=3)
    second: Vehicle | None = None
    limits: Limits = Limits(turns=9)


class Trip(Config):
    """Where to, and by what."""

    goal: str = "home"
    vehicle: Vehicle = Boat(sails=2)
    limits: Limits = Limits(seconds=2.5)
    depot: Depot = Depot(first=Train(engine="steam", cars=7))
    key: SecretStr | None = None
    spare: Limits | None = None

    @model_validator(mode="after")
    def _goal_is_named(self) -> "Trip":
        if not self.goal:
            raise ValueError("Goal must not be empty")
        return self


def problem(arguments: Sequence[str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(Trip, arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_arguments_the_defaults_hold() -> None:
    assert load_config(Trip, []) == Trip()


def test_later_arguments_win_over_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("goal: sea\nlimits: {turns: 1, seconds: 7}\n")
    (tmp_path / "b.yaml").write_text("limits: {turns: 2}\n")
    files = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    assert load_config(Trip, files).limits == Limits(turns=2, seconds=7)
    assert load_config(Trip, [*files, "goal=moon"]).goal == "moon"
    assert load_config(Trip, ["goal=moon", *files]).goal == "sea"


def test_an_override_keeps_what_the_default_object_sets_beside_it() -> None:
    assert load_config(Trip, ["limits.turns=8"]).limits == Limits(turns=8, seconds=2.5)
    assert load_config(Trip, ["vehicle.crew=[Ada]"]).vehicle == Boat(sails=2, crew=("Ada",))


def test_an_override_deep_in_default_objects_keeps_their_kinds() -> None:
    trip = load_config(Trip, ["depot.limits.seconds=1"])
    assert trip.depot.first == Train(engine="steam", cars=7)
    assert trip.depot.limits == Limits(turns=9, seconds=1)
    deep = load_config(Trip, ["depot.first.cars=2"])
    assert deep.depot.first == Train(engine="steam", cars=2)


def test_another_kind_starts_from_its_own_defaults() -> None:
    chosen = load_config(Trip, ["vehicle.kind=train", "vehicle.engine=diesel"])
    assert chosen.vehicle == Train(engine="diesel", cars=4)


def test_loading_leaves_the_defaults_as_they_were() -> None:
    load_config(Trip, ["depot.first.cars=2", "vehicle.crew=[Ada]"])
    assert load_config(Trip, []) == Trip()
    assert Trip().vehicle == Boat(sails=2)


def test_an_optional_object_is_made_from_its_first_key() -> None:
    assert load_config(Trip, ["spare.turns=3"]).spare == Limits(turns=3)


def test_values_are_read_as_yaml() -> None:
    assert load_config(Trip, ["limits.seconds=1e-3"]).limits.seconds == 0.001
    assert load_config(Trip, ["limits.seconds=null"]).limits.seconds is None
    assert load_config(Trip, ['goal="7"']).goal == "7"
    assert load_config(Trip, ["goal=a=b"]).goal == "a=b"


def test_an_override_may_be_longer_than_a_file_name() -> None:
    assert load_config(Trip, [f"goal={'x' * 5000}"]).goal == "x" * 5000


def test_a_file_may_have_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a=b.yaml").write_text("goal: sea\n")
    assert load_config(Trip, [str(tmp_path / "a=b.yaml")]).goal == "sea"


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("gaol=x", "unknown key 'gaol'; did you mean 'goal'?"),
        ("limits.turn=1", "unknown key 'limits.turn'; did you mean 'limits.turns'?"),
        ("vehicle.sail=1", "unknown key 'vehicle.sail'; did you mean 'vehicle.sails'?"),
        ("vehicle.cars=1", "unknown key 'vehicle.cars'; it belongs to vehicle.kind=train"),
        ("depot.first.car=1", "unknown key 'depot.first.car'; did you mean 'depot.first.cars'?"),
        ("spare.turms=1", "unknown key 'spare.turms'; did you mean 'spare.turns'?"),
        ("zzz=1", "unknown key 'zzz'"),
        ("vehicle.kind=train", "missing key 'vehicle.engine'"),
        ("goal=", "goal: input should be a valid string (got None)"),
        ("goal=7", "goal: input should be a valid string (got 7)"),
        ("limits=3", "limits: input should be a valid dictionary or instance of Limits (got 3)"),
        ("goal=''", "Trip: goal must not be empty"),
        ("goal=[a", "'goal=[a': the value is not YAML"),
        ("--gpu", "unknown option '--gpu': give CONFIG.yaml or key=value"),
        ("nowhere.yaml", "no such config file: nowhere.yaml"),
    ],
)
def test_bad_arguments_get_a_line_that_names_the_key(argument: str, line: str) -> None:
    assert problem([argument]) == line


def test_a_number_out_of_range_names_key_and_value() -> None:
    line = problem(["vehicle.kind=train", "vehicle.engine=x", "vehicle.cars=0"])
    assert line == "vehicle.cars: input should be greater than or equal to 1 (got 0)"


def test_an_unknown_kind_names_the_known_ones() -> None:
    line = problem(["vehicle.kind=rocket"])
    assert line.startswith("vehicle: ")
    assert "'rocket'" in line
    assert "'boat', 'train'" in line


def test_a_key_below_a_plain_value_is_refused() -> None:
    assert problem(["goal=x", "goal.y=1"]) == "'goal.y=1': 'goal' is a value, it has no keys"


def test_a_secret_of_the_wrong_type_is_not_shown() -> None:
    assert "123456" not in problem(["key=123456"])


def test_a_long_value_is_shown_in_part() -> None:
    assert len(problem([f"limits.turns={'x' * 10_000}"])) < 250


def test_a_yaml_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("goal: sea\nlimits: {turns: 1\nx: 2\n")
    assert problem([str(path)]).startswith(f"{path}:3: ")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"- a\n- b\n", "expected a mapping of keys, got list"), (b"\xff\xfe\xfa", "can't be read")],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    line = problem([str(path)])
    assert line.startswith(f"{path}")
    assert complaint in line


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    assert problem([str(tmp_path)]).startswith(f"{tmp_path}: can't be read: ")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config(Trip, [str(tmp_path / "empty.yaml")]) == Trip()


def test_help_lists_fields_with_type_default_and_documentation() -> None:
    with pytest.raises(HelpRequested) as caught:
        load_config(Trip, ["nonsense", "--help"])
    lines = str(caught.value).splitlines()
    assert "goal: str = home" in lines
    assert "vehicle: Boat | Train = boat" in lines
    assert "vehicle.crew: tuple[str, ...] = []" in lines
    assert "vehicle.engine: str = (required)" in lines
    assert "limits.seconds: float | null = 2.5" in lines
    assert lines[lines.index("vehicle.cars: int = 4") + 1] == "    How many it pulls."


def test_help_shows_the_defaults_that_hold_where_the_field_stands() -> None:
    with pytest.raises(HelpRequested) as caught:
        load_config(Trip, ["-h"])
    lines = str(caught.value).splitlines()
    assert "vehicle.sails: int = 2" in lines
    assert "depot.limits.turns: int = 9" in lines
    assert "depot.first.cars: int = 7" in lines
    assert "depot.first.engine: str = steam" in lines
    assert "spare.turns: int = 5" in lines


def test_a_secret_comes_from_the_environment_and_hides_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WIDESEEK_TEST_KEY", " abc ")
    found = secret("WIDESEEK_TEST_KEY")
    assert found is not None
    assert found.get_secret_value() == "abc"
    assert "abc" not in f"{found} {found!r}"
    monkeypatch.setenv("WIDESEEK_TEST_KEY", " ")
    assert secret("WIDESEEK_TEST_KEY") is None


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WIDESEEK_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("WIDESEEK_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "wideseek")
    assert environment("WIDESEEK_CACHE", "none") == "none"
