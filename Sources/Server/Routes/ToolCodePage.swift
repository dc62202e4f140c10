import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// Where a browser comes back to from an authorization server: it shows a code to give to `slipway mcp login`, and does nothing by itself.
/// So nobody ends a log-in that somebody else began.
enum ToolCodePage {
    static func response(_ incoming: Incoming) -> Response {
        let (code, state) = (incoming.query("code"), incoming.query("state"))
        let text: String
        if let code, let state {
            text = """
                <p>Give this code to <code>slipway mcp login</code>, which waits for it, and to nobody else. Did you not begin it yourself? Then
                close this page.</p><pre>\(escape("\(state).\(code)"))</pre>
                """
        } else {
            let said = incoming.query("error_description") ?? incoming.query("error") ?? "It says nothing more."
            text = "<p>The server did not authorize Slipway: \(escape(String(said.prefix(500))))</p>"
        }
        return Response(
            status: .ok,
            headers: [
                .contentType: "text/html; charset=utf-8", .cacheControl: "no-store",
                HTTPField.Name("Content-Security-Policy")!: "default-src 'none'; style-src 'unsafe-inline'",
                // Not even the code's page is told to others.
                .referrerPolicy: "no-referrer",
            ],
            body: .init(
                byteBuffer: ByteBuffer(
                    string: """
                        <!doctype html><html lang="en"><meta charset="utf-8"><title>Slipway: a code</title>
                        <style>body{font:1rem system-ui;margin:3rem auto;max-width:40rem}pre{white-space:pre-wrap;word-break:break-all}</style>
                        \(text)</html>
                        """)))
    }

    private static func escape(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;").replacing("\"", with: "&quot;")
    }
}
