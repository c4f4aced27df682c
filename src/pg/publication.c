#include "pg/publication.h"

#include "base/buffer.h"
#include "pg/slot.h"
#include "pg/sql.h"

enum { ID_DIGITS = 12 };

#define ALL_OPERATIONS "insert, update, delete, truncate"
#define INSERTS_ONLY   "insert, truncate"

static char *inserts_name(struct arena *a, const char *name)
{
    return arena_printf(a, "%s_inserts", name);
}

static unsigned count(const struct pg_publication_plan *plan, bool inserts_only)
{
    unsigned n = 0;

    for (unsigned i = 0; i < plan->n_tables; i++)
        n += plan->tables[i].inserts_only == inserts_only;
    return n;
}

struct pg_publication_names pg_publication_names(struct arena *a, const struct pg_publication_plan *plan)
{
    struct pg_publication_names names = {.n = 1};

    names.names[0] = arena_strdup(a, plan->name);
    if (count(plan, true) > 0)
        names.names[names.n++] = inserts_name(a, plan->name);
    return names;
}

bool pg_publication_is_ours(const char *name)
{
    static const char *const second[] = {"", "_inserts", "_renamed"};
    const char *id = name + strlen(PG_SLOT_PREFIX);

    if (strncmp(name, PG_SLOT_PREFIX, strlen(PG_SLOT_PREFIX)) != 0 || strspn(id, "0123456789abcdef") < ID_DIGITS)
        return false;
    for (size_t i = 0; i < COUNT_OF(second); i++)
        if (strcmp(id + ID_DIGITS, second[i]) == 0)
            return true;
    return false;
}

/* ---- reading ---- */

enum facts_column {
    FACTS_ALL_TABLES,
    FACTS_INSERT,
    FACTS_UPDATE,
    FACTS_DELETE,
    FACTS_TRUNCATE,
    FACTS_VIA_ROOT,
    FACTS_TABLES,
};

static bool is_true(const char *text)
{
    return text != NULL && strcmp(text, "true") == 0;
}

MUST_USE static struct error *read_facts(struct pg_conn *source, struct arena *a, const char *name,
                                         struct pg_publication_facts *out)
{
    /* pubtruncate is new in 11, pubviaroot in 13; absent means false, and with pubtruncate that is true of these servers. */
    static const char sql[] =
        "SELECT p.puballtables::text, p.pubinsert::text, p.pubupdate::text, p.pubdelete::text,"
        "       coalesce(to_jsonb(p) ->> 'pubtruncate', 'false'), coalesce(to_jsonb(p) ->> 'pubviaroot', 'false'),"
        "       (SELECT count(*)::text FROM pg_publication_tables t WHERE t.pubname = p.pubname)"
        "  FROM pg_publication p WHERE p.pubname = $1";
    struct pg_rows rows;

    TRY(pg_query(source, a, arena_printf(a, "reading publication \"%s\"", name), sql, &name, 1, &rows));
    if (rows.n_rows == 0) {
        *out = (struct pg_publication_facts){.exists = false};
        return NULL;
    }
    char *const *row = rows.rows[0];
    *out = (struct pg_publication_facts){
        .exists = true,
        .all_tables = is_true(row[FACTS_ALL_TABLES]),
        .has_insert = is_true(row[FACTS_INSERT]),
        .has_update = is_true(row[FACTS_UPDATE]),
        .has_delete = is_true(row[FACTS_DELETE]),
        .has_truncate = is_true(row[FACTS_TRUNCATE]),
        .via_root = is_true(row[FACTS_VIA_ROOT]),
        .n_tables = (unsigned)strtoul(row[FACTS_TABLES], NULL, 10),
    };
    return NULL;
}

struct error *pg_publication_read(struct pg_conn *source, const char *name, struct pg_publication_facts *out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "publication");

    return read_facts(source, scratch, name, out);
}

struct error *pg_publication_lacks(struct pg_conn *source, struct arena *a, const char *name,
                                   const struct chosen *chosen, char ***out_tables, unsigned *out_n)
{
    struct pg_rows rows;

    TRY(pg_query(source, a, arena_printf(a, "reading the tables of publication \"%s\"", name), sql_publication_lacks,
                 &name, 1, &rows));
    chosen_filter_rows(chosen, &rows, 1);
    char **tables = arena_alloc(a, (rows.n_rows + 1UL) * sizeof *tables);
    for (unsigned i = 0; i < rows.n_rows; i++)
        tables[i] = rows.rows[i][0];
    *out_tables = tables;
    *out_n = rows.n_rows;
    return NULL;
}

/* ---- tables without key ---- */

static const char *listed(struct arena *a, const char *list, const char *more)
{
    return list == NULL ? more : arena_printf(a, "%s, %s", list, more);
}

/* Nobody's lock is waited for longer than their application notices. */
MUST_USE static struct error *give_identity(struct pg_conn *source, struct arena *a, const char *table)
{
    return pg_execute_format(source, arena_printf(a, "giving table %s a replica identity", table),
                             "BEGIN; SET LOCAL lock_timeout = '300ms'; ALTER TABLE %s REPLICA IDENTITY FULL; COMMIT",
                             table);
}

struct error *pg_publication_mend_keyless(struct pg_conn *source, struct arena *a, const char *name,
                                          const char **out_done, const char **out_failed)
{
    struct pg_rows rows;
    const char *done = NULL, *failed = NULL;

    TRY(pg_query(source, a, "looking for published tables without key", sql_keyless, &name, 1, &rows));
    for (unsigned i = 0; i < rows.n_rows; i++) {
        CLEANUP(error_free) struct error *err = give_identity(source, a, rows.rows[i][0]);

        if (err != NULL && pg_conn_is_broken(source))
            return TAKE(err);
        if (err != NULL)
            TRY(pg_execute(source, "rolling back", "ROLLBACK"));
        if (err == NULL)
            done = listed(a, done, rows.rows[i][0]);
        else if (failed == NULL)
            failed = arena_strdup(a, error_message(err));
    }
    *out_done = done;
    *out_failed = failed;
    return NULL;
}

/* ---- making ---- */

struct error *pg_publication_may_be_made(struct pg_conn *source, const struct chosen *chosen, bool *out_may)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "publication");
    struct pg_rows not_owned;
    struct pg_rows rights;

    TRY(pg_query(source, scratch, "reading the rights on the database",
                 "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::text,"
                 "       has_database_privilege(current_database(), 'CREATE')::text, pg_is_in_recovery()::text",
                 NULL, 0, &rights));
    TRY(pg_query(source, scratch, "reading who owns the tables", sql_not_owned, NULL, 0, &not_owned));
    chosen_filter_rows(chosen, &not_owned, 1);
    *out_may = !is_true(rights.rows[0][2]) &&
               (is_true(rights.rows[0][0]) || (is_true(rights.rows[0][1]) && not_owned.n_rows == 0));
    return NULL;
}

/* One of the plan's publications. */
struct part {
    const struct pg_publication_plan *plan;
    const char *name;
    bool inserts_only;
    bool truncates; /* the server knows publish = 'truncate' (11) */
};

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Quoted names of the part's tables, sorted. */
static const char **planned_tables(struct arena *a, const struct part *part, unsigned *out_n)
{
    const char **names = arena_alloc(a, (part->plan->n_tables + 1UL) * sizeof *names);
    unsigned n = 0;

    for (unsigned i = 0; i < part->plan->n_tables; i++) {
        const struct pg_publication_table *t = &part->plan->tables[i];

        if (t->inserts_only == part->inserts_only)
            names[n++] = pg_quote_name(a, t->schema, t->name);
    }
    qsort(names, n, sizeof *names, compare_text);
    *out_n = n;
    return names;
}

MUST_USE static struct error *has_planned_tables(struct pg_conn *source, struct arena *a, const struct part *part,
                                                 bool *out_same)
{
    static const char sql[] = "SELECT n.nspname::text, c.relname::text FROM pg_publication_rel r"
                              "  JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid"
                              "  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $1";
    unsigned n;
    const char **planned = planned_tables(a, part, &n);
    struct pg_rows rows;

    TRY(pg_query(source, a, arena_printf(a, "reading the tables of publication \"%s\"", part->name), sql, &part->name,
                 1, &rows));
    const char **there = arena_alloc(a, (rows.n_rows + 1UL) * sizeof *there);
    for (unsigned i = 0; i < rows.n_rows; i++)
        there[i] = pg_quote_name(a, rows.rows[i][0], rows.rows[i][1]);
    qsort(there, rows.n_rows, sizeof *there, compare_text);
    *out_same = rows.n_rows == n;
    for (unsigned i = 0; i < n && *out_same; i++)
        *out_same = strcmp(planned[i], there[i]) == 0;
    return NULL;
}

MUST_USE static struct error *is_as_planned(struct pg_conn *source, struct arena *a, const struct part *part,
                                            const struct pg_publication_facts *facts, bool *out_same)
{
    bool changes = !part->inserts_only;

    *out_same = facts->exists && facts->all_tables == part->plan->all_tables && facts->has_insert &&
                facts->has_update == changes && facts->has_delete == changes &&
                facts->has_truncate == part->truncates && !facts->via_root;
    if (!*out_same || part->plan->all_tables)
        return NULL;
    return has_planned_tables(source, a, part, out_same);
}

MUST_USE static struct error *make(struct pg_conn *source, struct arena *a, const struct part *part)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    unsigned n;
    const char **tables = planned_tables(a, part, &n);
    const char *operations = part->inserts_only ? INSERTS_ONLY : ALL_OPERATIONS;

    buffer_printf(sql, "CREATE PUBLICATION %s", pg_quote_identifier(a, part->name));
    if (part->plan->all_tables)
        buffer_append_text(sql, " FOR ALL TABLES");
    /* ONLY: rows of inheritance children are theirs, and they are published when they are named. */
    for (unsigned i = 0; i < n; i++)
        buffer_printf(sql, "%s%s", i == 0 ? " FOR TABLE ONLY " : ", ONLY ", tables[i]);
    if (!part->truncates)
        operations = part->inserts_only ? "insert" : "insert, update, delete";
    buffer_printf(sql, " WITH (publish = '%s')", operations);
    return pg_execute(source, arena_printf(a, "creating publication \"%s\"", part->name), buffer_text(sql));
}

MUST_USE static struct error *drop(struct pg_conn *source, struct arena *a, const char *name)
{
    return pg_execute_format(source, arena_printf(a, "dropping publication \"%s\"", name),
                             "DROP PUBLICATION IF EXISTS %s", pg_quote_identifier(a, name));
}

MUST_USE static struct error *ensure(struct pg_conn *source, struct arena *a, const struct part *part, bool is_wanted)
{
    struct pg_publication_facts facts;
    bool same;

    TRY(read_facts(source, a, part->name, &facts));
    TRY(is_as_planned(source, a, part, &facts, &same));
    if (is_wanted && same)
        return NULL;
    if (facts.exists)
        TRY(drop(source, a, part->name));
    return is_wanted ? make(source, a, part) : NULL;
}

MUST_USE static struct error *ensure_all(struct pg_conn *source, struct arena *a,
                                         const struct pg_publication_plan *plan)
{
    bool truncates = pg_conn_version(source) >= 110000;
    struct part all = {.plan = plan, .name = plan->name, .truncates = truncates};
    struct part inserts = {
        .plan = plan, .name = inserts_name(a, plan->name), .inserts_only = true, .truncates = truncates};

    TRY(ensure(source, a, &all, true));
    return ensure(source, a, &inserts, count(plan, true) > 0);
}

struct error *pg_publication_create(struct pg_conn *source, const struct pg_publication_plan *plan)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "publication");

    if (plan->all_tables && plan->n_tables > 0)
        return error_new(ERROR_BUG, "publication \"%s\": for all tables, and %u are named", plan->name, plan->n_tables);
    TRY(pg_execute(source, "beginning a transaction", "BEGIN"));
    struct error *err = ensure_all(source, scratch, plan);
    if (err == NULL)
        return pg_execute(source, arena_printf(scratch, "creating publication \"%s\"", plan->name), "COMMIT");
    error_free(pg_execute(source, "rolling back", "ROLLBACK")); /* when it fails too, the first error says why */
    return err;
}

/* A standby refuses the statement also where there is nothing to drop. */
MUST_USE static struct error *drop_existing(struct pg_conn *source, struct arena *a, const char *name)
{
    struct pg_publication_facts facts;

    TRY(read_facts(source, a, name, &facts));
    return facts.exists ? drop(source, a, name) : NULL;
}

struct error *pg_publication_drop(struct pg_conn *source, const char *name)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "publication");
    struct error *err = drop_existing(source, scratch, inserts_name(scratch, name));

    if (err == NULL)
        err = drop_existing(source, scratch, name);
    if (err == NULL)
        return NULL;
    return error_hint(
        err,
        "What stays behind costs no disk, but while it exists UPDATE and DELETE need a replica identity on "
        "the tables it names. Remove it on the source: DROP PUBLICATION IF EXISTS \"%s\", "
        "\"%s_inserts\".",
        name, name);
}
