# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What is installed, and who owns the settings of the project."""

import configparser
import importlib
import pkgutil
import re
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest

import paperclip

ROOT = Path(__file__).parents[1]
DISTRIBUTION = "astro-paperclip"
# what the package cannot work without, as paths below paperclip/
NEEDED_DATA = [
    "data/builtin_model/README.md",
    "data/builtin_model/checksums.json",
    "data/builtin_model/open_clip_config.json",
    "data/builtin_model/open_clip_model.safetensors",
    "data/vocabulary.ecsv",
    "py.typed",
]


def modules():
    found = pkgutil.walk_packages(paperclip.__path__, prefix="paperclip.")
    names = sorted(module.name for module in found)
    return ["paperclip", *(name for name in names if not name.endswith("._version"))]


@pytest.fixture(scope="module", name="project")
def fixture_project():
    with (ROOT / "pyproject.toml").open("rb") as stream:
        return tomllib.load(stream)["project"]


def test_setup_cfg_holds_no_metadata():
    # a version in its [metadata] silently wins over the one of git
    parser = configparser.ConfigParser()
    assert parser.read(ROOT / "setup.cfg")
    forbidden = ("metadata", "options", "tool:")
    assert not [s for s in parser.sections() if s.startswith(forbidden)]


def test_version_comes_from_the_installation():
    assert paperclip.__version__ == metadata.version(DISTRIBUTION)


def test_python_that_runs_is_supported(project):
    assert project["requires-python"] == ">=3.11"


def test_all_extra_holds_the_others_for_users(project):
    extras = project["optional-dependencies"]
    (every,) = extras["all"]
    inside = re.fullmatch(r"astro-paperclip\[(.*)\]", every)[1].split(",")
    compiled = {"llamacpp"}
    assert set(inside) == set(extras) - {"all", "test", "docs", "dev"} - compiled


@pytest.mark.parametrize("name", modules())
def test_every_public_name_resolves(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    if "._" in name:
        return
    assert len(module.__all__) == len(set(module.__all__))
    for public in module.__all__:
        assert getattr(module, public) is not None


@pytest.mark.parametrize("path", NEEDED_DATA)
def test_package_data_are_installed(path):
    assert resources.files("paperclip").joinpath(path).is_file()


def test_data_in_the_repository_are_installed():
    """A file that is committed but not packaged would be missed by users only."""
    installed = resources.files("paperclip").joinpath("data")
    for path in (ROOT / "paperclip" / "data").rglob("*"):
        relative = path.relative_to(ROOT / "paperclip" / "data")
        # hidden: the lock that a writer of the index leaves
        hidden = any(part.startswith((".", "__")) for part in relative.parts)
        if path.is_file() and not hidden:
            assert installed.joinpath(*relative.parts).is_file(), relative


def test_command_is_installed():
    (command,) = metadata.entry_points(group="console_scripts", name="paperclip")
    assert command.value == "paperclip.cli:main"


def test_licence_travels_with_the_installation():
    files = metadata.files(DISTRIBUTION) or []
    assert (
        any(path.name == "LICENSE.rst" for path in files)
        or (ROOT / "LICENSE.rst").is_file()
    )
    assert metadata.metadata(DISTRIBUTION)["License-Expression"] == "BSD-3-Clause"


@pytest.mark.parametrize("name", ["paperclip", "tests", "docs", "tools", "benchmarks"])
def test_every_source_file_names_the_licence(name):
    line = "# Licensed under a 3-clause BSD style license - see LICENSE.rst"
    for path in (ROOT / name).rglob("*.py"):
        generated = {"_build", "gallery", "reference"} & set(path.parts)
        if path.name == "_version.py" or generated or "examples" in path.parts:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        assert line in lines[:2], f"{path.relative_to(ROOT)} has no licence line"
