#include "sync/exact.h"

enum { POLICY_COUNT = CONFLICT_OVERWRITE + 1 };

/* What a policy makes of a conflict. */
enum decision {
    DECIDE_FAIL,
    DECIDE_SKIP,
    DECIDE_REPLACE,
    DECIDE_INSERT,
};

static const enum decision decisions[CONFLICT_KIND_COUNT][POLICY_COUNT] = {
    /* clang-format off */
    /*                             ERROR        IGNORE       OVERWRITE */
    [CONFLICT_INSERT_DUPLICATE] = {DECIDE_FAIL, DECIDE_SKIP, DECIDE_REPLACE},
    [CONFLICT_UPDATE_DUPLICATE] = {DECIDE_FAIL, DECIDE_SKIP, DECIDE_REPLACE},
    [CONFLICT_UPDATE_MISSING]   = {DECIDE_FAIL, DECIDE_SKIP, DECIDE_INSERT},
    [CONFLICT_DELETE_MISSING]   = {DECIDE_SKIP, DECIDE_SKIP, DECIDE_SKIP},
    [CONFLICT_REFUSED]          = {DECIDE_FAIL, DECIDE_FAIL, DECIDE_FAIL}, /* never asked: skipped before */
    /* clang-format on */
};

struct exact {
    struct target target;
    struct arena *arena;
    struct exact_options options;
    const struct window_transaction *transaction;
    const struct change *change;
};

/* What the target said, for an error. */
static const char *describe_result(const struct exact *x, const struct row_result *r)
{
    if (r->outcome == ROW_MISSING && x->change->op == BATCH_INSERT)
        return "the target took it and has no row of it: a trigger or a rule there makes nothing of it";
    if (r->outcome == ROW_MISSING)
        return "there is no such row on the target";
    return arena_printf(x->arena, "a row is in the way on the target, by constraint \"%s\"%s%s",
                        r->constraint == NULL ? "" : r->constraint, r->detail == NULL ? "" : ": ",
                        r->detail == NULL ? "" : r->detail);
}

MUST_USE static struct error *refuse(const struct exact *x, const struct row_result *r)
{
    return error_new(ERROR_DATA, "%s: %s", change_describe(x->arena, x->change), describe_result(x, r));
}

static enum conflict_policy policy_of(const struct exact *x)
{
    return x->options.decision.choice == RESUME_OVERWRITE ? CONFLICT_OVERWRITE : x->options.policy;
}

MUST_USE static struct error *record(const struct exact *x, enum conflict_kind kind, enum conflict_action action,
                                     const struct row_result *r)
{
    const struct conflict conflict = {
        .kind = kind,
        .policy = x->options.policy,
        .choice = x->options.decision.choice,
        .instead = x->options.decision.instead,
        .action = action,
        .change = change_as_row(x->change),
        .constraint = r->constraint,
        .n_removed = r->n_removed,
        .removed = r->removed,
        .xid = x->transaction->xid,
        .commit = x->transaction->commit,
        .committed_us = x->transaction->committed_us,
    };

    TRY(x->target.ops->conflict(x->target.self, &conflict)); /* (A4) */
    ++*x->options.conflicts;
    return NULL;
}

/* What is in the way goes; only then is the change as the source meant it. */
MUST_USE static struct error *overwrite(const struct exact *x, const struct row_change *change, struct row_result *out)
{
    TRY(x->target.ops->row(x->target.self, x->arena, change, ROW_OVERWRITE, out));
    return out->outcome == ROW_DONE ? NULL : refuse(x, out);
}

MUST_USE static struct error *replace(const struct exact *x, enum conflict_kind kind, struct row_result *r)
{
    const struct row_change change = change_as_row(x->change);
    const char *constraint = r->constraint;

    TRY(overwrite(x, &change, r));
    r->constraint = constraint;
    return record(x, kind, CONFLICT_REPLACED, r);
}

/* What the stream did not send, asked of the source. *out_whole is NULL when the row is gone there. */
MUST_USE static struct error *complete_row(const struct exact *x, const struct value **out_whole)
{
    struct change complete = *x->change;
    const struct row_change asked = {
        .table = x->change->table,
        .op = x->change->op,
        .row = {.key = change_key_of(x->arena, x->change->table, x->change->new_row), .row = x->change->new_row}};

    *out_whole = NULL;
    if (x->options.source.fetch == NULL)
        return error_new(ERROR_DATA,
                         "%s: there is no such row on the target, and it cannot be inserted because the source did "
                         "not send its unchanged large values",
                         change_describe(x->arena, x->change));
    TRY(x->options.source.fetch(x->options.source.self, x->arena, &asked, &complete.old_row));
    if (complete.old_row != NULL)
        *out_whole = change_whole_row(x->arena, &complete);
    return NULL;
}

MUST_USE static struct error *insert_missing(const struct exact *x, enum conflict_kind kind, struct row_result *r)
{
    const struct value *whole = change_whole_row(x->arena, x->change);

    if (whole == NULL)
        TRY(complete_row(x, &whole));
    if (whole == NULL)
        return record(x, kind, CONFLICT_SKIPPED, r);

    const struct row_change insert = {.table = x->change->table, .op = BATCH_INSERT, .row = {.row = whole}};
    TRY(overwrite(x, &insert, r));
    return record(x, kind, CONFLICT_INSERTED, r);
}

static enum conflict_kind kind_of(const struct change *c, enum row_outcome outcome)
{
    if (c->op == BATCH_INSERT)
        return CONFLICT_INSERT_DUPLICATE;
    if (c->op == BATCH_DELETE)
        return CONFLICT_DELETE_MISSING;
    return outcome == ROW_MISSING ? CONFLICT_UPDATE_MISSING : CONFLICT_UPDATE_DUPLICATE;
}

MUST_USE static struct error *decide(const struct exact *x, struct row_result *r)
{
    enum conflict_kind kind = kind_of(x->change, r->outcome);

    switch (decisions[kind][policy_of(x)]) {
    case DECIDE_FAIL:
        return refuse(x, r);
    case DECIDE_SKIP:
        return record(x, kind, CONFLICT_SKIPPED, r);
    case DECIDE_REPLACE:
        return replace(x, kind, r);
    case DECIDE_INSERT:
        return insert_missing(x, kind, r);
    }
    return error_new(ERROR_BUG, "no decision for conflict %d", (int)kind);
}

MUST_USE static struct error *apply_truncate(const struct exact *x)
{
    const struct change_truncate *t = x->change->truncate;
    bool as_expected;
    const char *why = NULL;

    TRY(x->target.ops->truncate(x->target.self, t->tables, t->n_tables, t->restart_identity));
    TRY(x->target.ops->settle(x->target.self, x->arena, &as_expected, &why));
    return as_expected ? NULL : error_new(ERROR_DATA, "%s: %s", change_describe(x->arena, x->change), why);
}

static bool is_skipped(enum resume_choice choice)
{
    return choice == RESUME_SKIP_CHANGE || choice == RESUME_SKIP_TRANSACTION;
}

/* (A4) A TRUNCATE is recorded once for each of its tables. */
MUST_USE static struct error *skip(const struct exact *x)
{
    const struct change_truncate *t = x->change->truncate;
    const struct row_result nothing = {0};

    if (x->change->table != NULL)
        return record(x, CONFLICT_REFUSED, CONFLICT_SKIPPED, &nothing);
    for (unsigned i = 0; i < t->n_tables; i++) {
        const struct change of_one = {.table = t->tables[i], .op = BATCH_DELETE};
        const struct exact one = {x->target, x->arena, x->options, x->transaction, &of_one};

        TRY(record(&one, CONFLICT_REFUSED, CONFLICT_SKIPPED, &nothing));
    }
    return NULL;
}

/* (A4) What is run in its place is recorded like a row that was replaced. */
MUST_USE static struct error *run_statement(const struct exact *x)
{
    const struct row_change change = change_as_row(x->change);
    const struct row_result nothing = {0};
    const char *instead = x->options.decision.choice == RESUME_REPLACE ? x->options.decision.instead : NULL;

    TRY(x->target.ops->ddl(x->target.self, x->arena, &change, instead));
    return instead == NULL ? NULL : record(x, CONFLICT_REFUSED, CONFLICT_REPLACED, &nothing);
}

struct error *exact_apply(struct target target, struct arena *a, struct exact_options options,
                          const struct window_transaction *transaction, const struct change *change)
{
    const struct exact x = {target, a, options, transaction, change};
    const struct row_change as_row = change_as_row(change);
    struct row_result result = {0};

    if (is_skipped(options.decision.choice))
        return skip(&x);
    if (options.left_out != NULL)
        return record(&x, kind_of(change, ROW_DUPLICATE), CONFLICT_SKIPPED, options.left_out);
    if (change->refusal != NULL) {
        struct error *err = error_new(ERROR_DATA, "%s: %s", change_describe(a, change), change->refusal);

        return error_hint(err, "Give the table a primary key or REPLICA IDENTITY FULL on the source; this one "
                               "change must be made on the target by hand; then \"pgtide resume --skip-change\" goes "
                               "on behind it.");
    }
    if (change->table == NULL)
        return apply_truncate(&x);

    if (change->table->mode == TABLE_DDL)
        return run_statement(&x);

    struct error *err = target.ops->row(target.self, a, &as_row, ROW_PLAIN, &result);
    if (err != NULL)
        return error_wrap(err, "%s", change_describe(a, change));
    if (result.outcome == ROW_DONE)
        return NULL;
    if (result.is_identical && policy_of(&x) != CONFLICT_ERROR)
        return NULL;
    return decide(&x, &result);
}

MUST_USE static struct error *remove_for(const struct exact *x, enum row_remedy remedy, struct row_result *out)
{
    const struct row_change change = change_as_row(x->change);

    return x->target.ops->check_row(x->target.self, x->arena, &change, remedy, out);
}

/* The row is taken away, now or, where it was there before, for the others to be judged without it. */
MUST_USE static struct error *leave_out(const struct exact *x, enum conflict_kind kind, struct exact_verdict *out)
{
    struct row_result removed;

    if (x->change->op != BATCH_INSERT && !x->options.may_leave_out)
        return error_new(ERROR_DATA,
                         "%s: by constraint \"%s\" the row cannot stay as it is, and what it was is not known any more "
                         "in a transaction as large as this",
                         change_describe(x->arena, x->change), out->why.constraint);
    TRY(remove_for(x, REMEDY_REMOVE_ROW, &removed));
    out->must_leave_out = x->change->op != BATCH_INSERT;
    return out->must_leave_out ? NULL : record(x, kind, CONFLICT_SKIPPED, &out->why);
}

MUST_USE static struct error *make_alone(const struct exact *x, enum conflict_kind kind)
{
    struct row_result r;

    TRY(remove_for(x, REMEDY_REMOVE_OTHERS, &r));
    return record(x, kind, CONFLICT_REPLACED, &r);
}

struct error *exact_check(struct target target, struct arena *a, struct exact_options options,
                          const struct window_transaction *transaction, const struct change *change,
                          struct exact_verdict *out)
{
    const struct exact x = {target, a, options, transaction, change};
    enum conflict_kind kind = kind_of(change, ROW_DUPLICATE);

    *out = (struct exact_verdict){.must_leave_out = false};
    if (is_skipped(options.decision.choice) || options.left_out != NULL)
        return NULL;
    struct error *err = remove_for(&x, REMEDY_NONE, &out->why);
    if (err != NULL)
        return error_wrap(err, "%s", change_describe(a, change));
    if (out->why.outcome == ROW_DONE)
        return NULL;
    if (out->why.is_identical && policy_of(&x) != CONFLICT_ERROR) {
        struct row_result removed;

        return remove_for(&x, REMEDY_REMOVE_ROW, &removed);
    }
    switch (decisions[kind][policy_of(&x)]) {
    case DECIDE_FAIL:
        return refuse(&x, &out->why);
    case DECIDE_SKIP:
        return leave_out(&x, kind, out);
    case DECIDE_REPLACE:
        return make_alone(&x, kind);
    case DECIDE_INSERT:
        break;
    }
    return error_new(ERROR_BUG, "no decision for conflict %d", (int)kind);
}
