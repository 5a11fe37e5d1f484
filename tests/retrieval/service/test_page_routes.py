from __future__ import annotations

import re

import httpx


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline(url: str) -> None:
    for path in ("/", "/page/main.js", "/page/page.css", "/page/no-such-file"):
        policy = httpx.get(f"{url}{path}").headers["Content-Security-Policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["img-src"] == "'self' data: blob:"
        assert rules["require-trusted-types-for"] == "'script'"


def test_assets_are_a_fixed_list_and_cached_by_their_content(url: str) -> None:
    page = httpx.get(url).text
    names = re.findall(r'(?:src|href)="page/([^"]+)"', page)
    assert "main.js" in names
    for name in names:
        first = httpx.get(f"{url}/page/{name}")
        assert first.status_code == 200
        again = httpx.get(f"{url}/page/{name}", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    for name in ("index.html", "..%2fapp.py", "..%2F..%2F__init__.py", "nothing.js"):
        answer = httpx.get(f"{url}/page/{name}")
        assert answer.status_code == 404
        assert "error" in answer.json()
