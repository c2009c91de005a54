"""The page at `/docs`: every route with its schemas, without scripts and without the internet."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px system-ui,sans-serif;max-width:60rem;"
    "margin:2rem auto;padding:0 1rem}pre{overflow:auto;padding:.8rem;border:1px solid #888;"
    "border-radius:6px;font-size:13px}code{font-family:ui-monospace,monospace}"
)


def docs_page(schema: Mapping[str, Any]) -> str:
    """An HTML page for an OpenAPI schema: routes first, then the models that they refer to."""
    title = escape(schema["info"]["title"])
    body = "".join(
        _route(path, *one) for path, ways in schema["paths"].items() for one in ways.items()
    )
    models = "".join(
        f'<h3 id="{escape(name)}"><code>{escape(name)}</code></h3>{_json(model)}'
        for name, model in schema.get("components", {}).get("schemas", {}).items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>The same for programs: "
        f'<a href="/openapi.json">openapi.json</a>.</p>{body}<h2>Models</h2>{models}</body></html>'
    )


def _route(path: str, method: str, described: Mapping[str, Any]) -> str:
    parts = [f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"]
    parts.append(f"<p>{escape(described.get('description', ''))}</p>")
    if "requestBody" in described:
        parts.append("<h3>Request</h3>" + "".join(_contents(described["requestBody"])))
    for status, answer in described["responses"].items():
        parts.append(f"<h3>{escape(status)}: {escape(answer.get('description', ''))}</h3>")
        parts += _contents(answer)
    return "".join(parts)


def _contents(part: Mapping[str, Any]) -> Iterator[str]:
    for content in part.get("content", {}).values():
        if schema := content.get("schema"):
            yield _json(schema)


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
