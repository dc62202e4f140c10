#pragma once
#include <libpq-fe.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

/// Notices are for people at a terminal; a server has no use for "relation exists, skipping".
static inline void slipway_pq_ignore_notice(void *context, const PGresult *result) { (void)context; (void)result; }
static inline void slipway_pq_ignore_notices(PGconn *connection) {
    PQsetNoticeReceiver(connection, slipway_pq_ignore_notice, 0);
}
