#pragma once
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

// libcurl's setters are variadic, which Swift cannot call: one typed function for each kind of argument.
// The name in brackets goes around the type-checking macros of curl.h.
static inline CURLcode ccurl_set_long(CURL *easy, CURLoption option, long value) { return (curl_easy_setopt)(easy, option, value); }
static inline CURLcode ccurl_set_offset(CURL *easy, CURLoption option, curl_off_t value) { return (curl_easy_setopt)(easy, option, value); }
static inline CURLcode ccurl_set_string(CURL *easy, CURLoption option, const char *value) { return (curl_easy_setopt)(easy, option, value); }
static inline CURLcode ccurl_set_pointer(CURL *easy, CURLoption option, const void *value) { return (curl_easy_setopt)(easy, option, value); }
static inline CURLcode ccurl_set_headers(CURL *easy, struct curl_slist *list) { return (curl_easy_setopt)(easy, CURLOPT_HTTPHEADER, list); }

static inline void ccurl_on_body(CURL *easy, curl_write_callback callback, void *context) {
    (curl_easy_setopt)(easy, CURLOPT_WRITEFUNCTION, callback);
    (curl_easy_setopt)(easy, CURLOPT_WRITEDATA, context);
}
static inline void ccurl_on_read(CURL *easy, curl_read_callback read, curl_seek_callback seek, void *context) {
    (curl_easy_setopt)(easy, CURLOPT_READFUNCTION, read);
    (curl_easy_setopt)(easy, CURLOPT_READDATA, context);
    (curl_easy_setopt)(easy, CURLOPT_SEEKFUNCTION, seek);
    (curl_easy_setopt)(easy, CURLOPT_SEEKDATA, context);
}
static inline void ccurl_on_header(CURL *easy, curl_write_callback callback, void *context) {
    (curl_easy_setopt)(easy, CURLOPT_HEADERFUNCTION, callback);
    (curl_easy_setopt)(easy, CURLOPT_HEADERDATA, context);
}
static inline void ccurl_on_open_socket(CURL *easy, curl_opensocket_callback callback, void *context) {
    (curl_easy_setopt)(easy, CURLOPT_OPENSOCKETFUNCTION, callback);
    (curl_easy_setopt)(easy, CURLOPT_OPENSOCKETDATA, context);
}
static inline void ccurl_before_request(CURL *easy, curl_prereq_callback callback, void *context) {
    (curl_easy_setopt)(easy, CURLOPT_PREREQFUNCTION, callback);
    (curl_easy_setopt)(easy, CURLOPT_PREREQDATA, context);
}

static inline CURLMcode ccurl_multi_set_long(CURLM *multi, CURLMoption option, long value) { return (curl_multi_setopt)(multi, option, value); }
static inline void ccurl_multi_on_socket(CURLM *multi, curl_socket_callback callback, void *context) {
    (curl_multi_setopt)(multi, CURLMOPT_SOCKETFUNCTION, callback);
    (curl_multi_setopt)(multi, CURLMOPT_SOCKETDATA, context);
}
static inline void ccurl_multi_on_timer(CURLM *multi, curl_multi_timer_callback callback, void *context) {
    (curl_multi_setopt)(multi, CURLMOPT_TIMERFUNCTION, callback);
    (curl_multi_setopt)(multi, CURLMOPT_TIMERDATA, context);
}

// The next finished transfer (CURLMsg holds a union): 1, or 0 when there is none.
static inline int ccurl_multi_next_done(CURLM *multi, CURL **easy, CURLcode *result) {
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(multi, &left))) {
        if (message->msg != CURLMSG_DONE) continue;
        *easy = message->easy_handle;
        *result = message->data.result;
        return 1;
    }
    return 0;
}

// The bytes of an address that curl is about to connect to: 4 or 16 of them, 0 for a family that has no such address.
static inline int ccurl_address_bytes(const struct curl_sockaddr *address, unsigned char *bytes) {
    if (address->family == AF_INET) {
        memcpy(bytes, &((const struct sockaddr_in *)(const void *)&address->addr)->sin_addr, 4);
        return 4;
    }
    if (address->family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)&address->addr)->sin6_addr, 16);
        return 16;
    }
    return 0;
}

// What curl would do itself without a callback.
static inline curl_socket_t ccurl_open_socket(const struct curl_sockaddr *address) {
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static inline void ccurl_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
