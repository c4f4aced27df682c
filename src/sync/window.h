/*
 * A window: the source transactions that are applied together.
 *
 * Filled by the feeder, closed, executed by apply, reset. It holds every change in source order, for the exact path, and
 * the same changes folded (sync/fold.h), for the fast one. A window may begin inside a transaction and may end inside
 * one, because a transaction may be larger than a window:
 *
 *     [end of T0] [T1] [T2] … [Tk]            WINDOW_COMPLETE: ends between transactions, may be committed
 *     [beginning of Tk+1]                     WINDOW_HEAD: must stay in an open target transaction
 *
 * The two parts are folded apart, so that everything before a large transaction is committed without it (A1). With
 * several lanes the complete part is divided into shares that do not depend on each other.
 *
 * (G2) A change that its table's gate does not let through is dropped here, and so are changes of tables that do not
 * belong to the task.
 *
 * One thread at a time: whoever fills it hands it over whole.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "ports/stream.h"
#include "ports/target.h"
#include "sync/change.h"
#include "sync/fold.h"

struct window;

/* Zeros stand for the defaults. A transaction that is open may go a quarter beyond rows and bytes if it ends there. */
struct window_limits {
    unsigned rows;           /* 50,000 */
    size_t bytes;            /* 16 MiB; a single larger row is let through */
    struct fold_limits fold; /* 10,000 rows, 4 MiB */

    unsigned lanes;     /* more than 1: the complete part is divided (sync/division.h) where it can be */
    unsigned lane_rows; /* a part with fewer changes is not: 500 */

    /* A position a lane, or NULL: what a lane has done before is left out of its share, and every part is divided. */
    const struct lsn *lanes_from;
};

struct window_transaction {
    uint32_t xid;
    bool begins; /* false: it began in an earlier window */
    bool ends;   /* false: it goes on in the next window */
    struct lsn commit;
    struct lsn end;       /* LSN_NONE unless `ends` */
    int64_t committed_us; /* by the source's clock */
    int64_t received_us;  /* by ours; 0 unless `ends` */
    size_t first_change;
    size_t n_changes; /* in this window */
};

/* A logical message of ours. Good until the window is reset. */
struct window_message {
    struct window_message *next;
    struct lsn at;
    const char *content;
    uint32_t length;
    size_t needs; /* it is reached when this many transactions of the window are committed */
};

enum window_part_kind {
    WINDOW_COMPLETE,
    WINDOW_HEAD,
    WINDOW_PART_COUNT,
};

struct window_part {
    size_t first_transaction;
    size_t n_transactions; /* 0: the window has no such part */
    const struct fold_work *work;
    const struct fold_work *const *lane_work; /* not NULL: instead of `work`, the share of each lane */
    const char *exact_reason;                 /* not NULL: only the exact path may be taken, and why */
};

/* Dies with its parent arena. Its memory for rows is given back by window_reset. */
RETURNS_NONNULL struct window *window_new(struct arena *parent, struct window_limits limits);
void window_reset(struct window *w);

/* Where records and events that go into the window must live. */
RETURNS_NONNULL struct arena *window_arena(struct window *w);

/* Filling. Only with a transaction open: change, truncate, commit; only without: begin. */
void window_begin(struct window *w, uint32_t xid, struct lsn commit, int64_t committed_us, bool continues);
void window_change(struct window *w, const struct target_table *table, const struct event *event);
void window_truncate(struct window *w, struct target_table *const *tables, unsigned n, bool restart_identity);
void window_commit(struct window *w, struct lsn end, int64_t received_us);

/* The content is copied. */
void window_message(struct window *w, struct lsn at, const char *content, uint32_t length);

/* (P4) Everything the source committed before `upto` is in this window or in earlier ones: shown, never stored. */
void window_set_upto(struct window *w, struct lsn upto);

/* Memory that was taken from window_arena, whether or not the row is kept: the byte limit counts it. */
void window_count_bytes(struct window *w, size_t bytes);

bool window_is_full(const struct window *w);
bool window_is_oversized(const struct window *w); /* a row is in it that alone is larger than a window */
bool window_is_empty(const struct window *w);     /* nothing to execute: no transaction, message or upto */
bool window_is_open(const struct window *w);      /* inside a transaction */

/* Ends the filling: nothing may be added until window_reset. Calling it again does nothing. */
void window_close(struct window *w);

/* For apply, once closed. */
struct window_part window_part(const struct window *w, enum window_part_kind kind);
const struct window_transaction *window_transaction(const struct window *w, size_t i);
const struct change *window_change_at(const struct window *w, size_t i);
const struct window_message *window_messages(const struct window *w);
struct lsn window_upto(const struct window *w); /* LSN_NONE when not known */
bool window_begins_inside(const struct window *w);

/* When its first transaction was committed on the source, by its clock; 0: it has none. Also while it is being filled. */
int64_t window_committed_us(const struct window *w);
int64_t window_last_committed_us(const struct window *w); /* likewise of its last one */

/* The work of a divided part, for one session; as fold_finish. */
const struct fold_work *window_undivided_work(struct window *w, const char **out_reason);

size_t window_n_changes(const struct window *w);
size_t window_n_dropped(const struct window *w);
