# Licensed under a 3-clause BSD style license - see LICENSE.rst
import pytest

from paperclip import conf


def test_misspelt_names_are_refused_with_the_nearest():
    with pytest.raises(AttributeError, match=r"no item 'tiemout'; did you mean 'timeo"):
        conf.tiemout = 5


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="timeout"):
        conf.timeout = "soon"


def test_values_change_for_a_while():
    with conf.set_temp("batch_size", 3):
        assert conf.batch_size == 3
    assert conf.batch_size == 32
