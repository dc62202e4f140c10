"""The official anthropic and openai packages against the scripted model, directly or through the gateway.

Each check is a function whose name is the fact that it shows. Run it with --help.
"""

import argparse
import asyncio
import inspect
import json
import sys
import time

import anthropic
import openai

MODEL = "demo-scripted"
TOOLS = [
    {
        "name": name,
        "description": "A tool.",
        "input_schema": {"type": "object", "properties": {"path": {"type": "string"}, "command": {"type": "string"}}},
    }
    for name in ("list_files", "read_file", "write_file", "execute", "edit_file")
]
FUNCTIONS = [
    {"type": "function", "function": {"name": t["name"], "description": t["description"], "parameters": t["input_schema"]}}
    for t in TOOLS
]


def say(text):
    return [{"role": "user", "content": text}]


# Messages


def messages_plain_answer_with_usage(a, o):
    answer = a.messages.create(model=MODEL, max_tokens=500, messages=say("demo: ping"))
    assert answer.content[0].text == "Scripted pong.", answer
    assert answer.stop_reason == "end_turn" and answer.usage.output_tokens == 4 and answer.usage.input_tokens > 0, answer


def messages_stream_adds_up_to_the_plain_answer(a, o):
    plain = a.messages.create(model=MODEL, max_tokens=4000, messages=say("hello"))
    with a.messages.stream(model=MODEL, max_tokens=4000, messages=say("hello")) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 1 and "".join(pieces) == plain.content[0].text
    assert final.usage.output_tokens == plain.usage.output_tokens
    assert final.usage.input_tokens == plain.usage.input_tokens


def messages_long_stream_arrives_whole(a, o):
    with a.messages.stream(model=MODEL, max_tokens=100_000, messages=say("demo: long stream")) as stream:
        text = "".join(stream.text_stream)
    assert text == "This line is part of a long scripted stream.\n" * 400, len(text)


def messages_tool_calls_and_thinking_go_back_and_forth(a, o):
    history = say("demo: thinking")
    for turn in range(3):
        with a.messages.stream(model=MODEL, max_tokens=4000, messages=history, tools=TOOLS) as stream:
            answer = stream.get_final_message()
        kinds = [block.type for block in answer.content]
        assert kinds[0] == "thinking" and answer.content[0].signature, kinds
        history.append({"role": "assistant", "content": answer.content})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "README.md"}
            for block in answer.content
            if block.type == "tool_use"
        ]
        if not results:
            break
        assert answer.stop_reason == "tool_use"
        history.append({"role": "user", "content": results})
    assert turn == 2 and answer.stop_reason == "end_turn", (turn, answer)


def messages_parallel_tool_calls_keep_their_order(a, o):
    answer = a.messages.create(model=MODEL, max_tokens=4000, messages=say("demo: parallel tools"), tools=TOOLS)
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert [call.name for call in calls] == ["write_file", "write_file", "execute", "list_files"], calls
    assert calls[0].input == {"path": "a.txt", "content": "a\n"}


def messages_output_limit_is_a_stop_reason(a, o):
    answer = a.messages.create(model=MODEL, max_tokens=10, messages=say("demo: long stream"))
    assert answer.stop_reason == "max_tokens" and answer.usage.output_tokens == 10, answer


def messages_unknown_parts_do_not_disturb(a, o):
    with a.messages.stream(model=MODEL, max_tokens=4000, messages=say("demo: unknown parts")) as stream:
        assert "nobody knows" in "".join(stream.text_stream)


def messages_count_tokens(a, o):
    counted = a.messages.count_tokens(model=MODEL, messages=say("demo: ping"))
    answer = a.messages.create(model=MODEL, max_tokens=10, messages=say("demo: ping"))
    assert counted.input_tokens == answer.usage.input_tokens, (counted, answer.usage)


def messages_errors_have_their_classes(a, o):
    cases = [
        ("429", anthropic.RateLimitError),
        ("529", anthropic.APIStatusError),
        ("500", anthropic.InternalServerError),
        ("400", anthropic.BadRequestError),
    ]
    for status, kind in cases:
        error = raised(kind, lambda: a.messages.create(model=MODEL, max_tokens=10, messages=say(f"demo: error {status}")))
        assert error.status_code == int(status), error
        assert error.body["type"] == "error" and "scripted" in error.body["error"]["message"], error.body
        if status == "429":
            assert error.response.headers["retry-after"] == "1", error.response.headers


def messages_error_in_mid_stream_is_raised(a, o):
    def read():
        with a.messages.stream(model=MODEL, max_tokens=4000, messages=say("demo: stream error")) as stream:
            for _ in stream.text_stream:
                pass

    error = raised(anthropic.APIStatusError, read)
    assert "mid-stream" in str(error.body), error.body


def messages_models(a, o):
    ids = [model.id for model in a.models.list()]
    assert MODEL in ids, ids
    assert "cripted" in a.models.retrieve(MODEL).display_name


# Chat Completions


def chat_plain_answer_with_usage(a, o):
    answer = o.chat.completions.create(model=MODEL, messages=say("demo: ping"))
    assert answer.choices[0].message.content == "Scripted pong." and answer.choices[0].finish_reason == "stop", answer
    assert answer.usage.completion_tokens == 4
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def chat_stream_adds_up_and_has_usage_only_when_asked(a, o):
    plain = o.chat.completions.create(model=MODEL, messages=say("hello"))
    with_usage = list(
        o.chat.completions.create(model=MODEL, messages=say("hello"), stream=True, stream_options={"include_usage": True})
    )
    assert "".join(c.choices[0].delta.content or "" for c in with_usage if c.choices) == plain.choices[0].message.content
    assert with_usage[-1].usage == plain.usage and with_usage[-1].choices == [], with_usage[-1]
    without = list(o.chat.completions.create(model=MODEL, messages=say("hello"), stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in without)


def chat_tool_calls_go_back_and_forth(a, o):
    history = say("demo: steps")
    for turn in range(7):
        answer = o.chat.completions.create(model=MODEL, messages=history, tools=FUNCTIONS).choices[0]
        if answer.finish_reason == "stop":
            break
        assert answer.finish_reason == "tool_calls"
        call = answer.message.tool_calls[0]
        assert json.loads(call.function.arguments) == {"command": f"echo {turn + 1} >> steps.txt"}
        history.append(answer.message)
        history.append({"role": "tool", "tool_call_id": call.id, "content": ""})
    assert turn == 6, turn


def chat_streamed_tool_calls_add_up(a, o):
    with o.chat.completions.stream(model=MODEL, messages=say("demo: parallel tools"), tools=FUNCTIONS) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert [c.function.name for c in message.tool_calls] == ["write_file", "write_file", "execute", "list_files"]
    assert json.loads(message.tool_calls[1].function.arguments) == {"path": "b.txt", "content": "b\n"}


def chat_output_limit_is_a_finish_reason(a, o):
    answer = o.chat.completions.create(model=MODEL, messages=say("demo: long stream"), max_completion_tokens=10)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 10, answer


def chat_errors_have_their_classes(a, o):
    cases = [("429", openai.RateLimitError), ("500", openai.InternalServerError), ("400", openai.BadRequestError)]
    for status, kind in cases:
        error = raised(kind, lambda: o.chat.completions.create(model=MODEL, messages=say(f"demo: error {status}")))
        assert error.status_code == int(status) and "scripted" in error.message, error


def chat_error_in_mid_stream_is_raised(a, o):
    def read():
        for _ in o.chat.completions.create(model=MODEL, messages=say("demo: stream error"), stream=True):
            pass

    assert "mid-stream" in str(raised(openai.APIError, read))


def chat_models(a, o):
    assert MODEL in [model.id for model in o.models.list()]
    assert o.models.retrieve(MODEL).owned_by == "slipway-scripted"


# Both


def a_wrong_key_is_an_authentication_error(a, o):
    if not OPTIONS.token:
        return  # the scripted model takes any key
    wrong = OPTIONS.token[:-4] + "AAAA"
    raised(
        anthropic.AuthenticationError,
        lambda: client_of_anthropic(wrong).messages.create(model=MODEL, max_tokens=10, messages=say("demo: ping")),
    )
    raised(
        openai.AuthenticationError,
        lambda: client_of_openai(wrong).chat.completions.create(model=MODEL, messages=say("demo: ping")),
    )


def a_budget_that_does_not_cover_the_call_is_the_packages_own_error(a, o):
    if not OPTIONS.poor_token:
        return  # the scripted model knows no budgets
    poor = client_of_anthropic(OPTIONS.poor_token)
    for call in (
        lambda: poor.messages.create(model=MODEL, max_tokens=500, messages=say("demo: ping")),
        lambda: poor.messages.stream(model=MODEL, max_tokens=500, messages=say("demo: ping")).__enter__(),
    ):
        error = raised(anthropic.PaymentRequiredError, call)
        assert error.status_code == 402 and error.body["error"]["type"] == "billing_error", error.body
        assert "budget" in error.body["error"]["message"] and error.request_id, error.body
    poor = client_of_openai(OPTIONS.poor_token)
    for stream in (False, True):
        error = raised(
            openai.RateLimitError,
            lambda: poor.chat.completions.create(model=MODEL, messages=say("demo: ping"), max_completion_tokens=500, stream=stream),
        )
        assert error.code == "insufficient_quota" and "budget" in error.message, error


def a_model_without_a_price_is_not_permitted(a, o):
    if not OPTIONS.token:
        return
    for kind, call in (
        (anthropic.PermissionDeniedError, lambda: a.messages.create(model="no-such-model", max_tokens=5, messages=say("demo: ping"))),
        (openai.PermissionDeniedError, lambda: o.chat.completions.create(model="no-such-model", messages=say("demo: ping"))),
    ):
        assert "no-such-model" in str(raised(kind, call))


def fifty_streams_at_once_do_not_mix(a, o):
    async def one(client, n):
        async with client.messages.stream(
            model=MODEL, max_tokens=4000 + n, messages=say(f"hello number {n}"), system=f"call {n}"
        ) as stream:
            message = await stream.get_final_message()
        return message.id, message.content[0].text

    async def all_of_them():
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=OPTIONS.anthropic, max_retries=0) as client:
            return await asyncio.gather(*(one(client, n) for n in range(50)))

    answers = asyncio.run(all_of_them())
    assert len({id for id, _ in answers}) == 50, "answers of different calls have different ids"
    assert len({text for _, text in answers}) == 1


def raised(kind, body):
    try:
        body()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def client_of_anthropic(key):
    return anthropic.Anthropic(api_key=key, base_url=OPTIONS.anthropic, max_retries=0, timeout=30)


def client_of_openai(key):
    return openai.OpenAI(api_key=key, base_url=OPTIONS.openai, max_retries=0, timeout=30)


def main():
    checks = [f for _, f in inspect.getmembers(sys.modules[__name__], inspect.isfunction) if list(inspect.signature(f).parameters) == ["a", "o"]]
    checks.sort(key=lambda f: f.__code__.co_firstlineno)
    failed = 0
    for check in checks:
        if OPTIONS.only and OPTIONS.only not in check.__name__:
            continue
        name, began = check.__name__.replace("_", " "), time.monotonic()
        try:
            check(client_of_anthropic(KEY), client_of_openai(KEY))
            print(f"ok    {name} ({time.monotonic() - began:.2f} s)")
        except Exception as error:
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error}")
    print(f"{failed} of {len(checks)} failed" if failed else f"all {len(checks)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anthropic", required=True, help="base URL of the Messages side, without /v1")
    parser.add_argument("--openai", required=True, help="base URL of the Chat Completions side, with /v1")
    parser.add_argument("--token", default="", help="a Slipway token, when the URLs are the gateway's")
    parser.add_argument("--poor-token", default="", help="a token of somebody whose budget covers no call")
    parser.add_argument("--only", default="", help="runs the checks whose name contains this")
    OPTIONS = parser.parse_args()
    KEY = OPTIONS.token or "any-key-will-do"
    sys.exit(main())
