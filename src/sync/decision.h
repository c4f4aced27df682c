/*
 * What could not be applied, and what the operator decided about it.
 *
 * Plain values; no I/O.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/options.h"
#include "sync/change.h"
#include "sync/window.h"

/* (P2) One change of the source: the transaction's commit record, and the number of the change in it, from 0. */
struct apply_place {
    struct lsn commit;
    uint64_t ordinal;
};

/* What the operator decided about a change at which apply had stopped. SKIP_TRANSACTION is for all of its transaction. */
struct apply_decision {
    struct apply_place place;
    struct resume_decision what;
};

/* The change that could not be applied, for the operator to decide. */
struct apply_stop {
    struct apply_place place;
    uint32_t xid;
    const char *statement; /* what was attempted on which row */
    bool is_ddl;
};

struct decisions {
    const struct apply_decision *items;
    unsigned n;
};

/* The last decision about a change is the one that counts; RESUME_AS_IS where there is none. */
struct resume_decision decision_at(struct decisions d, struct apply_place place);

/* Whether there is one about any of its changes. */
bool decisions_concern(struct decisions d, struct lsn commit);

/* Where something could not be applied. */
struct decision_place {
    const struct window_transaction *transaction;
    const struct change *change; /* NULL: the end of the transaction */
    struct apply_place place;
    const char *so_far; /* what is applied of it, for the error */
};

/*
 * Takes the error; what is returned says which transaction it belongs to, and what may be done. When it is for the operator to decide,
 * *out_is_stopped is set and *out filled (texts in `a`).
 */
RETURNS_NONNULL MUST_USE struct error *decision_needed(struct arena *a, const struct decision_place *at,
                                                       struct error *err, struct apply_stop *out, bool *out_is_stopped);
