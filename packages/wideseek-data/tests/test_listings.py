"""Listings: what pages tell, what may be trained on, and what the teacher writes."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from wideseek_core import CorruptFile, DataError, Message, Role, TableGold, ToolSpec
from wideseek_core.tables import parse_table
from wideseek_data.tables.values import normalized
from wideseek_data.teaching.invented_listings import invent_listings, invent_worlds
from wideseek_data.teaching.listing import ListedRow, Listing
from wideseek_data.teaching.listing_layouts import WHOLE
from wideseek_data.teaching.listing_teacher import ListingTeacher
from wideseek_data.teaching.names_layouts import HELD_OUT_NAMED, NAMED, Entry, Named, can_run
from wideseek_data.teaching.values_layouts import HELD_OUT_STATED, STATED
from wideseek_data.teaching.wikitables import Split, read_wikitables

SINGLE = (
    ToolSpec(name="search", description="", parameters={"properties": {"query": {}}}),
    ToolSpec(name="access", description="", parameters={}),
)
LEAD = (ToolSpec(name="create_sub_agents", description="", parameters={}),)
SUBAGENT = (
    ToolSpec(name="search", description="", parameters={"properties": {"queries": {}}}),
    ToolSpec(name="access", description="", parameters={}),
)


def write_wikitables(folder: Path, splits: dict[str, str]) -> Path:
    """A folder in the layout of the data, with one table of two rows for each name."""
    pages, tasks, lines = list[object](), list[object](), list[object]()
    for title, split in splits.items():
        base = f"https://wiki.example/wiki/{title}"
        urls = [f"{base}#Birds", f"{base}/Rail#Birds", f"{base}/Tern#Birds"]
        listed = f"{title}, section Birds. It lists 2 entries by Name: Rail; Tern."
        texts = [listed] + [
            f"{name} is an entry of {title}, section Birds (Name). Eggs: {title}{eggs}."
            for name, eggs in (("Rail", 3), ("Tern", 5))
        ]
        titles = [f"{title}: Birds", f"Rail ({title})", f"Tern ({title})"]
        for url, name, text in zip(urls, titles, texts, strict=True):
            pages.append({"url": url, "title": name, "contents": text})
        question = (
            f'List every entry of "{title}", section "Birds". For each entry give Name, Eggs.'
        )
        answer = f"| Name | Eggs |\n| --- | --- |\n| Rail | {title}3 |\n| Tern | {title}5 |"
        tasks.append({"instance_id": f"t-{title}", "question": question, "answer": answer})
        lines.append({"source": title, "split": split, "wide": f"t-{title}", "pages": urls})
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("pages", pages), ("wide_dev", tasks), ("splits", lines)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    return folder


@pytest.mark.parametrize(("split", "expected"), [("train", ["A", "C"]), ("evaluation", ["B"])])
def test_only_tables_of_the_split_are_read(
    tmp_path: Path, split: Split, expected: list[str]
) -> None:
    folder = write_wikitables(tmp_path, {"A": "train", "B": "evaluation", "C": "train"})
    listings = read_wikitables(folder, split)
    assert [listing.title for listing in listings] == expected
    first = listings[0]
    assert [row.values["Eggs"] for row in first.rows] == [f"{expected[0]}3", f"{expected[0]}5"]
    assert first.rows[1].url == first.pages[2].url
    text = " ".join(page.contents for listing in listings for page in listing.pages)
    others = {"A", "B", "C"} - set(expected)
    assert not any(f"{title}3" in text for title in others)


def test_what_is_wrong_with_the_files_is_named(tmp_path: Path) -> None:
    folder = write_wikitables(tmp_path, {"A": "evaluation"})
    with pytest.raises(DataError, match="'train'"):
        read_wikitables(folder, "train")
    (folder / "wide_dev.jsonl").write_text("")
    with pytest.raises(CorruptFile, match=r"splits\.jsonl:1"):
        read_wikitables(folder, "evaluation")


@pytest.mark.skipif("WIDESEEK_DATA" not in os.environ, reason="needs the wikitables data")
def test_the_splits_of_the_real_tables_share_nothing() -> None:
    folder = Path(os.environ["WIDESEEK_DATA"]) / "wikitables"
    train, held_out = (read_wikitables(folder, split) for split in ("train", "evaluation"))
    assert (len(train), len(held_out)) == (395, 305)
    pages = {page.url for listing in train for page in listing.pages}
    assert not pages & {page.url for listing in held_out for page in listing.pages}
    for listing in (*train, *held_out):
        assert all(row.url for row in listing.rows)


def test_the_pages_of_an_invented_listing_tell_its_values() -> None:
    for seed in range(60):
        listings = invent_listings(seed)
        asked = listings[0]
        assert invent_listings(seed) == listings
        texts = {page.url: page.contents for page in asked.pages}
        for row in asked.rows:
            assert row.name in texts[asked.url]
            for value in row.values.values():
                assert value in texts[row.url].replace("\\|", "|")
        gold = asked.task.gold
        assert isinstance(gold, TableGold)
        table = parse_table(gold.text)
        assert table is not None
        assert len(table.rows) == len(asked.rows)


NAMES_LOOK = {
    "sentence": "by Island: Oo; Pi.",
    "dashes": "\n- Oo\n- Pi",
    "stars": "\n* Oo\n* Pi",
    "dots": "\n• Oo\n• Pi",
    "lines": "\nOo\nPi",
    "numbered": "\n1. Oo\n2. Pi",
    "parentheses": "\n1) Oo\n2) Pi",
    "run": "\nOo and Pi.",
    "column": "| Island |\n| --- |\n| Oo |\n| Pi |",
    "table": "| Oo | small |\n| Pi | far |",
    "headings": "### Oo\nsmall\n\n### Pi\nfar",
    "remarks": "- Oo — small\n- Pi — far",
    "linked": "* [Oo](Oo)\n* [Pi](Pi)",
    "lettered": "\na) Oo\nb) Pi",
}
VALUES_LOOK = {
    "sentence": "Oo lies here. Area: 3. Birds: 9.",
    "prose": "The Area of Oo is 3. The Birds of Oo is 9.",
    "story": "Its Area is 3, as far as is known. 9 is the Birds.",
    "box": "Oo\nArea   3\nBirds  9\nOo lies here.",
    "infobox": "| name = Oo\n| Area = 3\n| Birds = 9\n}}",
    "bullets": "\n- Area: 3\n- Birds: 9",
    "bold": "\n**Area:** 3\n**Birds:** 9",
    "lines": "\nArea: 3\nBirds: 9",
    "equals": "\nArea = 3\nBirds = 9",
    "definitions": "\nArea\n: 3\nBirds\n: 9",
    "row": "|  | Area | Birds |\n| --- | --- | --- |\n| Oo | 3 | 9 |",
    "cells": "|  | Oo |\n| --- | --- |\n| Area | 3 |\n| Birds | 9 |",
    "arrows": "\nArea -> 3\nBirds -> 9",
    "clause": "\nOo has Area 3; Birds 9.",
}


def test_each_layout_looks_as_its_name_says() -> None:
    entries = [
        Entry(name="Oo", url="https://w.example/Nom/Oo#Islands", remark="small"),
        Entry(name="Pi", url="https://w.example/Nom/Pi#Islands", remark="far"),
    ]
    page = Named(opening="Lake Nom.", key="Island", entries=entries)
    assert NAMES_LOOK.keys() == NAMED.keys()
    for name, look in NAMES_LOOK.items():
        assert look in NAMED[name](page), name
    assert VALUES_LOOK.keys() == STATED.keys()
    for name, look in VALUES_LOOK.items():
        assert look in STATED[name]("Oo lies here.", "Oo", [("Area", "3"), ("Birds", "9")]), name


def test_invented_listings_have_pages_of_all_layouts_but_those_held_out() -> None:
    listings = [one for seed in range(120) for one in invent_listings(seed)]
    names = Counter(one.names_layout for one in listings)
    values = Counter(one.values_layout for one in listings)
    assert set(names) == NAMED.keys() - set(HELD_OUT_NAMED) | WHOLE.keys()
    assert set(values) == STATED.keys() - set(HELD_OUT_STATED) | WHOLE.keys()
    assert min((names + values).values()) >= 8, "none is rare"
    for counts in (names, values):
        assert counts["sentence"] <= len(listings) / 4


def test_listings_to_measure_on_have_held_out_layouts_alone() -> None:
    listings = [one for seed in range(30) for one in invent_listings(seed, "test")]
    assert {one.names_layout for one in listings} == set(HELD_OUT_NAMED)
    assert {one.values_layout for one in listings} == set(HELD_OUT_STATED)


def test_worlds_to_search_in_together_share_no_title() -> None:
    taken = {"basin"}
    worlds = [*invent_worlds(60, "test", taken), *invent_worlds(60, "train", taken)]
    assert len(worlds) == 120
    titles = [{normalized(one.title) for one in world} for world in worlds]
    assert sum(map(len, titles)) == len(set[str]().union(*titles))
    pages = [page.url for world in worlds for one in world for page in one.pages]
    assert len(pages) == len(set(pages))
    first = worlds[0][0].title
    again = invent_worlds(1, "test", {normalized(first)})
    assert again[0] == worlds[1]
    demonstrated = {one.title for seed in range(60) for one in invent_listings(seed)}
    assert not demonstrated & {one.title for world in worlds for one in world}


def test_titles_openings_and_surroundings_vary() -> None:
    found = Counter[str]()
    for seed in range(150):
        asked = invent_listings(seed)[0]
        found["without sections"] += not asked.section
        found["text before"] += "\n\n" in asked.pages[0].contents.partition(asked.title)[0]
        assert asked.title in asked.task.question
        assert asked.section in asked.task.question
        found["usual question"] += asked.task.question.startswith("List every entry of")
        found["question in other words"] += not asked.task.question.startswith("List every entry")
        found["a world of its own"] += len(invent_listings(seed)) == 1
        for page, row in zip(asked.pages[1:], asked.rows, strict=False):
            found["name alone as title"] += page.title == row.name
            found["no title"] += not page.title
            found["usual title"] += page.title == f"{row.name} ({asked.title})"
            found["usual opening"] += f"{row.name} is an entry of {asked.title}" in page.contents
            found["values not asked for"] += len(row.values) > len(asked.columns)
            found["listing not named"] += asked.title not in page.contents
    assert all(count >= 20 for count in found.values()), found


def test_names_with_commas_are_not_run_together() -> None:
    assert can_run(["Oo", "Pi"])
    assert not can_run(["Oo, the small", "Pi"])
    assert not can_run(["Oo and Pi", "Rho"])
    for seed in range(200):
        for listing in invent_listings(seed):
            if listing.names_layout == "run":
                assert can_run([row.name for row in listing.rows])


def test_some_invented_listings_lack_values_pages_or_a_whole_column() -> None:
    lacking = Counter[str]()
    for seed in range(300):
        asked = invent_listings(seed)[0]
        pages = {page.url for page in asked.pages}
        stated = {column for row in asked.rows for column in row.values}
        unstated = set(asked.columns) - stated
        lacking["a row's page"] += any(row.url not in pages for row in asked.rows)
        lacking["a column"] += bool(unstated)
        lacking["a value"] += any(
            stated & set(asked.columns) - set(row.values) for row in asked.rows
        )
        text = "\n".join(page.contents for page in asked.pages)
        if unstated and stated:
            assert not any(f"{column}:" in text for column in unstated)
            place = [asked.key, *asked.columns].index(min(unstated))
            assert all(asked.cells(row)[place] == "-" for row in asked.rows)
    assert all(count >= 5 for count in lacking.values()), lacking


def test_a_column_that_no_page_tells_is_demonstrated_as_missing() -> None:
    teacher = ListingTeacher(LISTING.model_copy(update={"columns": ("Area", "Captain")}))
    known = [("assistant", "x"), ("tool", "Oo"), ("assistant", "y")]
    reports = ("tool", "Look up Oo\nArea: 3; Captain: unknown")
    assert "| Oo | 3 | - |" in teacher.respond(say(*known, reports), LEAD)


LISTING = Listing(
    id="a",
    title="Lake Nom",
    section="Islands",
    key="Island",
    columns=("Area", "Birds"),
    rows=(
        ListedRow(
            name="Oo", url="https://w.example/Lake_Nom/Oo", values={"Area": "3", "Birds": "9"}
        ),
        ListedRow(name="Pi", url="https://w.example/Lake_Nom/Pi", values={"Area": "4"}),
    ),
    url="https://w.example/Lake_Nom",
    pages=(),
)


FIND = 'List the entries of "Lake Nom", section "Islands"'


def say(*turns: tuple[str, str]) -> list[Message]:
    return [
        Message(role=cast(Role, role), content=content)
        for role, content in (("user", LISTING.task.question), *turns)
    ]


def test_a_lead_delegates_the_list_then_the_entries_then_writes_what_was_reported() -> None:
    teacher = ListingTeacher(LISTING, max_subagents=1)
    first = teacher.respond(say(), LEAD)
    assert 'List the entries of \\"Lake Nom\\", section \\"Islands\\"' in first
    known = [("assistant", first), ("tool", "Oo; Pi")]
    second = teacher.respond(say(*known), LEAD)
    assert "Look up Oo" in second
    assert "Look up Pi" not in second
    known += [("assistant", second), ("tool", "Look up Oo\nArea: 3; Birds: unknown")]
    third = teacher.respond(say(*known), LEAD)
    assert "Look up Pi" in third
    known += [("assistant", third), ("tool", "Look up Pi\nArea: 4; Birds: unknown")]
    last = teacher.respond(say(*known), LEAD)
    assert "| Oo | 3 | - |\n| Pi | 4 | - |" in last


def test_a_lead_that_hears_of_no_entry_gives_an_empty_table() -> None:
    teacher = ListingTeacher(LISTING)
    answer = teacher.respond(say(("assistant", "x"), ("tool", "unknown")), LEAD)
    table = parse_table(answer.replace("```markdown", "").replace("```", ""))
    assert table is not None
    assert (table.columns, table.rows) == (("Island", "Area", "Birds"), ())


def test_a_subagent_reads_a_page_and_reports_no_more_than_it_says() -> None:
    teacher = ListingTeacher(LISTING)
    asked = [Message(role="user", content="Question: x\nSubtask: Look up Pi\nTurn 1 of 6.")]
    search = teacher.respond(asked, SUBAGENT)
    assert "Pi Lake Nom" in search
    shown = "[1] https://w.example/Lake_Nom/Pi\nPi is an island ..."
    asked += [Message(role="assistant", content=search), Message(role="tool", content=shown)]
    access = teacher.respond(asked, SUBAGENT)
    assert "https://w.example/Lake_Nom/Pi" in access
    asked += [Message(role="assistant", content=access), Message(role="tool", content="Area: 4.")]
    assert teacher.respond(asked, SUBAGENT) == "Area: 4; Birds: unknown"


def test_the_page_of_names_is_opened_from_the_address_of_an_entry() -> None:
    asked = [Message(role="user", content="Question: x\nSubtask: " + FIND)]
    search = ListingTeacher(LISTING).respond(asked, SUBAGENT)
    shown = "[1] https://w.example/Lake_Nom/Pi\nPi is an island ..."
    asked += [Message(role="assistant", content=search), Message(role="tool", content=shown)]
    access = ListingTeacher(LISTING).respond(asked, SUBAGENT)
    assert json.loads(access.splitlines()[1]) == {
        "name": "access",
        "arguments": {"urls": [{"url": "https://w.example/Lake_Nom"}]},
    }
    elsewhere = LISTING.model_copy(update={"url": "https://w.example/Islands"})
    second = ListingTeacher(elsewhere).respond(asked, SUBAGENT)
    assert '"search"' in second
    assert second != search


def test_a_single_agent_asks_for_one_result_of_an_entry_and_then_for_more() -> None:
    asked = say(("assistant", '"access" "https://w.example/Lake_Nom"'), ("tool", "Oo; Pi"))
    requests: list[dict[str, object]] = []
    for _ in range(2):
        call = ListingTeacher(LISTING).respond(asked, SINGLE)
        requests.append(json.loads(call.splitlines()[1])["arguments"])
        asked += [Message(role="assistant", content=call), Message(role="tool", content="-")]
    assert requests == [{"query": "Oo Lake Nom", "count": 1}, {"query": "Oo Islands"}]


def test_a_single_agent_asks_for_more_at_once_where_it_has_one_query_alone() -> None:
    listing = LISTING.model_copy(update={"section": LISTING.title})
    asked = say(("assistant", '"access" "https://w.example/Lake_Nom"'), ("tool", "Oo; Pi"))
    call = ListingTeacher(listing).respond(asked, SINGLE)
    assert json.loads(call.splitlines()[1])["arguments"] == {"query": "Oo Lake Nom"}


def test_a_subagent_that_finds_nothing_says_unknown() -> None:
    teacher = ListingTeacher(LISTING)
    asked = [Message(role="user", content="Subtask: Look up Oo")]
    for _ in range(2):
        asked += [
            Message(role="assistant", content=teacher.respond(asked, SUBAGENT)),
            Message(role="tool", content="no results"),
        ]
    assert teacher.respond(asked, SUBAGENT) == "Area: unknown; Birds: unknown"
