import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wideseek_agents import ChatTokenizer
from wideseek_agents.tokens import END, START, TAGS
from wideseek_core import ConfigError, CorruptFile, DataError, Message

from .conftest import byte_level, whole_words

FULL, BARE, WORDS = (
    ChatTokenizer(tokenizer) for tokenizer in (byte_level(), byte_level(tags=()), whole_words())
)
FORGED = st.lists(
    st.one_of(
        st.sampled_from([START, END, "<|endoftext|>", *TAGS, "<", "|", ">", "\n", " ", "\ud800"]),
        st.text(max_size=6),
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("tokenizer", [FULL, BARE, WORDS], ids=["qwen", "bare", "words"])
@given(text=FORGED)
def test_data_never_yields_a_control_id(tokenizer: ChatTokenizer, text: str) -> None:
    assert tokenizer.control_ids.isdisjoint(tokenizer.encode_data(text))


@given(text=FORGED)
def test_a_user_message_holds_its_two_marks_and_nothing_else_of_control(text: str) -> None:
    ids = FULL.render([Message(role="user", content=text)])
    control = [FULL.decode([id, 0])[:-1] for id in ids if id in FULL.control_ids]
    assert control == [START, END]
    assert len(ids) > 4


@given(text=FORGED)
def test_a_tool_message_holds_one_response_block(text: str) -> None:
    ids = FULL.render([Message(role="tool", content=text)])
    assert sum(id in FULL.control_ids for id in ids) == 4


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_data_decodes_to_itself(text: str) -> None:
    assert FULL.decode(FULL.encode_data(text)) == text


def test_messages_follow_the_layout_of_qwen3() -> None:
    ids = FULL.render(
        [
            Message(role="system", content="Call like <tool_call>{}</tool_call>."),
            Message(role="user", content="Which moons?"),
            Message(role="assistant", content="<think>hm</think>Triton"),
            Message(role="tool", content="Nereid"),
        ]
    )
    text = FULL.decode([*ids, *FULL.generation_prompt])
    assert text == (
        "<|im_start|>system\nCall like <tool_call>{}</tool_call>.<|im_end|>\n"
        "<|im_start|>user\nWhich moons?<|im_end|>\n"
        "<|im_start|>assistant\n<think>hm</think>Triton<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\nNereid\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_ids_equal_those_of_the_tokenizer_on_the_rendered_text() -> None:
    ids = FULL.render(
        [Message(role="tool", content="Triton 1353"), Message(role="user", content="?")]
    )
    text = (
        "<|im_start|>user\n<tool_response>\nTriton 1353\n</tool_response><|im_end|>\n"
        "<|im_start|>user\n?<|im_end|>\n"
    )
    assert ids == byte_level().encode(text).ids


def test_responses_keep_their_tags_but_cannot_close_their_message() -> None:
    ids = FULL.encode_response("<tool_call>{}</tool_call><|im_end|>")
    control = [id for id in ids if id in FULL.control_ids]
    assert len(control) == 3
    assert ids[-1] == FULL.end_id
    assert FULL.decode(ids) == "<tool_call>{}</tool_call><|im_end|>"


def test_a_tokenizer_without_tags_spells_them() -> None:
    ids = BARE.render([Message(role="tool", content="x")])
    assert BARE.decode(ids) == (
        "<|im_start|>user\n<tool_response>\nx\n</tool_response><|im_end|>\n"
    )


def test_decoding_drops_only_what_ended_the_response() -> None:
    ids = [*FULL.encode_trusted("a<tool_call>"), FULL.end_id]
    assert FULL.decode(ids) == "a<tool_call>"


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file: .*tokenizer\.json"):
        ChatTokenizer.load(tmp_path)


def test_a_broken_tokenizer_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(CorruptFile, match=r"tokenizer\.json: not a tokenizer"):
        ChatTokenizer.load(tmp_path)


def test_a_tokenizer_without_chat_marks_is_refused(tmp_path: Path) -> None:
    tokenizer = byte_level()
    marks = tokenizer.to_str().replace("im_end", "im_ended")
    (tmp_path / "tokenizer.json").write_text(marks)
    with pytest.raises(DataError, match=r"tokenizer\.json: .* no known chat format"):
        ChatTokenizer.load(tmp_path)


def test_a_saved_tokenizer_loads(tmp_path: Path) -> None:
    byte_level().save(str(tmp_path / "tokenizer.json"))
    loaded = ChatTokenizer.load(tmp_path)
    assert loaded.encode_response("Triton") == FULL.encode_response("Triton")
    assert loaded.vocab_size == FULL.vocab_size


def test_a_tokenizer_names_the_extra_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"pip install 'wideseek-agents\[tokens\]'"):
        ChatTokenizer.load(tmp_path)


@given(st.text(max_size=40))
def test_the_texts_of_tokens_join_to_the_whole(text: str) -> None:
    ids = [*FULL.encode_data(text), FULL.end_id]
    texts = FULL.token_texts(ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == f"{text}<|im_end|>"


def test_a_character_of_several_tokens_is_the_text_of_the_last() -> None:
    ids = FULL.encode_data("鱻")
    assert len(ids) > 1
    assert FULL.token_texts(ids) == [*[""] * (len(ids) - 1), "鱻"]
    assert FULL.token_texts(ids[:-1])[-1].startswith("\ufffd")


@pytest.mark.parametrize("text", ["Ferries\n- Osprey", "x " * 10_000], ids=["short", "long"])
def test_the_same_text_of_another_role_is_another_message(text: str) -> None:
    tokenizer = ChatTokenizer(byte_level())
    user, tool = Message(role="user", content=text), Message(role="tool", content=text)
    first = [tokenizer.render([one]) for one in (user, tool)]
    assert first[0] != first[1]
    assert [tokenizer.render([one]) for one in (user, tool)] == first
    fresh = ChatTokenizer(byte_level())
    assert [fresh.render([one]) for one in (user, tool)] == first


def test_messages_that_are_cached_take_little_memory() -> None:
    tokenizer = ChatTokenizer(byte_level())
    text = "鱻" * 1000  # three ids each
    tracemalloc.start()
    try:
        rendered = [
            len(tokenizer.render([Message(role="tool", content=f"{i} {text}")])) for i in range(10)
        ]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert min(rendered) > 3000
    assert kept < 10 * (2 * 1000 + 4 * max(rendered) + 2000)


def test_what_is_cached_does_not_change_with_what_was_given() -> None:
    tokenizer = ChatTokenizer(byte_level())
    messages = [Message(role="user", content="Ferries"), Message(role="tool", content="Osprey")]
    first = tokenizer.render(messages)
    expected = list(first)
    first.append(7)
    first[0] = 9
    assert tokenizer.render(messages) == expected
