#include "worker/cutover_check.h"

#include "base/clock.h"
#include "control/json.h"
#include "pg/sequence.h"
#include "pg/sql.h"
#include "worker/freeze.h"
#include "worker/selecting.h"
#include "worker/task.h"

enum {
    ITEMS_MAX = 16,
    LAG_TRIES = 3,
    LAG_GOOD_MS = 2000, /* what is more than that is told: the writes will stand still for so long */
    LAG_MOST_MS = 30000,
    POLL_MS = 20,
};

struct checklist {
    const struct pair *pair;
    struct pg_conn *source;
    const struct cutover_options *options;
    const json_t *status;
    struct chosen *chosen; /* NULL: the whole database */
    struct arena *arena;
    struct check_item *items;
    unsigned n;
};

static struct check_item *add(struct checklist *l, const char *id, enum check_group group, const char *title)
{
    struct check_item *item = &l->items[l->n++];

    *item = (struct check_item){.id = id, .group = group, .result = CHECK_PASSED, .title = title};
    return item;
}

/* ---- the sync ---- */

static bool is_following(const struct checklist *l)
{
    const char *phase = json_string_value(json_object_get(l->status, "phase"));

    return phase != NULL && strcmp(phase, phase_name(PHASE_INCREMENTAL)) == 0;
}

static bool is_paused(const struct checklist *l)
{
    const char *state = json_string_value(json_object_get(l->status, "state"));

    return state != NULL && strcmp(state, "paused") == 0;
}

MUST_USE static struct error *check_sync(struct checklist *l)
{
    struct check_item *item = add(l, "sync", CHECK_TARGET_STATE, "the sync follows the source");
    const char *phase = json_string_value(json_object_get(l->status, "phase"));

    if (l->status == NULL) {
        item->result = CHECK_SKIPPED;
        item->reason = "no sync of this pair runs: the cutover goes on with the interrupted one";
    } else if (is_paused(l)) {
        item->result = CHECK_FAILED;
        item->reason = "applying is paused";
        item->fix = "pgtide resume SOURCE TARGET";
    } else if (!is_following(l)) {
        item->result = CHECK_FAILED;
        item->reason = arena_printf(l->arena, "it is in phase %s", phase == NULL ? "unknown" : phase);
        item->fix = "pgtide wait SOURCE TARGET --for incremental";
    }
    return NULL;
}

MUST_USE static struct error *check_conflicts(struct checklist *l)
{
    struct check_item *item =
        add(l, "conflicts", CHECK_TARGET_STATE, "no conflicts were recorded since the sync was started");
    json_int_t n = json_integer_value(json_object_get(l->status, "conflicts"));

    if (n > 0) {
        item->result = CHECK_ALARM;
        item->reason = arena_printf(l->arena, "%" JSON_INTEGER_FORMAT " conflicts: the sides may differ there", n);
        item->fix = "pgtide conflicts SOURCE TARGET";
    }
    return NULL;
}

/* How long a marker takes from the source to the target: so long nobody will be able to write, at least. */
MUST_USE static struct error *measure_lag(struct checklist *l, int64_t *out_us)
{
    int64_t began_us = clock_now_us();
    struct lsn mark, applied = LSN_NONE;

    TRY(task_mark(l->source, &mark));
    while (lsn_before(applied, mark) && clock_now_us() - began_us < (int64_t)LAG_MOST_MS * 1000) {
        CLEANUP(json_decref) json_t *reply = NULL;

        TRY(pair_ask(l->pair, "fence", NULL, &reply));
        const char *text = json_string_value(json_object_get(reply, "applied"));
        if (text != NULL && !lsn_parse(text, &applied))
            return error_new(ERROR_BUG, "the running sync's position \"%s\" is none", text);
        if (lsn_before(applied, mark) && stop_wait_ms(l->pair->stop, POLL_MS))
            return stop_check(l->pair->stop);
    }
    *out_us = clock_now_us() - began_us;
    return NULL;
}

MUST_USE static struct error *check_delay(struct checklist *l)
{
    struct check_item *item = add(l, "delay", CHECK_TARGET_STATE, "the target is close behind the source");
    int64_t worst_us = 0;

    if (l->status == NULL) {
        item->result = CHECK_SKIPPED;
        item->reason = "no sync of this pair runs";
        return NULL;
    }
    if (is_paused(l) || !is_following(l)) {
        item->result = CHECK_SKIPPED;
        item->reason = is_paused(l) ? "applying is paused" : "the sync does not follow yet";
        return NULL;
    }
    for (unsigned i = 0; i < LAG_TRIES && worst_us < (int64_t)LAG_MOST_MS * 1000; i++) {
        int64_t us = 0;

        TRY(measure_lag(l, &us));
        worst_us = us > worst_us ? us : worst_us;
    }
    item->reason =
        arena_printf(l->arena, "what is committed on the source is on the target after %.2f s, the longest of %d tries",
                     (double)worst_us / 1e6, LAG_TRIES);
    if (worst_us >= (int64_t)LAG_MOST_MS * 1000) {
        item->result = CHECK_FAILED;
        item->reason = arena_printf(l->arena, "the target is more than %d s behind", LAG_MOST_MS / 1000);
    } else if (worst_us > (int64_t)LAG_GOOD_MS * 1000) {
        item->result = CHECK_ALARM;
    }
    return NULL;
}

/* ---- the source ---- */

enum {
    SESSION_PID,
    SESSION_NAME,
    SESSION_USER,
    SESSION_ADDRESS,
    SESSION_STATE,
    SESSION_AGE,
    SESSION_QUERY,
    SESSION_WRITES
};

static const char *session_text(struct arena *a, char *const *row)
{
    bool has_age = row[SESSION_AGE][0] != '\0';

    return arena_printf(a, "pid %s, %s, user %s, %s: %s%s%s%s%s%s", row[SESSION_PID], row[SESSION_NAME],
                        row[SESSION_USER], row[SESSION_ADDRESS], row[SESSION_STATE],
                        strcmp(row[SESSION_WRITES], "true") == 0 ? ", in a transaction that writes" : "",
                        has_age ? ", last statement " : "", has_age ? row[SESSION_AGE] : "", has_age ? " s ago: " : "",
                        row[SESSION_QUERY]);
}

MUST_USE static struct error *check_sessions(struct checklist *l)
{
    struct check_item *item = add(l, "sessions", CHECK_SOURCE_FACTS, "nobody works on the source database");
    struct pg_rows rows;

    TRY(pg_query(l->source, l->arena, "listing the sessions on the source", sql_other_sessions, NULL, 0, &rows));
    if (rows.n_rows == 0)
        return NULL;
    const char **objects = arena_alloc(l->arena, rows.n_rows * sizeof *objects);
    for (unsigned i = 0; i < rows.n_rows; i++)
        objects[i] = session_text(l->arena, rows.rows[i]);
    item->objects = objects;
    item->n_objects = rows.n_rows;
    item->result = CHECK_ALARM;
    item->reason =
        arena_printf(l->arena,
                     l->options->freeze ? "%u session%s will be ended, and can only read when they come back"
                                        : "%u session%s; what they write after the marker makes the cutover give up",
                     rows.n_rows, rows.n_rows == 1 ? "" : "s");
    if (!l->options->freeze)
        item->fix = "stop the application, or freeze the source with --freeze";
    return NULL;
}

/* Their changes come when somebody commits them, long after the marker perhaps; and they hold locks that outlive sessions. */
MUST_USE static struct error *check_prepared(struct checklist *l)
{
    struct check_item *item = add(l, "prepared-transactions", CHECK_SOURCE_FACTS, "no transaction is prepared");
    struct pg_rows rows;

    TRY(pg_query(
        l->source, l->arena, "listing prepared transactions",
        "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() ORDER BY 1", NULL,
        0, &rows));
    if (rows.n_rows == 0)
        return NULL;
    const char **objects = arena_alloc(l->arena, rows.n_rows * sizeof *objects);
    for (unsigned i = 0; i < rows.n_rows; i++)
        objects[i] = rows.rows[i][0];
    item->result = CHECK_FAILED;
    item->reason = "what was prepared may be committed after the cutover, and would be lost";
    item->objects = objects;
    item->n_objects = rows.n_rows;
    item->fix = "COMMIT PREPARED '…' or ROLLBACK PREPARED '…' on the source, for each of them";
    return NULL;
}

MUST_USE static struct error *check_freeze(struct checklist *l)
{
    const char *missing = NULL;

    if (!l->options->freeze)
        return NULL;
    struct check_item *item = add(l, "freeze", CHECK_PRIVILEGE, "the user may freeze the source");
    TRY(freeze_missing_right(l->source, l->arena, &missing));
    if (missing != NULL) {
        item->result = CHECK_FAILED;
        item->reason = "ALTER DATABASE needs the owner, ending sessions needs pg_signal_backend";
        item->fix = missing;
    }
    return NULL;
}

MUST_USE static struct error *check_sequences(struct checklist *l)
{
    struct check_item *item = add(l, "sequences", CHECK_SOURCE_FACTS, "all sequences can be read");
    struct sequence *sequences = NULL;
    unsigned n = 0;

    TRY(sequence_read(l->source, l->arena, chosen_filter(l->chosen), &sequences, &n));
    item->reason = arena_printf(l->arena, "%u of them will be set exactly", n);
    return NULL;
}

/* ---- what the stream does not carry ---- */

static const struct {
    const char *kind; /* as sql/not_followed.sql says it */
    const char *id;
    const char *title;
    const char *reason;
} not_followed[] = {
    /* clang-format off */
    {"large objects", "large-objects", "the database has no large objects", "they are not in the change stream: what differs is copied again under the freeze"},
    {"unlogged table", "unlogged-tables", "the database has no unlogged tables", "changes since the copy are not on the target: their rows are of then"},
    {"materialized view", "materialized-views", "the database has no materialized views", "their rows are as of their last refresh on the target"},
    /* clang-format on */
};

static void judge_not_followed(struct checklist *l, unsigned kind, const struct pg_rows *rows)
{
    struct check_item *item = add(l, not_followed[kind].id, CHECK_SOURCE_FACTS, not_followed[kind].title);
    const char **objects = arena_alloc(l->arena, (rows->n_rows + 1) * sizeof *objects);

    item->objects = objects;
    for (unsigned i = 0; i < rows->n_rows; i++)
        if (strcmp(rows->rows[i][0], not_followed[kind].kind) == 0)
            objects[item->n_objects++] = rows->rows[i][1];
    if (item->n_objects == 0)
        return;
    item->result = CHECK_ALARM;
    item->reason = not_followed[kind].reason;
    if (strcmp(item->id, "materialized-views") != 0)
        return;
    if (l->options->refresh_matviews) {
        item->result = CHECK_PASSED;
        item->title = "materialized views are refreshed";
        item->reason = NULL;
    } else {
        item->fix = "--refresh-matviews, or REFRESH MATERIALIZED VIEW on the target afterwards";
    }
}

MUST_USE static struct error *check_not_followed(struct checklist *l)
{
    struct pg_rows rows;

    TRY(pg_query(l->source, l->arena, "listing what the change stream does not carry", sql_not_followed, NULL, 0,
                 &rows));
    chosen_filter_rows(l->chosen, &rows, 2);
    for (unsigned i = 0; i < COUNT_OF(not_followed); i++)
        judge_not_followed(l, i, &rows);
    return NULL;
}

MUST_USE static struct error *check_comparison(struct checklist *l)
{
    struct check_item *item = add(l, "comparison", CHECK_TARGET_STATE, "both sides are compared before the end");

    if (!l->options->compares) {
        item->result = CHECK_ALARM;
        item->reason = "--compare none: nothing will prove that the target is equal";
        item->fix = "pgtide compare SOURCE TARGET while the sync runs, or --compare all";
    }
    return NULL;
}

struct error *cutover_check(const struct pair *p, struct pg_conn *source, const struct cutover_options *options,
                            const json_t *status, struct arena *a, struct cutover_report *out)
{
    static struct error *(*const checks[])(struct checklist *) = {
        check_sync,     check_delay,  check_conflicts, check_comparison,   check_sessions,
        check_prepared, check_freeze, check_sequences, check_not_followed,
    };
    struct checklist l = {.pair = p, .source = source, .options = options, .status = status, .arena = a};

    TRY(selecting_of(p->record, p->folder, source, a, &l.chosen));
    l.items = arena_alloc(a, ITEMS_MAX * sizeof *l.items);
    for (size_t i = 0; i < COUNT_OF(checks); i++)
        TRY(checks[i](&l));
    out->items = l.items;
    out->n_items = l.n;
    return NULL;
}
