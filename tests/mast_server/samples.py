# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Archives to test with: a drawn one, and the recorded one."""

import csv
import io
import json
import zipfile
from functools import lru_cache

import numpy as np

from .archive import Archive
from .drawing import fits_file, picture

__all__ = ["shared_archive", "small_archive"]

_SUBJECTS = (
    ("spiral galaxy", "Galaxies", "GALAXY;SPIRAL"),
    ("globular cluster", "Stellar Populations", "STELLAR CLUSTER;GLOBULAR CLUSTER"),
    ("planetary nebula", "Stellar Physics", "ISM;PLANETARY NEBULA"),
    ("cluster of galaxies", "Large Scale Structure", "CLUSTER OF GALAXIES;LENS"),
    ("young star and its disc", "Planets and Planet Formation", "STAR;T TAURI STAR"),
    ("star-forming region", "Stellar Populations", "ISM;HII REGION"),
)
_PEOPLE = ("Ruiz", "Okafor", "Lindqvist", "Tanaka", "Moreau", "Haddad")
_INSTRUMENTS = {
    "HST": (("ACS/WFC", "F814W"), ("WFC3/UVIS", "F606W"), ("WFC3/IR", "F160W")),
    "JWST": (("NIRCAM/IMAGE", "F200W"), ("MIRI/IMAGE", "F770W")),
}


def small_archive(
    seed=0, n_proposals=6, *, n_observations=5, missions=("HST", "JWST"), size=200
):
    """
    Return a small archive of HST and JWST.

    Parameters
    ----------
    seed : int
        The same seed gives the same archive.
    n_proposals : int
        Programmes; they take turns between the missions. HST numbers begin
        at 15500 (cycle 25 and up), those of JWST at 2100.
    n_observations : int
        Observations with a preview of each programme, over three targets.
        With more than one, the last is EXCLUSIVE_ACCESS in every third
        programme, and its files are refused.
    missions : tuple of str
        Missions to take.
    size : int
        Width and height of the pictures.

    Returns
    -------
    archive : Archive
        Each observation has a preview that the default recipes take
        (``*_total_*.jpg`` or ``*_i2d.jpg``), others that they leave out, an
        AUXILIARY file and a SCIENCE file. Every programme also has a spectrum
        without any picture, and the second and the first one of a mission
        look at the same place.
    """
    parts = _small(seed, n_proposals, n_observations, tuple(missions), size)
    observations, products, files, exclusive, proposals = parts
    archive = Archive(
        observations=[dict(row) for row in observations],
        products=[dict(row) for row in products],
        files=dict(files),
        exclusive=set(exclusive),
    )
    archive.catalogue = "".join(
        _block(proposal) for proposal in proposals if proposal["mission"] == "HST"
    ).encode()
    for proposal in proposals:
        key = proposal["mission"], proposal["id"]
        archive.programmes[key] = _programme(proposal)
        archive.names[proposal["target"]] = proposal["ra"], proposal["dec"]
    return archive


@lru_cache(maxsize=8)
def _small(seed, n_proposals, n_observations, missions, size):
    rng = np.random.default_rng([seed, 5])
    observations, products, files, exclusive, proposals = [], [], {}, [], []
    for number in range(n_proposals):
        mission = missions[number % len(missions)]
        turn = number // len(missions)
        twin = proposals[-len(missions)] if turn == 1 else None
        subject, category, kind = _SUBJECTS[number % len(_SUBJECTS)]
        proposal = {
            "mission": mission,
            "id": str((15500 if mission == "HST" else 2100) + 13 * turn),
            "cycle": (25 if mission == "HST" else 1) + turn,
            "subject": subject,
            "category": category,
            "kind": kind,
            "pi": _PEOPLE[number % len(_PEOPLE)],
            "target": f"NGC-{1000 + 37 * number + seed}",
            "ra": twin["ra"] if twin else float(rng.uniform(0, 360)),
            "dec": twin["dec"] if twin else float(rng.uniform(-80, 80)),
        }
        proposals.append(proposal)
        for visit in range(n_observations + 1):
            row = _observation(
                proposal, visit, number, spectrum=visit == n_observations
            )
            secret = visit == n_observations - 1 > 0 and number % 3 == 2
            if secret:
                row["dataRights"] = "EXCLUSIVE_ACCESS"
                row["t_obs_release"] = 99_000.0
            observations.append(row)
            mine = _products(row, seed * 10_000 + number * 100 + visit, size, files)
            products += mine
            if secret:
                exclusive += [product["dataURI"] for product in mine]
    return observations, products, files, exclusive, proposals


def _observation(proposal, visit, number, *, spectrum):
    mission = proposal["mission"]
    pairs = _INSTRUMENTS[mission]
    instrument, band = pairs[visit % len(pairs)]
    target = visit % 3
    ra = (proposal["ra"] + 0.1 * target) % 360
    dec = proposal["dec"] + 0.01 * target
    half, wide = 0.02, 0.02 / np.cos(np.radians(dec))
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    region = " ".join(
        f"{(ra + i * wide) % 360:.8f} {dec + j * half:.8f}" for i, j in corners
    )
    camera = instrument.lower().replace("/", "_")
    if mission == "HST":
        obs_id = (
            f"hst_{proposal['id']}_{visit:02d}_{camera}_total_i{number:02d}a{visit:02d}"
        )
    else:
        place = f"o{visit + 1:03d}_t{target + 1:03d}"
        obs_id = f"jw0{proposal['id']}-{place}_{camera}_{band.lower()}"
    start = 58000.0 + 100 * number + visit
    return {
        "intentType": "science",
        "obs_collection": mission,
        "provenance_name": "HAP" if mission == "HST" else "CALJWST",
        "instrument_name": "STIS/CCD" if spectrum else instrument,
        "project": "HAP" if mission == "HST" else "JWST",
        "filters": "G430L" if spectrum else band,
        "wavelength_region": "Optical" if mission == "HST" else "Infrared",
        "target_name": proposal["target"] + ("" if target == 0 else f"-{target}"),
        "target_classification": proposal["kind"],
        "obs_id": f"spec_{proposal['id']}_{number}" if spectrum else obs_id,
        "s_ra": ra,
        "s_dec": dec,
        "dataproduct_type": "spectrum" if spectrum else "image",
        "proposal_pi": f"{proposal['pi']}, Kim",
        "calib_level": 3,
        "t_min": start,
        "t_max": start + 0.02,
        "t_exptime": 1200.0,
        "em_min": 500.0,
        "em_max": 900.0,
        "obs_title": f"A study of the {proposal['subject']}",
        "t_obs_release": start + 365,
        "proposal_id": proposal["id"],
        "proposal_type": "GO",
        "sequence_number": None,
        "s_region": f"POLYGON ICRS {region}",
        "dataRights": "PUBLIC",
        "mtFlag": False,
        "srcDen": None,
        "obsid": 60_000_000 + 100 * number + visit,
        "objID": 700_000_000 + 100 * number + visit,
    }


def _products(row, seed, size, files):
    """Return the products of an observation, and draw their files."""
    mission, obs_id = row["obs_collection"], row["obs_id"]
    if row["dataproduct_type"] == "spectrum":
        kinds = [("_x1d.fits", "SCIENCE", "X1D")]
    elif mission == "HST":
        # the drizzled image of each filter has a picture as well
        kinds = [
            ("_drc.jpg", "PREVIEW", "DRC"),
            ("_color_drc.jpg", "PREVIEW", "DRC"),
            ("_drc.fits", "SCIENCE", "DRC"),
            ("_trl.txt", "AUXILIARY", "TRL"),
        ]
        row["jpegURL"] = f"mast:HST/product/{obs_id}_drc.jpg"
    else:
        kinds = [
            ("_i2d.jpg", "PREVIEW", "I2D"),
            ("_segm.jpg", "PREVIEW", "SEGM"),
            ("_i2d.fits", "SCIENCE", "I2D"),
            ("_pool.csv", "AUXILIARY", "POOL"),
        ]
        row["jpegURL"] = f"mast:JWST/product/{obs_id}_i2d.jpg"
    found = []
    for place, (suffix, kind, group) in enumerate(kinds):
        name = obs_id + suffix
        uri = f"mast:{mission}/product/{name}"
        if suffix.endswith(".jpg"):
            files[uri] = picture(seed * 10 + place, size)
        elif suffix.endswith(".fits"):
            files[uri] = fits_file(seed, row["s_ra"], row["s_dec"])
        else:
            files[uri] = f"notes on {obs_id}\n".encode()
        found.append(
            {
                "obsID": row["obsid"],
                "parent_obsid": row["obsid"],
                "obs_collection": mission,
                "dataproduct_type": row["dataproduct_type"],
                "obs_id": obs_id,
                "description": "Preview-Full" if kind == "PREVIEW" else f"{group} file",
                "type": "S",
                "dataURI": uri,
                "productType": kind,
                "productSubGroupDescription": group,
                "project": row["project"],
                "proposal_id": row["proposal_id"],
                "productFilename": name,
                "size": len(files[uri]),
                "dataRights": row["dataRights"],
                "calib_level": 3,
                "filters": row["filters"],
            }
        )
    return found


def _abstract(proposal):
    return (
        f"We propose to observe the {proposal['subject']} {proposal['target']} "
        f"with {proposal['mission']}. Deep images will show how it formed.\n"
        f" The data of cycle {proposal['cycle']} become public at once."
    )


def _block(proposal):
    """Return the entry of the abstracts catalogue."""
    return (
        "-" * 78 + "\n"
        " Prop. Type: GO\n"
        f"   Category: {proposal['category']}\n"
        f"         ID: {proposal['id']}\n"
        f"      Cycle: {proposal['cycle']}\n"
        f"      Title: A study of the {proposal['subject']}\n"
        f"         PI: Kim {proposal['pi']}\n"
        "\n"
        f" {_abstract(proposal)}\n\n"
    )


def _programme(proposal):
    """Return the public programme file: XML, for JWST in a zip file."""
    about = (
        f"<Title>A study of the {proposal['subject']}</Title>"
        f"<Abstract>{_abstract(proposal)}</Abstract>"
    )
    if proposal["mission"] == "HST":
        text = (
            f'<HSTProposal Phase2ID="{proposal["id"]}" Phase="PHASE2">'
            f'<ProposalInformation Category="GO" Cycle="{proposal["cycle"]}" '
            f'ScienceCategory="{proposal["category"]}">{about}'
            f'<PrincipalInvestigator FirstName="Kim" LastName="{proposal["pi"]}"/>'
            "</ProposalInformation></HSTProposal>"
        )
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    text = (
        '<JwstProposal schemaVersion="51" xmlns="http://www.stsci.edu/JWST/APT">'
        f"<ProposalInformation>{about}<ProposalID>{proposal['id']}</ProposalID>"
        f"<Cycle>{proposal['cycle']}</Cycle><ProposalCategory>GO</ProposalCategory>"
        f"<ScientificCategory>{proposal['category']}</ScientificCategory>"
        "<PrincipalInvestigator><InvestigatorAddress><FirstName>Kim</FirstName>"
        f"<LastName>{proposal['pi']}</LastName></InvestigatorAddress>"
        "</PrincipalInvestigator></ProposalInformation></JwstProposal>"
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as package:
        name = zipfile.ZipInfo(f"{proposal['id']}.xml", (2026, 1, 1, 0, 0, 0))
        package.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}')
    return stream.getvalue()


def shared_archive(folder=None):
    """
    Return the recorded replies and the real previews as one archive.

    Parameters
    ----------
    folder : path-like, optional
        The folder of real data; the test is skipped when it is missing.
    """
    from ..shared_data import require_shared_data

    folder = require_shared_data() if folder is None else folder
    replies = folder / "mast_responses"
    archive = Archive()
    seen = set()
    for name in ("caom.json", "advSearch.json", "advSearchPos.json"):
        for row in json.loads((replies / name).read_text(encoding="utf-8"))["data"]:
            if row["obsid"] not in seen:
                seen.add(row["obsid"])
                archive.observations.append(row | {"dataRights": "PUBLIC"})
    products = json.loads((replies / "products.json").read_text(encoding="utf-8"))
    archive.products += products["data"]
    names = json.loads((replies / "resolver.json").read_text(encoding="utf-8"))
    for found in names["resolvedCoordinate"]:
        archive.names.setdefault(found["searchString"], (found["ra"], found["decl"]))
    for mission in ("JWST", "HST"):
        _add_previews(archive, folder / f"{mission.lower()}_previews", mission)
    return archive


def _add_previews(archive, folder, mission):
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        fits_name = next(iter((row.get("fits_files") or "").split()), "")
        obs_id = fits_name.removesuffix("_i2d.fits")
        if not obs_id:
            obs_id = f"hst_{row['proposal_id'] or 0}_{number:03d}_wfc3_uvis_total"
        obs_id += f"_p{number:03d}"
        suffix = "_i2d.jpg" if mission == "JWST" else "_drc.jpg"
        if row["file"].endswith(".png"):
            suffix = suffix.replace(".jpg", ".png")
        uri = f"mast:{mission}/product/{obs_id}{suffix}"
        obsid = (80_000_000 if mission == "JWST" else 90_000_000) + number
        archive.observations.append(
            {
                "intentType": "science",
                "obs_collection": mission,
                "instrument_name": row["instrument"],
                "filters": row["filters"].upper().replace(" ", ";") or None,
                "target_name": row["object_name"] or None,
                "target_classification": row["labels"] or None,
                "obs_id": obs_id,
                "s_ra": float(row["ra_deg"]) if row["ra_deg"] else None,
                "s_dec": float(row["dec_deg"]) if row["dec_deg"] else None,
                "dataproduct_type": "image",
                "calib_level": 3,
                "obs_title": row["title"] or None,
                "proposal_id": row["proposal_id"] or None,
                "proposal_pi": row.get("pi") or None,
                "jpegURL": uri,
                "dataRights": "PUBLIC",
                "obsid": obsid,
            }
        )
        path = folder / row["file"]
        archive.files[uri] = path
        archive.products.append(
            {
                "obsID": obsid,
                "parent_obsid": obsid,
                "obs_collection": mission,
                "dataproduct_type": "image",
                "obs_id": obs_id,
                "description": "Preview-Full",
                "dataURI": uri,
                "productType": "PREVIEW",
                "productFilename": uri.rpartition("/")[2],
                "size": path.stat().st_size,
                "proposal_id": row["proposal_id"] or None,
                "dataRights": "PUBLIC",
                "calib_level": 3,
            }
        )
