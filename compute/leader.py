"""Who leads among the processes of one cell: whoever holds a lock of tooz (files on one machine, or etcd)."""

from __future__ import annotations

from typing import Any, Final, Protocol

from tooz import coordination
from tooz.coordination import ToozError

from objstore.logs import get_logger

LOCK: Final = b"objstore-compute-leader"
LOG: Final = get_logger("compute")


class Leadership(Protocol):
    """Says whether this process leads at this moment."""

    def holds(self) -> bool: ...


class OnlyProcess:
    """There is no other process."""

    def holds(self) -> bool:
        return True


class LockLeadership:
    """Leads as long as it has the lock; asks for it again and again, and lets go of it at its end."""

    def __init__(self, url: str, member: str) -> None:
        """`url` is one of tooz's: file:///DIRECTORY, etcd3+http://HOST:PORT. Raises ToozError."""
        self._coordinator: Any = coordination.get_coordinator(url, member.encode())
        self._coordinator.start(start_heart=True)
        self._lock: Any = self._coordinator.get_lock(LOCK)

    def holds(self) -> bool:
        try:
            if self._lock.acquired and hasattr(self._lock, "heartbeat"):
                self._lock.heartbeat()
            return bool(self._lock.acquired or self._lock.acquire(blocking=False))
        except ToozError as error:
            LOG.warning("leadership is not known", reason=str(error))
            return False

    def stop(self) -> None:
        """Let another process lead."""
        try:
            if self._lock.acquired:
                self._lock.release()
            self._coordinator.stop()
        except ToozError as error:
            LOG.warning("leadership was not given up properly", reason=str(error))


def leadership(url: str, member: str) -> OnlyProcess | LockLeadership:
    """By configuration: without a URL this process is the only one."""
    return LockLeadership(url, member) if url else OnlyProcess()
