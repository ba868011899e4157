"""Who asks: finds the signature of a request, verifies it with the secret of its access key, and opens the body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from objstore.http.heads import set_client_header
from objstore.http.messages import variable_of
from objstore.proxy.auth.access_keys import AccessKey, AccessKeys
from objstore.proxy.auth.identity_service import service_users
from objstore.proxy.auth.sessions import SessionSealer
from objstore.proxy.auth.tokens import token_secret
from objstore.proxy.s3 import signature_v2, signature_v4
from objstore.proxy.s3.chunked import AwsChunkedBody
from objstore.proxy.s3.claims import (
    ALGORITHM,
    ALGORITHM_V2,
    ASYMMETRIC,
    QUERY_SERVICES,
    UNSIGNED,
    AuthType,
    SignatureClaim,
    SignatureClaims,
)
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.payload import check_payload, open_body
from objstore.proxy.s3.request import S3Request, bucket_of_host

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader, Environ
    from objstore.proxy.core.context import ProxyContext
    from objstore.system.threads import ThreadGroup

FindKey = Callable[[str], AccessKey | None]
# Gives the key of a session by its token, its id, and the time. Raises S3Error.
OpenToken = Callable[[str, str, float], AccessKey]
STREAMED: Final = frozenset({Operation.PUT_OBJECT, Operation.UPLOAD_PART})
# Parameters of a presigned URL that say who has signed it; others that begin so are headers.
_CREDENTIALS: Final = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-content-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    }
)
_TWO_MECHANISMS: Final = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the"
    " Authorization header should be specified"
)


class Signed(Struct, frozen=True):
    """A request that somebody has signed: with which access key, and how."""

    key: AccessKey
    claim: SignatureClaim
    seed: signature_v4.ChunkSeed | None = None


class SignatureVerifier:
    """Verifies signatures of all kinds. `find` gives an access key by its id, `open_token` one of a session."""

    def __init__(self, find: FindKey, open_token: OpenToken, regions: tuple[str, ...] = ()) -> None:
        """Signatures for other regions than these and us-east-1 are refused; none: all are good."""
        self._find = find
        self._open_token = open_token
        self._claims: Final = SignatureClaims(regions)
        self._services: Final = {service: SignatureClaims(regions, service) for service in QUERY_SERVICES}

    def verify(self, environ: Environ, parameters: Mapping[str, str], host_bucket: str, now: float) -> Signed | None:
        """Who has signed a request, None if nobody has; `host_bucket` is what its host names. Raises S3Error."""
        authorization = environ.get("HTTP_AUTHORIZATION")
        by_v4 = "X-Amz-Algorithm" in parameters or "X-Amz-Signature" in parameters
        by_v2 = "AWSAccessKeyId" in parameters or ("Signature" in parameters and "Expires" in parameters)
        if (authorization is not None) + by_v4 + by_v2 > 1:
            raise _bad_authorization(_TWO_MECHANISMS, authorization or "")
        if authorization is None and not by_v4 and not by_v2:
            return None
        claim = self._claim(environ, parameters, authorization, by_v4, now)
        key = self._key(claim, _token_of(environ, parameters), now)
        if claim.algorithm == ALGORITHM:
            check_payload(claim.payload)
            signed = Signed(key, claim, signature_v4.verify(claim, environ, key.secret))
        else:
            signature_v2.verify_v2(claim, environ, parameters, host_bucket, key.secret)
            signed = Signed(key, claim)
        if claim.auth_type is AuthType.QUERY:
            _take_headers(environ, parameters)
        return signed

    def verify_query(
        self, environ: Environ, parameters: Mapping[str, str], service: str, payload: str, now: float
    ) -> AccessKey:
        """Who has signed a request to a service of the query API; `payload` is its body's SHA-256. Raises S3Error."""
        authorization, claims = environ.get("HTTP_AUTHORIZATION"), self._services[service]
        if authorization is None:
            claim = claims.of_query(parameters, now, environ, payload)
        else:
            claim = claims.of_header(environ, authorization, now, payload)
        key = self._key(claim, _token_of(environ, parameters), now)
        signature_v4.verify(claim, environ, key.secret)
        return key

    def verify_form(self, fields: Mapping[str, str], now: float) -> Signed | None:
        """Who has signed an HTML form, None if nobody has; `fields` by name in lower case. Raises S3Error."""
        by_v4 = any(name in fields for name in ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"))
        if not by_v4 and not any(name in fields for name in signature_v2.POST_FIELDS_V2):
            return None
        token = fields.get("x-amz-security-token", "")
        if not by_v4 and "awsaccesskeyid" in fields:
            claim = signature_v2.claim_of_form(fields)
            key = self._key(claim, token, now)
            signature_v2.verify_form_v2(claim, fields["policy"], key.secret)
        else:
            claim = self._claims.of_form(fields)
            key = self._key(claim, token, now)
            signature_v4.verify_form(claim, fields["policy"], key.secret)
        return Signed(key, claim)

    def _claim(
        self, environ: Environ, parameters: Mapping[str, str], authorization: str | None, by_v4: bool, now: float
    ) -> SignatureClaim:
        if authorization is None:
            return (
                self._claims.of_query(parameters, now, environ)
                if by_v4
                else signature_v2.claim_of_query(parameters, now)
            )
        scheme, blank, rest = authorization.partition(" ")
        if scheme == ASYMMETRIC:
            raise S3Error("NotImplemented", f"{ASYMMETRIC} is not implemented")
        if scheme not in (ALGORITHM, ALGORITHM_V2):
            raise _bad_authorization("Unsupported Authorization Type", authorization)
        if not blank or not rest:
            raise _bad_authorization(
                "Authorization header is invalid -- one and only one ' ' (space) required", authorization
            )
        if scheme == ALGORITHM:
            return self._claims.of_header(environ, authorization, now)
        return signature_v2.claim_of_header(environ, authorization, now)

    def _key(self, claim: SignatureClaim, token: str, now: float) -> AccessKey:
        if token:
            return self._open_token(token, claim.access_key, now)
        key = self._find(claim.access_key)
        if key is None:
            raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
        return key


class RequestAuthentication:
    """Says who has signed a request, and opens its body."""

    def __init__(self, context: ProxyContext) -> None:
        """Raises ConfigError if the files of users cannot be read."""
        config = context.config
        self._domains: Final = config.s3.domains
        service = service_users(config, context.runtime)
        self.keys: Final = AccessKeys(config.auth, context.runtime, None if service is None else service.find_key)
        self.sealer: Final = SessionSealer(token_secret(config.auth, context.cluster))
        self.verifier: Final = SignatureVerifier(self.keys.find, self._open_token, config.s3.signing_regions)
        self.now: Final = context.runtime.clock.now
        self._threads: Final = context.runtime.threads

    def authenticate(self, request: S3Request) -> None:
        """Raises S3Error for a signature that is not good, also if the request would be allowed without."""
        environ = request.environ
        bucket = bucket_of_host(environ, self._domains)
        self._admit(request, self.verifier.verify(environ, request.params, bucket, self.now()))
        request.input = body_of(environ, request.input, request.signed, self._threads)
        request.authenticate_form = lambda fields: self._admit(request, self.verifier.verify_form(fields, self.now()))

    def of_query(self, request: S3Request, service: str, payload: str) -> AccessKey:
        """Who has signed a request to a service; `payload` is its body's SHA-256. Raises S3Error."""
        key = self.verifier.verify_query(request.environ, request.params, service, payload, self.now())
        request.identity = key.identity
        return key

    def _open_token(self, token: str, access_key: str, now: float) -> AccessKey:
        """The access key of a session. Raises S3Error InvalidToken, ExpiredToken."""
        session = self.sealer.read(token)
        elements: dict[str, Any] = {"Token-0": token}
        if session is None or session.access_key != access_key:
            raise S3Error("InvalidToken", **elements)
        if session.expires <= now:
            raise S3Error("ExpiredToken", **elements)
        key = self.keys.of_session(session)
        if key is None:
            raise S3Error("InvalidToken", "The session's user or access key is not in use any more", **elements)
        return key

    def _admit(self, request: S3Request, signed: Signed | None) -> None:
        request.signed = signed
        request.identity = None if signed is None else signed.key.identity


def check_coding(request: S3Request) -> None:
    """Only objects and parts come in chunks of the API's own. Raises S3Error."""
    if isinstance(request.input, AwsChunkedBody) and request.operation not in STREAMED:
        raise S3Error("InvalidRequest", "x-amz-content-sha256 may name a coding only for PutObject and UploadPart")


def body_of(
    environ: Environ, source: BodyReader, signed: Signed | None, threads: ThreadGroup | None = None
) -> BodyReader:
    """The body of a request, whoever has signed it, as its handler reads it. Raises S3Error."""
    if signed is not None and signed.claim.algorithm == ALGORITHM and signed.claim.auth_type is not AuthType.POST:
        return open_body(environ, source, signed.claim.payload, signed.seed, threads)
    payload = environ.get("HTTP_X_AMZ_CONTENT_SHA256", UNSIGNED)
    check_payload(payload)
    return open_body(environ, source, payload, None, threads)


def _take_headers(environ: Environ, parameters: Mapping[str, str]) -> None:
    """Headers of the API that stand in a presigned URL become headers. Raises S3Error if one stands there twice."""
    for name, value in parameters.items():
        lower = name.lower()
        if lower.startswith("x-amz-") and lower not in _CREDENTIALS:
            sent = environ.get(variable_of(lower))
            set_client_header(environ, lower, value)
            if sent not in (None, environ[variable_of(lower)]):
                raise S3Error("InvalidArgument", f"{lower} stands in the URL and in a header, and differs")


def _token_of(environ: Environ, parameters: Mapping[str, str]) -> str:
    """The token of a session, "" without one."""
    sent: str = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
    return sent or next((value for name, value in parameters.items() if name.lower() == "x-amz-security-token"), "")


def _bad_authorization(reason: str, authorization: str) -> S3Error:
    return S3Error("InvalidArgument", reason, ArgumentName="Authorization", ArgumentValue=authorization)
