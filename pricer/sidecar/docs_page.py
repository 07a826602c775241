"""The page `/docs`: every path and message, to read and to try, made of the OpenAPI document and the protocol.

All text goes through `escape`. Scripts and styles are files of this server: the page works without any other address.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

import orjson
from pydantic import BaseModel

from pricer.sidecar import protocol
from pricer.sidecar.encodings import ENCODINGS

# What each part of the document is about, in the order of the page.
PARTS = {
    "chain": "Chains",
    "surface": "Surfaces and smiles",
    "forward": "Forwards",
    "instrument": "One option",
    "valuation": "Any contract, any scenario",
    "history": "History",
    "schemas": "Schemas",
    "health": "Health",
    "admin": "Operating",
}
MESSAGES = {
    "welcome": "Once, first: the session, the server's limits and its clocks.",
    "snapshot": "Every row. Keep its seq and the order of its rows.",
    "delta": "The rows that changed, with the next seq.",
    "heartbeat": "Nothing to say, and the seq that you have. Longer silence than 12 s is a dead connection.",
    "gap": "You were too slow: from and to were dropped; a snapshot with seq = to follows.",
    "resumed": "The messages that you missed follow, in place of a snapshot.",
    "unsubscribed": "No more of this stream.",
    "pong": "The server's clocks.",
    "error": "A code for programs and a line for people; the connection is kept.",
}
FIELDS = {
    "channel": "One of the channels above.",
    "underlying": "As `/v1/underlyings` lists it.",
    "venue": "The configured one by default.",
    "instrument": "`depth` needs one, `trades` may have one.",
    "columns": "Value columns, all by default; statuses come along by themselves.",
    "expiries": 'A list of `"25DEC26"` or `"2026-12-25"`, or `{"first": 3}`.',
    "strikes": 'A window around the forward: `{"count": 10}`, `{"percent": 20}` or `{"delta": 0.1}`.',
    "interval_ms": "A slower pace of your own.",
    "session": "With `stream` and `seq`, what you last had: the missed messages come, where the server still has them.",
    "stream": "See `session`: the one that the last snapshot named.",
    "seq": "See `session`.",
    "token": "The token, where none came with the handshake.",
}
FORMATS = (
    ("json", "application/json", "everything; what you get without asking"),
    ("csv", "text/csv", "the table; reasons joined by |"),
    ("msgpack", "application/msgpack", "everything; columns as raw little-endian bytes"),
    ("arrow", "application/vnd.apache.arrow.stream", "the table; the other fields in the schema's metadata"),
)
LINKS = {
    "/": "The dashboard",
    "/openapi.json": "OpenAPI",
    "/asyncapi.json": "AsyncAPI",
    "/volstream.proto": "volstream.proto",
    "/schemas": "JSON Schemas",
}
FIRST_REQUESTS = """{"op": "subscribe", "channel": "chain", "underlying": "BTC", "columns": ["iv", "delta"]}
{"op": "unsubscribe", "channel": "chain", "underlying": "BTC"}
{"op": "ping"}"""


def docs_page(openapi: dict[str, Any]) -> str:
    """The whole page."""
    info = openapi["info"]
    groups = _groups(openapi)
    parts = [*((tag, PARTS.get(tag, tag.capitalize())) for tag in groups), ("websocket", "WebSocket")]
    links = "".join(f'<li><a href="#{escape(tag)}">{escape(title)}</a></li>' for tag, title in parts)
    body = "".join(_group(tag, operations) for tag, operations in groups.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>volstream API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<link rel="icon" href="/web/icon.svg"><link rel="stylesheet" href="/web/docs.css">'
        '<script type="module" src="/web/docs.js"></script></head><body>'
        f"<header><h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info['description'])}</p>"
        f'<p class="links">{_links()}</p></header>'
        f'<nav aria-label="Parts"><ul>{links}</ul></nav>'
        f"<main>{_ground_rules()}{body}{_websocket()}</main></body></html>"
    )


def _links() -> str:
    return "".join(f'<a href="{address}">{escape(title)}</a>' for address, title in LINKS.items())


def _groups(openapi: dict[str, Any]) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    """Operations by their tag, known parts first."""
    found: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, verbs in openapi["paths"].items():
        for verb, operation in verbs.items():
            found.setdefault((operation.get("tags") or ["other"])[0], []).append((path, verb, operation))
    order = [*(tag for tag in PARTS if tag in found), *(tag for tag in found if tag not in PARTS)]
    return {tag: found[tag] for tag in order}


def _ground_rules() -> str:
    rows = "".join(
        f"<tr><td><code>?format={name}</code></td><td><code>{media}</code></td><td>{escape(what)}</td></tr>"
        for name, media, what in FORMATS
    )
    return (
        '<section class="rules"><h2>Before you begin</h2><ul>'
        "<li>Every value has a <b>status</b> (OK, DEGRADED, STALE, INVALID) and <b>reasons</b>. Trade on OK.</li>"
        "<li>No value is <code>null</code>, never 0. Instants are integer nanoseconds.</li>"
        "<li><code>seq</code> and <code>etag</code> say whether anything has changed: with "
        "<code>If-None-Match</code> the answer is 304 until then.</li>"
        '<li>An error is <code>{"code": ..., "detail": ...}</code>; the detail names the field and the value.</li></ul>'
        f'<div class="scroll"><table><tr><th>format</th><th>Accept</th><th>holds</th></tr>{rows}</table></div>'
        '<form id="access"><label class="token">Token, where one is asked for <input id="token" type="password" '
        'autocomplete="off" placeholder="kept in this page only"></label></form></section>'
    )


def _group(tag: str, operations: list[tuple[str, str, dict[str, Any]]]) -> str:
    inner = "".join(_operation(*each) for each in operations)
    return f'<section id="{escape(tag)}"><h2>{escape(PARTS.get(tag, tag.capitalize()))}</h2>{inner}</section>'


def _operation(path: str, verb: str, operation: dict[str, Any]) -> str:
    answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return (
        f'<article><h3><b class="{escape(verb)}">{escape(verb.upper())}</b> <code>{_breakable(path)}</code></h3>'
        f"{_paragraphs(operation.get('description', ''))}{_needs(operation)}{_parameters(operation)}"
        f"{_try(path, verb, operation, body.get('example'))}"
        f"{_example('An answer, shortened', answer.get('example'))}{_statuses(operation)}</article>"
    )


def _needs(operation: dict[str, Any]) -> str:
    """The token that is asked for."""
    scopes = [
        f"<code>{escape(word)}</code>" for each in operation.get("security", ()) for word in each.get("bearer", ())
    ]
    return f'<p class="needs">Asks for a token with the scope {" and ".join(scopes)}.</p>' if scopes else ""


def _breakable(path: str) -> str:
    """A narrow screen breaks a path before its slashes."""
    return escape(path).replace("/", "<wbr>/")


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_words(part.strip())}</p>" for part in text.split("\n\n") if part.strip())


def _words(text: str) -> str:
    """Text for reading: what stands between backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _parameters(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<dt><code>{escape(p['name'])}</code> <i>{escape(p['in'])}{', required' if p.get('required') else ''}</i></dt>"
        f"<dd>{_words(p.get('description', ''))}</dd>"
        for p in operation.get("parameters", ())
    )
    return f"<dl>{rows}</dl>" if rows else ""


def _try(path: str, verb: str, operation: dict[str, Any], example: Any) -> str:
    """A small form; /web/docs.js sends it."""
    fields = "".join(
        f'<label>{escape(p["name"])} <input name="{escape(p["name"])}" data-in="{escape(p["in"])}"'
        f'{" required" if p.get("required") else ""} autocomplete="off" spellcheck="false"></label>'
        for p in operation.get("parameters", ())
    )
    if example is not None:
        text = escape(orjson.dumps(example, option=orjson.OPT_INDENT_2).decode())
        rows = min(text.count("\n") + 2, 12)
        area = f'<textarea name="body" rows="{rows}" spellcheck="false">{text}</textarea>'
        fields += f'<label class="wide">body {area}</label>'
    return (
        f'<details class="try"><summary>Try it</summary><form data-path="{escape(path)}" data-method="{escape(verb)}">'
        f'{fields}<button>Send</button><output aria-live="polite"></output><pre hidden></pre></form></details>'
    )


def _example(title: str, example: Any) -> str:
    if example is None:
        return ""
    text = escape(orjson.dumps(example, option=orjson.OPT_INDENT_2).decode())
    return f"<details><summary>{escape(title)}</summary><pre>{text}</pre></details>"


def _statuses(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<dt><code>{escape(status)}</code></dt><dd>{_words(response.get('description', ''))}</dd>"
        for status, response in operation["responses"].items()
        if status != "200"
    )
    return f'<details><summary>Other answers</summary><dl class="codes">{rows}</dl></details>' if rows else ""


def _websocket() -> str:
    """The protocol in short: what may be sent, what comes, what may go wrong."""
    requests = "".join(_request(model) for model in (protocol.Subscribe, protocol.Unsubscribe, protocol.Ping))
    messages = "".join(f"<dt><code>{name}</code></dt><dd>{escape(text)}</dd>" for name, text in MESSAGES.items())
    codes = "".join(f"<li><code>{escape(code)}</code></li>" for code in protocol.CODES)
    encodings = "".join(f"<li><code>{escape(name)}</code></li>" for name in ENCODINGS)
    channels = "".join(f"<li><code>{escape(name)}</code></li>" for name in protocol.CHANNELS)
    return (
        '<section id="websocket"><h2>WebSocket</h2><article><h3><b class="ws">WS</b> <code>/v1/stream</code></h3>'
        "<p>A snapshot, then only what changed. Equal subscriptions share one stream, whose seq rises by one with each "
        "message; a number that is missing is told by a gap, never by silence.</p>"
        "<p>Every message and request is described for programs, too: "
        '<a href="/schemas">JSON Schemas</a>, <a href="/asyncapi.json">AsyncAPI</a>, '
        '<a href="/volstream.proto">volstream.proto</a>.</p>'
        f'<pre>{escape(FIRST_REQUESTS)}</pre><h4>Channels</h4><ul class="words">{channels}</ul>'
        f'<h4>Encodings, as subprotocols</h4><ul class="words">{encodings}</ul>'
        f"<h4>What you may send</h4>{requests}<h4>What comes</h4><dl>{messages}</dl>"
        f'<h4>Codes of errors</h4><ul class="words">{codes}</ul></article></section>'
    )


def _request(model: type[BaseModel]) -> str:
    fields = "".join(
        f"<dt><code>{escape(name)}</code>{' <i>required</i>' if field.is_required() else ''}</dt>"
        f"<dd>{_words(field.description or FIELDS.get(name, ''))}</dd>"
        for name, field in model.model_fields.items()
        if name != "op"
    )
    about = " ".join((model.__doc__ or "").split())
    return (
        f"<h5><code>{escape(model.__name__.lower())}</code></h5><p>{_words(about)}</p>"
        f"{f'<dl>{fields}</dl>' if fields else ''}"
    )
