"""What rank 0 leaves behind where it takes the store of the run along."""

from __future__ import annotations

import os
import socket

import torch.distributed as dist

_PORT = "alignmixup/last-word-port"
_PATIENCE = 20  # seconds


class LastWord:
    """A connection from rank 0 to rank 1, by which rank 0 says that why it ends is told.

    Rank 1 reads it only when it misses rank 0: what was sent arrives though its sender is gone, and of one that was
    killed nothing arrives but the end. So nobody waits for it, and no thread listens.

    All processes make one, once they know each other. Without a connection, as where a firewall is between them,
    nothing is ever heard.

    Args:
        store: of the run, by which rank 1 learns the port.
        rank: of this process.
    """

    def __init__(self, store: dist.Store, rank: int) -> None:
        self._connection: socket.socket | None = None
        try:
            if rank == 0:
                self._connection = _accept(store)
            elif rank == 1:
                port = int(store.get(_PORT))
                self._connection = socket.create_connection((os.environ["MASTER_ADDR"], port), timeout=_PATIENCE)
        except OSError:
            if rank == 0:
                store.set(_PORT, "0")  # where nobody answers; rank 1 waits for a number

    def say(self) -> None:
        """Rank 0 ends, and why is told."""
        if self._connection is not None:
            try:
                self._connection.sendall(b"!")
            except OSError:  # rank 1 is gone, and will not ask
                return

    def is_heard(self) -> bool:
        """Whether rank 0, which is gone, said it; waits for a word under way."""
        if self._connection is None:
            return False
        try:
            return self._connection.recv(1) != b""
        except OSError:
            return False

    def close(self) -> None:
        """Hang up; what was said still arrives."""
        if self._connection is not None:
            self._connection.close()


def _accept(store: dist.Store) -> socket.socket:
    with _server() as server:
        server.settimeout(_PATIENCE)
        store.set(_PORT, str(server.getsockname()[1]))
        return server.accept()[0]


def _server() -> socket.socket:
    try:
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):  # a machine without IPv6
        return socket.create_server(("", 0))
