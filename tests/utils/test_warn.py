# Licensed under a 3-clause BSD style license - see LICENSE.rst
import pytest

from paperclip.exceptions import NoResultsWarning
from paperclip.mast import get_product_list
from paperclip.utils.warn import warn_user


def test_the_place_is_this_file():
    with pytest.warns(NoResultsWarning, match="nothing") as caught:
        warn_user("nothing", NoResultsWarning)
    assert caught[0].filename == __file__
    with pytest.warns(NoResultsWarning, match="no observations") as caught:
        get_product_list(None, [])
    assert caught[0].filename == __file__
