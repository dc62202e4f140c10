import Core
import Crypto
import Testing

@testable import ModelAPI

@Suite struct SigV4Tests {
    private static let credentials = AWSCredentials(
        accessKeyID: "AKIDEXAMPLE", secretAccessKey: Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
    /// 2015-08-30 12:36:00 UTC, the second of Amazon's test suite.
    private static let then = 1_440_938_160

    private static func signature(
        _ method: String, path: String = "/", query: String = "", service: String = "service",
        headers: [(name: String, value: String)] = [(name: "Host", value: "example.amazonaws.com")]
    ) -> String? {
        SigV4(credentials: credentials, region: "us-east-1", service: service).headers(
            method: method, path: path, query: query, headers: headers, bodyHash: SHA256.hash(data: []), seconds: then
        ).last.map { String($0.value.suffix(64)) }
    }

    @Test func `Amazon's own examples are signed as Amazon signs them`() {
        #expect(Self.signature("GET") == "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
        #expect(Self.signature("GET", path: "") == Self.signature("GET"))
        #expect(Self.signature("POST") == "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b")
        #expect(
            Self.signature("GET", query: "Param2=value2&Param1=value1")
                == "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500")
        #expect(
            Self.signature(
                "GET", query: "Action=ListUsers&Version=2010-05-08", service: "iam",
                headers: [
                    (name: "Content-Type", value: " application/x-www-form-urlencoded;   charset=utf-8 "),
                    (name: "Host", value: "iam.amazonaws.com"),
                ]) == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
    }

    /// Computed from the published algorithm by another program.
    @Test func `a call of Bedrock is signed with the path as it goes over the wire`() {
        var credentials = Self.credentials
        credentials.sessionToken = Secret("TOKEN")
        let signer = SigV4(credentials: credentials, region: "eu-central-1", service: "bedrock")
        let path = AWSPath.bedrock(.invokeStream, model: "eu.anthropic.claude-sonnet-4-5-20250929-v1:0")
        #expect(path == "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream")
        let headers = signer.headers(
            method: "POST", path: path,
            headers: [
                (name: "content-type", value: "application/json"),
                (name: "host", value: "bedrock-runtime.eu-central-1.amazonaws.com"),
            ],
            bodyHash: SHA256.hash(data: Array(#"{"anthropic_version":"bedrock-2023-05-31"}"#.utf8)), seconds: 1_795_289_400)
        #expect(headers.map(\.name) == ["x-amz-date", "x-amz-security-token", "authorization"])
        #expect(headers[0].value == "20261121T193000Z" && headers[1].value == "TOKEN")
        #expect(
            headers[2].value
                == "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/eu-central-1/bedrock/aws4_request, "
                + "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, "
                + "Signature=8c8c51a7fe1e25579c3917193152e5be17e8cd073187ebdfa1dc3fd4e5f2f8c3")
        #expect(
            AWSPath.bedrock(.invoke, model: "arn:aws:bedrock:eu:1:inference-profile/x é")
                == "/model/arn%3Aaws%3Abedrock%3Aeu%3A1%3Ainference-profile%2Fx%20%C3%A9/invoke")
    }

    @Test func `the calendar is right`() {
        for (seconds, text) in [
            (0, "19700101T000000Z"), (1_709_251_199, "20240229T235959Z"), (1_709_251_200, "20240301T000000Z"),
            (951_782_400, "20000229T000000Z"), (4_107_542_399, "21000228T235959Z"), (4_107_542_400, "21000301T000000Z"),
            (1_767_225_599, "20251231T235959Z"),
        ] { #expect(AWSTime(seconds: seconds).text == text) }
    }
}
