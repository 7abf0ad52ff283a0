"""The service as its description says, read by schemathesis with every check, once for each of two identities.

Run by `make fuzz`: the tool has an environment of its own, the service is started for it. The control comes first:
the same service through a proxy that spoils its answers in one way each, which the tool has to find.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from tests.client import ENVIRONMENT, ROOT, service, tools

SEED = os.environ.get("FUZZ") or "20260105"
IDENTITIES = ("contact", "admin")
NOUNS = ("ticket", "client", "contact", "agreement", "subscription", "calendar", "agent")
# So many of the operations are accepted at least once, or the rest says nothing. Never: what needs a whole policy, or
# the id of a key; some acts need a ticket in a state that nobody brings about on purpose.
FEWEST = 60


class Answer(NamedTuple):
    """An answer on its way through the proxy."""

    status: int
    headers: dict[str, str]
    body: bytes


FLAWS: dict[str, Callable[[Answer], Answer]] = {
    "": lambda answer: answer,
    "ServerError": lambda answer: answer._replace(status=500),
    "UndefinedStatusCode": lambda answer: answer._replace(status=418),
    "UndefinedContentType": lambda answer: answer._replace(headers=answer.headers | {"content-type": "text/plain"}),
    "JsonSchemaError": lambda answer: answer._replace(body=b'{"role": 1}'),
    "MissingHeaders": lambda answer: answer._replace(headers={"content-type": answer.headers.get("content-type", "")}),
    "UnsupportedMethodResponse": lambda answer: answer._replace(status=200) if answer.status == 405 else answer,
    "IgnoredAuth": lambda answer: answer._replace(status=200) if answer.status == 401 else answer,
}


@contextmanager
def spoiled(base: str, flaw: Callable[[Answer], Answer]) -> Iterator[str]:
    """Give the address of the service behind a proxy that spoils its answers."""

    class Proxy(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            upstream = HTTPConnection(urlsplit(base).netloc, timeout=10)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            upstream.request(self.command, self.path, body or None, dict(self.headers))
            response = upstream.getresponse()
            answer = Answer(response.status, dict(response.getheaders()), response.read())
            answer = flaw(answer) if self.path.startswith("/v1/me") else answer
            self.send_response_only(answer.status)
            for name, value in (answer.headers | {"content-length": str(len(answer.body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_TRACE = do_OPTIONS = do_QUERY = pass_on  # noqa: N815  # the handler's names

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def settings(base: str, key: str) -> str:
    """The configuration with ids that are there and that somebody may know of."""
    text = (ROOT / "tests" / "schemathesis.toml").read_text(encoding="utf-8")
    bound = ""
    for noun in NOUNS:
        page = httpx.get(f"{base}/v1/{noun}s", headers={"Authorization": f"Bearer {key}"}).json()
        if found := [item["id"] for item in page.get("items", ())]:
            text += f"[dictionaries.{noun}]\nvalues = {json.dumps(found)}\n"
            names = ["body.assignee_id"] if noun == "agent" else [f"{place}.{noun}_id" for place in ("path", "body")]
            bound += "".join(f'"{name}" = {{ dictionary = "{noun}", probability = 0.7 }}\n' for name in names)
    return f"{text}[parameters]\n{bound}"


def read(base: str, key: str, *more: str) -> tuple[Mapping[str, Any], Counter[int], str]:
    """Let schemathesis read a service as somebody; return its report, the answers by status, and what it told."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "schemathesis.toml").write_text(settings(base, key), encoding="utf-8")
        command = [ENVIRONMENT / "bin" / "schemathesis", "--no-color", "run", f"{base}/openapi.json", "--seed", SEED]
        command += ["--report", "json,ndjson", "--report-json-path", "all.json", "--report-ndjson-path", "all.ndjson"]
        environment = {**os.environ, "IDENTITY": key}
        ran = subprocess.run([*command, *more], env=environment, cwd=place, capture_output=True, text=True, check=False)
        if not (place / "all.json").exists():
            raise SystemExit(f"schemathesis did not run ({ran.returncode}):\n{ran.stdout}{ran.stderr}")
        report = json.loads((place / "all.json").read_text(encoding="utf-8"))
        with (place / "all.ndjson").open(encoding="utf-8") as lines:
            recorded = [json.loads(line).get("ScenarioFinished", {}).get("recorder", {}) for line in lines]
        sent = [each.get("response") or {} for found in recorded for each in found.get("interactions", {}).values()]
        return report, Counter(response.get("status_code", 0) for response in sent), ran.stdout


def sees(base: str, key: str, flaw: str) -> bool:
    """Tell whether a flaw is found by its name, and nothing where there is none."""
    with spoiled(base, FLAWS[flaw]) as address:
        report, _, _ = read(address, key, "--include-operation-id", "get_me")
    found = {failure["type"] for failure in report["failures"]}
    return flaw in found and report["exit_code"] == 1 if flaw else not found and report["exit_code"] == 0


def judged(who: str) -> tuple[Mapping[str, Any], Counter[int], str]:
    """Read a service of its own as somebody, so that neither identity meets what the other has left."""
    with tempfile.TemporaryDirectory() as scratch, service(Path(scratch)) as credentials:
        known = json.loads(credentials.read_text(encoding="utf-8"))
        return read(known["base_url"], known["keys"][who])


def controls() -> list[str]:
    """Tell which flaws were not found."""
    with tempfile.TemporaryDirectory() as scratch, service(Path(scratch)) as credentials:
        known = json.loads(credentials.read_text(encoding="utf-8"))
        base, key = known["base_url"], known["keys"]["agent"]
        with ThreadPoolExecutor(2) as pool:
            seen = dict(zip(FLAWS, pool.map(lambda flaw: sees(base, key, flaw), FLAWS), strict=True))
    print(f"control: {sum(seen.values())} of {len(FLAWS)} as they should be", flush=True)
    return [f"the control failed: {flaw or 'nothing'}" for flaw, held in seen.items() if not held]


def main() -> None:
    tools()
    wrong, accepted = controls(), set[str]()
    with ThreadPoolExecutor(len(IDENTITIES)) as pool:
        for who, (report, answers, told) in zip(IDENTITIES, pool.map(judged, IDENTITIES), strict=True):
            rates = report["valid_rates"].items()
            accepted |= {name for name, phases in rates if any(phase["accepted"] for phase in phases.values())}
            cases, seconds = report["test_cases"]["generated"], report["running_time"]
            print(f"{who}, seed {SEED}: {cases:,} cases, {answers.total():,} requests, {seconds:.0f} s", flush=True)
            print(f"  by status: {dict(sorted(answers.items()))}", flush=True)
            wrong += [told] if report["exit_code"] else []
    print(f"{len(accepted)} of {report['operations']['total']} operations accepted at least once")
    wrong += [f"only {len(accepted)} operations were ever accepted"] if len(accepted) < FEWEST else []
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
