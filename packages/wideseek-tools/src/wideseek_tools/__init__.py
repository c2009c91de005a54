"""Search and page access for agents: one interface, many backends, safe online reading."""

from wideseek_tools.backends.memory import MemoryPages, MemorySearch
from wideseek_tools.config import ToolsConfig
from wideseek_tools.open import Tools, open_tools
from wideseek_tools.page_store import PageStore
from wideseek_tools.passages import Passage
from wideseek_tools.urls import page_key

__all__ = [
    "MemoryPages",
    "MemorySearch",
    "PageStore",
    "Passage",
    "Tools",
    "ToolsConfig",
    "open_tools",
    "page_key",
]
