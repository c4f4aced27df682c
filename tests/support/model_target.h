/*
 * A target database in memory that behaves like PostgreSQL where it matters to apply.
 *
 * Tables with a key, perhaps a second unique column, or neither (multisets); transactions, one savepoint; batches that are executed
 * when they are settled, check unique values row by row while they update (F8: a swap fails), touch a row once, and count.
 * A fault can strike any call; after it the session is good for rollback and resume only, which the model insists on. Two kinds of
 * commits are lost: those that were not done, and those that were and whose answer was lost (P5).
 *
 * It also insists on what ports/target.h promises about batches. Everything lives in the arena given.
 */
#pragma once

#include "ports/target.h"
#include "support/fault.h"
#include "sync/feeder.h"

enum { MODEL_TABLES_MAX = 8, MODEL_COLUMNS_MAX = 8 };

struct model_table {
    uint32_t oid;
    const char *name;
    enum table_mode mode;
    unsigned n_columns;
    unsigned n_key;
    uint16_t key[MODEL_COLUMNS_MAX];
    int unique;          /* another unique column, or -1 */
    bool is_deferrable;  /* that one is: only checks look at it */
    int generated;       /* a column the target computes, or -1 */
    const char *refused; /* a value that a check constraint refuses, or NULL */
    const struct gate *gate;
};

/* What conflict() was told. */
struct model_conflict {
    uint32_t oid;
    enum conflict_kind kind;
    enum conflict_policy policy;
    enum conflict_action action;
    enum resume_choice choice;
    uint32_t xid;
    unsigned n_removed;
};

struct model_target;

struct model_target *model_target_new(struct arena *a);
void model_target_add_table(struct model_target *m, struct model_table table);

/* From now on also on the target's side: a conflict. Rows as in support/rows.h. Durable at once. */
void model_target_put(struct model_target *m, uint32_t oid, const char *row);

/* Whatever was not committed is gone, as when either side dies. */
void model_target_crash(struct model_target *m);

/* NULL: no more faults. */
void model_target_set_fault(struct model_target *m, struct fault *fault);

/* Called after each durable commit. */
void model_target_on_commit(struct model_target *m, void (*committed)(void *self, struct apply_position position),
                            void *self);

/*
 * Sessions of lanes, from 0, beside the first one, which is lane 0. What the lanes wrote apart is done again on what the others
 * committed meanwhile, and must work. The number of lanes may change when they stand together.
 */
struct model_target *model_target_lane(struct model_target *m, unsigned lane);
void model_target_set_lanes(struct model_target *m, unsigned n);
unsigned model_target_n_lanes(const struct model_target *m);
bool model_target_lanes_are_apart(const struct model_target *m);

/* "1|a 2|b", sorted; what is committed. In `a`. */
const char *model_target_rows(struct arena *a, const struct model_target *m, uint32_t oid);
struct apply_position model_target_position(const struct model_target *m);
unsigned model_target_conflicts(const struct model_target *m, const struct model_conflict **out);

/* How often: to see which path was taken. */
struct model_calls {
    unsigned begins, commits, durable_commits, commits_at_once, batches, rows, savepoints, truncates, tables, checks;
};
struct model_calls model_target_calls(const struct model_target *m);

bool model_target_is_open(const struct model_target *m);

struct target model_target(struct model_target *m);
struct table_resolver model_target_resolver(struct model_target *m);
