"""What a process leaves behind for the next one, where rank 0 takes the store of the run along."""

from __future__ import annotations

import os
import socket

import torch.distributed as dist

_ADDRESS = "alignmixup/last-word/{}"
_PATIENCE = 20  # seconds


class LastWord:
    """Connections from each rank to the next, by which a process says that why the run ends is told.

    A rank listens only when it misses others and the store is gone: what was sent arrives though its sender is gone,
    and of one that was killed nothing arrives but the end. So nobody waits for it, and no thread listens. Who hears
    nothing tells; each says so to the next.

    All processes make one, once they know each other. Without a connection, as where a firewall is between them,
    nothing is ever heard.

    Args:
        store: of the run, by which each rank learns where the one before it is.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, store: dist.Store, rank: int, world_size: int) -> None:
        self._before: socket.socket | None = None
        self._next: socket.socket | None = None
        server = _serve(store, rank) if rank + 1 < world_size else None
        if rank > 0:
            host, _, port = store.get(_ADDRESS.format(rank - 1)).decode().rpartition(" ")
            try:
                self._before = socket.create_connection((host, int(port)), timeout=_PATIENCE)
            except OSError:
                self._before = None
        if server is not None:
            with server:
                try:
                    self._next = server.accept()[0]
                except OSError:
                    self._next = None

    def say(self) -> None:
        """Tell the next process that this one ends, and that why is told."""
        if self._next is not None:
            try:
                self._next.sendall(b"!")
            except OSError:  # the next one is gone, and will not ask
                return

    def is_heard(self) -> bool:
        """Whether the process before this one said it; waits for a word under way."""
        if self._before is None:
            return False
        try:
            return self._before.recv(1) != b""
        except OSError:
            return False

    def close(self) -> None:
        """Hang up; what was said still arrives."""
        for connection in (self._before, self._next):
            if connection is not None:
                connection.close()


def _serve(store: dist.Store, rank: int) -> socket.socket | None:
    """Listen for the next rank, and say where; None where that cannot be."""
    key = _ADDRESS.format(rank)
    try:
        host, server = _own_host(rank), _server()
    except OSError:
        store.set(key, "127.0.0.1 0")  # where nobody answers; the next rank waits for an address
        return None
    server.settimeout(_PATIENCE)
    store.set(key, f"{host} {server.getsockname()[1]}")
    return server


def _own_host(rank: int) -> str:
    """By what others reach this machine: as the run calls that of rank 0, else the address that looks towards it."""
    main = os.environ.get("MASTER_ADDR")
    if main is None:
        return socket.gethostname()
    if rank == 0:
        return main
    family, kind, _, _, address = socket.getaddrinfo(main, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as towards:
        towards.connect(address)  # which sends nothing
        return str(towards.getsockname()[0])


def _server() -> socket.socket:
    try:
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):  # a machine without IPv6
        return socket.create_server(("", 0))
