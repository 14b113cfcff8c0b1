"""How the MQTT outlet gets in: TLS, password, client id; and what is wrong with the settings, before anything is opened."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
import stat
from pathlib import Path

from edgebms.config import MqttOutlet
from edgebms.errors import ConfigError

MACHINE_ID = Path("/etc/machine-id")


def check(settings: MqttOutlet) -> list[str]:
    """Warnings, in words. Raises ConfigError: contradicting fields, files that cannot be read, a password in the clear."""
    where = "outlet.mqtt"
    if bool(settings.cert_file) != bool(settings.key_file):
        missing = "key_file" if settings.cert_file else "cert_file"
        raise ConfigError("cert_file and key_file go together", where=f"{where}.{missing}", mend="name both, or neither")
    if not settings.tls:
        for field in ("ca_file", "cert_file"):
            if getattr(settings, field):
                raise ConfigError("is named, but TLS is off", where=f"{where}.{field}", mend="set tls = true, or leave the field out")
    if settings.password_file and not settings.username:
        raise ConfigError("a password without a user", where=f"{where}.password_file", mend="set username")
    if settings.username and not settings.tls and not settings.plain_password and not is_loopback(settings.host):
        raise ConfigError(
            f"the password would travel unencrypted to {settings.host}",
            where=f"{where}.tls",
            mend="set tls = true (port 8883), or plain_password = true where the network between is trusted",
        )
    try:
        tls_context(settings)
    except ssl.SSLError as error:
        raise ConfigError(
            f"holds no certificate or key that can be used: {error.reason or error}",
            where=f"{where}.{'ca_file' if not settings.cert_file else 'ca_file, cert_file or key_file'}",
            mend="name PEM files; the key belongs to the certificate and has no passphrase",
        ) from None
    except OSError as error:
        name = error.filename or first_missing(settings)
        raise ConfigError(
            f"{name}: {error.strerror}", where=f"{where}: TLS files", mend="name files that the gateway's user can read"
        ) from None
    if not settings.password_file:
        return []
    try:
        password(settings)
        mode = Path(settings.password_file).stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(
            f"{settings.password_file}: {why}",
            where=f"{where}.password_file",
            mend="name a file that holds the password alone and that the gateway's user can read",
        ) from None
    return [f"{settings.password_file} is readable by everybody: chmod 640"] if mode & stat.S_IROTH else []


def first_missing(settings: MqttOutlet) -> str:
    for name in (settings.ca_file, settings.cert_file, settings.key_file):
        if name and not Path(name).is_file():
            return name
    return "a TLS file"


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("broker.lan")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(settings: MqttOutlet) -> ssl.SSLContext | None:
    """Verifies certificate and host name, TLS 1.2 or later; None where TLS is off. Read anew for each connection, so that a
    renewed certificate is taken up. Raises OSError, ssl.SSLError."""
    if not settings.tls:
        return None
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file:
        # an empty passphrase: a key that has one raises, instead of asking on the terminal
        context.load_cert_chain(settings.cert_file, settings.key_file, password="")
    return context


def password(settings: MqttOutlet) -> str | None:
    """What password_file holds, without the line's end. Raises OSError, UnicodeDecodeError."""
    if not settings.password_file:
        return None
    return Path(settings.password_file).read_text(encoding="utf-8").rstrip("\r\n")


def client_id(settings: MqttOutlet, packs: tuple[str, ...]) -> str:
    """As configured, or one that no other gateway has: from machine, topic and first pack. It stays over restarts."""
    if settings.client_id:
        return settings.client_id
    try:
        machine = MACHINE_ID.read_text().strip()
    except OSError:
        machine = ""
    # images are cloned with their machine id: the host's name tells the clones apart
    told = "\n".join((machine, socket.gethostname(), settings.topic, *packs[:1]))
    return f"edgebms-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
