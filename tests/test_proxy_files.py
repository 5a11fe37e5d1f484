"""The files of docs/proxy/: their limits are the service's defaults where both speak of the same thing."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from retrieval.service.settings import Settings
from tests.test_docs import ROOT

FILES = ROOT / "docs" / "proxy"
NGINX, ENVOY = (FILES / "nginx.conf").read_text(), (FILES / "envoy.yaml").read_text()
SETTINGS = Settings()
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "s": 1}
SILENT_SECONDS = SETTINGS.queue_seconds + SETTINGS.search_seconds

# A directive's words, and the directives of its block.
Directive = tuple[list[str], list[Any]]


def parse_nginx(text: str) -> list[Directive]:
    """The directives of an nginx file. ValueError where a brace or a semicolon is missing."""
    tokens = re.findall(r"""\#[^\n]*|"[^"]*"|'[^']*'|[{};]|[^\s{};"']+""", text)
    root: list[Directive] = []
    open_blocks, words = [root], list[str]()
    for token in tokens:
        if token.startswith("#"):
            continue
        if token == ";":
            open_blocks[-1].append((words, []))
            words = []
        elif token == "{":
            block: list[Directive] = []
            open_blocks[-1].append((words, block))
            open_blocks.append(block)
            words = []
        elif token == "}":
            open_blocks.pop()
            if words or not open_blocks:
                raise ValueError(f"before a closing brace: {words}")
        else:
            words.append(token.strip("\"'"))
    if words or len(open_blocks) != 1:
        raise ValueError(f"the file ends in a directive or a block: {words}")
    return root


def values(block: list[Directive], *names: str) -> list[str]:
    """The words after `names` of the one directive that begins with them."""
    (found,) = [words[len(names) :] for words, _ in block if words[: len(names)] == list(names)]
    return found


def inside(block: list[Directive], *names: str) -> list[Directive]:
    """The block of the last directive with these words."""
    return [inner for words, inner in block if words == list(names)][-1]


def number(text: str) -> int:
    """A size in bytes or a time in seconds: 32m, 180s, 256."""
    digits, unit = re.fullmatch(r"(\d+)([a-z]?)", text).groups()  # type: ignore[union-attr]
    return int(digits) * UNITS[unit]


def option(words: list[str], name: str) -> str:
    """The value of `name=value` among words."""
    (found,) = [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    return found


MAIN = parse_nginx(NGINX)
HTTP = inside(MAIN, "http")
SERVER = inside(HTTP, "server")
UPSTREAM = inside(HTTP, "upstream", "clipmine")

LISTENER, CLUSTER = (yaml.safe_load(ENVOY)["static_resources"][kind][0] for kind in ("listeners", "clusters"))
CHAIN = LISTENER["filter_chains"][0]
MANAGER = CHAIN["filters"][0]["typed_config"]
RATES = MANAGER["http_filters"][0]["typed_config"]
HOST = MANAGER["route_config"]["virtual_hosts"][0]
ROUTES = HOST["routes"]
UPSTREAM_HTTP = next(iter(CLUSTER["typed_extension_protocol_options"].values()))


def test_an_unfinished_nginx_file_is_refused() -> None:
    assert parse_nginx("a b 'c d'; # e\nf { g; }") == [(["a", "b", "c d"], []), (["f"], [(["g"], [])])]
    for text in ("a", "a { b; ", "a { b }", "a; }"):
        with pytest.raises(ValueError, match=r"brace|ends"):
            parse_nginx(text)


def test_nginx_has_the_limits_of_the_service() -> None:
    # Of the http block: a server's own would not hold before the client has said which server it wants.
    buffers, size = values(HTTP, "large_client_header_buffers")
    assert int(buffers) * number(size) == SETTINGS.max_head_bytes
    assert number(*values(HTTP, "client_max_body_size")) == SETTINGS.max_body_bytes
    assert number(*values(HTTP, "client_header_timeout")) == SETTINGS.head_seconds
    assert number(*values(HTTP, "client_body_timeout")) == SETTINGS.body_seconds
    assert number(*values(HTTP, "keepalive_timeout")) == SETTINGS.idle_seconds
    assert number(*values(HTTP, "send_timeout")) == SETTINGS.answer_seconds
    assert int(values(SERVER, "limit_conn")[1]) == SETTINGS.requests * SETTINGS.client_share
    assert number(*values(SERVER, "proxy_read_timeout")) == SILENT_SECONDS
    assert number(*values(inside(SERVER, "location", "=", "/concepts"), "proxy_read_timeout")) == SETTINGS.list_seconds


def test_nginx_has_the_connections_of_the_service_and_its_clients() -> None:
    assert number(option(values(UPSTREAM, "server"), "max_conns")) == SETTINGS.connections
    assert number(*values(UPSTREAM, "keepalive_timeout")) < SETTINGS.idle_seconds
    workers = number(*values(inside(MAIN, "events"), "worker_connections"))
    assert 2 * SETTINGS.connections < workers < number(*values(MAIN, "worker_rlimit_nofile"))
    assert values(SERVER, "proxy_http_version") == ["1.1"]
    assert values(SERVER, "proxy_set_header", "Connection") == [""]


def test_nginx_keeps_no_bodies_and_no_answers() -> None:
    assert values(SERVER, "proxy_request_buffering") == ["off"]
    assert values(SERVER, "proxy_buffering") == ["off"]


def test_nginx_says_who_asks_and_for_which_host() -> None:
    assert values(SERVER, "proxy_set_header", "X-Forwarded-For") == ["$remote_addr"]
    assert values(SERVER, "proxy_set_header", "X-Forwarded-Proto") == ["$scheme"]
    assert values(SERVER, "proxy_set_header", "Host") == ["$host"]
    # A location with a proxy_set_header of its own would have none of the server's.
    inner = [words[0] for _, block in SERVER for words, _ in block]
    assert "proxy_set_header" not in inner
    assert {words[0] for words in (values(HTTP, "limit_conn_zone"), values(HTTP, "limit_req_zone"))} == {"$client"}


def test_nginx_does_not_show_the_metrics() -> None:
    assert values(inside(SERVER, "location", "=", "/metrics"), "return")[0] == "403"
    assert values(inside(SERVER, "location", "/"), "proxy_pass") == ["http://clipmine"]


def test_envoy_has_the_limits_of_the_service() -> None:
    assert MANAGER["max_request_headers_kb"] << 10 == SETTINGS.max_head_bytes
    assert number(MANAGER["request_headers_timeout"]) == SETTINGS.head_seconds
    assert number(CHAIN["transport_socket_connect_timeout"]) == SETTINGS.head_seconds
    assert number(LISTENER["listener_filters_timeout"]) == SETTINGS.head_seconds
    assert number(MANAGER["request_timeout"]) == SETTINGS.head_seconds + SETTINGS.body_seconds
    assert number(MANAGER["common_http_protocol_options"]["idle_timeout"]) == SETTINGS.idle_seconds
    assert number(MANAGER["stream_idle_timeout"]) == SETTINGS.answer_seconds
    assert number(MANAGER["stream_flush_timeout"]) == SETTINGS.answer_seconds


def test_envoy_refuses_long_bodies_first_and_waits_as_long_as_the_service_works() -> None:
    metrics, long_body, concepts, rest = ROUTES
    assert metrics["match"] == {"path": "/metrics"}
    assert metrics["direct_response"]["status"] == 403
    (length,) = long_body["match"]["headers"]
    assert (long_body["match"]["prefix"], length["name"]) == ("/", "content-length")
    assert length["range_match"] == {"start": SETTINGS.max_body_bytes + 1, "end": (1 << 63) - 1}
    assert long_body["direct_response"]["status"] == 413
    assert concepts["match"] == {"path": "/concepts"}
    assert number(concepts["route"]["idle_timeout"]) == SETTINGS.list_seconds
    assert number(rest["route"]["idle_timeout"]) == SILENT_SECONDS
    assert concepts["route"]["timeout"] == rest["route"]["timeout"] == "0s"  # of a whole answer, also of a stream


def test_envoy_has_the_connections_of_the_service() -> None:
    (thresholds,) = CLUSTER["circuit_breakers"]["thresholds"]
    assert set(thresholds.values()) == {SETTINGS.connections}
    (monitor,) = yaml.safe_load(ENVOY)["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == SETTINGS.connections
    assert number(UPSTREAM_HTTP["common_http_protocol_options"]["idle_timeout"]) < SETTINGS.idle_seconds
    assert "http_protocol_options" in UPSTREAM_HTTP["explicit_http_config"]


def test_envoy_says_who_asks() -> None:
    (added,) = MANAGER["route_config"]["request_headers_to_add"]
    assert added["header"]["key"] == "x-forwarded-for"
    assert added["header"]["value"] == "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
    assert added["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
    assert MANAGER["use_remote_address"] is True


def test_both_have_the_same_names_files_and_rates() -> None:
    bucket = RATES["descriptors"][0]["token_bucket"]
    assert (
        option(values(HTTP, "limit_req_zone"), "rate") == f"{bucket['tokens_per_fill']}r/{bucket['fill_interval'][1:]}"
    )
    assert number(option(values(SERVER, "limit_req"), "burst")) == bucket["max_tokens"]
    assert values(SERVER, "server_name") == CHAIN["filter_chain_match"]["server_names"] == HOST["domains"][:1]
    (certificate,) = CHAIN["transport_socket"]["typed_config"]["common_tls_context"]["tls_certificates"]
    assert values(SERVER, "ssl_certificate") == [certificate["certificate_chain"]["filename"]]
    assert values(SERVER, "ssl_certificate_key") == [certificate["private_key"]["filename"]]
    endpoint = CLUSTER["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert values(UPSTREAM, "server")[0] == f"{endpoint['address']}:{endpoint['port_value']}"
