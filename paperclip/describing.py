# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Describe a picture with the terms of a vocabulary."""

from paperclip.answers import description_table, image_facts
from paperclip.exceptions import IndexNotFoundError, InvalidQueryError
from paperclip.utils.checks import whole_number

__all__ = ["DescribeMethods"]

_VOCABULARIES = 8  # whose vectors an instance keeps


class DescribeMethods:
    """The part of `paperclip.PaperclipClass` that describes pictures."""

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
