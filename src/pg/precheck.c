#include "pg/precheck.h"

#include <stdarg.h>

#include "base/backoff.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "model/nearest.h"
#include "pg/precheck_context.h"

enum {
    OBJECTS_IN_FIX = 50,
    LOST_FOR_MS = 60000, /* a server restarts in that time */
    PASSING_TRIES = 2,   /* what still does not come about is a finding: no line in pg_hba.conf, no session left */
};

/* The precheck begins again when a connection was lost. */
struct rounds {
    struct backoff pause;
    int64_t until_us;
};

enum need {
    NEEDS_NOTHING = 0,
    NEEDS_SOURCE = 1,
    NEEDS_TARGET = 2,
    NEEDS_BOTH = NEEDS_SOURCE | NEEDS_TARGET,
    CONNECTS = 4, /* makes a session of its own */
};

/* In the order in which they run and are shown: what others need comes first. */
static const struct check {
    const char *id;
    enum check_group group;
    const char *title;
    enum need needs;
    precheck_function *run;
} checks[] = {
    {"source-reachable", CHECK_NETWORK, "the source can be reached", NEEDS_NOTHING, check_source_reachable},
    {"target-reachable", CHECK_NETWORK, "the target can be reached", NEEDS_NOTHING, check_target_reachable},
    {"source-tls", CHECK_NETWORK, "the way to the source is encrypted", NEEDS_SOURCE, check_source_tls},
    {"target-tls", CHECK_NETWORK, "the way to the target is encrypted", NEEDS_TARGET, check_target_tls},
    {"source-sessions", CHECK_NETWORK, "sessions on the source are direct, and as asked for", NEEDS_SOURCE | CONNECTS,
     check_source_sessions},
    {"target-sessions", CHECK_NETWORK, "sessions on the target are direct, and as asked for", NEEDS_TARGET | CONNECTS,
     check_target_sessions},
    {"selected-objects", CHECK_OBJECT_DEPENDENCY, "the selected objects exist", NEEDS_SOURCE, check_selected_objects},
    {"dependencies", CHECK_OBJECT_DEPENDENCY, "what the selected objects need is selected", NEEDS_SOURCE,
     check_dependencies},
    {"versions", CHECK_VERSION, "the versions of both servers fit", NEEDS_BOTH, check_versions},
    {"pg-dump", CHECK_VERSION, "pg_dump is there and new enough", NEEDS_SOURCE, check_pg_dump},
    {"source-wal-level", CHECK_PARAMETER, "the source writes logical WAL", NEEDS_SOURCE, check_source_wal_level},
    {"source-replication-slots", CHECK_PARAMETER, "the source has a free replication slot", NEEDS_SOURCE,
     check_source_slots},
    {"source-wal-senders", CHECK_PARAMETER, "the source has a free WAL sender", NEEDS_SOURCE, check_source_senders},
    {"source-locks", CHECK_PARAMETER, "the source can lock all tables for the dump", NEEDS_SOURCE, check_source_locks},
    {"source-wal-keep", CHECK_PARAMETER, "the source keeps WAL for a slot long enough", NEEDS_SOURCE, check_wal_keep},
    {"source-sender-timeout", CHECK_PARAMETER, "the source does not take us for dead too soon", NEEDS_SOURCE,
     check_sender_timeout},
    {"source-privileges", CHECK_PRIVILEGE, "the source user may read and replicate", NEEDS_SOURCE,
     check_source_privileges},
    {"row-security", CHECK_PRIVILEGE, "no policy hides rows from us", NEEDS_SOURCE, check_row_security},
    {"output-plugin", CHECK_SOURCE_FACTS, "changes can be decoded", NEEDS_SOURCE, check_output_plugin},
    {"source-replication", CHECK_NETWORK, "the source takes a replication session", NEEDS_SOURCE | CONNECTS,
     check_source_replication},
    {"source-standby", CHECK_SOURCE_FACTS, "the source is a primary", NEEDS_SOURCE, check_source_standby},
    {"replica-identity", CHECK_SOURCE_FACTS, "every table has a replica identity", NEEDS_SOURCE,
     check_replica_identity},
    {"generated-identity", CHECK_SOURCE_FACTS, "no replica identity has generated columns", NEEDS_SOURCE,
     check_generated_identity},
    {"partitions", CHECK_SOURCE_FACTS, "partitions and inheritance have ordinary shapes", NEEDS_SOURCE,
     check_partitions},
    {"long-rows", CHECK_SOURCE_FACTS, "no row is longer than 1 GB", NEEDS_SOURCE, check_long_rows},
    {"unlogged-tables", CHECK_SOURCE_FACTS, "there are no unlogged tables", NEEDS_SOURCE, check_unlogged},
    {"large-objects", CHECK_SOURCE_FACTS, "there are no large objects", NEEDS_SOURCE, check_large_objects},
    {"foreign-tables", CHECK_SOURCE_FACTS, "there are no foreign tables", NEEDS_SOURCE, check_foreign_tables},
    {"tablespaces", CHECK_SOURCE_FACTS, "only the default tablespace is used", NEEDS_SOURCE, check_tablespaces},
    {"reserved-schema", CHECK_SOURCE_FACTS, "nothing of yours is in our schema", NEEDS_SOURCE, check_reserved_schema},
    {"source-ddl", CHECK_SOURCE_FACTS, "the structure stays as it is", NEEDS_SOURCE, check_source_ddl},
    {"source-truncate", CHECK_SOURCE_FACTS, "the source sends TRUNCATE", NEEDS_SOURCE, check_source_truncate},
    {"long-transactions", CHECK_SOURCE_FACTS, "no old transaction delays the start", NEEDS_SOURCE,
     check_long_transactions},
    {"target-privileges", CHECK_PRIVILEGE, "the target user may create and write", NEEDS_TARGET,
     check_target_privileges},
    {"target-settings", CHECK_PARAMETER, "the target takes writes and our sessions", NEEDS_TARGET,
     check_target_settings},
    {"target-objects", CHECK_PRIVILEGE, "the target user may write what is there already", NEEDS_BOTH,
     check_target_objects},
    {"superuser-objects", CHECK_PRIVILEGE, "all objects can be created by the target user", NEEDS_BOTH,
     check_superuser_objects},
    {"target-limits", CHECK_PARAMETER, "the target's limits are wide enough", NEEDS_BOTH, check_target_limits},
    {"target-disk", CHECK_DISK, "the target has room for rows and indexes", NEEDS_BOTH, check_target_disk},
    {"block-size", CHECK_TARGET_STATE, "the target's blocks are as large", NEEDS_BOTH, check_block_size},
    {"encoding", CHECK_TARGET_STATE, "the encoding of the target fits", NEEDS_BOTH, check_encoding},
    {"collation", CHECK_TARGET_STATE, "texts are sorted alike", NEEDS_BOTH, check_collation},
    {"time-zone", CHECK_TARGET_STATE, "both sides have the same default time zone", NEEDS_BOTH, check_time_zone},
    {"lc-monetary", CHECK_TARGET_STATE, "money means the same on both sides", NEEDS_BOTH, check_lc_monetary},
    {"extensions", CHECK_TARGET_STATE, "all extensions are available on the target", NEEDS_BOTH, check_extensions},
    {"extension-versions", CHECK_TARGET_STATE, "no extension is older on the target", NEEDS_BOTH,
     check_extension_versions},
    {"libraries", CHECK_TARGET_STATE, "the libraries of C functions are on the target", NEEDS_BOTH, check_libraries},
    {"accounts", CHECK_TARGET_STATE, "roles come along", NEEDS_BOTH, check_accounts},
    {"roles-missing", CHECK_TARGET_STATE, "all owners and grantees exist on the target", NEEDS_BOTH, check_roles},
    {"left-out", CHECK_PRIVILEGE, "nothing is left out for want of rights on the target", NEEDS_BOTH, check_left_out},
    {"target-writers", CHECK_OBJECT_CONFLICT, "nobody else synchronizes into the target", NEEDS_BOTH,
     check_target_writers},
    {"target-empty", CHECK_OBJECT_CONFLICT, "the target has no objects of the same names", NEEDS_BOTH,
     check_target_empty},
};

const char *const *precheck_ids(void)
{
    static const char *ids[COUNT_OF(checks) + 1]; /* written with the same values by whoever comes */

    for (size_t i = 0; i < COUNT_OF(checks); i++)
        ids[i] = checks[i].id;
    return ids;
}

void item_is(struct precheck *p, struct check_item *item, enum check_result result, const char *fmt, ...)
{
    char *reason = NULL;
    va_list ap;

    va_start(ap, fmt);
    int length = vasprintf(&reason, fmt, ap);
    va_end(ap);
    if (length < 0)
        abort();
    item->result = result;
    item->reason = arena_strdup(p->a, reason);
    free(reason);
}

void item_objects_from_rows(struct precheck *p, struct check_item *item, const struct pg_rows *rows)
{
    const char **objects = arena_alloc(p->a, (rows->n_rows + 1U) * sizeof *objects);

    for (unsigned r = 0; r < rows->n_rows; r++)
        objects[r] = rows->rows[r][0];
    item->objects = objects;
    item->n_objects = rows->n_rows;
}

void item_objects_from_tables(struct precheck *p, struct check_item *item,
                              bool (*is_meant)(const struct catalog_table *t))
{
    const char **objects = arena_alloc(p->a, (p->catalog.n_tables + 1U) * sizeof *objects);

    item->n_objects = 0;
    for (unsigned i = 0; i < p->catalog.n_tables; i++) {
        const struct catalog_table *t = &p->catalog.tables[i];

        if (is_meant(t))
            objects[item->n_objects++] = pg_quote_name(p->a, t->schema, t->name);
    }
    item->objects = objects;
}

struct pg_rows precheck_select(struct precheck *p, const struct pg_rows *wanted, const struct pg_rows *have,
                               bool is_common)
{
    struct pg_rows out = {.n_columns = 1};
    unsigned at = 0;

    out.rows = arena_alloc(p->a, (wanted->n_rows + 1U) * sizeof *out.rows);
    for (unsigned r = 0; r < wanted->n_rows; r++) {
        const char *text = wanted->rows[r][0];

        while (at < have->n_rows && strcmp(have->rows[at][0], text) < 0)
            at++;
        bool is_there = at < have->n_rows && strcmp(have->rows[at][0], text) == 0;
        if (is_there == is_common)
            out.rows[out.n_rows++] = wanted->rows[r];
    }
    return out;
}

void item_fix(struct precheck *p, struct check_item *item, enum check_side side, const char *fix)
{
    item->fix = arena_printf(p->a, "-- on the %s\n%s", side == ON_SOURCE ? "source" : "target", fix);
}

void item_fix_each(struct precheck *p, struct check_item *item, enum check_side side, const char *before,
                   const char *after)
{
    CLEANUP(buffer_free) struct buffer *fix = buffer_new();

    for (unsigned i = 0; i < item->n_objects && i < OBJECTS_IN_FIX; i++)
        buffer_printf(fix, "%s%s%s%s", i == 0 ? "" : "\n", before, item->objects[i], after);
    if (item->n_objects > OBJECTS_IN_FIX)
        buffer_printf(fix, "\n-- and for %u more", item->n_objects - OBJECTS_IN_FIX);
    item_fix(p, item, side, buffer_text(fix));
}

/* Grows by doubling: the arena keeps what was there before, at most as much again. */
void item_repair(struct precheck *p, struct check_item *item, enum check_side side, const char *sql)
{
    unsigned n = item->n_repairs;

    if ((n & (n - 1)) == 0) {
        struct check_repair *more = arena_alloc(p->a, (n == 0 ? 1U : 2U * n) * sizeof *more);

        if (n > 0)
            memcpy(more, item->repairs, n * sizeof *more);
        item->repairs = more;
    }
    item->repairs[item->n_repairs++] = (struct check_repair){.on_source = side == ON_SOURCE, .sql = sql};
}

void item_repair_each(struct precheck *p, struct check_item *item, enum check_side side, const char *before,
                      const char *after)
{
    for (unsigned i = 0; i < item->n_objects; i++)
        item_repair(p, item, side, arena_printf(p->a, "%s%s%s", before, item->objects[i], after));
}

bool precheck_follows(const struct precheck *p)
{
    return p->options->sync->type != SYNC_FULL;
}

bool precheck_copies(const struct precheck *p)
{
    return p->options->sync->type != SYNC_INCREMENTAL;
}

static bool is_listed(const char *const *ids, const char *id)
{
    for (; *ids != NULL; ids++)
        if (strcmp(*ids, id) == 0)
            return true;
    return false;
}

static const char *nearest_id(const char *typed)
{
    struct nearest best = {.name = NULL};

    for (const char *const *id = precheck_ids(); *id != NULL; id++)
        nearest_try(&best, typed, *id);
    return best.name;
}

/* `others`: what is no check and can be named all the same. NULL-terminated. */
static struct error *refuse_unknown(const char *option, const char *const *wanted, const char *const *others)
{
    for (; *wanted != NULL; wanted++) {
        if (is_listed(precheck_ids(), *wanted) || is_listed(others, *wanted))
            continue;
        const char *nearest = nearest_id(*wanted);
        struct error *err = error_new(ERROR_USAGE, "option \"--%s\": there is no such check as \"%s\"%s%s%s", option,
                                      *wanted, nearest == NULL ? "" : ": did you mean \"",
                                      nearest == NULL ? "" : nearest, nearest == NULL ? "" : "\"?");

        return error_hint(
            err, "\"pgtide check --json\" lists all checks with their names, docs/checks.md says what they are.");
    }
    return NULL;
}

struct error *precheck_names_known(const struct sync_options *options)
{
    static const char *const nothing[] = {NULL}, *const acceptable[] = {"all", "structure-drift", NULL};

    TRY(refuse_unknown("skip-check", options->skip_checks, nothing));
    return refuse_unknown("accept", options->accept, acceptable);
}

static bool is_broken(const struct pg_conn *c)
{
    return c != NULL && pg_conn_is_broken(c);
}

/* What a failure of the network says of the pair is nothing, once it has been reached. */
static void note_loss(struct precheck *p, const struct check *check, const struct error *err)
{
    bool makes_source = check->run == check_source_reachable, makes_target = check->run == check_target_reachable;

    if (error_kind(err) != ERROR_TRANSIENT)
        return;
    p->is_lost = is_broken(p->source) || is_broken(p->target) || (makes_source && p->source_was_reached) ||
                 (makes_target && p->target_was_reached);
    if (p->loss == NULL && (p->is_lost || (check->needs & CONNECTS) != 0))
        p->loss = arena_strdup(p->a, error_message(err));
}

/* Errors of a check are its result; only a request to stop and a lost session end all. */
static struct error *run_check(struct precheck *p, const struct check *check, struct check_item *item)
{
    *item = (struct check_item){.id = check->id, .group = check->group, .title = check->title, .reason = ""};
    if (is_listed(p->options->sync->skip_checks, check->id)) {
        item_is(p, item, CHECK_SKIPPED, "skipped by --skip-check");
        if (check->needs != NEEDS_NOTHING)
            return NULL; /* the others make the sessions that all need */
    }
    const char *missing = NULL;
    if ((check->needs & NEEDS_SOURCE) != 0 && p->source == NULL)
        missing = "source-reachable";
    else if ((check->needs & NEEDS_TARGET) != 0 && p->target == NULL)
        missing = "target-reachable";
    if (missing != NULL) {
        item_is(p, item, CHECK_SKIPPED, "not checked because %s failed", missing);
        return NULL;
    }

    struct error *err = check->run(p, item);
    if (err == NULL)
        return NULL;
    note_loss(p, check, err);
    if (error_kind(err) == ERROR_CANCELLED || p->is_lost)
        return err;
    const char *hint = error_hint_text(err);
    item_is(p, item, CHECK_FAILED, "%s", error_message(err));
    item->fix = hint == NULL ? NULL : arena_printf(p->a, "-- %s", hint);
    error_free(err);
    return NULL;
}

static struct error *run_all(struct precheck *p, struct precheck_report *report)
{
    report->n_items = COUNT_OF(checks);
    report->items = arena_alloc(p->a, sizeof *report->items * COUNT_OF(checks));
    for (size_t i = 0; i < COUNT_OF(checks); i++) {
        struct check_item *item = &report->items[i];

        TRY(run_check(p, &checks[i], item));
        report->n_alarms += item->result == CHECK_ALARM;
        report->n_failed += item->result == CHECK_FAILED;
    }
    report->target_is_missing = p->target_is_missing;
    report->chosen = p->chosen;
    return NULL;
}

/* Takes what ended a round (may be NULL). True: after a pause all is asked anew. */
static bool goes_on(const struct precheck *p, struct rounds *rounds, const struct error *err)
{
    bool is_allowed = p->is_lost ? clock_now_us() < rounds->until_us : rounds->pause.tries < PASSING_TRIES;

    if (p->loss == NULL || (err != NULL && !p->is_lost) || !is_allowed)
        return false;
    if (rounds->pause.tries == 0)
        log_warn("a connection was lost within the precheck, which begins again: %s", p->loss);
    return true;
}

MUST_USE static struct error *run_round(struct precheck *p, struct precheck_report *out)
{
    struct error *err = run_all(p, out);

    pg_conn_close(TAKE(p->source));
    pg_conn_close(TAKE(p->target));
    return err;
}

MUST_USE static struct error *explain_loss(const struct precheck *p, struct error *err)
{
    if (!p->is_lost)
        return err;
    return error_hint(error_wrap(err, "a connection was lost within the precheck, again and again"),
                      "Nothing was begun on either side. Run the same command again when the network is up.");
}

struct error *precheck_run(struct arena *a, struct precheck_options options, struct precheck_report *out)
{
    struct precheck p = {.a = a, .options = &options};
    struct rounds rounds = {.until_us = clock_now_us() + LOST_FOR_MS * INT64_C(1000)};

    TRY(precheck_names_known(options.sync));
    for (;;) {
        struct precheck_report report = {.n_items = 0};
        struct error *err = run_round(&p, &report);

        if (!goes_on(&p, &rounds, err)) {
            if (err == NULL)
                *out = report;
            return explain_loss(&p, err);
        }
        error_free(err);
        p = (struct precheck){.a = a,
                              .options = &options,
                              .source_was_reached = p.source_was_reached,
                              .target_was_reached = p.target_was_reached};
        if (stop_wait_ms(options.stop, backoff_next_ms(&rounds.pause)))
            return error_new(ERROR_CANCELLED, "stopped within the precheck");
    }
}
