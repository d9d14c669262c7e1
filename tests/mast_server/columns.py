# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The columns of the archive, as its services describe them."""

__all__ = ["OBSERVATION_FIELDS", "PRODUCT_FIELDS", "columns_config"]

_TEXT, _REAL, _WHOLE = "string", "float", "int"

OBSERVATION_FIELDS = (
    ("intentType", _TEXT),
    ("obs_collection", _TEXT),
    ("provenance_name", _TEXT),
    ("instrument_name", _TEXT),
    ("project", _TEXT),
    ("filters", _TEXT),
    ("wavelength_region", _TEXT),
    ("target_name", _TEXT),
    ("target_classification", _TEXT),
    ("obs_id", _TEXT),
    ("s_ra", _REAL),
    ("s_dec", _REAL),
    ("dataproduct_type", _TEXT),
    ("proposal_pi", _TEXT),
    ("calib_level", _WHOLE),
    ("t_min", _REAL),
    ("t_max", _REAL),
    ("t_exptime", _REAL),
    ("em_min", _REAL),
    ("em_max", _REAL),
    ("obs_title", _TEXT),
    ("t_obs_release", _REAL),
    ("proposal_id", _TEXT),
    ("proposal_type", _TEXT),
    ("sequence_number", _WHOLE),
    ("s_region", _TEXT),
    ("jpegURL", _TEXT),
    ("dataURL", _TEXT),
    ("dataRights", _TEXT),
    ("mtFlag", "boolean"),
    ("srcDen", _REAL),
    # whole numbers in the data, whatever their type is called
    ("obsid", _TEXT),
    ("objID", _TEXT),
)

PRODUCT_FIELDS = (
    ("obsID", _TEXT),
    ("obs_collection", _TEXT),
    ("dataproduct_type", _TEXT),
    ("obs_id", _TEXT),
    ("description", _TEXT),
    ("type", _TEXT),
    ("dataURI", _TEXT),
    ("productType", _TEXT),
    ("productGroupDescription", _TEXT),
    ("productSubGroupDescription", _TEXT),
    ("productDocumentationURL", _TEXT),
    ("project", _TEXT),
    ("prvversion", _TEXT),
    ("proposal_id", _TEXT),
    ("productFilename", _TEXT),
    ("size", _WHOLE),
    ("parent_obsid", _TEXT),
    ("dataRights", _TEXT),
    ("calib_level", _WHOLE),
    ("filters", _TEXT),
    ("_selected_", "boolean"),
)

_SEPARATED = {
    "obs_collection",
    "project",
    "filters",
    "wavelength_region",
    "target_classification",
}
_UNITS = {
    "s_ra": "deg",
    "s_dec": "deg",
    "t_min": "d",
    "t_max": "d",
    "t_exptime": "s",
    "em_min": "nm",
    "em_max": "nm",
    "distance": "arcsec",
}
_TYPES = {_TEXT: "char", _REAL: "double", _WHOLE: "int", "boolean": "boolean"}


def columns_config(name):
    """Return the reply of the service that describes columns."""
    fields = PRODUCT_FIELDS if name.endswith("Products") else OBSERVATION_FIELDS
    if not name.endswith("Products"):
        fields = (*fields, ("distance", _REAL))
    config = {"_selected_": {"text": "selected", "type": "boolean", "hidden": True}}
    for column, kind in fields:
        entry = {"text": column, "vot.datatype": _TYPES[kind]}
        entry["vot.description"] = f"The {column} of a row"
        if column in _SEPARATED and not name.endswith("Products"):
            entry["separator"] = ";"
        if column in _UNITS:
            entry["vot.unit"] = _UNITS[column]
        if column in {"obsid", "objID"}:
            entry["vot.datatype"] = "long"
        config.setdefault(column, entry)
    config["s_fov"] = {"remove": True}
    return config
