"""A database of runs: solutions, models, estimates with their error bars and where they come from.

records      what goes in: frozen records that know their own hash
schema       the tables; migrations brings older ones up to date
connection   SQLite by path, PostgreSQL by URL
database     open, insert, fingerprint
queries      list, show, compare, overview
exchange     CSV, JSON and Parquet, in and out
run_folder   the results of ``bjerrum run``
experiment   published values beside the stored ones
"""

from bjerrum.database.database import Database
from bjerrum.database.records import (
    CurveRecord,
    EstimateRecord,
    FileRecord,
    ModelRecord,
    RunRecord,
    SolutionRecord,
    StepRecord,
)
from bjerrum.database.writing import Inserted

__all__ = [
    "CurveRecord",
    "Database",
    "EstimateRecord",
    "FileRecord",
    "Inserted",
    "ModelRecord",
    "RunRecord",
    "SolutionRecord",
    "StepRecord",
]
