"""The official mcp package as a client of the gateway's endpoint, with servers of tools behind it that the same package made.

Each check is a function whose name is the fact that it shows. The servers are registered as `notes` (answers with events; its
`delete_*` tools are denied) and `plain` (answers with JSON, needs a token of each user's).
"""

import argparse
import asyncio
import inspect
import sys
import time

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


def client(token=None, **options):
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token or OPTIONS.token}"}, timeout=60)
    return Client(streamable_http_client(OPTIONS.url, http_client=http), **options)


def text(result):
    return "".join(part.text for part in result.content)


async def the_tools_of_all_servers_have_their_server_s_name_before_them(_):
    async with client() as c:
        names = sorted(tool.name for tool in (await c.list_tools()).tools)
        assert "notes__add" in names and "plain__echo" in names, names
        assert not [name for name in names if name.startswith("notes__delete")], names
        add = next(tool for tool in (await c.list_tools()).tools if tool.name == "notes__add")
        assert add.description == "Adds two numbers." and set(add.input_schema["properties"]) == {"a", "b"}, add


async def both_ways_to_connect_agree_on_a_handshake_version(_):
    for mode in ("auto", "legacy"):
        async with client(mode=mode) as c:
            assert c.protocol_version == "2025-06-18", c.protocol_version
            assert c.server_info.name == "slipway"
            if mode == "legacy":
                await c.send_ping()


async def a_tool_answers_with_text_and_structure(_):
    async with client() as c:
        for server in ("notes", "plain"):
            result = await c.call_tool(f"{server}__add", {"a": 2, "b": 40})
            assert not result.is_error and text(result) == "42" and result.structured_content == {"result": 42}, result


async def big_and_odd_text_comes_back_as_it_was(_):
    odd = "ä€😀\u0001\u2028\\\"\n\r\n" * 5000
    async with client() as c:
        for server in ("notes", "plain"):
            assert text(await c.call_tool(f"{server}__echo", {"text": odd})) == odd


async def progress_is_told_in_order_while_the_tool_works(_):
    told = []

    async def progress(done, total, message):
        told.append((done, total, message))

    async with client() as c:
        result = await c.call_tool("notes__count", {"to": 5}, progress_callback=progress)
    assert text(result) == "counted to 5"
    assert told == [(n, 5, f"{n} of 5") for n in range(1, 6)], told


async def a_server_that_is_a_program_is_like_any_other(_):
    told = []

    async def progress(done, total, message):
        told.append((done, total, message))

    async with client() as c:
        assert "program__add" in [tool.name for tool in (await c.list_tools()).tools]
        assert text(await c.call_tool("program__add", {"a": 2, "b": 3})) == "5"
        assert text(await c.call_tool("program__count", {"to": 3}, progress_callback=progress)) == "counted to 3"
        assert told == [(n, 3, f"{n} of 3") for n in range(1, 4)], told
        assert (await c.call_tool("program__fail", {})).is_error


async def a_failing_tool_is_a_result_that_says_so(_):
    async with client() as c:
        result = await c.call_tool("notes__fail", {})
        assert result.is_error and "Error executing tool fail" in text(result), result


async def a_denied_tool_is_an_error_that_names_the_rule(_):
    async with client() as c:
        error = await raised(c.call_tool("notes__delete_everything", {}))
        assert error.code == -32003 and error.error.data["rule"] == "mcp:notes:deny:delete_*", error.error
        assert text(await c.call_tool("notes__add", {"a": 1, "b": 1})) == "2", "the session goes on"


async def an_unknown_tool_or_method_is_an_error_of_the_client(_):
    async with client() as c:
        assert (await raised(c.call_tool("nobody__knows", {}))).code == -32602
        assert (await raised(c.list_prompts())).code == -32601


async def a_call_that_is_given_up_is_cancelled_at_its_server(_):
    async with client() as c:
        call = asyncio.create_task(c.call_tool("notes__sleep", {}))
        await asyncio.sleep(1)
        call.cancel()
        try:
            await call
            raise AssertionError("the call was not cancelled")
        except asyncio.CancelledError:
            pass
        end = time.monotonic() + 30
        while text(await c.call_tool("notes__cancelled", {})) == "0":
            assert time.monotonic() < end, "the server was not told"


async def thirty_sessions_at_once_do_not_mix(_):
    async def one(n):
        async with client() as c:
            return [text(await c.call_tool(f"{('notes', 'plain', 'program')[n % 3]}__echo", {"text": f"{n}.{k}"})) for k in range(5)]

    assert await asyncio.gather(*(one(n) for n in range(30))) == [[f"{n}.{k}" for k in range(5)] for n in range(30)]


async def who_is_not_signed_in_at_a_server_does_not_get_its_tools(_):
    async with client(OPTIONS.other_token) as c:
        names = [tool.name for tool in (await c.list_tools()).tools]
        assert "notes__add" in names and not [name for name in names if name.startswith("plain")], names
        assert "slipway mcp login plain" in (await raised(c.call_tool("plain__add", {"a": 1, "b": 1}))).message


async def a_wrong_token_opens_nothing(_):
    try:
        async with client(OPTIONS.token[:-4] + "AAAA") as c:
            await c.list_tools()
    except BaseException as error:
        assert "token" in str(flat(error)).lower() or "expired" in str(flat(error)).lower(), flat(error)
        return
    raise AssertionError("a wrong token was taken")


def flat(error):
    return [part for e in error.exceptions for part in flat(e)] if isinstance(error, BaseExceptionGroup) else [error]


async def raised(awaitable):
    try:
        result = await awaitable
    except MCPError as error:
        return error
    raise AssertionError(f"no error was raised, but {result}")


def main():
    checks = [f for _, f in inspect.getmembers(sys.modules[__name__], inspect.iscoroutinefunction) if list(inspect.signature(f).parameters) == ["_"]]
    checks.sort(key=lambda f: f.__code__.co_firstlineno)
    failed = 0
    for check in checks:
        if OPTIONS.only and OPTIONS.only not in check.__name__:
            continue
        name, began = check.__name__.replace("_", " "), time.monotonic()
        try:
            asyncio.run(asyncio.wait_for(check(None), 120))
            print(f"ok    {name} ({time.monotonic() - began:.2f} s)")
        except Exception as error:
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {flat(error)}")
    print(f"{failed} of {len(checks)} failed" if failed else f"all {len(checks)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the gateway's endpoint, …/api/v2/mcp")
    parser.add_argument("--token", required=True, help="of somebody who is signed in to `plain`")
    parser.add_argument("--other-token", required=True, help="of somebody who is not")
    parser.add_argument("--only", default="", help="runs the checks whose name contains this")
    OPTIONS = parser.parse_args()
    sys.exit(main())
