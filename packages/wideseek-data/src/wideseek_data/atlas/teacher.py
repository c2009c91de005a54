"""A scripted agent that answers planned questions by honest search and reading.

It plays lead, subagent and single agent on any world of `world.py`, through the real loop and
tools. What it writes rests on what the conversation shows: a fact that no opened page states is
`unknown`. Its runs are the demonstrations of the supervised warm-up.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from wideseek_core import Message, TableGold, ToolSpec
from wideseek_data.atlas.absent import Absent
from wideseek_data.atlas.chains import Chain, Hop
from wideseek_data.atlas.wide import Shape, Wide
from wideseek_data.atlas.world import Domain, Entity, url_of

UNKNOWN = "unknown"
NO_SOURCE = "No page that was read answers this question."
"""The lead's answer where nothing was found."""

Plan: TypeAlias = Wide | Chain | Absent


@dataclass(frozen=True, slots=True, kw_only=True)
class LookUp:
    """A subtask: facts of one entity."""

    domain: Domain
    entity: Entity
    columns: tuple[str, ...]
    by_code: str = ""

    @property
    def prompt(self) -> str:
        """How the lead words it."""
        if self.by_code:
            return f"{self.columns[0]} of the {self.domain.noun} with the code {self.by_code}"
        return f"{self.entity.name}: {', '.join(self.columns)}"

    def query(self, attempt: int) -> str:
        """What to search for; the second try names the entity alone."""
        if self.by_code:
            return f"{self.domain.noun} {self.by_code}" if attempt == 0 else self.by_code
        return f"{self.entity.name} {' '.join(self.columns)}" if attempt == 0 else self.entity.name

    def pages(self) -> dict[str, str]:
        """The address of the page that tells each column."""
        return {
            column: url_of(self.domain.title(self.entity, self.domain.attribute(column).facet))
            for column in self.columns
        }

    def is_lead(self, column: str) -> bool:
        """Whether search results already show the column."""
        return self.domain.attribute(column).facet < 0

    def own_pages(self) -> set[str]:
        """The addresses of all the entity's pages."""
        count = len(self.domain.facets)
        return {url_of(self.domain.title(self.entity, facet)) for facet in range(count)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A subtask: the members of a group."""

    wide: Wide

    @property
    def what(self) -> str:
        """`cities in Peru`."""
        group = self.wide.group.group.format(value=self.wide.group_value)
        return f"{self.wide.domain.nouns} {group}"

    @property
    def prompt(self) -> str:
        """How the lead words it."""
        return f"List the {self.what}"

    @property
    def title(self) -> str:
        """The list page's title."""
        return self.wide.group.list_title.format(value=self.wide.group_value)

    @property
    def url(self) -> str:
        """The list page's address."""
        return url_of(self.title)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What an agent has seen and done, read off its messages."""

    shown: str
    """All tool messages."""
    said: str
    """All assistant turns."""
    calls: int
    """Assistant turns so far."""
    opened: str
    """The assistant turns that called `access`."""

    def searched(self, query: str) -> bool:
        """Whether the agent has sent this query."""
        return json.dumps(query, ensure_ascii=False) in self.said

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Transcript":
        """The transcript of a conversation."""
        said = [item.content for item in messages if item.role == "assistant"]
        results = [item.content for item in messages if item.role == "tool"]
        return cls(
            shown="\n".join(results),
            said="\n".join(said),
            calls=len(said),
            opened="\n".join(text for text in said if '"access"' in text),
        )


class Teacher:
    """Answers the questions of its plans. `respond` fits a scripted policy."""

    def __init__(self, plans: Sequence[Plan], *, max_subagents: int = 10) -> None:
        self._plans: Mapping[str, Plan] = {plan.task.question: plan for plan in plans}
        self._max_subagents = max_subagents

    def respond(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        """The next assistant turn of whichever agent speaks."""
        names = {tool.name for tool in tools}
        user = next(item.content for item in messages if item.role == "user")
        plan = self._plan(user)
        seen = Transcript.of(messages)
        if isinstance(plan, Absent):
            return _absent_turn(plan, tools, seen)
        if "create_sub_agents" in names:
            return self._lead(plan, seen)
        lists = [Listing(wide=plan)] if isinstance(plan, Wide) else []
        many = _takes_many(tools)
        for listing in lists:
            if listing.prompt in user:
                return _list_turn(listing, seen, many) or _members_line(listing, seen)
        for subtask in _subtasks(plan):
            if _asked_for(subtask, user):
                return _look_up_turn(subtask, seen, many) or _facts_line(subtask, seen)
        return self._single(plan, seen)

    def _plan(self, user: str) -> Plan:
        found = [plan for question, plan in self._plans.items() if question in user]
        return max(found, key=lambda plan: len(plan.task.question))

    def _lead(self, plan: Wide | Chain, seen: Transcript) -> str:
        if isinstance(plan, Chain):
            if seen.calls < len(plan.hops):
                return _delegate([_subtasks(plan)[seen.calls].prompt])
            return _boxed(plan, seen.shown)
        if seen.calls == 0:
            return _delegate([Listing(wide=plan).prompt])
        listed = [item for item in _subtasks(plan) if item.entity.name in seen.shown]
        done = (seen.calls - 1) * self._max_subagents
        if done < len(listed):
            return _delegate([item.prompt for item in listed[done : done + self._max_subagents]])
        return _table(plan, seen.shown)

    def _single(self, plan: Wide | Chain, seen: Transcript) -> str:
        if isinstance(plan, Wide):
            turn = _list_turn(Listing(wide=plan), seen, many=False)
            if turn:
                return turn
        for subtask in _subtasks(plan):
            if isinstance(plan, Wide) and subtask.entity.name not in seen.shown:
                continue
            turn = _look_up_turn(subtask, seen, many=False)
            if turn:
                return turn
        return _boxed(plan, seen.shown) if isinstance(plan, Chain) else _table(plan, seen.shown)


def _absent_turn(plan: Absent, tools: Sequence[ToolSpec], seen: Transcript) -> str:
    """Two searches that bring nothing, and then the admission of it."""
    wide = isinstance(plan.task.gold, TableGold)
    final = NO_SOURCE if wide else f"\\boxed{{{UNKNOWN}}}"
    if any(tool.name == "create_sub_agents" for tool in tools):
        return final if seen.calls else _delegate([plan.asked])
    many = _takes_many(tools)
    for query in plan.queries:
        if not seen.searched(query):
            return _search(query, many)
    return UNKNOWN if many else final


def _subtasks(plan: Wide | Chain) -> list[LookUp]:
    if isinstance(plan, Chain):
        return [_of_hop(hop) for hop in plan.hops]
    columns = list(plan.columns)
    if plan.filter.column and plan.filter.column not in columns:
        columns.append(plan.filter.column)
    return [
        LookUp(
            domain=plan.domain,
            entity=member,
            columns=tuple(columns),
        )
        for member in plan.members
    ]


def _of_hop(hop: Hop) -> LookUp:
    return LookUp(domain=hop.domain, entity=hop.entity, columns=(hop.column,), by_code=hop.by_code)


def _asked_for(subtask: LookUp, user: str) -> bool:
    return any(line.endswith(subtask.prompt) for line in user.splitlines())


def _takes_many(tools: Sequence[ToolSpec]) -> bool:
    """Whether search takes a list of queries (subagents) or one (single agent)."""
    search = next(tool for tool in tools if tool.name == "search")
    return "queries" in json.dumps(search.parameters)


def _call(name: str, arguments: object) -> str:
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def _delegate(prompts: Sequence[str]) -> str:
    return _call("create_sub_agents", {"sub_agents": [{"prompt": text} for text in prompts]})


def _search(query: str, many: bool) -> str:
    return _call("search", {"queries": [{"query": query}]} if many else {"query": query})


def _access(urls: Sequence[str], many: bool) -> str:
    if many:
        return _call("access", {"urls": [{"url": url} for url in urls]})
    return _call("access", {"url": urls[0]})


def _list_turn(listing: Listing, seen: Transcript, many: bool) -> str:
    """The next call that brings the list, or nothing if it is there (or can't be had)."""
    if _has(seen.opened, listing.url):
        return ""
    if _has(seen.shown, listing.url):
        return _access([listing.url], many)
    for query in (listing.what, listing.title):
        if not seen.searched(query):
            return _search(query, many)
    return ""


def _members_line(listing: Listing, seen: Transcript) -> str:
    names = [member.name for member in listing.wide.members if member.name in seen.shown]
    return "; ".join(names) or UNKNOWN


def _look_up_turn(subtask: LookUp, seen: Transcript, many: bool) -> str:
    """The next call that brings a missing fact, or nothing if all is there (or can't be had)."""
    pages = subtask.pages()
    missing = [column for column in subtask.columns if not _known(subtask, column, seen)]
    if not missing:
        return ""
    wanted = _openable(subtask, missing, pages, seen)
    if wanted:
        return _access(wanted, many)
    for query in (subtask.query(0), subtask.query(1)):
        if not seen.searched(query):
            return _search(query, many)
    return ""


def _openable(
    subtask: LookUp, missing: Sequence[str], pages: Mapping[str, str], seen: Transcript
) -> list[str]:
    """Shown but unopened pages worth opening.

    If the leads say what a page is about, just the right ones; else every page of the entity.
    """
    right = [
        url
        for url in dict.fromkeys(pages[column] for column in missing if not subtask.is_lead(column))
        if _has(seen.shown, url) and not _has(seen.opened, url)
    ]
    right.sort(key=lambda url: _place(seen.shown, url))
    if not right:
        return []
    facets = {subtask.domain.attribute(column).facet for column in missing}
    stated = all(facet <= 0 or missing_hint(subtask.domain, facet, missing) for facet in facets)
    if stated:
        return right
    return [
        url
        for url in sorted(subtask.own_pages(), key=lambda url: _place(seen.shown, url))
        if _has(seen.shown, url) and not _has(seen.opened, url)
    ]


def missing_hint(domain: Domain, facet: int, columns: Sequence[str]) -> bool:
    """Whether a facet's lead names each of the columns that it tells."""
    lead = domain.facets[facet].lead.lower()
    return all(
        column.lower() in lead for column in columns if domain.attribute(column).facet == facet
    )


def _known(subtask: LookUp, column: str, seen: Transcript) -> bool:
    """Whether the right place is shown (a lead in results, an opened page) and says the value."""
    place = seen.shown if subtask.is_lead(column) else seen.opened
    value = subtask.entity.values.get(column, "")
    return _has(place, subtask.pages()[column]) and bool(value) and value in seen.shown


def _facts_line(subtask: LookUp, seen: Transcript) -> str:
    facts = {
        column: subtask.entity.values[column] if _known(subtask, column, seen) else UNKNOWN
        for column in subtask.columns
    }
    return "; ".join(f"{column}: {value}" for column, value in facts.items())


def _has(text: str, url: str) -> bool:
    return _place(text, url) >= 0


def _place(text: str, url: str) -> int:
    """Where an address is in a text, not as the start of a longer one; -1 if nowhere."""
    start = text.find(url)
    while start >= 0:
        after = text[start + len(url) : start + len(url) + 1]
        if not after or after in '\n >",;)':
            return start
        start = text.find(url, start + 1)
    return -1


def _boxed(plan: Chain, shown: str) -> str:
    answer = plan.hops[-1].answer
    return f"\\boxed{{{answer if answer in shown else UNKNOWN}}}"


def _table(plan: Wide, shown: str) -> str:
    rows = [row for row in plan.rows if row.name in shown]
    if plan.filter.shape is not Shape.TOP:
        rows = [member for member in plan.members if member in rows]
    lines = [[plan.domain.key, *plan.columns], ["---"] * (len(plan.columns) + 1)]
    lines += [[row.name, *(_cell(row, column, shown) for column in plan.columns)] for row in rows]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"```markdown\n{body}\n```"


def _cell(row: Entity, column: str, shown: str) -> str:
    value = row.values.get(column, "-")
    return value if value in shown else "-"
