/*
 * The target database as apply sees it: one session (one lane), one transaction at a time.
 *
 * In production pg/target over one libpq connection in pipeline mode; in unit tests tests/support/model_target, a database
 * in memory with unique keys, faults in every call, and commits that succeed although their answer was lost.
 * One thread. After an error other than those marked as outcomes the only calls allowed are rollback and resume.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"
#include "model/options.h"
#include "model/relation.h"
#include "model/row.h"
#include "model/snapshot.h"

/* How far the target is: written in the same transaction as the rows it covers (P1). */
struct apply_position {
    struct lsn end;        /* (P2) COMMIT end of the last source transaction applied; everything before it is too */
    uint64_t transactions; /* applied since the task began, for the three-way count */
    int64_t committed_us;  /* of that transaction, by the source's clock */
};

enum table_mode {
    TABLE_KEYED,   /* one row by key columns: default or index identity, or full where the target has a key */
    TABLE_UNKEYED, /* one row by all columns: identity full and no key on the target */
    TABLE_INSERTS, /* no identity: only INSERT and TRUNCATE can come */
    TABLE_IGNORED, /* not part of the task: drop its changes */
    TABLE_DDL,     /* each row inserted is a statement that was run on the source; see target_ops.ddl */
};

/* Which of several sessions (lanes) writes a row. */
enum lane_rule {
    LANE_BY_TABLE, /* all rows of the table go to one lane: their order means something, or may */
    LANE_BY_KEY,   /* rows with different keys do not depend on each other */
    LANE_ALONE,    /* only while no other lane writes */
};

/* How the rows of one stream_relation are written. Immutable; lives as long as the arena it was asked with. */
struct target_table {
    const struct stream_relation *relation;
    enum table_mode mode;
    unsigned n_key;
    const uint16_t *key;    /* KEYED: columns of the relation, in the order of the target's key */
    const bool *is_written; /* a relation's column: false when the target computes it (generated) */
    bool has_other_unique;  /* further unique indexes or exclusion constraints on the target */
    bool has_deferred;      /* some that are DEFERRABLE: the server does not check them for sessions of replicas */
    enum lane_rule lane_rule;
    const struct gate *gate; /* (G2) NULL: everything goes through */
    void *handle;            /* the port's own */
};

/* (F8) Rows of one batch have different keys: the window made one net change a row. */
enum batch_op {
    BATCH_INSERT,
    BATCH_UPDATE, /* key unchanged */
    BATCH_REKEY,  /* UPDATE that changes the key: `key` is the old one */
    BATCH_DELETE,
    BATCH_OP_COUNT,
};

struct batch_row {
    const struct value *key; /* KEYED: n_key values. UNKEYED update and delete: the full old row. INSERT: NULL */
    const struct value *row; /* relation->n_columns values; NULL for DELETE */
};

/*
 * All rows have, column by column, the same state but for NULL: what is UNCHANGED in one is in all, and of those with
 * bytes all are TEXT or all BINARY. Keys likewise. UNKEYED update and delete come as batches of one row.
 */
struct batch {
    const struct target_table *table;
    enum batch_op op;
    unsigned n_rows;
    const struct batch_row *rows;
    /* UPDATE and DELETE: in the order of their only key column, an integer. The rows that the target can have between the first and the
     * last are at most twice as many, so that reading them all is cheaper than to look up each. */
    bool is_range;
};

/* One change, for the exact path. */
struct row_change {
    const struct target_table *table;
    enum batch_op op;
    struct batch_row row;
};

/* What became of one change on the exact path. None of these breaks the transaction. */
enum row_outcome {
    ROW_DONE,      /* exactly one row */
    ROW_MISSING,   /* UPDATE, REKEY, DELETE: there is no such row; nothing done */
    ROW_DUPLICATE, /* INSERT, UPDATE, REKEY: a unique or exclusion constraint; nothing done; see `constraint` */
};

struct row_result {
    enum row_outcome outcome;
    const char *constraint; /* ROW_DUPLICATE: its name, in the arena given */
    const char *detail;     /* the server's DETAIL, or NULL */

    /* ROW_DUPLICATE: one row is in the way and it is the new row already, in every written column. */
    bool is_identical;

    /* ROW_OVERWRITE: the rows that were deleted to make room; relation->n_columns values each, in the arena given. */
    unsigned n_removed;
    const struct value *const *removed;
};

enum row_overwrite {
    ROW_PLAIN,     /* as the change says */
    ROW_OVERWRITE, /* INSERT or UPDATE: delete every row that blocks it by a unique constraint, then do it */
};

/* What is done about a row that is not alone with a deferrable key. */
enum row_remedy {
    REMEDY_NONE,
    REMEDY_REMOVE_OTHERS,
    REMEDY_REMOVE_ROW,
};

enum conflict_kind {
    CONFLICT_INSERT_DUPLICATE, /* INSERT, and its key or another unique key exists */
    CONFLICT_UPDATE_DUPLICATE, /* UPDATE or REKEY that hits a unique key of another row */
    CONFLICT_UPDATE_MISSING,
    CONFLICT_DELETE_MISSING,
    CONFLICT_REFUSED, /* the operator decided about a change at which apply had stopped: nobody tried it again */
    CONFLICT_KIND_COUNT,
};

enum conflict_action {
    CONFLICT_SKIPPED,  /* the change was not applied, the target's rows are as they were */
    CONFLICT_REPLACED, /* the rows in its way were deleted (`removed`) and the change was applied */
    CONFLICT_INSERTED, /* the row to update was missing: the new one was inserted in full */
    CONFLICT_ACTION_COUNT,
};

/* A decision that a policy, or the operator, took about one change (A4). Good for the call only. */
struct conflict {
    enum conflict_kind kind;
    enum conflict_policy policy;
    enum resume_choice choice; /* not RESUME_AS_IS: the operator's, instead of the policy's */
    const char *instead;       /* RESUME_REPLACE: what was run */
    enum conflict_action action;
    struct row_change change; /* as the source sent it; a TRUNCATE has neither key nor row */
    const char *constraint;   /* NULL when a row was missing */
    unsigned n_removed;
    const struct value *const *removed; /* relation->n_columns values each */
    uint32_t xid;                       /* the source transaction */
    struct lsn commit;
    int64_t committed_us;
};

/* Rows of the source, for what the stream did not send. One thread. */
struct source_rows {
    /*
     * The row as it is on the source now, found by the new key of an UPDATE: relation->n_columns values in `a`, those that the
     * change has UNCHANGED are set. *out_row is NULL when there is no such row any more.
     */
    MUST_USE struct error *(*fetch)(void *self, struct arena *a, const struct row_change *change,
                                    const struct value **out_row);
    void *self;
};

enum commit_verdict {
    COMMIT_DONE,
    COMMIT_SURPRISED,    /* as settle with *out_as_expected false; *out_why is set */
    COMMIT_NOT_POSSIBLE, /* nothing was done about it: settle, then commit */
};

struct target_ops {
    /*
     * Connects when needed, makes sure that no earlier session of this lane can still commit, and says where to go on.
     * Rolls back what is open.
     */
    MUST_USE struct error *(*resume)(void *self, struct apply_position *out);

    /* How to write a relation. ERROR_CONFIG when the target has no such table or lacks a column. Asked once a version. */
    MUST_USE struct error *(*table)(void *self, struct arena *a, const struct stream_relation *relation,
                                    struct target_table **out);

    MUST_USE struct error *(*begin)(void *self);

    /* Sent, not answered: see settle. The batch must live until then. */
    MUST_USE struct error *(*batch)(void *self, const struct batch *batch);

    /* Alone, in order with batches; all tables in one statement. */
    MUST_USE struct error *(*truncate)(void *self, const struct target_table *const *tables, unsigned n,
                                       bool restart_identity);

    /*
     * Reads every answer since begin, savepoint or the last settle. *out_as_expected is false when a batch touched
     * another number of rows than it has, or failed with a data error (unique violation …): the transaction is then only
     * good for rollback or rollback_to_savepoint, and *out_why (in `a`) says what happened.
     */
    MUST_USE struct error *(*settle)(void *self, struct arena *a, bool *out_as_expected, const char **out_why);

    /*
     * settle and commit in one, for one round trip less: the target itself sees to it that nothing is committed unless everything is
     * as expected. Only right after begin and batches. After an error nobody knows, as with commit.
     */
    MUST_USE struct error *(*commit_at_once)(void *self, struct arena *a, struct apply_position position, bool durable,
                                             enum commit_verdict *out_verdict, const char **out_why);

    /* One savepoint at a time; a new one replaces it. */
    MUST_USE struct error *(*savepoint)(void *self);
    MUST_USE struct error *(*rollback_to_savepoint)(void *self);

    /*
     * One change, its answer read. What a policy must decide comes as an outcome; other refusals of this row by the
     * target (a check, a domain, a missing partition) are ERROR_DATA and name the table.
     */
    MUST_USE struct error *(*row)(void *self, struct arena *a, const struct row_change *change,
                                  enum row_overwrite overwrite, struct row_result *out);

    /*
     * Deferrable keys (tables with has_deferred), which may be violated until a transaction ends. `check`: whether the rows that the
     * batch wrote are alone with the keys that they have now; sent, not answered: see settle.
     */
    MUST_USE struct error *(*check)(void *self, const struct batch *batch);

    /*
     * The same of the row that one change wrote, the answer read: ROW_DUPLICATE with what is set for it, `removed` as the remedy says; or
     * ROW_DONE. Waits for others that are writing to the table.
     */
    MUST_USE struct error *(*check_row)(void *self, struct arena *a, const struct row_change *change,
                                        enum row_remedy remedy, struct row_result *out);

    /*
     * For a transaction that is larger than a window: a table that is to be checked whole at its end, because a key was there twice in its
     * midst. check_doubted does that for all of them and forgets none; they are forgotten with the transaction.
     */
    void (*doubt)(void *self, const struct target_table *table);
    MUST_USE struct error *(*check_doubted)(void *self, struct arena *a, bool *out_as_expected, const char **out_why);

    /*
     * A statement of the source's (an INSERT into a TABLE_DDL table) is run in the open transaction, its answer read; or `instead`,
     * unless NULL. ERROR_DATA when it cannot be known or is refused: nothing of the transaction can be used any more then.
     */
    MUST_USE struct error *(*ddl)(void *self, struct arena *a, const struct row_change *statement, const char *instead);

    /* (A4) Records the decision in the open transaction: it is there if and only if its effect is. */
    MUST_USE struct error *(*conflict)(void *self, const struct conflict *conflict);

    /*
     * (P1, P5) Writes the position, commits, and reads that the answer to COMMIT was COMMIT. `durable` waits for the
     * target's disk. After an error nobody knows whether it was committed: resume tells.
     */
    MUST_USE struct error *(*commit)(void *self, struct apply_position position, bool durable);

    /*
     * With several lanes: begin_lane is begin beside transactions of other lanes, so no lock is waited for long
     * (ERROR_TRANSIENT), because whoever holds it may be waiting for us. commit_lane moves the position of this lane alone;
     * commit moves those of all lanes, and then the other sessions must be told by note_position.
     */
    MUST_USE struct error *(*begin_lane)(void *self);
    MUST_USE struct error *(*commit_lane)(void *self, struct apply_position position, bool durable);
    void (*note_position)(void *self, struct apply_position position);

    /* Never fails: a session that cannot roll back is closed. */
    void (*rollback)(void *self);
};

struct target {
    const struct target_ops *ops;
    void *self;
};
