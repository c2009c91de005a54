import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

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


class Harbour(Config):
    kind: Literal["harbour"] = "harbour"


class Yard(Config):
    kind: Literal["yard"] = "yard"
    gate: str
    yard: str = ""


class Stop(Config):
    place: Annotated[Harbour | Yard, Field(discriminator="kind")] = Harbour()
    at: Literal["bow", "stern"] | tuple[Literal["bow", "stern"], ...] = "bow"


class Trip(Config):
    """Where to, and by what."""

    goal: str = "home"
    vehicle: Vehicle = Boat(sails=2)
    limits: Limits = Limits(seconds=2.5)
    depot: Depot = Depot(first=Train(engine="steam", cars=7))
    key: SecretStr | None = None
    spare: Limits | None = None
    stop: Stop = Stop()
    fleet: tuple[Vehicle, ...] = (Boat(),)
    named: dict[Annotated[str, Field(pattern="^[a-z]+$")], Vehicle] = Field(default_factory=dict)

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


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (["limits.turns=9"], [], ["limits.turns"]),
        (["limits={turns: 9}"], [], ["limits"]),
        (["limits.turns=9", "goal=sea"], [], ["limits.turns"]),
        (["limits.turns=6"], [], []),
        (["limits={seconds: 1}", "goal=sea"], [], []),
        (["limits.turns=9"], ["limits.turns=9"], []),
        ([], ["limits.turns=9"], []),
    ],
)
def test_a_setting_that_a_later_file_replaces_is_named(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    before: list[str],
    after: list[str],
    named: list[str],
) -> None:
    file = tmp_path / "trip.yaml"
    file.write_text("limits: {turns: 6}\n")
    load_config(Trip, [*before, str(file), *after])
    assert [record.message.partition(":")[0] for record in caplog.records] == named


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


def test_so_does_another_kind_deep_in_default_objects() -> None:
    assert load_config(Trip, ["depot.first.kind=boat"]).depot.first == Boat(sails=3)
    other = load_config(Trip, ["depot={first: {kind: boat, sails: 5}}", "depot.limits.turns=2"])
    assert other.depot == Depot(first=Boat(sails=5), limits=Limits(turns=2))
    same = load_config(Trip, ["depot.first.kind=train", "depot.first.cars=2"])
    assert same.depot.first == Train(engine="steam", cars=2)


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
        (
            "fleet=[{kind: boat, sail: 1}]",
            "unknown key 'fleet.0.sail'; did you mean 'fleet.0.sails'?",
        ),
        (
            "fleet=[{kind: boat, cars: 1}]",
            "unknown key 'fleet.0.cars'; it belongs to fleet.0.kind=train",
        ),
        ("fleet=[{kind: train}]", "missing key 'fleet.0.engine'"),
        ("fleet=[boat]", "fleet.0: write {kind: boat} (got 'boat')"),
        ("fleet=[3]", "fleet.0: it has keys of its own, such as {kind: VALUE} (got 3)"),
        ("named=null", "named: it has keys of its own, such as named.NAME.kind=VALUE (got None)"),
        (
            "named.boat={kind: boat, sail: 1}",
            "unknown key 'named.boat.sail'; did you mean 'named.boat.sails'?",
        ),
        (
            "named.cars={kind: boat, cars: 1}",
            "unknown key 'named.cars.cars'; it belongs to named.cars.kind=train",
        ),
        ("named.train={kind: train}", "missing key 'named.train.engine'"),
        (
            "named.int={kind: boat, sails: x}",
            "named.int.sails: input should be a valid integer",
        ),
        ("named.boat=boat", "named.boat: write named.boat.kind=boat (got 'boat')"),
        ("named.A={kind: boat}", "named.A: string should match pattern '^[a-z]+$' (got 'A')"),
        ("vehicle.kind=train", "missing key 'vehicle.engine'"),
        (
            "vehicle={kind: train, engin: x}",
            "unknown key 'vehicle.engin'; did you mean 'vehicle.engine'?",
        ),
        ("stop.place.kind=yard", "missing key 'stop.place.gate'"),
        ("stop.place={kind: yard, gate: g, yard: [1]}", "stop.place.yard: input should be a valid"),
        ("stop.at=mast", "stop.at: input should be 'bow' or 'stern' (got 'mast')"),
        ("stop.at=[bow, mast]", "stop.at"),
        ("goal=", "'goal=': no value; write goal=null or goal='' for none"),
        ("limits.turns= ", "'limits.turns= ': no value; write limits.turns=null or "),
        ("goal=null", "goal: input should be a valid string (got None)"),
        ("goal=[7]", "goal: input should be a valid string"),
        ("=3", "'=3': the key has an empty part; write key=value"),
        ("limits..turns=3", "'limits..turns=3': the key has an empty part; write key=value"),
        ("limits.=3", "'limits.=3': the key has an empty part; write key=value"),
        ("limits.turns:3", "no such config file: limits.turns:3; a setting is written key=value"),
        ("limits.seconds=.inf", "limits.seconds: input should be a finite number (got inf)"),
        ("limits={turns: 1, turns: 2}", "'limits={turns: 1, turns: 2}': the value is not YAML"),
        ("limits=3", "limits: it has keys of its own, such as limits.turns=VALUE (got 3)"),
        ("limits=", "'limits=': no value"),
        ("vehicle=train", "vehicle: write vehicle.kind=train (got 'train')"),
        ("vehicle=car", "vehicle: it has keys of its own, such as vehicle.kind=VALUE (got 'car')"),
        ("vehicle=[boat]", "vehicle: it has keys of its own, such as vehicle.kind=VALUE"),
        ("vehicle.kind=Trian", "vehicle.kind: there is no 'Trian'; did you mean 'train'?"),
        ("vehicle.kind=rocket", "vehicle.kind: there is no 'rocket'; known: boat, train"),
        ("depot.second={cars: 3}", "missing key 'depot.second.kind'"),
        ("vehicle.crew=Ann", "vehicle.crew: a list is wanted, such as vehicle.crew=[A,B] (got "),
        ("limits", "no such config file: limits; a setting is written limits=VALUE"),
        (
            "limits.turns",
            "no such config file: limits.turns; a setting is written limits.turns=",
        ),
        ("vehicle.boat=3", "unknown key 'vehicle.boat'"),
        ("vehicle={kind: train, engine: x, train: {cars: 3}}", "unknown key 'vehicle.train'"),
        ("LIMITS.turns=3", "unknown key 'LIMITS'; did you mean 'limits'?"),
        ("limits.Turns=3", "unknown key 'limits.Turns'; did you mean 'limits.turns'?"),
        ("limits/turns=3", "unknown key 'limits/turns'; the parts of a key are joined by dots"),
        ("limits:turns=3", "unknown key 'limits:turns'; the parts of a key are joined by dots"),
        ("--limits.turns=3", "unknown option '--limits.turns=3': write limits.turns=3"),
        ("--goal", "unknown option '--goal': write goal=VALUE"),
        ("", "an empty argument: give CONFIG.yaml or key=value"),
        ("goal=''", "goal must not be empty"),
        ("goal=[a", "'goal=[a': the value is not YAML"),
        ("--gpu", "unknown option '--gpu': give CONFIG.yaml or key=value"),
        ("nowhere.yaml", "no such config file: nowhere.yaml"),
    ],
)
def test_bad_arguments_get_a_line_that_names_the_key(argument: str, line: str) -> None:
    assert problem([argument]).startswith(line)


def test_an_unknown_key_elsewhere_does_not_hide_a_missing_one() -> None:
    assert problem(["vehicle.kind=train", "gaol=x"]) == "missing key 'vehicle.engine'"


def test_a_number_out_of_range_names_key_and_value() -> None:
    line = problem(["vehicle.kind=train", "vehicle.engine=x", "vehicle.cars=0"])
    assert line == "vehicle.cars: input should be greater than or equal to 1 (got 0)"


def test_a_key_below_a_plain_value_is_refused() -> None:
    assert problem(["goal=x", "goal.y=1"]) == "'goal.y=1': 'goal' is a value, it has no keys"


def test_a_secret_of_the_wrong_type_is_not_shown() -> None:
    assert "123456" not in problem(["key=[123456]"])


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


@pytest.mark.parametrize(
    ("argument", "goal"),
    [
        ("goal=no", "no"),
        ("goal=on", "on"),
        ("goal=true", "true"),
        ("goal=007", "007"),
        ("goal=1.10", "1.10"),
        ("goal=12:30", "12:30"),
        ("goal=2024-01-01", "2024-01-01"),
        ("goal=1e5", "1e5"),
        ("goal=1_000", "1_000"),
        ("goal='null'", "null"),
        ("goal=~", None),
    ],
)
def test_a_text_stays_as_it_was_written(argument: str, goal: str | None, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(argument.replace("=", ": "))
    for given in (argument, str(path)):
        if goal is None:
            assert "valid string" in problem([given])
        else:
            assert load_config(Trip, [given]).goal == goal


def test_texts_in_lists_stay_as_they_were_written() -> None:
    vehicle = load_config(Trip, ["vehicle.crew=[no, 007, yes]"]).vehicle
    assert vehicle == Boat(sails=2, crew=("no", "007", "yes"))


class Settings(Config):
    quiet: bool = False
    rate: float = 0.0
    count: int = 1
    either: int | str = 0
    language: Literal["en", "no"] | None = None
    folder: Path | None = None
    folders: tuple[Path, ...] = ()
    bag: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("quiet=no", False),
        ("quiet=yes", True),
        ("quiet=true", True),
        ("rate=1e-6", 1e-6),
        ("rate=3", 3.0),
        ("count=010", 10),
        ("count=0x10", 16),
        ("either=7", 7),
        ("either=no", "no"),
        ("language=no", "no"),
        ("language=null", None),
        ("folder=2024", Path("2024")),
        ("bag={a: 1, b: no, 3: [true]}", {"a": 1, "b": "no", "3": [True]}),
    ],
)
def test_a_value_has_the_type_of_its_field(argument: str, value: object) -> None:
    found = getattr(load_config(Settings, [argument]), argument.partition("=")[0])
    assert found == value
    assert type(found) is type(value)


def test_the_home_folder_is_expanded_in_every_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_config(Settings, ["folder=~/x"]).folder == tmp_path / "x"
    assert Settings(folders=(Path("~/a"), Path("b/~"))).folders == (tmp_path / "a", Path("b/~"))


def test_an_unknown_users_home_is_one_line() -> None:
    with pytest.raises(ConfigError, match="folder: there is no home folder here"):
        load_config(Settings, ["folder=~nobody-of-that-name/x"])


def test_deep_nesting_is_one_line() -> None:
    assert "the value is not YAML" in problem([f"goal={'[' * 100_000}"])


def shown(*arguments: str) -> list[str]:
    with pytest.raises(HelpRequested) as caught:
        load_config(Trip, arguments)
    return str(caught.value).splitlines()


def test_help_has_one_line_for_each_top_level_key() -> None:
    lines = shown("nonsense", "--help")
    assert "goal: str = home" in lines
    assert "vehicle: boat | train = boat   (6 keys)" in lines
    assert "spare: Limits | null = null   (2 keys)" in lines
    assert not [line for line in lines if line.startswith("limits.")]
    assert "Where to, and by what." in lines


def test_help_on_a_key_shows_its_branch_by_kinds() -> None:
    lines = shown("--help", "vehicle")
    assert "With vehicle.kind=boat (the default):" in lines
    assert "With vehicle.kind=train:" in lines
    assert "vehicle.sails: int = 2" in lines
    assert "vehicle.engine: str = (required)" in lines
    assert "vehicle.crew: tuple[str, ...] = []" in lines
    assert lines[lines.index("vehicle.cars: int = 4") + 1] == "    How many it pulls."
    assert shown("--help=limits.seconds") == ["limits.seconds: float | null = 2.5"]
    assert "depot.first.cars: int = 7" in shown("--help", "depot.first")


def test_help_on_everything_shows_the_defaults_that_hold_where_a_field_stands() -> None:
    lines = shown("--help", "all")
    assert "vehicle.sails: int = 2" in lines
    assert "depot.limits.turns: int = 9" in lines
    assert "depot.first.engine: str = steam" in lines
    assert "spare.turns: int = 5" in lines
    assert max(map(len, lines)) <= 100


def test_help_writes_the_keys_of_lists_and_mappings_as_they_are_meant() -> None:
    lines = shown("--help", "all")
    assert any(
        line.startswith('fleet: tuple[boat | train, ...] = [{"kind": "boat"}]') for line in lines
    )
    assert {"With fleet.N.kind=train:", "fleet.N.cars: int = 4"} <= set(lines)
    assert {"With named.NAME.kind=boat:", "named.NAME.sails: int = 1"} <= set(lines)
    assert shown("--help", "named.x")[0] == "With named.x.kind=boat:"
    assert shown("--help", "fleet.0.cars")[0] == "fleet.0.cars: int = 4"
    assert problem(["--help", "named.x.sail"]).endswith("did you mean 'named.x.sails'?")
    assert problem(["--help", "named.x.sails.y"]).startswith("--help: 'named.x.sails' has no keys")


def test_help_on_an_unknown_key_names_the_nearest() -> None:
    assert problem(["--help", "gaol"]) == "--help: unknown key 'gaol'; did you mean 'goal'?"
    assert problem(["-h", "depot.frist.cars"]) == "--help: unknown key 'depot.frist'"


class Question(Config):
    question: str = ""
    answer: Literal["table", "text"] = "table"
    policy: Boat = Boat()


def asked(*arguments: str) -> Question:
    return load_config(Question, arguments, sentence="question")


@pytest.mark.parametrize(
    "question",
    [
        "E=mc2 discoverers",
        "E=mc2",
        "What is in settings.yaml",
        "Who said x=1 and y=2?",
        "a.b=c is what?",
        "=? what is that",
        "if answer=42, what is the question?",
        "wo liegt Köln = Cologne",
    ],
)
def test_a_question_is_no_setting(question: str) -> None:
    assert asked(question) == Question(question=question)
    assert asked("policy.sails=3", question).question == question


def test_behind_two_dashes_everything_is_the_question() -> None:
    assert asked("--", "-5 degrees is", "answer=text", "--help").question == (
        "-5 degrees is answer=text --help"
    )
    assert asked("answer=text", "--", "--").question == "--"


def test_settings_beside_a_question_are_still_settings(tmp_path: Path) -> None:
    path = tmp_path / "with blanks.yaml"
    path.write_text("answer: text\n")
    found = asked("Which", "moons?", str(path), "policy.sails=4", "policy.crew=[A B]")
    assert found.question == "Which moons?"
    assert found.answer == "text"
    assert found.policy == Boat(sails=4, crew=("A B",))


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("polcy.sails=3", "unknown key 'polcy'; did you mean 'policy'?"),
        ("anser=text", "unknown key 'anser'; did you mean 'answer'?"),
        (
            "settings.yaml",
            "no such config file: settings.yaml; a question with such a word is ",
        ),
        ("=3", "'=3': the key has an empty part"),
        ("answer=", "'answer=': no value"),
        ("--quiet", "unknown option '--quiet': words with a dash go behind --"),
        ("--answer=text", "unknown option '--answer=text': write answer=text"),
        ("--answer", "unknown option '--answer': write answer=VALUE"),
        ("-5 degrees", "unknown option '-5 degrees': words with a dash go behind --"),
    ],
)
def test_a_misspelled_setting_is_no_question(argument: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asked("Which moons?", argument)
    assert str(caught.value).startswith(complaint)


def test_words_fill_named_keys_in_order() -> None:
    found = load_config(Question, ["what", "answer=text"], positional=("question",))
    assert found == Question(question="what", answer="text")
    with pytest.raises(ConfigError, match="unexpected argument 'two'"):
        load_config(Question, ["one", "two"], positional=("question",))


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


def test_without_a_home_there_is_a_cache_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("WIDESEEK_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = cache_folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WIDESEEK_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("WIDESEEK_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "wideseek")
    assert environment("WIDESEEK_CACHE", "none") == "none"


class Place(Config):
    address: str = ""
    options: dict[str, int] = {}


def test_a_text_with_a_colon_is_a_text() -> None:
    assert load_config(Place, ["address=:memory:"]).address == ":memory:"
    assert load_config(Place, ["address=a: b"]).address == "a: b"
    assert load_config(Place, ["options={a: 1}"]).options == {"a": 1}


class Launch(Config):
    program: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict[str, str])


@pytest.mark.parametrize(
    "argument",
    [
        "program=--api-key hunter2",
        "program=[--api-key, hunter2",
        "program=[API_KEY=hunter2",
        "environment=API_KEY=hunter2",
        "environment.API_KEY=[hunter2",
        "environment={API_KEY: hunter2",
        "program=http://me:hunter2@a.example",
    ],
)
def test_refused_settings_show_no_secret(argument: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Launch, [argument])
    assert argument.partition("=")[0] in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "[redacted]" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("environment: {A: '[redacted]'}", "environment.A"),
        ("program: [x, --api-key, '[redacted]']", "program.2"),
        ("program: [env, 'API_KEY=[redacted]']", "program.1"),
        ("program: ['http://[redacted]@a.example']", "program.0"),
    ],
)
def test_settings_that_were_shown_are_no_settings_where_a_secret_was_left_out(
    text: str, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "shown.yaml"
    file.write_text(text)
    line = f"{key}: a secret was left out where this was shown; give it again"
    with pytest.raises(ConfigError) as caught:
        load_config(Launch, [str(file)])
    assert str(caught.value) == line
    again = load_config(Launch, [str(file), "program=[x]", "environment.A=b"])
    assert again == Launch(program=("x",), environment={"A": "b"})


@pytest.mark.parametrize("text", ["program: &a [*a]", "environment: &a {A: *a}"])
def test_a_file_whose_settings_hold_themselves_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "endless.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"endless\.yaml: nested too deep, or within itself"):
        load_config(Launch, [str(file)])
    with pytest.raises(ConfigError, match="the value is not YAML"):
        load_config(Launch, ["program=&a [*a]"])
