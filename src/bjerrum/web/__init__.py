"""A page to browse a database: local, read-only, without anything from the network.

app       the application: pages, data, security
api       data as JSON and as files
pages     HTML
series    what the figures show
security  headers, token, hosts
assets    style, scripts, libraries, all from this package and plotly's
plotly_style  plotly's own style, taken out of its script
"""

from bjerrum.web.app import create_app

__all__ = ["create_app"]
