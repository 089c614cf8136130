"""Bjerrum: electrolyte solutions from first principles.

A salt, a concentration and a temperature go in; structure, transport and thermodynamics come
out, with an error bar on every number and experiment beside it. The module list is the method's
table of contents: ``system`` -> ``boxes`` -> ``reference`` -> ``dataset`` -> ``potential`` ->
``dynamics`` -> ``properties`` -> ``report``; imports point one way only.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bjerrum")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
