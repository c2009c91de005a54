"""Tables out of page stores that have an overview page for each table and a page for each row.

Overview: `TITLE, section SECTION. It lists N entries by KEY: A; B; C.`
Entry: `A is an entry of TITLE, section SECTION (KEY). COLUMN: cell. COLUMN: cell.`
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from wideseek_core.search import Page
from wideseek_data.tables.build import RawRow, RawTable

_OVERVIEW = re.compile(
    r"(?P<title>.+), section (?P<section>.+?)\. It lists \d+ entries by (?P<key>.+?): .+\.",
    re.DOTALL,
)
_LABEL = re.compile(r"(?:^|(?<=\. ))([^:\n]{1,60}?:?): ")
MIN_SHARE = 0.3
"""Share of a table's rows that state a column; empty cells are not stated."""
MAX_TAIL = 24
"""Characters of a column's name before a full stop, as in `No. in series`."""


def read_entry_pages(pages: Iterable[Page], source: str) -> Iterator[RawTable]:
    """The tables that the pages hold together, in the order of their overview pages."""
    overviews: list[tuple[Page, re.Match[str]]] = []
    entries: dict[tuple[str, str], list[Page]] = {}
    for page in pages:
        match = _OVERVIEW.fullmatch(page.text.strip())
        if match is not None:
            overviews.append((page, match))
        elif " is an entry of " in page.text:
            path, _, fragment = page.url.partition("#")
            entries.setdefault((path.rpartition("/")[0], fragment), []).append(page)
    for page, match in overviews:
        path, _, fragment = page.url.partition("#")
        table = _table(page, match, entries.get((path, fragment), []), source)
        if table is not None:
            yield table


def _table(
    page: Page, match: re.Match[str], entries: Sequence[Page], source: str
) -> RawTable | None:
    title, section, key = match["title"], match["section"], match["key"]
    mark = f" is an entry of {title}, section {section} ({key})."
    stated = [(item.url, *item.text.strip().partition(mark)[::2]) for item in entries]
    stated = [(url, name, rest.strip()) for url, name, rest in stated if rest]
    labels = common_labels([rest for _, _, rest in stated])
    if not labels:
        return None
    rows = [
        RawRow(cells=(name, *split_labels(rest, labels)), url=url) for url, name, rest in stated
    ]
    return RawTable(
        title=title,
        section="" if section == "Table" else section,
        names=(key, *labels),
        rows=tuple(rows),
        url=page.url,
        source=source,
        key=key,
    )


def common_labels(texts: Sequence[str]) -> tuple[str, ...]:
    """The labels that stand in most texts, in the same order: `Year` and `Role`."""
    counts = Counter(label for text in texts for label in set(_LABEL.findall(text)))
    shared = {label for label, count in counts.items() if count >= MIN_SHARE * len(texts)}
    fullest = max(texts, key=lambda text: len(shared & set(_LABEL.findall(text))), default="")
    labels = [label for label in dict.fromkeys(_LABEL.findall(fullest)) if label in shared]
    return tuple(_with_heads(texts, _in_order(texts, labels)))


def _in_order(texts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The labels that come one after another wherever they are."""
    kept: list[str] = []
    places = [-1] * len(texts)
    for label in labels:
        found = [_place(text, label) for text in texts]
        if all(at < 0 or at > before for at, before in zip(found, places, strict=True)):
            kept.append(label)
            places = [max(pair) for pair in zip(found, places, strict=True)]
    return kept


def _place(text: str, label: str) -> int:
    if text.startswith(f"{label}: "):
        return 0
    at = text.find(f". {label}: ")
    return at + 2 if at >= 0 else -1


def _with_heads(texts: Sequence[str], labels: Sequence[str]) -> Iterator[str]:
    """Labels with what stands before a full stop in them: `in series` becomes `No. in series`."""
    having = {label: [text for text in texts if _place(text, label) >= 0] for label in labels}
    for at, label in enumerate(labels):
        tails = {_tail(_before(text, labels[:at], label), whole=at == 0) for text in having[label]}
        tail = tails.pop() if len(tails) == 1 else ""
        yield f"{tail}. {label}" if tail and len(having[label]) > 1 else label


def _before(text: str, earlier: Sequence[str], label: str) -> str:
    """What stands between the label before and this one, without its full stop."""
    end = _place(text, label)
    start = max(
        (at + len(name) + 2 for name in earlier if 0 <= (at := _place(text, name)) < end), default=0
    )
    return text[start:end].rstrip().removesuffix(".")


def _tail(cell: str, *, whole: bool) -> str:
    """The last sentence of what stands before a label, if it can be the label's beginning."""
    _, stop, tail = cell.rpartition(". ")
    if not stop and not whole:
        return ""
    return tail if len(tail) <= MAX_TAIL else ""


def split_labels(text: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The text behind each label, without its full stop; empty where a label is not stated."""
    places = {label: at for label in labels if (at := _place(text, label)) >= 0}
    ends = [*sorted(places.values())[1:], len(text)]
    cells = {
        label: text[at + len(label) + 2 : end].strip().removesuffix(".").strip()
        for (label, at), end in zip(
            sorted(places.items(), key=lambda item: item[1]), ends, strict=True
        )
    }
    return tuple(cells.get(label, "") for label in labels)
