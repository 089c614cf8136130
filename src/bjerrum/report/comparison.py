"""An estimate beside a published value, and the sentence at the top of the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bjerrum.report.document import Answer, EstimateDocument, Kind, Reference, RunDocument
from bjerrum.report.rounding import (
    formula_text,
    number,
    pair_text,
    published,
    signed,
    with_error,
    with_unit,
)

AGREES_WITHIN = 2.0
"""Combined standard errors; 95 % of honest normal error bars deviate less."""

DISAGREES_BEYOND = 3.0
"""Combined standard errors; 0.3 % of honest normal error bars deviate more."""

FEW_SAMPLES = 10.0
"""Below this many independent samples the standard error itself is uncertain by a quarter."""

Verdict = Literal["agrees", "borderline", "disagrees", "not judged"]
MARKS: dict[Verdict, str] = {"agrees": "●", "borderline": "▲", "disagrees": "■", "not judged": "○"}


@dataclass(frozen=True)
class Deviation:
    """The estimate of this run minus a published value.

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
        return "borderline" if abs(self.sigmas) <= DISAGREES_BEYOND else "disagrees"

    @property
    def mark(self) -> str:
        """A sign per verdict that differs in shape, not only in colour."""
        return MARKS[self.verdict]


def deviation(estimate: EstimateDocument, reference: Reference) -> Deviation:
    """Return estimate minus published value, judged where both errors are known."""
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
        return with_unit(signed(found.difference, error), estimate.unit)
    return f"{signed(found.sigmas, max(1.0, abs(found.sigmas) / 100))} σ"


def estimate_text(answer: Answer) -> str:
    """Return the estimate of an answer, rounded to its standard error, with its unit."""
    if answer.estimate is None:
        return "not determined"
    text = with_error(answer.estimate.value, answer.estimate.standard_error)
    return with_unit(text, answer.unit)


def samples_text(n_effective: float) -> str:
    """Return how many independent samples stand behind a number, with a warning where few."""
    text = f"about {number(n_effective, 2)} independent samples"
    return f"only {text}: the error bar is rough" if n_effective < FEW_SAMPLES else text


def published_text(value: float, uncertainty: float | None, unit: str) -> str:
    """Return a published value with its uncertainty, where it has one, and its unit."""
    return with_unit(published(value, uncertainty), unit)


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
    """Return how many comparisons agree, apart for experiments and simulations."""
    clauses = [
        _agreement_clause(kind, verdicts)
        for kind, verdicts in _verdicts(document).items()
        if verdicts
    ]
    if not clauses:
        return "No published value with an error bar was available to judge these numbers against."
    return (
        f"Within {number(AGREES_WITHIN)} combined standard errors: {' and '.join(clauses)}. "
        "Only comparisons with both error bars known are counted."
    )


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
    text = f"the {pair_text(answer.quantity)} is {estimate_text(answer)}"
    ranked = sorted(answer.references, key=lambda reference: reference.kind != "experiment")
    if not ranked:
        return text
    best = ranked[0]
    return f"{text} ({best.kind}: {published_text(best.value, best.uncertainty, answer.unit)})"


def _agreement_clause(kind: Kind, verdicts: list[Verdict]) -> str:
    agreeing, refused = verdicts.count("agrees"), verdicts.count("disagrees")
    text = f"{agreeing} of {_count(len(verdicts), 'comparison')} with {kind}"
    if not refused:
        return text
    return f"{text} ({refused} off by more than {number(DISAGREES_BEYOND)})"


def _verdicts(document: RunDocument) -> dict[Kind, list[Verdict]]:
    judged: dict[Kind, list[Verdict]] = {"experiment": [], "simulation": []}
    for answer in document.answers:
        if answer.estimate is None:
            continue
        for reference in answer.references:
            verdict = deviation(answer.estimate, reference).verdict
            if verdict != "not judged":
                judged[reference.kind].append(verdict)
    return judged


def _count(n: int, noun: str) -> str:
    return f"{number(n)} {noun}" if n == 1 else f"{number(n)} {noun}s"
