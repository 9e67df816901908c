"""What a receiver can do to the one who sends: redirect, answer without end, answer drop by drop, or not at all."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from activities.webhooks.addresses import AddressRules
from activities.webhooks.transport import KEPT, Transport
from activities.webhooks.urls import UrlRules
from tests.webhooks.listeners import Handler, Names, listening_everywhere, scripted

SANDBOX = UrlRules(AddressRules(admit_private=True), sandbox=True)
SOON = timedelta(milliseconds=600)
NAME = "hooks.example.test"


async def _request(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answering(*parts: bytes) -> Handler:
    """Answers every request with these bytes, and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.writelines(parts)
        await writer.drain()

    return handle


def endless(start: bytes, drop: bytes, pause: timedelta) -> Handler:
    """Begins to answer, and never ends."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(start)
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(pause.total_seconds())

    return handle


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    """Not even to a place that would be allowed."""
    async with listening_everywhere() as forbidden:
        where = f"HTTP/1.1 {status} Go\r\nLocation: http://127.0.0.1:{forbidden.port}/\r\nContent-Length: 0\r\n\r\n"
        async with scripted(answering(where.encode())) as port, Transport(SANDBOX) as transport:
            answer = await transport.post(f"http://127.0.0.1:{port}/", b"{}", {})
        assert (answer.status, answer.succeeded) == (status, False)
        assert answer.error == "redirects are not followed"
        assert forbidden.connections == 0


async def test_an_endless_answer_is_cut_and_its_status_counts() -> None:
    """A flood costs no more than the bytes that are kept."""
    flood = endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536, timedelta(0))
    async with scripted(flood) as port, Transport(SANDBOX) as transport:
        answer = await transport.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert answer.succeeded
    assert answer.body == b"x" * KEPT


async def test_a_compressed_answer_is_not_unpacked() -> None:
    """A small answer cannot become a huge one."""
    start = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    async with scripted(answering(start, b"\x1f\x8b\x08\x00")) as port, Transport(SANDBOX) as transport:
        answer = await transport.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert answer.body == b"\x1f\x8b\x08\x00"


SLOW = {
    "says nothing": endless(b"", b"", timedelta(milliseconds=50)),
    "headers drop by drop": endless(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", timedelta(milliseconds=50)),
    "header after header": endless(b"HTTP/1.1 200 OK\r\n", b"X-Next: 1\r\n", timedelta(milliseconds=50)),
    "only interim answers": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", timedelta(milliseconds=50)),
}


@pytest.mark.parametrize("how", SLOW)
async def test_a_slow_answer_ends_in_time(how: str) -> None:
    """No trickle keeps an attempt going: its whole time is limited, not the time between two bytes."""
    async with scripted(SLOW[how]) as port, Transport(SANDBOX, whole=SOON) as transport:
        answer = await transport.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert answer.status is None
    assert answer.error == "no answer within 0.6 seconds"
    assert answer.latency < 2 * SOON


async def test_a_slow_body_does_not_undo_a_status_that_came_in_time() -> None:
    """The receiver has said 200, so it has the message; what else it says is waited for within the whole time."""
    drops = endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x", timedelta(milliseconds=50))
    async with scripted(drops) as port, Transport(SANDBOX, whole=SOON) as transport:
        answer = await transport.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert answer.succeeded
    assert 0 < len(answer.body) < KEPT
    assert answer.latency <= SOON


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 1_000 + b"\r\n",
        b"\x00" * 10_000,
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
)
async def test_what_is_no_answer_is_a_failure(flood: bytes) -> None:
    """Headers without measure, or another protocol."""
    async with scripted(answering(flood)) as port, Transport(SANDBOX) as transport:
        answer = await transport.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert answer.status is None
    assert "no valid answer" in (answer.error or "")


async def test_a_connection_that_closes_is_a_failure() -> None:
    """Without an answer nobody knows whether the receiver has the message, so it is sent again."""
    async with scripted(answering(b"")) as port, Transport(SANDBOX) as transport:
        answer = await transport.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert answer.error == "the connection was closed before an answer came"


async def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says of proxies would lead every request past the check of its address."""
    async with listening_everywhere() as proxy, scripted(answering(b"HTTP/1.1 204 No\r\n\r\n")) as port:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with Transport(SANDBOX) as transport:
            answer = await transport.post(f"http://127.0.0.1:{port}/", b"{}", {})
        assert answer.status == 204
        assert proxy.connections == 0


def self_signed(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for this name, and a client's that trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = folder / "server.pem"
    chain.write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    return server, ssl.create_default_context(cadata=pem.decode())


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return self_signed(tmp_path, NAME)


async def _tls(context: ssl.SSLContext, heard: list[str]) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await _request(reader)).decode()
        heard.extend(line for line in request.split("\r\n") if line.lower().startswith("host:"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    context.sni_callback = lambda _, name, __: heard.append(f"sni: {name}")
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_the_name_is_kept_for_tls_and_http(certificates: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """The connection goes to the address that was checked, and SNI, the certificate and Host are of the name."""
    serving, trusting = certificates
    heard: list[str] = []
    async for port in _tls(serving, heard):
        names = Names([["127.0.0.1"]])
        async with Transport(SANDBOX, tls=trusting, resolve=names.resolve) as transport:
            answer = await transport.post(f"https://{NAME}:{port}/", b"{}", {})
        assert (answer.status, answer.body) == (200, b"ok")
        assert heard == [f"sni: {NAME}", f"Host: {NAME}:{port}"]


async def test_a_certificate_of_another_name_is_a_failure(
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Nothing is sent to who cannot prove to be the one that the partner named."""
    serving, trusting = certificates
    heard: list[str] = []
    async for port in _tls(serving, heard):
        names = Names([["127.0.0.1"]])
        async with Transport(SANDBOX, tls=trusting, resolve=names.resolve) as transport:
            answer = await transport.post(f"https://other.example.test:{port}/", b"{}", {})
        assert answer.status is None
        assert "certificate" in (answer.error or "")
        assert heard == ["sni: other.example.test"]
