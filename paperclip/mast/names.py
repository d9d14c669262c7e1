# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Names of local files, made from names that an archive gave."""

import hashlib
import re

__all__ = ["NameBook", "safe_name"]

_MAX_LENGTH = 120  # with suffix and temporary prefix below the usual 255 bytes
_DIGEST = 10
# device names that Windows knows in every folder, whatever the suffix
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9])(\..*)?", re.I
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}\Z")


def safe_name(text):
    """
    Return a name of one file or folder that every system accepts.

    Letters, digits and ``. _ + -`` of ASCII stay, and all else becomes an
    underscore. The result is never empty, hidden, a way upwards, a device of
    Windows, or longer than 120 characters. A name that had to be changed gets
    ten digits of the SHA-256 of the original before its suffix, so that two
    names that differ do not become one.

    Parameters
    ----------
    text : str
        A name from outside: anything, with slashes and NUL too.

    Returns
    -------
    name : str
        The text itself if it is safe.
    """
    name = _UNSAFE.sub("_", text).strip(".")
    good = name == text and 0 < len(name) <= _MAX_LENGTH and name[0] != "-"
    if good and not _RESERVED.fullmatch(name):
        return name
    return _marked(name.strip("._-") or "unnamed", text)


def _marked(name, original):
    """Put a digest of the original before the suffix, within the length."""
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()
    found = _SUFFIX.search(name)
    suffix = found[0] if found and found.start() else ""
    stem = name[: len(name) - len(suffix)]
    stem = stem[: _MAX_LENGTH - len(suffix) - _DIGEST - 1]
    return f"{stem}-{digest[:_DIGEST]}{suffix}"


class NameBook:
    """
    Give each source one name, and no two sources the same one.

    Names that differ in case only are the same one on many disks, so they
    count as equal here.

    Parameters
    ----------
    taken : mapping of str to str, optional
        Names that were given before, by source.
    """

    def __init__(self, taken=()):
        self._names = dict(taken)
        self._used = {name.casefold() for name in self._names.values()}

    def name(self, source, wish):
        """
        Return the name of a source, a new one on the first call.

        Parameters
        ----------
        source : str
            What the file is made from, for example its ``dataURI``.
        wish : str
            Name that it should have.

        Returns
        -------
        name : str
            `safe_name` of the wish, with a digest of the source if another
            source has that name already.
        """
        if source in self._names:
            return self._names[source]
        name = safe_name(wish)
        if name.casefold() in self._used:
            name = _marked(name, source)
        count = 1
        while name.casefold() in self._used:  # never seen; costs nothing to exclude
            name, count = _marked(name, f"{source}\0{count}"), count + 1
        self._names[source] = name
        self._used.add(name.casefold())
        return name
