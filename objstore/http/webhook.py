"""Requests to webhooks: addresses out of the store, which it does not trust to be fast, or there."""

from __future__ import annotations

import http.client
from typing import Final
from urllib.parse import urlsplit

ANSWER_BYTES_MAX: Final = 64 * 1024
_ERRORS: Final = (OSError, http.client.HTTPException, ValueError)


class WebhookConnection:
    """A connection to one webhook, which is opened when it is needed and kept as long as all goes well. Blocks."""

    def __init__(self, url: str, token: str, timeout_seconds: float) -> None:
        """timeout_seconds: for each wait, to connect, to send or for the next bytes of the answer."""
        parts = urlsplit(url)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host = parts.netloc.rpartition("@")[2]
        self._timeout = timeout_seconds
        self._headers = {"Content-Type": "application/json", "User-Agent": "objstore"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection | None = None

    def post(self, content: bytes) -> str:
        """Why the webhook has not taken the content, "" if it has: any 2xx says that. Never raises."""
        for _ in range(2 if self._connection is not None else 1):  # one that was kept may be closed at the other end
            try:
                if self._connection is None:
                    self._connection = self._kind(self._host, timeout=self._timeout)
                self._connection.request("POST", self._target, content, self._headers)
                response = self._connection.getresponse()
                rest = response.read(ANSWER_BYTES_MAX + 1)
            except _ERRORS as error:
                self.close()
                reason = f"{type(error).__name__}: {error}"
                continue
            if response.will_close or len(rest) > ANSWER_BYTES_MAX:
                self.close()
            return "" if response.status // 100 == 2 else f"status {response.status}"
        return reason

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
