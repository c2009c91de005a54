"""How often plain questions to the index find the right page of the atlas among the first few."""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from wideseek_data import atlas
from wideseek_data.atlas.wide import Wide
from wideseek_data.atlas.world import url_of
from wideseek_tools.config import ToolsConfig
from wideseek_tools.index.build import build_index
from wideseek_tools.index.config import IndexConfig
from wideseek_tools.open import open_tools

RANKS = (1, 3, 5)


def wanted(plan: Wide) -> Iterator[tuple[str, str, str]]:
    """Kind, query and address of what a plan needs: its list, then the facts of two rows."""
    group = plan.group.group.format(value=plan.group_value)
    title = plan.group.list_title.format(value=plan.group_value)
    yield "list page", f"{plan.domain.nouns} {group}", url_of(title)
    for entity in plan.rows[:2]:
        query = f"{entity.name} {' '.join(plan.columns)}"
        facets = {plan.domain.attribute(column).facet for column in plan.columns}
        for facet in sorted(facets):
            yield "fact page", query, url_of(plan.domain.title(entity, facet))


async def measure(limit: int) -> Counter[tuple[str, int]]:
    """Hits by kind and rank; rank 0 counts the queries."""
    found: Counter[tuple[str, int]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        files = atlas.materialize(Path(folder))
        index = Path(folder) / "index"
        build_index(files.corpus, files.pages, index, IndexConfig())
        async with open_tools(ToolsConfig(), index=index) as tools:
            for plan in atlas.load_wide("train", limit=limit):
                for kind, query, url in wanted(plan):
                    hits = [hit.url for hit in await tools.search.search(query, max(RANKS))]
                    found.update([(kind, 0), *((kind, k) for k in RANKS if url in hits[:k])])
    return found


def main() -> None:
    """Prints the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer queries")
    found = asyncio.run(measure(60 if parser.parse_args().quick else 600))
    head = " ".join(f"{f'r@{k}':>6}" for k in RANKS)
    sys.stdout.write(f"{'':10} {'queries':>8} {head}\n")
    for kind in ("list page", "fact page"):
        shares = " ".join(f"{found[kind, k] / found[kind, 0]:6.3f}" for k in RANKS)
        sys.stdout.write(f"{kind:10} {found[kind, 0]:8} {shares}\n")


if __name__ == "__main__":
    main()
