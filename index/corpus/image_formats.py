"""The format of an image file by its first bytes."""

from __future__ import annotations

__all__ = ["NETPBM", "image_extension"]

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"\0\0\1\0", "ico"),
    (b"\xff\x0a", "jxl"),  # ISO/IEC 18181-2: a bare codestream, and a container
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
)
# Netpbm: the binary forms only, as reading millions of numbers from text takes minutes.
NETPBM = {b"P4": "pbm", b"P5": "pgm", b"P6": "ppm"}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")  # ISO/IEC 23008-12


def image_extension(data: bytes) -> str | None:
    """The file extension that fits an image file's first bytes; None where `decode_image` has no format for it.

    One of jpg, png, gif, bmp, tif, webp, avif, pbm, pgm, ppm, ico, and, for formats that need a plug-in, heic and jxl.
    Looks at the first 32 bytes only, so the file may still be damaged further on.
    """
    for start, extension in _SIGNATURES:
        if data.startswith(start):
            return extension
    if data[:2] in NETPBM and data[2:3].isspace():
        return NETPBM[data[:2]]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    # AVIF 1.1, sections 5 and 6: the brand of a still image or of a sequence, as the major or a compatible one.
    if data[4:8] != b"ftyp":
        return None
    if b"avif" in data[8:32] or b"avis" in data[8:32]:
        return "avif"
    return "heic" if any(brand in data[8:32] for brand in _HEIF_BRANDS) else None
