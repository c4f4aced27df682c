/*
 * A session of the receiver begins: what waits on the source is read by queries, in windows, while that costs the source less than its
 * walsender does (pg/slot_peek, model/read_window). What is left, and all that comes later, is the stream's.
 *
 * A window begins where the slot is confirmed up to, so one is only asked for when that is the spool's end: nothing comes twice, and
 * nothing is missing. When it has come, (P3) it is made durable, then the slot is advanced to it. Where the slot may not be advanced
 * (--ack target, and servers whose advance is not to be trusted) there is one window, and the stream goes on behind it.
 *
 * A session of the stream decodes from the slot's restart point on, whatever is confirmed. So that it need not decode once more what the
 * queries have read, a point to restart at is had before the first window, behind all that waits (pg_slot_peek_mark); and a window that
 * was not cut short has shown that nothing more is there before its end, which counts as a keepalive does.
 *
 * Not used with test_decoding nor on a standby. What fails here and might not fail for a walsender is left to it, and said once.
 *
 * The receiver's thread alone. What it learns about queries (task->query_trust) holds over the sessions of a process.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "model/lsn.h"
#include "pg/conn.h"
#include "worker/task.h"

struct catch_up {
    struct task *task;
    struct pg_conn *source;
    unsigned decoding_work_mem_kb;

    /* The receiver's; `settle` makes durable what was taken, with (P4) `upto`, before which nothing is missing
     * (LSN_NONE: that is not known), and says what the source may forget (P3). */
    struct error *(*take)(void *self, const char *bytes, size_t length, struct lsn at);
    struct error *(*rest)(void *self);
    struct error *(*settle)(void *self, struct lsn upto, struct lsn *out_forget);
    void *self;
};

/*
 * *out_has_read: windows came, so the slot is to be looked at again before the stream begins. Errors: a lost connection, what `take`,
 * `rest` and `settle` say, ERROR_CANCELLED. The session is not to be used after an error.
 */
MUST_USE struct error *catch_up_run(struct catch_up *c, bool *out_has_read);
