"""Whole tables by the official rules: CSV references, answers, all seven figures by hand.

A case is the reference, what its columns are compared by, the answer, and in this order item
precision, recall and F1, row precision, recall and F1, and success. Columns are k (the key), v, w.
"""

from dataclasses import dataclass, field

import pytest

from wideseek_core import ColumnRule, TableGold, TableMetrics, Task
from wideseek_judge import JudgeConfig, open_judge

ONES = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
ZEROS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
PLAIN = "k,v,w\nA,1,x\nB,2,y\n"
HEAD = "| k | v | w |\n|---|---|---|\n"


def by(*metrics: str, pre: str = "", near: float | str | None = None) -> ColumnRule:
    return ColumnRule(metric=metrics, preprocess=tuple(pre.split()), criterion=near)


EXACT = by("exact_match")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    gold: str = PLAIN
    answer: str
    figures: tuple[float, ...]
    rules: dict[str, ColumnRule] = field(default_factory=dict[str, ColumnRule])
    only: bool = False
    """No rules but the given ones; otherwise the rest is `exact_match`."""
    keys: tuple[str, ...] = ("k",)
    required: tuple[str, ...] = ()
    bare: bool = False
    """The answer as it is, rather than in a fence."""


ROWS = [
    Case(name="a perfect answer", answer=HEAD + "| A | 1 | x |\n| B | 2 | y |", figures=ONES),
    Case(
        # 5 of 6 answered and 9 wanted cells, 1 of 2 and 3 rows.
        name="a missing row and a wrong cell",
        gold=PLAIN + "C,3,z\n",
        answer=HEAD + "| A | 1 | x |\n| B | 2 | q |",
        figures=(5 / 6, 5 / 9, 2 / 3, 1 / 2, 1 / 3, 2 / 5, 0),
    ),
    Case(
        name="as many wrong rows as right ones",
        answer=HEAD + "| A | 1 | x |\n| B | 2 | y |\n| C | 3 | z |\n| D | 4 | q |",
        figures=(1 / 2, 1, 2 / 3, 1 / 2, 1, 2 / 3, 0),
    ),
    Case(name="a table without rows", answer=HEAD, figures=ZEROS),
    Case(name="an empty answer", answer="", figures=ZEROS, bare=True),
    Case(name="an empty fence", answer="", figures=ZEROS),
    Case(
        # Only the key of the kept row is right.
        name="the first of repeated keys is kept, though it is the wrong one",
        gold="k,v,w\nA,1,x\n",
        answer=HEAD + "| A | 9 | q |\n| A | 1 | x |",
        figures=(1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0),
    ),
    Case(
        name="repeated keys of the reference are not wanted twice",
        gold=PLAIN + "A,7,z\n",
        answer=HEAD + "| A | 1 | x |\n| B | 2 | y |",
        figures=ONES,
    ),
    Case(
        name="keys that differ in case are two keys",
        answer=HEAD + "| a | 1 | x |\n| B | 2 | y |",
        figures=(1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        name="keys of any script",
        gold="k,v,w\n江海区,1,x\nمصر,2,y\n",
        answer=HEAD + "| 江海区 | 1 | x |\n| مصر | 2 | y |",
        figures=ONES,
    ),
    Case(
        name="composed and combining letters are two keys",
        gold="k,v,w\n\u00e9,1,x\n",
        answer=HEAD + "| e\u0301 | 1 | x |",
        figures=ZEROS,
    ),
    Case(
        name="two keys: both must fit",
        gold="k,v,w\nA,1,x\nA,2,y\n",
        keys=("k", "v"),
        answer=HEAD + "| A | 1 | x |\n| A | 3 | y |",
        figures=(1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        name="every column a key",
        keys=("k", "v", "w"),
        answer=HEAD + "| A | 1 | x |",
        figures=(1, 1 / 2, 2 / 3, 1, 1 / 2, 2 / 3, 0),
    ),
    Case(
        name="an empty key is the key nan",
        gold="k,v,w\n,1,x\nB,2,y\n",
        answer=HEAD + "|  | 1 | x |\n| B | 2 | y |",
        figures=ONES,
    ),
    Case(
        name="two empty keys are one",
        gold="k,v,w\n,1,x\nB,2,y\n",
        answer=HEAD + "| NA | 1 | x |\n| null | 9 | q |\n| B | 2 | y |",
        figures=ONES,
    ),
    Case(
        name="columns of the reference that are not required are ignored",
        gold="extra,w,k,v\n?,x,A,1\n?,y,B,2\n",
        required=("k", "v", "w"),
        answer=HEAD + "| A | 1 | x |\n| B | 2 | y |",
        figures=ONES,
    ),
]

TYPES = [
    Case(
        # 1 becomes 1.0 in the reference: v is wrong in both rows.
        name="a gap in whole numbers of the reference",
        gold="k,v\nA,1\nB,\n",
        answer="| k | v |\n|---|---|\n| A | 1 |\n| B | 2 |",
        figures=(1 / 2, 1 / 2, 1 / 2, 0, 0, 0, 0),
    ),
    Case(
        name="the same gap on both sides",
        gold="k,v\nA,1\nB,\n",
        answer="| k | v |\n|---|---|\n| A | 1 |\n| B | n/a |",
        figures=ONES,
    ),
    Case(
        # 1 is near 1.0, but 2 is not near nan.
        name="a gap, compared as numbers",
        gold="k,v\nA,1\nB,\n",
        rules={"v": by("number_near", near=0.0)},
        answer="| k | v |\n|---|---|\n| A | 1 |\n| B | 2 |",
        figures=(3 / 4, 3 / 4, 3 / 4, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        # nan is not near nan.
        name="gaps on both sides, compared as numbers",
        gold="k,v\nA,1\nB,\n",
        rules={"v": by("number_near", near=0.1)},
        answer="| k | v |\n|---|---|\n| A | 1 |\n| B | |",
        figures=(3 / 4, 3 / 4, 3 / 4, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        name="closing zeros of fractions",
        gold="k,v\nA,1.50\nB,2.25\n",
        answer="| k | v |\n|---|---|\n| A | 1.5 |\n| B | 2.250 |",
        figures=ONES,
    ),
    Case(
        name="an exponent makes a fraction",
        gold="k,v\nA,1000\n",
        answer="| k | v |\n|---|---|\n| A | 1e3 |",
        figures=(1 / 2, 1 / 2, 1 / 2, 0, 0, 0, 0),
    ),
    Case(
        name="one text in a column leaves its numbers as they are written",
        gold="k,v\nA,007\nB,x\n",
        answer="| k | v |\n|---|---|\n| A | 7 |\n| B | x |",
        figures=(3 / 4, 3 / 4, 3 / 4, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        name="numbers as keys lose their leading zeros",
        gold="k,v\n007,1\n010,2\n",
        answer="| k | v |\n|---|---|\n| 7 | 1 |\n| 10 | 2 |",
        figures=ONES,
    ),
    Case(
        name="separators make a text",
        gold='k,v\nA,"1,000"\n',
        answer="| k | v |\n|---|---|\n| A | 1000 |",
        figures=(1 / 2, 1 / 2, 1 / 2, 0, 0, 0, 0),
    ),
    Case(
        name="separators are dropped by extract_number",
        gold='k,v\nA,"1,000"\n',
        rules={"v": by("exact_match", pre="extract_number")},
        answer="| k | v |\n|---|---|\n| A | 1000 km |",
        figures=ONES,
    ),
    Case(
        name="truth values",
        gold="k,v\nA,true\nB,FALSE\n",
        answer="| k | v |\n|---|---|\n| A | TRUE |\n| B | False |",
        figures=ONES,
    ),
    Case(
        # In the answer nan is a gap among truth values, which stay True.
        name="a truth value beside a gap",
        gold="k,v\nA,True\nB,\n",
        answer="| k | v |\n|---|---|\n| A | true |\n| B | NaN |",
        figures=ONES,
    ),
    Case(
        name="a column of gaps",
        gold="k,v\nA,\nB,\n",
        answer="| k | v |\n|---|---|\n| A | None |\n| B | N/A |",
        figures=ONES,
    ),
    Case(
        name="spaces inside a cell",
        gold="k,v\nA,New York\n",
        answer="| k | v |\n|---|---|\n| A | New  York |",
        figures=(1 / 2, 1 / 2, 1 / 2, 0, 0, 0, 0),
    ),
    Case(
        name="spaces of the reference's cells stay",
        gold="k,v\nA, x\n",
        answer="| k | v |\n|---|---|\n| A |  x |",
        figures=(1 / 2, 1 / 2, 1 / 2, 0, 0, 0, 0),
    ),
]

RULES = [
    Case(
        # Key, v and one of two verdicts on w: 3 of 3 cells, but the row's worst is 0.
        name="two metrics of which one fails fill the cells and spoil the row",
        gold="k,v,w\nA,1,xy\n",
        rules={"w": by("exact_match", "in_match")},
        answer=HEAD + "| A | 1 | x |",
        figures=(1, 1, 1, 0, 0, 0, 0),
    ),
    Case(
        # 4 verdicts on 3 cells; success wants exactly 1.
        name="two metrics that hold pass 1, and miss success",
        gold="k,v,w\nA,1,x\n",
        rules={"w": by("exact_match", "in_match")},
        answer=HEAD + "| A | 1 | x |",
        figures=(4 / 3, 4 / 3, 4 / 3, 1, 1, 1, 0),
    ),
    Case(
        # 2 keys + 2 v + 2 w by three metrics: 6 + 4 = 10 over 6.
        name="three metrics count three times",
        rules={"w": by("exact_match", "in_match", "url_match")},
        answer=HEAD + "| A | 1 | x |\n| B | 2 | y |",
        figures=(10 / 6, 10 / 6, 10 / 6, 1, 1, 1, 0),
    ),
    Case(
        # One answer row joins two reference rows: 4 cells over 2 answered and 4 wanted.
        name="one key for two rows of the reference",
        gold="k,v\nA b,1\na B,1\n",
        rules={"k": by("number_near", pre="norm_str")},
        answer="| k | v |\n|---|---|\n| ab | 1 |",
        figures=(2, 1, 4 / 3, 2, 1, 4 / 3, 0),
    ),
    Case(
        # Two join two: 4 rows of 2 cells over 4 cells. The sorted tables are equal.
        name="many to many",
        gold="k,v\nA b,1\na B,1\n",
        rules={"k": by("number_near", pre="norm_str")},
        answer="| k | v |\n|---|---|\n| ab | 1 |\n| a b | 1 |",
        figures=(2, 2, 2, 2, 2, 2, 1),
    ),
    Case(
        # Pairs (1,1) (1,2) (2,1) (2,2): 4 keys and 2 right values over 4 cells, 2 rows.
        name="many to many, half of it wrong",
        gold="k,v\nA b,1\na B,2\n",
        rules={"k": by("date_near", pre="norm_str")},
        answer="| k | v |\n|---|---|\n| ab | 1 |\n| a b | 2 |",
        figures=(6 / 4, 6 / 4, 6 / 4, 1, 1, 1, 1),
    ),
    Case(
        name="preprocessed keys join",
        gold="k,v\nAlpha Beta,1\n",
        rules={"k": by("exact_match", pre="norm_str")},
        answer="| k | v |\n|---|---|\n| **alpha  beta** | 1 |",
        figures=ONES,
    ),
    Case(
        name="keys by their number",
        gold="k,v\nNo. 5,1\nNo. 6,2\n",
        rules={"k": by("number_near", pre="extract_number")},
        answer="| k | v |\n|---|---|\n| 5 | 1 |\n| Number 6 | 2 |",
        figures=ONES,
    ),
    Case(
        # Both keys become NULL: each answer row joins each reference row, 4 pairs of 2 cells.
        name="keys without a number are all one",
        gold="k,v\none,1\ntwo,1\n",
        rules={"k": by("number_near", pre="extract_number")},
        answer="| k | v |\n|---|---|\n| uno | 1 |\n| due | 1 |",
        figures=(2, 2, 2, 2, 2, 2, 1),
    ),
    Case(
        name="two texts without a number are equal numbers",
        gold="k,v\nA,many\n",
        rules={"v": by("exact_match", pre="extract_number")},
        answer="| k | v |\n|---|---|\n| A | few |",
        figures=ONES,
    ),
    Case(
        name="percent against a fraction",
        gold="k,v\nA,0.12\n",
        rules={"v": by("number_near", near=0.0)},
        answer="| k | v |\n|---|---|\n| A | 12% |",
        figures=ONES,
    ),
    Case(
        name="percent against percent, five in a hundred apart",
        gold="k,v\nA,20%\nB,20%\n",
        rules={"v": by("number_near", near=0.05)},
        answer="| k | v |\n|---|---|\n| A | 21% |\n| B | 21.1% |",
        figures=(3 / 4, 3 / 4, 3 / 4, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        name="dates in other words",
        gold="k,v\nA,2003-01-05\n",
        rules={"v": by("exact_match", pre="norm_date")},
        answer='| k | v |\n|---|---|\n| A | "January 5, 2003" |',
        figures=ONES,
    ),
    Case(
        name="near dates, far dates and no dates",
        gold="k,v\nA,2003-01-05\nB,2003-01-05\nC,Unaired\n",
        rules={"v": by("date_near")},
        answer="| k | v |\n|---|---|\n| A | 5 Feb 2003 |\n| B | 6 Feb 2003 |\n| C | not shown |",
        figures=(5 / 6, 5 / 6, 5 / 6, 2 / 3, 2 / 3, 2 / 3, 0),
    ),
    Case(
        name="addresses by their hosts",
        gold="k,v\nA,https://a.org/one\nB,https://b.org\n",
        rules={"v": by("url_match")},
        answer="| k | v |\n|---|---|\n| A | [home](http://a.org/) |\n| B | b.org |",
        figures=(3 / 4, 3 / 4, 3 / 4, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        # The empty cell is "nan", which stands in "Fernando" but not in "Oslo".
        name="an empty cell that stands in the reference by chance",
        gold="k,v\nA,Fernando\nB,Oslo\n",
        rules={"v": by("in_match")},
        answer="| k | v |\n|---|---|\n| A | |\n| B | |",
        figures=(3 / 4, 3 / 4, 3 / 4, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        name="part of the reference",
        gold="k,v\nA,New York City\n",
        rules={"v": by("in_match", pre="norm_str")},
        answer="| k | v |\n|---|---|\n| A | new york |",
        figures=ONES,
    ),
    Case(
        name="the judge that compares strings",
        rules={"w": by("llm_judge", near="same thing")},
        answer=HEAD + "| A | 1 | X |\n| B | 2 | y |",
        figures=(5 / 6, 5 / 6, 5 / 6, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        # Equal tables succeed; of 6 cells only the keys have a metric.
        name="keys without a rule are not aligned, so that equal tables are equal",
        rules={"v": by(), "w": by()},
        only=True,
        answer=HEAD + "| B | 2 | y |\n| A | 1 | x |",
        figures=(1 / 3, 1 / 3, 1 / 3, 1, 1, 1, 1),
    ),
    Case(
        name="a tolerance that is missing is a fault",
        rules={"v": by("number_near")},
        answer=HEAD + "| A | 1 | x |\n| B | 2 | y |",
        figures=ZEROS,
    ),
    Case(
        # Without joined numbers nothing needs the tolerance.
        name="a tolerance that nothing needs",
        gold="k,v\nA,many\n",
        rules={"v": by("number_near")},
        answer="| k | v |\n|---|---|\n| A | many |",
        figures=ONES,
    ),
]

TEXTS = [
    Case(
        name="a surplus cell in the first row shifts the table",
        gold="k,v,w\n1,x,more\n",
        answer=HEAD + "| A | 1 | x | more |",
        figures=ONES,
    ),
    Case(
        name="a surplus cell in a later row fails the table",
        answer=HEAD + "| A | 1 | x |\n| B | 2 | y | more |",
        figures=ZEROS,
    ),
    Case(
        # w of B is nan: 5 of 6.
        name="a short row",
        answer=HEAD + "| A | 1 | x |\n| B | 2",
        figures=(5 / 6, 5 / 6, 5 / 6, 1 / 2, 1 / 2, 1 / 2, 0),
    ),
    Case(
        name="a column without a name is dropped",
        answer="|  | k | v | w |\n|---|---|---|---|\n| 1 | A | 1 | x |\n| 2 | B | 2 | y |",
        figures=ONES,
    ),
    Case(
        name="a column that is called Unnamed is not",
        answer="| Unnamed | k | v | w |\n|---|---|---|---|\n| 1 | A | 1 | x |",
        figures=ZEROS,
    ),
    Case(
        name="a header that comes twice",
        answer="| k | v | v |\n|---|---|---|\n| A | 1 | x |",
        figures=ZEROS,
    ),
    Case(
        name="names in any case and spacing",
        answer="| K | V | W   |\n|:--|:-:|--:|\n| A | 1 | x |\n| B | 2 | y |",
        figures=ONES,
    ),
    Case(
        # Taken for a separator: 1 of 2 rows is left.
        name="a row of dashes is dropped",
        gold="k,v,w\nA,1,x\n-,-,-\n",
        answer=HEAD + "| A | 1 | x |\n| - | - | - |",
        figures=(1, 1 / 2, 2 / 3, 1, 1 / 2, 2 / 3, 0),
    ),
    Case(
        name="lines without a pipe are dropped, before the header too",
        answer="Here it is:\n" + HEAD + "\nfirst part\n| A | 1 | x |\n\n| B | 2 | y |\nend",
        figures=ONES,
    ),
    Case(
        name="lines without a pipe after the header are dropped",
        answer=HEAD + "\nfirst part\n| A | 1 | x |\n\n| B | 2 | y |\nend",
        figures=ONES,
    ),
    Case(
        name="without a fence the first run of lines ends at a blank one",
        answer=HEAD + "| A | 1 | x |\n\n| B | 2 | y |",
        bare=True,
        figures=(1, 1 / 2, 2 / 3, 1, 1 / 2, 2 / 3, 0),
    ),
    Case(
        name="a fence of another name is looked through",
        answer="```Markdown\n" + HEAD + "| A | 1 | x |\n| B | 2 | y |\n```",
        bare=True,
        figures=ONES,
    ),
    Case(
        name="a fence that is never closed is looked through",
        answer="```markdown\n" + HEAD + "| A | 1 | x |\n| B | 2 | y |",
        bare=True,
        figures=ONES,
    ),
    Case(
        name="the first of two fences counts, though it is a draft",
        answer="```markdown\n"
        + HEAD
        + "| A | 1 | x |\n```\n```markdown\n"
        + HEAD
        + "| A | 1 | x |\n| B | 2 | y |\n```",
        bare=True,
        figures=(1, 1 / 2, 2 / 3, 1, 1 / 2, 2 / 3, 0),
    ),
    Case(
        name="lines that end as on Windows",
        answer=(HEAD + "| A | 1 | x |\n| B | 2 | y |").replace("\n", "\r\n"),
        figures=ONES,
    ),
    Case(
        name="indented lines",
        answer="  | k | v | w |\n  |---|---|---|\n  | A | 1 | x |\n  | B | 2 | y |",
        figures=ONES,
    ),
    Case(
        name="rows without outer pipes, in a fence",
        answer="k | v | w\n---|---|---\nA | 1 | x\nB | 2 | y",
        figures=ONES,
    ),
    Case(
        name="full-width pipes are text",
        answer="｜ k ｜ v ｜ w ｜\n｜ A ｜ 1 ｜ x ｜",
        bare=True,
        figures=ZEROS,
    ),
    Case(
        name="quotes around a cell are dropped",
        gold='k,v\nA,"x, y"\n',
        answer='| k | v |\n|---|---|\n| "A" | "x, y" |',
        figures=ONES,
    ),
    Case(
        name="quotes inside a cell stay",
        gold='k,v\nA,"5"" disc"\n',
        answer='| k | v |\n|---|---|\n| A | 5" disc |',
        figures=ONES,
    ),
    Case(
        # Up to the next quote all is one cell: "x |\n| B | 2 | y".
        name="a quote that closes some lines later swallows rows",
        answer=HEAD + '| A | 1 | "x |\n| B | 2 | y" |\n| C | 3 | z |',
        figures=(2 / 6, 2 / 6, 2 / 6, 0, 0, 0, 0),
    ),
    Case(
        name="line breaks as markup stay text",
        gold="k,v\nA,a b\n",
        answer="| k | v |\n|---|---|\n| A | a<br>b |",
        figures=(1 / 2, 1 / 2, 1 / 2, 0, 0, 0, 0),
    ),
    Case(
        name="bold cells are other cells",
        answer=HEAD + "| **A** | 1 | x |\n| B | **2** | y |",
        figures=(2 / 6, 2 / 6, 2 / 6, 0, 0, 0, 0),
    ),
]

LIBRARIES = [
    Case(
        name="beside numbers of more than 64 bits the words for nothing are empty cells",
        gold="k,v\nA,12345678901234567890123\nB,NULL\nC,N/A\n",
        answer="| k | v |\n|---|---|\n| A | 12345678901234567890123 |\n| B | |\n| C | NA |",
        figures=ONES,
    ),
    Case(
        name="a number beyond floats stays text",
        gold="k,v\nA,1e400\nB,2\n",
        answer="| k | v |\n|---|---|\n| A | 1e400 |\n| B | 2 |",
        figures=ONES,
    ),
    Case(
        name="two numbers beyond floats are not both infinite",
        gold="k,v\nA,1e400\n",
        answer="| k | v |\n|---|---|\n| A | 1e500 |",
        figures=(1 / 2, 1 / 2, 1 / 2, 0, 0, 0, 0),
    ),
    Case(
        name="digits beyond the precision of floats are cut as pandas 2 cuts them",
        gold="k,v\nA,0.12345678901234567\n",
        answer="| k | v |\n|---|---|\n| A | 0.1234567890123456 |",
        figures=ONES,
    ),
    Case(
        name="a NUL ends a cell",
        gold="k,v\nA,a\n",
        answer="| k | v |\n|---|---|\n| A | a\0b |",
        figures=ONES,
    ),
    Case(
        name="a quarter is no date",
        gold="k,v\nA,unknown\n",
        rules={"v": by("date_near")},
        answer="| k | v |\n|---|---|\n| A | Q1 2003 |",
        figures=ONES,
    ),
]
"""What depends on the versions of pandas and dateparser."""

EMPTY = [
    Case(
        name="a column without a metric adds nothing",
        gold="k,v\nA,1\n",
        rules={"v": by()},
        answer="| k | v |\n|---|---|\n| A | 1 |",
        figures=(1 / 2, 1 / 2, 1 / 2, 1, 1, 1, 0),
    ),
    Case(
        name="headers alone fail where the key is not aligned and a rule compares",
        gold="k,v\n",
        rules={"k": by("number_near", near=0.1)},
        answer="| k | v |\n|---|---|",
        figures=ZEROS,
    ),
    Case(
        name="headers alone are equal for comparators that take anything for a date",
        gold="k,v\n",
        rules={"k": by("number_near", near=0.1), "v": by("date_near")},
        answer="| k | v |\n|---|---|",
        figures=(0, 0, 0, 0, 0, 0, 1),
    ),
    Case(
        name="headers alone are equal where nothing is compared",
        gold="k\n",
        rules={"k": by("number_near", near=0.1)},
        answer="| k |\n|---|",
        figures=(0, 0, 0, 0, 0, 0, 1),
    ),
]


@pytest.mark.parametrize(
    "case",
    [*ROWS, *TYPES, *RULES, *TEXTS, *LIBRARIES, *EMPTY],
    ids=lambda case: case.name.replace(" ", "-"),
)
async def test_figures(case: Case) -> None:
    names = tuple(case.gold.partition("\n")[0].split(","))
    required = case.required or names
    rules = {} if case.only else dict.fromkeys(required, EXACT)
    gold = TableGold(
        text=case.gold,
        format="csv",
        key_columns=case.keys,
        required_columns=required,
        rules=rules | case.rules,
    )
    text = case.answer if case.bare else f"```markdown\n{case.answer}\n```"
    async with open_judge(JudgeConfig(kind="exact", mode="official")) as judge:
        found = (await judge.score(Task(id="t", question="q", gold=gold), text)).metrics
    assert isinstance(found, TableMetrics)
    assert (
        found.item_precision,
        found.item_recall,
        found.item_f1,
        found.row_precision,
        found.row_recall,
        found.row_f1,
        found.success,
    ) == pytest.approx(case.figures, rel=0, abs=1e-9)
