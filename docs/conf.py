# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Sphinx configuration; what is not set here comes from sphinx-astropy."""

import os
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

# A build must not depend on the settings of the one who builds, nor leave
# anything behind. It comes before any import of astropy.
_home = tempfile.mkdtemp(prefix="paperclip-docs-")
os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = _home
os.environ["HF_HUB_OFFLINE"] = "1"

from sphinx_astropy.conf.v3 import *
from sphinx_astropy.conf.v3 import exclude_patterns, extensions, intersphinx_mapping

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
from make_inventories import PROJECTS

with (ROOT / "pyproject.toml").open("rb") as stream:
    _project = tomllib.load(stream)["project"]

# -- project ------------------------------------------------------------------
project = "paperclip"
author = _project["authors"][0]["name"]
_years = dict.fromkeys((2026, datetime.now(tz=UTC).year))
project_copyright = f"{'-'.join(map(str, _years))}, {author}"
release = metadata.version(_project["name"])
version = ".".join(release.split(".")[:2])
html_title = f"{project} {version}"
html_theme_options = {"navigation_with_keys": False}
html_static_path = ["_static"]
html_css_files = ["paperclip.css"]

# -- extensions ---------------------------------------------------------------
extensions += ["sphinx_gallery.gen_gallery"]
# issues have no public address yet; set github_issues_url when they have one
extensions.remove("sphinx_astropy.ext.changelog_links")
exclude_patterns += [
    "examples",
    "_inv",
    "gallery/*.ipynb",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]

# -- cross references ---------------------------------------------------------
# PAPERCLIP_DOCS_OFFLINE=1 reads the vendored inventories and no network.
OFFLINE = os.environ.get("PAPERCLIP_DOCS_OFFLINE") == "1"
intersphinx_mapping.clear()
for _name, _url in PROJECTS.items():
    _local = str(ROOT / "docs" / "_inv" / f"{_name}.inv")
    intersphinx_mapping[_name] = (_url, _local if OFFLINE else (None, _local))
intersphinx_timeout = 20

nitpicky = True
_exceptions = (ROOT / "docs" / "nitpick-exceptions.txt").read_text(encoding="utf-8")
nitpick_ignore = [
    tuple(line.split(None, 1))
    for line in _exceptions.splitlines()
    if line.strip() and not line.startswith("#")
]

# -- API pages ----------------------------------------------------------------
automodapi_toctreedirnm = "reference/api"
automodsumm_inherited_members = False
autoclass_content = "class"
autodoc_typehints = "none"

# -- gallery ------------------------------------------------------------------
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",  # only these are executed
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("paperclip",),
    "reference_url": {"paperclip": None},
    "backreferences_dir": "gallery/backreferences",
    "abort_on_example_error": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 5,
    "reset_modules": ("matplotlib",),
    "plot_gallery": "True",
    "download_all_examples": False,
}

# -- link check ---------------------------------------------------------------
linkcheck_retries = 3
linkcheck_timeout = 60
linkcheck_anchors = False
linkcheck_ignore = [r"https://doi\.org/.*", r"https://ui\.adsabs\.harvard\.edu/.*"]
