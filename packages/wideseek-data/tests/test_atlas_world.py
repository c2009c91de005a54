import random

import pytest

from wideseek_core import DataError
from wideseek_data.atlas.wide import (
    Filter,
    Shape,
    Wide,
    passes,
    question,
    questions,
    roundest,
    select,
)
from wideseek_data.atlas.world import (
    Attribute,
    Domain,
    Entity,
    Facet,
    Kind,
    pages_of,
    split_of,
    url_of,
    with_article,
)

LAND = Attribute(
    column="Land", facet=-1, group="in {value}", list_title="Lakes in {value}", ask="the land"
)
DEPTH = Attribute(
    column="Depth",
    facet=1,
    sentences=("Its depth is {value}.",),
    ask="the depth of {entity}",
    kind=Kind.NUMBER,
    above="deeper than {value}",
    below="less deep than {value}",
    most="deepest",
)
WATER = Attribute(
    column="Water", facet=0, sentences=("It holds {value} water.",), group="of {value} water"
)
FACETS = (
    Facet(title="{entity}", lead="{entity} is a lake in {Land}."),
    Facet(title="Depth of {entity}", lead="How deep {entity} is."),
)


def lake(name: str, land: str, depth: str, water: str = "fresh") -> Entity:
    return Entity(name=name, values={"Land": land, "Depth": depth, "Water": water})


LAKES = (
    lake("Ana", "Utter", "12"),
    lake("Bel", "Utter", "1,200", "salt"),
    lake("Cor", "Utter", "300"),
    lake("Dun", "Utter", "45", "salt"),
)


def lakes(*entities: Entity, facets: tuple[Facet, ...] = FACETS) -> Domain:
    return Domain(
        name="lakes",
        key="Lake",
        noun="lake",
        nouns="lakes",
        facets=facets,
        attributes=(LAND, DEPTH, WATER),
        entities=entities or LAKES,
        partition="Land",
    )


def drawn(shape: Shape, seed: int = 0) -> Wide:
    made = (
        question(lakes(), LAND, "Utter", LAKES, shape, random.Random(seed + n)) for n in range(20)
    )
    return next(wide for wide in made if wide is not None)


def test_an_entity_has_a_page_per_facet_and_its_group_a_list() -> None:
    pages = {page.title: page for page in pages_of(lakes())}
    assert pages["Ana"].contents == "Ana is a lake in Utter.\nIt holds fresh water."
    assert pages["Depth of Ana"].body == "Its depth is 12."
    assert pages["Lakes in Utter"].body == "4 entries: Ana; Bel; Cor; Dun."
    assert pages["Lakes in Utter"].url == "atlas:Lakes_in_Utter"


def test_a_facet_of_which_nothing_is_known_has_no_page() -> None:
    quiet = Entity(name="Eli", values={"Land": "Utter", "Water": "fresh"})
    assert [page.title for page in pages_of(lakes(quiet))] == ["Eli"]


def test_a_single_entity_gets_no_list_page() -> None:
    assert lakes(lake("Ana", "Utter", "1")).listed(LAND) == {}


def test_a_group_that_fills_no_page_gets_no_list() -> None:
    many = [lake(f"L{number}", "Utter", "1") for number in range(61)]
    assert lakes(*many).listed(LAND) == {}
    assert len(lakes(*many[:60]).listed(LAND)["Utter"]) == 60


def test_a_lead_that_names_a_missing_column_is_an_error() -> None:
    lost = Entity(name="Eli", values={"Water": "fresh"})
    with pytest.raises(DataError, match="lakes: 'Eli' lacks 'Land'"):
        list(pages_of(lakes(lost)))


def test_a_family_shares_its_splits() -> None:
    assert lakes().split_of(LAKES[0]) == split_of("lakes/Utter")
    domain = Domain(
        name="ponds",
        key="Pond",
        noun="pond",
        nouns="ponds",
        facets=FACETS,
        attributes=(LAND,),
        entities=LAKES,
        partition="Land",
        family="lakes",
    )
    assert domain.split_of(LAKES[0]) == split_of("lakes/Utter")


def test_splits_have_the_stated_shares() -> None:
    drawn = [split_of(f"name {number}") for number in range(4000)]
    assert 0.66 < drawn.count("train") / 4000 < 0.74
    assert 0.08 < drawn.count("dev") / 4000 < 0.12
    assert 0.17 < drawn.count("test") / 4000 < 0.23


def test_addresses_have_underscores() -> None:
    assert url_of("Depth of Ana") == "atlas:Depth_of_Ana"


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (Filter(shape=Shape.GROUP), ["Ana", "Bel", "Cor", "Dun"]),
        (Filter(shape=Shape.BOTH, column="Water", value="salt"), ["Bel", "Dun"]),
        (Filter(shape=Shape.RANGE, column="Depth", value="45"), ["Bel", "Cor"]),
        (Filter(shape=Shape.RANGE, column="Depth", value="300", above=False), ["Ana", "Dun"]),
        (Filter(shape=Shape.TOP, column="Depth", value="2"), ["Bel", "Cor"]),
    ],
)
def test_filters_select(rule: Filter, names: list[str]) -> None:
    assert [entity.name for entity in select(LAKES, rule)] == names


def test_an_unknown_number_is_in_no_range() -> None:
    unknown = Entity(name="Eli", values={})
    assert not passes(unknown, Filter(shape=Shape.RANGE, column="Depth", value="1", above=False))


@pytest.mark.parametrize("shape", list(Shape))
def test_a_question_asks_for_its_table(shape: Shape) -> None:
    wide = drawn(shape)
    header = "| " + " | ".join(("Lake", *wide.columns)) + " |"
    assert wide.task.gold.kind == "table"
    assert wide.task.gold.text.splitlines()[0] == header
    assert wide.task.rows == len(wide.rows) == len(wide.task.gold.text.splitlines()) - 2
    assert "lakes in Utter" in wide.task.question
    assert tuple(select(wide.members, wide.filter)) == wide.rows


def test_the_filter_column_is_no_longer_worth_asking_when_all_share_it() -> None:
    for seed in range(20):
        assert "Water" not in drawn(Shape.BOTH, seed).columns


def test_questions_differ_by_seed_only() -> None:
    one, same, other = (
        [wide.task.question for wide in questions(lakes(), random.Random(seed))]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("low", "high", "bound"),
    [(12, 45, 20), (45, 300, 200), (980, 1020, 1000), (-3, 4, 0), (1.2, 1.4, 1.3), (3, 3, None)],
)
def test_bounds_are_round(low: float, high: float, bound: float | None) -> None:
    assert roundest(low, high) == bound


def test_bounds_between_whole_numbers_are_whole() -> None:
    for seed in range(30):
        assert "." not in drawn(Shape.RANGE, seed).filter.value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Bahamas", "the Bahamas"),
        ("Cook Islands", "the Cook Islands"),
        ("United States", "the United States"),
        ("Peru", "Peru"),
        ("the lanthanides", "the lanthanides"),
    ],
)
def test_names_get_an_article_in_running_text(name: str, text: str) -> None:
    assert with_article(name) == text
