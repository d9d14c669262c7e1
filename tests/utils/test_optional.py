# Licensed under a 3-clause BSD style license - see LICENSE.rst
import sys

import pytest

from paperclip.exceptions import MissingDependencyError
from paperclip.utils.optional import import_optional


def test_present_module_is_returned():
    assert import_optional("json", extra="plot", purpose="A test").dumps([]) == "[]"


def test_missing_module_names_the_extra():
    with pytest.raises(
        MissingDependencyError,
        match=r"Drawing needs 'not_there.sub'.*pip install 'astro-paperclip\[plot\]'",
    ):
        import_optional("not_there.sub", extra="plot", purpose="Drawing")


def test_broken_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("import something_that_it_lacks\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    with pytest.raises(ModuleNotFoundError, match="something_that_it_lacks"):
        import_optional("broken_module", extra="plot", purpose="A test")
