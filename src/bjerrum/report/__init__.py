"""Pages drawn from stored results: one self-contained HTML report per run, and single figures."""

from bjerrum.report.document import RunDocument
from bjerrum.report.page import read_document, render_report, report_run, write_report
from bjerrum.report.static import write_rdf_figure

__all__ = [
    "RunDocument",
    "read_document",
    "render_report",
    "report_run",
    "write_rdf_figure",
    "write_report",
]
