"""Who is let in: host names, origins, the token in its four places, and what it takes to listen elsewhere."""

import logging
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import HOME
from trellis.app.api.settings import ApiSettings, is_local
from trellis.errors import InvalidInputError

TOKEN = "abcdefgh-12345678"
ELSEWHERE = "192.168.1.20"
Create = Callable[..., TestClient]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "10.0.0.1", "fe80::1"])
def test_listening_elsewhere_needs_a_token_or_trust(host: str) -> None:
    with pytest.raises(InvalidInputError, match="token"):
        ApiSettings(host=host)
    assert not ApiSettings(host=host, token=TOKEN).local
    assert not ApiSettings(host=host, trust_lan=True).local


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_this_computer_is_served_by_default(host: str) -> None:
    assert ApiSettings(host=host).local and is_local(host)


@pytest.mark.parametrize("token", ["", "short", "has space in it", "has/slash/in/it", "ümlautümlaut", "query?&=token"])
def test_weak_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidInputError, match="token must have at least 12"):
        ApiSettings(token=token)


def test_the_operator_s_token_is_as_strong_and_another_one() -> None:
    with pytest.raises(InvalidInputError, match="operator-token must have at least 12"):
        ApiSettings(operator_token="short")
    with pytest.raises(InvalidInputError, match="operator-token must be another"):
        ApiSettings(token=TOKEN, operator_token=TOKEN)


def test_the_operator_s_token_opens_what_the_other_opens(
    create_client: Create, caplog: pytest.LogCaptureFixture
) -> None:
    operator = "operators-token"
    client = create_client(token=TOKEN, operator_token=operator)
    assert client.get("/ping").status_code == 401
    for headers in ({"X-Trellis-Token": operator}, {"Cookie": f"trellis_token={operator}"}):
        assert client.get("/ping", headers=headers).status_code == 200
    with caplog.at_level(logging.INFO, logger="trellis"):
        for path in (f"/{operator}/interrupt", f"/interrupt?token={operator}"):
            assert client.post(path).status_code == 200
    said = [record.getMessage() for record in caplog.records if record.name.startswith("trellis")]  # not the client's
    assert any("POST" in line for line in said) and not any(operator in line for line in said)
    page = client.get(f"/docs?token={operator}", headers={"Accept": "text/html"}, follow_redirects=False)
    assert page.status_code == 303 and operator in page.headers["set-cookie"]
    assert TOKEN not in page.headers["set-cookie"]
    assert create_client(operator_token=operator).get("/ping").status_code == 200  # nothing else is asked for


@pytest.mark.parametrize("origin", ["*", "example.org", "https://example.org/path", "file://x", ""])
def test_origins_are_sites(origin: str) -> None:
    with pytest.raises(InvalidInputError, match="origin"):
        ApiSettings(origins=(origin,))


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:7960", True),
        ("localhost", True),
        ("LOCALHOST:7960", True),
        ("[::1]:7960", True),
        ("rebound.example.org", False),
        ("192.168.1.20:7960", False),
        ("127.0.0.1.example.org", False),
        ("", False),
        ("[::1", False),
        ("localhost@example.org", False),
    ],
)
def test_only_names_of_this_computer_are_answered(create_client: Create, host: str, allowed: bool) -> None:
    answer = create_client().get("/ping", headers={"Host": host})
    assert answer.status_code == (200 if allowed else 400)


def test_addresses_in_numbers_are_answered_elsewhere_but_not_names(create_client: Create) -> None:
    client = create_client(host="0.0.0.0", trust_lan=True, names=("render-box",))
    for host, status in (
        (ELSEWHERE, 200),
        (f"{ELSEWHERE}:7960", 200),
        ("render-box:1", 200),
        ("evil.example.org", 400),
    ):
        assert client.get("/ping", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://127.0.0.1:1234", "http://[", "x"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/ping"), ("POST", "/interrupt"), ("POST", "/jobs"), ("DELETE", "/jobs/1")]
)
def test_pages_of_other_sites_are_refused(create_client: Create, origin: str, method: str, path: str) -> None:
    assert create_client().request(method, path, headers={"Origin": origin}).status_code == 403


def test_cors_is_closed_unless_a_site_is_named(create_client: Create) -> None:
    closed = create_client().get("/ping", headers={"Origin": HOME})
    assert closed.status_code == 200
    assert not [name for name in closed.headers if name.startswith("access-control")]
    site = "https://studio.example.org"
    client = create_client(origins=(site,), token=TOKEN)
    preflight = client.options(
        "/jobs",
        headers={
            "Origin": site,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert preflight.status_code == 200 and preflight.headers["access-control-allow-origin"] == site
    assert "access-control-allow-credentials" not in preflight.headers
    assert client.get("/ping", headers={"Origin": site}).status_code == 401  # the token is needed all the same
    allowed = client.get("/ping", headers={"Origin": site, "Authorization": f"Bearer {TOKEN}"})
    assert allowed.status_code == 200 and allowed.headers["access-control-allow-origin"] == site
    other = client.get("/ping", headers={"Origin": "https://example.org", "Authorization": f"Bearer {TOKEN}"})
    assert other.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer {TOKEN}"},
        {"X-Trellis-Token": TOKEN},
        {"Cookie": f"trellis_token={TOKEN}"},
    ],
)
def test_a_token_in_the_headers(create_client: Create, headers: dict[str, str]) -> None:
    client = create_client(token=TOKEN)
    for path in ("/ping", "/jobs", "/docs", "/openapi.json", "/download/spz-ui-layout/generation-3d-panel"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=headers).status_code == 200


def test_a_token_in_the_address(create_client: Create) -> None:
    client = create_client(token=TOKEN)
    assert client.get(f"/ping?token={TOKEN}").json()["status"] == "running"
    assert client.get(f"/{TOKEN}/ping").json()["status"] == "running"
    assert client.post(f"/{TOKEN}/interrupt").json() == {"status": "no_generation_in_progress"}
    assert client.get(f"/{TOKEN}/jobs/..%2f{TOKEN}").status_code == 404
    answer = client.post(f"/resume_from_preview?texture_size=1,5&token={TOKEN}")
    assert answer.status_code == 409  # the other parameters stay


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/ping", {"Authorization": f"Basic {TOKEN}"}), ("/ping", {"Authorization": f"Bearer {TOKEN}x"}),
        ("/ping", {"Authorization": "Bearer"}), ("/ping", {"X-Trellis-Token": TOKEN[:-1]}),
        ("/ping", {"Cookie": "trellis_token=; trellis_token=wrong"}), ("/ping", {"Cookie": "=;=;\x01"}),
        ("/ping?token=wrong", {}), ("/ping?token=", {}), (f"/x/{TOKEN}/ping", {}), ("/%ff/ping", {}), ("/", {}),
        (f"/{TOKEN.upper()}/ping", {}), ("/nothing/here", {}),
    ],
)  # fmt: skip
def test_anything_else_is_not_enough(create_client: Create, path: str, headers: dict[str, str]) -> None:
    answer = create_client(token=TOKEN).get(path, headers=headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_a_browser_gets_the_token_as_a_cookie_and_an_address_without_it(create_client: Create) -> None:
    for start in (f"/?token={TOKEN}", f"/{TOKEN}/", f"/{TOKEN}", f"/{TOKEN}//example.org"):
        answer = create_client(token=TOKEN).get(start, headers={"Accept": "text/html"}, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == ("/example.org" if "example" in start else "/")
        cookie = answer.headers["set-cookie"]
        assert TOKEN in cookie and "HttpOnly" in cookie and "SameSite=strict" in cookie


def server_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the server has told; the client of the tests has a log of its own."""
    return [record for record in caplog.records if not record.name.startswith("httpx")]


def test_the_log_is_readable_and_tells_no_token(create_client: Create, caplog: pytest.LogCaptureFixture) -> None:
    client = create_client(token=TOKEN)
    with caplog.at_level(logging.INFO, logger="trellis"):
        for _ in range(3):
            client.get(f"/{TOKEN}/ping")
            client.get("/status", headers={"X-Trellis-Token": TOKEN})
        assert server_records(caplog) == []  # polls are not told
        client.post(f"/{TOKEN}/interrupt")
        client.get(f"/{TOKEN}/jobs/x%0aforged?token={TOKEN}")
    told = [record.getMessage() for record in server_records(caplog)]
    assert told[0].startswith("POST /***/interrupt 200 ") and told[1].startswith("GET /***/jobs/")
    assert not any(TOKEN in line or "\n" in line for line in told)


def test_triton_noise_is_dropped_and_nothing_else() -> None:
    from trellis.app.logs import WithoutTritonNoise

    def kept(name: str, level: int, text: str) -> bool:
        return WithoutTritonNoise().filter(logging.LogRecord(name, level, "", 0, text, (), None))

    assert not kept("xformers", logging.WARNING, "A matching Triton is not available, some optimizations are off")
    assert kept("xformers", logging.ERROR, "Triton crashed")
    assert kept("trellis.ops", logging.INFO, "Triton kernels are used")
    assert kept("torch", logging.WARNING, "something else")


def test_browsers_are_told_not_to_guess(create_client: Create) -> None:
    headers = create_client().get("/docs").headers
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
