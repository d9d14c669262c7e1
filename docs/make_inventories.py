# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Write the trimmed inventories of other projects under docs/_inv.

With them the documentation is built without a network. Each holds only the
names that our pages refer to; ``docs/_inv/names.txt`` lists them. After a new
name was added there, run one of::

    python docs/make_inventories.py                      # fetch every inventory
    python docs/make_inventories.py astropy=objects.inv  # files already at hand
    python docs/make_inventories.py --compose            # from names.txt alone

The last one needs no inventory: ``names.txt`` has the role and the place of
every name too. The first two check those places and correct the file.
"""

import sys
import urllib.request
import zlib
from pathlib import Path

__all__ = ["PROJECTS", "compose", "main", "parse", "read_names", "write_names"]

INV = Path(__file__).parent / "_inv"
NAMES = INV / "names.txt"
#: Projects our pages refer to, with the address of their documentation.
PROJECTS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "astropy": "https://docs.astropy.org/en/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "PIL": "https://pillow.readthedocs.io/en/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}


def parse(raw):
    """
    Read an inventory of Sphinx, version 2.

    Parameters
    ----------
    raw : bytes
        The content of ``objects.inv``.

    Returns
    -------
    entries : dict
        (name, role) -> (priority, place), the place without abbreviation.
    """
    *_, body = raw.split(b"\n", 4)
    entries = {}
    for line in zlib.decompress(body).decode().splitlines():
        name, role, priority, place, _ = line.split(None, 4)
        entries[name, role] = (priority, place.replace("$", name))
    return entries


def compose(project, entries):
    """
    Write an inventory of Sphinx, version 2.

    Parameters
    ----------
    project : str
        Name in its header.
    entries : dict
        As of `parse`.

    Returns
    -------
    raw : bytes
        The content of ``objects.inv``.
    """
    head = (
        "# Sphinx inventory version 2\n"
        f"# Project: {project}\n# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    lines = [
        f"{name} {role} {priority} {place} -\n"
        for (name, role), (priority, place) in sorted(entries.items())
    ]
    return head.encode() + zlib.compress("".join(lines).encode(), 9)


def read_names():
    """
    Read ``names.txt``.

    Returns
    -------
    wanted : dict
        project -> entries as of `parse`.
    """
    wanted = {project: {} for project in PROJECTS}
    for line in NAMES.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            project, role, name, place = line.split()
            wanted[project][name, role] = ("1", place)
    return wanted


def write_names(wanted):
    """
    Write ``names.txt`` with the places that were found.

    Parameters
    ----------
    wanted : dict
        As of `read_names`.
    """
    lines = [
        line
        for line in NAMES.read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    ]
    for project, entries in wanted.items():
        lines += [
            f"{project} {role} {name} {place}"
            for (name, role), (_, place) in sorted(entries.items())
        ]
    NAMES.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _fetch(project):
    url = f"{PROJECTS[project]}objects.inv"
    with urllib.request.urlopen(url, timeout=60) as response:
        return response.read()


def main(arguments):
    """
    Write the inventories.

    Parameters
    ----------
    arguments : sequence of str
        Of the command line.
    """
    wanted = read_names()
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    for project, entries in wanted.items():
        if project in given:
            found = parse(Path(given[project]).read_bytes())
        elif arguments:
            found = None
        else:
            found = parse(_fetch(project))
        if found is not None:
            missing = [f"{role} {name}" for name, role in entries.keys() - found.keys()]
            if missing:
                sys.stderr.write(f"{project} has no {', '.join(sorted(missing))}\n")
            entries.update({key: found[key] for key in entries.keys() & found.keys()})
        (INV / f"{project}.inv").write_bytes(compose(project, entries))
        sys.stdout.write(f"{project}: {len(entries)} names\n")
    write_names(wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
