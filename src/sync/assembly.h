/*
 * Transactions in the making: messages of transactions whose commit is not known yet, each transaction's in order.
 *
 * The spool takes only whole transactions that begin with what their COMMIT says. Where the source tells that at the end
 * (test_decoding, which says in BEGIN no position; pgoutput for transactions that it sends in pieces while they are in
 * progress), the messages wait here and are given on in one go at the commit. A transaction keeps at most ASSEMBLY_BLOCK_BYTES and one message in memory, the rest lies in the store.
 *
 * Nothing here outlives a connection: after it broke the source sends each transaction again in whole (P3: nothing of them
 * was confirmed), so assembly_reset forgets them all. Nothing is synced.
 *
 * One thread. Errors are the store's; then assembly_reset and receive again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "ports/store.h"

enum { ASSEMBLY_BLOCK_BYTES = 256 * 1024 };

struct assembly;

/* What lies in the store from a dead process is removed. */
MUST_USE struct error *assembly_open(struct segment_store store, struct assembly **out_assembly);
void assembly_close(struct assembly *a);
DEFINE_CLEANUP(struct assembly, assembly_close);

/* Forgets all transactions. */
MUST_USE struct error *assembly_reset(struct assembly *a);

/* Begins with the first message of a top-level transaction. `subxid` is `xid` outside of subtransactions. */
MUST_USE struct error *assembly_add(struct assembly *a, uint32_t xid, uint32_t subxid, const char *bytes,
                                    size_t length);

/* What was added for `subxid` is void; with `subxid` == `xid` the whole transaction is. */
MUST_USE struct error *assembly_abort(struct assembly *a, uint32_t xid, uint32_t subxid);

/*
 * Gives the messages in the order in which they were added, without those of aborted subtransactions, and forgets the
 * transaction. None when it is unknown. Ends at the first error of `take`; the transaction is then still there.
 */
struct assembly_sink {
    MUST_USE struct error *(*take)(void *self, const char *bytes, size_t length);
    void *self;
};
MUST_USE struct error *assembly_commit(struct assembly *a, uint32_t xid, struct assembly_sink sink);

/* Bytes that wait in the store. */
uint64_t assembly_stored_bytes(const struct assembly *a);
