"""Attacks by image files that are small to send and dear to decode, with a token."""

from __future__ import annotations

import base64
import json

from benchmarks.service_attack.attacker import Attacker, attack
from benchmarks.service_attack.image_files import SIDE, jpeg_of_scans, palette_png, pillow_file, png, tiny_avif_of


@attack(needs_token=True)
async def many_large_pngs(a: Attacker) -> None:
    """Searches with 32 PNG files of 11 kB and 88 megapixels each."""
    await _queries(a, [png(SIDE)] * 32, 4)


@attack(needs_token=True)
async def png_of_a_gigabyte(a: Attacker) -> None:
    """PNG files of 11 kB that take more than a gigabyte: 88 megapixels with a transparent palette."""
    await _uploads(a, [palette_png(SIDE)], 8)


@attack(needs_token=True)
async def jpeg_of_thousand_scans(a: Attacker) -> None:
    """Progressive JPEG files of 0.35 MB with 1,000 scans of 88 megapixels."""
    await _uploads(a, [jpeg_of_scans(SIDE, 1_000)], 8)


@attack(needs_token=True)
async def broken_beside_large(a: Attacker) -> None:
    """Searches with one broken image and 31 of 88 megapixels: refused at once, decoded all the same."""
    await _queries(a, [b"\xff\xd8\xffbroken", *[png(SIDE)] * 31], 4)


@attack(needs_token=True)
async def avif_bombs(a: Attacker) -> None:
    """AVIF files of a few kB: of 36 megapixels, and tiny ones that say they have 88 or 10,000 megapixels."""
    large = pillow_file("AVIF", 6_000, "L", speed=10, quality=10)
    await _uploads(a, [large, tiny_avif_of(SIDE), tiny_avif_of(100_000)], 8)


@attack(needs_token=True)
async def gif_bombs(a: Attacker) -> None:
    """GIF files of 88 megapixels."""
    await _uploads(a, [pillow_file("GIF", SIDE)], 8)


@attack(needs_token=True)
async def tiff_bombs(a: Attacker) -> None:
    """TIFF files of 88 megapixels, deflated."""
    await _uploads(a, [pillow_file("TIFF", SIDE, compression="tiff_adobe_deflate")], 8)


@attack(needs_token=True)
async def webp_bombs(a: Attacker) -> None:
    """WebP files of 88 megapixels, lossless and animated."""
    still = pillow_file("WEBP", SIDE, "RGB", lossless=True, quality=0, method=0)
    await _uploads(a, [still], 8)


@attack(needs_token=True)
async def knn_images(a: Attacker) -> None:
    """clip-retrieval's route with images of 88 megapixels, of clients that hang up at once."""
    text = base64.b64encode(png(SIDE)).decode()
    request = a.request("POST", "/knn-service", json.dumps({"image": text}).encode())
    a.begin()

    async def once(_: int) -> None:
        with a.counted():
            sock = await a.connect()
            try:
                await a.send(sock, request)
                a.got["hung up"] += 1
            finally:
                sock.close()

    await a.crowd(4, once)


@attack(needs_token=True)
async def thumbnails(a: Attacker) -> None:
    """64 clients ask for thumbnails of rows, whose photographs have 12 megapixels."""
    requests = [a.request("GET", f"/rows/{row}/image?side={side}") for row in range(8) for side in (16, 256, 1024)]
    a.begin()
    await a.keep_asking(64, requests)


async def _uploads(a: Attacker, files: list[bytes], clients: int) -> None:
    """So many clients upload the files in turn."""
    a.said.append("files of " + ", ".join(f"{len(data) / 1e3:,.0f} kB" for data in files))
    requests = [a.request("POST", "/search/image", data) for data in files]
    a.begin()
    await a.keep_asking(clients, requests)


async def _queries(a: Attacker, files: list[bytes], clients: int) -> None:
    """So many clients search with all the files in one request."""
    queries = [{"image": base64.b64encode(data).decode()} for data in files]
    request = a.request("POST", "/search", json.dumps({"queries": queries}).encode())
    a.said.append(f"a request has {len(request) / 1e3:,.0f} kB")
    a.begin()
    await a.keep_asking(clients, [request])
