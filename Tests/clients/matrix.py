"""Every client package on every kind of provider, through the gateway: Messages, Chat Completions and Responses, streamed and not,
with tools, pictures and errors. The providers are those of `providers.py`.
"""

import argparse
import json
import sys
import time

import anthropic
import openai

PROVIDERS = {
    "matrix-anthropic": "matrix-model",
    "matrix-openai": "matrix-model",
    "matrix-gemini": "matrix-model",
    "matrix-bedrock": "anthropic.claude-matrix-v1:0",
    "matrix-converse": "eu.amazon.nova-matrix-v1:0",
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"Oslo": "snow", "Rom": "sun"}
HELLO = "Hello, wörld."


class Answer:
    def __init__(self, text, calls, stop, input, output, history):
        self.text, self.calls, self.stop, self.input, self.output, self.history = text, calls, stop, input, output, history


class Messages:
    """The `anthropic` package."""

    stops = ("end_turn", "tool_use")
    limited = anthropic.RateLimitError

    def __init__(self, provider, model):
        self.model = model
        self.client = anthropic.Anthropic(api_key=OPTIONS.token, base_url=f"{OPTIONS.gateway}/{provider}", max_retries=0, timeout=60)

    def say(self, text, picture=False):
        content = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}] if picture else []
        return [{"role": "user", "content": content + [{"type": "text", "text": text}]}]

    def ask(self, history, stream, tools=False, system=None):
        options = {"model": self.model, "max_tokens": 600, "messages": history}
        if tools:
            options["tools"] = [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}]
        if system:
            options["system"] = system
        if stream:
            with self.client.messages.stream(**options) as events:
                pieces = "".join(events.text_stream)
                answer = events.get_final_message()
            assert pieces == text_of(answer.content), (pieces, answer)
        else:
            answer = self.client.messages.create(**options)
        calls = [(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"]
        return Answer(
            text_of(answer.content), calls, answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens,
            history + [{"role": "assistant", "content": answer.content}],
        )

    def results(self, answer, results):
        blocks = [{"type": "tool_result", "tool_use_id": id, "content": text} for id, text in results]
        return answer.history + [{"role": "user", "content": blocks}]


def text_of(content):
    return "".join(block.text for block in content if block.type == "text")


class Chat:
    """The `openai` package's Chat Completions."""

    stops = ("stop", "tool_calls")
    limited = openai.RateLimitError

    def __init__(self, provider, model):
        self.model = model
        self.client = openai.OpenAI(api_key=OPTIONS.token, base_url=f"{OPTIONS.gateway}/{provider}/v1", max_retries=0, timeout=60)

    def say(self, text, picture=False):
        content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}] if picture else []
        return [{"role": "user", "content": content + [{"type": "text", "text": text}]}]

    def ask(self, history, stream, tools=False, system=None):
        start = [{"role": "system", "content": system}] if system else []
        options = {"model": self.model, "max_completion_tokens": 600, "messages": start + history}
        if tools:
            function = {"name": "weather", "description": "The weather.", "parameters": SCHEMA, "strict": True}
            options["tools"] = [{"type": "function", "function": function}]
        if stream:
            with self.client.chat.completions.stream(stream_options={"include_usage": True}, **options) as events:
                for _ in events:
                    pass
                answer = events.get_final_completion()
        else:
            answer = self.client.chat.completions.create(**options)
        choice = answer.choices[0]
        calls = [(c.id, c.function.name, json.loads(c.function.arguments)) for c in choice.message.tool_calls or []]
        message = {"role": "assistant", "content": choice.message.content}
        if calls:
            message["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
                for c in choice.message.tool_calls
            ]
        return Answer(
            choice.message.content or "", calls, choice.finish_reason, answer.usage.prompt_tokens, answer.usage.completion_tokens,
            history + [message],
        )

    def results(self, answer, results):
        return answer.history + [{"role": "tool", "tool_call_id": id, "content": text} for id, text in results]


class Responses(Chat):
    """The `openai` package's Responses."""

    stops = ("completed", "completed")

    def say(self, text, picture=False):
        content = [{"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PIXEL}"}] if picture else []
        return [{"role": "user", "content": content + [{"type": "input_text", "text": text}]}]

    def ask(self, history, stream, tools=False, system=None):
        options = {"model": self.model, "max_output_tokens": 600, "input": history, "store": False}
        if tools:
            options["tools"] = [{"type": "function", "name": "weather", "description": "The weather.", "parameters": SCHEMA, "strict": True}]
        if system:
            options["instructions"] = system
        if stream:
            pieces, numbers = "", []
            with self.client.responses.stream(**options) as events:
                for event in events:
                    numbers.append(event.sequence_number)
                    if event.type == "response.output_text.delta":
                        pieces += event.delta
                answer = events.get_final_response()
            assert pieces == answer.output_text, (pieces, answer)
            assert numbers == sorted(set(numbers)), numbers
        else:
            answer = self.client.responses.create(**options)
        items = [item for item in answer.output if item.type == "function_call"]
        return Answer(
            answer.output_text, [(i.call_id, i.name, json.loads(i.arguments)) for i in items], answer.status,
            answer.usage.input_tokens, answer.usage.output_tokens,
            history + [{"role": "assistant", "content": answer.output_text}]
            + [{"type": "function_call", "call_id": i.call_id, "name": i.name, "arguments": i.arguments} for i in items],
        )

    def results(self, answer, results):
        return answer.history + [{"type": "function_call_output", "call_id": id, "output": text} for id, text in results]


def a_text_comes_whole_with_its_usage(client, stream):
    answer = client.ask(client.say("hi"), stream)
    assert answer.text == HELLO and not answer.calls and answer.stop == client.stops[0], vars(answer)
    assert (answer.input, answer.output) == (30, 9), vars(answer)


def what_is_asked_arrives(client, stream):
    answer = client.ask(client.say("describe", picture=True), stream, tools=True, system="Be brief.")
    assert answer.text == "system=Be brief.;tools=weather;images=image/png;limit=600", answer.text


def parallel_tools_go_there_and_back(client, stream):
    asked = client.ask(client.say("tools"), stream, tools=True)
    assert asked.stop == client.stops[1] and asked.text == "I look.", vars(asked)
    assert [(name, arguments) for _, name, arguments in asked.calls] == [("weather", {"city": city}) for city in WEATHER], asked.calls
    ids = [id for id, _, _ in asked.calls]
    assert len(set(ids)) == 2 and all(ids), ids
    results = [(id, WEATHER[arguments["city"]]) for id, _, arguments in asked.calls]
    answer = client.ask(client.results(asked, results), stream, tools=True)
    assert answer.text == "It is snow and sun." and answer.stop == client.stops[0], vars(answer)


def injected_tools_are_run_by_the_gateway(client, stream):
    client.client = client.client.with_options(default_headers={"x-slipway-tools": "notes"})
    answer = client.ask(client.say("injected"), stream)
    assert answer.text.startswith("I look.") and answer.text.endswith("It is 42."), answer.text
    assert not answer.calls and answer.stop == client.stops[0], vars(answer)
    assert (answer.input, answer.output) == (60, 18), vars(answer)


def injected_tools_and_the_client_s_own_go_together(client, stream):
    client.client = client.client.with_options(default_headers={"x-slipway-tools": "notes"})
    asked = client.ask(client.say("both"), stream, tools=True)
    assert asked.stop == client.stops[1] and asked.text == "I look.", vars(asked)
    assert [(name, arguments) for _, name, arguments in asked.calls] == [("weather", {"city": city}) for city in WEATHER], asked.calls
    results = [(id, WEATHER[arguments["city"]]) for id, _, arguments in asked.calls]
    answer = client.ask(client.results(asked, results), stream, tools=True)
    assert answer.text == "It is 42 and snow and sun." and answer.stop == client.stops[0], vars(answer)


def too_much_is_the_package_s_own_error(client, stream):
    try:
        client.ask(client.say("limit"), stream)
    except client.limited as error:
        assert error.status_code == 429 and "slow down" in str(error), error
        assert error.response.headers["retry-after"] == "7", error.response.headers
        return
    raise AssertionError(f"{client.limited.__name__} was not raised")


def vectors_of_texts_come_as_they_were_asked_for():
    client = Chat("matrix-openai", "matrix-model").client
    # The package asks for base64 by itself, and decodes it.
    answer = client.embeddings.create(model="matrix-model", input=["a", "bcd"], dimensions=3)
    assert [item.embedding[:2] for item in answer.data] == [[1.0, 3.0], [3.0, 3.0]], answer
    assert abs(answer.data[0].embedding[2] - 0.1) < 1e-6, answer
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (30, 30), answer
    numbers = client.embeddings.create(model="matrix-model", input="abc", encoding_format="float")
    assert numbers.data[0].embedding == [3.0, 0.0, 0.1], numbers
    packed = client.embeddings.with_raw_response.create(model="matrix-model", input="abc", encoding_format="base64")
    assert json.loads(packed.text)["data"][0]["embedding"] == "AABAQAAAAADNzMw9", packed.text


def vectors_of_another_protocol_are_refused_by_name():
    for provider, model in PROVIDERS.items():
        if provider == "matrix-openai":
            continue
        try:
            Chat(provider, model).client.embeddings.create(model=model, input="a")
        except openai.NotFoundError as error:
            assert "v1/embeddings" in str(error), error
            continue
        raise AssertionError(f"{provider} gave vectors")


def main():
    checks = [a_text_comes_whole_with_its_usage, what_is_asked_arrives, parallel_tools_go_there_and_back]
    checks += [injected_tools_are_run_by_the_gateway, injected_tools_and_the_client_s_own_go_together, too_much_is_the_package_s_own_error]
    done = failed = 0
    # What is told to slow down rests: the last check of all.
    for check in checks:
        for kind in (Messages, Chat, Responses):
            for provider, model in PROVIDERS.items():
                for stream in (False, True):
                    how = "streamed" if stream else "whole"
                    name = f"{kind.__name__} on {provider.removeprefix('matrix-')}, {how}: {check.__name__.replace('_', ' ')}"
                    if OPTIONS.only and OPTIONS.only not in name:
                        continue
                    began = time.monotonic()
                    done += 1
                    try:
                        check(kind(provider, model), stream)
                        print(f"ok    {name} ({time.monotonic() - began:.2f} s)")
                    except Exception as error:
                        failed += 1
                        print(f"FAIL  {name}: {type(error).__name__}: {error}")
    for check in (vectors_of_texts_come_as_they_were_asked_for, vectors_of_another_protocol_are_refused_by_name):
        name = check.__name__.replace("_", " ")
        if OPTIONS.only and OPTIONS.only not in name:
            continue
        done += 1
        try:
            check()
            print(f"ok    {name}")
        except Exception as error:
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error}")
    print(f"{failed} of {done} failed" if failed else f"all {done} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateway", required=True, help="the gateway's URL, up to the names of providers")
    parser.add_argument("--token", required=True, help="a Slipway token")
    parser.add_argument("--only", default="", help="runs the checks whose name contains this")
    OPTIONS = parser.parse_args()
    sys.exit(main())
