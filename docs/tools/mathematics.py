"""Formulas without a network: fenced ``math`` blocks become MathML, which browsers draw."""

from __future__ import annotations

import re

from latex2mathml.converter import convert

_BLOCK = re.compile(r"^```math\n(?P<formula>.*?)\n```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"\$`(?P<formula>[^`\n]+)`\$")


def render_mathematics(markdown: str) -> str:
    """Replace ``math`` fences and $`inline`$ formulas (GitHub's notation) by MathML."""
    block = _BLOCK.sub(
        lambda m: f'<div class="formula">{convert(m["formula"], display="block")}</div>', markdown
    )
    return _INLINE.sub(lambda m: convert(m["formula"]), block)
