"""Providers' protocols, scripted with Python's standard library alone: Messages, Chat Completions, Responses, Gemini, and on
Bedrock Claude and Converse (events in Amazon's frames). One port serves them all, as each provider's own path. Prints its URL.

The newest text says what is wanted:
    describe   a text that tells what the request held, so that nothing can get lost unseen
    tools      two calls of `weather` at once, and when their results are there a text that has them
    injected   the same with a call of `notes__add`, if there is such a tool
    both       both kinds of calls at once
    limit      the provider's 429, to be tried again after 7 seconds
    other      "Hello, wörld.", in several pieces
"""

import base64
import binascii
import itertools
import json
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CITIES = ("Oslo", "Rom")
# No two items of a provider have one id.
ANSWERS = itertools.count(1)
TOKENS = {"input": 30, "output": 9}


class Asked:
    """A request, whatever its protocol."""

    def __init__(self):
        self.system, self.text, self.tools, self.images, self.results, self.limit, self.stream = "", "", [], [], [], None, False

    def description(self):
        return f"system={self.system.strip()};tools={','.join(sorted(self.tools))};images={','.join(self.images)};limit={self.limit}"


def parts(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def read_messages(body):
    asked = Asked()
    asked.system = "".join(p["text"] for p in parts(body.get("system")))
    asked.tools = [t["name"] for t in body.get("tools", [])]
    asked.limit = body["max_tokens"]
    for message in body["messages"]:
        for part in parts(message["content"]):
            if part["type"] == "text" and message["role"] == "user":
                asked.text = part["text"]
            elif part["type"] == "image":
                asked.images.append(part["source"]["media_type"])
            elif part["type"] == "tool_result":
                asked.results.append("".join(p["text"] for p in parts(part["content"])))
    return asked


def read_chat(body):
    asked = Asked()
    asked.tools = [t["function"]["name"] for t in body.get("tools", [])]
    asked.limit = body.get("max_completion_tokens", body.get("max_tokens"))
    for message in body["messages"]:
        texts = "".join(p.get("text", "") for p in parts(message.get("content")))
        if message["role"] in ("system", "developer"):
            asked.system += texts
        elif message["role"] == "tool":
            asked.results.append(texts)
        elif message["role"] == "user":
            asked.text = texts or asked.text
            asked.images += [mime(p["image_url"]["url"]) for p in parts(message["content"]) if p["type"] == "image_url"]
    return asked


def read_responses(body):
    asked = Asked()
    asked.system = body.get("instructions") or ""
    asked.tools = [t["name"] for t in body.get("tools", [])]
    asked.limit = body.get("max_output_tokens")
    items = body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        if item.get("type") == "function_call_output":
            asked.results.append(item["output"])
        elif item.get("role") in ("system", "developer"):
            asked.system += "".join(p.get("text", "") for p in parts(item["content"]))
        elif item.get("role") == "user":
            for part in parts(item["content"]):
                asked.text = part.get("text", asked.text)
                if part["type"] == "input_image":
                    asked.images.append(mime(part["image_url"]))
    return asked


def read_gemini(body):
    asked = Asked()
    asked.system = "".join(p.get("text", "") for p in body.get("systemInstruction", {}).get("parts", []))
    asked.tools = [f["name"] for t in body.get("tools", []) for f in t["functionDeclarations"]]
    asked.limit = body.get("generationConfig", {}).get("maxOutputTokens")
    for content in body["contents"]:
        for part in content["parts"]:
            if "text" in part and content["role"] == "user":
                asked.text = part["text"]
            elif "inlineData" in part:
                asked.images.append(part["inlineData"]["mimeType"])
            elif "functionResponse" in part:
                assert part["functionResponse"]["name"] in ("weather", "notes__add"), part
                asked.results.append(part["functionResponse"]["response"]["output"])
    return asked


def mime(url):
    return url.removeprefix("data:").split(";")[0]


def script(asked):
    """What is answered: a text in pieces, or the calls."""
    if "describe" in asked.text:
        return [asked.description()], []
    wanted = [("call_add", {"a": 20, "b": 22})] if "notes__add" in asked.tools and asked.text in ("injected", "both") else []
    if asked.text in ("tools", "both"):
        wanted += [(f"call_{city}", {"city": city}) for city in CITIES]
    if wanted and not asked.results:
        return ["I look."], wanted
    if asked.results:
        return ["It is ", " and ".join(asked.results), "."], []
    return ["Hello", ", wör", "ld."], []


def tool_of(id):
    return "notes__add" if id == "call_add" else "weather"


# Messages


def messages_whole(pieces, calls):
    content = [{"type": "text", "text": "".join(pieces)}]
    content += [{"type": "tool_use", "id": f"toolu_{id}", "name": tool_of(id), "input": arguments} for id, arguments in calls]
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_sequence": None,
        "stop_reason": "tool_use" if calls else "end_turn",
        "usage": {"input_tokens": TOKENS["input"], "output_tokens": TOKENS["output"]},
    }


def messages_events(pieces, calls):
    whole = messages_whole(pieces, calls)
    usage = {"input_tokens": TOKENS["input"], "output_tokens": 1}
    yield {"type": "message_start", "message": whole | {"content": [], "stop_reason": None, "usage": usage}}
    for index, block in enumerate(whole["content"]):
        if block["type"] == "text":
            yield {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        else:
            yield {"type": "content_block_start", "index": index, "content_block": block | {"input": {}}}
            text = json.dumps(block["input"])
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", text[:5], text[5:])]
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None}, "usage": {"output_tokens": TOKENS["output"]}}
    yield {"type": "message_stop"}


# Chat Completions


def chat_usage():
    return {"prompt_tokens": TOKENS["input"], "completion_tokens": TOKENS["output"], "total_tokens": sum(TOKENS.values())}


def chat_calls(calls):
    return [{"id": id, "type": "function", "function": {"name": tool_of(id), "arguments": json.dumps(a)}} for id, a in calls]


def chat_whole(pieces, calls):
    message = {"role": "assistant", "content": "".join(pieces)} | ({"tool_calls": chat_calls(calls)} if calls else {})
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return {"id": "c_1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": chat_usage()}


def chat_events(pieces, calls):
    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "c_1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces:
        yield chunk({"content": piece})
    for index, call in enumerate(chat_calls(calls)):
        arguments = call["function"]["arguments"]
        yield chunk({"tool_calls": [call | {"index": index, "function": call["function"] | {"arguments": ""}}]})
        for part in (arguments[:5], arguments[5:]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield chunk({}, "tool_calls" if calls else "stop")
    yield chunk({}) | {"choices": [], "usage": chat_usage()}


# Responses


def responses_whole(pieces, calls):
    text = {"type": "output_text", "text": "".join(pieces), "annotations": []}
    output = [{"type": "message", "id": f"m_{next(ANSWERS)}", "role": "assistant", "status": "completed", "content": [text]}]
    output += [
        {"type": "function_call", "id": f"f_{id}", "call_id": id, "name": tool_of(id), "arguments": json.dumps(a), "status": "completed"}
        for id, a in calls
    ]
    usage = {
        "input_tokens": TOKENS["input"], "output_tokens": TOKENS["output"], "total_tokens": sum(TOKENS.values()),
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": "r_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": output, "usage": usage,
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }


def responses_events(pieces, calls):
    whole = responses_whole(pieces, calls)
    events = [{"type": "response.created", "response": whole | {"status": "in_progress", "output": [], "usage": None}}]
    for index, item in enumerate(whole["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            events.append({"type": "response.output_item.added", "output_index": index, "item": item | {"content": [], "status": "in_progress"}})
            place |= {"content_index": 0}
            part = item["content"][0]
            events.append({"type": "response.content_part.added", "part": part | {"text": ""}} | place)
            events += [{"type": "response.output_text.delta", "delta": piece, "logprobs": []} | place for piece in pieces]
            events.append({"type": "response.output_text.done", "text": part["text"], "logprobs": []} | place)
            events.append({"type": "response.content_part.done", "part": part} | place)
        else:
            events.append({"type": "response.output_item.added", "output_index": index, "item": item | {"arguments": "", "status": "in_progress"}})
            events += [
                {"type": "response.function_call_arguments.delta", "delta": part} | place
                for part in (item["arguments"][:5], item["arguments"][5:])
            ]
            events.append({"type": "response.function_call_arguments.done", "arguments": item["arguments"], "name": item["name"]} | place)
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return [event | {"sequence_number": number} for number, event in enumerate(events)]


# Gemini


def gemini_chunk(contents, finish=None):
    candidate = {"content": {"role": "model", "parts": contents}, "index": 0} | ({"finishReason": finish} if finish else {})
    usage = {"promptTokenCount": TOKENS["input"], "candidatesTokenCount": TOKENS["output"], "totalTokenCount": sum(TOKENS.values())}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "g_1"}


def gemini_calls(calls):
    return [{"functionCall": {"name": tool_of(id), "args": arguments}} for id, arguments in calls]


def gemini_whole(pieces, calls):
    return gemini_chunk([{"text": "".join(pieces)}] + gemini_calls(calls), "STOP")


def gemini_events(pieces, calls):
    # Parallel calls come one to a chunk.
    chunks = [[{"text": piece}] for piece in pieces] + [[call] for call in gemini_calls(calls)]
    for chunk in chunks[:-1]:
        yield gemini_chunk(chunk)
    yield gemini_chunk(chunks[-1], "STOP")


# Converse


def read_converse(body):
    asked = Asked()
    asked.system = "".join(p["text"] for p in body.get("system", []))
    asked.tools = [t["toolSpec"]["name"] for t in body.get("toolConfig", {}).get("tools", [])]
    asked.limit = body["inferenceConfig"].get("maxTokens")
    assert not {"model", "stream", "max_tokens"} & set(body), body
    for message in body["messages"]:
        for part in message["content"]:
            if "text" in part and message["role"] == "user":
                asked.text = part["text"]
            elif "image" in part:
                base64.b64decode(part["image"]["source"]["bytes"], validate=True)
                asked.images.append("image/" + part["image"]["format"])
            elif "toolResult" in part:
                asked.results.append("".join(p["text"] for p in part["toolResult"]["content"]))
    assert asked.tools or not asked.results, "results without a definition of a tool"
    return asked


def converse_usage():
    return {"inputTokens": TOKENS["input"], "outputTokens": TOKENS["output"], "totalTokens": sum(TOKENS.values())}


def converse_whole(pieces, calls):
    content = [{"text": "".join(pieces)}]
    content += [{"toolUse": {"toolUseId": f"tooluse_{id}", "name": tool_of(id), "input": arguments}} for id, arguments in calls]
    return {
        "output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use" if calls else "end_turn",
        "usage": converse_usage(), "metrics": {"latencyMs": 12},
    }


def converse_events(pieces, calls):
    yield "messageStart", {"role": "assistant"}
    for piece in pieces:
        yield "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}}
    yield "contentBlockStop", {"contentBlockIndex": 0}
    for index, (id, arguments) in enumerate(calls, 1):
        yield "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": f"tooluse_{id}", "name": tool_of(id)}}}
        text = json.dumps(arguments)
        for part in (text[:5], text[5:]):
            yield "contentBlockDelta", {"contentBlockIndex": index, "delta": {"toolUse": {"input": part}}}
        yield "contentBlockStop", {"contentBlockIndex": index}
    yield "messageStop", {"stopReason": "tool_use" if calls else "end_turn"}
    yield "metadata", {"usage": converse_usage(), "metrics": {"latencyMs": 12}}


# Embeddings


def embeddings(body):
    """Vectors that tell what was asked: the text's length, the number of dimensions, and a fraction that only survives untouched."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = [[float(len(text)), float(body.get("dimensions", 0)), 0.1] for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": TOKENS["input"], "total_tokens": TOKENS["input"]}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def frame(event):
    return framed("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})


def framed(kind, event):
    payload = json.dumps(event).encode()
    headers = b""
    for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", binascii.crc32(message))


def named(event):
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def unnamed(event):
    return f"data: {json.dumps(event)}\n\n".encode()


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.split("?")[0]
        stream = body.get("stream", False)
        if path == "/v1/messages":
            read, whole, events, line, key = read_messages, messages_whole, messages_events, named, "x-api-key"
            error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
        elif path == "/v1/chat/completions":
            read, whole, events, line, key = read_chat, chat_whole, chat_events, unnamed, "authorization"
            error = {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
        elif path == "/v1/embeddings":
            assert self.headers["authorization"], "no authorization on /v1/embeddings"
            return self.answer(200, "application/json", [json.dumps(embeddings(body)).encode()])
        elif path == "/v1/responses":
            read, whole, events, line, key = read_responses, responses_whole, responses_events, named, "authorization"
            error = {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
        elif path.startswith("/v1beta/models/"):
            stream = path.endswith(":streamGenerateContent")
            read, whole, events, line, key = read_gemini, gemini_whole, gemini_events, unnamed, "x-goog-api-key"
            error = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
        elif path.endswith(("/converse", "/converse-stream")):
            assert path.startswith("/model/eu.amazon.nova-matrix-v1%3A0/"), path
            stream = path.endswith("-stream")
            read, whole, events, key = read_converse, converse_whole, converse_events, "authorization"
            error = {"message": "slow down"}

            def line(event):
                return framed(*event)

        else:
            assert path.startswith("/model/") and "anthropic_version" in body and "model" not in body, (path, body)
            stream = path.endswith("/invoke-with-response-stream")
            read, whole, events, line, key = read_messages, messages_whole, messages_events, frame, "authorization"
            error = {"message": "slow down"}
        assert self.headers[key], f"no {key} on {path}"
        asked = read(body)
        if asked.text == "limit":
            return self.answer(429, "application/json", [json.dumps(error).encode()], [("retry-after", "7")])
        pieces, calls = script(asked)
        if not stream:
            return self.answer(200, "application/json", [json.dumps(whole(pieces, calls), ensure_ascii=False).encode()])
        chunks = [line(event) for event in events(pieces, calls)]
        if path == "/v1/chat/completions":
            if not body.get("stream_options", {}).get("include_usage"):
                chunks.pop()
            chunks.append(b"data: [DONE]\n\n")
        # Cut where no event ends: pieces of a stream mean nothing.
        all = b"".join(chunks)
        kind = "application/vnd.amazon.eventstream" if path.startswith("/model/") else "text/event-stream"
        self.answer(200, kind, [all[at : at + 77] for at in range(0, len(all), 77)])

    def answer(self, status, kind, pieces, headers=()):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
