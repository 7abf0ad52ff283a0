"""The people of staff over HTTP."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field, model_validator
from starlette.responses import Response

from app.api import errors, registers
from app.api.deps import Caller, Everywhere, House, Manager
from app.api.errors import Problem
from app.api.front_door import route_of
from app.api.idempotency import OnceOnly
from app.api.paging import Page, Pages
from app.api.registers import IfMatch
from app.api.shapes import Email, Flag, Given, Line, Number, Told, answer, etag
from app.db import ids, staff
from app.db.staff import Agent
from app.db.statements import ConstraintError
from app.domain.events import Role

router = APIRouter(prefix="/v1/agents", tags=["directory"], route_class=route_of("directory"))


StaffRole: TypeAlias = Literal[Role.AGENT, Role.LEAD, Role.ADMIN]
IDENTITY: Final = {"identity_issuer", "identity_subject"}


class AgentRequest(Given):
    """A person of staff; tokens of `identity_issuer` with `identity_subject` as their `sub` speak for them."""

    name: Line
    email: Email
    role: StaffRole = Role.AGENT
    level: Annotated[Number, Field(ge=1, le=3)] = 1
    on_call: Flag = False
    identity_issuer: Line | None = None
    identity_subject: Line | None = None

    @model_validator(mode="after")
    def whole(self) -> "AgentRequest":
        """Refuse half an identity."""
        if (self.identity_issuer is None) != (self.identity_subject is None):
            raise ValueError("identity_issuer and identity_subject go together")
        return self


class AgentChange(Given):
    """What changes of a person of staff; what is left out stays."""

    name: Line | None = None
    email: Email | None = None
    role: StaffRole | None = None
    level: Annotated[Number | None, Field(ge=1, le=3)] = None
    on_call: Flag | None = None
    identity_issuer: Line | None = None
    identity_subject: Line | None = None

    @model_validator(mode="after")
    def whole(self) -> "AgentChange":
        """Refuse half an identity."""
        if self.model_fields_set & IDENTITY and (self.identity_issuer is None) != (self.identity_subject is None):
            raise ValueError("identity_issuer and identity_subject go together")
        return self


class AgentShape(Told):
    """A person of staff with their support level."""

    id: UUID
    name: str
    email: str
    role: Role
    level: int
    on_call: bool
    created_at: datetime
    updated_at: datetime
    version: int
    identity_issuer: str | None
    identity_subject: str | None


@router.post("", operation_id="create_agent", status_code=201, response_model=AgentShape)
async def create_agent(body: AgentRequest, caller: Manager, once: OnceOnly) -> Response:
    """Add a person of staff; an admin is needed for leads and admins, and to say whose tokens speak for them."""
    agent = Agent(id=ids.new_id(), **body.model_dump(), created_at=caller.now, updated_at=caller.now, version=1)
    _require_admin(caller, None, agent)
    shape = registers.shape_of(agent, AgentShape)
    headers = {"Location": f"/v1/agents/{agent.id}", "ETag": etag(1)}
    response = answer(shape, status=201, headers=headers)
    try:
        await once.write(lambda: staff.register.add(caller.pool, agent, once.keep(response), caller.by()))
    except ConstraintError as error:
        raise registers.refused(error) from None
    return response


@router.get("", operation_id="list_agents", response_model=Page[AgentShape])
async def list_agents(caller: House, pages: Pages) -> Response:
    """List the people of staff, the newest first."""
    return await registers.page(staff.register, caller, None, pages, AgentShape)


@router.get("/{agent_id}", operation_id="get_agent", response_model=AgentShape)
async def get_agent(agent_id: UUID, caller: House) -> Response:
    """Read a person of staff."""
    return registers.one(await staff.register.get(caller.pool, agent_id, None), AgentShape)


@router.patch("/{agent_id}", operation_id="change_agent", response_model=AgentShape, dependencies=[Everywhere])
async def change_agent(agent_id: UUID, body: AgentChange, caller: Manager, if_match: IfMatch = None) -> Response:
    """Change a person of staff: their level, whether they are on call, or, as an admin, their role and identity.

    `If-Match` is required. Tickets assigned to them stay with them.
    """
    found = await staff.register.get(caller.pool, agent_id, None)
    if found is None:
        raise errors.not_found()
    registers.require_match(if_match, found.version)
    changed = replace(found, **registers.changes(body, IDENTITY), updated_at=caller.now, version=found.version + 1)
    _require_admin(caller, found, changed)
    return await registers.save(staff.register, caller, changed, AgentShape)


def _require_admin(caller: Caller, before: Agent | None, after: Agent) -> None:
    """See that nobody but an admin makes, unmakes or changes leads and admins, or says whose tokens speak for whom.

    An admin's limited credential doesn't either: whoever it made so could do what it can't.

    Raises:
        Problem: 403 for everybody else.
    """
    if caller.role is Role.ADMIN and caller.permissions is None:
        return
    others = before and before.role is not Role.AGENT and before.id != caller.actor.id
    if others and caller.role is not Role.ADMIN:
        raise Problem("forbidden", "Only an admin may change a lead or an admin; ask one.")
    made = (Role.AGENT, None, None) if before is None else _standing(before)
    if _standing(after) != made or (before and before.id == caller.actor.id and before.level != after.level):
        if caller.role is Role.ADMIN:
            detail = "A limited credential makes no leads and admins and sets no identities; use one without scopes."
            raise Problem("insufficient_scope", detail)
        detail = "Only an admin may make leads and admins, set identities, or change their own level; ask one."
        raise Problem("forbidden", detail)


def _standing(agent: Agent) -> tuple[object, ...]:
    return agent.role, agent.identity_issuer, agent.identity_subject
