"""Numbers as a person reads them: rounded to what their standard error supports."""

from __future__ import annotations

import math
import re
from decimal import Decimal, localcontext

_SUPERSCRIPT = str.maketrans("+-0123456789", "⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
_UNITS_WITH_POWERS = r"(?<![A-Za-z])(Å|m|cm|nm|s|ps|fs|mol|kg|g|L|K|eV|meV|kJ)(-?\d)\b"
_LARGEST_PLAIN_EXPONENT = 4
_SMALLEST_PLAIN_EXPONENT = -3
_DOUBLE_PRECISION = 1e-15


def with_error(value: float, error: float, digits: int = 2) -> str:
    """Return "value ± error": error to ``digits`` significant digits, value to the same place.

    1.96834 and 0.01278 give "1.968 ± 0.013". Both share one power of ten, which is written out
    where the larger of the two is 10^5 or more, or below 10^-3. An error of zero, or below
    double precision, rounds nothing.
    """
    if error <= _DOUBLE_PRECISION * abs(value):
        return f"{number(value, 10)}{_SPACE}±{_SPACE}{number(error, digits)}"
    rounded, rounded_error, exponent = _round_together(value, error, digits)
    text = f"{rounded}{_SPACE}±{_SPACE}{rounded_error}"
    return f"({text}){_power_of_ten(exponent)}" if exponent else text


def published(value: float, uncertainty: float | None) -> str:
    """Return a published value: like :func:`with_error`, but "4.9 ± 0.3" gains no digit."""
    if uncertainty is None:
        return number(value)
    has_one_digit = float(f"{uncertainty:.0e}") == uncertainty
    return with_error(value, uncertainty, digits=1 if has_one_digit else 2)


def with_unit(text: str, unit: str) -> str:
    """Return a rounded number with its unit; a unit such as 1e-9 m2/s becomes a factor."""
    printed = unit_text(unit)
    if not printed:
        return text
    if not re.match(r"10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]", printed):
        return f"{text}{_SPACE}{printed}"
    factor = f"({text})" if "±" in text and not text.startswith("(") else text
    return f"{factor} ×{_SPACE}{printed}"


def signed(value: float, error: float) -> str:
    """Return ``value`` with its sign, to the decimal place of the second digit of ``error``."""
    if error <= _DOUBLE_PRECISION * abs(value):
        text = number(value, 10)
    else:
        rounded, _, exponent = _round_together(value, error, 2)
        text = rounded + (_power_of_ten(exponent) if exponent else "")
    has_sign = value > 0 and any(digit in "123456789" for digit in text)
    return f"+{text}" if has_sign else text


def number(value: float, digits: int = 6) -> str:
    """Return a number to ``digits`` significant digits; counts in full, in groups of three."""
    if isinstance(value, int):
        return f"{value:,}".replace(",", _THIN_SPACE).replace("-", _MINUS)
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    text = mantissa.replace("-", _MINUS)
    if not exponent:
        return text
    if 0 < int(exponent) <= _LARGEST_PLAIN_EXPONENT:
        return number(int(float(f"{value:.{digits}g}")))
    return text + _power_of_ten(int(exponent))


def unit_text(unit: str) -> str:
    """Return a unit as printed: "angstrom" is Å, "m2" is m², "1" is nothing."""
    if unit == "1":
        return ""
    unit = re.sub(r"\bangstrom", "Å", unit)
    unit = re.sub(r"\b1e(-?\d+)", lambda found: f"10{found[1].translate(_SUPERSCRIPT)}", unit)
    return re.sub(
        _UNITS_WITH_POWERS, lambda found: found[1] + found[2].translate(_SUPERSCRIPT), unit
    )


def formula_text(formula: str) -> str:
    """Return a chemical formula with its counts as subscripts: CaCl2 is CaCl₂."""
    return re.sub(r"(?<=[A-Za-z)])\d+", lambda found: found[0].translate(_SUBSCRIPT), formula)


def pair_text(text: str) -> str:
    """Return a text with its pairs of elements joined by an en dash: Li-O is Li–O."""
    return re.sub(r"\b([A-Z][a-z]?)-([A-Z][a-z]?)\b", "\\1\N{EN DASH}\\2", text)


def _round_together(value: float, error: float, digits: int) -> tuple[str, str, int]:
    """Return value and error as text, and the power of ten (0: none) to multiply both by."""
    exponent = math.floor(math.log10(max(abs(value), error)))
    if _SMALLEST_PLAIN_EXPONENT <= exponent <= _LARGEST_PLAIN_EXPONENT:
        exponent = 0
    with localcontext(prec=40):
        scaled_error = Decimal(error).scaleb(-exponent)
        first_digit = int(f"{scaled_error:.{digits - 1}e}".partition("e")[2])
        quantum = Decimal(1).scaleb(first_digit - digits + 1)
        rounded = Decimal(value).scaleb(-exponent).quantize(quantum)
        rounded_error = scaled_error.quantize(quantum)
    sign = _MINUS if rounded < 0 else ""
    return f"{sign}{abs(rounded):f}", f"{rounded_error:f}", exponent


def _power_of_ten(exponent: int) -> str:
    return f" ×{_SPACE}10{str(exponent).translate(_SUPERSCRIPT)}"
