/*
 * What the user asked for: the options of SPEC section 11 as plain values. Filled by cli, read by worker. Immutable after that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/lsn.h"
#include "model/rate.h"

enum sync_type {
    SYNC_FULL,
    SYNC_FULL_INCREMENTAL, /* default */
    SYNC_INCREMENTAL,
};

enum sync_until {
    UNTIL_FOREVER, /* default: follow until stopped */
    UNTIL_CAUGHT_UP,
    UNTIL_LSN,
};

enum conflict_policy {
    CONFLICT_ERROR, /* default */
    CONFLICT_IGNORE,
    CONFLICT_OVERWRITE,
};

enum not_empty_policy {
    NOT_EMPTY_REFUSE, /* default */
    NOT_EMPTY_MERGE,
    NOT_EMPTY_TRUNCATE,
};

/* What `pgtide resume` does with the change at which apply stopped. */
enum resume_choice {
    RESUME_AS_IS, /* default: try again */
    RESUME_SKIP_CHANGE,
    RESUME_SKIP_TRANSACTION,
    RESUME_OVERWRITE, /* this one change as with --on-conflict overwrite */
    RESUME_REPLACE,   /* other SQL is run in place of a statement (DDL) of the source */
    RESUME_CHOICE_COUNT,
};

struct resume_decision {
    enum resume_choice choice;
    const char
        *instead; /* RESUME_REPLACE: statements for the target, none of which ends the transaction; may be empty */
};

/* Kinds of changes to carry, as a set. */
enum dml_kind {
    DML_INSERT = 1,
    DML_UPDATE = 2,
    DML_DELETE = 4,
    DML_TRUNCATE = 8,
    DML_ALL = 15,
};

enum ack_mode {
    ACK_SPOOL, /* default: the source may forget what is fsynced in the spool */
    ACK_TARGET,
};

/* How changes that wait on the source when a session begins are read. */
enum read_backlog {
    READ_BACKLOG_AUTO,   /* default: by query where that is cheaper for the source */
    READ_BACKLOG_QUERY,  /* however little it is */
    READ_BACKLOG_STREAM, /* as everything else */
};

/* When a change cannot be applied. */
enum on_stop {
    ON_STOP_EXIT, /* default: the sync ends with its error, to be resumed */
    ON_STOP_HOLD, /* it stays, receives, and waits for the decision of "pgtide resume" */
};

/* When the source keeps more WAL for our slot than --max-slot-wal. */
enum slot_limit_action {
    SLOT_LIMIT_ALERT, /* default: say so */
    SLOT_LIMIT_SPOOL, /* from then on what is in the spool is acknowledged, as with --ack spool */
    SLOT_LIMIT_DROP,  /* the source comes first: drop the slot, the task has to begin anew */
};

/*
 * Memory that the source may use to decode transactions before it sends the largest in pieces (before 14: writes it to its disk).
 * Larger ones are sent twice as fast in whole; what is sent in pieces lies on our disk, not on the source's, until its commit.
 */
#define SYNC_DECODING_WORK_MEM (UINT64_C(256) << 20)

struct sync_options {
    const char *source; /* conninfo as given; held in a secret by whoever parses it */
    const char *target;
    enum sync_type type;
    enum sync_until until;
    struct lsn until_lsn;
    enum conflict_policy on_conflict;
    enum not_empty_policy if_not_empty;
    enum on_stop on_stop;
    enum ack_mode ack;
    enum read_backlog read_backlog;
    uint64_t decoding_work_mem; /* bytes; 0: SYNC_DECODING_WORK_MEM */
    uint64_t index_memory;      /* bytes of the target's memory for all index builds together; 0: COPY_BUILD_MEMORY */
    uint64_t max_spool;         /* bytes; 0: no limit */
    uint64_t max_slot_wal;      /* bytes; 0: no limit of ours */
    enum slot_limit_action on_slot_limit;
    unsigned dml;                   /* enum dml_kind; 0: not said, as the task was begun, else DML_ALL */
    unsigned jobs;                  /* copy and index workers; default 4 */
    unsigned lanes;                 /* apply lanes; default 1 */
    struct rate_plan max_rate;      /* of the copy; zeroed: no limit */
    bool populate_matviews;         /* fill materialized views that are populated on the source, after the rows */
    bool with_accounts;             /* make the source's roles on the target, pg/accounts.h */
    bool with_publications;         /* carry the source's publications, but those that are pgtide's */
    bool with_indexes;              /* false: --no-indexes leaves out indexes that back no constraint and no identity */
    bool with_ddl;                  /* false: --no-ddl carries no DDL while following */
    const char *const *select;      /* rules (model/selection.h), several in a text; NULL-terminated, NULL: not given */
    const char *select_from;        /* a file of rules; NULL: not given */
    bool with_dependencies;         /* what is selected and what it needs */
    const char *publication;        /* NULL: made by us */
    const char *slot;               /* NULL: made by us */
    const char *const *skip_checks; /* ids, NULL-terminated; never NULL */
    const char *const *accept;      /* ids or "all", NULL-terminated; never NULL */
    const char *state_dir;          /* root of the state folders; never NULL */
};
