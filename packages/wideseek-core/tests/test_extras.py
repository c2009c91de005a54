import sys
from pathlib import Path

import pytest

from wideseek_core import ConfigError
from wideseek_core.extras import require_modules


def test_modules_that_are_installed_are_accepted() -> None:
    require_modules("json", "pydantic", feature="a test", install="nothing")


def test_a_missing_module_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ConfigError) as caught:
        require_modules("json", "not_installed", "nor_this", feature="MCP", install="tools[mcp]")
    line = "MCP needs: pip install 'tools[mcp]' (there is no module 'not_installed')"
    assert str(caught.value) == line


def test_a_folder_of_that_name_is_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "not_installed").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ConfigError, match="there is no module 'not_installed'"):
        require_modules("not_installed", feature="MCP", install="tools[mcp]")
