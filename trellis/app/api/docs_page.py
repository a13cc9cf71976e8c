"""The documentation page: the OpenAPI document as plain HTML, because the usual viewers load scripts from elsewhere."""

from collections.abc import Mapping
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } h3 { margin: 1.6rem 0 .3rem; font-family: ui-monospace, monospace; font-size: 1rem; }
h3 b { display: inline-block; min-width: 4.2rem; } table { border-collapse: collapse; margin: .4rem 0; width: 100%; }
td, th { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding: .25rem .6rem .25rem 0;
  text-align: left; vertical-align: top; } code { font-family: ui-monospace, monospace; }
"""


def docs_page(document: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["Other"])[0]
            groups.setdefault(tag, []).append(_operation(document, method, path, operation))
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(parts)}" for tag, parts in groups.items())
    title = escape(document["info"]["title"])
    about = escape(document["info"].get("description", ""))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f'<h1>{title}</h1><p>{about}</p><p><a href="openapi.json">openapi.json</a> is the same for programs.</p>'
        f"{sections}</body></html>"
    )


def _operation(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = [_row(item["name"], item["in"], item["schema"]) for item in operation.get("parameters", ())]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        rows += [_row(name, kind, schema) for name, schema in content["schema"].get("properties", {}).items()]
    answers = "; ".join(
        f"<code>{escape(status)}</code> {escape(answer.get('description', ''))}"
        for status, answer in operation["responses"].items()
    )
    table = f"<table><tr><th>Field<th>In<th>Values<th></tr>{''.join(rows)}</table>" if rows else ""
    return (
        f"<h3><b>{escape(method.upper())}</b> {escape(path)}</h3><p>{escape(operation.get('description', ''))}</p>"
        f"{table}<p>{answers}</p>"
    )


def _row(name: str, place: str, schema: Mapping[str, Any]) -> str:
    cells = (
        f"<code>{escape(name)}</code>",
        escape(place),
        escape(_values(schema)),
        escape(schema.get("description", "")),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _values(schema: Mapping[str, Any]) -> str:
    """The values that a schema allows, in words."""
    if "anyOf" in schema:
        words = " or ".join(_values(part) for part in schema["anyOf"])
    elif "const" in schema:
        words = repr(schema["const"])
    elif "enum" in schema:
        words = ", ".join(str(value) for value in schema["enum"])
    elif schema.get("type") == "array":
        words = f"list of {_values(schema['items'])}"
    else:
        words = str(schema.get("format") or schema.get("type", "any"))
        low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
        if low is not None and high is not None:
            words += f" {'above' if 'exclusiveMinimum' in schema else 'from'} {low:.10g} to {high:.10g}"
    default = schema.get("default")
    return words if default is None else f"{words}; default {default}"
