"""What a worker gets with its claim: the plan, links for exactly this job's inputs and output prefix, a token."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from auteur_contracts import names
from auteur_contracts.orders import ClaimRefused, ClaimRequest, Grant, InputLink, RefusalReason, ReportHead
from auteur_contracts.resources import GenerationJob, Output, PlannedInput
from auteur_control.tokens import is_token, token_of
from auteur_kit.store import Store
from auteur_lifecycle.gate import Lookup, input_of

_AFTER_DEADLINE = timedelta(minutes=10)
_LONGEST_LINK = timedelta(days=7)
"""What AWS Signature Version 4 allows."""


@dataclass(frozen=True)
class Granter:
    """`secret` signs the tokens: the same over restarts, or running jobs lose theirs."""

    store: Store
    secret: bytes
    max_output_bytes: int

    def grant(self, job: GenerationJob, request: ClaimRequest, lookup: Lookup, now: datetime) -> Grant:
        """For a claim that the lifecycle grants: its inputs are there. Raises NotFound where the plan names a file of
        another namespace.
        """
        plan = job.status.plan
        if plan is None:
            raise AssertionError(job.key)  # only planned jobs are claimed
        expires = min(job.spec.deadline + _AFTER_DEADLINE, _LONGEST_LINK)
        namespace = job.metadata.namespace
        prefix = names.AttemptPrefix(namespace, job.spec.project, job.metadata.uid, request.attempt)
        return Grant(
            token=token_of(self.secret, request.uid, request.attempt, request.nonce),
            plan=plan,
            deadline_seconds=job.spec.deadline.total_seconds(),
            inputs=tuple(self._link(namespace, planned, lookup, expires) for planned in plan.inputs),
            upload=self.store.upload_form(str(prefix), max_bytes=self.max_output_bytes, expires=expires, now=now),
            node_id=job.metadata.annotations.get(names.ANNOTATION_NODE_ID, ""),
        )

    def believes(self, said: ReportHead, job: GenerationJob) -> bool:
        """Whether the report comes from the worker that the attempt's claim was granted to."""
        return is_token(said.token, self.secret, said.uid, said.attempt, job.status.claim)

    def _link(self, namespace: str, planned: PlannedInput, lookup: Lookup, expires: timedelta) -> InputLink:
        uri = planned.uri
        if planned.job:
            source = input_of(planned, lookup(planned.job))
            uri = source.uri if isinstance(source, Output) else ""
        url = self.store.link(namespace, uri, expires=expires)
        return InputLink(name=planned.name, url=url, file_name=f"{planned.name}-{uri.rsplit('/', 1)[-1]}")


def refused(request: ClaimRequest, reason: RefusalReason) -> ClaimRefused:
    return ClaimRefused(reason=reason, message=f"attempt {request.attempt} of {request.name}: {reason.value}")
