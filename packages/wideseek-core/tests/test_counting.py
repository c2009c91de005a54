import pytest

from wideseek_core.counting import counted, name_of


@pytest.mark.parametrize(
    ("number", "thing", "text"),
    [
        (0, "node", "0 nodes"),
        (1, "node", "1 node"),
        (2, "node", "2 nodes"),
        (1, "process", "1 process"),
        (2, "process", "2 processes"),
        (3, "search", "3 searches"),
        (1, "unreadable reply", "1 unreadable reply"),
        (0, "unreadable reply", "0 unreadable replies"),
        (2, "key", "2 keys"),
        (2, "mask entry", "2 mask entries"),
        (2, "epoch", "2 epochs"),
        (5, "GPU", "5 GPUs"),
    ],
)
def test_one_thing_is_named_otherwise_than_several(number: int, thing: str, text: str) -> None:
    assert counted(number, thing) == text


def test_other_plurals_and_other_numbers() -> None:
    assert counted(1, "page read", "pages read") == "1 page read"
    assert counted(2, "page read", "pages read") == "2 pages read"
    assert counted(1234, "rollout", form=",") == "1,234 rollouts"
    assert (name_of(1, "token"), name_of(12, "token")) == ("token", "tokens")
