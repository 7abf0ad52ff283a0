"""What a credential may be limited to, besides what its role may do."""

from enum import StrEnum


class Permission(StrEnum):
    """A scope, as OAuth calls it: an area of the API, and whether it is read or changed."""

    TICKETS_READ = "tickets:read"
    TICKETS_WRITE = "tickets:write"
    ELIGIBILITY_READ = "eligibility:read"
    ELIGIBILITY_WRITE = "eligibility:write"
    POLICY_READ = "policy:read"
    POLICY_WRITE = "policy:write"
    CALENDARS_READ = "calendars:read"
    CALENDARS_WRITE = "calendars:write"
    DIRECTORY_READ = "directory:read"
    DIRECTORY_WRITE = "directory:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    AUDIT_READ = "audit:read"
