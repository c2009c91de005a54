"""The shipped world keeps its promises."""

from collections import Counter, defaultdict

import pytest

from wideseek_core import TableGold, TextGold
from wideseek_data.atlas import domains, load_chains, load_tasks, load_wide, manifest, pages
from wideseek_data.atlas.chains import Chain
from wideseek_data.atlas.wide import Shape, Wide, select
from wideseek_data.atlas.world import Domain, Entity, Split, WorldPage

SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@pytest.fixture(scope="module")
def by_title() -> dict[str, WorldPage]:
    return {page.title: page for page in pages()}


@pytest.fixture(scope="module")
def wide() -> dict[Split, list[Wide]]:
    return {split: load_wide(split) for split in SPLITS}


@pytest.fixture(scope="module")
def chains() -> dict[Split, list[Chain]]:
    return {split: load_chains(split) for split in SPLITS}


def told_on(pages: dict[str, WorldPage], domain: Domain, entity: Entity, column: str) -> str:
    """The part of a page that must tell a fact."""
    facet = domain.attribute(column).facet
    page = pages[domain.title(entity, facet)]
    return page.lead if facet < 0 else page.body


def test_titles_are_unique(by_title: dict[str, WorldPage]) -> None:
    titles = Counter(page.title for page in pages())
    assert len(titles) == titles.total() == len(by_title)
    assert 12_000 < len(by_title) < 16_000


def test_names_are_unique_within_a_domain() -> None:
    for domain in domains().values():
        names = Counter(entity.name for entity in domain.entities)
        assert names.most_common(1)[0][1] == 1, domain.name


def test_values_fit_into_tables_and_lists() -> None:
    for domain in domains().values():
        for entity in domain.entities:
            for text in (entity.name, *entity.values.values()):
                assert text == text.strip()
                assert text
                assert not set(text) & set("|\n;"), (domain.name, entity.name, text)


def test_every_fact_is_on_its_page(by_title: dict[str, WorldPage]) -> None:
    for domain in domains().values():
        for attribute in domain.attributes:
            for entity in domain.entities:
                value = entity.values.get(attribute.column)
                if value:
                    assert value in told_on(by_title, domain, entity, attribute.column)


def test_leads_do_not_tell_what_bodies_are_for(by_title: dict[str, WorldPage]) -> None:
    leaks = [
        (entity.name, attribute.column)
        for domain in domains().values()
        for attribute in domain.attributes
        if attribute.facet > 0
        for entity in domain.entities
        if len(value := entity.values.get(attribute.column, "")) > 3
        and value in by_title[domain.title(entity, attribute.facet)].lead
        and value not in entity.name  # Vietnam, for Vietnamese
    ]
    assert leaks == []


def test_leads_of_further_pages_say_what_they_tell() -> None:
    for domain in domains().values():
        for attribute in domain.attributes:
            if attribute.facet > 0:
                lead = domain.facets[attribute.facet].lead.lower()
                assert attribute.column.lower() in lead, (domain.name, attribute.column)


def test_plans_are_solvable(by_title: dict[str, WorldPage], wide: dict[Split, list[Wide]]) -> None:
    for plan in (plan for plans in wide.values() for plan in plans):
        listed = by_title[plan.group.list_title.format(value=plan.group_value)]
        names = listed.body.partition(" entries: ")[2].removesuffix(".").split("; ")
        assert names == [entity.name for entity in plan.members]
        assert tuple(select(plan.members, plan.filter)) == plan.rows
        assert 2 <= len(plan.rows) <= 60


def test_gold_tables_are_the_facts(wide: dict[Split, list[Wide]]) -> None:
    for plan in (plan for plans in wide.values() for plan in plans):
        assert isinstance(plan.task.gold, TableGold)
        cells = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in plan.task.gold.text.splitlines()
        ]
        assert cells[0] == [plan.domain.key, *plan.columns]
        assert cells[2:] == [
            [row.name, *(row.values[column] for column in plan.columns)] for row in plan.rows
        ]


def test_splits_share_no_entity(
    wide: dict[Split, list[Wide]], chains: dict[Split, list[Chain]]
) -> None:
    owners: dict[tuple[str, str], set[Split]] = defaultdict(set)
    for split in SPLITS:
        for plan in wide[split]:
            for entity in plan.members:
                owners[plan.domain.name, entity.name].add(split)
        for chain in chains[split]:
            for hop in chain.hops:
                owners[hop.domain.name, hop.entity.name].add(split)
    assert {len(splits) for splits in owners.values()} == {1}
    for (domain, name), splits in owners.items():
        entity = next(item for item in domains()[domain].entities if item.name == name)
        assert splits == {domains()[domain].split_of(entity)}


def test_answers_are_on_the_pages_of_their_hops(
    by_title: dict[str, WorldPage], chains: dict[Split, list[Chain]]
) -> None:
    for chain in (chain for found in chains.values() for chain in found):
        assert 2 <= len(chain.hops) <= 3
        for hop in chain.hops:
            assert hop.answer in told_on(by_title, hop.domain, hop.entity, hop.column)
            assert hop.by_code in by_title[hop.domain.title(hop.entity, 0)].lead
        assert isinstance(chain.task.gold, TextGold)
        assert chain.task.gold.answers == (chain.hops[-1].answer,)


def test_questions_and_ids_are_unique() -> None:
    tasks = [
        *(task for split in SPLITS for task in load_tasks(split)),
        *(task for split in SPLITS for task in load_tasks(split, kind="qa")),
    ]
    for texts in ([task.id for task in tasks], [task.question for task in tasks]):
        assert [text for text, uses in Counter(texts).items() if uses > 1] == []


@pytest.mark.parametrize(("split", "least"), [("train", 400), ("dev", 80), ("test", 150)])
def test_there_are_enough_small_tables_of_all_kinds(split: Split, least: int) -> None:
    small = load_tasks(split, min_rows=3, max_rows=6, max_columns=3)
    assert len(small) >= least
    per_domain = Counter(task.source.partition("/")[0] for task in small)
    assert set(per_domain) == set(domains())
    assert max(per_domain.values()) < 0.25 * len(small)
    assert {task.source.partition("/")[2] for task in small} == set(Shape)


def test_pages_name_known_sources() -> None:
    assert {page.source for page in pages()} == set(manifest().sources)
