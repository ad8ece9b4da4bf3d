"""A real-enough S3 (moto's server) on a free port of 127.0.0.1, with accounts whose keys it checks, for one context."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3  # type: ignore[import-untyped]

from lab.ports import free_port

REGION = "us-east-1"
_START_SECONDS = 30
_RIGHTS = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


class S3Server:
    """Keeps versions of every object, so that tests see what was overwritten."""

    def __init__(self) -> None:
        self.port = free_port()
        self.keys: tuple[str, str] = ("", "")
        """Access key and secret of its one account, ``backup``."""
        self._folder = tempfile.TemporaryDirectory(prefix="nightshift-s3-")
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str = "s3") -> Any:
        """A client with the account's keys."""
        access, secret = self.keys
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=access or "first",
            aws_secret_access_key=secret or "first",
        )

    def __enter__(self) -> Self:
        with (Path(self._folder.name) / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)], stdout=log, stderr=log
            )
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=2).close()  # noqa: S310 - our own address
                break
            except OSError:
                if self._server.poll() is not None or time.monotonic() > until:
                    said = (Path(self._folder.name) / "log").read_text()[-500:]
                    self.stop()
                    raise RuntimeError(f"the S3 server did not start: {said}") from None
                time.sleep(0.05)
        try:
            self._make_account()
        except BaseException:  # whoever interrupts the start leaves no server behind
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it; a second time does nothing."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
            self._folder.cleanup()

    def make_bucket(self, name: str) -> None:
        """An empty bucket with versions."""
        client = self.client()
        client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def versions(self, bucket: str) -> list[str]:
        """The key of every version that was ever written."""
        return [one["Key"] for one in self.client().list_object_versions(Bucket=bucket).get("Versions", ())]

    def _make_account(self) -> None:
        iam = self.client("iam")
        iam.create_user(UserName="backup")
        iam.put_user_policy(UserName="backup", PolicyName="all", PolicyDocument=_RIGHTS)
        key = iam.create_access_key(UserName="backup")["AccessKey"]
        self.keys = (key["AccessKeyId"], key["SecretAccessKey"])
        # From here on it checks keys and signatures.
        headers, address = {"Content-Type": "text/plain"}, f"{self.url}/moto-api/reset-auth"
        check = urllib.request.Request(address, data=b"0", headers=headers, method="POST")  # noqa: S310
        urllib.request.urlopen(check, timeout=5).close()  # noqa: S310 - our own address
