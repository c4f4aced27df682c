/*
 * The feeder: reads the change stream and fills windows with what the target does not have yet.
 *
 * It sits between the spool (any source of records) and apply, decodes, asks once for each version of a relation how it is
 * written, skips what was applied before, and stops where it was told to.
 *
 * (P2) A transaction was applied when its COMMIT ends at or before the position. BEGIN tells only where the commit record
 * begins, but commit records do not overlap: `commit` < position.end says the same (see feeder.c).
 *
 * One thread. After an error the feeder must be repositioned (feeder_restart); the window keeps what came before and may still be
 * closed and applied.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"
#include "model/options.h"
#include "ports/stream.h"
#include "ports/target.h"
#include "sync/window.h"

enum feed_kind {
    FEED_NONE,      /* nothing to read now */
    FEED_MESSAGE,   /* a message of the output plugin */
    FEED_RELATION,  /* RELATION or TYPE repeated for who begins to read here */
    FEED_KEEPALIVE, /* everything the source committed before `at` came before this */
};

struct feed_record {
    enum feed_kind kind;
    const char *bytes;
    size_t length;
    struct lsn at;
    int64_t received_us;
};

/* What the feeder reads: worker plugs the spool's reader in, unit tests a script. */
struct record_source {
    /* The bytes live in `a`. */
    MUST_USE struct error *(*next)(void *self, struct arena *a, struct feed_record *out);

    /* Begins anew between transactions at or before `from`: where statements are carried (feeder_set_ddl), and what `until` refused. */
    MUST_USE struct error *(*again)(void *self, struct lsn from);
    void *self;
};

/* As target.table in ports/target.h, on whatever session the feeder's thread may use. Asked before the first change of a version. */
struct table_resolver {
    MUST_USE struct error *(*table)(void *self, struct arena *a, const struct stream_relation *relation,
                                    struct target_table **out);
    void *self;
};

enum feeder_state {
    FEEDER_IDLE,    /* all that is there was read */
    FEEDER_MORE,    /* the budget is used up */
    FEEDER_FULL,    /* the window is */
    FEEDER_BARRIER, /* the window must be applied, to its end, before the next step: DDL changes what comes after it */
    FEEDER_AT_END,  /* nothing that was committed before `until` is left; stays so until `until` is another */
};

struct feeder;

/* The prefix of logical messages that are ours. Others are dropped. */
#define FEEDER_MESSAGE_PREFIX "pgtide"

/* Where the table of statements is. */
#define FEEDER_DDL_SCHEMA "pgtide"

RETURNS_NONNULL struct feeder *feeder_new(struct arena *task, struct decoder decoder, struct table_resolver tables);

/*
 * Reads on from `source`, which begins between transactions at or before `position` (apply_resume). Everything read
 * before is forgotten, so the windows that are not applied must be reset.
 */
void feeder_restart(struct feeder *f, struct record_source source, struct lsn position);

/*
 * Transactions whose commit record begins at or after `until` are not taken; LSN_NONE takes all. Where `until` is between two
 * records, as all positions are that a server tells, this takes exactly the transactions with end <= until.
 */
void feeder_set_until(struct feeder *f, struct lsn until);

/* Kinds of changes to take (enum dml_kind); others are as if the source had not made them. Default: all. */
void feeder_set_dml(struct feeder *f, unsigned dml);

/*
 * Statements that were run on the source come as rows inserted into this table of its schema `pgtide`, at their place. Each goes into a
 * window of its own, and what the target's tables are is asked anew behind it. `gate` (may be NULL) is that of the structure: what
 * the dump has seen is not run again. Both live as long as the feeder. Without a table nothing is carried.
 *
 * A table that is made from a query tells its rows before its statement (the table's `phase` says that this begins): the feeder
 * looks ahead for the statement, has it run, and comes back for the rows.
 */
void feeder_set_ddl(struct feeder *f, const char *table, const struct gate *gate);

/* The open transaction, whose windows are not committed, has run DDL: only its own session sees the tables as they are. */
bool feeder_is_inside_ddl(const struct feeder *f);

/* Reads at most `budget` records into the window. */
MUST_USE struct error *feeder_step(struct feeder *f, struct window *w, unsigned budget, enum feeder_state *out_state);

/* No transaction is open: a window handed over now ends between transactions. */
bool feeder_at_boundary(const struct feeder *f);

/* The end of the last transaction that was taken, or was applied before. */
struct lsn feeder_position(const struct feeder *f);

/*
 * The commit record of the newest transaction read since feeder_new that changes rows, whether they are carried or not; LSN_NONE:
 * there was none. Those that were applied before and tables that are ignored do not count. For cutover (C2).
 */
struct lsn feeder_last_change(const struct feeder *f);

/* Changes read since feeder_new of tables that are ignored; a TRUNCATE counts once for each. */
uint64_t feeder_n_left_out(const struct feeder *f);

/* Transactions taken since feeder_new; those skipped because they were applied before are not among them. */
uint64_t feeder_n_transactions(const struct feeder *f);
