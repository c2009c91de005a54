from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from wideseek_agents import ChatTokenizer
from wideseek_agents.profile import ModelProfile, write_profile
from wideseek_apps.demo_files import read_demo_files
from wideseek_apps.demos import Demonstrations, demo_set
from wideseek_apps.presets import ATLAS_TEAM
from wideseek_apps.sft_config import DemosConfig
from wideseek_apps.start_policy import languages_of
from wideseek_core.files import append_line
from wideseek_data.teaching.conversations import DemonstratedMessage, Demonstration
from wideseek_rl.batch.demonstrations import DemoSet
from wideseek_rl.models.start_policy import start_policy


def start_tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(start_policy() / "tokenizer.json"))


def made(**languages: int) -> Demonstrations:
    rows = DemoSet.from_rows([([1, 2], [0, 1])])
    return Demonstrations(
        rows=rows, kept=Counter(), left_out=Counter(), languages=Counter(languages)
    )


def folder(path: Path, *languages: str) -> Path:
    path.mkdir(parents=True)
    if languages:
        write_profile(path, ModelProfile(languages=languages))
    return path


@pytest.mark.parametrize(
    ("shown", "parents", "expected"),
    [
        ({"en": 10}, (), ("en",)),
        ({"zh": 60, "en": 40}, (), ("zh", "en")),
        ({"en": 100, "ja": 4}, (), ("en",)),  # some names, not a language that was taught
        ({"en": 10}, (("zh",),), ("zh", "en")),
        ({"en": 10}, (("en",),), ("en",)),
        ({"en": 10}, ((), ("zh",)), ("zh", "en")),  # the adapter of a general model
        ({"en": 10}, ((),), ()),  # a general model, whose languages are not known
    ],
)
def test_a_policy_knows_what_it_was_taught_and_what_its_parent_knew(
    shown: dict[str, int],
    parents: tuple[tuple[str, ...], ...],
    expected: tuple[str, ...],
    tmp_path: Path,
) -> None:
    folders = [folder(tmp_path / str(place), *one) for place, one in enumerate(parents)]
    assert languages_of(made(**shown), *folders) == expected


def test_languages_are_those_of_the_questions(tmp_path: Path) -> None:
    file = tmp_path / "demos.jsonl"
    for question in (
        "列出所有城市",
        "列出所有国家和人口",
        "List all cities.",
        "都市の一覧を作ってください",
    ):
        messages = (("system", "Answer."), ("user", question), ("assistant", "ok " * 5))
        append_line(
            file,
            Demonstration(
                agent="lead",
                task=question,
                messages=tuple(
                    DemonstratedMessage.model_validate({"role": role, "content": content})
                    for role, content in messages
                ),
            ),
        )
    tokenizer = ChatTokenizer(start_tokenizer())
    found = read_demo_files([file], tokenizer, max_tokens=1000)
    assert found.languages == {"zh": 2, "en": 1, "ja": 1}
    assert read_demo_files([file], tokenizer, max_tokens=3).languages == {}
    twice = Demonstrations.join([found, found])
    assert twice.languages == {"zh": 4, "en": 2, "ja": 2}
    assert len(twice.rows) == 8


def test_invented_worlds_are_in_english() -> None:
    tokenizer = start_tokenizer()
    found = demo_set(DemosConfig(worlds=1, processes=1), ATLAS_TEAM, tokenizer, max_tokens=2000)
    assert found.languages == {"en": len(found.rows)}
