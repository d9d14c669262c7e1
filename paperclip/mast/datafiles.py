# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Download the files of products into a folder of the user."""

import os
from contextlib import closing
from pathlib import PurePosixPath

from astropy.table import Table

from paperclip.exceptions import (
    FailedRowsWarning,
    InvalidQueryError,
    NoResultsWarning,
)
from paperclip.results import ColumnSpec, describe_columns
from paperclip.utils.checks import folder_path, whole_number
from paperclip.utils.warn import warn_user

from ._fields import column_values
from ._journal import Journal, lock_folder, remove_parts, write_error
from ._rows import PRODUCT_COLUMNS, as_text
from ._tables import text_column
from .download import Download, download
from .filecheck import check_data_file
from .names import NameBook, safe_name
from .products import get_product_list

__all__ = ["download_products"]

_MAX_BYTES = 1 << 36
_COLUMNS = (
    ColumnSpec("path", "str", None, "Place of the file"),
    ColumnSpec("status", "str", None, "done or failed"),
    ColumnSpec("message", "str", None, "Why it failed"),
)


def download_products(
    client,
    products,
    folder,
    *,
    recipe="SCIENCE",
    workers=None,
    max_bytes=_MAX_BYTES,
    check=check_data_file,
    cloud=False,
    progress=None,
):
    """
    Download the files of products, or the science files of observations.

    Files go to ``folder/<obs_collection>/<obs_id>/<name>``. Names of the
    archive that are not safe on every disk are changed, and a name that two
    files would share gets a digest. A file that is there already and passes
    the check is not fetched again.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who asks.
    products : `~astropy.table.Table`
        Rows with ``dataURI`` as `get_product_list` returns them: all are
        downloaded. Anything else is taken for observations, whose products
        are asked for.
    folder : path-like
        Where to put them; made when it is not there.
    recipe : PreviewRecipe or str, optional
        Which products of observations are wanted; FITS files by default.
    workers : int, optional
        Number of threads, ``paperclip.conf.workers`` when not given.
    max_bytes : int, optional
        Largest file that is taken, 64 GiB by default.
    check : callable, optional
        ``check(path)`` raises an error for a bad file; by default FITS files
        are walked to their end, see `check_data_file`.
    cloud : bool, optional
        Read from the public copy in the cloud what is there.
    progress : callable, optional
        Called as ``progress(finished, wanted)`` after each file.

    Returns
    -------
    table : `~astropy.table.Table`
        The products in their order, with ``path`` (absolute, masked where
        there is no file), ``status`` (done or failed) and ``message``.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong, or a product has no ``dataURI``.
    DataSetError
        If another process is writing to the folder, or it is a file.
    DataSetWriteError
        If the folder cannot be written; complete files stay.
    RemoteServiceError
        If MAST does not answer when products are asked for.

    Warns
    -----
    FailedRowsWarning
        If files could not be had: how many, and why the first.
    NoResultsWarning
        If there are no products; the table is empty then.
    """
    max_bytes = whole_number("max_bytes", max_bytes)
    folder = folder_path("folder", folder)
    listed = _is_products(products)
    table = (
        products.copy() if listed else get_product_list(client, products, recipe=recipe)
    )
    uris = _uris(table)
    outcomes = {}
    if len(table):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise write_error(folder, exc) from exc
        with lock_folder(folder):
            places = _places(folder, table, uris)
            for parent in {(folder / place).parent for place in places.values()}:
                remove_parts(parent)
            jobs = [Download(uri, uri, folder / path) for uri, path in places.items()]
            running = download(
                iter(jobs),
                client=client,
                workers=workers,
                max_bytes=max_bytes,
                check=check,
                cloud=cloud,
            )
            with closing(running):
                for number, outcome in enumerate(running, 1):
                    outcomes[outcome.key] = outcome
                    if progress is not None:
                        progress(number, len(jobs))
    elif listed:
        warn_user("there are no products to download", NoResultsWarning)
    return _with_status(table, [outcomes[uri] for uri in uris])


def _is_products(table):
    """Tell rows of products from rows of observations."""
    if not isinstance(table, Table):
        return False
    names = set(table.colnames)
    return bool(names & {"productType", "productFilename", "obsID"})


def _uris(table):
    uris = [as_text(uri) for uri in column_values(table, "dataURI")]
    if None in uris:
        msg = (
            f"products[{uris.index(None)}] has no dataURI; leave such rows out, or "
            "give the observations to get their products"
        )
        raise InvalidQueryError(msg)
    return uris


def _places(folder, table, uris):
    """Return the place below the folder of each file, remembered for ever."""
    journal = Journal(folder / ".paperclip-products.jsonl")
    books, places = {}, {}
    for record in journal.read():
        uri, path = record.get("uri"), record.get("path")
        if isinstance(uri, str) and isinstance(path, str) and _is_inside(path):
            places[uri] = path
    for uri, path in places.items():
        parent, _, name = path.rpartition("/")
        books.setdefault(parent.casefold(), {})[uri] = name
    books = {parent: NameBook(names) for parent, names in books.items()}
    columns = [column_values(table, n) for n in ("obs_collection", "obs_id")]
    names = column_values(table, "productFilename")
    wanted = {}
    try:
        for row, uri in enumerate(uris):
            if uri not in places:
                parts = [safe_name(as_text(c[row]) or "unknown") for c in columns]
                parent = "/".join(parts)
                book = books.setdefault(parent.casefold(), NameBook())
                wish = as_text(names[row]) or uri.rsplit("/", 1)[-1]
                places[uri] = f"{parent}/{book.name(uri, wish)}"
                journal.append({"uri": uri, "path": places[uri]})
            wanted[uri] = places[uri]
    finally:
        journal.close()
    return wanted


def _is_inside(path):
    parts = PurePosixPath(path).parts
    return (
        len(parts) == 3
        and "/".join(parts) == path
        and all(safe_name(part) == part for part in parts)
    )


def _with_status(table, outcomes):
    """Add what became of each file, and warn of those that failed."""
    done = [outcome.status == "done" for outcome in outcomes]
    table["path"] = text_column(
        [
            os.fspath(o.target) if ok else None
            for o, ok in zip(outcomes, done, strict=True)
        ]
    )
    table["status"] = text_column([outcome.status for outcome in outcomes])
    table["message"] = text_column([outcome.message or None for outcome in outcomes])
    describe_columns(table, specs=PRODUCT_COLUMNS | {s.name: s for s in _COLUMNS})
    if not all(done):
        first = done.index(False)
        msg = (
            f"{len(done) - sum(done)} of {len(done)} files are missing; the first, row "
            f"{first}: {outcomes[first].message}. The columns status and message have "
            "all of them; run the same call again to fetch what is missing"
        )
        warn_user(msg, FailedRowsWarning)
    return table
