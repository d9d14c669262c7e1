# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tell two-dimensional spectra, which look like images to a program, from images."""

from paperclip.exceptions import ImageConversionError

from ._hdus import header_text, list_hdus

__all__ = ["refuse_spectra"]

_SPECTRAL_HDUS = frozenset(
    ["SPEC1D", "EXTRACT1D", "WAVELENGTH", "PATHLOSS_PS", "BARSHADOW", "SPECTRUM"]
)
# JWST exposure types (EXP_TYPE) whose pictures are spectra
_SPECTRAL_TYPES = frozenset(
    [
        "NRS_FIXEDSLIT",
        "NRS_MSASPEC",
        "NRS_IFU",
        "NRS_BRIGHTOBJ",
        "NRS_AUTOWAVE",
        "NRS_AUTOFLAT",
        "NRS_LAMP",
        "MIR_LRS-FIXEDSLIT",
        "MIR_LRS-SLITLESS",
        "MIR_MRS",
        "MIR_WFSS",
        "NIS_SOSS",
        "NIS_WFSS",
        "NRC_WFSS",
        "NRC_GRISM",
        "NRC_TSGRISM",
    ]
)
_SPECTRAL_AXES = ("WAVE", "LAMBDA", "FREQ", "AWAV", "VELO", "VRAD", "VOPT", "ENER")


def refuse_spectra(hdus, numbers, label):
    """
    Raise for a file that holds spectra.

    Parameters
    ----------
    hdus : sequence of HDU
        All HDUs of the file.
    numbers : sequence of int
        Which of them may be the science image; the first one is looked at.
    label : str
        Start of the error message.

    Raises
    ------
    ImageConversionError
        If a header or an extension says so; the message gives the reason.
    """
    header = hdus[0].header
    item = hdus[numbers[0]].header
    names = _SPECTRAL_HDUS & {h.name for h in hdus}
    exposure = header_text(header, "EXP_TYPE")
    axis = header_text(item, "CTYPE1")
    sky = axis.startswith(("RA", "DEC", "GLON", "GLAT", "ELON", "ELAT"))
    reasons = {
        f"EXP_TYPE is {exposure}": exposure in _SPECTRAL_TYPES,
        "OBSTYPE is SPECTROSCOPIC": header_text(header, "OBSTYPE") == "SPECTROSCOPIC",
        f"it has an extension {' and '.join(sorted(names))}": bool(names),
        f"its first axis is {axis}": axis.startswith(_SPECTRAL_AXES),
        "it has a dispersion axis": item.get("DISPAXIS") in (1, 2) and not sky,
    }
    for reason, holds in reasons.items():
        if holds:
            msg = (
                f"{label} holds spectra, not an image: {reason}. {list_hdus(hdus)}. "
                "Choose an HDU with hdu= to show it nevertheless"
            )
            raise ImageConversionError(msg)
