"""An estimate beside a published value, and the sentence at the top of the page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bjerrum.report.document import Answer, EstimateDocument, Reference, RunDocument
from bjerrum.report.rounding import (
    formula_text,
    number,
    pair_text,
    signed,
    unit_text,
    with_error,
)

AGREES_WITHIN = 2.0
"""Combined standard errors; 95 % of honest normal error bars deviate less."""

DISAGREES_BEYOND = 3.0
"""Combined standard errors; 0.3 % of honest normal error bars deviate more."""

Verdict = Literal["agrees", "in doubt", "disagrees", "not judged"]
MARKS: dict[Verdict, str] = {"agrees": "●", "in doubt": "▲", "disagrees": "■", "not judged": "○"}


@dataclass(frozen=True)
class Deviation:
    """This run minus the published value.

    difference  in the unit of the answer
    sigmas      difference / sqrt(standard_error^2 + uncertainty^2); None where a part is unknown
    """

    difference: float
    sigmas: float | None

    @property
    def verdict(self) -> Verdict:
        """Judge the deviation against AGREES_WITHIN and DISAGREES_BEYOND."""
        if self.sigmas is None:
            return "not judged"
        if abs(self.sigmas) <= AGREES_WITHIN:
            return "agrees"
        return "in doubt" if abs(self.sigmas) <= DISAGREES_BEYOND else "disagrees"

    @property
    def mark(self) -> str:
        """A sign per verdict that differs in shape, not only in colour."""
        return MARKS[self.verdict]


def deviation(estimate: EstimateDocument, reference: Reference) -> Deviation:
    """Return the deviation of an estimate from a published value, judged if both errors are known."""
    difference = estimate.value - reference.value
    if reference.uncertainty is None or estimate.standard_error == 0:
        return Deviation(difference, None)
    return Deviation(
        difference, difference / math.hypot(estimate.standard_error, reference.uncertainty)
    )


def deviation_text(estimate: EstimateDocument, reference: Reference) -> str:
    """Return the deviation in words: in combined standard errors, or as a plain difference."""
    found = deviation(estimate, reference)
    if found.sigmas is None:
        error = estimate.standard_error or reference.uncertainty or 0.0
        return _with_unit(signed(found.difference, error), estimate.unit)
    return f"{signed(found.sigmas, max(1.0, abs(found.sigmas) / 100))} σ"


def value_text(value: float, error: float | None, unit: str) -> str:
    """Return a value with its error (where known) and unit."""
    text = number(value) if error is None else with_error(value, error)
    return _with_unit(text, unit)


def answer_sentence(document: RunDocument) -> str:
    """Return the answer in one sentence: the headline quantities, each beside one reference."""
    question = document.question
    system = (
        f"In {formula_text(question.salt)} solution at {number(question.molality_mol_per_kg)} "
        f"mol/kg and {number(question.temperature_K)} K"
    )
    found = [answer for answer in document.answers if answer.estimate is not None]
    shown = [answer for answer in document.answers if answer.headline] or found[:1]
    if not found:
        return f"{system}, this run determined none of the quantities asked for."
    return f"{system}, {'; '.join(_clause(answer) for answer in shown)}."


def agreement_sentence(document: RunDocument) -> str:
    """Return how many comparisons agree; those without both error bars are counted apart."""
    verdicts = [found.verdict for found in _deviations(document)]
    judged = [verdict for verdict in verdicts if verdict != "not judged"]
    if not judged:
        return "No published value with an error bar was available to judge these numbers against."
    agreeing, refused = judged.count("agrees"), judged.count("disagrees")
    text = (
        f"{agreeing} of {_count(len(judged), 'comparison')} with published values that carry an "
        f"error bar {'lies' if agreeing == 1 else 'lie'} within "
        f"{number(AGREES_WITHIN)} combined standard errors"
    )
    return f"{text}; {refused} beyond {number(DISAGREES_BEYOND)}." if refused else f"{text}."


def checks_sentence(document: RunDocument) -> str:
    """Return how many checks passed and the names of those that failed."""
    failed = [check.name for check in document.checks if not check.passed]
    n_checks = len(document.checks)
    if not n_checks:
        return "No checks were made: nothing on this page has been tested."
    if not failed:
        return f"All {_count(n_checks, 'check')} passed."
    return (
        f"{len(failed)} of {_count(n_checks, 'check')} FAILED ({'; '.join(failed)}): "
        "do not rely on these numbers before reading why."
    )


def _clause(answer: Answer) -> str:
    if answer.estimate is None:
        return f"the {pair_text(answer.quantity)} was not determined"
    ours = value_text(answer.estimate.value, answer.estimate.standard_error, answer.unit)
    text = f"the {pair_text(answer.quantity)} is {ours}"
    ranked = sorted(answer.references, key=lambda reference: reference.kind != "experiment")
    if not ranked:
        return text
    best = ranked[0]
    return f"{text} ({best.kind}: {value_text(best.value, best.uncertainty, answer.unit)})"


def _deviations(document: RunDocument) -> Iterator[Deviation]:
    for answer in document.answers:
        if answer.estimate is not None:
            for reference in answer.references:
                yield deviation(answer.estimate, reference)


def _with_unit(text: str, unit: str) -> str:
    return f"{text}\N{NO-BREAK SPACE}{unit_text(unit)}" if unit_text(unit) else text


def _count(n: int, noun: str) -> str:
    return f"{number(n)} {noun}" if n == 1 else f"{number(n)} {noun}s"
