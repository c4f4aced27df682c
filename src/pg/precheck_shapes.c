/* What the source holds that needs a word: policies, odd partitions, objects of superusers, libraries, very long rows. */
#include "base/buffer.h"
#include "base/counted.h"
#include "pg/cells.h"
#include "pg/precheck_context.h"
#include "pg/publication.h"
#include "pg/setting_rights.h"
#include "pg/sql.h"

/* ---- row-level security ---- */

struct error *check_row_security(struct precheck *p, struct check_item *item)
{
    struct pg_rows rows;

    TRY(pg_query(p->source, p->a, "reading which tables have policies", sql_row_security, NULL, 0, &rows));
    chosen_filter_rows(p->chosen, &rows, 1);
    item_objects_from_rows(p, item, &rows);
    if (rows.n_rows == 0) {
        item_is(p, item, CHECK_PASSED, "no policy hides rows from user \"%s\"", p->source_facts.user);
        return NULL;
    }
    item_is(p, item, CHECK_FAILED,
            "policies of row-level security would hide rows of %s from user \"%s\"; reading them is refused "
            "rather than done in part",
            counted(p->a, rows.n_rows, "table", "tables"), p->source_facts.user);
    item_fix(p, item, ON_SOURCE,
             arena_printf(p->a, "ALTER ROLE %s BYPASSRLS;", pg_quote_identifier(p->a, p->source_facts.user)));
    return NULL;
}

/* ---- tables ---- */

/* Before 18 generated columns are not in the stream, so the rest of the key would have to tell rows apart. */
static bool has_generated_identity(const struct catalog_table *t)
{
    if (t->persistence != 'p' || t->identity == IDENTITY_FULL || t->identity == IDENTITY_NOTHING)
        return false;
    for (unsigned i = 0; i < t->n_columns; i++)
        if (t->columns[i].in_identity && t->columns[i].generated != GENERATED_NOT)
            return true;
    return false;
}

struct error *check_generated_identity(struct precheck *p, struct check_item *item)
{
    if (!precheck_follows(p)) {
        item_is(p, item, CHECK_PASSED, "not needed for a full synchronization alone");
        return NULL;
    }
    item_objects_from_tables(p, item, has_generated_identity);
    if (item->n_objects == 0) {
        item_is(p, item, CHECK_PASSED, "none is");
        return NULL;
    }
    item_is(p, item, CHECK_FAILED,
            "the replica identity of %s has generated columns; the source does not send those, so UPDATE and "
            "DELETE could not find their rows",
            counted(p->a, item->n_objects, "table", "tables"));
    item_fix_each(p, item, ON_SOURCE, "ALTER TABLE ", " REPLICA IDENTITY FULL;");
    item_repair_each(p, item, ON_SOURCE, "ALTER TABLE ", " REPLICA IDENTITY FULL");
    return NULL;
}

struct error *check_partitions(struct precheck *p, struct check_item *item)
{
    struct pg_rows rows;

    TRY(pg_query(p->source, p->a, "reading the shapes of partitions", sql_odd_partitions, NULL, 0, &rows));
    const char *counts = rows.n_rows == 0 ? "" : rows.rows[0][1];
    struct pg_rows odd = {
        .n_rows = rows.n_rows == 0 ? 0 : rows.n_rows - 1, .n_columns = 2, .rows = rows.rows + 1}; /* '' sorts first */

    chosen_filter_rows(p->chosen, &odd, 2);
    item_objects_from_rows(p, item, &odd);
    if (odd.n_rows == 0) {
        item_is(p, item, CHECK_PASSED, "%s", counts);
        return NULL;
    }
    CLEANUP(buffer_free) struct buffer *fix = buffer_new();
    unsigned n_foreign = 0;
    for (unsigned r = 0; r < odd.n_rows; r++) {
        bool is_foreign = strcmp(odd.rows[r][1], "foreign") == 0;

        n_foreign += is_foreign;
        if (!is_foreign)
            buffer_printf(fix, "ALTER TABLE its_parent DETACH PARTITION %s FINALIZE;\n", odd.rows[r][0]);
    }
    if (n_foreign > 0)
        buffer_append_text(fix, "-- rows of foreign partitions are copied by whoever owns that server\n");
    item_is(p, item, CHECK_ALARM,
            "%s; %s, whose rows are not copied, and %s half detached (DETACH "
            "PARTITION CONCURRENTLY was interrupted), so the target would have them attached",
            counts, counted(p->a, n_foreign, "partition is a foreign table", "partitions are foreign tables"),
            counted(p->a, odd.n_rows - n_foreign, "is", "are"));
    item_fix(p, item, ON_SOURCE, buffer_text(fix));
    return NULL;
}

/* ---- what only superusers may make ---- */

/* Of the settings that functions of the source have those that the target's user may not give them. */
MUST_USE static struct error *refused_settings(struct precheck *p, const char **out)
{
    struct setting_rights rights;
    struct pg_rows rows;
    unsigned n = 0;

    TRY(setting_rights_read(p->target, p->a, &rights));
    TRY(pg_query(p->source, p->a, "reading which settings functions have",
                 "SELECT DISTINCT split_part(c, '=', 1) FROM pg_proc, unnest(proconfig) c WHERE oid >= 16384", NULL, 0,
                 &rows));
    const char **refused = arena_alloc(p->a, (rows.n_rows + 1U) * sizeof *refused);
    for (unsigned r = 0; r < rows.n_rows; r++)
        if (setting_refusal(&rights, rows.rows[r][0]) != NULL)
            refused[n++] = rows.rows[r][0];
    *out = pg_text_array(p->a, refused, n);
    return NULL;
}

struct error *check_superuser_objects(struct precheck *p, struct check_item *item)
{
    const char *settings = NULL;
    struct pg_rows rows;

    if (!precheck_copies(p)) {
        item_is(p, item, CHECK_PASSED, "the structure is not copied");
        return NULL;
    }
    if (p->chosen != NULL) {
        item_is(p, item, CHECK_SKIPPED, "not checked because not the whole database is copied");
        return NULL;
    }
    TRY(refused_settings(p, &settings));
    TRY(pg_query(p->source, p->a, "reading which objects only superusers make", sql_superuser_objects, &settings, 1,
                 &rows));
    if (rows.n_rows == 0 || p->target_facts.user_is_superuser) {
        item_is(p, item, CHECK_PASSED, rows.n_rows == 0 ? "there are none" : "%u, and user \"%s\" is a superuser",
                rows.n_rows, p->target_facts.user);
        return NULL;
    }
    item_objects_from_rows(p, item, &rows);
    item_is(p, item, CHECK_FAILED,
            "%s be created by a superuser only, and user \"%s\" on the target is none: the structure could "
            "not be restored whole",
            counted(p->a, rows.n_rows, "object can", "objects can"), p->target_facts.user);
    item_fix(p, item, ON_TARGET,
             arena_printf(p->a, "ALTER ROLE %s SUPERUSER; -- or drop the objects on the source if nobody needs them",
                          pg_quote_identifier(p->a, p->target_facts.user)));
    return NULL;
}

/* Where the server would look, without loading anything: the file as given, or with the suffix of libraries. */
static struct error *library_is_there(struct precheck *p, const char *library, bool *out)
{
    char *found;

    TRY(pg_query_text(
        p->target, p->a, "looking for a library",
        "SELECT ((pg_stat_file(f.path, true)).size IS NOT NULL OR "
        "(pg_stat_file(f.path || '.so', true)).size IS NOT NULL)::text "
        "FROM (SELECT replace($1, '$libdir', (SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'))) AS f(path)",
        &library, 1, &found));
    *out = cell_bool(found);
    return NULL;
}

struct error *check_libraries(struct precheck *p, struct check_item *item)
{
    struct pg_rows rows, missing = {.n_columns = 1};

    if (p->chosen != NULL) {
        item_is(p, item, CHECK_SKIPPED, "not checked because not the whole database is copied");
        return NULL;
    }
    TRY(pg_query(
        p->source, p->a, "reading which libraries functions are in",
        "SELECT DISTINCT p.probin FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang "
        "WHERE l.lanname = 'c' AND p.oid >= 16384 AND p.probin IS NOT NULL AND NOT EXISTS (SELECT FROM "
        "pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') ORDER BY 1",
        NULL, 0, &rows));
    if (rows.n_rows == 0 || !precheck_copies(p)) {
        item_is(p, item, CHECK_PASSED,
                rows.n_rows == 0 ? "no function of your own is in C" : "structure is not copied");
        return NULL;
    }
    if (!p->target_facts.user_is_superuser) {
        item_is(p, item, CHECK_SKIPPED, "not checked because user \"%s\" may not look at the target's files",
                p->target_facts.user);
        return NULL;
    }
    missing.rows = arena_alloc(p->a, (rows.n_rows + 1U) * sizeof *missing.rows);
    for (unsigned r = 0; r < rows.n_rows; r++) {
        bool is_there = false;

        TRY(library_is_there(p, rows.rows[r][0], &is_there));
        if (!is_there)
            missing.rows[missing.n_rows++] = rows.rows[r];
    }
    item_objects_from_rows(p, item, &missing);
    if (missing.n_rows == 0) {
        item_is(p, item, CHECK_PASSED, rows.n_rows == 1 ? "the only one is there" : "all %u are there", rows.n_rows);
        return NULL;
    }
    item_is(p, item, CHECK_FAILED, "%s not on the target's machine",
            counted(p->a, missing.n_rows, "library of functions in C is", "libraries of functions in C are"));
    item_fix(p, item, ON_TARGET,
             "-- install the libraries, built for the target's version, under the same names; $libdir is what\n"
             "-- pg_config --pkglibdir says there");
    return NULL;
}

/* ---- rows too long ---- */

enum {
    LOOKED_AT_MAX = 20,      /* tables */
    LOOK_MS = 2000,          /* at each */
    SUSPECT_BYTES = 4000000, /* of TOAST: 1 GB packed 255 to 1, better than which nothing in PostgreSQL does */
};

static int by_suspicion(const void *left, const void *right)
{
    const struct catalog_table *const *l = left, *const *r = right;
    double of_l = (double)(*l)->toast_bytes / ((*l)->rows_estimated < 1 ? 1 : (*l)->rows_estimated);
    double of_r = (double)(*r)->toast_bytes / ((*r)->rows_estimated < 1 ? 1 : (*r)->rows_estimated);

    return (of_r > of_l) - (of_r < of_l);
}

/* Those with much TOAST, most of it a row first. */
static const struct catalog_table **find_suspects(struct precheck *p, unsigned *out_n)
{
    const struct catalog_table **suspects = arena_alloc(p->a, (p->catalog.n_tables + 1U) * sizeof *suspects);
    unsigned n = 0;

    for (unsigned i = 0; i < p->catalog.n_tables; i++)
        if (p->catalog.tables[i].toast_bytes >= SUSPECT_BYTES)
            suspects[n++] = &p->catalog.tables[i];
    qsort(suspects, n, sizeof *suspects, by_suspicion);
    *out_n = n < LOOKED_AT_MAX ? n : LOOKED_AT_MAX;
    return suspects;
}

/* The sum of lengths that the server knows without unpacking anything: as stored, and as text, where a byte has two digits. */
static const char *lengths_of(struct precheck *p, const struct catalog_table *t, bool as_text)
{
    static const struct {
        const char *type;
        const char *length;
        const char *as_text;
    } kinds[] = {{"text", "octet_length(%s)::bigint", "octet_length(%s)::bigint"},
                 {"character varying", "octet_length(%s)::bigint", "octet_length(%s)::bigint"},
                 {"bytea", "octet_length(%s)::bigint", "2 * octet_length(%s)::bigint"}};
    CLEANUP(buffer_free) struct buffer *sum = buffer_new();

    for (unsigned i = 0; i < t->n_columns; i++) {
        const char *name = pg_quote_identifier(p->a, t->columns[i].name);

        for (size_t k = 0; k < COUNT_OF(kinds); k++) {
            size_t length = strlen(kinds[k].type);
            const char *rest = t->columns[i].type_text + length;

            if (strncmp(t->columns[i].type_text, kinds[k].type, length) != 0 || (*rest != '\0' && *rest != '('))
                continue;
            const char *form = as_text ? kinds[k].as_text : kinds[k].length;
            const char *hole = strstr(form, "%s");
            buffer_printf(sum, "%scoalesce(%.*s%s%s, 0)", sum->length == 0 ? "" : " + ", (int)(hole - form), form, name,
                          hole + strlen("%s"));
        }
    }
    return sum->length == 0 ? NULL : arena_strdup(p->a, buffer_text(sum));
}

enum length_verdict {
    LENGTHS_FINE,
    LENGTHS_UNKNOWN, /* not through in time, or not readable */
    LENGTHS_LONG_AS_TEXT,
    LENGTHS_TOO_LONG,
};

static struct error *look_for_long_rows(struct precheck *p, const struct catalog_table *t, enum length_verdict *out)
{
    const char *stored = lengths_of(p, t, false), *as_text = lengths_of(p, t, true);
    struct pg_rows rows;

    *out = LENGTHS_FINE;
    if (stored == NULL)
        return NULL;
    struct error *err = pg_query(
        p->source, p->a, "looking for long rows",
        arena_printf(p->a, "SELECT coalesce(max(%s), 0) > 1073741823, coalesce(max(%s), 0) > 1073741823 FROM ONLY %s",
                     stored, as_text, pg_quote_name(p->a, t->schema, t->name)),
        NULL, 0, &rows);
    if (err != NULL && error_kind(err) == ERROR_CANCELLED)
        return err;
    if (err != NULL || rows.n_rows != 1)
        *out = LENGTHS_UNKNOWN;
    else if (cell_bool(rows.rows[0][0]))
        *out = LENGTHS_TOO_LONG;
    else if (cell_bool(rows.rows[0][1]))
        *out = LENGTHS_LONG_AS_TEXT;
    error_free(err);
    return NULL;
}

static struct error *judge_suspects(struct precheck *p, struct check_item *item, const struct catalog_table **suspects,
                                    unsigned n)
{
    const char **objects = arena_alloc(p->a, (n + 1U) * sizeof *objects);
    unsigned n_found[LENGTHS_TOO_LONG + 1] = {0};

    item->objects = objects;
    for (unsigned i = 0; i < n; i++) {
        enum length_verdict verdict = LENGTHS_FINE;

        TRY(look_for_long_rows(p, suspects[i], &verdict));
        n_found[verdict]++;
        if (verdict > LENGTHS_UNKNOWN)
            objects[item->n_objects++] = pg_quote_name(p->a, suspects[i]->schema, suspects[i]->name);
    }
    if (n_found[LENGTHS_TOO_LONG] > 0)
        item_is(p, item, CHECK_FAILED,
                "%s rows of more than 1 GB, which PostgreSQL can neither COPY nor send in its change stream",
                counted(p->a, n_found[LENGTHS_TOO_LONG], "table has", "tables have"));
    else if (n_found[LENGTHS_LONG_AS_TEXT] > 0)
        item_is(p, item, CHECK_ALARM,
                "%s rows that are longer than 1 GB as text: they can be copied in binary form, but neither "
                "dumped nor followed as text",
                counted(p->a, n_found[LENGTHS_LONG_AS_TEXT], "table has", "tables have"));
    else
        item_is(p, item, CHECK_PASSED, "none in the %s with the longest values%s", counted(p->a, n, "table", "tables"),
                n_found[LENGTHS_UNKNOWN] == 0 ? "" : ", some of which were too large to look through in 2 s");
    if (item->result != CHECK_PASSED)
        item_fix(p, item, ON_SOURCE, "-- shorten or split the values of these rows, or move them into other rows");
    return NULL;
}

struct error *check_long_rows(struct precheck *p, struct check_item *item)
{
    unsigned n = 0;
    const struct catalog_table **suspects = find_suspects(p, &n);

    if (n == 0) {
        item_is(p, item, CHECK_PASSED, "no table has values that could be so long");
        return NULL;
    }
    TRY(pg_execute_format(p->source, "limiting the time of a look", "SET statement_timeout = %d", LOOK_MS));
    TRY(judge_suspects(p, item, suspects, n));
    return pg_execute(p->source, "lifting the limit again", "SET statement_timeout = 0");
}

/* ---- the output plugin ---- */

/*
 * Whether the library is there can only be tried. The slot is temporary, and the time too short for it to be made while
 * transactions run: a missing library is refused before that.
 */
static struct error *try_plugin(struct precheck *p, const char *plugin)
{
    char *name = arena_printf(p->a, "pgtide_check_%d", pg_conn_pid(p->source));
    struct error *err =
        pg_execute_format(p->source, "trying the output plugin",
                          "SET statement_timeout = %d; SELECT pg_create_logical_replication_slot(%s, %s, true)",
                          LOOK_MS / 4, pg_quote_literal(p->a, name), pg_quote_literal(p->a, plugin));

    /* Cancelled by its timeout (57014) it had found the library: what it waited for is transactions. */
    if (err != NULL && strstr(error_message(err), "57014") != NULL) {
        error_free(err);
        err = NULL;
    } else if (err == NULL) {
        err = pg_execute_format(p->source, "dropping the slot of the try", "SELECT pg_drop_replication_slot(%s)",
                                pg_quote_literal(p->a, name));
    }
    struct error *after = pg_execute(p->source, "lifting the limit again", "SET statement_timeout = 0");
    if (err == NULL)
        return after;
    error_free(after);
    return err;
}

struct error *check_output_plugin(struct precheck *p, struct check_item *item)
{
    bool may_publish = p->options->sync->publication != NULL;
    const struct server_facts *facts = &p->source_facts;

    if (!precheck_follows(p)) {
        item_is(p, item, CHECK_PASSED, "not needed for a full synchronization alone");
        return NULL;
    }
    if (!may_publish)
        TRY(pg_publication_may_be_made(p->source, p->chosen, &may_publish));
    if (may_publish && !facts->is_in_recovery) {
        item_is(p, item, CHECK_PASSED, "pgoutput, which is a part of PostgreSQL itself");
        return NULL;
    }
    if (facts->replication_slots_used >= facts->max_replication_slots || strcmp(facts->wal_level, "logical") != 0 ||
        !facts->user_may_replicate) {
        item_is(p, item, CHECK_SKIPPED, "not checked because no slot can be made yet");
        return NULL;
    }
    const char *plugin = may_publish ? "pgoutput" : "test_decoding";
    struct error *err = try_plugin(p, plugin);
    if (err != NULL && error_kind(err) != ERROR_CONFIG)
        return err;
    if (err == NULL) {
        item_is(p, item, CHECK_PASSED, "%s is there", plugin);
        return NULL;
    }
    if (facts->is_in_recovery) { /* its primary's wal_level, for instance, shows only so */
        item_is(p, item, CHECK_FAILED, "the standby cannot decode with %s: %s", plugin, error_message(err));
        item_fix(p, item, ON_SOURCE,
                 "-- on the primary: ALTER SYSTEM SET wal_level = logical; then restart it. test_decoding is in the "
                 "package postgresql-contrib");
        error_free(err);
        return NULL;
    }
    item_is(p, item, CHECK_FAILED,
            "user \"%s\" cannot make a publication, and the output plugin test_decoding cannot be used instead: %s",
            facts->user, error_message(err));
    item_fix(p, item, ON_SOURCE,
             arena_printf(p->a, "-- install the package with test_decoding (postgresql-contrib), or give --publication "
                                "one that a superuser makes:\nCREATE PUBLICATION pgtide FOR ALL TABLES;"));
    error_free(err);
    return NULL;
}
