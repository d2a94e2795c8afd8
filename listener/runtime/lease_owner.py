"""The name under which this process holds leases on deliveries."""

from __future__ import annotations

import os
import socket
import uuid


def host_name() -> str:
    """The name of this machine."""
    return socket.gethostname()


def owner_name() -> str:
    """A new name at every call. Host and process id are for people; the random part makes it unique."""
    return f"{host_name()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
