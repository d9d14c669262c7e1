# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Configuration files: TOML, YAML and JSON to plain values and back."""

import json
import re
import tomllib
from pathlib import Path

from paperclip.exceptions import InvalidQueryError
from paperclip.utils.optional import import_optional

__all__ = ["compose", "read"]

_MAX_BYTES = 1 << 20
_SUFFIXES = (".toml", ".yaml", ".yml", ".json")
# YAML 1.1 takes 1e-4 for a text
_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_BARE = re.compile(r"[A-Za-z0-9_-]+$")


def read(path):
    """
    Read a configuration file.

    Parameters
    ----------
    path : path-like
        File with one of the suffixes.

    Returns
    -------
    values : object
        What it holds; a mapping if all is well.

    Raises
    ------
    InvalidQueryError
        If it is missing, too large, no text, damaged, of another kind, or
        gives a name twice.
    """
    path = Path(path)
    suffix = _suffix(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as exc:
        msg = f"{path}: the configuration cannot be read: {exc.strerror or exc}"
        raise InvalidQueryError(msg) from exc
    if len(content) > _MAX_BYTES:
        msg = f"{path}: a configuration must have at most {_MAX_BYTES} bytes"
        raise InvalidQueryError(msg)
    try:
        text = content.decode("utf-8-sig")
        if suffix == ".toml":
            return tomllib.loads(text)
        if suffix == ".json":
            return json.loads(text, object_pairs_hook=_unique)
        return _read_yaml(text)
    except (ValueError, RecursionError) as exc:
        msg = f"{path}: this is not valid {suffix[1:].upper()}: {exc}"
        raise InvalidQueryError(msg) from exc


def compose(values, path):
    """
    Write a configuration as text.

    Parameters
    ----------
    values : dict
        Groups of plain values.
    path : path-like
        Its suffix decides the language.

    Returns
    -------
    text : str
        Content of the file.

    Raises
    ------
    InvalidQueryError
        If the suffix is unknown.
    """
    suffix = _suffix(Path(path))
    if suffix == ".toml":
        return _toml(values)
    if suffix == ".json":
        return json.dumps(values, indent=2) + "\n"
    yaml = _yaml()
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _suffix(path):
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        msg = f"{path}: a configuration must end in one of {_SUFFIXES}, got {suffix!r}"
        raise InvalidQueryError(msg)
    return suffix


def _unique(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"{twice!r} is given twice"
        raise ValueError(msg)
    return found


def _yaml():
    return import_optional("yaml", extra="train", purpose="a configuration in YAML")


def _read_yaml(text):
    """Read YAML with numbers like 1e-4, and without names given twice."""
    yaml = _yaml()

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            if isinstance(node, yaml.MappingNode):
                _unique([(key.value, None) for key, _ in node.value])
            return super().construct_mapping(node, deep=deep)

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")
    )
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, TypeError, AttributeError) as exc:
        text = " ".join(str(exc).replace('in "<unicode string>", ', "in ").split())
        raise ValueError(text) from exc


def _toml(values, prefix=""):
    """Write tables; plain values come before the tables inside of them."""
    plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
    lines = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    parts = ["\n".join(lines) + "\n"] if lines else []
    for key, value in values.items():
        if isinstance(value, dict):
            name = prefix + _toml_key(key)
            parts.append(f"[{name}]\n" + _toml(value, f"{name}."))
    return "\n".join(parts)


def _toml_key(key):
    return key if _BARE.match(key) else _toml_value(key)


def _toml_value(value):
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    # JSON escapes are TOML escapes, except that DEL must be escaped as well
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
