# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the user-facing class asks the archive; the work is done in `paperclip.mast`."""

from .files import FileMethods
from .observations import ObservationMethods

__all__ = ["ArchiveMethods"]


class ArchiveMethods(ObservationMethods, FileMethods):
    """
    Observations, proposals, previews and products of MAST.

    The methods take what the others return: a table of `query_criteria`, or of
    ``query_text``, can be handed to `get_product_list`, `get_previews`,
    `get_proposals` and `download_products`.
    """
