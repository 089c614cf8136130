"""Settings: what is wrong is refused in one line that names file, key, expected and got."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from bjerrum.errors import InputError
from bjerrum.potential.spec import TrainingSpec
from bjerrum.specification import Count, NotNegative, Positive, Spec, read_spec, validate_spec

EXAMPLES = Path(__file__).parents[1] / "examples"


class Inner(Spec):
    n: Count = 3
    length: Positive = 1.0
    part: NotNegative = 0.0
    method: Literal["muon", "adam"] = "muon"
    switched_on: bool = False
    names: list[str] = Field(default_factory=list)
    weights: dict[str, Positive] = Field(default_factory=dict)


class Outer(Spec):
    title: str
    inner: Inner = Inner()
    maximum: Positive | None = None

    @model_validator(mode="after")
    def _title_fits(self) -> Outer:
        if len(self.title) > self.inner.n:
            raise ValueError(f"expected a title of {self.inner.n} letters, got {self.title!r}")
        return self


def read(tmp_path: Path, text: str | bytes) -> Outer:
    path = tmp_path / "settings.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_spec(path, Outer)


def refused(tmp_path: Path, text: str | bytes) -> str:
    """Return the message after the file's name."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    message, start = str(caught.value), f"{tmp_path / 'settings.toml'}: "
    assert caught.value.exit_code == 2
    assert message.startswith(start)
    assert "\n" not in message
    assert len(message) - len(start) < 300
    return message.removeprefix(start)


def test_defaults_and_values(tmp_path):
    spec = read(tmp_path, 'title = "abc"\nmaximum = 2.5\n[inner]\nweights = { Li = 1, O = 3.5 }')
    assert spec == Outer(title="abc", maximum=2.5, inner=Inner(weights={"Li": 1.0, "O": 3.5}))
    assert spec.inner.n == 3


def test_whole_numbers_count_as_real_ones(tmp_path):
    length = read(tmp_path, 'title = "abc"\ninner.length = 2').inner.length
    assert length == 2.0
    assert isinstance(length, float)


def test_a_spec_cannot_be_changed(tmp_path):
    spec = read(tmp_path, 'title = "abc"')
    with pytest.raises(ValidationError, match="frozen"):
        spec.title = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('n = "80"', "inner.n: expected a valid integer, got '80'"),
        ("n = 80.5", "inner.n: expected a valid integer, got 80.5"),
        ("n = 80.0", "inner.n: expected a valid integer, got 80.0"),
        ("n = true", "inner.n: expected a valid integer, got True"),
        ("n = 0", "inner.n: expected greater than 0, got 0"),
        ('length = "1"', "inner.length: expected a valid number, got '1'"),
        ("length = true", "inner.length: expected a valid number, got True"),
        ("length = 0.0", "inner.length: expected greater than 0, got 0.0"),
        ("length = -1", "inner.length: expected greater than 0, got -1"),
        ("length = nan", "inner.length: expected a finite number, got nan"),
        ("length = inf", "inner.length: expected a finite number, got inf"),
        ("length = 2026-01-01", "inner.length: expected a valid number, got datetime.date"),
        ("length = " + "9" * 400, "inner.length: expected a valid number, got 999"),
        ("part = -0.1", "inner.part: expected greater than or equal to 0, got -0.1"),
        ('method = "sgd"', "inner.method: expected 'muon' or 'adam', got 'sgd'"),
        ("switched_on = 1", "inner.switched_on: expected a valid boolean, got 1"),
        ('switched_on = "yes"', "inner.switched_on: expected a valid boolean, got 'yes'"),
        ('names = "Li"', "inner.names: expected a valid list, got 'Li'"),
        ('names = ["Li", 3]', "inner.names.1: expected a valid string, got 3"),
        ('weights = { Li = "1" }', "inner.weights.Li: expected a valid number, got '1'"),
        ("weights = [1]", "inner.weights: expected a table, got [1]"),
        (f'n = "{"8" * 1000}"', "inner.n: expected a valid integer, got '888"),
        (r'names = "a\nb"', r"inner.names: expected a valid list, got 'a\nb'"),
        (
            "size = 3",
            "unknown key 'inner.size'; expected one of: length, method, n, names, part, "
            "switched_on, weights",
        ),
    ],
)
def test_wrong_values(tmp_path, text, message):
    assert refused(tmp_path, f'title = "abc"\n[inner]\n{text}').startswith(message)


def test_wrong_tables(tmp_path):
    assert refused(tmp_path, 'title = "a"\ninner = 5') == "inner: expected a table, got 5"
    assert refused(tmp_path, "title = 5") == "title: expected a valid string, got 5"
    message = refused(tmp_path, "[title]\na = 1")
    assert message == "title: expected a valid string, got {'a': 1}"


def test_unknown_and_missing_keys(tmp_path):
    known = "expected one of: inner, maximum, title"
    assert refused(tmp_path, "") == "key 'title' is missing"
    assert refused(tmp_path, 'title = "a"\nTitle = "a"') == f"unknown key 'Title'; {known}"
    assert refused(tmp_path, 'titel = "a"') == f"unknown key 'titel'; {known}"
    assert refused(tmp_path, "[x.y]\nz = 1") == f"unknown key 'x'; {known}"


def test_a_validator_speaks_for_itself(tmp_path):
    message = refused(tmp_path, 'title = "abcd"')
    assert message == "the file: expected a title of 3 letters, got 'abcd'"


@pytest.mark.parametrize(
    "text",
    ["a = = 1", 'title = "abc', "[inner", "title", b"title = \xff", b"\x00\x93", "a = 1\na = 2"],
)
def test_not_toml(tmp_path, text):
    assert refused(tmp_path, text).startswith("is not valid TOML: ")


def test_numbers_and_nesting_beyond_python(tmp_path):
    assert refused(tmp_path, "a = " + "9" * 5000).startswith("is not valid TOML: ")
    assert refused(tmp_path, "a = " + "[" * 100_000).startswith("is not valid TOML: ")


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(InputError, match="expected a TOML file, but it cannot be read"):
            read_spec(path, Outer)


def test_data_from_elsewhere_is_named():
    with pytest.raises(InputError, match=r"^model\.json: key 'title' is missing$"):
        validate_spec({}, Outer, "model.json")


def test_the_training_example():
    spec = read_spec(EXAMPLES / "train_licl.toml", TrainingSpec)
    assert dict(spec.baseline.build().charges) == {"Li": 1.0, "Cl": -1.0}
    assert spec.network.cutoff_angstrom == 5.0
