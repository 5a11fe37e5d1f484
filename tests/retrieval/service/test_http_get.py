from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import h11
import pytest

from index.errors import BadInput
from retrieval.service.http_get import HEAD_BYTES, Allowance, Answer, get
from retrieval.service.limits import OverLimit
from retrieval.service.web_url import web_url
from tests.retrieval.service.raw_server import HOST, RawServer, ok, raw_server, redirect

MB = 1 << 20


def fetch(
    server: RawServer,
    path: str = "/",
    *,
    host: str = "",
    addresses: tuple[str, ...] = (HOST,),
    image: int = MB,
    request: int = 4 * MB,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    async def limited() -> Answer:
        async with asyncio.timeout(30):
            return await get(web_url(server.url(path, host)), addresses, tls, Allowance(image, request))

    return asyncio.run(limited())


def answered(*parts: bytes, image: int = MB, request: int = 4 * MB) -> Answer:
    with raw_server(lambda path: parts) as server:
        return fetch(server, image=image, request=request)


def test_the_body_is_read_and_the_request_has_what_servers_ask_for() -> None:
    with raw_server(lambda path: ok(b"pixels")) as server:
        assert fetch(server, "/a b?é", host="ü.example") == Answer(200, None, b"pixels")
    (head,) = server.heads
    first, *headers = head.decode("ascii").split("\r\n")
    assert first == "GET /a%20b?%C3%A9 HTTP/1.1"
    assert f"Host: xn--tda.example:{server.port}" in headers
    assert "Accept-Encoding: identity" in headers


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\npix\r\n", b"3;x=y\r\nels\r\n", b"0\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\n\r\n", b"pixels"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n", *ok(b"pixels")),
        (b"HTTP/1.1 200\r\ncontent-length: 6\r\n\r\npixels and more, which was not announced",),
    ],
)
def test_every_way_to_end_a_body_is_understood(parts: tuple[bytes, ...]) -> None:
    assert answered(*parts).body == b"pixels"


def test_the_body_of_other_answers_is_not_read() -> None:
    assert answered(*redirect("/elsewhere")) == Answer(302, b"/elsewhere", b"")
    assert answered(b"HTTP/1.1 404 No\r\nContent-Length: 99999999\r\n\r\n") == Answer(404, None, b"")


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"\x15\x03\x01\x00\x02\x02\x16",),
        (b"SSH-2.0-OpenSSH_9.2\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"ab"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\npix\r\n"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nA\x00: b\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * (HEAD_BYTES + 1),),
    ],
)
def test_an_answer_that_is_not_http_is_an_error(parts: tuple[bytes, ...]) -> None:
    with pytest.raises((h11.ProtocolError, OSError)):
        answered(*parts)


def test_an_image_beyond_its_bound_is_refused_by_its_announced_length_before_it_is_read() -> None:
    with pytest.raises(OverLimit, match="more than 1,000,000 bytes") as caught:
        answered(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n", image=1_000_000)
    assert caught.value.bound == "max_image_bytes"


def endless(path: str) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + bytes(65_536) + b"\r\n"


@pytest.mark.parametrize(
    ("image", "request_bytes", "bound"), [(MB, 4 * MB, "max_image_bytes"), (4 * MB, MB, "max_fetch_bytes")]
)
def test_an_image_without_a_length_is_cut_off_and_its_connection_closed(
    image: int, request_bytes: int, bound: str
) -> None:
    with raw_server(endless) as server:
        with pytest.raises(OverLimit) as caught:
            fetch(server, image=image, request=request_bytes)
        assert caught.value.bound == bound
        assert server.left.wait(10)


def padded(start: bytes, part: bytes) -> Iterator[bytes]:
    yield start
    while True:
        yield part * 1_000


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"100\r\n" + b"x" * 256 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 200 + b"\r\nx\r\n"),
    ],
)
def test_heads_without_end_and_tiny_chunks_are_cut_off(start: bytes, part: bytes) -> None:
    with raw_server(lambda path: padded(start, part)) as server:
        with pytest.raises(BadInput, match=r"mostly padding|too small parts"):
            fetch(server)
        assert server.left.wait(10)


def test_a_compressed_body_is_refused_since_it_may_unpack_to_any_size() -> None:
    with pytest.raises(BadInput, match="compressed"):
        answered(*ok(gzip.compress(bytes(MB)), "content-ENCODING: gzip"))
    assert answered(*ok(b"pixels", "Content-Encoding: identity")).body == b"pixels"


def test_a_further_address_is_tried_where_the_first_refuses() -> None:
    with raw_server(lambda path: ok(b"pixels")) as server:
        assert fetch(server, addresses=("127.0.0.3", HOST)).body == b"pixels"
        with pytest.raises(ConnectionRefusedError):
            fetch(server, addresses=("127.0.0.3", "127.0.0.4"))


def test_an_address_is_never_looked_up() -> None:
    with raw_server(lambda path: ok(b"pixels")) as server, pytest.raises(OSError, match=r"(?i)name|service|address"):
        fetch(server, addresses=("localhost",))
    assert server.connections == 0


def test_a_cancelled_request_closes_its_connection() -> None:
    async def cancelled(server: RawServer) -> None:
        task = asyncio.create_task(get(web_url(server.url()), [HOST], None, Allowance(1 << 40, 1 << 40)))
        while server.sent < 10 * MB:
            await asyncio.sleep(0.01)
            assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.left.wait, 10)

    with raw_server(endless) as server:
        asyncio.run(cancelled(server))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of xn--tda.example and of 127.0.0.2, with its key, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("xn--tda.example"), x509.IPAddress(ipaddress.ip_address(HOST))]
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file.write_bytes(signed.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return file


def test_tls_asks_for_the_ascii_name_and_checks_it(certificate: Path) -> None:
    asked: list[str | None] = []
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    ours.sni_callback = lambda connection, name, context: asked.append(name)
    trusted = ssl.create_default_context(cafile=str(certificate))
    with raw_server(lambda path: ok(b"pixels"), tls=ours) as server:
        assert fetch(server, host="Ü。example", tls=trusted).body == b"pixels"
        assert fetch(server, host="ü.example.", tls=trusted).body == b"pixels"
        assert fetch(server, tls=trusted).body == b"pixels"
        with pytest.raises(ssl.SSLError, match=r"(?i)hostname mismatch"):
            fetch(server, host="other.example", tls=trusted)
        with pytest.raises(ssl.SSLError, match="self-signed"):
            fetch(server, host="ü.example", tls=ssl.create_default_context())
    assert asked == ["xn--tda.example", "xn--tda.example", None, "other.example", "xn--tda.example"]
    assert len(server.heads) == 3
