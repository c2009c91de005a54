import json
import math
from pathlib import Path

import pytest

from wideseek_core import (
    DataError,
    Episode,
    Finish,
    Score,
    ScoreState,
    Status,
    TextMetrics,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)
from wideseek_core.episode_records import episode_record, read_episodes
from wideseek_core.files import append_line
from wideseek_core.versions import VersionSpan


def make_episode(text: str = "hello", logprob: float = -0.5) -> Episode:
    turn = Turn(
        text=text,
        finish=Finish.STOP,
        prompt_ids=(1, 2),
        response_ids=(3,),
        logprobs=(logprob,),
        versions=(VersionSpan(version=2, start=0, end=1),),
        calls=(ToolCall(name="search", arguments={"queries": ["a", "b"]}),),
        results=(ToolResult(request="a", text="found", ok=True),),
    )
    lead = Trajectory(agent=0, role="lead", status=Status.FINISHED, turns=(turn,), answer="x")
    return Episode(task_id="t", trial=1, trajectories=(lead,), answer="x", seconds=1.5)


def test_an_episode_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    score = Score(state=ScoreState.SCORED, metrics=TextMetrics(correct=1.0))
    record = episode_record(make_episode(), tokens=True, step=3, reward=1.05, score=score)
    append_line(path, record)
    assert list(read_episodes(path)) == [record]


def test_without_tokens_their_fields_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    append_line(path, episode_record(make_episode()))
    (line,) = path.read_text().splitlines()
    turn = json.loads(line)["episode"]["trajectories"][0]["turns"][0]
    assert turn.keys().isdisjoint({"prompt_ids", "response_ids", "logprobs"})
    (record,) = read_episodes(path)
    assert record.episode.main.turns[0].response_ids == ()
    assert record.episode.main.turns[0].versions[0].version == 2


def test_text_and_numbers_that_a_file_cannot_hold_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    episode = make_episode(text="cut \ud83d", logprob=-math.inf)
    append_line(path, episode_record(episode, tokens=True, reward=math.nan))
    (record,) = read_episodes(path)
    assert record.episode.main.turns[0].text == "cut \ufffd"
    assert math.isnan(record.episode.main.turns[0].logprobs[0])
    assert record.reward is None


def test_a_line_that_a_killed_writer_left_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    append_line(path, episode_record(make_episode()))
    with path.open("a") as file:
        file.write('{"version": 1, "epi')
    assert len(list(read_episodes(path))) == 1


@pytest.mark.parametrize("line", ["{}", "{", "[1]", "[" * 100_000, '{"episode": {"trial": "x"}}'])
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "episodes.jsonl"
    append_line(path, episode_record(make_episode()))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"episodes\.jsonl:2: "):
        list(read_episodes(path))
