"""Everything that is used as a key is built here, once: labels, annotations, pools, storage keys, ids."""

import base64
import hashlib
import uuid
from dataclasses import dataclass
from typing import Final

GROUP = "auteur.studio"
API_VERSION: Final = "auteur.studio/v1alpha1"

LABEL_PROJECT = f"{GROUP}/project"
LABEL_JOB_UID = f"{GROUP}/job-uid"
"""On what belongs to an attempt: its batch/v1 Job and pod on a cluster."""
LABEL_RETRY_OF = f"{GROUP}/retry-of"
LABEL_JOB = f"{GROUP}/job"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_POOL = f"{GROUP}/pool"
LABEL_RUNNER = f"{GROUP}/runner"
LABEL_QUALITY = f"{GROUP}/quality"
LABEL_ENABLED = f"{GROUP}/enabled"
"""On a namespace: commands may create jobs in it."""
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "auteur-operator"
"""Whose objects they are, and the field manager of what is applied."""
ANNOTATION_NODE_ID = f"{GROUP}/node-id"
ANNOTATION_REQUEST_ID = f"{GROUP}/request-id"
ANNOTATION_TRACEPARENT = f"{GROUP}/traceparent"
ANNOTATION_PLAN = f"{GROUP}/plan"
"""On an attempt's batch/v1 Job: the job's plan, so that making the Job may come before the status that tells of it."""
ANNOTATION_CANCELLED_BY = f"{GROUP}/cancelled-by"

DEFAULT_NAMESPACE = "default"
DEFAULT_PROJECT = "default"
HOLD_ARCHIVE = "archive"
"""In `status.holds` until a gateway has the record of the finished job."""
RESULT_NAME = "result.json"
"""Beside an attempt's outputs: its report, without the token."""

_EVENT_NAMESPACE = uuid.UUID("3d0a7cf2-5f0b-5d86-9a55-3f6a2f1c8f0e")


def pool(runner: str) -> str:
    """The work queue of a runner's workers."""
    return runner


@dataclass(frozen=True)
class TierPool:
    """The pool of one tier of a runner, on a cluster: a Deployment, and the work queue of its pods."""

    namespace: str
    runner: str
    quality: str

    def __str__(self) -> str:
        """No Kubernetes name has an underscore, so this reads back."""
        return f"{self.namespace}_{self.runner}_{self.quality}"

    @classmethod
    def parse(cls, text: str) -> "TierPool | None":
        match text.split("_"):
            case [namespace, runner, quality] if namespace and runner and quality:
                return cls(namespace, runner, quality)
            case _:
                return None

    @property
    def deployment(self) -> str:
        return f"{self.runner}-{self.quality}"


def attempt_name(job: str, attempt: int) -> str:
    """What an attempt is called where it is an object of its own: a batch/v1 Job of a cluster."""
    return f"{job}-{attempt}"


def event_id(uid: str, attempt: int, fact: str, discriminator: str = "") -> str:
    """The same fact has the same id however often it is published, so that replays are dropped."""
    return str(uuid.uuid5(_EVENT_NAMESPACE, f"{uid}/{attempt}/{fact}/{discriminator}"))


def seed_of(uid: str) -> int:
    """The seed of a job that names none: 32 bits that only its uid decides."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big")


def short_id(random_bytes: bytes) -> str:
    """Lower-case base32 without padding: five bytes make eight characters."""
    return base64.b32encode(random_bytes).decode().rstrip("=").lower()


# Storage: <namespace>/<project>/jobs/<uid>/<attempt>/… and <namespace>/<project>/uploads/…


@dataclass(frozen=True)
class AttemptPrefix:
    namespace: str
    project: str
    uid: str
    attempt: int

    def __str__(self) -> str:
        return f"{job_prefix(self.namespace, self.project, self.uid)}{self.attempt}/"

    @classmethod
    def parse(cls, key: str) -> "AttemptPrefix | None":
        """The attempt that a storage key belongs to; None for any other key."""
        match key.split("/"):
            case [namespace, project, "jobs", uid, attempt, *_rest] if attempt.isascii() and attempt.isdigit():
                return cls(namespace, project, uid, int(attempt))
            case _:
                return None


def namespace_prefix(namespace: str) -> str:
    return f"{namespace}/"


def job_prefix(namespace: str, project: str, uid: str) -> str:
    return f"{namespace}/{project}/jobs/{uid}/"


def upload_prefix(namespace: str, project: str) -> str:
    return f"{namespace}/{project}/uploads/"


def s3_uri(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` → (bucket, key). Raises ValueError for anything else, `..` segments included."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket or not key or any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"{uri!r} is not of the form s3://bucket/key")
    return bucket, key
