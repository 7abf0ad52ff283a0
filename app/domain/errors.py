"""What the domain refuses, each with a stable code; how a refusal looks over HTTP is decided elsewhere.

DomainError
+-- InstantOutOfRangeError      an instant, or a result, outside 2000-01-01..2100-01-01
+-- NaiveDatetimeError          an instant without a UTC offset
+-- InvalidDocumentError        a document or a request, with every field that is wrong
+-- NoPolicyInForceError        no version of the policy is in force at the instant
+-- PolicyInForceError          a version that has taken effect can't be taken back
+-- NotOverridableError         a decision refuses nothing, or was made too long ago to be overridden
+-- ActForbiddenError           nobody in this role may ever do this act
+-- ActNotAllowedError          the ticket, as it stands, doesn't allow this act
    +-- NothingToChangeError    the act would change nothing
    +-- AtTopLevelError         there is no level above 3
    +-- ReopenWindowOverError   the ticket was resolved too long ago
    +-- AlreadyDisputedError    a verdict is disputed once
    +-- AssigneeLevelTooLowError  an assignee has at least the ticket's level
"""

from collections.abc import Iterable
from dataclasses import dataclass


class DomainError(Exception):
    """A refusal that the rules foresee; `code` is public and never changes its meaning."""

    code = "domain_error"


class InstantOutOfRangeError(DomainError):
    """The instant asked about, or the one that would be the answer, is outside 2000 to 2100."""

    code = "instant_out_of_range"


class NaiveDatetimeError(DomainError):
    """A datetime came without a UTC offset, so it names no instant."""

    code = "naive_datetime"


class NoPolicyInForceError(DomainError):
    """No version of the policy is in force at the instant asked about."""

    code = "no_policy_in_force"


class PolicyInForceError(DomainError):
    """A version of the policy has taken effect, or was taken back already."""

    code = "policy_in_force"


class NotOverridableError(DomainError):
    """A decision on eligibility refuses nothing, or was made too long ago to be overridden."""

    code = "not_overridable"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong: a JSON pointer to it, a stable code, and a sentence."""

    pointer: str
    code: str
    message: str


class InvalidDocumentError(DomainError):
    """A document broke its rules; `errors` names every field at once."""

    code = "validation_failed"

    def __init__(self, errors: Iterable[FieldError]) -> None:
        """Keep the errors, in the order in which the document was read."""
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{error.pointer}: {error.message}" for error in self.errors))


class ActError(DomainError):
    """An act is refused; `allowed_acts` is what this actor may do instead."""

    def __init__(self, reason: str, *, allowed_acts: Iterable[str] = ()) -> None:
        """Keep the sentence and the way out."""
        self.allowed_acts = tuple(allowed_acts)
        super().__init__(reason)


class ActForbiddenError(ActError):
    """The actor's role never permits the act."""

    code = "act_forbidden"


class ActNotAllowedError(ActError):
    """The ticket's state doesn't allow the act now."""

    code = "act_not_allowed"


class NothingToChangeError(ActNotAllowedError):
    """The ticket is as the act would make it already."""

    code = "nothing_to_change"


class AtTopLevelError(ActNotAllowedError):
    """The ticket is with senior staff and management already."""

    code = "at_top_level"


class ReopenWindowOverError(ActNotAllowedError):
    """The ticket was resolved too long ago to be taken up again."""

    code = "reopen_window_over"


class AlreadyDisputedError(ActNotAllowedError):
    """The verdict on a ticket can be disputed once."""

    code = "already_disputed"


class AssigneeLevelTooLowError(ActNotAllowedError):
    """An assignee has at least the ticket's level."""

    code = "assignee_level_too_low"
