extension Recorded {
    static let reasoningItem =
        #"{"id":"rs_1","type":"reasoning","encrypted_content":"gAAAA+/=","summary":[{"type":"summary_text","text":"**Look**"},{"type":"summary_text","text":"then act"}]}"#

    /// Reasoning, a text, a call of a function, a web search, an event of the future.
    static let responsesStream = """
        event: response.created
        data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_7","object":"response","created_at":1741290958,"status":"in_progress","error":null,"incomplete_details":null,"model":"gpt-5-mini","output":[],"usage":null}}

        event: response.in_progress
        data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_7","object":"response","status":"in_progress","model":"gpt-5-mini","output":[]}}

        event: response.output_item.added
        data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}

        event: response.reasoning_summary_part.added
        data: {"type":"response.reasoning_summary_part.added","sequence_number":3,"item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}

        event: response.reasoning_summary_text.delta
        data: {"type":"response.reasoning_summary_text.delta","sequence_number":4,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"**Lo"}

        event: response.reasoning_summary_text.delta
        data: {"type":"response.reasoning_summary_text.delta","sequence_number":5,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"ok**"}

        event: response.reasoning_summary_text.done
        data: {"type":"response.reasoning_summary_text.done","sequence_number":6,"item_id":"rs_1","output_index":0,"summary_index":0,"text":"**Look**"}

        event: response.reasoning_summary_part.added
        data: {"type":"response.reasoning_summary_part.added","sequence_number":7,"item_id":"rs_1","output_index":0,"summary_index":1,"part":{"type":"summary_text","text":""}}

        event: response.reasoning_summary_text.delta
        data: {"type":"response.reasoning_summary_text.delta","sequence_number":8,"item_id":"rs_1","output_index":0,"summary_index":1,"delta":"then act"}

        event: response.output_item.done
        data: {"type":"response.output_item.done","sequence_number":9,"output_index":0,"item":\(reasoningItem)}

        event: response.output_item.added
        data: {"type":"response.output_item.added","sequence_number":10,"output_index":1,"item":{"id":"ws_1","type":"web_search_call","status":"in_progress"}}

        event: response.output_item.done
        data: {"type":"response.output_item.done","sequence_number":11,"output_index":1,"item":{"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"x"}}}

        event: response.output_item.added
        data: {"type":"response.output_item.added","sequence_number":12,"output_index":2,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}

        event: response.content_part.added
        data: {"type":"response.content_part.added","sequence_number":13,"item_id":"msg_1","output_index":2,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}

        event: response.output_text.delta
        data: {"type":"response.output_text.delta","sequence_number":14,"item_id":"msg_1","output_index":2,"content_index":0,"delta":"Hi \\ud83d\\ude00","logprobs":[],"obfuscation":"aZ"}

        event: response.output_item.added
        data: {"type":"response.output_item.added","sequence_number":15,"output_index":3,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_x","name":"read_file"}}

        event: response.function_call_arguments.delta
        data: {"type":"response.function_call_arguments.delta","sequence_number":16,"item_id":"fc_1","output_index":3,"delta":"{\\"path\\":"}

        event: response.output_text.delta
        data: {"type":"response.output_text.delta","sequence_number":17,"item_id":"msg_1","output_index":2,"content_index":0,"delta":" über","logprobs":[]}

        event: response.function_call_arguments.delta
        data: {"type":"response.function_call_arguments.delta","sequence_number":18,"item_id":"fc_1","output_index":3,"delta":"\\"a\\"}"}

        event: response.function_call_arguments.done
        data: {"type":"response.function_call_arguments.done","sequence_number":19,"item_id":"fc_1","output_index":3,"arguments":"{\\"path\\":\\"a\\"}"}

        event: response.output_item.done
        data: {"type":"response.output_item.done","sequence_number":20,"output_index":3,"item":{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\\"path\\":\\"a\\"}","call_id":"call_x","name":"read_file"}}

        event: response.output_text.done
        data: {"type":"response.output_text.done","sequence_number":21,"item_id":"msg_1","output_index":2,"content_index":0,"text":"Hi \\ud83d\\ude00 über"}

        event: response.output_item.done
        data: {"type":"response.output_item.done","sequence_number":22,"output_index":2,"item":{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi 😀 über","annotations":[]}]}}

        event: response.completed
        data: {"type":"response.completed","sequence_number":23,"response":\(responsesPlain)}


        """

    static let responsesPlain =
        #"{"id":"resp_7","object":"response","created_at":1741290958,"status":"completed","error":null,"incomplete_details":null,"model":"gpt-5-mini","output":["#
        + reasoningItem
        + #",{"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"x"}},"#
        + #"{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi 😀 über","annotations":[]}]},"#
        + #"{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"path\":\"a\"}","call_id":"call_x","name":"read_file"}],"#
        + #""usage":{"input_tokens":328,"input_tokens_details":{"cached_tokens":128},"output_tokens":52,"output_tokens_details":{"reasoning_tokens":40},"total_tokens":380}}"#
}
