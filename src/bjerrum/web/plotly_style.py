"""plotly's style as a file of its own, so that no page needs to allow inline styles.

plotly.js keeps its rules in the script and writes them into the page, unless it finds an element
``plotly.js-style-global`` of class ``no-inline-styles``: then a style sheet is to hold them
(plotly.js pull request 7109). The Python package has no such file; it is made from the script.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from plotly.offline import get_plotlyjs

_RULES = re.compile(r'=\{("X,X div":.+?)\};for\(', re.DOTALL)
_RULE = re.compile(
    r'(?:"(?P<selector>(?:[^"\\]|\\.)*)"|(?P<name>\w+)):'
    r"""(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)')"""
)
_INJECTED = re.compile(r'getElementById\("([0-9a-f]{64})"\)')
_PLACES: Final = {"X": ".js-plotly-plot .plotly", "Y": ".plotly-notifier"}


@cache
def plotly_style() -> str:
    """Return plotly's rules as CSS; empty if a version of plotly keeps them in another form."""
    found = _RULES.search(get_plotlyjs())
    rules = _RULE.finditer(found[1]) if found else ()
    return "\n".join(
        f"{_selector(rule['selector'] or rule['name'])} {{{rule['double'] or rule['single']}}}"
        for rule in rules
    )


def _selector(short: str) -> str:
    return re.sub("[XY]", lambda letter: _PLACES[letter[0]], short)


@cache
def style_marks() -> tuple[str, ...]:
    """Return the names of the elements at whose sight libraries inside plotly add no style.

    These styles are for maps, which no page here shows.
    """
    return tuple(dict.fromkeys(_INJECTED.findall(get_plotlyjs())))
