# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Captions of pairs: which text, and which part of it, a model reads."""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from astropy.table import Table

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.utils.checks import whole_number

from ._sentences import category_of, metadata_sentences, sentence_spans

__all__ = ["Caption", "CaptionMixer", "caption_table"]

_REMEMBERED = 50_000  # texts of which the windows are kept
_LEAST_TOKENS = 8  # one character can take several


@dataclass(frozen=True, slots=True)
class Caption:
    """
    A text that was drawn for a pair.

    Parameters
    ----------
    text : str
        What the model is to read.
    source : str
        Where it comes from: "abstract", "metadata", ...
    start, end : int
        First and last (exclusive) character in the text of that source. With
        the chunks of the recipe "paper", ``end`` is before ``start`` if they
        go past the end of the text and on from its beginning.
    item : int, optional
        Which of several texts of the source.
    """

    text: str
    source: str
    start: int
    end: int
    item: int = 0


class CaptionMixer:
    """
    Draw captions from the texts of pairs, with set probabilities.

    The source is drawn first, among those that the pair has. A text that the
    model can read as a whole is taken as it is. Of a longer one, a window of
    whole sentences is drawn that fits the length in *tokens*; all windows that
    cannot be longer are equally likely. A sentence that is too long by itself
    is divided, after a comma or semicolon if there is one, else between words.

    Parameters
    ----------
    settings : `CaptionSettings`
        Probabilities of the sources and how windows are made.
    count_tokens : callable
        From a text to the number of tokens, with those for start and end:
        ``encoder.tokens``.
    max_tokens : int
        Tokens that the model reads at once: ``encoder.context_length``.

    Raises
    ------
    InvalidQueryError
        If ``max_tokens`` leaves no room for a word.

    Notes
    -----
    The windows of the last 50,000 texts are remembered, so tokens are counted
    once per text and not once per epoch.

    With ``window="words"``, the rule of the PAPERCLIP paper, sentences are
    collected from a random one on, around the end of the text if need be, up
    to ``max_words`` *words*; what the model then cannot read has to be cut by
    the caller.

    Examples
    --------
    >>> import numpy as np
    >>> from paperclip.training import CaptionMixer, CaptionSettings, Pair
    >>> pair = Pair(key="a", picture="a.jpg", group="HST:1",
    ...             texts={"abstract": ["We image dust lanes. They are dark."]})
    >>> count = lambda text: len(text.split()) + 2  # stands for encoder.tokens
    >>> mixer = CaptionMixer(CaptionSettings(), count, 77)
    >>> mixer.draw(pair, np.random.default_rng(0)).text
    'We image dust lanes. They are dark.'
    """

    def __init__(self, settings, count_tokens, max_tokens):
        self.settings = settings
        self.max_tokens = whole_number("max_tokens", max_tokens, low=1)
        self._count = count_tokens
        # "a" and "a a" differ by one token; the rest marks start and end
        self._marks = max(0, 2 * count_tokens("a") - count_tokens("a a"))
        if self.max_tokens - self._marks < _LEAST_TOKENS:
            least = _LEAST_TOKENS + self._marks
            msg = f"max_tokens must be at least {least}, got {max_tokens}"
            raise InvalidQueryError(msg)
        self._windows = lru_cache(_REMEMBERED)(self._find_windows)
        self._sentences = lru_cache(_REMEMBERED)(sentence_spans)

    def __reduce__(self):
        return type(self), (self.settings, self._count, self.max_tokens)

    def draw(self, pair, rng):
        """
        Draw a caption of a pair.

        Parameters
        ----------
        pair : `Pair`
            With at least one text of a source whose probability is not 0.
        rng : `~numpy.random.Generator`
            Source of random numbers, see `sample_rng`.

        Returns
        -------
        caption : `Caption`
            Not blank.

        Raises
        ------
        DataSetError
            If the pair has no text to draw, or a blank one; its key is named.
        """
        sources = self._available(pair)
        source, texts = self._choose(sources, rng)
        item = int(rng.integers(len(texts))) if len(texts) > 1 else 0
        text = texts[item]
        if not isinstance(text, str) or not text.strip():
            msg = (
                f"pair {pair.key!r} has a blank {source} (text {item}); leave it out, "
                "or leave out the pair"
            )
            raise DataSetError(msg)
        if self.settings.category and source == "abstract":
            category = category_of(pair.meta)
            text = f"Category: {category}. {text}" if category else text
        if self.settings.window == "words":
            return self._words(text, source, item, rng)
        return self._sentence_window(text, source, item, rng)

    def probabilities(self, pair):
        """
        Return how likely each source is for a pair.

        Parameters
        ----------
        pair : `Pair`
            Any pair.

        Returns
        -------
        probabilities : dict
            Sources that the pair has, adding up to 1.

        Raises
        ------
        DataSetError
            If the pair has no text to draw.
        """
        sources = self._available(pair)
        total = sum(weight for _, weight, _ in sources)
        return {source: weight / total for source, weight, _ in sources}

    def _available(self, pair):
        """Return (source, weight, texts) in the order of the names."""
        found = []
        for source, weight in sorted(self.settings.sources.items()):
            if weight <= 0:
                continue
            texts = pair.texts.get(source)
            if not texts and source == "metadata":
                texts = metadata_sentences(pair.meta)
            if texts:
                found.append((source, weight, texts))
        if not found:
            wanted = [name for name, weight in self.settings.sources.items() if weight]
            msg = (
                f"pair {pair.key!r} has no text of the sources {wanted}, only "
                f"{sorted(pair.texts)}; add a text, leave out the pair, or set "
                "captions.sources"
            )
            raise DataSetError(msg)
        return found

    @staticmethod
    def _choose(sources, rng):
        if len(sources) > 1:
            place = rng.random() * sum(weight for _, weight, _ in sources)
            for source, weight, texts in sources:
                place -= weight
                if place < 0:
                    return source, texts
        return sources[-1][0], sources[-1][2]

    def _sentence_window(self, text, source, item, rng):
        units, windows = self._windows(text)
        first, last = windows[int(rng.integers(len(windows)))]
        if self.settings.shorten and rng.random() < self.settings.shorten:
            size = int(rng.integers(1, last - first + 1))
            first += int(rng.integers(last - first - size + 1))
            last = first + size
        start, end = units[first][0], units[last - 1][1]
        return Caption(text[start:end], source, start, end, item)

    def _find_windows(self, text):
        """
        Return the units of a text and its longest windows.

        Units are (start, end) of sentences or parts of too long ones, windows
        are (first, last) unit, the last exclusive.
        """
        spans = sentence_spans(text)
        whole = text[spans[0][0] : spans[-1][1]]
        if self._count(whole) <= self.max_tokens:
            return spans, [(0, len(spans))]
        units, tokens = [], []
        for span in spans:
            for start, end in self._pieces(text, *span):
                units.append((start, end))
                tokens.append(self._count(text[start:end]) - self._marks)
        room = self.max_tokens - self._marks
        windows, reach = [], 0
        for first in range(len(units)):
            last, used = first, 0
            while last < len(units) and used + tokens[last] <= room:
                used += tokens[last]
                last += 1
            while last > first + 1 and self._long(text, units, first, last):
                last -= 1  # joined sentences may count more than their sum
            if last > reach:
                windows.append((first, last))
                reach = last
        return units, windows

    def _long(self, text, units, first, last):
        return self._count(text[units[first][0] : units[last - 1][1]]) > self.max_tokens

    def _pieces(self, text, start, end):
        """Yield parts of a sentence that the model can read, from the left."""
        while self._count(text[start:end]) > self.max_tokens:
            ends = [
                start + match.end() for match in re.finditer(r"\S+", text[start:end])
            ]
            if self._count(text[start : ends[0]]) > self.max_tokens:
                ends = list(range(start + 1, ends[0] + 1))  # one endless word
            low, high = 0, len(ends) - 1  # the last of ends that fits is in between
            while low < high:
                middle = (low + high + 1) // 2
                if self._count(text[start : ends[middle]]) <= self.max_tokens:
                    low = middle
                else:
                    high = middle - 1
            clauses = [
                i for i in range(low // 2, low + 1) if text[ends[i] - 1] in ",;:"
            ]
            cut = ends[clauses[-1] if clauses else low]
            yield start, cut
            start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
        if end > start:
            yield start, end

    def _words(self, text, source, item, rng):
        """Collect sentences up to a number of words, as the paper did."""
        spans, most = self._sentences(text), self.settings.max_words
        if len(text.split()) <= most:
            return Caption(text[spans[0][0] :].rstrip(), source, *_ends(spans), item)
        first = int(rng.integers(len(spans)))
        words, used = [], []
        for span in spans[first:] + spans[:first]:
            sentence = text[slice(*span)].split()
            if used and len(words) + len(sentence) > most:
                break
            words += sentence[:most]
            used.append(span)
        return Caption(" ".join(words), source, used[0][0], used[-1][1], item)


def _ends(spans):
    return spans[0][0], spans[-1][1]


def caption_table(keys, captions):
    """
    Record which captions were drawn.

    Parameters
    ----------
    keys : sequence of str
        Keys of the pairs.
    captions : sequence of `Caption`
        One for each key.

    Returns
    -------
    table : `~astropy.table.Table`
        Columns ``key, source, item, start, end``; not the texts themselves.
    """
    rows = [(c.source, c.item, c.start, c.end) for c in captions]
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    values = [np.array(list(keys), dtype=str), np.array(columns[0], dtype=str)]
    values += [np.array(column, dtype=np.int64) for column in columns[1:]]
    return Table(values, names=["key", "source", "item", "start", "end"])
