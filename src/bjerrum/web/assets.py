"""Style, scripts and libraries: a fixed list of names; no address becomes a path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import plotly
from plotly.offline import get_plotlyjs

from bjerrum import __version__
from bjerrum.web.plotly_style import plotly_style


@dataclass(frozen=True)
class Asset:
    """What the browser gets for a name."""

    content: bytes
    media_type: str
    encoding: str | None = None


PLOTLY: Final = f"plotly-{plotly.__version__}.js"
PLOTLY_STYLE: Final = f"plotly-{plotly.__version__}.css"
_FILES: Final = {
    "page.css": "text/css",
    "common.js": "text/javascript",
    "overview.js": "text/javascript",
    "figures.js": "text/javascript",
    "salt.js": "text/javascript",
    "compare.js": "text/javascript",
    "box.js": "text/javascript",
    "3Dmol-min.js": "text/javascript",
    "3Dmol-LICENSE.txt": "text/plain",
}
VERSION: Final = __version__


@cache
def asset(name: str) -> Asset | None:
    """Return the asset of that name, None where there is none."""
    if name == PLOTLY:
        return Asset(get_plotlyjs().encode("utf-8"), "text/javascript")
    if name == PLOTLY_STYLE:
        return Asset(plotly_style().encode("utf-8"), "text/css")
    if name not in _FILES:
        return None
    folder = resources.files("bjerrum.web") / "static"
    packed = folder / f"{name}.gz"
    if packed.is_file():
        return Asset(packed.read_bytes(), _FILES[name], "gzip")
    return Asset((folder / name).read_bytes(), _FILES[name])
