# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The user-facing class: it checks arguments, delegates and builds tables."""

import warnings
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from paperclip import __version__, conf
from paperclip.answers import (
    check_same_model,
    conditions_text,
    image_facts,
    search_table,
)
from paperclip.archive import ArchiveMethods
from paperclip.describing import DescribeMethods
from paperclip.exceptions import NoResultsWarning
from paperclip.queries import check_limit, check_query_text
from paperclip.streaming import StreamingMethods

__all__ = ["Paperclip", "PaperclipClass"]

BUILTIN = "builtin"
_BUILTIN_INDEX = Path(__file__).parent / "data" / "sample_index.lance"


@lru_cache(maxsize=4)
def _shared_encoder(model, device, offline):
    """Load each model once in a process, whatever instance asks for it."""
    from paperclip.models import load_encoder

    return load_encoder(model, device=device, offline=offline)


class PaperclipClass(DescribeMethods, ArchiveMethods, StreamingMethods):
    """
    Find and describe telescope images with words.

    ``Paperclip`` is a ready instance. Calling it with options returns a new,
    independently configured one. An option that is `None` is read from
    ``paperclip.conf`` at each call.

    Parameters
    ----------
    model : str, path-like or `~paperclip.models.Encoder`, optional
        ``"builtin"``, ``"org/name[@revision]"`` on the Hugging Face Hub, a
        model directory, or a loaded encoder.
    index : str, path-like or `~paperclip.index.Index`, optional
        ``"builtin"``, a directory, an object-store URI, or an open index.
    vocabulary : sequence of str, `~astropy.table.Table` or path-like, optional
        Terms that `describe` may answer with; the packaged ones by default.
    device : str, optional
        Where the model runs, see ``paperclip.conf.device``.
    offline : bool, optional
        True never opens a connection, see ``paperclip.conf.offline``.

    Examples
    --------
    >>> from paperclip import Paperclip
    >>> clip = Paperclip(device="cpu")
    >>> clip
    <PaperclipClass model='builtin' index='builtin'>
    """

    def __init__(
        self, *, model=None, index=None, vocabulary=None, device=None, offline=None
    ):
        self._model = model
        self._index = index
        self._vocabulary = vocabulary
        self._device = device
        self._offline = offline
        self._opened = {}
        self._term_vectors = {}

    def __call__(self, **options):
        """Return a new instance; options not given are those of this one."""
        known = {
            "model": self._model,
            "index": self._index,
            "vocabulary": self._vocabulary,
            "device": self._device,
            "offline": self._offline,
        }
        return type(self)(**{**known, **options})

    def __repr__(self):
        model = conf.model if self._model is None else self._model
        index = conf.index if self._index is None else self._index
        return f"<{type(self).__name__} model={model!r} index={index!r}>"

    @property
    def encoder(self):
        """The `~paperclip.models.Encoder` in use, loaded when first needed."""
        model = conf.model if self._model is None else self._model
        device = conf.device if self._device is None else self._device
        if not isinstance(model, str | Path):
            from paperclip.models import load_encoder

            return load_encoder(model, device=device, offline=self._offline)
        return _shared_encoder(model, device, self._offline)

    @property
    def index(self):
        """The `~paperclip.index.Index` in use, opened when first needed."""
        uri = conf.index if self._index is None else self._index
        if not isinstance(uri, str | Path):
            return uri
        if uri not in self._opened:
            from paperclip.index import Index

            self._opened[uri] = Index.open(_BUILTIN_INDEX if uri == BUILTIN else uri)
        return self._opened[uri]

    def query_text(
        self,
        text,
        *,
        limit=10,
        where=None,
        region=None,
        radius=None,
        instrument_name=None,
        filters=None,
        obs_collection=None,
        proposal_id=None,
        target_name=None,
        t_min=None,
        t_max=None,
        columns=None,
        exact=False,
    ):
        """
        Find the observations whose pictures fit a text.

        Parameters
        ----------
        text : str
            What to look for, in English: a few words to a paragraph.
        limit : int, optional
            Largest number of rows.
        where : str, optional
            Condition in SQL on the columns of the index, for example
            ``"obs_collection = 'JWST' AND s_dec < 0"``. This and all other
            conditions are applied before the search, so ``limit`` rows come
            back if so many match.
        region : region, `~astropy.coordinates.SkyCoord`, str or sequence, optional
            Part of the sky that footprints must meet: a sky region of the
            package *regions* in any frame, a position, a ``mocpy.MOC``, or a
            list of these, see `~paperclip.footprints.sky_area`. Observations
            without a footprint count as points.
        radius : `~astropy.coordinates.Angle`, quantity, str or float, optional
            Beside a position as ``region``; a number is in degrees.
        instrument_name, filters, obs_collection, proposal_id, target_name : \
str or sequence of str, optional
            Value of the column, or several of which one must match. Upper and
            lower case count as the same; ``*`` is any text, ``?`` any character.
        t_min, t_max : `~astropy.time.Time`, str or float, optional
            Interval that the exposure must overlap, ends included: a time, ISO
            text (UTC) or MJD.
        columns : sequence of str, optional
            Columns of the result; all by default.
        exact : bool, optional
            True forbids an approximate answer where the index can give one.

        Returns
        -------
        table : `~astropy.table.Table`
            Best first: ``rank``, ``similarity`` (cosine of the text's and the
            picture's vector, -1 to 1), ``similarity_percentile`` (percentage
            of the whole index that is not more similar), then the columns of
            the index, with MAST's names. ``meta`` holds ``query``, ``model``
            (fingerprint), ``modname``, ``index``, ``indexver``, ``n_index``
            (rows of the index), ``n_match`` (rows that fulfil the conditions),
            ``search`` (``"exact"`` or ``"ann"``) and ``recall`` (expected share
            of the true best rows), ``n_props`` (distinct programmes in the
            result), ``version`` of this package and ``time``, and the
            conditions as ``where``, ``region``, ``filter``, ``t_min``, ``t_max``.

        Raises
        ------
        InvalidQueryError
            If an argument is wrong.
        ModelMismatchError
            If the index was built with another model.

        Warns
        -----
        NoResultsWarning
            If no row fulfils the conditions; the table is empty then.
        LanguageWarning
            If the text does not look English.

        See Also
        --------
        query_image : Look for observations that resemble a picture.
        describe : The opposite direction, from a picture to words.

        Notes
        -----
        Text and pictures are compared as in [1]_, with a CLIP model [2]_ that
        was fine-tuned on previews of observations and the abstracts of the
        proposals they were taken for.

        References
        ----------
        .. [1] Mishra-Sharma, S., Song, Y. and Thaler, J. 2024, arXiv:2403.08851
        .. [2] Radford, A. et al. 2021, arXiv:2103.00020

        Examples
        --------
        >>> from paperclip import Paperclip
        >>> table = Paperclip.query_text("face-on spiral galaxy", limit=3)
        >>> table["rank"].tolist()
        [1, 2, 3]
        """
        conditions = {
            "where": where,
            "region": region,
            "radius": radius,
            "instrument_name": instrument_name,
            "filters": filters,
            "obs_collection": obs_collection,
            "proposal_id": proposal_id,
            "target_name": target_name,
            "t_min": t_min,
            "t_max": t_max,
            "exact": exact,
        }
        text = check_query_text(text)
        limit = check_limit(limit)
        index, encoder = self.index, self.encoder
        check_same_model(index, encoder.fingerprint)
        vector = encoder.encode_texts([text])[0]
        about = {"query": text}
        return self._search(encoder, index, vector, limit, columns, conditions, about)

    def query_image(
        self,
        image,
        *,
        limit=10,
        where=None,
        region=None,
        radius=None,
        instrument_name=None,
        filters=None,
        obs_collection=None,
        proposal_id=None,
        target_name=None,
        t_min=None,
        t_max=None,
        columns=None,
        exact=False,
        hdu=None,
        plane=None,
        conversion=None,
    ):
        """
        Find the observations whose pictures resemble a picture.

        Parameters
        ----------
        image : HDU, HDUList, path-like, NDData, array or PIL image
            Anything that `~paperclip.imaging.load_picture` takes.
        limit : int, optional
            Largest number of rows.
        where, region, radius, instrument_name, filters, obs_collection, \
proposal_id, target_name, t_min, t_max : optional
            Conditions on the observations, see `query_text`.
        columns : sequence of str, optional
            Columns of the result; all by default.
        exact : bool, optional
            True forbids an approximate answer, see `query_text`.
        hdu : int, str or tuple of (str, int), optional
            HDU to use, see `~paperclip.imaging.load_picture`.
        plane : int or tuple of int, optional
            Plane of a cube, see `~paperclip.imaging.load_picture`.
        conversion : `~paperclip.imaging.ImageConversion`, optional
            How pixels become levels.

        Returns
        -------
        table : `~astropy.table.Table`
            As of `query_text`; ``similarity`` compares two pictures, which
            are closer to each other than a text to a picture.

        Raises
        ------
        ImageConversionError
            If there is no picture in ``image``.
        InvalidQueryError
            If another argument is wrong.
        ModelMismatchError
            If the index was built with another model.
        """
        conditions = {
            "where": where,
            "region": region,
            "radius": radius,
            "instrument_name": instrument_name,
            "filters": filters,
            "obs_collection": obs_collection,
            "proposal_id": proposal_id,
            "target_name": target_name,
            "t_min": t_min,
            "t_max": t_max,
            "exact": exact,
        }
        limit = check_limit(limit)
        index, encoder = self.index, self.encoder
        check_same_model(index, encoder.fingerprint)
        picture = self._picture(image, hdu, plane, conversion)
        vector = encoder.encode_images([picture.rgb])[0]
        facts = image_facts(picture)
        about = {"query": facts["image"], **facts}
        return self._search(encoder, index, vector, limit, columns, conditions, about)

    # -- helpers --------------------------------------------------------------
    def _picture(self, image, hdu, plane, conversion):
        from paperclip.imaging import load_picture

        return load_picture(image, hdu=hdu, plane=plane, conversion=conversion)

    def _search(self, encoder, index, vector, limit, columns, conditions, about):
        table = search_table(index, vector, limit=limit, columns=columns, **conditions)
        table.meta = {**about, **table.meta, **self._provenance(encoder)}
        if not len(table):
            name = f"index {str(index.uri)!r}"
            msg = f"{name} is empty, there is nothing to find"
            if len(index):
                msg = f"no row of {name} fulfils {conditions_text(table.meta)}"
            warnings.warn(msg, NoResultsWarning, stacklevel=3)
        return table

    def _provenance(self, encoder):
        return {  # names of at most eight characters, for FITS headers
            "model": encoder.fingerprint,
            "modname": str(encoder.name),
            "version": f"paperclip {__version__}",
            "time": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        }


Paperclip = PaperclipClass()
