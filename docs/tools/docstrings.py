"""From the package's docstrings to Markdown.

Docstrings are plain text: a formula indented by four spaces, a list of names with two spaces or
more before their meaning, roles such as :func:`name`. Here the lists become Markdown lists and
the roles become code; everything else is Markdown already.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

_ITEM = re.compile(r"^(?P<names>[A-Za-z_][\w.]*(?:, [A-Za-z_][\w.]*)*) {2,}(?P<meaning>\S.*)$")
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?\.?(?P<name>[^`]+)`")


def listed_names(docstring: str) -> dict[str, str]:
    """Return the meaning of each name that a docstring lists, continuation lines joined."""
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(docstring).splitlines():
        item = _ITEM.match(line)
        if item:
            names = item["names"].split(", ")
            meanings |= dict.fromkeys(names, item["meaning"])
        elif names and line.startswith("  "):
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in names}
        else:
            names = []
    return meanings


def to_markdown(docstring: str) -> str:
    """Return a docstring as Markdown."""
    lines: list[str] = []
    in_list = False
    for line in inspect.cleandoc(docstring).splitlines():
        item = _ITEM.match(line)
        if item:
            lines += [] if in_list else [""]
            names = ", ".join(f"`{name}`" for name in item["names"].split(", "))
            lines.append(f"- {names}: {item['meaning']}")
        elif in_list and line.startswith("  "):
            lines.append(f"  {line.strip()}")
        else:
            lines += [""] if in_list and line else []
            lines.append(line)
        in_list = bool(item) or (in_list and line.startswith("  "))
    return _ROLE.sub(lambda role: f"`{role['name']}`", "\n".join(lines))


class PlainDocstrings(griffe.Extension):
    """Rewrites every docstring on its way into the page."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Convert the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
