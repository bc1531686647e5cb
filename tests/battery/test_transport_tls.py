"""R-099: TLS takes nothing old, and with mTLS nobody that it does not know."""

import socket
import ssl
import subprocess

import pytest
from client import AUTH
from conftest import FULL
from hyperframe import frame as frames
from raw import ENHANCE_YOUR_CALM, Raw, flood, trusting

JWKS = f"/{AUTH}/GetJwks"


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def authority(folder, name):
    """A private authority: its certificate and key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key))
    openssl("req", "-x509", *made, "-out", str(cert), "-subj", f"/CN={name}", "-days", "2")
    return cert, key


def signed(folder, name, by, days="2"):
    """A certificate for this machine that an authority has signed, and its key."""
    cert, key, wish, more = (folder / f"{name}.{kind}" for kind in ("pem", "key", "csr", "cnf"))
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key))
    openssl("req", *made, "-out", str(wish), "-subj", f"/CN={name}")
    more.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    ca = ("-CA", str(by[0]), "-CAkey", str(by[1]), "-CAcreateserial")
    openssl("x509", "-req", "-in", str(wish), *ca, "-days", days, "-out", str(cert), "-extfile", str(more))
    return cert, key


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """An authority, a server, a client, and a client of another authority."""
    folder = tmp_path_factory.mktemp("papers")
    ours, other = authority(folder, "ours"), authority(folder, "other")
    return {
        "ca": ours[0],
        "server": signed(folder, "server", ours),
        "client": signed(folder, "client", ours),
        "stranger": signed(folder, "stranger", other),
        "expired": signed(folder, "expired", ours, days="-1"),
    }


@pytest.fixture
def secured(make_server, papers):
    cert, key = papers["server"]

    def make(*arguments):
        return make_server(arguments=["--tls-cert", str(cert), "--tls-key", str(key), *arguments]).start()

    return make


def handshake(server, context):
    """The version and suite of a connection; a byte is read, because a client of TLS 1.3 learns late that it is refused."""
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname=host) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert connection.recv(12).startswith(b"HTTP/1.1")
            return connection.version(), connection.cipher()[0]


def http1(context):
    context.set_alpn_protocols(["http/1.1"])
    return context


def test_r_099_versions_below_1_2_and_weak_suites_are_refused(secured, papers):
    server = secured()
    seen = set()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = http1(trusting(papers["ca"]))
        context.minimum_version = context.maximum_version = version
        seen.add(handshake(server, context))
    assert {version for version, _ in seen} == {"TLSv1.2", "TLSv1.3"}
    assert all("GCM" in suite or "CHACHA20" in suite for _, suite in seen), seen
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = http1(trusting(papers["ca"]))
        # Without this the client itself would not dare.
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(server, context)
    weak = ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "NULL", "aNULL", "DHE"]
    for suite in weak:
        context = http1(trusting(papers["ca"]))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.set_ciphers(f"{suite}:@SECLEVEL=0")
        except ssl.SSLError:
            # The client has no such suite either.
            continue
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(server, context)


def test_r_099_with_mtls_only_certificates_of_the_authority_get_in(secured, papers):
    server = secured("--tls-client-ca", str(papers["ca"]))

    def showing(name):
        cert, key = papers[name]
        return http1(trusting(papers["ca"], cert=cert, key=key))

    assert handshake(server, showing("client"))[0] == "TLSv1.3"
    for refused in (showing("stranger"), showing("expired"), http1(trusting(papers["ca"]))):
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            handshake(server, refused)


def test_r_096_plain_bytes_on_a_port_with_tls_are_closed(secured):
    server = secured()
    host, port = server.address.rsplit(":", 1)
    for plain in (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(plain)
            received = b""
            try:
                while more := connection.recv(4096):
                    received += more
            except ConnectionResetError:
                pass
        # An alert of TLS at most.
        assert received[:1] in (b"", b"\x15"), received


def test_r_087_a_flood_within_tls_ends_like_one_without(secured, papers):
    server = secured()
    raw = Raw(server.address, tls=trusting(papers["ca"]))
    # Python's TLS crashes when one thread reads while another writes, so what is answered is read afterwards.
    flood(raw, frames.PingFrame(0, opaque_data=b"12345678"), 50_000 if FULL else 5_000).join()
    goaway, seen = raw.end()
    assert goaway is not None and goaway.error_code == ENHANCE_YOUR_CALM
    assert sum(isinstance(one, frames.PingFrame) for one in seen) <= 1_000


def test_r_094_a_handshake_that_does_not_begin_is_closed_in_time(secured):
    server = secured()
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        assert connection.recv(1) == b""
