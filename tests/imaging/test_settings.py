# Licensed under a 3-clause BSD style license - see LICENSE.rst
import subprocess
import sys

import numpy as np
import pytest

from paperclip.exceptions import InvalidQueryError
from paperclip.imaging import ImageConversion, to_rgb

DATA = np.arange(400.0).reshape(20, 20)


def test_fingerprint_depends_on_every_setting():
    changed = [
        {"percentiles": (1, 99)},
        {"noise_range": 0},
        {"softening": 0.1},
        {"white": 1},
        {"blank": 7},
        {"max_size": 512},
        {"fill_holes": 0},
        {"use_dq": False},
    ]
    prints = {ImageConversion(**one).fingerprint for one in [{}, *changed]}
    assert len(prints) == len(changed) + 1


def test_fingerprint_is_the_same_in_another_process():
    code = "from paperclip.imaging import ImageConversion as C; print(C().fingerprint)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == ImageConversion().fingerprint


def test_equal_settings_of_other_types_have_one_fingerprint():
    first = ImageConversion(percentiles=[1, 99], blank=np.int64(3), white=1)
    second = ImageConversion(percentiles=(1.0, 99.0), blank=3, white=1.0)
    assert first == second
    assert first.fingerprint == second.fingerprint


def test_dictionary_round_trip():
    conversion = ImageConversion(max_size=300, percentiles=(1, 98))
    assert ImageConversion(**conversion.to_dict()) == conversion


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"percentiles": (99, 1)}, "0 <= low < high <= 100, got 99 and 1"),
        ({"percentiles": 5}, "two numbers"),
        ({"percentiles": (1, float("nan"))}, "two numbers"),
        ({"softening": 0}, "softening must be a number from 1e-06"),
        ({"softening": "x"}, "softening must be a number"),
        ({"white": True}, "white must be a number"),
        ({"noise_range": -1}, "noise_range must be a number from 0"),
        ({"blank": 256}, "blank must be an integer from 0 to 255, got 256"),
        ({"blank": 1.5}, "blank must be an integer"),
        ({"max_size": 4}, "max_size must be an integer from 8"),
        ({"fill_holes": -1}, "fill_holes must be an integer from 0"),
        ({"use_dq": 1}, "use_dq must be True or False, got 1"),
    ],
)
def test_wrong_values(settings, match):
    with pytest.raises(InvalidQueryError, match=match):
        ImageConversion(**settings)


def test_unknown_setting_suggests_the_nearest():
    with pytest.raises(InvalidQueryError, match="'max_sise'; did you mean 'max_size'"):
        to_rgb(DATA, max_sise=10)


def test_conversion_and_settings_exclude_each_other():
    with pytest.raises(InvalidQueryError, match=r"not both"):
        to_rgb(DATA, conversion=ImageConversion(), blank=3)


def test_conversion_of_another_type():
    with pytest.raises(InvalidQueryError, match="must be an ImageConversion, got dict"):
        to_rgb(DATA, conversion={"blank": 3})
