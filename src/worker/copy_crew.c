#include "worker/copy_crew.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"

/* ---- progress ---- */

/*
 * Rows say how far a table is, where it is known how many there are: bytes of the stream are more or less than those of the table, as its
 * rows are compressed or have much around them.
 */
static uint64_t share_of(const struct copy_jobs_table *t, uint64_t rows, uint64_t bytes)
{
    uint64_t most = t->plan.bytes;
    double done = t->rows_expected == 0 ? (double)bytes : (double)most * (double)rows / (double)t->rows_expected;

    return done < (double)most ? (uint64_t)done : most;
}

static void credit_up_to(struct copy_crew *crew, uint32_t table, uint64_t now)
{
    struct copy_credit *c = &crew->credits[table];
    uint64_t before = atomic_load(&c->credited);

    while (before < now)
        if (atomic_compare_exchange_weak(&c->credited, &before, now)) {
            atomic_fetch_add(&crew->counters->data.done, now - before);
            return;
        }
}

void copy_crew_credit(struct copy_crew *crew, uint32_t table, uint64_t rows, uint64_t bytes)
{
    struct copy_credit *c = &crew->credits[table];
    uint64_t passed_rows = atomic_fetch_add(&c->passed_rows, rows) + rows;
    uint64_t passed = atomic_fetch_add(&c->passed, bytes) + bytes;

    credit_up_to(crew, table, share_of(&crew->options->tables[table], passed_rows, passed));
}

void copy_crew_credit_all(struct copy_crew *crew, uint32_t table)
{
    credit_up_to(crew, table, crew->options->tables[table].plan.bytes);
}

void copy_crew_show_counts(struct copy_crew *crew)
{
    struct copy_plan_counts counts = copy_plan_counts(crew->plan);

    atomic_store(&crew->counters->tables_done, counts.tables_copied - crew->n_put_off);
    atomic_store(&crew->counters->index.entries_done, counts.entries_built);
    if (counts.tables_copied == counts.tables && crew->n_put_off == 0)
        atomic_store(&crew->counters->data.state, STEP_DONE);
}

/* ---- the snapshot ---- */

struct error *copy_crew_take_snapshot(struct copy_crew *crew, struct pg_snapshot_holder *holder)
{
    const struct pg_snapshot *s = pg_snapshot_of(holder);
    struct pg_snapshot *all = arena_alloc(crew->arena, (crew->generation + 2) * sizeof *all);
    struct pg_snapshot kept = {
        .id = arena_strdup(crew->arena, s->id),
        .text = arena_strdup(crew->arena, s->text),
        .gate.upto = s->gate.upto,
    };

    TRY(snapshot_parse(crew->arena, kept.text, &kept.gate.snapshot));
    if (crew->snapshots != NULL)
        memcpy(all, crew->snapshots, (crew->generation + 1) * sizeof *all);
    all[++crew->generation] = kept;
    crew->snapshots = all;
    crew->holder = holder;
    atomic_store(&crew->counters->snapshot_since_us, clock_now_us());
    return NULL;
}

struct pg_snapshot_wish copy_crew_wish(const struct copy_jobs_options *o)
{
    return (struct pg_snapshot_wish){
        .covers = o->slot_saw, .not_before = o->slot_lsn, .may_be_standby = o->may_be_standby};
}

MUST_USE static struct error *hold_patiently(const struct copy_jobs_options *o, struct pg_snapshot_holder **out_holder)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "snapshot holder");
    const struct pg_connect_options session = {
        .application_name = arena_printf(scratch, "pgtide %s holder", o->task),
        .encoding = o->encoding,
        .stop = o->stop,
    };
    struct backoff backoff = {0};

    for (;;) {
        struct error *err = pg_snapshot_hold(o->source, session, copy_crew_wish(o), out_holder);

        if (err == NULL || error_kind(err) != ERROR_TRANSIENT)
            return err;
        log_warn("%s; trying again", error_message(err));
        error_free(err);
        if (stop_wait_ms(o->stop, backoff_next_ms(&backoff)))
            return stop_check(o->stop);
    }
}

void copy_crew_release_snapshot(struct copy_crew *crew)
{
    pg_snapshot_release(TAKE(crew->holder));
    atomic_store(&crew->counters->snapshot_since_us, 0);
}

struct error *copy_crew_renew_snapshot(struct copy_crew *crew)
{
    CLEANUP(pg_snapshot_release) struct pg_snapshot_holder *holder = NULL;

    copy_crew_release_snapshot(crew);
    TRY(hold_patiently(crew->options, &holder));
    TRY(copy_crew_take_snapshot(crew, holder));
    holder = NULL; /* the crew's */
    pthread_mutex_lock(&crew->plan_mutex);
    if (crew->plan != NULL)
        copy_plan_snapshot_lost(crew->plan, crew->generation);
    pthread_mutex_unlock(&crew->plan_mutex);
    return NULL;
}

struct error *copy_crew_keep_snapshot(struct copy_crew *crew)
{
    struct error *err = crew->holder == NULL ? error_new(ERROR_TRANSIENT, "no session holds the snapshot")
                                             : pg_snapshot_keep(crew->holder);

    if (err == NULL || error_kind(err) == ERROR_CANCELLED)
        return err;
    log_warn("the session that held the snapshot is lost: tables not finished get a new one: %s", error_message(err));
    error_free(err);
    TRY(copy_crew_renew_snapshot(crew));
    return error_new(ERROR_TRANSIENT, "the session that held the snapshot was lost");
}

/* Whether it is the holder that is lost: a session of the source that is lost itself says nothing about that. */
MUST_USE static struct error *explain(struct copy_crew *crew, unsigned generation, struct error *cause)
{
    CLEANUP(error_free) struct error *err = cause;

    if (error_kind(err) == ERROR_CANCELLED)
        return TAKE(err);
    if (crew->generation != generation)
        return error_new(ERROR_TRANSIENT, "the snapshot was replaced by a newer one");
    TRY(copy_crew_keep_snapshot(crew));
    return TAKE(err);
}

struct error *copy_crew_import(struct copy_crew *crew, struct pg_conn *source, unsigned *out_generation,
                               struct gate *out_gate)
{
    pthread_mutex_lock(&crew->snapshot_mutex);
    unsigned generation = crew->generation;
    const struct pg_snapshot snapshot = crew->snapshots[generation];
    pthread_mutex_unlock(&crew->snapshot_mutex);

    struct error *err = pg_snapshot_import(source, snapshot.id);
    if (err != NULL) {
        pthread_mutex_lock(&crew->snapshot_mutex);
        err = explain(crew, generation, err);
        pthread_mutex_unlock(&crew->snapshot_mutex);
        return err;
    }
    *out_generation = generation;
    *out_gate = snapshot.gate;
    return NULL;
}

/* ---- what was altered ---- */

MUST_USE static struct error *ask_checker(struct copy_crew *crew, struct arena *a,
                                          const struct copy_source_table *const *tables, unsigned n, bool *out_altered)
{
    const struct copy_jobs_options *o = crew->options;
    const struct pg_connect_options options = {
        .application_name = arena_printf(a, "pgtide %s altered", o->task), .encoding = o->encoding, .stop = o->stop};

    if (crew->checker != NULL && pg_conn_is_broken(crew->checker))
        pg_conn_close(TAKE(crew->checker));
    if (crew->checker == NULL)
        TRY(pg_connect_patiently(o->source, options, &crew->checker));
    return copy_table_changed_since(crew->checker, a, tables, n, o->altered_since, out_altered);
}

struct error *copy_crew_find_altered(struct copy_crew *crew, struct arena *a,
                                     const struct copy_source_table *const *tables, unsigned n, bool *out_altered)
{
    memset(out_altered, 0, n * sizeof *out_altered);
    if (crew->options->altered_since == 0)
        return NULL;
    pthread_mutex_lock(&crew->checker_mutex);
    struct error *err = ask_checker(crew, a, tables, n, out_altered);
    pthread_mutex_unlock(&crew->checker_mutex);
    return err;
}
