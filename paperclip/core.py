# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The user-facing class: it checks arguments, delegates and builds tables."""

import warnings
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from paperclip import __version__, conf
from paperclip.answers import (
    check_same_model,
    description_table,
    image_facts,
    search_table,
)
from paperclip.archive import ArchiveMethods
from paperclip.exceptions import (
    IndexNotFoundError,
    InvalidQueryError,
    NoResultsWarning,
)
from paperclip.queries import check_query_text
from paperclip.streaming import StreamingMethods
from paperclip.utils.checks import whole_number

__all__ = ["Paperclip", "PaperclipClass"]

BUILTIN = "builtin"
_VOCABULARIES = 8  # whose vectors an instance keeps
_BUILTIN_INDEX = Path(__file__).parent / "data" / "sample_index.lance"


@lru_cache(maxsize=4)
def _shared_encoder(model, device, offline):
    """Load each model once in a process, whatever instance asks for it."""
    from paperclip.models import load_encoder

    return load_encoder(model, device=device, offline=offline)


class PaperclipClass(ArchiveMethods, StreamingMethods):
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

    def query_text(self, text, *, limit=10, where=None, columns=None):
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
            ``"obs_collection = 'JWST' AND s_dec < 0"``. It is applied before
            the search, so ``limit`` rows come back if so many match.
        columns : sequence of str, optional
            Columns of the result; all by default.

        Returns
        -------
        table : `~astropy.table.Table`
            Best first: ``rank``, ``similarity`` (cosine of the text's and the
            picture's vector, -1 to 1), ``similarity_percentile`` (percentage
            of the whole index that is not more similar), then the columns of
            the index, with MAST's names. ``meta`` holds ``query``, ``model``
            (fingerprint), ``modname``, ``index``, ``indexver``, ``n_index``
            (rows searched), ``n_props`` (distinct programmes in the result),
            ``version`` of this package and ``time``.

        Raises
        ------
        InvalidQueryError
            If an argument is wrong.
        ModelMismatchError
            If the index was built with another model.

        Warns
        -----
        NoResultsWarning
            If no row fulfils ``where``; the table is empty then.
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
        text = check_query_text(text)
        limit = whole_number("limit", limit)
        index, encoder = self.index, self.encoder
        check_same_model(index, encoder.fingerprint)
        vector = encoder.encode_texts([text])[0]
        about = {"query": text}
        return self._search(encoder, index, vector, limit, where, columns, about)

    def query_image(
        self,
        image,
        *,
        limit=10,
        where=None,
        columns=None,
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
        where : str, optional
            Condition in SQL on the columns of the index, see `query_text`.
        columns : sequence of str, optional
            Columns of the result; all by default.
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
        limit = whole_number("limit", limit)
        index, encoder = self.index, self.encoder
        check_same_model(index, encoder.fingerprint)
        picture = self._picture(image, hdu, plane, conversion)
        vector = encoder.encode_images([picture.rgb])[0]
        facts = image_facts(picture)
        about = {"query": facts["image"], **facts}
        return self._search(encoder, index, vector, limit, where, columns, about)

    def describe(
        self,
        image,
        *,
        limit=10,
        vocabulary=None,
        kind=None,
        hdu=None,
        plane=None,
        conversion=None,
    ):
        """
        Describe a picture with the terms of a vocabulary.

        Parameters
        ----------
        image : HDU, HDUList, path-like, NDData, array or PIL image
            Anything that `~paperclip.imaging.load_picture` takes.
        limit : int or None, optional
            Largest number of rows; `None` for all terms.
        vocabulary : sequence of str, `~astropy.table.Table` or path-like, optional
            Terms to choose from; those of this instance by default.
        kind : str, optional
            Only terms of this kind, ``"object or phenomenon"`` or
            ``"science use"`` in the packaged vocabulary.
        hdu : int, str or tuple of (str, int), optional
            HDU to use, see `~paperclip.imaging.load_picture`.
        plane : int or tuple of int, optional
            Plane of a cube, see `~paperclip.imaging.load_picture`.
        conversion : `~paperclip.imaging.ImageConversion`, optional
            How pixels become levels.

        Returns
        -------
        table : `~astropy.table.Table`
            Best first, with the columns

            - ``rank``: from 1;
            - ``term`` and ``kind``: as in the vocabulary;
            - ``similarity``: cosine of picture and term, -1 to 1;
            - ``percentile``: percentage of the pictures of the index that
              are less similar to the term, masked without an index of the
              same model. Terms differ in how similar they are to any
              picture; the percentile does not depend on that;
            - ``probability``: softmax of the similarities over all terms
              that were considered, at the temperature of the model;
            - ``uat_id``: concept of the Unified Astronomy Thesaurus, masked
              where there is none.

            ``meta`` holds ``image``, ``hdu``, ``target`` and ``shape``,
            ``model`` and ``vocab`` (fingerprints), ``n_back`` (pictures in
            the background), ``version`` of this package and ``time``.

        Raises
        ------
        ImageConversionError
            If there is no picture in ``image``.
        VocabularyError
            If the vocabulary is empty, or has blank or repeated terms.
        InvalidQueryError
            If another argument is wrong.

        Notes
        -----
        Probabilities follow the zero-shot classification of [1]_, Section 3.1.

        References
        ----------
        .. [1] Radford, A. et al. 2021, arXiv:2103.00020
        """
        limit = None if limit is None else whole_number("limit", limit)
        terms = self._terms(vocabulary, kind)
        picture = self._picture(image, hdu, plane, conversion)
        encoder = self.encoder
        vector = encoder.encode_images([picture.rgb])[0]
        matrix, identity = self._vectors_of(terms, encoder)
        background = self._background(encoder)
        scale = encoder.logit_scale
        table = description_table(
            terms, matrix, vector, scale=scale, background=background, limit=limit
        )
        table.meta.update(
            **image_facts(picture),
            vocab=identity,
            n_back=0 if background is None else len(background),
            **self._provenance(encoder),
        )
        return table

    # -- helpers --------------------------------------------------------------
    def _picture(self, image, hdu, plane, conversion):
        from paperclip.imaging import load_picture

        return load_picture(image, hdu=hdu, plane=plane, conversion=conversion)

    def _terms(self, vocabulary, kind):
        from paperclip.vocabulary import load_vocabulary

        terms = load_vocabulary(self._vocabulary if vocabulary is None else vocabulary)
        if kind is None:
            return terms
        kinds = sorted(set(terms["kind"].tolist()))
        if kind not in kinds:
            msg = f"kind must be one of {kinds}, got {kind!r}"
            raise InvalidQueryError(msg)
        return terms[terms["kind"] == kind]

    def _vectors_of(self, terms, encoder):
        """Return the vectors of the terms and their fingerprint, cached."""
        from paperclip.vocabulary import vocabulary_fingerprint

        words = tuple(terms["term"].tolist())
        key = (encoder.fingerprint, words)
        if key not in self._term_vectors:
            if len(self._term_vectors) >= _VOCABULARIES:  # the oldest goes
                self._term_vectors.pop(next(iter(self._term_vectors)), None)
            vectors = encoder.encode_texts(words)
            self._term_vectors[key] = vectors, vocabulary_fingerprint(terms)
        return self._term_vectors[key]

    def _background(self, encoder):
        """Return the vectors of the index, None if none are of this model."""
        try:
            index = self.index
        except IndexNotFoundError:
            return None
        if index.fingerprint != encoder.fingerprint or not len(index):
            return None
        return index.vectors()

    def _search(self, encoder, index, vector, limit, where, columns, about):
        table = search_table(index, vector, limit=limit, where=where, columns=columns)
        table.meta = {**about, **table.meta, **self._provenance(encoder)}
        if not len(table):
            name = f"index {str(index.uri)!r}"
            msg = f"{name} is empty, there is nothing to find"
            if where is not None:
                msg = f"no row of {name} fulfils where={where!r}"
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
