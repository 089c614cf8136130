"""What the README and the documentation say is true: code runs, commands exist, links lead on."""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import generate
import readme_numbers
from bjerrum import cli
from bjerrum.campaign.spec import CampaignConfig
from bjerrum.configuration import RunConfig
from bjerrum.errors import BjerrumError
from bjerrum.potential.card import shipped_models
from bjerrum.potential.spec import TrainingSpec
from bjerrum.specification import validate_spec
from docstrings import listed_names, to_markdown
from mathematics import render_mathematics

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMANDS = dict(generate.commands())
MAKEFILE = (ROOT / "Makefile").read_text()
DOCTEST_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
FENCE = re.compile(r"^```(?P<kind>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:bjerrum|make) [^`]+)`")
LINK = re.compile(r"!?\[[^]]*\]\((?P<target>[^)\s]+)\)")
SNIPPET = re.compile(r'^--8<-- "(?P<path>[^"]+)"$', re.MULTILINE)


class Block(NamedTuple):
    page: str
    code: str


def text_of(page: Path) -> str:
    return SNIPPET.sub(lambda match: (ROOT / match["path"]).read_text(), page.read_text())


def blocks(kind: str) -> Iterator[Block]:
    for page in PAGES:
        for fence in FENCE.finditer(text_of(page)):
            if fence["kind"] == kind:
                yield Block(str(page.relative_to(ROOT)), fence["code"])


def command_lines() -> Iterator[Block]:
    """Every line after a prompt, and every inline mention of a command."""
    for block in blocks("console"):
        for line in block.code.splitlines():
            if line.startswith("$ "):
                yield Block(block.page, line.removeprefix("$ "))
    for page in PAGES:
        for mention in INLINE.findall(FENCE.sub("", text_of(page))):
            yield Block(str(page.relative_to(ROOT)), mention)


def by_page(blocks: Iterator[Block]) -> list:
    return [pytest.param(b.code, id=f"{b.page}-{k}") for k, b in enumerate(blocks)]


def problem_of(line: str) -> str | None:
    """Return what is wrong with a documented command line, if anything."""
    program, *words = shlex.split(line)
    if Path(program).name == "bjerrum":
        return bjerrum_problem(words)
    return make_problem(words) if program == "make" else None


def bjerrum_problem(words: list[str]) -> str | None:
    if words in (["--help"], ["--version"]):
        return None
    name = next((n for n in (2, 1) if " ".join(["bjerrum", *words[:n]]) in COMMANDS), None)
    if name is None:
        return f"no such command: bjerrum {' '.join(words)}"
    command = COMMANDS[" ".join(["bjerrum", *words[:name]])]
    known = {option for p in command.params for option in [*p.opts, *p.secondary_opts]} | {"--help"}
    given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    unknown = sorted(given - known)
    return f"no such option: {', '.join(unknown)}" if unknown else None


def make_problem(words: list[str]) -> str | None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    variables = set(re.findall(r"^([A-Z_]+) \?=", MAKEFILE, re.MULTILINE))
    for word in words:
        name, is_variable, _ = word.partition("=")
        if name not in (variables if is_variable else phony.split()):
            return f"make does not know {word}"
    return None


@pytest.mark.parametrize("code", by_page(blocks("python")))
def test_python_of_the_documentation_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(code, {}, "block", None, 0)
    assert test.examples, "Python in the documentation is written as at the prompt, with >>>"
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=DOCTEST_FLAGS)
    runner.run(test, out=printed.append)
    assert runner.failures == 0, "".join(printed)


@pytest.mark.parametrize("line", by_page(command_lines()))
def test_documented_commands_and_options_exist(line):
    assert problem_of(line) is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("bjerrum predict box.xyz", "no such command"),
        ("bjerrum run x.toml --resume", "no such option: --resume"),
        ("bjerrum analyse dielectric traj.h5", "no such command"),
        (".venv/bin/bjerrum build --salts LiCl", "no such option: --salts"),
        ("make everything", "make does not know"),
        ("make run MINUTES=3", "make does not know"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line, reason):
    assert reason in (problem_of(line) or "")


def with_output() -> Iterator[Block]:
    for block in blocks("console"):
        command, _, output = block.code.partition("\n")
        if command.startswith("$ bjerrum") and output and not output.startswith("$ "):
            yield block


@pytest.mark.parametrize("code", by_page(with_output()))
def test_documented_output_is_what_the_command_prints(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command, _, expected = code.partition("\n")
    monkeypatch.setattr(sys, "argv", shlex.split(command.removeprefix("$ ")))
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    printed = capsys.readouterr()
    assert stopped.value.code == 2
    assert doctest.OutputChecker().check_output(expected, printed.err, DOCTEST_FLAGS), printed.err
    assert not list(tmp_path.iterdir()), "a command that fails leaves nothing behind"


@pytest.mark.parametrize("code", by_page(blocks("toml")))
def test_documented_settings_are_valid(code):
    data = tomllib.loads(code)
    kinds = {"solution": RunConfig, "solutions": CampaignConfig}
    spec = next((kind for key, kind in kinds.items() if key in data), TrainingSpec)
    validate_spec(data, spec, "the documentation")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    targets = [link["target"].split("#")[0] for link in LINK.finditer(page.read_text())]
    files = [target for target in targets if target and "://" not in target]
    missing = [name for name in files if not (page.parent / name).exists()]
    assert not missing


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if "docs" in page.parts[-2:]}
    assert not {page for page in pages if f": {page}\n" not in navigation}


def test_every_exit_code_is_documented():
    documented = re.findall(r"^\| (\d+) \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    raised = {str(error.exit_code) for error in generate.subclasses(BjerrumError)}
    assert raised | {"0", "130"} == set(documented)


def test_documentation_names_no_place_of_one_machine():
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(work|home|root|tmp)/", page.read_text()), page


def test_generated_tables_hold_what_the_code_holds():
    commands = generate.command_reference()
    assert all(f"## {name}\n" in commands for name in COMMANDS)
    assert "| `-o`, `--output` | path | required | Extended XYZ to write. |" in commands
    settings = generate.GENERATORS["run settings"]()
    assert all(f"### `[{name}]`" in settings for name in ("solution", "dynamics", "analysis"))
    assert "| `molality_mol_per_kg` | number | required |" in settings
    assert re.search(r"\| `timestep_fs` \| number > 0, <= 2 \| `1.0` \|", settings)
    training = generate.GENERATORS["training settings"]()
    assert "| `method` | `muon` or `adam` | `muon` |" in training
    campaign = generate.GENERATORS["campaign settings"]()
    assert all(f"### `[{name}]`" in campaign for name in ("solutions", "learning", "coarsening"))
    assert "### `[gpu]`" in generate.GENERATORS["slurm profile"]()
    assert all(f"### {name}\n" in generate.model_cards() for name in shipped_models())
    assert "| `LockedError` | 2 |" in generate.error_classes()
    assert "bjerrum.potential.nequip" in generate.modules()["potential"]


def test_docstrings_become_markdown():
    docstring = """Do it.

    Raises nothing; see :func:`~bjerrum.other`.

    first, second  two numbers, eV
    third          one, that takes
                   two lines
    Returns a sum.
    """
    assert listed_names(docstring) == {
        "first": "two numbers, eV",
        "second": "two numbers, eV",
        "third": "one, that takes two lines",
    }
    assert to_markdown(docstring) == (
        "Do it.\n\nRaises nothing; see `bjerrum.other`.\n\n"
        "\n- `first`, `second`: two numbers, eV\n- `third`: one, that takes\n  two lines\n"
        "\nReturns a sum."
    )


def test_formulas_become_mathml():
    html = render_mathematics("a $`x^2`$ b\n\n```math\n\\frac{1}{2}\n```\n")
    assert html.count("<math") == 2
    assert "<msup>" in html
    assert "<mfrac>" in html
    assert "```" not in html


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The documentation, built with every warning an error."""
    pytest.importorskip("mkdocs", reason="pip install -e '.[docs]' builds the documentation")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-3000:]
    return folder


def test_site_builds_and_holds_every_module_and_command(site):
    commands = (site / "commands.html").read_text()
    assert all(f"{name}<a" in commands for name in COMMANDS)
    for name, members in generate.modules().items():
        page = (site / "api" / f"{name}.html").read_text()
        assert all(f'id="{m}"' in page for m in members if generate.has_content(m)), name


def test_site_needs_no_network(site):
    loaded = re.compile(r'<(?:script|img|iframe)[^>]+src="https?:|<link[^>]+href="https?:')
    for page in site.rglob("*.html"):
        assert not loaded.search(page.read_text()), page.name


def test_no_mark_or_formula_is_left_in_the_site(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert "generated:" not in text, page.name
        assert "--8&lt;--" not in text, page.name
        assert "\\frac" not in re.sub(r"<math.*?</math>", "", text, flags=re.DOTALL), page.name


def test_the_errors_in_the_readme_are_those_of_the_card():
    card = json.loads(readme_numbers.CARD.read_text())
    readme = (ROOT / "README.md").read_text()
    for row in readme_numbers.error_rows(card):
        assert row in readme
