"""Orders from people, in the imperative, and the questions one program asks another."""

from typing import Self

from pydantic import Field, ValidationError
from pydantic_core import from_json

from auteur_contracts import names
from auteur_contracts.model import STORED, TolerantModel
from auteur_contracts.quantities import Label
from auteur_contracts.resources import GenerationJob


class Submit(TolerantModel):
    """Create this job. Its metadata carries the request id: the same name with the same request id is the same job."""

    job: GenerationJob


class Cancel(TolerantModel):
    by: str = Field("", max_length=128)
    request_id: str = ""
    """Of the job that is meant, as a name may have several jobs one after another and a command may come again. Empty:
    whichever has the name.
    """


class Release(TolerantModel):
    """Whoever needed the finished job has it as it was at this version, and holds its resource no more."""

    uid: str
    version: int
    hold: Label = names.HOLD_ARCHIVE
    """Absent from gateways of older versions, which speak for the archive."""


class Delete(TolerantModel):
    """Forget the job and its files. One that is not finished is cancelled first."""

    uid: str = ""
    request_id: str = ""
    """As in `Cancel`: of a job whose uid nobody has told yet."""
    project: str = ""
    """Whose storage its files lie in: said, because the resource may have expired before."""
    by: str = Field("", max_length=128)


class Snapshot(TolerantModel):
    """A job as the truth has it: one line of the answer to `job.list`."""

    job: GenerationJob
    version: int


class ListJobs(TolerantModel):
    names: tuple[str, ...] = ()
    """Only these; all unreleased jobs when empty."""
    after: str = ""
    """The name to continue after."""
    limit: int = Field(200, ge=1, le=500)


class ListedJobs(TolerantModel):
    items: tuple[Snapshot, ...] = ()
    more: str = ""
    """The name to continue after; empty at the end."""
    unreadable: tuple[str, ...] = ()
    """Names of those that are there, but that one of us cannot read."""

    @classmethod
    def read(cls, data: bytes) -> Self:
        """One that this version cannot read hides no other."""
        raw = from_json(data)
        items: list[Snapshot] = []
        unreadable = [*raw.get("unreadable", ())]
        for item in raw.get("items", ()):
            try:
                items.append(Snapshot.model_validate(item, context=STORED))
            except ValidationError:
                unreadable.append(item["job"]["metadata"]["name"])
        return cls(items=tuple(items), more=raw.get("more", ""), unreadable=tuple(unreadable))
