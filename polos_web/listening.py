"""Whether the address can be listened on, asked before anything else is started."""

from __future__ import annotations

import errno
import socket

from .problems import Problem


def check_free(host: str, port: int) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise Problem(_sentence(error, host, port)) from None


def _sentence(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken. Stop what uses it, or choose another one with --port."
    if error.errno == errno.EACCES:
        return f"Port {port} may not be used by this account. Choose one above 1023 with --port."
    return f"{host} is not an address of this machine ({error.strerror}). Choose another one with --host."
