"""A bucket of S3, or of what speaks like it: reading only. Backups are uploaded from the host where they lie."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# boto3 has no types of its own: its answers become values here, and nothing of it leaves this module.
import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from nightshift.remediation.backups.facts import BucketFact, StoredFact
from nightshift.remediation.connections import S3Connection, resolve_secret
from nightshift.remediation.errors import AuthenticationError, ConfigurationError, NotMeasuredError
from nightshift.remediation.text import printable

MOST_PAGES = 20
"""Of a thousand keys each."""
REFUSED = frozenset(
    {
        "403",
        "AccessDenied",
        "AuthFailure",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Error codes of AWS that mean: these credentials are not accepted for this."""
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


def read_bucket(name: str, connection: S3Connection, prefix: str, key: str | None) -> BucketFact:
    """The newest object below the prefix and the one with this key (operation ``s3.list_objects``).

    Follows bybit_strategy_tester.BackupFailed.d2 of the inventory: age and size, not only that it can be reached.
    What keeps it from being read stands in the fact: no bucket is an error here.
    """
    try:
        with _client(name, connection) as client:
            count, newest = _newest(client, connection.bucket, prefix)
            same = _head(client, connection.bucket, key) if key is not None else None
    except AuthenticationError as error:
        return BucketFact(complaint=str(error), refused=True)
    except (ConfigurationError, NotMeasuredError) as error:
        return BucketFact(complaint=str(error))
    return BucketFact(objects=count, newest=newest, same=same)


def read_object(name: str, connection: S3Connection, key: str) -> StoredFact | None:
    """One object with the checksum that the bucket computed; None: there is none.

    Raises:
        AuthenticationError: the credentials are not accepted.
        ConfigurationError: there is no such bucket, or the secrets are missing.
        NotMeasuredError: no answer, or one that is not understood.
    """
    with _client(name, connection) as client:
        return _head(client, connection.bucket, key)


@contextmanager
def _client(name: str, connection: S3Connection) -> Iterator[Any]:
    """A client for the time of the block. Secrets are never those of the environment or of a file of ours."""
    attempts = Config(
        connect_timeout=connection.timeout,
        read_timeout=connection.timeout,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
    try:
        client = boto3.client(
            "s3",
            region_name=connection.region,
            endpoint_url=str(connection.endpoint) if connection.endpoint else None,
            aws_access_key_id=resolve_secret(connection.access_key).get_secret_value(),
            aws_secret_access_key=resolve_secret(connection.secret_key).get_secret_value(),
            config=attempts,
        )
        try:
            yield client
        finally:
            client.close()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in REFUSED:
            raise AuthenticationError(f"{name} refuses our credentials ({printable(code, 60)}).") from None
        if code == "NoSuchBucket":
            raise ConfigurationError(f"{name} has no such bucket {connection.bucket}.") from None
        raise NotMeasuredError(f"{name} answered with an error ({printable(code, 60)}).") from None
    except BotoCoreError as error:
        # Its words may hold the address with what stands in it; its type tells enough.
        raise NotMeasuredError(f"{name} did not answer: {type(error).__name__}.") from None


def _newest(client: Any, bucket: str, prefix: str) -> tuple[int, StoredFact | None]:
    """Number of objects and the newest of them.

    Raises:
        NotMeasuredError: there are too many to look at all of them.
    """
    count, newest = 0, None
    token: dict[str, str] = {}
    for _ in range(MOST_PAGES):
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **token)
        for found in page.get("Contents", ()):
            count += 1
            if newest is None or found["LastModified"] > newest["LastModified"]:
                newest = found
        if not page.get("IsTruncated"):
            return count, _stored(newest) if newest else None
        token = {"ContinuationToken": page["NextContinuationToken"]}
    raise NotMeasuredError(f"there are more than {MOST_PAGES * 1000:,} objects below {prefix!r}: use a longer prefix.")


def _stored(listed: Any) -> StoredFact:
    return StoredFact(key=listed["Key"], size=listed["Size"], modified=listed["LastModified"].timestamp())


def _head(client: Any, bucket: str, key: str) -> StoredFact | None:
    try:
        found = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if str(error.response.get("Error", {}).get("Code", "")) in _MISSING:
            return None
        raise
    return StoredFact(
        key=key,
        size=found["ContentLength"],
        modified=found["LastModified"].timestamp(),
        sha256=whole_sha256(found.get("ChecksumSHA256", "")),
        md5=whole_md5(found.get("ETag", ""), found.get("ServerSideEncryption", "")),
    )


def whole_sha256(told: str) -> str:
    """Hexadecimal of a checksum of the whole object; empty for one of parts (``…-12``), which is another number."""
    try:
        raw = base64.b64decode(told, validate=True)
    except ValueError:
        return ""
    return raw.hex() if len(raw) == 32 else ""


def whole_md5(tag: str, encryption: str) -> str:
    """The entity tag where it is the MD5 of the whole object: not in parts, and not under a key of KMS."""
    found = _MD5.fullmatch(tag)
    return found.group(1) if found and not encryption.startswith("aws:kms") else ""
