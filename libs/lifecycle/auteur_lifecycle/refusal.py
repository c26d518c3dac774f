"""Why a job cannot be done as asked, in words its author can act on."""

from dataclasses import dataclass

from auteur_contracts.vocabulary import Reason


@dataclass(frozen=True)
class Refusal:
    reason: Reason
    message: str
    field: str = ""
    """Path of the offending field: `params.steps`."""
    remedy: str = ""

    @property
    def text(self) -> str:
        return f"{self.message} {self.remedy}".strip()
