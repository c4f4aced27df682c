#include "pg/copy_table.h"

#include <inttypes.h>

#include "base/buffer.h"
#include "pg/cells.h"

/* `(a, b)`; nothing for a table without columns, for which () would be wrong and all is none. */
static void append_columns(struct buffer *b, struct arena *a, const struct copy_source_table *t, const char *open,
                           const char *close)
{
    for (unsigned i = 0; i < t->n_columns; i++)
        buffer_printf(b, "%s%s", i == 0 ? open : ", ", pg_quote_identifier(a, t->columns[i]));
    if (t->n_columns > 0)
        buffer_append_text(b, close);
}

static const char *format_of(const struct copy_source_table *t)
{
    return t->is_binary ? "FORMAT binary" : "FORMAT text";
}

char *copy_table_out(struct arena *a, const struct copy_source_table *t)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_printf(b, "COPY %s", pg_quote_name(a, t->schema, t->name));
    append_columns(b, a, t, " (", ")");
    buffer_printf(b, " TO STDOUT (%s)", format_of(t));
    return arena_strdup(a, buffer_text(b));
}

/*
 * Of how many blocks a sample is, is chance: off by a twentieth where 300 are wanted. So it is counted, unless there are so few that blocks must be
 * empty.
 */
static double rows_of_sample(double rows, double blocks, uint64_t heap_blocks, double share)
{
    enum { SIGMAS = 3 };
    double expected = (double)heap_blocks * share, missing = expected - blocks;

    if (blocks <= 0 || (missing > 0 && missing * missing > SIGMAS * SIGMAS * expected))
        return rows / share;
    return rows / blocks * (double)heap_blocks;
}

struct error *copy_table_estimate(struct pg_conn *source, struct arena *a, const struct copy_source_table *t,
                                  uint64_t heap_blocks, uint64_t *out_rows)
{
    enum { SAMPLED_BLOCKS = 300 };
    double share = heap_blocks <= SAMPLED_BLOCKS ? 1 : (double)SAMPLED_BLOCKS / (double)heap_blocks;
    const char *sql = arena_printf(a,
                                   "SELECT count(*)::text, count(DISTINCT (ctid::text::point)[0])::text FROM ONLY %s "
                                   "TABLESAMPLE SYSTEM (%.9f) REPEATABLE (7)",
                                   pg_quote_name(a, t->schema, t->name), share * 100);
    struct pg_rows found;

    TRY(pg_query(source, a, "estimating how many rows a table has", sql, NULL, 0, &found));
    if (found.n_rows != 1)
        return error_new(ERROR_BUG, "a count has %u rows", found.n_rows);
    *out_rows = (uint64_t)rows_of_sample((double)cell_u64(found.rows[0][0]), (double)cell_u64(found.rows[0][1]),
                                         heap_blocks, share);
    return NULL;
}

char *copy_table_range_out(struct arena *a, const struct copy_source_table *t, struct copy_range range)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_append_text(b, "COPY (SELECT");
    append_columns(b, a, t, " ", "");
    buffer_printf(b, " FROM ONLY %s WHERE ctid >= '(%" PRIu32 ",0)'", pg_quote_name(a, t->schema, t->name),
                  range.first_block);
    if (range.end_block != COPY_TABLE_END)
        buffer_printf(b, " AND ctid < '(%" PRIu32 ",0)'", range.end_block);
    buffer_printf(b, ") TO STDOUT (%s)", format_of(t));
    return arena_strdup(a, buffer_text(b));
}

char *copy_table_in(struct arena *a, const struct copy_source_table *t, bool is_frozen)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_printf(b, "COPY %s", pg_quote_name(a, t->schema, t->name));
    append_columns(b, a, t, " (", ")");
    buffer_printf(b, " FROM STDIN (%s%s)", format_of(t), is_frozen ? ", FREEZE" : "");
    return arena_strdup(a, buffer_text(b));
}

struct list_words {
    const char *before;
    const char *each; /* in front of the first name */
    const char *between;
    const char *after;
};

static char *list(struct arena *a, struct list_words words, const struct copy_source_table *const *tables, unsigned n)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_append_text(b, words.before);
    for (unsigned i = 0; i < n; i++)
        buffer_printf(b, "%s%s", i == 0 ? words.each : words.between,
                      pg_quote_name(a, tables[i]->schema, tables[i]->name));
    buffer_append_text(b, words.after);
    return arena_strdup(a, buffer_text(b));
}

char *copy_table_lock(struct arena *a, const struct copy_source_table *const *tables, unsigned n)
{
    return list(a, (struct list_words){"LOCK TABLE", " ONLY ", ", ONLY ", " IN ACCESS SHARE MODE"}, tables, n);
}

char *copy_table_truncate(struct arena *a, const struct copy_source_table *const *tables, unsigned n)
{
    return list(a, (struct list_words){"TRUNCATE", " ONLY ", ", ONLY ", ""}, tables, n);
}

char *copy_table_delete(struct arena *a, const struct copy_source_table *const *tables, unsigned n)
{
    return list(a, (struct list_words){"", "DELETE FROM ONLY ", "; DELETE FROM ONLY ", ""}, tables, n);
}

struct error *copy_table_referenced(struct pg_conn *target, struct arena *a,
                                    const struct copy_source_table *const *tables, unsigned n, bool *out_referenced)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    char *answer = NULL;

    buffer_append_text(sql, "SELECT (EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid IN (");
    for (unsigned i = 0; i < n; i++)
        buffer_printf(sql, "%s%s::regclass", i == 0 ? "" : ", ",
                      pg_quote_literal(a, pg_quote_name(a, tables[i]->schema, tables[i]->name)));
    buffer_append_text(sql, ")))::text");
    TRY(pg_query_text(target, a, "looking for foreign keys", buffer_text(sql), NULL, 0, &answer));
    *out_referenced = answer != NULL && strcmp(answer, "true") == 0;
    return NULL;
}

/* One statement each: 10 takes no list. */
char *copy_table_analyze(struct arena *a, const struct copy_source_table *const *tables, unsigned n)
{
    return list(a, (struct list_words){"", "ANALYZE ", "; ANALYZE ", ""}, tables, n);
}

/* A parameter of type oid[]. */
static char *oids(struct arena *a, const struct copy_source_table *const *tables, unsigned n)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    for (unsigned i = 0; i < n; i++)
        buffer_printf(b, "%c%" PRIu32, i == 0 ? '{' : ',', tables[i]->oid);
    buffer_append_char(b, '}');
    return arena_strdup(a, buffer_text(b));
}

/* pg_class is read under the snapshot; pg_relation_filenode and the lookup by name see what is now. */
static char *check_sql(struct arena *a, const struct copy_source_table *const *tables, unsigned n)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_append_text(b, "SELECT coalesce(to_regclass(w.name)::oid = w.oid, false)::text,"
                          " coalesce(c.relfilenode = pg_relation_filenode(w.oid), false)::text FROM (VALUES ");
    for (unsigned i = 0; i < n; i++)
        buffer_printf(b, "%s(%u, %" PRIu32 "::oid, %s)", i == 0 ? "" : ", ", i, tables[i]->oid,
                      pg_quote_literal(a, pg_quote_name(a, tables[i]->schema, tables[i]->name)));
    buffer_append_text(b, ") w(place, oid, name) LEFT JOIN pg_class c ON c.oid = w.oid ORDER BY w.place");
    return arena_strdup(a, buffer_text(b));
}

static bool is_true(const char *text)
{
    return text != NULL && strcmp(text, "true") == 0;
}

struct error *copy_table_check(struct pg_conn *source, struct arena *a, const struct copy_source_table *const *tables,
                               unsigned n, enum copy_table_state *out_states)
{
    struct pg_rows rows;

    TRY(pg_query(source, a, "checking that the snapshot fits the tables", check_sql(a, tables, n), NULL, 0, &rows));
    if (rows.n_rows != n)
        return error_new(ERROR_BUG, "asked for the state of %u tables, the source answered %u", n, rows.n_rows);
    for (unsigned i = 0; i < n; i++) {
        if (!is_true(rows.rows[i][0]))
            out_states[i] = COPY_TABLE_GONE;
        else
            out_states[i] = is_true(rows.rows[i][1]) ? COPY_TABLE_INTACT : COPY_TABLE_REWRITTEN;
    }
    return NULL;
}

/*
 * Row versions of the catalogs tell who wrote them, with 32 bits of an id that lies less than 2^31 back; those below 3 are of no
 * transaction. Frozen ones keep theirs, and may seem young again only after 2^31 more.
 */
static const char changed_sql[] =
    "SELECT coalesce(c.oid IS NULL"
    "         OR now.id - ((now.id - c.xmin::text::bigint) & 4294967295) >= $2::bigint AND c.xmin::text::bigint > 2"
    "         OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.xmin::text::bigint "
    "> 2"
    "                    AND now.id - ((now.id - a.xmin::text::bigint) & 4294967295) >= $2::bigint), true)::text"
    "  FROM unnest($1::oid[]) WITH ORDINALITY w(oid, place)"
    " CROSS JOIN (SELECT txid_snapshot_xmax(txid_current_snapshot()) AS id) now"
    "  LEFT JOIN pg_class c ON c.oid = w.oid ORDER BY w.place";

struct error *copy_table_changed_since(struct pg_conn *source, struct arena *a,
                                       const struct copy_source_table *const *tables, unsigned n, uint64_t since,
                                       bool *out_changed)
{
    const char *params[] = {oids(a, tables, n), arena_printf(a, "%" PRIu64, since)};
    struct pg_rows rows;

    TRY(pg_query(source, a, "asking whether tables were altered", changed_sql, params, COUNT_OF(params), &rows));
    if (rows.n_rows != n)
        return error_new(ERROR_BUG, "asked about %u tables, the source answered %u", n, rows.n_rows);
    for (unsigned i = 0; i < n; i++)
        out_changed[i] = is_true(rows.rows[i][0]);
    return NULL;
}

struct error *copy_table_record(struct pg_conn *target, struct arena *a, const char *task,
                                const struct copy_record *record)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();
    const char *params[] = {task, snapshot_format(a, &record->gate->snapshot),
                            arena_strdup(a, lsn_format(record->gate->upto).text)};
    struct pg_rows answer;

    buffer_append_text(b,
                       "INSERT INTO pgtide.relation (task, snapshot, upto, source_oid, schema_name, table_name, rows) "
                       "SELECT $1, $2, $3::pg_lsn, w.* FROM (VALUES ");
    for (unsigned i = 0; i < record->n; i++) {
        const struct copy_source_table *t = record->tables[i];

        buffer_printf(b, "%s(%" PRIu32 "::oid, %s, %s, %" PRIu64 "::bigint)", i == 0 ? "" : ", ", t->oid,
                      pg_quote_literal(a, t->schema), pg_quote_literal(a, t->name), record->rows[i]);
    }
    buffer_append_text(b, ") w");
    return pg_query(target, a, "recording what was copied", buffer_text(b), params, COUNT_OF(params), &answer);
}

struct error *copy_table_recorded(struct pg_conn *target, struct arena *a, const char *task,
                                  const struct copy_source_table *const *tables, unsigned n, unsigned *out_recorded)
{
    const char *params[] = {task, oids(a, tables, n)};
    char *count;

    TRY(pg_query_text(target, a, "asking what was copied",
                      "SELECT count(*)::text FROM pgtide.relation WHERE task = $1 AND source_oid = ANY ($2::oid[])",
                      params, COUNT_OF(params), &count));
    *out_recorded = count == NULL ? 0 : (unsigned)strtoul(count, NULL, 10);
    return NULL;
}

struct error *copy_table_filled(struct pg_conn *target, struct arena *a, struct copy_filled **out, unsigned *out_n)
{
    struct pg_rows rows;

    TRY(pg_query(target, a, "looking for tables on the target that are not empty",
                 "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                 " WHERE c.relkind = 'r' AND c.relpersistence <> 't'"
                 " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgtide') AND pg_relation_size(c.oid) > 0"
                 " ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\"",
                 NULL, 0, &rows));
    struct copy_filled *filled = arena_alloc(a, (rows.n_rows + 1) * sizeof *filled);
    for (unsigned i = 0; i < rows.n_rows; i++)
        filled[i] = (struct copy_filled){rows.rows[i][0], rows.rows[i][1]};
    *out = filled;
    *out_n = rows.n_rows;
    return NULL;
}

bool copy_table_is_filled(const struct copy_filled *filled, unsigned n, const struct copy_source_table *t)
{
    unsigned low = 0, high = n;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = strcmp(filled[middle].schema, t->schema);

        if (order == 0)
            order = strcmp(filled[middle].name, t->name);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
