# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Texts to token ids: checks, windows for long texts, batches."""

import re

from paperclip.exceptions import InvalidQueryError, ModelLoadError

__all__ = ["MAX_CHARACTERS", "TEXT_VERSION", "TextReader", "check_texts"]

MAX_CHARACTERS = 100_000
"""Longest text that is accepted."""

TEXT_VERSION = 1
"""Part of the fingerprint; counts up when texts are prepared in another way."""

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\s*\n\s*")
_LEAST_CAPACITY = 8  # one character can take several tokens


def check_texts(texts):
    """
    Check what a user gave as texts.

    Parameters
    ----------
    texts : sequence of str
        At most `MAX_CHARACTERS` characters each, none blank.

    Returns
    -------
    texts : list of str
        The same, as a list.

    Raises
    ------
    InvalidQueryError
        If it is a bare string, or an element is not a usable text; the
        message names the position.
    """
    if isinstance(texts, str | bytes):
        msg = f"texts must be a sequence of str, got {type(texts).__name__}; use a list"
        raise InvalidQueryError(msg)
    texts = list(texts)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            msg = f"texts[{position}] must be a str, got {type(text).__name__}"
        elif not text.strip():
            msg = f"texts[{position}] is blank"
        elif len(text) > MAX_CHARACTERS:
            msg = (
                f"texts[{position}] has {len(text)} characters and at most "
                f"{MAX_CHARACTERS} are read; shorten or split it"
            )
        else:
            continue
        raise InvalidQueryError(msg)
    return texts


class TextReader:
    """
    The tokenizer of a model, without the silent cut at its end.

    Parameters
    ----------
    tokenizer : callable or None
        An open_clip tokenizer; None is CLIP's own with its defaults, which
        open_clip has loaded already.
    context_length : int
        Tokens the model can read, with those that mark start and end.
    vocabulary : int
        Rows of the model's token table.

    Raises
    ------
    ModelLoadError
        If the tokenizer cannot belong to the model.
    """

    def __init__(self, tokenizer, *, context_length, vocabulary):
        import open_clip

        self.context_length = context_length
        self._hugging = getattr(tokenizer, "tokenizer", None)
        if self._hugging is None:
            self.pad_id = 0
            self._call = open_clip.tokenize if tokenizer is None else tokenizer
            self._end = int(self._call(["a"], context_length=3)[0, 2])
            size, marks = self._end + 1, 2
            fits = size == vocabulary
        else:
            self._clean = tokenizer.clean_fn
            self._strip = tokenizer.strip_sep_token
            self.pad_id = self._hugging.pad_token_id
            size, marks = len(self._hugging), len(self._ids(""))
            fits = 1 < size <= vocabulary and self.pad_id is not None
            fits = fits and self._hugging.padding_side == "right"
        if not fits:
            msg = (
                f"the tokenizer has {size} words and the model {vocabulary}, or it "
                "pads on the left: they do not belong together"
            )
            raise ModelLoadError(msg)
        self._marks = marks
        self.capacity = context_length - marks
        if self.capacity < _LEAST_CAPACITY:
            least = _LEAST_CAPACITY + marks
            msg = f"context_length must be at least {least}, got {context_length}"
            raise ModelLoadError(msg)

    def _ids(self, text):
        """Return the ids of a whole text, with the marks around it."""
        if self._hugging is not None:
            ids = self._hugging(
                self._clean(text), truncation=False, verbose=False
            ).input_ids
            if self._strip:
                ids = [i for i in ids if i != self._hugging.sep_token_id]
            return ids
        # repairing mojibake may lengthen a text
        room = 2 + 4 * len(text.encode(errors="replace"))
        row = self._call([text], context_length=room)[0].tolist()
        row = row[: len(row) - row[::-1].index(self._end)]
        # "<end_of_text>" written in a text is a control token: pooling would stop
        # there and the rest would be lost without a word
        inner = [i for i in row[1:-1] if i < self._end - 1]
        return [row[0], *inner, self._end]

    def count(self, text):
        """
        Return the number of tokens of a text, without start and end.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        tokens : int
            To be compared with ``capacity``.
        """
        return len(self._ids(text)) - self._marks

    def windows(self, text):
        """
        Split a text into parts that the model can read as a whole.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        windows : list of list of int
            Token ids with start and end. Whole sentences are packed together;
            only a sentence that is too long alone is cut, between words.
            None for a text without a token.
        """
        ids = self._ids(text)
        if len(ids) == self._marks:
            return []
        if len(ids) <= self.context_length:
            return [ids]
        packed, counts = [], []
        for sentence in _SENTENCE_END.split(text):
            for piece, tokens in self._pieces(sentence):
                if counts and counts[-1] + tokens <= self.capacity:
                    packed[-1] += " " + piece
                    counts[-1] += tokens
                else:
                    packed.append(piece)
                    counts.append(tokens)
        windows = []
        for window in packed:
            ids = self._ids(window)
            if len(ids) <= self.context_length:
                windows.append(ids)
            else:  # a tokenizer for which joined pieces count more than their sum
                windows += [self._ids(piece) for piece, _ in self._pieces(window)]
        return windows

    def _pieces(self, text):
        """Yield (piece, tokens), halving until each fits."""
        tokens = self.count(text)
        if tokens == 0:
            return
        if tokens <= self.capacity or len(text) < 2:
            yield text, tokens
            return
        middle = len(text) // 2
        cuts = [text.rfind(" ", 1, middle), text.find(" ", middle, -1)]
        cuts = [cut for cut in cuts if cut > 0]
        cut = min(cuts, key=lambda c: abs(c - middle)) if cuts else middle
        yield from self._pieces(text[:cut].rstrip())
        yield from self._pieces(text[cut:].lstrip())

    def head(self, text):
        """
        Cut a text at the last word that the model can read.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        head, lost : str
            What fits and what does not; ``lost`` is empty if all fits.
        """
        if self.count(text) <= self.capacity:
            return text, ""
        ends = [match.end() for match in re.finditer(r"\S+", text)]
        if self.count(text[: ends[0]]) > self.capacity:
            ends = list(range(1, ends[0] + 1))
        low, high = 0, len(ends) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.count(text[: ends[middle]]) <= self.capacity:
                low = middle
            else:
                high = middle - 1
        return text[: ends[low]], text[ends[low] :].strip()

    def ids(self, text):
        """
        Return the token ids of a text that fits.

        Parameters
        ----------
        text : str
            At most ``capacity`` tokens.

        Returns
        -------
        ids : list of int
            With start and end.
        """
        return self._ids(text)
