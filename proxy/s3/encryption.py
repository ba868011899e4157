"""Server-side encryption in the words of the S3 API: SSE-S3, SSE-KMS with the key ring, and SSE-C.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html
"""

from __future__ import annotations

import binascii
import ipaddress
from base64 import b64decode, b64encode
from typing import Final

import msgspec

from objstore.http.messages import Environ
from objstore.paths import ResourcePath
from objstore.proxy.core.encryption.envelope import CUSTOMER, NAMED, OWN, CustomerKey, Seal
from objstore.proxy.core.encryption.key_ring import KeyManager
from objstore.proxy.core.encryption.settings import container_seal
from objstore.proxy.core.errors import CustomerKeyNeeded
from objstore.proxy.core.info import ContainerInfo
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.xml import Element, MalformedDocument, ReceivedElement

ALGORITHM: Final = "x-amz-server-side-encryption"
KEY_ID: Final = f"{ALGORITHM}-aws-kms-key-id"
CONTEXT: Final = f"{ALGORITHM}-context"
BUCKET_KEY: Final = f"{ALGORITHM}-bucket-key-enabled"
CUSTOMER_ALGORITHM: Final = f"{ALGORITHM}-customer-algorithm"
CUSTOMER_MD5: Final = f"{ALGORITHM}-customer-key-MD5"
_VARIABLE: Final = "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"
_CUSTOMER: Final = "_SERVER_SIDE_ENCRYPTION_CUSTOMER_"
_OF_REQUEST: Final = f"HTTP_X_AMZ{_CUSTOMER}"
_OF_SOURCE: Final = f"HTTP_X_AMZ_COPY_SOURCE{_CUSTOMER}"
_NAMES: Final = ("ALGORITHM", "KEY", "KEY_MD5")
_ENCRYPTED: Final = frozenset(
    {_VARIABLE, f"{_VARIABLE}_AWS_KMS_KEY_ID", f"{_VARIABLE}_CONTEXT", f"{_VARIABLE}_BUCKET_KEY_ENABLED"}
)
ENCRYPTION_HEADERS: Final = _ENCRYPTED | {_OF_REQUEST + name for name in _NAMES}
CONTEXT_BYTES_MAX: Final = 8192
ARN: Final = "arn:aws:kms:us-east-1:000000000000:"
STORE_KEY: Final = "alias/aws/s3"


def asks_to_encrypt(environ: Environ) -> bool:
    """Whether a write says how it is to be encrypted."""
    return not environ.keys().isdisjoint(ENCRYPTION_HEADERS)


def wanted_seal(environ: Environ, container: ContainerInfo, keys: KeyManager) -> tuple[Seal | None, CustomerKey | None]:
    """How the object of a write is encrypted: as the request says, else as its bucket does. Raises S3Error."""
    if not asks_to_encrypt(environ):
        return container_seal(container), None
    key = customer_key(environ)
    asked = not environ.keys().isdisjoint(_ENCRYPTED)
    if key is not None:
        if asked:
            reason = "Server Side Encryption with Customer provided key is incompatible with the encryption method"
            raise S3Error("InvalidArgument", f"{reason} specified", ArgumentName=ALGORITHM)
        _check_possible(keys)
        return Seal(CUSTOMER, check=key.check()), key
    seal = seal_of(
        environ.get(_VARIABLE),
        environ.get(f"{_VARIABLE}_AWS_KMS_KEY_ID", ""),
        environ.get(f"{_VARIABLE}_CONTEXT", ""),
        environ.get(f"{_VARIABLE}_BUCKET_KEY_ENABLED", "").lower() == "true",
        keys,
    )
    return seal, None


def seal_of(algorithm: str | None, key_id: str, context: str, bucket_key: bool, keys: KeyManager) -> Seal:
    """SSE-S3 or SSE-KMS as a request or a bucket asks for it. Raises S3Error."""
    if algorithm not in (OWN, *NAMED):
        reason = "The encryption method specified is not supported"
        raise S3Error("InvalidArgument", reason, ArgumentName=ALGORITHM, ArgumentValue=algorithm or "")
    _check_possible(keys)
    if algorithm == OWN:
        if key_id or context:
            raise S3Error("InvalidArgument", f"{KEY_ID} and {CONTEXT} are for aws:kms", ArgumentName=KEY_ID)
        return Seal()
    return Seal(algorithm, _named_key(key_id, keys), _checked_context(context), bucket_key)


def _check_possible(keys: KeyManager) -> None:
    if not keys.active:
        reason = "Server side encryption is not implemented: the store has no encryption key"
        raise S3Error("NotImplemented", reason, Header=ALGORITHM)


def _named_key(key_id: str, keys: KeyManager) -> str:
    """The id of the key that a client means; "" for the store's own."""
    name = key_id.rpartition(":")[2] if key_id.startswith("arn:") else key_id
    if not name or name == STORE_KEY or name.removeprefix("key/") == keys.active:
        return ""
    found = keys.named(name.removeprefix("key/").removeprefix("alias/"))
    if found is None:
        raise S3Error("KMS.NotFoundException", f"Key '{key_id}' does not exist")
    return found


def _checked_context(text: str) -> str:
    """An encryption context, so that the same one is spelt the same; "" for none. Raises S3Error."""
    if not text:
        return ""
    try:
        content = b64decode(text, validate=True)
        if len(content) > CONTEXT_BYTES_MAX:
            raise ValueError
        pairs = msgspec.json.decode(content, type=dict[str, str])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        reason = "The header must be the base64 of a JSON object of strings"
        raise S3Error("InvalidArgument", reason, ArgumentName=CONTEXT) from None
    return b64encode(msgspec.json.encode(dict(sorted(pairs.items())))).decode()


def customer_key(environ: Environ) -> CustomerKey | None:
    """The key of the owner that a request brings. Raises S3Error."""
    return _customer_key(environ, _OF_REQUEST)


def require_key(seal: Seal | None, key: CustomerKey | None, path: ResourcePath) -> None:
    """Who asks about an object under a key of its owner has to bring that. Raises CustomerKeyNeeded."""
    if seal is not None and seal.kind == CUSTOMER and key is None:
        raise CustomerKeyNeeded(path)


def source_key(environ: Environ) -> CustomerKey | None:
    """The key for the source of a copy. Raises S3Error."""
    return _customer_key(environ, _OF_SOURCE)


def _customer_key(environ: Environ, prefix: str) -> CustomerKey | None:
    algorithm, text, digest = (environ.get(prefix + name) for name in _NAMES)
    if algorithm is None and text is None and digest is None:
        return None
    if not _is_private(environ):
        reason = "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure"
        raise S3Error("InvalidRequest", f"{reason} connection.")
    for given, what in ((algorithm, "a valid encryption algorithm"), (text, "an appropriate secret key")):
        if given is None:
            reason = "Requests specifying Server Side Encryption with Customer provided keys must provide"
            raise S3Error("InvalidArgument", f"{reason} {what}.", ArgumentName=CUSTOMER_ALGORITHM)
    if digest is None:
        reason = "Requests specifying Server Side Encryption with Customer provided keys must provide the client"
        raise S3Error("InvalidArgument", f"{reason} calculated MD5 of the secret key.", ArgumentName=CUSTOMER_MD5)
    if algorithm != OWN:
        reason = "The requested encryption algorithm is not valid, must be AES256."
        raise S3Error("InvalidEncryptionAlgorithmError", reason, ArgumentValue=algorithm or "")
    try:
        key = CustomerKey(b64decode(text or "", validate=True))
    except ValueError:
        reason = "The secret key was invalid for the specified algorithm."
        raise S3Error("InvalidArgument", reason, ArgumentName=f"{ALGORITHM}-customer-key") from None
    if key.md5 != digest:
        reason = "The calculated MD5 hash of the key did not match the hash that was provided."
        raise S3Error("InvalidArgument", reason, ArgumentName=CUSTOMER_MD5)
    return key


def _is_private(environ: Environ) -> bool:
    """Whether nobody on the way sees the request: it is encrypted, or does not leave the machine."""
    if environ.get("wsgi.url_scheme") == "https":
        return True
    try:
        return ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def seal_headers(seal: Seal | None, key: CustomerKey | None, keys: KeyManager) -> dict[str, str]:
    """What an answer says of how an object is encrypted; `key` is the one that came with the request."""
    if seal is None:
        return {}
    if seal.kind == CUSTOMER:
        return {} if key is None else {CUSTOMER_ALGORITHM: OWN, CUSTOMER_MD5: key.md5}
    headers = {ALGORITHM: seal.kind}
    if seal.kind in NAMED:
        headers[KEY_ID] = f"{ARN}key/{seal.key or keys.active}"
        if seal.bucket_key:
            headers[BUCKET_KEY] = "true"
    return headers


def written_headers(seal: Seal | None, key: CustomerKey | None, keys: KeyManager) -> dict[str, str]:
    """What the answer to a write says: the encryption context, too."""
    headers = seal_headers(seal, key, keys)
    return headers | {CONTEXT: seal.context} if seal is not None and seal.context else headers


def parse_encryption(received: ReceivedElement, keys: KeyManager) -> Seal:
    """How a bucket's document has objects encrypted. Raises S3Error, MalformedDocument."""
    rules = received.all("Rule")
    if len(rules) != 1:
        raise S3Error("MalformedXML")
    default = rules[0].find("ApplyServerSideEncryptionByDefault")
    if default is None:
        raise MalformedDocument("ApplyServerSideEncryptionByDefault is missing")
    blocked = rules[0].find("BlockedEncryptionTypes")
    if blocked is not None and any(each.text.strip() == "SSE-C" for each in blocked.all("EncryptionType")):
        raise S3Error("NotImplemented", "Buckets that refuse SSE-C are not implemented")
    bucket_key = (rules[0].value("BucketKeyEnabled") or "false").strip().lower() == "true"
    algorithm, key_id = default.needed("SSEAlgorithm"), default.value("KMSMasterKeyID") or ""
    if algorithm not in (OWN, *NAMED):
        raise S3Error("MalformedXML")
    return seal_of(algorithm, key_id, "", bucket_key, keys)


def encryption_element(seal: Seal) -> Element:
    """The document of a bucket whose objects are encrypted so."""
    root = Element("ServerSideEncryptionConfiguration")
    rule = root.add("Rule")
    default = rule.add("ApplyServerSideEncryptionByDefault")
    default.add("SSEAlgorithm", seal.kind)
    if seal.kind in NAMED and seal.key:
        default.add("KMSMasterKeyID", f"{ARN}key/{seal.key}")
    rule.add("BucketKeyEnabled", str(seal.bucket_key).lower())
    return root
