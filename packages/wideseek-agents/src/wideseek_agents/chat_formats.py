"""Layouts of chat messages: which control tokens and words stand around a message."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from wideseek_core import DataError, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """One layout.

    A message is its header, its content, the `end` token and `after`. Pieces of the header that
    are in `marks` are control tokens; `{role}` stands where the role is written.
    """

    name: str
    marks: tuple[str, ...]
    """Control tokens that the layout needs, `end` among them."""
    header: tuple[str, ...]
    """Pieces before the content; the last one is plain text."""
    end: str
    after: str = ""
    start: str = ""
    """A control token before the first message; none if empty."""
    other_ends: tuple[str, ...] = ()
    """Control tokens besides `end` that end a response where the tokenizer has them."""
    roles: Mapping[Role, str] = field(default_factory=dict[Role, str])
    """Names of roles that are called otherwise."""
    wraps_results: bool = True
    """Whether results of tools are put in `<tool_response>` tags."""

    def pieces(self, role: Role) -> list[str]:
        """The header of a role."""
        name = self.roles.get(role, role)
        return [piece.replace("{role}", name) for piece in self.header]


CHATML = ChatFormat(
    name="chatml",
    marks=("<|im_start|>", "<|im_end|>"),
    header=("<|im_start|>", "{role}\n"),
    end="<|im_end|>",
    after="\n",
    other_ends=("<|endoftext|>",),
    roles={"tool": "user"},
)
"""Qwen, SmolLM2, Hermes."""
LLAMA3 = ChatFormat(
    name="llama3",
    marks=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    header=("<|start_header_id|>", "{role}", "<|end_header_id|>", "\n\n"),
    end="<|eot_id|>",
    start="<|begin_of_text|>",
    other_ends=("<|eom_id|>", "<|end_of_text|>"),
    roles={"tool": "ipython"},
    wraps_results=False,
)
"""Llama 3.1 to 3.3."""
PHI = ChatFormat(
    name="phi",
    marks=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    header=("<|{role}|>", "\n"),
    end="<|end|>",
    after="\n",
    other_ends=("<|endoftext|>",),
    roles={"tool": "user"},
)
"""Phi 3 and 4 mini."""
FORMATS = (CHATML, LLAMA3, PHI)


def format_for(control: Collection[str]) -> ChatFormat:
    """The layout whose control tokens a tokenizer has. Raises `DataError`."""
    for known in FORMATS:
        if all(mark in control for mark in known.marks):
            return known
    wanted = "; or ".join(", ".join(known.marks) for known in FORMATS)
    raise DataError(f"the tokenizer has the control tokens of no known chat format: {wanted}")
