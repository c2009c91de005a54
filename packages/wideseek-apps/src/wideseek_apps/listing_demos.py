"""Demonstrations on listings: invented ones, and real ones that may be trained on.

Each has a small world of its own, searched in memory, with other listings beside it.
"""

import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from wideseek_agents import PromptSet, Team, TeamConfig
from wideseek_agents.policies.scripted import Respond
from wideseek_apps.sft_config import DemosConfig
from wideseek_core import Document, Episode, Policy
from wideseek_data.teaching.invented_listings import invent_listings
from wideseek_data.teaching.listing import Listing
from wideseek_data.teaching.listing_teacher import ListingTeacher
from wideseek_data.teaching.wikitables import read_listings
from wideseek_tools.backends.memory import MemoryPages, MemorySearch
from wideseek_tools.passages import first_words

PASSAGE_WORDS = 100
"""Words of a page that a search shows, as in an index of pages."""
NEIGHBOURS = 4
"""Other real listings in the world of one."""


async def demonstrate_listing(
    seed: int,
    config: DemosConfig,
    team: TeamConfig,
    prompts: PromptSet,
    policy: Callable[[Respond], Policy],
) -> Episode:
    """The teacher's episode on the listing world of a seed."""
    rng = random.Random(f"listing {seed}")
    listings = _world(seed, rng, config)
    described = listings[1:] if rng.random() < config.absent_share else listings
    alone = len(listings[0].rows) <= config.single_rows and rng.random() < config.single_share
    workflow = "single_agent" if alone else "multi_agent"
    chosen = team.model_copy(update={"workflow": workflow})
    return await answer_listing(listings[0], described, chosen, prompts, policy)


async def answer_listing(
    asked: Listing,
    described: Sequence[Listing],
    team: TeamConfig,
    prompts: PromptSet,
    policy: Callable[[Respond], Policy],
) -> Episode:
    """The teacher's episode in a world that has the pages of the listings that are described."""
    pages = [page for listing in described for page in listing.pages]
    search = MemorySearch(
        Document(url=page.url, title=page.title, text=first_words(page.contents, PASSAGE_WORDS))
        for page in pages
    )
    store = MemoryPages(page.page for page in pages)
    teacher = ListingTeacher(asked, max_subagents=team.lead.requests_per_call)
    agents = Team(team, policy(teacher.respond), search, store, prompts=prompts)
    return await agents.run(asked.task)


def _world(seed: int, rng: random.Random, config: DemosConfig) -> Sequence[Listing]:
    """The listings of a world; the first one is asked about."""
    if config.listings is None or rng.random() >= config.real_share:
        return invent_listings(seed)
    real = _real_listings(config.listings)
    fitting = [one for one in real if len(one.rows) <= config.max_members] or list(real)
    asked = rng.choice(fitting)
    others = rng.sample(real, min(NEIGHBOURS, len(real)))
    return [asked, *(one for one in others if one.id != asked.id)]


@cache
def _real_listings(path: Path) -> tuple[Listing, ...]:
    """The listings of a file. Raises `DataError` naming the line that is at fault."""
    return tuple(read_listings(path))
