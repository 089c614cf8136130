"""``python -m bjerrum``."""

from bjerrum.cli import main

main()
