"""MkDocs hooks: fill in what is generated, add a page for every module."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

from generate import GENERATORS, api_page, modules
from mathematics import render_mathematics

_MARK = re.compile(r"^<!-- generated: (?P<name>[a-z ]+) -->$", re.MULTILINE)
API = "API reference"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add every module to the navigation."""
    pages = [{name: f"api/{name}.md"} for name in modules()]
    config.nav = [
        {API: [*entry[API], *pages]} if isinstance(entry, dict) and API in entry else entry
        for entry in config.nav or []
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of every module."""
    for name, members in modules().items():
        page = File.generated(config, f"api/{name}.md", content=api_page(name, members))
        files.append(page)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the generated parts of a page, then its formulas."""
    return render_mathematics(_MARK.sub(_generated, markdown))


def _generated(mark: re.Match[str]) -> str:
    if mark["name"] not in GENERATORS:
        raise PluginError(f"expected one of {sorted(GENERATORS)}, got {mark['name']!r}")
    return GENERATORS[mark["name"]]()
