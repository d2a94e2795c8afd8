"""Signs what is pushed to HTTP endpoints.

Source: the pages "sign-a-request-that-is-sent-to-an-endpoint" and "debugging-tool-of-http-endpoints" of the MNS manual:
RSA with SHA-1 over the text of a request's signature, and a certificate at the address that the push names.
"""

from __future__ import annotations

import base64
import threading
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from listener.core import clock

#: That of the service has 512, which today's clients refuse.
KEY_BITS = 2048
_YEAR = timedelta(days=365)


class PushSigner:
    """One key, made when it is first needed. May be called from several threads, since its work takes a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: rsa.RSAPrivateKey | None = None
        self._certificate = b""

    def certificate(self) -> bytes:
        """The certificate of the key, as PEM."""
        self._made_key()
        return self._certificate

    def sign(self, text: str) -> str:
        """The signature in base64."""
        digest = hashes.SHA1()  # noqa: S303 - the service signs with it, and its clients verify that
        signature = self._made_key().sign(text.encode(), padding.PKCS1v15(), digest)
        return base64.b64encode(signature).decode()

    def _made_key(self) -> rsa.RSAPrivateKey:
        with self._lock:
            if self._key is None:
                key = rsa.generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
                self._certificate = _certificate_of(key)
                self._key = key
            return self._key


def _certificate_of(key: rsa.RSAPrivateKey) -> bytes:
    """Signed by itself, and valid for a year around now."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mns-listener emulator")])
    at = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _YEAR / 2)
        .not_valid_after(at + _YEAR / 2)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
