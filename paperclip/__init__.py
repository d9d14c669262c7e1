# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Search and describe telescope images with words.

Importing this package is cheap on purpose: no network, no torch.
"""

from difflib import get_close_matches as _get_close_matches

from astropy import config as _config

from .utils.lazy import lazy_names as _lazy_names

try:
    from ._version import version as __version__
except ImportError:  # a bare source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["Conf", "Paperclip", "PaperclipClass", "__version__", "conf"]


class Conf(_config.ConfigNamespace):
    """
    Configuration parameters for `paperclip`.

    Every value is read when it is needed, so a change takes effect on the
    next call. Assigning a name that does not exist raises `AttributeError`.
    """

    model = _config.ConfigItem(
        "builtin",
        "Model to load: 'builtin', 'org/name[@revision]' on the Hugging Face "
        "Hub, or a local model directory.",
    )
    index = _config.ConfigItem(
        "builtin",
        "Index to search: 'builtin', a directory, or an object-store URI.",
    )
    device = _config.ConfigItem(
        "auto",
        "Where the model runs: 'auto' (CUDA when there is one), 'cpu', 'cuda', "
        "'cuda:1', 'mps'.",
    )
    offline = _config.ConfigItem(
        False,
        "When True nothing is downloaded; what is missing raises OfflineError.",
    )
    timeout = _config.ConfigItem(
        60.0,
        "Seconds to wait for a response from a remote service.",
    )
    retries = _config.ConfigItem(
        5,
        "How often a request that may be repeated is tried before it counts as failed.",
    )
    workers = _config.ConfigItem(
        8,
        "Files that are downloaded at the same time.",
    )
    mast_server = _config.ConfigItem(
        "https://mast.stsci.edu",
        "Address of MAST, or of a mirror that answers the same requests.",
    )
    abstracts_url = _config.ConfigItem(
        "https://archive.stsci.edu/hst/proposal_abstracts.html",
        "Catalogue of HST proposal abstracts: the page that links to it, the file "
        "itself, or a path on this machine.",
    )
    programme_server = _config.ConfigItem(
        "https://www.stsci.edu",
        "Server of the public programme files of HST and JWST.",
    )
    cloud_server = _config.ConfigItem(
        "https://stpubdata.s3.amazonaws.com",
        "Address of the public copy of MAST in the cloud (bucket stpubdata).",
    )
    batch_size = _config.ConfigItem(
        32,
        "Pictures or texts that go through the model together.",
    )
    cache_dir = _config.ConfigItem(
        "",
        "Directory of downloaded files; empty for the astropy cache of this package.",
    )

    def __setattr__(self, name, value):
        """Refuse misspelt names, which astropy would accept silently."""
        names = sorted(self)
        if name not in names:
            near = _get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            msg = f"paperclip.conf has no item {name!r}{hint} Choose from {names}"
            raise AttributeError(msg)
        super().__setattr__(name, value)


conf = Conf()

# public name -> module that defines it (PEP 562, resolved on first access)
_LAZY = {"Paperclip": ".core", "PaperclipClass": ".core"}
__getattr__, __dir__ = _lazy_names(__name__, _LAZY)
