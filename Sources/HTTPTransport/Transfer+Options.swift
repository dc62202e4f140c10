import CCurl
import NIOCore

extension Transfer {
    /// Writes the request into an easy handle that is fresh or reset.
    func configure(_ easy: UnsafeMutableRawPointer) {
        errorText[0] = 0
        ccurl_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText)
        ccurl_set_string(easy, CURLOPT_URL, request.url)
        ccurl_set_string(easy, CURLOPT_PROTOCOLS_STR, "http,https")
        ccurl_set_long(easy, CURLOPT_PATH_AS_IS, 1)
        ccurl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        ccurl_set_long(easy, CURLOPT_QUICK_EXIT, 1)  // else a cancelled call waits for its name resolution, and all others with it
        ccurl_set_string(easy, CURLOPT_PROXY, "")  // the environment's proxies are not meant for us
        // Held by each open stream. curl adds a byte, which would take the allocator's next size.
        ccurl_set_long(easy, CURLOPT_BUFFERSIZE, (4 << 10) - 1)
        ccurl_set_long(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16 << 10)
        ccurl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, request.timeouts.connect.wholeMilliseconds)
        // Not HTTP/2: Debian's curl 7.88.1 overwrites memory when a stream of a shared connection is paused (SecureTests crashed
        // the process in `SSL_read`), and loses streams with its error 16. Providers answer HTTP/1.1 as well.
        ccurl_set_long(easy, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        if let caFile = request.caFile { ccurl_set_string(easy, CURLOPT_CAINFO, caFile) }
        setMethodAndBody(easy)
        setHeaders(easy)
        setCallbacks(easy)
        setDestination(easy)
    }

    private func setFile(_ easy: UnsafeMutableRawPointer, _ file: UploadFile) {
        ccurl_set_long(easy, CURLOPT_POST, 1)
        if request.method != "POST" { ccurl_set_string(easy, CURLOPT_CUSTOMREQUEST, request.method) }
        ccurl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(file.size))
        ccurl_set_long(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256 << 10)
        ccurl_on_read(
            easy,
            { buffer, size, count, context in
                let transfer = Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
                return transfer.send(into: buffer!, upTo: size * count) ?? Int(CURL_READFUNC_ABORT)
            },
            // A kept connection that turns out to be closed has the request sent again on another.
            { context, offset, origin in
                guard origin == SEEK_SET else { return CURL_SEEKFUNC_FAIL }
                Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue().bytesSent = Int(offset)
                return CURL_SEEKFUNC_OK
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    private func setMethodAndBody(_ easy: UnsafeMutableRawPointer) {
        if let file = request.file { return setFile(easy, file) }
        let hasBody = request.body.map { $0.readableBytes > 0 } ?? false
        switch request.method {
        case "HEAD" where !hasBody:
            ccurl_set_long(easy, CURLOPT_NOBODY, 1)
            return
        case "GET" where !hasBody:
            ccurl_set_long(easy, CURLOPT_HTTPGET, 1)
            return
        case "POST", "PUT", "PATCH": break  // these say `content-length: 0` when they have no body
        default:
            ccurl_set_string(easy, CURLOPT_CUSTOMREQUEST, request.method)
            if !hasBody { return }
        }
        ccurl_set_long(easy, CURLOPT_POST, 1)
        if request.method != "POST" { ccurl_set_string(easy, CURLOPT_CUSTOMREQUEST, request.method) }
        ccurl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body?.readableBytes ?? 0))
        guard hasBody, let body = request.body else {
            ccurl_set_pointer(easy, CURLOPT_POSTFIELDS, errorText)  // any address: zero bytes are read
            return
        }
        body.withUnsafeReadableBytesWithStorageManagement { bytes, storage in
            bodyStorage = storage.retain()  // the bytes stay where they are until it is released
            ccurl_set_pointer(easy, CURLOPT_POSTFIELDS, bytes.baseAddress)
        }
    }

    private func setHeaders(_ easy: UnsafeMutableRawPointer) {
        var names: Set<String> = []
        for (name, value) in request.headers {
            let key = name.lowercased()
            if key == "content-length" || key == "transfer-encoding" { continue }
            names.insert(key)
            // curl's way to say "with an empty value" is a semicolon: a colon with nothing behind it means "without this header".
            headerList = curl_slist_append(headerList, value.isEmpty ? "\(name);" : "\(name): \(value)")
        }
        for unwanted in ["accept", "content-type", "expect"] where !names.contains(unwanted) {
            headerList = curl_slist_append(headerList, "\(unwanted):")
        }
        ccurl_set_headers(easy, headerList)
    }

    private func setCallbacks(_ easy: UnsafeMutableRawPointer) {
        let context = Unmanaged.passUnretained(self).toOpaque()
        ccurl_on_header(
            easy,
            { bytes, size, count, context in
                let transfer = Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
                return transfer.received(header: UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
            }, context)
        ccurl_on_body(
            easy,
            { bytes, size, count, context in
                let transfer = Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
                let taken = transfer.received(body: UnsafeRawBufferPointer(start: bytes, count: size * count))
                return taken ? size * count : Int(CURL_WRITEFUNC_PAUSE)
            }, context)
    }

    /// The check is made on the address that is connected to, so there is no second name resolution to win a race against; and
    /// again before each request, because a kept connection may have been opened by a call that was allowed more.
    private func setDestination(_ easy: UnsafeMutableRawPointer) {
        if request.freshConnection {
            ccurl_set_long(easy, CURLOPT_FRESH_CONNECT, 1)
            ccurl_set_long(easy, CURLOPT_FORBID_REUSE, 1)
        }
        let context = Unmanaged.passUnretained(self).toOpaque()
        ccurl_before_request(
            easy,
            { context, address, _, _, _ in
                Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue().mayBegin(connectionTo: address)
                    ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
            }, context)
        if let path = request.unixSocket {
            ccurl_set_string(easy, CURLOPT_UNIX_SOCKET_PATH, path)
            return
        }
        if request.allowPrivateAddresses { return }
        ccurl_on_open_socket(
            easy,
            { context, _, address in
                let transfer = Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
                var bytes = [UInt8](repeating: 0, count: 16)
                let count = Int(ccurl_address_bytes(address!, &bytes))
                return transfer.mayReach(Array(bytes[..<count])) ? ccurl_open_socket(address!) : CURL_SOCKET_BAD
            }, context)
    }

    /// Frees what curl read the request from; only after the handle was taken out.
    func releaseRequest() {
        curl_slist_free_all(headerList)
        headerList = nil
        bodyStorage?.release()
        bodyStorage = nil
    }
}

extension Duration {
    fileprivate var wholeMilliseconds: Int {
        max(1, Int(components.seconds) * 1000 + Int(components.attoseconds / 1_000_000_000_000_000))
    }
}
