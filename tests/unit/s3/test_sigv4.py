"""Signature Version 4 against the examples that AWS publishes, and everything a client can get wrong or make up.

Source of the examples: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html,
sigv4-query-string-auth.html.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tenantry.s3.errors import S3Error
from tenantry.s3.sigv4 import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    Claim,
    SignedRequest,
    canonical_path,
    canonical_query,
    canonical_request,
    check_time,
    claim_untrusted,
    signature_of,
    signing_key,
    string_to_sign,
    verify,
)

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TIME = "20130524T000000Z"
NOW = datetime(2013, 5, 24, tzinfo=UTC)
HOST = ("host", "examplebucket.s3.amazonaws.com")
WELCOME_SHA256 = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
KEY_ID = "0123456789abcdef0123456789abcdef"

PUBLISHED = {
    "GET Object": (
        SignedRequest(
            "GET",
            "/test.txt",
            "",
            [HOST, ("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY_SHA256), ("x-amz-date", TIME)],
        ),
        EMPTY_SHA256,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "PUT Object": (
        SignedRequest(
            "PUT",
            "/test$file.text",
            "",
            [
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                HOST,
                ("x-amz-content-sha256", WELCOME_SHA256),
                ("x-amz-date", TIME),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
        ),
        WELCOME_SHA256,
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "GET Bucket Lifecycle": (
        SignedRequest("GET", "/", "lifecycle", [HOST, ("x-amz-content-sha256", EMPTY_SHA256), ("x-amz-date", TIME)]),
        EMPTY_SHA256,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "GET Bucket (List Objects)": (
        SignedRequest(
            "GET", "/", "max-keys=2&prefix=J", [HOST, ("x-amz-content-sha256", EMPTY_SHA256), ("x-amz-date", TIME)]
        ),
        EMPTY_SHA256,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
    "presigned GET": (
        SignedRequest(
            "GET",
            "/test.txt",
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3"
            "%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
            "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
            [HOST],
        ),
        UNSIGNED_PAYLOAD,
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    ),
}


def claim_of(request: SignedRequest, signature: str) -> Claim:
    names = tuple(name for name, _ in request.headers)
    return Claim(KEY_ID, "20130524", "us-east-1", TIME, names, signature, None)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_examples_verify(name: str) -> None:
    request, payload_hash, signature = PUBLISHED[name]

    verify(claim_of(request, signature), request, SECRET, payload_hash)


@pytest.mark.parametrize("name", PUBLISHED)
def test_nothing_of_a_signed_request_can_be_changed(name: str) -> None:
    request, payload_hash, signature = PUBLISHED[name]
    claim = claim_of(request, signature)
    changed = [
        (claim, replace(request, method="DELETE"), SECRET, payload_hash),
        (claim, replace(request, path=request.path + "x"), SECRET, payload_hash),
        (claim, replace(request, query=request.query + "&x=1"), SECRET, payload_hash),
        (claim, replace(request, headers=[(n, v + "x") for n, v in request.headers]), SECRET, payload_hash),
        (claim, request, SECRET + "x", payload_hash),
        (claim, request, SECRET, "0" * 64),
        (replace(claim, time="20130524T000001Z"), request, SECRET, payload_hash),
        (replace(claim, region="auto"), request, SECRET, payload_hash),
        (replace(claim, signature="0" * 64), request, SECRET, payload_hash),
    ]
    for arguments in changed:
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            verify(*arguments)


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/a%20b/c+d", "/a%20b/c%2Bd"),
        ("/%C3%BC", "/%C3%BC"),
        ("/ü".encode().decode("latin-1"), "/%C3%83%C2%BC"),
        ("/a/../b", "/a/../b"),
        ("/a//b", "/a//b"),
        ("/a%2Fb", "/a/b"),
        ("/a%252Fb", "/a%252Fb"),
        ("/~_.-", "/~_.-"),
        ("/%7E%5F", "/~_"),
        ("/a%00b", "/a%00b"),
        ("/!*'()@:$&,;=", "/%21%2A%27%28%29%40%3A%24%26%2C%3B%3D"),
    ],
)
def test_a_path_is_encoded_once_and_never_normalised(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical


def test_a_client_may_encode_a_path_in_its_own_way() -> None:
    request = SignedRequest("GET", "/a%2fb%7E", "", [HOST])
    key = signing_key(SECRET, "20130524", "us-east-1")
    claim = claim_of(request, "")
    for path in ("/a%2fb%7E", "/a/b~"):
        text = string_to_sign(TIME, claim.scope, canonical_request(path, request, ["host"], EMPTY_SHA256))
        verify(replace(claim, signature=signature_of(key, text)), request, SECRET, EMPTY_SHA256)


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ""),
        ("b=2&a=1", "a=1&b=2"),
        ("a=2&a=1&a", "a=&a=1&a=2"),
        ("uploads", "uploads="),
        ("uploads=", "uploads="),
        ("a=b=c", "a=b%3Dc"),
        ("prefix=a%2Fb&delimiter=%2F", "delimiter=%2F&prefix=a%2Fb"),
        ("a=x+y", "a=x%20y"),
        ("a=x%2By", "a=x%2By"),
        ("a&&b", "a=&b="),
        ("A=1&a=2&%C3%BC=3", "%C3%BC=3&A=1&a=2"),
    ],
)
def test_a_query_is_encoded_anew_and_sorted(query: str, canonical: str) -> None:
    assert canonical_query(query) == canonical


def test_headers_are_folded_trimmed_and_joined() -> None:
    headers = [("x-amz-meta-a", "  one   two\t three "), ("x-amz-meta-b", "1"), ("x-amz-meta-b", " 2")]

    text = canonical_request("/", SignedRequest("GET", "/", "", headers), ["x-amz-meta-a", "x-amz-meta-b"], "h")

    assert text.split("\n")[3:5] == ["x-amz-meta-a:one two three", "x-amz-meta-b:1,2"]


def header(signature: str = "0" * 64, **changes: str) -> str:
    fields = {
        "Credential": f"{KEY_ID}/20130524/auto/s3/aws4_request",
        "SignedHeaders": "host;x-amz-content-sha256;x-amz-date",
        "Signature": signature,
    } | changes
    return "AWS4-HMAC-SHA256 " + ", ".join(f"{name}={value}" for name, value in fields.items() if value)


def signed(authorization: str, *more: tuple[str, str], time: str = TIME) -> SignedRequest:
    headers = [HOST, ("x-amz-content-sha256", EMPTY_SHA256), ("x-amz-date", time), ("authorization", authorization)]
    return SignedRequest("GET", "/b/k", "", [*headers, *more])


def test_a_header_is_taken_apart() -> None:
    claim = claim_untrusted(signed(header()))

    assert (claim.access_key_id, claim.region, claim.time) == (KEY_ID, "auto", TIME)
    assert claim.scope == "20130524/auto/s3/aws4_request"
    assert claim.signed_headers == ("host", "x-amz-content-sha256", "x-amz-date")


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (SignedRequest("GET", "/", "", [HOST]), "Unauthorized"),
        (signed("AWS AKIA:signature="), "InvalidArgument"),
        (signed("AWS4-HMAC-SHA256"), "InvalidArgument"),
        (signed("AWS4-HMAC-SHA256 Credential"), "InvalidArgument"),
        (signed(header() + ", Signature=" + "0" * 64), "InvalidArgument"),
        (signed(header(Signature="")), "InvalidArgument"),
        (signed(header(Signature="0" * 63)), "SignatureDoesNotMatch"),
        (signed(header(Signature="G" * 64)), "SignatureDoesNotMatch"),
        (signed(header(Credential="short/20130524/auto/s3/aws4_request")), "InvalidArgument"),
        (signed(header(Credential=f"{KEY_ID}/20130524/auto/ec2/aws4_request")), "InvalidArgument"),
        (signed(header(Credential=f"{KEY_ID}/20130524/mars/s3/aws4_request")), "InvalidArgument"),
        (signed(header(Credential=f"{KEY_ID}/20130525/auto/s3/aws4_request")), "InvalidArgument"),
        (signed(header(), time="yesterday"), "InvalidArgument"),
        (signed(header(SignedHeaders="x-amz-content-sha256;x-amz-date")), "AccessDenied"),
        (signed(header(SignedHeaders="host;x-amz-date")), "AccessDenied"),
        (signed(header(), ("x-amz-meta-a", "1")), "AccessDenied"),
        (signed(header(), ("cf-create-bucket-if-missing", "true")), "AccessDenied"),
        (signed(header(SignedHeaders="host;host;x-amz-content-sha256;x-amz-date")), "InvalidArgument"),
        (signed(header(SignedHeaders="Host;x-amz-content-sha256;x-amz-date")), "InvalidArgument"),
        (signed(header(), ("authorization", header())), "InvalidArgument"),
        (signed(header(), ("x-amz-date", TIME)), "AccessDenied"),
        (signed(header(), ("x-amz-security-token", "t")), "NotImplemented"),
        (replace(signed(header()), query="X-Amz-Signature=0"), "InvalidArgument"),
    ],
)
def test_a_claim_that_is_none_is_refused(request_: SignedRequest, name: str) -> None:
    with pytest.raises(S3Error) as caught:
        claim_untrusted(request_)
    assert caught.value.name == name


def presigned(**changes: str) -> SignedRequest:
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{KEY_ID}/20130524/auto/s3/aws4_request".replace("/", "%2F"),
        "X-Amz-Date": TIME,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": "0" * 64,
    } | {f"X-Amz-{name}": value for name, value in changes.items()}
    return SignedRequest("GET", "/b/k", "&".join(f"{n}={v}" for n, v in fields.items() if v), [HOST])


@pytest.mark.parametrize("seconds", ["1", "604800"])
def test_a_presigned_address_may_live_for_a_week(seconds: str) -> None:
    assert claim_untrusted(presigned(Expires=seconds)).expires_seconds == int(seconds)


@pytest.mark.parametrize(
    "changes", [{"Expires": text} for text in ("0", "604801", "-1", "", "1.5", "9" * 30)] + [{"Algorithm": "AWS4"}]
)
def test_a_presigned_address_of_a_wrong_form_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        claim_untrusted(presigned(**changes))


def test_a_presigned_parameter_that_is_given_twice_is_refused() -> None:
    request = presigned()

    with pytest.raises(S3Error, match="InvalidArgument"):
        claim_untrusted(replace(request, query=request.query + "&X-Amz-Expires=604800"))


@pytest.mark.parametrize(
    ("expires_seconds", "age_seconds", "name"),
    [
        (None, 0, None),
        (None, 900, None),
        (None, 901, "RequestTimeTooSkewed"),
        (None, -900, None),
        (None, -901, "RequestTimeTooSkewed"),
        (60, 60, None),
        (60, 61, "ExpiredRequest"),
        (604_800, 604_800, None),
        (60, -901, "RequestTimeTooSkewed"),
    ],
)
def test_a_signature_is_good_for_its_time(expires_seconds: int | None, age_seconds: int, name: str | None) -> None:
    claim = replace(claim_of(PUBLISHED["GET Object"][0], ""), expires_seconds=expires_seconds)

    if name is None:
        check_time(claim, NOW + timedelta(seconds=age_seconds))
        return
    with pytest.raises(S3Error, match=name):
        check_time(claim, NOW + timedelta(seconds=age_seconds))
