"""Signatures of the documentation's examples, of botocore, and of requests that are not what was signed."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4Auth, S3SigV4PostAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.http.messages import Environ, parse_query
from objstore.proxy.auth.access_keys import AccessKey
from objstore.proxy.auth.identity import Identity
from objstore.proxy.s3.authentication import SignatureVerifier
from objstore.proxy.s3.claims import AuthType, epoch_of
from objstore.proxy.s3.errors import S3Error
from tests.unit.proxy.s3.signing import (
    HOST,
    KEY,
    NOW,
    botocore_time,
    changed,
    environ_of,
    no_sessions,
    signed_by_botocore,
    verified,
    verifier,
)

# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and the pages beside it.
AWS_KEY: Final = AccessKey(
    "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", Identity("test:tester", "AUTH_test")
)
AWS_TIME: Final = epoch_of("20130524T000000Z")
AWS_HOST: Final = {"Host": "examplebucket.s3.amazonaws.com"}
EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def authorization(signed: str, signature: str) -> dict[str, str]:
    credential = f"{AWS_KEY.id}/20130524/us-east-1/s3/aws4_request"
    return {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={signed},Signature={signature}",
        "x-amz-date": "20130524T000000Z",
    }


def verify_example(environ: Environ, bucket: str = "examplebucket", now: float = AWS_TIME) -> None:
    """Raises S3Error."""
    finder = SignatureVerifier({AWS_KEY.id: AWS_KEY}.get, no_sessions)
    signed = finder.verify(environ, parse_query(environ["QUERY_STRING"]), bucket, now)
    assert signed is not None and signed.key is AWS_KEY


@pytest.mark.parametrize(
    ("method", "target", "headers", "signed", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {"Range": "bytes=0-9", "x-amz-content-sha256": EMPTY},
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            {
                "Date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            },
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/?lifecycle",
            {"x-amz-content-sha256": EMPTY},
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/?prefix=J&max-keys=2",
            {"x-amz-content-sha256": EMPTY},
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_examples_of_version_4(method: str, target: str, headers: dict[str, str], signed: str, signature: str) -> None:
    verify_example(environ_of(method, target, AWS_HOST | headers | authorization(signed, signature)))
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        verify_example(environ_of(method, target, AWS_HOST | headers | authorization(signed, "0" + signature[1:])))


def test_example_of_a_presigned_url() -> None:
    target = (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3"
        "%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    verify_example(environ_of("GET", target, AWS_HOST))
    verify_example(environ_of("GET", target, AWS_HOST), now=AWS_TIME + 86_400)
    with pytest.raises(S3Error, match="Request has expired"):
        verify_example(environ_of("GET", target, AWS_HOST), now=AWS_TIME + 86_401)
    with pytest.raises(S3Error, match="not valid yet"):
        verify_example(environ_of("GET", target, AWS_HOST), now=AWS_TIME - 901)


@pytest.mark.parametrize(
    ("method", "headers", "date", "signature"),
    [
        ("GET", {}, "Tue, 27 Mar 2007 19:36:42 +0000", "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
        ("PUT", {"Content-Type": "image/jpeg"}, "Tue, 27 Mar 2007 21:15:45 +0000", "MyyxeRY7whkBe+bq8fHCL/2kKUg="),
    ],
)
def test_examples_of_version_2(method: str, headers: dict[str, str], date: str, signature: str) -> None:
    now = epoch_of("20070327T193642Z") if method == "GET" else epoch_of("20070327T211545Z")
    sent = {"Host": "johnsmith.s3.amazonaws.com", "Date": date, "Authorization": f"AWS {AWS_KEY.id}:{signature}"}
    verify_example(environ_of(method, "/photos/puppy.jpg", sent | headers), "johnsmith", now)
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        verify_example(environ_of(method, "/photos/puppy.jpg", sent | headers), "janesmith", now)


def refusal(environ: Environ, now: float = NOW, regions: tuple[str, ...] = ()) -> S3Error:
    with pytest.raises(S3Error) as caught:
        verified(environ, now, regions=regions)
    return caught.value


SIGNED: Final = signed_by_botocore(S3SigV4Auth, "GET", "/bucket/key?acl", {"x-amz-meta-a": "1"})
PRESIGNED: Final = signed_by_botocore(S3SigV4QueryAuth, "GET", "/bucket/key", {})
SIGNED_V2: Final = signed_by_botocore(HmacV1Auth, "GET", "/bucket/key?acl", {"x-amz-meta-a": "1"}, region=None)
PRESIGNED_V2: Final = signed_by_botocore(
    HmacV1QueryAuth, "PUT", "/bucket/key", {"x-amz-meta-a": "1", "Content-Type": "text/plain"}, region=None
)


@pytest.mark.parametrize("environ", [SIGNED, PRESIGNED, SIGNED_V2, PRESIGNED_V2])
def test_a_good_signature_tells_whose_key_it_is(environ: Environ) -> None:
    signed = verified(dict(environ))
    assert signed is not None
    assert signed.key is KEY
    assert KEY.secret not in repr(signed)


def test_nobody_has_signed() -> None:
    assert verified(environ_of("GET", "/bucket/key", {"Host": HOST})) is None


def scope(old: str, new: str) -> dict[str, str]:
    text: str = SIGNED["HTTP_AUTHORIZATION"]
    assert old in text
    return {"authorization": text.replace(old, new, 1)}


MALFORMED: Final = "AuthorizationHeaderMalformed"


@pytest.mark.parametrize(
    ("headers", "code", "elements"),
    [
        ({"authorization": "Token abc"}, "InvalidArgument", {"ArgumentName": "Authorization"}),
        ({"authorization": "AWS4-HMAC-SHA256"}, "InvalidArgument", {"ArgumentValue": "AWS4-HMAC-SHA256"}),
        ({"authorization": "AWS4-ECDSA-P256-SHA256 Credential=a"}, "NotImplemented", {}),
        ({"authorization": "AWS abc"}, "InvalidArgument", {}),
        ({"x_amz_content_sha256": None}, "InvalidRequest", {}),
        ({"x_amz_content_sha256": "abc"}, "InvalidArgument", {"ArgumentName": "x-amz-content-sha256"}),
        ({"x_amz_content_sha256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, "NotImplemented", {}),
        ({"x_amz_date": None}, "AccessDenied", {}),
        ({"x_amz_date": "yesterday"}, "AccessDenied", {}),
        ({"x_amz_date": "20251124T154459Z"}, "RequestTimeTooSkewed", {"MaxAllowedSkewMilliseconds": "900000"}),
        ({"x_amz_date": "20251124T161501Z"}, "RequestTimeTooSkewed", {}),
        ({"x_amz_date": "20251125T160000Z"}, MALFORMED, {}),
        ({"x_amz_security_token": "abc"}, "InvalidToken", {"Token-0": "abc"}),
        ({"x_amz_acl": "public-read"}, "AccessDenied", {"HeadersNotSigned": "x-amz-acl"}),
        ({"x_amz_copy_source": "/a/b"}, "AccessDenied", {"HeadersNotSigned": "x-amz-copy-source"}),
        ({"x_amz_meta_a": "2"}, "SignatureDoesNotMatch", {"AWSAccessKeyId": KEY.id}),
        (scope("SignedHeaders=host;", "SignedHeaders="), "AccessDenied", {"HeadersNotSigned": "host"}),
        (scope("SignedHeaders=", "Signed="), MALFORMED, {}),
        (scope("Signature=", ""), MALFORMED, {}),
        (scope("Credential=", "Credential=AKID, Ignored="), MALFORMED, {}),
        (scope(KEY.id, "AKID2"), "InvalidAccessKeyId", {"AWSAccessKeyId": "AKID2"}),
        (scope("/20251124/", "/2025112/"), MALFORMED, {}),
        (scope("/20251124/", "/20251123/"), MALFORMED, {}),
        (scope("/s3/", "/sts/"), MALFORMED, {}),
        (scope("/aws4_request", "/aws5_request"), MALFORMED, {}),
        (scope("/us-east-1/", "/eu-west-1/"), "SignatureDoesNotMatch", {}),
    ],
)
def test_refusals_of_a_header(headers: dict[str, str | None], code: str, elements: dict[str, str]) -> None:
    error = refusal(changed(SIGNED, **headers))
    assert error.code == code
    assert error.elements.items() >= elements.items()


@pytest.mark.parametrize(
    ("parameter", "value", "code"),
    [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA1", "AuthorizationQueryParametersError"),
        ("X-Amz-Credential", "AKID", "AuthorizationQueryParametersError"),
        ("X-Amz-Credential", "AKID%2F20251124%2Fus-east-1%2Fsts%2Faws4_request", "AuthorizationQueryParametersError"),
        ("X-Amz-Credential", "AKID%2F20251124%2Fus-east-1%2Fs3%2Faws4_request", "InvalidAccessKeyId"),
        ("X-Amz-Date", "yesterday", "AuthorizationQueryParametersError"),
        ("X-Amz-Date", "", "AuthorizationQueryParametersError"),
        ("X-Amz-SignedHeaders", "host%0Ax", "AuthorizationQueryParametersError"),
        ("X-Amz-SignedHeaders", "range", "AccessDenied"),
        ("X-Amz-Expires", "604801", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires", "-1", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires", "1h", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires", "7200", "SignatureDoesNotMatch"),
        ("X-Amz-Signature", "", "AuthorizationQueryParametersError"),
        ("X-Amz-Signature", "0" * 64, "SignatureDoesNotMatch"),
        ("X-Amz-Signature", "%C3%A9", "SignatureDoesNotMatch"),
        ("X-Amz-Content-Sha256", "abc", "InvalidArgument"),
        ("X-Amz-Security-Token", "abc", "InvalidToken"),
        ("x-amz-acl", "public-read", "SignatureDoesNotMatch"),
    ],
)
def test_refusals_of_a_presigned_url(parameter: str, value: str, code: str) -> None:
    fields = [field for field in PRESIGNED["QUERY_STRING"].split("&") if not field.startswith(parameter + "=")]
    assert refusal(dict(PRESIGNED) | {"QUERY_STRING": "&".join([*fields, f"{parameter}={value}"])}).code == code


def test_a_header_beside_a_presigned_url_is_no_part_of_it() -> None:
    error = refusal(changed(PRESIGNED, x_amz_copy_source="/secret/key"))
    assert (error.code, error.elements) == ("AccessDenied", {"HeadersNotSigned": "x-amz-copy-source"})


@pytest.mark.parametrize("environ", [PRESIGNED, PRESIGNED_V2])
@pytest.mark.parametrize("other", ["Token abc", SIGNED["HTTP_AUTHORIZATION"]])
def test_only_one_mechanism(environ: Environ, other: str) -> None:
    assert refusal(changed(environ, authorization=other)).code == "InvalidArgument"


def test_regions() -> None:
    signed = signed_by_botocore(S3SigV4Auth, "GET", "/bucket", {}, region="eu-west-3")
    assert verified(signed) is not None
    assert verified(signed, regions=("eu-west-3",)) is not None
    assert verified(SIGNED, regions=("eu-west-3",)) is not None
    error = refusal(signed, regions=("eu-west-1",))
    assert (error.code, error.elements["Region"]) == (MALFORMED, "eu-west-1")
    # Some clients do not know their region.
    assert verified(signed_by_botocore(S3SigV4Auth, "GET", "/bucket", {}, region="")) is not None


def test_a_mismatch_shows_what_was_signed() -> None:
    elements = refusal(changed(SIGNED, x_amz_meta_a="2")).elements
    assert elements["CanonicalRequest"].startswith("GET\n/bucket/key\nacl=\nhost:s3.example.com\n")
    assert elements["StringToSign"].startswith(
        "AWS4-HMAC-SHA256\n20251124T160000Z\n20251124/us-east-1/s3/aws4_request\n"
    )
    assert elements["StringToSignBytes"].startswith("41 57 53 34")
    assert elements["CanonicalRequestBytes"].startswith("47 45 54 0a")
    assert len(elements["SignatureProvided"]) == 64
    assert KEY.secret not in str(elements)


def test_clients_that_sign_the_strict_spelling_and_send_another() -> None:
    signed = signed_by_botocore(S3SigV4Auth, "GET", "/bucket/a%2Bb%3A%28%29%20c?prefix=x%2Fy&delimiter=%2F", {})
    signed |= {"objstore.raw_path": "/bucket/a+b:()%20c", "QUERY_STRING": "delimiter=/&prefix=x/y"}
    assert verified(signed) is not None
    signed["objstore.raw_path"] = "/bucket/a%20b:()%20c"
    assert refusal(signed).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "path", ["/bucket//key", "/bucket/a/../key", "/bucket/./key", "/bucket/key/", "/bucket/%2e%2e"]
)
def test_a_path_is_not_normalised(path: str) -> None:
    signed = signed_by_botocore(S3SigV4Auth, "GET", path, {})
    assert verified(signed) is not None
    signed["objstore.raw_path"] = "/bucket/key"
    assert refusal(signed).code == "SignatureDoesNotMatch"


def test_blanks_in_values_are_one() -> None:
    signed = signed_by_botocore(S3SigV4Auth, "GET", "/bucket", {"x-amz-meta-a": "1 \t  2   3"})
    assert verified(signed) is not None
    assert verified(changed(signed, x_amz_meta_a="1 2 3")) is not None
    assert refusal(changed(signed, x_amz_meta_a="123")).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("signer", [S3SigV4Auth, HmacV1Auth])
def test_names_with_underscores(signer: type) -> None:
    region = "us-east-1" if signer is S3SigV4Auth else None
    signed = signed_by_botocore(signer, "PUT", "/bucket/key", {"x-amz-meta-a_b-c": "1"}, region=region)
    assert verified(signed) is not None
    assert refusal(changed(signed, x_amz_meta_a_b_c="2")).code == "SignatureDoesNotMatch"


def test_version_2_with_a_slash_behind_the_bucket() -> None:
    signed = signed_by_botocore(HmacV1Auth, "GET", "/bucket/?location", {}, region=None)
    signed["objstore.raw_path"] = "/bucket"
    assert verified(signed) is not None
    signed = signed_by_botocore(HmacV1Auth, "GET", "/bucket/key/", {}, region=None)
    signed["objstore.raw_path"] = "/bucket/key"
    assert refusal(signed).code == "SignatureDoesNotMatch"


def test_version_2_covers_headers_and_subresources() -> None:
    assert refusal(changed(SIGNED_V2, x_amz_acl="public-read")).code == "SignatureDoesNotMatch"
    assert refusal(dict(SIGNED_V2) | {"QUERY_STRING": "policy"}).code == "SignatureDoesNotMatch"
    assert refusal(changed(SIGNED_V2, date="Mon, 24 Nov 2025 15:44:59 GMT")).code == "RequestTimeTooSkewed"
    assert refusal(PRESIGNED_V2, NOW + 3601).code == "AccessDenied"
    assert refusal(changed(PRESIGNED_V2, x_amz_meta_a="2")).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("signer", [S3SigV4QueryAuth, HmacV1QueryAuth])
def test_headers_in_a_url_become_headers(signer: type) -> None:
    region = "us-east-1" if signer is S3SigV4QueryAuth else None
    environ = signed_by_botocore(
        signer, "PUT", "/bucket/key?x-amz-acl=public-read&X-Amz-Meta-A=%C3%A9", {}, region=region
    )
    if region is None:
        environ = signed_by_botocore(
            signer, "PUT", "/bucket/key", {"x-amz-acl": "public-read", "x-amz-meta-a": "1"}, region=None
        )
        environ = changed(environ, x_amz_acl=None, x_amz_meta_a=None)
    assert verified(environ) is not None
    assert environ["HTTP_X_AMZ_ACL"] == "public-read"
    assert environ["HTTP_X_AMZ_META_A"] in ("\u00c3\u00a9", "1")
    assert "HTTP_X_AMZ_SIGNATURE" not in environ


def form(**changes: str | None) -> dict[str, str]:
    request = AWSRequest("POST", f"http://{HOST}/bucket")
    request.context["s3-presign-post-policy"] = {"expiration": "2030-01-01T00:00:00Z", "conditions": []}
    with botocore_time():
        S3SigV4PostAuth(Credentials(KEY.id, KEY.secret), "s3", "us-east-1").add_auth(request)
    fields: dict[str, Any] = request.context["s3-presign-post-fields"]
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in fields.items() if value is not None}


def test_a_form() -> None:
    signed = verifier().verify_form(form(), NOW)
    assert signed is not None and signed.key is KEY and signed.claim.auth_type is AuthType.POST
    assert verifier().verify_form({"key": "x"}, NOW) is None


@pytest.mark.parametrize(
    ("changes", "code", "name"),
    [
        ({"policy": None}, "InvalidArgument", "policy"),
        ({"x_amz_date": None}, "InvalidArgument", "x-amz-date"),
        ({"x_amz_credential": "abc"}, "InvalidArgument", "x-amz-credential"),
        ({"x_amz_algorithm": "AWS"}, "InvalidArgument", "x-amz-algorithm"),
        ({"x_amz_security_token": "abc"}, "InvalidToken", None),
        ({"policy": b64encode(b"{}").decode()}, "SignatureDoesNotMatch", None),
        ({"x_amz_signature": "0" * 64}, "SignatureDoesNotMatch", None),
    ],
)
def test_refusals_of_a_form(changes: dict[str, str | None], code: str, name: str | None) -> None:
    with pytest.raises(S3Error) as caught:
        verifier().verify_form(form(**changes), NOW)
    assert (caught.value.code, caught.value.elements.get("ArgumentName")) == (code, name)


def test_a_form_of_version_2() -> None:
    import hmac

    policy = b64encode(b'{"expiration": "2030-01-01T00:00:00Z"}').decode()
    signature = b64encode(hmac.digest(KEY.secret.encode(), policy.encode(), "sha1")).decode()
    fields = {"policy": policy, "awsaccesskeyid": KEY.id, "signature": signature}
    assert verifier().verify_form(fields, NOW) is not None
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        verifier().verify_form(fields | {"policy": b64encode(b"{}").decode()}, NOW)
    with pytest.raises(S3Error, match="InvalidArgument"):
        verifier().verify_form({"policy": policy, "awsaccesskeyid": KEY.id}, NOW)
