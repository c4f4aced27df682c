/* Room and limits: WAL on the source; disk, locks, workers and prepared transactions on the target. */
#include <inttypes.h>
#include <sys/statvfs.h>

#include "base/buffer.h"
#include "pg/cells.h"
#include "pg/precheck_context.h"
#include "pg/sql.h"
#include "sys/file.h"

enum {
    LEAST_SEGMENTS = 4,             /* of WAL: with less a slot is lost in a moment */
    LEAST_SENDER_TIMEOUT_MS = 5000, /* we tell the source each second how far we are; a busy machine may be late */
};

/* ---- the source's WAL ---- */

/* In its own unit; NULL where the server does not know it. */
static struct error *read_setting(struct pg_conn *c, struct arena *a, const char *name, char **out_value)
{
    return pg_query_text(c, a, "reading a setting", "SELECT (SELECT setting FROM pg_settings WHERE name = $1)", &name,
                         1, out_value);
}

struct error *check_wal_keep(struct precheck *p, struct check_item *item)
{
    char *keep_mb, *segment_bytes;

    TRY(read_setting(p->source, p->a, "max_slot_wal_keep_size", &keep_mb));
    TRY(pg_query_text(p->source, p->a, "reading the size of WAL segments",
                      "SELECT pg_size_bytes(current_setting('wal_segment_size'))::text", NULL, 0, &segment_bytes));
    int64_t limit = keep_mb == NULL ? -1 : cell_i64(keep_mb);
    int64_t least = (LEAST_SEGMENTS * cell_i64(segment_bytes)) >> 20;

    if (!precheck_follows(p))
        item_is(p, item, CHECK_PASSED, "not needed for a full synchronization alone");
    else if (limit < 0)
        item_is(
            p, item, CHECK_PASSED,
            "no limit (max_slot_wal_keep_size): the slot is safe, and pgtide shows what it keeps; by default changes "
            "go to this machine's disk at once, so that it keeps little");
    else if (limit >= least)
        item_is(p, item, CHECK_PASSED,
                "the source removes WAL that the slot needs when it keeps more than %" PRId64 " MB", limit);
    else
        item_is(p, item, CHECK_ALARM,
                "max_slot_wal_keep_size is %" PRId64 " MB, less than %d segments of WAL: a short interruption, and "
                "the source removes what the slot needs, so that the synchronization has to begin anew",
                limit, LEAST_SEGMENTS);
    if (item->result == CHECK_ALARM)
        item_fix(p, item, ON_SOURCE,
                 "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf(); -- or -1: no limit");
    return NULL;
}

struct error *check_sender_timeout(struct precheck *p, struct check_item *item)
{
    char *timeout;

    TRY(read_setting(p->source, p->a, "wal_sender_timeout", &timeout));
    int64_t ms = cell_i64(timeout);
    if (!precheck_follows(p))
        item_is(p, item, CHECK_PASSED, "not needed for a full synchronization alone");
    else if (ms == 0)
        item_is(p, item, CHECK_PASSED, "wal_sender_timeout is off; what is dead is noticed by TCP keepalives");
    else if (ms >= LEAST_SENDER_TIMEOUT_MS)
        item_is(p, item, CHECK_PASSED, "wal_sender_timeout is %" PRId64 " s, and pgtide answers each second",
                ms / 1000);
    else
        item_is(p, item, CHECK_ALARM,
                "wal_sender_timeout is %" PRId64
                " ms: on a busy machine or a slow network the source would take us for "
                "dead again and again",
                ms);
    if (item->result == CHECK_ALARM)
        item_fix(p, item, ON_SOURCE, "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();");
    return NULL;
}

/* ---- the target's disk ---- */

/*
 * Free bytes where the target keeps its data, if that is surely this machine: the folder that the server names holds the
 * pid file of a server with its port that was started when it was. Otherwise *out_known is false.
 */
static struct error *free_bytes(struct precheck *p, uint64_t *out_bytes, bool *out_known)
{
    struct pg_rows rows;
    char *text = NULL;
    size_t length;
    struct statvfs disk;

    *out_known = false;
    if (!pg_conn_is_local(p->target))
        return NULL;
    TRY(pg_query(p->target, p->a, "reading where the target keeps its data",
                 "SELECT (SELECT setting FROM pg_settings WHERE name = 'data_directory'), current_setting('port'), "
                 "floor(extract(epoch from pg_postmaster_start_time()))::bigint::text",
                 NULL, 0, &rows));
    char **cell = rows.rows[0];
    if (cell[0] == NULL) /* only superusers are told */
        return NULL;
    struct error *err = file_read(p->a, arena_printf(p->a, "%s/postmaster.pid", cell[0]), &text, &length);
    bool is_here = err == NULL && text != NULL;
    error_free(err);
    if (!is_here)
        return NULL;
    /* Lines: pid, folder, start in seconds, port */
    const char *line = text;
    const char *lines[4] = {NULL};
    for (unsigned i = 0; i < COUNT_OF(lines) && line != NULL; i++) {
        lines[i] = line;
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    bool is_same = lines[3] != NULL && cell_i64(lines[3]) == cell_i64(cell[1]) &&
                   llabs(cell_i64(lines[2]) - cell_i64(cell[2])) <= 5;
    if (!is_same || statvfs(cell[0], &disk) != 0)
        return NULL;
    *out_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    *out_known = true;
    return NULL;
}

static uint64_t data_bytes(const struct catalog *c)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < c->n_tables; i++)
        bytes += c->tables[i].heap_bytes + c->tables[i].toast_bytes;
    return bytes;
}

static const char *gigabytes(struct arena *a, uint64_t bytes)
{
    if (bytes < UINT64_C(10) << 30)
        return arena_printf(a, "%" PRIu64 " MB", (bytes + ((1 << 20) - 1)) >> 20);
    return arena_printf(a, "%.1f GB", (double)bytes / (1 << 30));
}

struct error *check_target_disk(struct precheck *p, struct check_item *item)
{
    char *index_bytes;
    uint64_t available = 0;
    bool is_known = false;

    if (!precheck_copies(p)) {
        item_is(p, item, CHECK_PASSED, "nothing is copied");
        return NULL;
    }
    const char *oids = chosen_oids(p->a, p->chosen);
    TRY(pg_query_text(
        p->source, p->a, "reading the size of indexes",
        "SELECT coalesce(sum(pg_relation_size(i.indexrelid)), 0)::bigint::text FROM pg_index i "
        "JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') "
        "AND ($1::oid[] IS NULL OR i.indrelid IN (SELECT unnest($1::oid[])))",
        &oids, 1, &index_bytes));
    uint64_t data = data_bytes(&p->catalog);
    uint64_t needed = data + cell_u64(index_bytes);
    const char *what = arena_printf(p->a, "%s of rows and %s of indexes", gigabytes(p->a, data),
                                    gigabytes(p->a, cell_u64(index_bytes)));

    TRY(free_bytes(p, &available, &is_known));
    if (!is_known) {
        item_is(p, item, CHECK_PASSED, "about %s are needed; what the target's disk has cannot be seen from here",
                what);
    } else if (available >= needed) {
        item_is(p, item, CHECK_PASSED, "%s are needed, %s are free", what, gigabytes(p->a, available));
    } else {
        item_is(p, item, CHECK_ALARM, "%s are needed and only %s are free on the target's disk", what,
                gigabytes(p->a, available));
        item_fix(
            p, item, ON_TARGET,
            arena_printf(p->a, "-- make room for %s more, or give it more disk", gigabytes(p->a, needed - available)));
    }
    return NULL;
}

/* ---- the target's limits ---- */

struct limits {
    uint64_t locks_needed;
    uint64_t locks;
    unsigned workers;
    unsigned prepared;      /* that may be at a time */
    unsigned prepared_used; /* on the source now */
    unsigned max_locks_setting;
};

static struct error *read_limits(struct precheck *p, struct limits *out)
{
    struct pg_rows rows;
    char *locks, *prepared;

    TRY(pg_query_text(p->source, p->a, "counting the locks of partitions", sql_partition_locks, NULL, 0, &locks));
    TRY(pg_query_text(p->source, p->a, "counting prepared transactions",
                      "SELECT count(*)::text FROM pg_prepared_xacts WHERE database = current_database()", NULL, 0,
                      &prepared));
    TRY(pg_query(p->target, p->a, "reading the limits of the target",
                 "SELECT current_setting('max_locks_per_transaction'), current_setting('max_prepared_transactions'), "
                 "current_setting('max_worker_processes'), current_setting('max_connections')",
                 NULL, 0, &rows));
    char **cell = rows.rows[0];
    *out = (struct limits){
        .locks_needed = cell_u64(locks),
        .locks = cell_u64(cell[0]) * (cell_u64(cell[1]) + cell_u64(cell[3])),
        .workers = cell_u32(cell[2]),
        .prepared = cell_u32(cell[1]),
        .prepared_used = cell_u32(prepared),
        .max_locks_setting = cell_u32(cell[0]),
    };
    return NULL;
}

static void append_limit(struct buffer *reason, struct buffer *fix, const char *why, const char *setting)
{
    buffer_printf(reason, "%s%s", reason->length == 0 ? "" : "; ", why);
    buffer_printf(fix, "ALTER SYSTEM SET %s;\n", setting);
}

struct error *check_target_limits(struct precheck *p, struct check_item *item)
{
    CLEANUP(buffer_free) struct buffer *reason = buffer_new();
    CLEANUP(buffer_free) struct buffer *fix = buffer_new();
    struct limits l;

    TRY(read_limits(p, &l));
    if (l.locks_needed > l.locks)
        append_limit(reason, fix,
                     arena_printf(p->a,
                                  "the largest partitioned table takes %" PRIu64
                                  " locks with its indexes, and there is "
                                  "room for about %" PRIu64,
                                  l.locks_needed, l.locks),
                     arena_printf(p->a, "max_locks_per_transaction = %" PRIu64,
                                  l.max_locks_setting * (2 * l.locks_needed / (l.locks + 1) + 1)));
    if (l.prepared_used > l.prepared)
        append_limit(reason, fix,
                     arena_printf(p->a,
                                  "applications use prepared transactions on the source (%u now), and the target "
                                  "allows %u at a time",
                                  l.prepared_used, l.prepared),
                     arena_printf(p->a, "max_prepared_transactions = %u", l.prepared_used + 50));
    if (l.workers == 0)
        append_limit(reason, fix, "max_worker_processes is 0: every index is built by one process alone",
                     "max_worker_processes = 8");
    if (reason->length == 0) {
        item_is(p, item, CHECK_PASSED, "locks, prepared transactions and worker processes are enough");
        return NULL;
    }
    buffer_append_text(fix, "-- then restart the target");
    item_is(p, item, CHECK_ALARM, "%s", buffer_text(reason));
    item_fix(p, item, ON_TARGET, buffer_text(fix));
    return NULL;
}
