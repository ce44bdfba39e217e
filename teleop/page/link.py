"""Who may come in: loopback without more ado, everybody else with a token and over TLS."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from ...robot.errors import UsageError

DAYS = 825  # of a certificate; browsers take no longer ones


@dataclass(frozen=True, slots=True)
class Link:
    """Where the page is served, and to whom."""

    host: str = "127.0.0.1"
    port: int = 8020
    token: str = ""  # "" only on loopback
    tls: bool = False

    def admits(self, target: str, origin: str | None, shown: str | None) -> bool:
        """Whether a request for `target` may come in: it has the token, and no page of somebody else's sent it.

        `origin` and `shown` are the request's headers Origin and Host.
        """
        if origin is not None and urlsplit(origin).netloc != shown:
            return False
        if not self.token:
            return shown is not None and is_loopback(urlsplit(f"//{shown}").hostname or "")
        given = parse_qs(urlsplit(target).query).get("token", [""])[0]
        return hmac.compare_digest(given.encode(), self.token.encode())

    def url(self, host: str | None = None) -> str:
        """What to open in a browser."""
        shown = host or (self.host if self.host not in ("0.0.0.0", "::") else own_address())
        scheme, query = ("https" if self.tls else "http"), f"/?token={self.token}" if self.token else "/"
        return f"{scheme}://{shown}:{self.port}{query}"


def make_link(host: str, port: int, token: str | None = None) -> Link:
    """A link that is closed unless somebody opened it: beyond loopback with TLS and a token, drawn where none is given.

    Raises `UsageError` for a token that is too short to be one.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: a port is a number from 0 (any that is free) to 65535")
    if token is not None and len(token) < 8:
        raise UsageError("--token: at least 8 characters; leave it out, and one is drawn")
    outside = not is_loopback(host)
    return Link(host, port, token or (secrets.token_urlsafe(12) if outside else ""), tls=outside)


def tls_context(folder: Path, host: str) -> ssl.SSLContext:
    """A TLS context whose certificate lies in `folder`, made on first use. Raises `UsageError` without cryptography."""
    certificate, key = folder / "page.crt", folder / "page.key"
    if not (certificate.exists() and key.exists()):
        _make_certificate(certificate, key, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def pin_of(certificate: bytes | Path) -> str:
    """What tells a certificate from all others: half of its SHA-256, hexadecimal. `certificate`: DER, or the folder."""
    if isinstance(certificate, Path):
        certificate = ssl.PEM_cert_to_DER_cert((certificate / "page.crt").read_text())
    return hashlib.sha256(certificate).hexdigest()[:32]


def own_address() -> str:
    """The address under which others reach this machine; loopback where there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(
                ("192.0.2.1", 9)
            )  # sends nothing; the address is reserved for documentation (RFC 5737)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _make_certificate(certificate: Path, key: Path, host: str) -> None:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError:
        raise UsageError(
            f"--host {host}: other machines are served over TLS, which needs cryptography; pip install 'twinloop[web]'"
        ) from None
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Twinloop operator page")])
    addresses = {"127.0.0.1", own_address(), *([host] if _is_address(host) else [])} - {"0.0.0.0"}
    names = [x509.DNSName("localhost"), x509.DNSName(socket.gethostname())]
    alternatives = [*names, *(x509.IPAddress(ipaddress.ip_address(each)) for each in sorted(addresses))]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(private, hashes.SHA256())
    )
    key.parent.mkdir(parents=True, exist_ok=True)
    plain = serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(pem)
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
