"""Tokens of identity providers: whom they speak for, which are believed, and where their keys come from."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI

from app.main import create_app
from app.outside import identity
from app.settings import Settings
from tests.api.conftest import Desk, running
from tests.conftest import addresses

AUDIENCE = "kawan-support"
HEAD = '{"alg": "RS256", "kid": "old"}'
RSA = {
    name: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for name in ("old", "new", "portal", "attacker")
}
EC = ec.generate_private_key(ec.SECP256R1())


def jwk(name: str, **more: Any) -> dict[str, Any]:
    key = RSA[name].public_key()
    return json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key)) | {"kid": name, "use": "sig", "alg": "RS256"} | more


@dataclass
class Provider:
    """An identity provider on this machine: serves its configuration and its keys, as it is told to."""

    url: str = ""
    keys: list[Any] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    answer: Callable[[str], tuple[int, bytes]] | None = None
    waits: float = 0.02

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.asked.append(path)
        await asyncio.sleep(self.waits)
        status, body = (self.answer or self.usual)(path)
        head = [
            f"HTTP/1.1 {status} X",
            f"Content-Length: {len(body)}",
            f"Location: {self.url}/keys",
            "Connection: close",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await writer.drain()
        writer.close()

    def usual(self, path: str) -> tuple[int, bytes]:
        if path == "/keys":
            return 200, json.dumps({"keys": self.keys}).encode()
        return 200, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()

    def token(self, key: Any = RSA["old"], algorithm: str = "RS256", headers: Any = None, **claims: Any) -> str:
        now = int(time.time())
        whole = {"iss": self.url, "aud": AUDIENCE, "sub": "u-1", "iat": now, "exp": now + 300} | claims
        kept = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(kept, key, algorithm, {"kid": "old"} | (headers or {}))


@asynccontextmanager
async def provider(*names: str) -> AsyncIterator[Provider]:
    found = Provider(keys=[jwk(name) for name in names])
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield found


class Believing:
    """The service with two issuers: staff's identity provider, found by discovery, and the portal."""

    def __init__(self, desk: Desk, app: FastAPI, http: httpx.AsyncClient, staff: Provider, portal: Provider) -> None:
        self.desk, self.app, self.http, self.staff, self.portal = desk, app, http, staff, portal

    async def get(self, token: str, path: str = "/v1/me") -> httpx.Response:
        return await self.http.get(path, headers={"Authorization": f"Bearer {token}"})

    def later(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        """Let time pass for the keys that are known."""
        for known in self.app.state.runtime.issuers.key_sets.values():
            monkeypatch.setattr(known, "clock", lambda: time.monotonic() + seconds)


@pytest.fixture
async def world(desk: Desk, app_url: str) -> AsyncIterator[Believing]:
    async with provider("old") as staff, provider("portal") as portal:
        issuers = [
            {"issuer": staff.url, "audience": AUDIENCE, "people": "staff", "algorithms": ["RS256"]},
            {"issuer": portal.url, "audience": AUDIENCE, "people": "contacts", "jwks_url": f"{portal.url}/keys"},
        ]
        settings = Settings(**addresses(app_url), test_clock=True, pool_size=4, issuers=issuers)
        application = create_app(settings)
        agent = (await desk.get("admin", "/v1/agents"))["items"][-1]
        known = {"identity_issuer": staff.url, "identity_subject": "u-1"}
        changed = await desk.call("admin", "PATCH", f"/v1/agents/{agent['id']}", known, headers={"If-Match": "*"})
        assert (changed.status_code, changed.json()["role"]) == (200, "admin")
        async with running(application) as http:
            yield Believing(desk, application, http, staff, portal)


async def test_a_token_says_who_and_our_own_tables_what_they_may(world: Believing) -> None:
    me = (await world.get(world.staff.token())).json()
    assert (me["role"], me["name"], me["scopes"]) == ("admin", "admin", None)
    agent, admin = f"/v1/agents/{me['agent_id']}", world.staff.token()
    assert (await world.get(admin, "/v1/keys")).status_code == 200
    await world.desk.call("admin", "PATCH", agent, {"role": "agent"}, headers={"If-Match": "*"})
    assert (await world.get(admin, "/v1/keys")).json()["code"] == "forbidden", "the same token, the next request"


async def test_the_portals_word_never_makes_more_than_a_contact(world: Believing) -> None:
    def token(**claims: Any) -> str:
        return world.portal.token(RSA["portal"], headers={"kid": "portal"}, **claims)

    me = (await world.get(token(sub="standard"))).json()
    assert (me["role"], me["client_id"]) == ("contact", str(world.desk.parties["standard"].client_id))
    claims = {
        "role": "admin",
        "roles": ["admin"],
        "client_id": str(world.desk.parties["premium"].client_id),
        "level": 3,
    }
    assert (await world.get(token(sub="standard", **claims))).json() == me
    for sub in ("u-1", "admin", "admin@kawan.example", str(world.desk.parties["standard"].contact_id)):
        refused = await world.get(token(sub=sub))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), sub
    unknown = await world.get(world.staff.token(sub="standard"))
    assert (unknown.status_code, unknown.json()["code"]) == (403, "forbidden"), "nor staff's provider a contact"


async def test_a_contact_whose_role_changes_has_it_at_the_next_request(world: Believing) -> None:
    token = world.portal.token(RSA["portal"], headers={"kid": "portal"}, sub="standard")
    assert (await world.get(token)).json()["role"] == "contact"
    whole = {"client_id": str(world.desk.parties["standard"].client_id), "name": "S", "email": "s@client.example"}
    await world.desk.call("lead", "PUT", "/v1/contacts/by-external-id/standard", whole | {"role": "client_admin"})
    assert (await world.get(token)).json()["role"] == "client_admin"


async def test_a_token_is_limited_by_the_scopes_of_ours_that_it_carries(world: Believing) -> None:
    assert (await world.get(world.staff.token(scope="openid profile"))).json()["scopes"] is None
    limited = world.staff.token(scope="openid tickets:read")
    assert (await world.get(limited)).json()["scopes"] == ["tickets:read"]
    assert (await world.get(limited, "/v1/tickets")).status_code == 200
    assert (await world.get(limited, "/v1/keys")).json()["code"] == "insufficient_scope"


def forged(**changes: Any) -> Callable[[Provider], str]:
    return lambda staff: staff.token(**changes)


def pasted(head: dict[str, Any], claims: dict[str, Any] | None = None, seal: bytes = b"") -> Callable[[Provider], str]:
    """A token written by hand, as no library would."""

    def make(staff: Provider) -> str:
        now = int(time.time())
        whole = {"iss": staff.url, "aud": AUDIENCE, "sub": "u-1", "iat": now, "exp": now + 300} | (claims or {})
        parts = [json.dumps(head).encode(), json.dumps(whole).encode(), seal]
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

    return make


def by_public_key(staff: Provider) -> str:
    """Signed with HMAC, the secret being the public key that everybody can read."""
    public = RSA["old"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = pasted({"alg": "HS256", "kid": "old", "typ": "JWT"})(staff).rsplit(".", 1)[0]
    seal = hmac.new(public, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(seal).rstrip(b'=').decode()}"


def of_another(staff: Provider) -> str:
    """Signed by a key of the portal, in the name of staff's provider."""
    return staff.token(RSA["portal"], headers={"kid": "portal"})


def signed_around(head: str, claims: str) -> Callable[[Provider], str]:
    """Well signed, but of parts that are no JSON objects of sense."""

    def make(staff: Provider) -> str:
        parts = [
            base64.urlsafe_b64encode(part.replace("ISS", staff.url).encode()).rstrip(b"=") for part in (head, claims)
        ]
        text = b".".join(parts)
        seal = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(text, RSA["old"])
        return (text + b"." + base64.urlsafe_b64encode(seal).rstrip(b"=")).decode()

    return make


def claiming(subject: str, end: str) -> Callable[[Provider], str]:
    """Well signed, with claims as no library would write them."""
    return signed_around(HEAD, f'{{"iss":"ISS","aud":"{AUDIENCE}","sub":{subject},"iat":1,"exp":{end}}}')


ATTACKER, HOUR = RSA["attacker"], 3_600
BAD: dict[str, Callable[[Provider], str]] = {
    "no algorithm": pasted({"alg": "none", "kid": "old"}),
    "no algorithm, written otherwise": pasted({"alg": "nOnE", "kid": "old"}),
    "no algorithm and a seal": pasted({"alg": "none", "kid": "old"}, seal=b"x"),
    "HMAC with the public key": by_public_key,
    "an empty seal": pasted({"alg": "RS256", "kid": "old"}),
    "an algorithm the issuer is not bound to": forged(algorithm="RS512"),
    "an algorithm of another kind": forged(key=EC, algorithm="ES256"),
    "an attacker's key": forged(key=ATTACKER),
    "an attacker's key, brought along": forged(key=ATTACKER, headers={"jwk": jwk("attacker", kid="old")}),
    "an attacker's key, at their address": forged(key=ATTACKER, headers={"jku": "http://127.0.0.1:1/keys"}),
    "an attacker's certificate": forged(key=ATTACKER, headers={"x5u": "http://127.0.0.1:1/c", "x5c": ["AAAA"]}),
    "a key that is unknown": forged(headers={"kid": "unknown"}),
    "a key that is a path": forged(headers={"kid": "../../../dev/null"}),
    "a key that is no text": pasted({"alg": "RS256", "kid": ["old"]}),
    "no key": pasted({"alg": "RS256"}),
    "a key of another issuer": of_another,
    "an issuer that begins alike": forged(iss="http://127.0.0.1:1"),
    "an issuer with something behind": lambda staff: staff.token(iss=f"{staff.url}/"),
    "an issuer with something before": lambda staff: staff.token(iss=f"x{staff.url}"),
    "several issuers": lambda staff: pasted({"alg": "RS256", "kid": "old"}, {"iss": [staff.url]})(staff),
    "no issuer": forged(iss=None),
    "another audience": forged(aud="another"),
    "an audience that begins alike": forged(aud=f"{AUDIENCE}-2"),
    "no audience": forged(aud=None),
    "no subject": forged(sub=None),
    "an empty subject": forged(sub=""),
    "a subject with a NUL": forged(sub="u-1\0"),
    "a subject that is a number": claiming("1", "9999999999"),
    "no end": forged(exp=None),
    "no beginning": forged(iat=None),
    "expired": lambda staff: staff.token(iat=int(time.time()) - HOUR, exp=int(time.time()) - 60),
    "not valid yet": lambda staff: staff.token(nbf=int(time.time()) + 60),
    "from the future": lambda staff: staff.token(iat=int(time.time()) + 60),
    "for ever": lambda staff: staff.token(exp=int(time.time()) + 90_000),
    "an end beyond all numbers": claiming('"u-1"', "1e999"),
    "an end that is no number": forged(exp="tomorrow"),
    "an end that is not a number": claiming('"u-1"', "NaN"),
    "scopes in a list": forged(scope=["tickets:read"]),
    "a critical header": forged(headers={"crit": ["exp"], "exp": 1}),
    "a payload of its own sort": forged(headers={"crit": ["b64"], "b64": False}),
    "another type": forged(headers={"typ": "dpop+jwt"}),
    "a list for claims": signed_around(HEAD, "[]"),
    "nested too deeply": signed_around(HEAD, "[" * 3_000),
    "a head nested too deeply": signed_around("[" * 3_000, "{}"),
    "no JSON": signed_around(HEAD, "\x00\x01"),
    "two parts": lambda staff: staff.token().rsplit(".", 1)[0],
    "five parts": lambda staff: f"{staff.token()}.a.b",
    "a seal cut short": lambda staff: staff.token()[:-4],
    "a megabyte": lambda staff: staff.token() + "A" * 1_000_000,
    "a token as a claim": lambda staff: f"Bearer {staff.token()}",
    "half a key": lambda _: "ke_0000000000000000_",
}  # fmt: skip


@pytest.mark.parametrize("made", BAD.values(), ids=BAD)
async def test_a_bad_token_opens_nothing(world: Believing, made: Callable[[Provider], str]) -> None:
    refused = await world.get(made(world.staff))
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated"), refused.text
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "127.0.0.1" not in refused.text
    assert not [path for path in world.staff.asked if path not in {"/keys", "/.well-known/openid-configuration"}]
    assert (await world.get(world.staff.token())).status_code == 200, "and a good one still does"


async def test_many_who_come_at_once_are_answered_by_one_fetch(world: Believing) -> None:
    found = await asyncio.gather(*(world.get(world.staff.token()) for _ in range(50)))
    assert {response.status_code for response in found} == {200}
    assert world.staff.asked == ["/.well-known/openid-configuration", "/keys"]
    unknown = world.staff.token(RSA["new"], headers={"kid": "new"})
    found = await asyncio.gather(*(world.get(unknown) for _ in range(50)))
    assert {response.status_code for response in found} == {401}
    assert len(world.staff.asked) == 2, "unknown keys make nobody ask again so soon"


async def test_a_new_key_is_known_within_a_minute_and_an_old_one_is_out(
    world: Believing, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = world.staff.token(), world.staff.token(RSA["new"], headers={"kid": "new"})
    assert [(await world.get(token)).status_code for token in (old, new)] == [200, 401]
    world.staff.keys = [jwk("old"), jwk("new")]
    world.later(monkeypatch, 31)
    assert [(await world.get(token)).status_code for token in (old, new)] == [200, 200]
    world.staff.keys = [jwk("new")]
    assert (await world.get(old)).status_code == 200
    world.later(monkeypatch, 31 + 61)
    assert [(await world.get(token)).status_code for token in (old, new)] == [401, 200]


async def test_a_provider_that_is_away_is_not_missed_for_a_while(
    world: Believing, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.staff.token()
    assert (await world.get(token)).status_code == 200
    world.staff.answer = lambda _: (500, b"")
    world.later(monkeypatch, 800)
    assert (await world.get(token)).status_code == 200
    world.later(monkeypatch, 901)
    away = await world.get(token)
    assert (away.status_code, away.json()["code"], away.headers["Retry-After"]) == (503, "issuer_unavailable", "5")
    assert (await world.get(world.desk.keys["agent"])).status_code == 200, "keys need no issuer"
    world.staff.answer = None
    world.later(monkeypatch, 907)
    assert (await world.get(token)).status_code == 200


def elsewhere(status: int = 200, body: bytes = b"") -> Callable[[Provider], Callable[[str], tuple[int, bytes]]]:
    return lambda _: lambda _: (status, body)


def configured(**changes: Any) -> Callable[[Provider], Callable[[str], tuple[int, bytes]]]:
    def of(staff: Provider) -> Callable[[str], tuple[int, bytes]]:
        whole = {"issuer": staff.url, "jwks_uri": f"{staff.url}/keys"} | changes
        return lambda path: staff.usual(path) if path == "/keys" else (200, json.dumps(whole).encode())

    return of


@pytest.mark.parametrize(
    "answers",
    [
        elsewhere(302),
        elsewhere(body=b"["),
        elsewhere(body=b"[]"),
        elsewhere(body=b'{"keys": 1}'),
        elsewhere(body=b" " * 300_000),
        elsewhere(body=b"[" * 100_000),
        configured(issuer="http://127.0.0.1:1"),
        configured(jwks_uri="file:///etc/passwd"),
        configured(jwks_uri="ftp://127.0.0.1/keys"),
        configured(jwks_uri=None),
        configured(jwks_uri={"url": 1}),
    ],
)
async def test_a_provider_that_answers_nonsense_is_away(
    world: Believing, answers: Callable[[Provider], Callable[[str], tuple[int, bytes]]]
) -> None:
    world.staff.answer = answers(world.staff)
    away = await world.get(world.staff.token())
    assert (away.status_code, away.json()["code"]) == (503, "issuer_unavailable")


async def test_a_slow_provider_holds_nobody_up_for_long(world: Believing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "FETCH_SECONDS", 0.2)
    world.staff.waits = 5
    began = time.monotonic()
    assert (await world.get(world.staff.token())).status_code == 503
    assert time.monotonic() - began < 4


async def test_one_broken_key_takes_none_of_the_others_along(world: Believing) -> None:
    world.staff.keys = [
        None, "old", {"kid": "old"}, jwk("old", n="!"), jwk("old", use="enc"), jwk("old", alg="RS512"),
        {"kty": "oct", "kid": "old", "k": "AAAA", "alg": "RS256"}, jwk("old"),
    ]  # fmt: skip
    assert (await world.get(world.staff.token())).status_code == 200


def test_keys_are_fetched_by_tls_only_where_the_issuer_has_it() -> None:
    assert identity.fetchable("https://keys.example/k", like="https://login.example")
    assert not identity.fetchable("http://keys.example/k", like="https://login.example")
    assert identity.fetchable("http://127.0.0.1/k", like="http://127.0.0.1")


def wrong() -> Iterator[Any]:
    whole = {"issuer": "https://login.example", "audience": "a", "people": "staff"}
    yield pytest.param([whole | {"algorithms": ["HS256"]}], id="a secret that both know")
    yield pytest.param([whole | {"algorithms": ["none"]}], id="no algorithm")
    yield pytest.param([whole | {"algorithms": []}], id="no algorithms")
    yield pytest.param([whole | {"people": "admins"}], id="people that are none")
    yield pytest.param([whole | {"issuer": "login.example"}], id="no address")
    yield pytest.param([whole | {"jwks_url": "file:///keys"}], id="keys in a file")
    yield pytest.param([whole, whole | {"people": "contacts"}], id="one for both")
    portals = [whole | {"issuer": f"https://{name}.example", "people": "contacts"} for name in ("portal", "other")]
    yield pytest.param(portals, id="two that speak for the same contacts")
    yield pytest.param([whole | {"secret": "s"}], id="an unknown field")


@pytest.mark.parametrize("issuers", list(wrong()))
def test_issuers_that_could_not_be_believed_are_refused_at_the_start(issuers: Any) -> None:
    with pytest.raises(ValueError, match="issuers"):
        Settings(issuers=issuers)
