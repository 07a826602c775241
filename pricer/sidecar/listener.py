"""Where the sidecar listens: a TCP port, or a unix socket that only its owner can open; and for how many."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from pricer.config import ServerSection
from pricer.errors import ConfigError

log = logging.getLogger("pricer.sidecar.listener")

BACKLOG = 1024
# asyncio accepts so many before it looks at any of them, and some rounds pass until one that is refused is closed: with
# more at once, a burst would take the reserved descriptors, too.
ACCEPTED_AT_ONCE = 4
# Descriptors that clients never get: venue links and their reconnections, recordings, look-ups of names.
RESERVED_DESCRIPTORS = 64


def bind(settings: ServerSection) -> socket.socket:
    """A listening socket as the settings say; `ConfigError` names what cannot be had."""
    if settings.unix_socket is not None:
        return _bind_path(settings.unix_socket)
    return bind_port(settings.host, settings.port, "port")


def bind_port(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket on the first of the host's addresses that can be had."""
    where = f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConfigError(f"server.host: no such address {where}: {error.strerror}") from error
    refused: OSError | None = None
    for family, kind, protocol, _, address in found:
        try:
            listener = socket.socket(family, kind, protocol)
        except OSError as error:  # a machine without IPv6, or with nothing else
            refused = refused or error
            continue
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            return _listening(listener)
        except OSError as error:
            listener.close()
            refused = refused or error
    assert refused is not None, "getaddrinfo gives at least one address"
    what = "another program listens there already" if refused.errno == errno.EADDRINUSE else refused.strerror
    raise ConfigError(f"server.{setting}: cannot listen on {where}: {what}") from refused


def _listening(listener: socket.socket) -> socket.socket:
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _bind_path(path: str) -> socket.socket:
    """A unix socket at `path`. What a sidecar left there that was killed is removed; anything else is left alone."""
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("server.unix_socket: this system has none")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone_in(Path(path).parent):
            _remove_stale(path)
            listener.bind(path)
            os.chmod(path, 0o600)  # nobody can connect before `listen`
            return _listening(listener)
    except OSError as error:
        listener.close()
        raise ConfigError(f"server.unix_socket: cannot listen on {path}: {error.strerror or error}") from error
    except ConfigError:
        listener.close()
        raise


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two sidecars that start at once must not each take the other's new socket for a stale one."""
    import fcntl  # there are none on Windows

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"server.unix_socket: {path} is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:  # it takes no more connections, but it is alive; or it is not ours to ask
            pass
    raise ConfigError(f"server.unix_socket: another program listens on {path} already")


def release(settings: ServerSection) -> None:
    """After the listener is closed: a unix socket's file goes, too, unless somebody else listens there by now."""
    if settings.unix_socket is not None:
        with contextlib.suppress(OSError, ConfigError):
            _remove_stale(settings.unix_socket)


def address_of(listener: socket.socket, *, secure: bool = False) -> str:
    """The address for a browser, with the port that was really taken; of a unix socket, `unix:` and its path."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"


def most_connections(settings: ServerSection) -> int:
    """How many connections may be open at once: what the settings allow, as far as there are descriptors for it.

    FAULTS H04: a descriptor that a client takes is one that a venue link does not get when it connects again.
    """
    wanted = settings.max_clients + settings.max_http_connections
    try:
        import resource
    except ImportError:  # Windows, where sockets are no descriptors
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = wanted if soft == resource.RLIM_INFINITY else max(min(wanted, soft - RESERVED_DESCRIPTORS), 1)
    if most < wanted:
        log.warning(
            "the limit of %d file descriptors allows %d connections of the %d of server.max_clients and "
            "server.max_http_connections",
            soft,
            most,
            wanted,
        )
    return most
