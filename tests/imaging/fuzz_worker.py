# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Feed damaged files to `load_picture` inside limits of memory and time.

Run as a script by ``test_fuzz.py``: ``fuzz_worker.py SEED COUNT [FILE ...]``.
Prints one JSON line per case that went wrong and a summary at the end.
"""

import faulthandler
import gzip
import io
import json
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits

from paperclip.exceptions import PaperclipError
from paperclip.imaging import load_picture

SECONDS = 20
VALUES = (
    "-1", "0", "1", "2", "3", "7", "8", "9", "16", "-32", "-64", "64", "999", "1000",
    "65536", "99999999", "2147483648", "9223372036854775807", "-9223372036854775808",
    "1E400", "-1E-320", "NAN", "1.5", "T", "F", "'abc     '", "''", "", "'RICE_1'",
    "'HCOMPRESS_1'", "'PLIO_1'", "'GZIP_2'", "'1PB(9999)'", "'RA---XXX'", "'SCI'",
    "'SPECTROSCOPIC'", "'WFPC2'", "'\x01\x02\x03'", "(1,2)", "=",
)  # fmt: skip
STRUCTURAL = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT",
    "GCOUNT", "BSCALE", "BZERO", "BLANK", "EXTNAME", "EXTVER", "TFIELDS", "TFORM1",
    "ZNAXIS1", "ZNAXIS2", "ZTILE1", "ZTILE2", "ZBITPIX", "ZCMPTYPE", "ZNAXIS",
    "ZVAL1", "ZNAME1", "CTYPE1", "CTYPE2", "CRPIX1", "CRVAL1", "CD1_1", "A_ORDER",
    "INSTRUME", "TELESCOP", "CCDCHIP", "EXP_TYPE", "END",
)  # fmt: skip


class TooLong(BaseException):
    """Not an Exception, so that no handler of the library swallows it."""


def alarm(signum, frame):
    raise TooLong


def celestial(header):
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["CRVAL1"], header["CRVAL2"] = 150.1, 2.2
    header["CRPIX1"], header["CRPIX2"] = 30.0, 20.0
    header["CD1_1"], header["CD2_2"] = -1e-5, 1e-5
    header["A_ORDER"], header["B_ORDER"] = 2, 2
    header["A_2_0"], header["B_0_2"] = 1e-6, 1e-6


def to_bytes(hdus):
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer, output_verify="ignore")
    return buffer.getvalue()


def exposure(rng, telescope, instrument, versions=(1,)):
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"], primary.header["INSTRUME"] = telescope, instrument
    primary.header["TARGNAME"], primary.header["FILTER"] = "M 31", "F606W"
    hdus = [primary]
    for version in versions:
        data = rng.normal(5, 1, (40, 64)).astype(np.float32)
        science = fits.ImageHDU(data, name="SCI", ver=version)
        science.header["CCDCHIP"] = 3 - version
        celestial(science.header)
        hdus += [
            science,
            fits.ImageHDU(np.sqrt(np.abs(data)), name="ERR", ver=version),
            fits.ImageHDU(np.zeros((40, 64), np.int16), name="DQ", ver=version),
        ]
    return hdus


def seeds(rng):
    """Return small files like the products of HST and JWST."""
    data = rng.normal(100, 5, (48, 64))
    files = [
        to_bytes(exposure(rng, "HST", "WFC3")),
        to_bytes(exposure(rng, "HST", "ACS", (1, 2))),
        to_bytes(exposure(rng, "JWST", "NIRCAM")),
        to_bytes(exposure(rng, "HST", "WFPC2", (1, 2, 3, 4))),
    ]
    raw = fits.PrimaryHDU(data.astype(np.uint16))
    celestial(raw.header)
    files.append(to_bytes([raw]))
    blank = fits.PrimaryHDU(data.astype(np.int32))
    blank.header["BLANK"], blank.header["BSCALE"] = 3, 0.5
    files.append(to_bytes([blank]))
    cube = fits.PrimaryHDU(rng.normal(size=(4, 20, 20)).astype(np.float32))
    cube.header["INSTRUME"] = "WFPC2"
    files.append(to_bytes([cube]))
    drizzled = [*exposure(rng, "HST", "ACS")[:2]]
    drizzled.append(fits.ImageHDU(np.ones((40, 64), np.float32), name="WHT"))
    files.append(to_bytes(drizzled))
    for kind in ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"):
        values = np.abs(data).astype(np.int16 if kind != "GZIP_1" else np.float32)
        tile = (16, 64) if kind == "HCOMPRESS_1" else (4, 64)
        packed = fits.CompImageHDU(
            values, compression_type=kind, tile_shape=tile, name="SCI"
        )
        files.append(to_bytes([fits.PrimaryHDU(), packed]))
    files.append(gzip.compress(files[0], 1))
    return files


def damage(content, rng):
    """Return a copy with one to four random faults."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if len(content) < 80:
            break
        FAULTS[int(rng.integers(len(FAULTS)))](content, rng)
    return bytes(content)


def card_value(content, rng):
    """Give a keyword, often a structural one, another value."""
    cards = range(0, len(content) - 79, 80)
    names = [bytes(content[i : i + 8]).rstrip() for i in cards]
    wanted = STRUCTURAL[int(rng.integers(len(STRUCTURAL)))].encode()
    places = [i for i, name in enumerate(names) if name == wanted]
    if not places or rng.random() < 0.2:
        places = [
            i for i in range(len(names)) if content[80 * i + 8 : 80 * i + 9] == b"="
        ]
    if not places:
        return
    start = 80 * places[int(rng.integers(len(places)))]
    value = VALUES[int(rng.integers(len(VALUES)))]
    content[start + 8 : start + 80] = f"= {value:>20}".ljust(72)[:72].encode()


def card_gone(content, rng):
    start = 80 * int(rng.integers(min(len(content) // 80, 200)))
    content[start : start + 80] = b" " * 80


def card_swap(content, rng):
    a, b = (80 * int(i) for i in rng.integers(min(len(content) // 80, 120), size=2))
    if a + 80 <= len(content) and b + 80 <= len(content):
        content[a : a + 80], content[b : b + 80] = (
            content[b : b + 80],
            content[a : a + 80],
        )


def flip_bytes(content, rng):
    limit = len(content) if rng.random() < 0.5 else min(len(content), 5760)
    for place in rng.integers(limit, size=int(rng.integers(1, 30))):
        content[int(place)] = int(rng.integers(256))


def cut(content, rng):
    del content[int(rng.integers(len(content))) :]


def insert(content, rng):
    place = int(rng.integers(len(content)))
    content[place:place] = rng.bytes(int(rng.integers(1, 3000)))


def zero_run(content, rng):
    place = int(rng.integers(len(content)))
    size = min(len(content) - place, int(rng.integers(1, 6000)))
    content[place : place + size] = bytes(size)


def repeat_block(content, rng):
    place = 2880 * int(rng.integers(max(1, len(content) // 2880)))
    content[place:place] = content[place : place + 2880]


FAULTS = (card_value, card_value, card_value, card_gone, card_swap, flip_bytes, cut,
          insert, zero_run, repeat_block)  # fmt: skip


def run_case(path):
    """Return 'picture', the name of our error, or what went wrong."""
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = load_picture(path, max_size=256)
    except PaperclipError as exc:
        return type(exc).__name__
    except TooLong:
        return "BAD hang"
    except BaseException as exc:  # noqa: BLE001  this is what the fuzzer looks for
        return f"BAD {type(exc).__name__}: {exc}"
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    rgb = picture.rgb
    fine = rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size
    return "picture" if fine else f"BAD array {rgb.shape} {rgb.dtype}"


def peak_mb():
    """Return the largest resident size of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of Linux begins with the peak of the parent
        (line,) = [t for t in status.read_text().splitlines() if t.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    bases = [Path(name).read_bytes() for name in sys.argv[3:]]
    rng = np.random.default_rng(seed)
    bases = bases or seeds(rng)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    signal.signal(signal.SIGALRM, alarm)
    outcomes = {}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "case.fits")
        for case in range(count):
            local = np.random.default_rng([seed, case])
            path.write_bytes(damage(bases[case % len(bases)], local))
            start = time.perf_counter()
            outcome = run_case(path)
            slowest = max(slowest, time.perf_counter() - start)
            kind = outcome.split(":")[0]
            outcomes[kind] = outcomes.get(kind, 0) + 1
            if outcome.startswith("BAD"):
                sys.stdout.write(json.dumps({"case": case, "outcome": outcome}) + "\n")
    summary = {"outcomes": outcomes, "slowest": slowest, "peak_mb": peak_mb()}
    sys.stdout.write(json.dumps(summary) + "\n")


if __name__ == "__main__":
    faulthandler.enable()
    main()
