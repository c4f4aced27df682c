#include "worker/copy_worker_internal.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "base/fault.h"
#include "base/log.h"

static void begin_build(struct copy_worker *w, uint32_t what)
{
    copy_builds_begin(w->crew->builds, w->number, pg_conn_pid(w->target), what);
}

static const char *dump_ids(const struct copy_worker *w, const char *before, const char *between, const char *after)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    for (unsigned i = 0; i < w->job->n_entries; i++)
        buffer_printf(b, "%s%d", i == 0 ? before : between, w->crew->options->entries[w->job->entries[i]].plan.dump_id);
    buffer_append_text(b, after);
    return arena_strdup(w->scratch, buffer_text(b));
}

MUST_USE static struct error *find_built(struct copy_worker *w, bool *out_is_built)
{
    const char *params[] = {w->crew->options->task, dump_ids(w, "{", ",", "}")};
    char *count;

    *out_is_built = false;
    if (w->job->tries == 0)
        return NULL;
    TRY(pg_query_text(w->target, w->scratch, "asking what was built",
                      "SELECT count(*)::text FROM pgtide.done WHERE task = $1 AND dump_id = ANY ($2::int[])", params,
                      COUNT_OF(params), &count));
    *out_is_built = count != NULL && strtoul(count, NULL, 10) == w->job->n_entries;
    return NULL;
}

/* Neighbours share their prelude. */
MUST_USE static struct error *run_entries(struct copy_worker *w)
{
    const char *prelude = NULL;

    for (unsigned i = 0; i < w->job->n_entries; i++) {
        const struct copy_jobs_entry *e = &w->crew->options->entries[w->job->entries[i]];
        const char *sql = e->sql;

        if (e->prelude != prelude)
            sql = arena_printf(w->scratch, "%s\n%s", e->prelude, e->sql);
        prelude = e->prelude;
        begin_build(w, copy_builds_entry(w->job->entries[i]));
        TRY(pg_execute(w->target, arena_printf(w->scratch, "building %s %s", e->type, e->name), sql));
        copy_builds_credit(w->crew->builds, copy_builds_entry(w->job->entries[i]));
    }
    return NULL;
}

/* Before the transaction, with which it would be forgotten when it fails. */
MUST_USE static struct error *give_memory(struct copy_worker *w)
{
    enum { SERVERS_DEFAULT = 2 };
    const struct copy_jobs_options *o = w->crew->options;
    unsigned parallel = o->parallel_maintenance < 0 ? SERVERS_DEFAULT : (unsigned)o->parallel_maintenance;
    unsigned kb = 0;

    for (unsigned i = 0; i < w->job->n_entries; i++) {
        unsigned needs = copy_plan_build_kb(&o->build_memory, o->entries[w->job->entries[i]].plan.bytes, parallel);
        kb = needs > kb ? needs : kb;
    }
    if (kb == w->build_kb)
        return NULL;
    TRY(pg_execute_format(w->target, "giving index builds memory", "SET maintenance_work_mem = '%ukB'", kb));
    w->build_kb = kb;
    return NULL;
}

/* All entries and their record in one transaction. */
MUST_USE static struct error *build_at_once(struct copy_worker *w)
{
    const char *params[] = {w->crew->options->task, dump_ids(w, "{", ",", "}")};
    struct pg_rows answer;
    bool is_built = false;

    TRY(find_built(w, &is_built));
    if (is_built)
        return NULL;
    TRY(pg_execute(w->target, "beginning a transaction", "BEGIN"));
    TRY(run_entries(w));
    TRY(pg_query(w->target, w->scratch, "recording what was built",
                 "INSERT INTO pgtide.done (task, dump_id) SELECT $1, unnest($2::int[])", params, COUNT_OF(params),
                 &answer));
    FAULT_POINT("copy.index_before_commit");
    return copy_worker_commit(w);
}

struct error *copy_run_build(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    const struct copy_jobs_options *o = w->crew->options;

    (void)out_rows;
    (void)out_end;
    FAULT_POINT("copy.index_begin");
    TRY(copy_worker_open_target(w));
    TRY(give_memory(w));
    if (o->run_entry == NULL)
        TRY(build_at_once(w));
    for (unsigned i = 0; o->run_entry != NULL && i < w->job->n_entries; i++) {
        begin_build(w, copy_builds_entry(w->job->entries[i]));
        TRY(o->run_entry(o->run_self, w->target, w->job->entries[i]));
    }
    /* The prelude's settings stay after the commit; this one makes the pump take notices for refusals. */
    return pg_execute(w->target, "setting up the session", "SET client_min_messages = error");
}

/* The target has them under the names of the dump: what was put off, or renamed on the source after its copy, it may not find. */
static unsigned tables_to_analyze(struct copy_worker *w, const struct copy_source_table **out)
{
    const struct copy_source_table *const *tables = copy_worker_tables(w);
    const bool *put_off = w->crew->options->put_off;
    unsigned n = 0;

    pthread_mutex_lock(&w->crew->plan_mutex);
    for (unsigned i = 0; i < w->job->n_tables; i++)
        if (put_off == NULL || !put_off[w->job->tables[i]])
            out[n++] = tables[i];
    pthread_mutex_unlock(&w->crew->plan_mutex);
    return n;
}

MUST_USE static struct error *analyze_tables(struct copy_worker *w, const struct copy_source_table *const *tables,
                                             unsigned n)
{
    return n == 0
               ? NULL
               : pg_execute(w->target, "gathering statistics on the target", copy_table_analyze(w->scratch, tables, n));
}

struct error *copy_run_analyze(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    const struct copy_source_table **tables =
        arena_alloc(w->scratch, (w->job->n_tables + 1) * sizeof(struct copy_source_table *));
    unsigned n = tables_to_analyze(w, tables);

    (void)out_rows;
    (void)out_end;
    TRY(copy_worker_open_target(w));
    if (w->job->n_tables == 1)
        begin_build(w, copy_builds_statistics(w->crew->builds, w->job->tables[0]));
    struct error *err = analyze_tables(w, tables, n);
    if (err == NULL || error_kind(err) != ERROR_CONFIG)
        return err;
    error_free(err);
    for (unsigned i = 0; i < n; i++) {
        err = analyze_tables(w, &tables[i], 1);
        if (err != NULL && error_kind(err) != ERROR_CONFIG)
            return err;
        if (err != NULL)
            log_debug("%s", error_message(err));
        error_free(err);
    }
    return NULL;
}
