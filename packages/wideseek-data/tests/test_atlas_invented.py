import random
import re

import pytest

from wideseek_data.atlas.chains import chains
from wideseek_data.atlas.invented import invent
from wideseek_data.atlas.lexicon import common_words
from wideseek_data.atlas.wide import Shape, questions, select
from wideseek_data.atlas.world import pages_of

SEEDS = range(40)


def test_a_world_is_drawn_from_its_seed_alone() -> None:
    assert invent(7) == invent(7)
    assert invent(7) != invent(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_titles_are_unique_and_values_are_on_the_page_that_states_them(seed: int) -> None:
    world = invent(seed)
    for domain in (world.things, world.places):
        pages = {page.title: f"{page.lead} {page.body}" for page in pages_of(domain)}
        assert len(pages) == len(list(pages_of(domain)))
        for entity in domain.entities:
            for attribute in domain.attributes:
                if attribute.column in entity.values and not attribute.list_title:
                    text = pages[domain.title(entity, attribute.facet)]
                    assert entity.values[attribute.column] in text


@pytest.mark.parametrize("seed", SEEDS)
def test_questions_ask_for_rows_that_their_filter_selects(seed: int) -> None:
    for wide in questions(invent(seed).things, random.Random(seed)):
        assert list(wide.rows) == select(wide.members, wide.filter)
        assert wide.task.rows == len(wide.rows) >= 2
        if wide.filter.shape is Shape.GROUP:
            assert wide.rows == wide.members
        for column in wide.columns:
            assert column in wide.task.question


def test_chains_end_in_the_answer_and_pass_through_the_place_of_the_thing() -> None:
    world = invent(3)
    for chain in chains(world, random.Random(0), 30):
        assert chain.task.gold.kind == "text"
        assert chain.task.gold.answers == (chain.hops[-1].answer,)
        if len(chain.hops) == 2:
            assert chain.hops[0].answer == chain.hops[1].entity.name


def test_english_words_are_plain_lower_case_and_unique() -> None:
    words = common_words()
    assert len(words) == len(set(words)) > 10_000
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)


def test_worlds_share_next_to_no_names() -> None:
    names = [entity.name for seed in range(60) for entity in invent(seed).things.entities]
    assert len(set(names)) > 0.97 * len(names)


def test_names_and_values_reach_beyond_plain_words() -> None:
    entities = [entity for seed in SEEDS for entity in invent(seed).things.entities]
    names = [entity.name for entity in entities]
    assert any(not name.isascii() and max(map(ord, name)) > 0x17F for name in names)
    assert any(name.endswith(".x") for name in names)
    titles = [facet.title for seed in range(400) for facet in invent(seed).things.facets]
    assert any(re.search(r"\(([A-Z]\.){2,} \w", title) for title in titles)
    squeezed = [
        (re.sub(r"\W", "", entity.name).lower(), [text.lower() for text in entity.values.values()])
        for entity in entities
    ]
    assert any(text == name for name, texts in squeezed for text in texts)
    assert any(text.startswith(f"{name}.") for name, texts in squeezed for text in texts)


def test_columns_are_stated_with_and_without_their_names() -> None:
    stated = [
        (attribute.column.lower(), sentence.lower())
        for seed in range(60)
        for attribute in invent(seed).things.attributes
        for sentence in attribute.sentences
    ]
    named = sum(column in sentence for column, sentence in stated) / len(stated)
    assert 0.7 < named < 0.95
