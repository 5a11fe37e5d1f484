"""Fetch the images that queries name by `image_url`, where the operator allows it: from public addresses only.

Host names are resolved here, every address is checked (`retrieval.service.public_addresses`), and the connection goes
to an address that was checked, so that neither a redirect nor a second DNS answer leads into the private network.

Bounds: URLs and bytes of one request (`Settings`), the time of one URL and of all URLs of a request (`Access`), and the
fetches of one client and of the whole process at the same time. When one image of a request fails, the others are not
waited for, and nothing of them is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakValueDictionary

import h11

from index.errors import BadInput
from retrieval.service.admission import CLIENT
from retrieval.service.http_get import Allowance, certificates, get
from retrieval.service.limits import OverLimit
from retrieval.service.public_addresses import is_public
from retrieval.service.settings import Settings
from retrieval.service.web_url import WebUrl, redirected, web_url

__all__ = ["PUBLIC", "Access", "addresses_of_host", "fetch_image", "fetch_images"]

MOST_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
# At the same time, in the whole process and for one client, so that one client leaves room for another.
MOST_FETCHES, MOST_OF_CLIENT = 8, 4
# A look-up that nobody waits for any more goes on in its thread: glibc gives up after some 10 s for each name server.
MOST_LOOKUPS = 32
# A name of a large host has a dozen addresses; each is checked.
MOST_ADDRESSES = 64


def addresses_of_host(host: str) -> list[str]:
    """The IP addresses of a host name by this machine's resolver, in its order. Blocks; raises OSError."""
    # Bytes: for a str Python would encode the name again, by older rules, and raise UnicodeError.
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Access:
    """What may be fetched, and how long it may take.

    is_allowed: whether an IP address may be connected to. ports: that a URL may name. resolve: the addresses of a host
    name; it may block and raise OSError. tls: the certificates that are trusted. seconds: of one image, redirects
    included; request_seconds: of all images of a request, waiting for their turn included.
    """

    is_allowed: Callable[[str], bool] = is_public
    ports: tuple[int, ...] = (80, 443)
    resolve: Callable[[str], Sequence[str]] = addresses_of_host
    tls: Callable[[], ssl.SSLContext] = certificates
    seconds: float = 10.0
    request_seconds: float = 30.0


PUBLIC = Access()

_lookups = threading.BoundedSemaphore(MOST_LOOKUPS)


class _FetchSlots:
    """Whose fetches may begin. The semaphores of clients are kept while they are used."""

    def __init__(self) -> None:
        self.all = asyncio.Semaphore(MOST_FETCHES)
        self._clients: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def of_client(self) -> asyncio.Semaphore:
        """The slots of whoever sent the request that is being answered."""
        client = CLIENT.get()
        found = self._clients.get(client)
        if found is None:
            found = self._clients[client] = asyncio.Semaphore(MOST_OF_CLIENT)
        return found


_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, _FetchSlots] = WeakKeyDictionary()  # a service has one event loop


async def fetch_images(
    urls: Mapping[int, str],
    settings: Settings,
    access: Access = PUBLIC,
    hold: Callable[[int], None] = lambda _: None,
) -> dict[int, bytes]:
    """The images of one request's queries. urls: by the query's place, which messages name. hold: see `Allowance`.

    Raises OverLimit for more URLs than `Settings.max_urls`, before any is fetched, and for more bytes than
    `max_image_bytes` of one image or `max_fetch_bytes` together; BadInput for a URL that is none, leads to an address
    that is not allowed, or gives no image in time.
    """
    if len(urls) > settings.max_urls:
        raise OverLimit("max_urls", f"{len(urls)} image_urls: at most {settings.max_urls} a request; send several")
    for place, text in urls.items():
        with _named(place):
            _checked(web_url(text), access)
    allowance = Allowance(settings.max_image_bytes, settings.max_fetch_bytes, hold)
    slots = _slots.setdefault(asyncio.get_running_loop(), _FetchSlots())
    client_slots = slots.of_client()
    files: dict[int, bytes] = {}

    async def fetch(place: int, text: str) -> None:
        async with client_slots, slots.all:
            with _named(place):
                files[place] = await fetch_image(text, allowance, access)

    failed: BaseException | None = None
    try:
        async with asyncio.timeout(access.request_seconds), asyncio.TaskGroup() as group:
            for place, text in urls.items():
                group.create_task(fetch(place, text))
    except TimeoutError as error:
        raise BadInput(f"the image_urls took longer than {access.request_seconds:g} s together") from error
    except BaseExceptionGroup as errors:
        files.clear()
        failed = errors.exceptions[0]
    if failed is not None:  # raised here, where the others, with the bytes that their frames hold, are no context of it
        raise failed
    return files


async def fetch_image(text: str, allowance: Allowance, access: Access = PUBLIC) -> bytes:
    """The image at an http(s) URL. Raises OverLimit and BadInput as `fetch_images` does."""
    try:
        async with asyncio.timeout(access.seconds):
            return await _follow(web_url(text), allowance, access)
    except TimeoutError as error:
        raise BadInput(f"image_url: no whole answer within {access.seconds:g} s") from error
    except (OSError, h11.ProtocolError) as error:  # what exactly failed would tell about the operator's network
        raise BadInput("image_url: could not be fetched") from error


async def _follow(url: WebUrl, allowance: Allowance, access: Access) -> bytes:
    for _ in range(MOST_REDIRECTS + 1):
        _checked(url, access)
        addresses = await _allowed_addresses(url, access)
        tls = await asyncio.to_thread(access.tls) if url.scheme == "https" else None
        answer = await get(url, addresses, tls, allowance)
        if answer.status not in REDIRECTS:
            break
        if answer.location is None:
            raise BadInput(f"image_url: the server answered {answer.status} without a Location")
        url = redirected(url, answer.location)
    else:
        raise BadInput(f"image_url: more than {MOST_REDIRECTS} redirects")
    if answer.status != 200:
        raise BadInput(f"image_url: the server answered {answer.status}")
    if not answer.body:
        raise BadInput("image_url: the answer is empty")
    return answer.body


def _checked(url: WebUrl, access: Access) -> None:
    """Raise BadInput for what can be refused without asking anybody: a port, or an address in the URL itself."""
    if url.port not in access.ports:
        raise BadInput(f"image_url: no ports but {' and '.join(map(str, access.ports))}")
    if url.address is not None and not access.is_allowed(url.address):
        raise _not_public()


async def _allowed_addresses(url: WebUrl, access: Access) -> Sequence[str]:
    """The addresses of the URL's host. Raises BadInput unless all are allowed: one private address among public ones
    may be an attack."""
    found = [url.address] if url.address is not None else await _look_up(url.host, access.resolve)
    if len(found) > MOST_ADDRESSES:
        raise BadInput(f"image_url: its host has more than {MOST_ADDRESSES} addresses")
    if not all(access.is_allowed(address) for address in found):
        raise _not_public()
    return found


async def _look_up(host: str, resolve: Callable[[str], Sequence[str]]) -> Sequence[str]:
    """`resolve(host)` in a thread of its own, so that slow name servers hold up nothing else, not even the end of this
    process. Raises BadInput for a host without an address, OSError where no thread can be started."""
    while not _lookups.acquire(blocking=False):
        await asyncio.sleep(0.05)  # until the caller's time is over
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[str]] = loop.create_future()

    def settle(addresses: Sequence[str]) -> None:
        if not found.done():  # cancelled
            found.set_result(addresses)

    def work() -> None:
        try:
            addresses = resolve(host)
        except OSError:  # socket.gaierror
            addresses = ()
        finally:
            _lookups.release()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, addresses)

    try:
        threading.Thread(target=work, name="look up a host", daemon=True).start()
    except RuntimeError as error:
        _lookups.release()
        raise OSError("too many threads") from error
    addresses = await found
    if not addresses:
        raise _not_public()
    return addresses


def _not_public() -> BadInput:
    """One message for both cases: which names a private network has is nobody's business."""
    return BadInput("image_url: its host has no address, or one that is not public")


@contextlib.contextmanager
def _named(place: int) -> Iterator[None]:
    """Say in messages which query it is."""
    try:
        yield
    except OverLimit as error:
        raise OverLimit(error.bound, f"query {place}: {error}") from error.__cause__
    except BadInput as error:
        raise BadInput(f"query {place}: {error}") from error.__cause__
