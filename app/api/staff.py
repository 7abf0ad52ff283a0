"""The people of staff over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field, model_validator
from starlette.responses import Response

from app.api import registers
from app.api.deps import Held, House, Manager, Now
from app.api.front_door import Route
from app.api.idempotency import OnceOnly
from app.api.paging import Cursor, Limit, Page
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
async def create_agent(body: AgentRequest, held: Held, _caller: Manager, now: Now, once: OnceOnly) -> Response:
    """Add a person of staff."""
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
async def list_agents(
    request: Request, held: Held, _caller: House, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List the people of staff, the newest first."""
    return await registers.page(request, held, staff.register, None, limit, cursor, AgentShape)


@router.get("/{agent_id}", operation_id="get_agent", response_model=AgentShape)
async def get_agent(agent_id: UUID, held: Held, _caller: House) -> Response:
    """Read a person of staff."""
    return registers.one(await staff.register.get(held.pool, agent_id, None), AgentShape)
