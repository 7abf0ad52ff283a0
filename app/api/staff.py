"""The people of staff over HTTP."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field, model_validator
from starlette.responses import Response

from app.api import errors, registers
from app.api.deps import Caller, Held, House, Manager, Now
from app.api.errors import Problem
from app.api.front_door import Route
from app.api.idempotency import OnceOnly
from app.api.paging import Page, Pages
from app.api.registers import IfMatch
from app.api.shapes import Email, Flag, Given, Instant, Line, Number, Told, answer, etag
from app.db import ids, staff
from app.db.staff import Agent
from app.db.statements import ConstraintError
from app.domain.events import Role

router = APIRouter(prefix="/v1/agents", tags=["directory"], route_class=Route)


class AgentRequest(Given):
    """A person of staff."""

    name: Line
    email: Email
    role: Annotated[Role, Field(json_schema_extra={"enum": ["agent", "lead", "admin"]})] = Role.AGENT
    level: Annotated[Number, Field(ge=1, le=3)] = 1
    on_call: Flag = False

    @model_validator(mode="after")
    def of_staff(self) -> "AgentRequest":
        """Refuse a role that no person of staff has."""
        if self.role not in {Role.AGENT, Role.LEAD, Role.ADMIN}:
            raise ValueError("an agent's role is agent, lead or admin")
        return self


class AgentChange(Given):
    """What changes of a person of staff; what is left out stays."""

    name: Line | None = None
    email: Email | None = None
    role: Annotated[Role | None, Field(json_schema_extra={"enum": ["agent", "lead", "admin", None]})] = None
    level: Annotated[Number | None, Field(ge=1, le=3)] = None
    on_call: Flag | None = None

    @model_validator(mode="after")
    def of_staff(self) -> "AgentChange":
        """Refuse a role that no person of staff has, and null for what has to be there."""
        if self.role not in {None, Role.AGENT, Role.LEAD, Role.ADMIN}:
            raise ValueError("an agent's role is agent, lead or admin")
        if any(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("leave a field out to keep it as it is")
        return self


class AgentShape(Told):
    """A person of staff with their support level."""

    id: UUID
    name: str
    email: str
    role: Role
    level: int
    on_call: bool
    created_at: Instant
    updated_at: Instant
    version: int


@router.post("", operation_id="create_agent", status_code=201, response_model=AgentShape)
async def create_agent(body: AgentRequest, held: Held, caller: Manager, now: Now, once: OnceOnly) -> Response:
    """Add a person of staff; leads and admins are made by an admin."""
    _require_admin(caller, Role.AGENT, body.role)
    agent = Agent(id=ids.new_id(), **body.model_dump(), created_at=now, updated_at=now, version=1)
    shape = registers.shape_of(agent, AgentShape)
    headers = {"Location": f"/v1/agents/{agent.id}", "ETag": etag(1)}
    kept = once.answer(201, headers | {"Content-Type": "application/json"}, shape.model_dump_json().encode())
    try:
        await once.write(lambda: staff.register.add(held.pool, agent, kept))
    except ConstraintError as error:
        raise registers.refused(error) from None
    return answer(shape, status=201, headers=headers)


@router.get("", operation_id="list_agents", response_model=Page[AgentShape])
async def list_agents(held: Held, _caller: House, pages: Pages) -> Response:
    """List the people of staff, the newest first."""
    return await registers.page(held, staff.register, None, pages, AgentShape)


@router.get("/{agent_id}", operation_id="get_agent", response_model=AgentShape)
async def get_agent(agent_id: UUID, held: Held, _caller: House) -> Response:
    """Read a person of staff."""
    return registers.one(await staff.register.get(held.pool, agent_id, None), AgentShape)


@router.patch("/{agent_id}", operation_id="change_agent", response_model=AgentShape)
async def change_agent(
    agent_id: UUID, body: AgentChange, held: Held, caller: Manager, now: Now, if_match: IfMatch = None
) -> Response:
    """Change a person of staff: their level, whether they are on call, or, as an admin, their role.

    `If-Match` is required. Tickets assigned to them stay with them.
    """
    found = await staff.register.get(held.pool, agent_id, None)
    if found is None:
        raise errors.not_found()
    registers.require_match(if_match, found.version)
    changed = replace(found, **body.model_dump(exclude_unset=True), updated_at=now, version=found.version + 1)
    _require_admin(caller, found.role, changed.role)
    return await registers.save(held, staff.register, changed, AgentShape)


def _require_admin(caller: Caller, before: Role, after: Role) -> None:
    """See that nobody but an admin makes or unmakes leads and admins.

    Raises:
        Problem: 403 for everybody else.
    """
    if before is not after and caller.role is not Role.ADMIN:
        raise Problem("forbidden", "Only an admin may make somebody a lead or an admin, or take that away; ask one.")
