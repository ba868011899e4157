"""The front of the proxy: which of its APIs a request speaks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from objstore.http.messages import Environ, StartResponse, WsgiApplication
from objstore.proxy.s3.request import bucket_of_host, website_of_host

# Paths of the Swift API, and of what stands beside it for clients and load balancers. None of the first two can name a
# bucket; a request to one of the others is for a bucket only if it is signed.
_SWIFT_ONLY: Final = ("/v1/", "/v1")
_SWIFT: Final = re.compile(r"/(?:v[0-9][0-9.]*|auth|info|healthcheck)?(?:/.*)?", re.DOTALL)
_SIGNED: Final = ("X-Amz-", "x-amz-", "AWSAccessKeyId=")


class Front:
    """Hands each request to the Swift API or to the S3 API."""

    def __init__(
        self,
        swift: WsgiApplication,
        s3: WsgiApplication,
        domains: tuple[str, ...],
        website_domains: tuple[str, ...] = (),
    ) -> None:
        self._swift = swift
        self._s3 = s3
        self._domains = domains
        self._website_domains = website_domains

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        websites = self._website_domains
        to_s3 = speaks_s3(environ, self._domains) or (websites and website_of_host(environ, websites))
        application = self._s3 if to_s3 else self._swift
        return application(environ, start_response)


def speaks_s3(environ: Environ, domains: tuple[str, ...]) -> bool:
    """Whether a request is one of the S3 API: by its host, its signature, or a path that is not one of Swift's."""
    if domains and bucket_of_host(environ, domains):
        return True
    path: str = environ["PATH_INFO"]
    if path.startswith(_SWIFT_ONLY[0]) or path == _SWIFT_ONLY[1]:
        return False
    if environ.get("HTTP_AUTHORIZATION", "").startswith("AWS"):
        return True
    query = environ.get("QUERY_STRING", "")
    if query and any(mark in query for mark in _SIGNED):
        return True
    return not _SWIFT.fullmatch(path) and "HTTP_X_AUTH_TOKEN" not in environ
