import CCurl
import Core
import NIOCore

/// One request on its way. `cancel` and `resume` may be called from any thread at any time; everything else belongs to the driver's.
package final class Transfer: @unchecked Sendable {
    let driver: CurlDriver
    let request: HTTPClientRequest
    let target: RequestTarget
    /// Nil once finished, which ends the cycle sink → transfer → sink.
    var sink: (any TransferSink)?

    var easy: UnsafeMutableRawPointer?
    var headerList: UnsafeMutablePointer<curl_slist>?
    var bodyStorage: Unmanaged<AnyObject>?
    let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    var head = ResponseHead()
    var bytesRead = 0
    /// Of the request's file.
    var bytesSent = 0
    var isPaused = false
    var isDirty = false
    /// How often curl began to send the request.
    var timesBegun = 0
    /// What a callback refused, in place of curl's "aborted by callback".
    var refusal: AppError?
    var clock: TransferClock

    init(driver: CurlDriver, request: HTTPClientRequest, target: RequestTarget, sink: any TransferSink) {
        self.driver = driver
        self.request = request
        self.target = target
        self.sink = sink
        clock = TransferClock(timeouts: request.timeouts)
    }

    deinit { errorText.deallocate() }

    /// Ends the transfer, also a paused one. After the end it does nothing.
    package func cancel() { driver.enqueue(.cancel(self)) }

    /// Goes on after the sink refused bytes.
    package func resume() { driver.enqueue(.resume(self)) }

    // MARK: callbacks of curl

    func received(header line: UnsafeRawBufferPointer) -> Bool {
        switch head.feed(line) {
        case .more: return true
        case .tooLarge:
            refusal = AppError(.upstream, "\(target.name) sent more than \(ResponseHead.maxBytes) bytes of headers")
            return false
        case .complete:
            clock.progress(at: driver.now)
            driver.expect(self)  // the idle limit may lie before that for the first byte
            driver.markDirty(self)
            sink?.head(status: head.status, headers: head.headers)
            return true
        }
    }

    func received(body bytes: UnsafeRawBufferPointer) -> Bool {
        driver.markDirty(self)
        guard let sink, sink.body(bytes) else {
            isPaused = true
            clock.pause()
            return false
        }
        bytesRead += bytes.count
        clock.progress(at: driver.now)
        return true
    }

    /// The next piece of the request's file; nil aborts.
    func send(into buffer: UnsafeMutableRawPointer, upTo count: Int) -> Int? {
        guard let file = request.file, let got = file.read(at: bytesSent, into: buffer, upTo: min(count, file.size - bytesSent)),
            got > 0 || bytesSent == file.size
        else {
            refusal = AppError(.badRequest, "the file cannot be read to its end any more; it was changed meanwhile", field: "body")
            return nil
        }
        bytesSent += got
        clock.sent(at: driver.now)
        return got
    }

    /// Whether this address may be connected to.
    func mayReach(_ address: [UInt8]) -> Bool {
        guard let reason = AddressGuard.refusal(of: address) else { return true }
        refusal = TransferFailure.refusedAddress(AddressGuard.text(of: address), reason, target)
        return false
    }

    /// Whether the request may be sent over the connection that curl has for it. By itself curl sends it again, also a POST, when a kept
    /// connection ends without a byte of an answer (`Curl_retry_request`).
    func mayBegin(connectionTo address: UnsafePointer<CChar>?) -> Bool {
        timesBegun += 1
        if timesBegun > 1, request.isSentOnce {
            refusal = TransferFailure.keptConnectionClosed(target)
            return false
        }
        if request.allowPrivateAddresses || request.unixSocket != nil { return true }
        return mayUse(connectionTo: address.map { String(cString: $0) } ?? "")
    }

    private func mayUse(connectionTo address: String) -> Bool {
        guard let reason = AddressGuard.refusal(ofText: address) else { return true }
        refusal = TransferFailure.refusedAddress(address, reason, target)
        return false
    }

    func error(for code: CURLcode) -> AppError {
        if let refusal { return refusal }
        let detail = errorText[0] == 0 ? String(cString: curl_easy_strerror(code)) : String(cString: errorText)
        return TransferFailure.error(
            code, detail: detail, target: target, bytesRead: bytesRead, hasHead: head.isComplete, caFile: request.caFile)
    }
}
