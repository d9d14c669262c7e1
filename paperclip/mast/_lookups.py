# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Small questions: a name, a document, the place of a file."""

from urllib.parse import quote

from paperclip.exceptions import InvalidQueryError, NameResolutionError
from paperclip.utils.checks import whole_number

from ._asking import Asking
from ._ids import cloud_key

__all__ = ["Lookups"]

_RESOLVER = "http://mastresolver.stsci.edu/Santa-war/query"
_URIS = 50  # more make an address that servers refuse


class Lookups(Asking):
    """The questions of `paperclip.mast.MastClient` that need no astroquery."""

    def resolve(self, name):
        """
        Return the position of an object.

        Parameters
        ----------
        name : str
            Name that MAST's name resolver knows (it asks SIMBAD, other services
            and MAST's own catalogues).

        Returns
        -------
        position : `~astropy.coordinates.SkyCoord`
            In ICRS.

        Raises
        ------
        NameResolutionError
            If it knows no such object.
        """
        from astropy.coordinates import SkyCoord

        if not isinstance(name, str) or not name.strip():
            msg = f"name must be the name of an object, got {name!r}"
            raise InvalidQueryError(msg)
        name = name.strip()
        params = {"outputFormat": "json", "resolveAll": False, "name": [name]}

        def ask():
            reply = self._get_json(_RESOLVER, params)
            found = reply.get("resolvedCoordinate", [])
            return [(float(one["ra"]), float(one["decl"])) for one in found or []]

        for ra, dec in self._ask(ask, f"looking up the name {name!r}", _RESOLVER):
            if 0 <= ra <= 360 and -90 <= dec <= 90:
                return SkyCoord(ra, dec, unit="deg", frame="icrs")
        msg = (
            f"MAST's name resolver knows no object {name!r}; check the spelling, or "
            "give a position"
        )
        raise NameResolutionError(msg)

    def fetch(self, url, *, max_bytes, what):
        """
        Return a small document.

        Parameters
        ----------
        url : str
            Address, http or https.
        max_bytes : int
            Largest document that is taken.
        what : str
            What it is, for messages.

        Returns
        -------
        content : bytes
            The document as it came. A body that is shorter than the server
            announced counts as a failure.
        """
        max_bytes = whole_number("max_bytes", max_bytes)

        def ask():
            return self._transport.request("GET", url).content

        return self._ask(ask, f"fetching {what}", url, max_bytes)

    def cloud_paths(self, uris):
        """
        Return where the public copy in the cloud has files.

        Parameters
        ----------
        uris : sequence of str
            Data URIs of MAST.

        Returns
        -------
        keys : dict of str to str or None
            Data URI to the key in the bucket ``stpubdata``; None where the
            copy lacks the file.
        """
        url = f"{self.server}/api/v0.1/path_lookup/"
        uris = list(dict.fromkeys(str(uri) for uri in uris))
        found = {}
        for first in range(0, len(uris), _URIS):
            chunk = uris[first : first + _URIS]

            def ask(chunk=chunk):
                reply = self._get_json(url, {"uri": chunk})
                return {uri: cloud_key(reply.get(uri)) for uri in chunk}

            found |= self._ask(ask, "looking up files in the cloud", url)
        return found

    def download_url(self, uri):
        """
        Return the address at which MAST serves a file.

        Parameters
        ----------
        uri : str
            Data URI, ``mast:HST/product/...``.

        Returns
        -------
        url : str
            Address for a GET request.
        """
        uri = quote(str(uri), safe=":/", errors="replace")
        return f"{self.server}/api/v0.1/Download/file?uri={uri}"
