# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The README and the pages: what can be checked without building them."""

import importlib.util
import re
from pathlib import Path

import pytest

import paperclip
from paperclip.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module", name="inventories")
def fixture_inventories():
    path = DOCS / "make_inventories.py"
    spec = importlib.util.spec_from_file_location("make_inventories", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def readme_blocks():
    """Return the code blocks of the README as (language, text)."""
    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    found = re.findall(r"^\.\. code-block:: (\w+)\n\n((?:    .*\n|\n)+)", text, re.M)
    return [
        (language, re.sub("^    ", "", block, flags=re.M).strip())
        for language, block in found
    ]


def test_first_two_blocks_of_the_readme_set_everything_up():
    (one, setup), (two, tests), *_ = readme_blocks()
    assert (one, two) == ("bash", "bash")
    assert setup.startswith("python3 -m venv .venv && ")
    assert "paperclip query" in setup
    assert tests.endswith(".venv/bin/pytest")
    assert "\n" not in setup + tests  # .ci/run reads one line each


def test_python_of_the_readme_is_valid():
    blocks = [text for language, text in readme_blocks() if language == "python"]
    assert blocks
    for text in blocks:
        compile(text, "README.rst", "exec")


def test_inventories_hold_what_is_listed(inventories):
    for project, entries in inventories.read_names().items():
        found = inventories.parse((DOCS / "_inv" / f"{project}.inv").read_bytes())
        places = {key: place for key, (_, place) in found.items()}
        assert places == {key: place for key, (_, place) in entries.items()}


def test_inventories_stay_small():
    for path in (DOCS / "_inv").glob("*.inv"):
        assert path.stat().st_size < 10_000


def test_inventory_survives_a_round_trip(inventories):
    entries = {("a.b", "py:class"): ("1", "x.html#a.b"), ("c", "std:label"): ("1", "y")}
    assert inventories.parse(inventories.compose("some", entries)) == entries


@pytest.mark.parametrize(
    "name",
    [path.stem for path in sorted((DOCS / "examples").glob("*.py"))],
)
def test_examples_are_run_by_the_build(name):
    assert name.startswith("plot_"), "only plot_*.py are executed"


def test_every_public_module_has_a_reference_page():
    pages = "".join(
        path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.rst")
    )
    shown = set(re.findall(r"automodapi:: (\S+)", pages))
    package = Path(paperclip.__file__).parent
    rooms = {
        f"paperclip.{path.parent.name}"
        for path in package.glob("*/__init__.py")
        if path.parent.name not in {"archive", "utils", "cli", "data"}
    }
    assert rooms | {"paperclip"} <= shown


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_is_on_the_page_of_the_command_line(name):
    page = (DOCS / "user_guide" / "command_line.rst").read_text(encoding="utf-8")
    last = name.split()[-1]  # commands of a group may share a line
    assert re.search(rf"``(paperclip {name}|{last})[ `]", page)
