"""Tables that are to be trained on and measured on are found, whatever they are called."""

from typing import Any

import pytest

from wideseek_core import DataError
from wideseek_data.stored_pages import StoredPage
from wideseek_data.teaching.leaks import check_no_leak
from wideseek_data.teaching.listing import ListedRow, Listing


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({"id": "t-Bee"}, "the id t-Bee"),
        ({"title": "Bee!"}, "the title 'bee', section 'eggs'"),
        ({"question": "List  every entry of BEE."}, "the question list every entry of bee"),
        ({"pages": "Bee"}, r"the page https://wiki\.example/wiki/Bee"),
        ({"rows": "Bee"}, "3 rows"),
        ({"rows": "Bee", "columns": ("Size",)}, "3 rows"),
        ({"rows": "bEE"}, "3 rows"),
        ({"rows": "Cow"}, ""),
        ({}, ""),
    ],
)
def test_a_table_of_both_splits_is_refused_whatever_it_is_called(
    changes: dict[str, Any], shared: str
) -> None:
    bee = listing("Bee")
    values = {name: getattr(listing("Auk"), name) for name in Listing.model_fields}
    for name in ("pages", "rows"):
        if name in changes:
            changes = changes | {name: getattr(listing(changes[name]), name)}
    if "columns" in changes:
        rows = tuple(
            row.model_copy(update={"values": {c: row.values[c] for c in changes["columns"]}})
            for row in changes["rows"]
        )
        changes = changes | {"rows": rows}
    auk = Listing(**(values | changes))
    if not shared:
        check_no_leak([auk], [bee])
        return
    with pytest.raises(DataError, match=f"t-.*, which is to be trained on.*both have {shared}"):
        check_no_leak([listing("Cod"), auk], [listing("Doe"), bee])


def listing(title: str) -> Listing:
    """A table of three rows, the last of which is the same in all tables."""
    url = f"https://wiki.example/wiki/{title}"
    rows = [
        ListedRow(name=f"{title} {n}", url="", values={"Size": f"{title}-size", "Hue": "red"})
        for n in range(2)
    ]
    return Listing(
        id=f"t-{title}",
        title=title,
        section="Eggs",
        key="Name",
        columns=("Size", "Hue"),
        rows=(*rows, ListedRow(name="Total", url="", values={"Size": "3", "Hue": "red"})),
        url=url,
        pages=(StoredPage(url=url, title=title, contents=""),),
        question="" if title != "Bee" else "List every entry of Bee",
    )
