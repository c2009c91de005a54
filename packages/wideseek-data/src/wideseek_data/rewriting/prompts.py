"""What a language model is asked when it words questions."""

from collections.abc import Mapping

from wideseek_data.tables.table import Table
from wideseek_data.tasks.recipes import PlannedTask, WideRecipe

MAX_SHOWN_ROWS = 3
"""Rows of a table that the model sees: enough for units and formats, too few to tell the answer."""

WORD = """\
You write questions for people who search the web. Below is a question that a program put together \
from a table, and the beginning of that table.

Question of the program:
{question}

Table: {place}
{rows}

Write the same question as a person would ask it, in {language}. First think of who would want to \
know this, and why; then word it.
Rules:
- Ask for exactly the same rows and columns: every condition, number, date and name stays.
- {columns}
- Say which year, unit or rounding is meant wherever the table leaves no doubt and a reader would \
have one.
- Keep the name {title} as it is.
- Do not give any part of the answer away.
{problem}
Reply with one JSON object and nothing else: {{"intent": "...", "question": "..."}}"""

LANGUAGES = {"en": "English", "zh": "Chinese"}


def rewriting_prompt(plan: PlannedTask, tables: Mapping[str, Table], problem: str = "") -> str:
    """The request to word a task; `problem` says what was wrong with the last reply."""
    recipe = plan.recipe
    table = tables[recipe.table]
    place = f"{table.title}, {table.section}" if table.section else table.title
    rows = [" | ".join(table.names)]
    rows += [" | ".join(row.cells) for row in table.rows[:MAX_SHOWN_ROWS]]
    columns = "The answer is a single value."
    if isinstance(recipe, WideRecipe):
        names = "; ".join(recipe.labels)
        columns = f"The answer is one Markdown table; name its columns exactly: {names}."
    return WORD.format(
        question=plan.task.question,
        place=place,
        rows="\n".join(rows),
        language=LANGUAGES.get(plan.task.language, plan.task.language),
        columns=columns,
        title=f'"{table.title}"',
        problem=f"Your last reply could not be used: {problem}.\n" if problem else "",
    )
