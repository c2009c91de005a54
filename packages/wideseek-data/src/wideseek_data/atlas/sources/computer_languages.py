"""Programming languages, markup and configuration formats that Pygments can highlight."""

from urllib.parse import urlsplit

from wideseek_data.atlas.sources.text import known, package, plain, unique
from wideseek_data.atlas.world import Attribute, Domain, Entity, Facet, Kind

FACETS = (
    Facet(
        title="{entity} (computer language)",
        lead="{entity} is a computer language or file format. "
        "This page names its family and website.",
    ),
    Facet(
        title="Files in {entity}",
        lead="Files written in {entity}: file name and media type.",
    ),
    Facet(
        title="Highlighting of {entity}",
        lead="{entity} in the highlighter Pygments: short name, lexer class and Pygments version.",
    ),
)

ATTRIBUTES = (
    Attribute(
        column="Family",
        facet=0,
        sentences=(
            "It is counted among the {value}.",
            "It belongs with the {value}.",
            "Pygments keeps it among the {value}.",
        ),
        ask="the family of {entity}",
        group="among the {value}",
        list_title="List of {value}",
    ),
    Attribute(
        column="Website",
        facet=0,
        sentences=(
            "Its website is {value}.",
            "More is told on the website {value}.",
            "The website {value} documents it.",
        ),
        ask="the website of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="File name",
        facet=1,
        sentences=(
            "Its files are usually named {value}.",
            "The usual file name is {value}.",
            "Editors recognise it by the file name {value}.",
        ),
        ask="the usual file name pattern of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Media type",
        facet=1,
        sentences=(
            "The media type is {value}.",
            "Servers send such files with the media type {value}.",
        ),
        ask="the media type of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Short name",
        facet=2,
        sentences=(
            "Its short name is {value}.",
            "On the command line it is selected by the short name {value}.",
        ),
        ask="the short name of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Lexer class",
        facet=2,
        sentences=("The lexer class is {value}.", "It is read by the lexer class {value}."),
        ask="the lexer class of {entity}",
        kind=Kind.CODE,
    ),
    Attribute(
        column="Pygments version",
        facet=2,
        sentences=(
            "Support was added in version {value}.",
            "It is supported since Pygments version {value}.",
            "The first Pygments version to know it was {value}.",
        ),
        ask="the Pygments version that added {entity}",
        group="supported since Pygments {value}",
        list_title="Computer languages supported since Pygments {value}",
    ),
)

FAMILIES = {
    "templates": "template languages",
    "configs": "configuration formats",
    "parsers": "parser generator languages",
    "jvm": "languages of the Java platform",
    "markup": "markup languages",
    "asm": "assembly languages",
    "dsls": "domain-specific languages",
    "scripting": "scripting languages",
    "c_like": "C-like languages",
    "javascript": "relatives of JavaScript",
    "shell": "shell languages",
    "lisp": "Lisp dialects",
    "haskell": "relatives of Haskell",
    "sql": "SQL dialects",
    "html": "relatives of HTML",
    "dotnet": ".NET languages",
    "python": "relatives of Python",
    "basic": "BASIC dialects",
    "business": "business languages",
    "esoteric": "esoteric languages",
    "graphics": "graphics languages",
    "ul4": "UL4 languages",
    "textfmts": "text formats",
    "algebra": "computer algebra languages",
    "webmisc": "web query languages",
    "installers": "packaging formats",
    "ml": "relatives of ML",
    "grammar_notation": "grammar notations",
    "modeling": "modelling languages",
    "css": "style sheet languages",
    "erlang": "relatives of Erlang",
    "int_fiction": "interactive fiction languages",
    "data": "data formats",
    "objective": "relatives of Objective-C",
    "matlab": "relatives of Matlab",
    "actionscript": "relatives of ActionScript",
    "archetype": "clinical archetype languages",
    "textedit": "text editor languages",
    "make": "build file languages",
    "d": "relatives of D",
    "csound": "Csound languages",
    "diff": "patch formats",
    "dylan": "relatives of Dylan",
    "ruby": "relatives of Ruby",
    "unicon": "relatives of Icon",
    "minecraft": "Minecraft languages",
    "php": "relatives of PHP",
    "r": "relatives of R",
    "rdf": "linked data languages",
    "hdl": "hardware description languages",
    "typoscript": "TypoScript languages",
}
"""Modules of Pygments that hold a family, and what its members are."""


def build() -> Domain:
    """Everything with a name of its own, divided by family."""
    lexers = package("pygments.lexers")
    rows = sorted(lexers.LEXERS.values(), key=lambda row: (row[1].lower(), row[0]))
    return Domain(
        name="computer_languages",
        key="Language",
        noun="computer language",
        nouns="computer languages",
        facets=FACETS,
        attributes=ATTRIBUTES,
        entities=unique(
            _entity(module.rsplit(".", 1)[1], name, aliases, patterns, media)
            for module, name, aliases, patterns, media in rows
            if not name.endswith(("session", "Traceback")) and module != "pygments.lexers.special"
        ),
        partition="Family",
        family="syntax",
        source="Pygments 2.21.0 (BSD-2-Clause)",
    )


def _entity(
    module: str,
    name: str,
    aliases: tuple[str, ...],
    patterns: tuple[str, ...],
    media: tuple[str, ...],
) -> Entity:
    lexer = package("pygments.lexers").find_lexer_class(name)
    host = urlsplit(lexer.url or "").hostname or ""
    others = ", ".join(plain(pattern) for pattern in patterns[1:4])
    return Entity(
        name=plain(name),
        values=known(
            {
                "Family": FAMILIES.get(module),
                "Website": host.removeprefix("www."),
                "File name": plain(patterns[0]) if patterns else "",
                "Media type": media[0] if media else "",
                "Short name": aliases[0] if aliases else "",
                "Lexer class": lexer.__name__,
                "Pygments version": lexer.version_added,
            }
        ),
        notes={1: (f"Files named {others} are also common.",)} if others else {},
    )
