"""A request of the S3 API: what its path, query and headers say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from objstore.http import messages
from objstore.http.errors import HttpError
from objstore.http.messages import Environ, parse_query
from objstore.paths import ResourcePath
from objstore.proxy.auth.identity import Identity
from objstore.proxy.s3.callers import caller_of
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation, route
from objstore.proxy.s3.xml import MalformedDocument, ReceivedElement, parse

if TYPE_CHECKING:
    from objstore.proxy.auth.policy import Caller
    from objstore.proxy.auth.sessions import AccessSession
    from objstore.proxy.s3.authentication import Signed
    from objstore.proxy.s3.buckets import Bucket

KEY_BYTES_MAX: Final = 1024
DOCUMENT_BYTES_MAX: Final = 2 << 20


class S3Request(messages.Request):
    """A request that has come in; `read` fills in what the path and the query mean.

    raw_path: as on the wire, which signatures cover. bucket, key: real text, "" if absent. params: of the query, by
    name. body: where the handlers read the body; the authentication puts its own reader in, which checks what comes.
    identity: who has signed it, None for nobody; signed: how. authenticate_form: for the fields of a form, by name in
    lower case, what the authentication does for headers. found: its bucket, once it is authorized. is_website: it came
    to the host of a bucket's website. is_charged: its sender pays for it. error_code: of the refusal, if it is one.
    transaction_id: also what the API calls the request's id.
    """

    __slots__ = (
        "authenticate_form",
        "bucket",
        "error_code",
        "found",
        "identity",
        "input",
        "is_charged",
        "is_website",
        "key",
        "log_info",
        "operation",
        "params",
        "raw_path",
        "signed",
        "transaction_id",
    )

    def __init__(self, environ: Environ) -> None:
        super().__init__(environ)
        self.raw_path: str = environ.get("objstore.raw_path") or environ["PATH_INFO"]
        self.bucket = ""
        self.error_code = ""
        self.key = ""
        self.params: dict[str, str] = {}
        self.operation: Operation | None = None
        self.identity: Identity | None = None
        self.signed: Signed | None = None
        self.authenticate_form: Callable[[Mapping[str, str]], None] | None = None
        self.found: Bucket | None = None
        self.is_charged = False
        self.is_website = False
        self.input: messages.BodyReader = environ["wsgi.input"]
        self.transaction_id = ""
        self.log_info: list[str] = []

    def read(self, domains: tuple[str, ...], website_domains: tuple[str, ...] = ()) -> None:
        """Raises S3Error for a path or query that is not text."""
        website = website_of_host(self.environ, website_domains)
        self.is_website = bool(website)
        host_bucket = website or bucket_of_host(self.environ, domains)
        path = self.raw_path.removeprefix("/")
        bucket, _, key = (host_bucket, "", path) if host_bucket else path.partition("/")
        self.bucket, self.key = checked_key(_text(bucket)), checked_key(_text(key))
        query = self.environ.get("QUERY_STRING", "")
        if query:
            try:
                self.params = parse_query(query)
            except HttpError as error:
                raise S3Error("InvalidArgument", error.reason) from None

    def find_operation(self) -> None:
        """Only now that headers of a presigned URL are known. Raises S3Error if there is none."""
        copies = "HTTP_X_AMZ_COPY_SOURCE" in self.environ
        self.operation = route(self.method, self.bucket, self.key, self.params, copies=copies)

    @property
    def session(self) -> AccessSession | None:
        """That of the access key which has signed it, None without one."""
        return None if self.signed is None else self.signed.key.session

    @property
    def own_policies(self) -> tuple[str, ...]:
        """Documents of the policies of the user who has signed it."""
        return () if self.signed is None else self.signed.key.policies

    @property
    def caller(self) -> Caller | None:
        """Whoever has signed it, as policies name callers."""
        session = self.session
        return None if self.identity is None else caller_of(self.identity, "" if session is None else session.name)

    @property
    def kind(self) -> str:
        """The kind of the path, for the log and the metrics, in the words of the store."""
        return "object" if self.key else "container" if self.bucket else "account"

    @property
    def resource(self) -> str:
        """The path as errors name it."""
        if not self.bucket:
            return "/"
        return f"/{self.bucket}/{self.key}" if self.key else f"/{self.bucket}"

    @property
    def body(self) -> messages.BodyReader:
        return self.input

    @property
    def container(self) -> Bucket:
        """The bucket of an authorized request."""
        assert self.found is not None, "handlers get requests that are authorized"
        return self.found

    def storage_path(self) -> ResourcePath:
        """Where the bucket, or the object in it, lies."""
        path = self.container.path
        return path.with_object(self.key) if self.key else path

    def content(self, bytes_max: int = DOCUMENT_BYTES_MAX) -> bytes:
        """All of a body that is a document. Raises S3Error MalformedXML for a longer one."""
        length = self.content_length
        if length is not None and length > bytes_max:
            raise S3Error("MalformedXML", f"At most {bytes_max} bytes")
        pieces, total = [], 0
        while piece := self.input.read(65536):
            total += len(piece)
            if total > bytes_max:
                raise S3Error("MalformedXML", f"At most {bytes_max} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def document(self, root: str) -> ReceivedElement:
        """The XML document that the request brings. Raises S3Error MalformedXML, MissingRequestBodyError."""
        return parsed(self.content(), root)


def parsed(content: bytes, root: str) -> ReceivedElement:
    """The document of a request. Raises S3Error MalformedXML, MissingRequestBodyError."""
    if not content:
        raise S3Error("MissingRequestBodyError")
    try:
        return parse(content, root)
    except MalformedDocument as error:
        raise S3Error("MalformedXML", str(error)) from None


def bucket_of_host(environ: Environ, domains: tuple[str, ...]) -> str:
    """The bucket that a request names in its host, below one of the domains; "" if it does not."""
    if not domains:
        return ""
    host: str = environ.get("HTTP_HOST", "").lower().partition(":")[0]
    for domain in domains:
        if host.endswith("." + domain):
            return host[: -len(domain) - 1]
    return ""


def website_of_host(environ: Environ, domains: tuple[str, ...]) -> str:
    """The bucket whose website a request's host is: below one of the domains, or itself one of them; "" if none."""
    if not domains:
        return ""
    host: str = environ.get("HTTP_HOST", "").lower().partition(":")[0]
    return host if host in domains else bucket_of_host(environ, domains)


def _text(raw: str) -> str:
    """Part of a path as text. Raises S3Error."""
    if "%" not in raw and raw.isascii():
        text = raw
    else:
        try:
            text = unquote_to_bytes(raw.encode("latin-1")).decode()
        except UnicodeDecodeError:
            raise S3Error("InvalidURI") from None
    return text


def checked_key(key: str) -> str:
    """The key, if an object may be called so. Raises S3Error."""
    if "\0" in key:
        raise S3Error("InvalidURI", "A key holds no NUL")
    if len(key.encode()) > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", Size=len(key.encode()), MaxSizeAllowed=KEY_BYTES_MAX)
    return key
