/* Whether the target is like the source where it matters: extensions' versions, collations, blocks; and who else writes there. */
#include "base/buffer.h"
#include "base/counted.h"
#include "pg/cells.h"
#include "pg/precheck_context.h"
#include "pg/sql.h"
#include "pg/state.h"

/* ---- versions of extensions ---- */

/* "1.10" is newer than "1.9"; what is no number counts as 0. */
static int compare_versions(const char *left, const char *right)
{
    while (*left != '\0' || *right != '\0') {
        char *after_left, *after_right;
        unsigned long l = strtoul(left, &after_left, 10), r = strtoul(right, &after_right, 10);

        if (l != r)
            return l < r ? -1 : 1;
        left = after_left + (*after_left != '\0');
        right = after_right + (*after_right != '\0');
    }
    return 0;
}

struct extension_work {
    struct buffer *fix;
    const char **objects;
    unsigned n_older;
    unsigned n_forbidden;
};

/* `wanted`: name and version on the source; `have`: a row of extension_versions.sql. */
static void judge_extension(struct precheck *p, struct check_item *item, struct extension_work *w, char **wanted,
                            char **have)
{
    const char *name = pg_quote_identifier(p->a, wanted[0]);
    bool is_installed = cell_bool(have[2]) && !p->target_is_missing;

    if (have[1] != NULL && compare_versions(have[1], wanted[1]) < 0) {
        w->objects[w->n_forbidden + w->n_older++] =
            arena_printf(p->a, "%s: %s on the source, %s on the target", name, wanted[1], have[1]);
        buffer_printf(w->fix, "ALTER EXTENSION %s UPDATE; -- after its newer package is installed there\n", name);
        if (is_installed)
            item_repair(p, item, ON_TARGET, arena_printf(p->a, "ALTER EXTENSION %s UPDATE", name));
    } else if (!is_installed && cell_bool(have[3]) && !p->target_facts.user_is_superuser) {
        w->objects[w->n_older + w->n_forbidden++] = arena_printf(p->a, "%s: needs a superuser", name);
        buffer_printf(w->fix, "CREATE EXTENSION %s; -- by a superuser, in the target database\n", name);
    }
}

static bool is_needed(const struct precheck *p, const char *extension)
{
    if (p->chosen == NULL)
        return true;
    for (unsigned i = 0; i < p->chosen->n_extensions; i++)
        if (strcmp(p->chosen->extensions[i], extension) == 0)
            return true;
    return false;
}

struct error *check_extension_versions(struct precheck *p, struct check_item *item)
{
    CLEANUP(buffer_free) struct buffer *fix = buffer_new();
    struct pg_rows wanted, have;

    if (!precheck_copies(p)) {
        item_is(p, item, CHECK_PASSED, "the structure is not copied");
        return NULL;
    }
    TRY(pg_query(p->source, p->a, "reading the versions of extensions",
                 "SELECT extname, extversion FROM pg_extension ORDER BY extname::text COLLATE \"C\"", NULL, 0,
                 &wanted));
    TRY(pg_query(p->target, p->a, "reading the versions of extensions", sql_extension_versions, NULL, 0, &have));

    struct extension_work w = {.fix = fix, .objects = arena_alloc(p->a, (wanted.n_rows + 1U) * sizeof *w.objects)};
    for (unsigned r = 0, at = 0; r < wanted.n_rows; r++) {
        while (at < have.n_rows && strcmp(have.rows[at][0], wanted.rows[r][0]) < 0)
            at++;
        bool is_there = at < have.n_rows && strcmp(have.rows[at][0], wanted.rows[r][0]) == 0;
        if (is_there && is_needed(p, wanted.rows[r][0])) /* what is not there: item "extensions" */
            judge_extension(p, item, &w, wanted.rows[r], have.rows[at]);
    }
    item->objects = w.objects;
    item->n_objects = w.n_older + w.n_forbidden;
    if (item->n_objects == 0) {
        item_is(p, item, CHECK_PASSED, "none is older on the target, and user \"%s\" may install them",
                p->target_facts.user);
        return NULL;
    }
    item_is(p, item, w.n_forbidden > 0 ? CHECK_FAILED : CHECK_ALARM,
            "%s older on the target than on the source, and %s may be installed by superusers only",
            counted(p->a, w.n_older, "extension is", "extensions are"),
            counted(p->a, w.n_forbidden, "other", "others"));
    item_fix(p, item, ON_TARGET, buffer_text(fix));
    return NULL;
}

/* ---- collations ---- */

/* "en_US.UTF-8" and "en_US.utf8" are one, as are C and POSIX. */
static bool is_same_locale(const char *left, const char *right)
{
    if (strcmp(left, "POSIX") == 0)
        left = "C";
    if (strcmp(right, "POSIX") == 0)
        right = "C";
    for (;; left++, right++) {
        left += *left == '-';
        right += *right == '-';
        char l = *left, r = *right;
        l = l >= 'A' && l <= 'Z' ? (char)(l - 'A' + 'a') : l;
        r = r >= 'A' && r <= 'Z' ? (char)(r - 'A' + 'a') : r;
        if (l != r)
            return false;
        if (l == '\0')
            return true;
    }
}

static const char *locale_text(struct arena *a, const struct server_facts *f)
{
    return f->provider_locale == NULL ? arena_printf(a, "%s (libc, ctype %s)", f->collate, f->ctype)
                                      : arena_printf(a, "%s (%s)", f->provider_locale,
                                                     strcmp(f->locale_provider, "i") == 0 ? "ICU" : "builtin");
}

static bool is_same_order(const struct server_facts *s, const struct server_facts *t)
{
    if (strcmp(s->locale_provider, t->locale_provider) != 0)
        return false;
    if (s->provider_locale != NULL && t->provider_locale != NULL)
        return is_same_locale(s->provider_locale, t->provider_locale);
    return is_same_locale(s->collate, t->collate) && is_same_locale(s->ctype, t->ctype);
}

/* Recorded and actual version of the database's own collation; both NULL before 15 and for C. */
static struct error *database_collation(struct pg_conn *c, struct arena *a, char **out_recorded, char **out_actual)
{
    struct pg_rows rows;

    *out_recorded = *out_actual = NULL;
    if (pg_conn_version(c) < 150000)
        return NULL;
    TRY(pg_query(c, a, "reading the version of the collation",
                 "SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database "
                 "WHERE datname = current_database()",
                 NULL, 0, &rows));
    *out_recorded = rows.rows[0][0];
    *out_actual = rows.rows[0][1];
    return NULL;
}

/* Indexes of the source whose order is not what the library says now: a unique one may hold doubles, which the target refuses. */
static struct error *check_source_order(struct precheck *p, struct check_item *item, bool *out_passed)
{
    char *recorded, *actual;
    struct pg_rows old;

    TRY(database_collation(p->source, p->a, &recorded, &actual));
    TRY(pg_query(p->source, p->a, "reading which collations have changed", sql_old_collations, NULL, 0, &old));
    bool is_old = recorded != NULL && actual != NULL && strcmp(recorded, actual) != 0;

    *out_passed = !is_old && old.n_rows == 0;
    if (*out_passed)
        return NULL;
    item_objects_from_rows(p, item, &old);
    item_is(p, item, CHECK_ALARM,
            "the source sorts by a library that has changed since (%s), so its indexes over texts may be out of order: "
            "rows may be missed by its queries, and doubles in unique columns are refused by the target",
            is_old ? arena_printf(p->a, "version %s when the database was made, %s now", recorded, actual)
                   : "of the collations named");
    item_fix(p, item, ON_SOURCE,
             is_old ? arena_printf(p->a, "REINDEX DATABASE %1$s;\nALTER DATABASE %1$s REFRESH COLLATION VERSION;",
                                   pg_quote_identifier(p->a, p->source_facts.database))
                    : "-- REINDEX the indexes that use them, then ALTER COLLATION ... REFRESH VERSION;");
    return NULL;
}

struct error *check_collation(struct precheck *p, struct check_item *item)
{
    const struct server_facts *source = &p->source_facts, *target = &p->target_facts;
    bool passed = false;
    char *recorded, *on_source, *on_target;

    TRY(check_source_order(p, item, &passed));
    if (!passed)
        return NULL;
    if (p->target_is_missing) {
        item_is(p, item, CHECK_PASSED, "the database is created with %s", locale_text(p->a, source));
        return NULL;
    }
    if (!is_same_order(source, target)) {
        item_is(p, item, CHECK_ALARM,
                "the source sorts and classifies texts by %s, the target by %s: ORDER BY, ranges of partitions and "
                "upper() may give other results",
                locale_text(p->a, source), locale_text(p->a, target));
        item_fix(p, item, ON_TARGET, "-- drop the target's database: pgtide creates it with the source's locale");
        return NULL;
    }
    TRY(database_collation(p->source, p->a, &recorded, &on_source));
    TRY(database_collation(p->target, p->a, &recorded, &on_target));
    if (on_source != NULL && on_target != NULL && strcmp(on_source, on_target) != 0)
        item_is(
            p, item, CHECK_PASSED,
            "both have %s, of library version %s and %s: some texts may be sorted differently; indexes are built anew",
            locale_text(p->a, source), on_source, on_target);
    else
        item_is(p, item, CHECK_PASSED, "both have %s", locale_text(p->a, source));
    return NULL;
}

/* ---- blocks ---- */

struct error *check_block_size(struct precheck *p, struct check_item *item)
{
    static const char sql[] = "SELECT current_setting('block_size')";
    char *source, *target;

    TRY(pg_query_text(p->source, p->a, "reading the block size", sql, NULL, 0, &source));
    TRY(pg_query_text(p->target, p->a, "reading the block size", sql, NULL, 0, &target));
    if (cell_u32(target) >= cell_u32(source)) {
        item_is(p, item, CHECK_PASSED, "%s bytes on the source, %s on the target", source, target);
        return NULL;
    }
    item_is(
        p, item, CHECK_FAILED,
        "blocks have %s bytes on the source and only %s on the target, which limits the length of index entries and "
        "the number of columns",
        source, target);
    item_fix(p, item, ON_TARGET, "-- use a server that is built with blocks as large as the source's");
    return NULL;
}

/* ---- who else writes there ---- */

static struct error *check_other_task(struct precheck *p, struct check_item *item, bool *out_passed)
{
    struct state_task *tasks;
    unsigned n;

    TRY(state_tasks(p->target, p->a, &tasks, &n));
    *out_passed = n == 0;
    if (n > 0)
        item_is(
            p, item, CHECK_FAILED,
            "the target is written by task %s, which reads database \"%s\": go on with it where its state folder is, "
            "or end it with pgtide stop",
            tasks[0].task, tasks[0].source_database);
    return NULL;
}

struct error *check_target_writers(struct precheck *p, struct check_item *item)
{
    struct pg_rows written, subscribed;
    bool passed = false;

    if (p->target_is_missing) {
        item_is(p, item, CHECK_PASSED, "the database is created");
        return NULL;
    }
    TRY(check_other_task(p, item, &passed));
    if (!passed)
        return NULL;
    TRY(pg_query(p->target, p->a, "reading what subscriptions write", sql_subscribed, NULL, 0, &subscribed));
    TRY(pg_query(p->source, p->a, "reading the names of tables",
                 "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid::text FROM pg_class c JOIN "
                 "pg_namespace n "
                 "ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') ORDER BY "
                 "(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) COLLATE \"C\"",
                 NULL, 0, &written));
    chosen_filter_rows(p->chosen, &written, 1);
    struct pg_rows common = precheck_select(p, &subscribed, &written, true);
    item_objects_from_rows(p, item, &common);
    if (common.n_rows == 0) {
        item_is(p, item, CHECK_PASSED, "no other synchronization and no subscription");
        return NULL;
    }
    CLEANUP(buffer_free) struct buffer *fix = buffer_new();
    for (unsigned r = 0; r < common.n_rows; r++)
        if (r == 0 || strcmp(common.rows[r][1], common.rows[r - 1][1]) != 0)
            buffer_printf(fix, "ALTER SUBSCRIPTION %s DISABLE;\n", common.rows[r][1]);
    item_is(p, item, CHECK_FAILED, "subscriptions on the target write %u of the same tables", common.n_rows);
    item_fix(p, item, ON_TARGET, buffer_text(fix));
    return NULL;
}

/* ---- rights on what is there already ---- */

struct error *check_target_objects(struct precheck *p, struct check_item *item)
{
    const char *user = pg_quote_identifier(p->a, p->target_facts.user);
    struct pg_rows wanted, unwritable;

    if (p->target_is_missing) {
        item_is(p, item, CHECK_PASSED, "the database is created");
        return NULL;
    }
    TRY(pg_query(p->source, p->a, "reading what is to be written", sql_written, NULL, 0, &wanted));
    chosen_filter_rows(p->chosen, &wanted, 1);
    TRY(pg_query(p->target, p->a, "reading what may be written", sql_unwritable, NULL, 0, &unwritable));
    struct pg_rows common = precheck_select(p, &unwritable, &wanted, true); /* schemas are wanted by many */
    item_objects_from_rows(p, item, &common);
    if (common.n_rows == 0) {
        item_is(p, item, CHECK_PASSED, "user \"%s\" may write all schemas and tables that are there already",
                p->target_facts.user);
        return NULL;
    }
    CLEANUP(buffer_free) struct buffer *fix = buffer_new();
    for (unsigned r = 0; r < common.n_rows; r++) {
        const char *object = common.rows[r][0];
        const char *rights = strncmp(object, "schema ", strlen("schema ")) == 0
                                 ? "USAGE, CREATE"
                                 : "SELECT, INSERT, UPDATE, DELETE, TRUNCATE";

        buffer_printf(fix, "GRANT %s ON %s TO %s;\n", rights, object, user);
        item_repair(p, item, ON_TARGET, arena_printf(p->a, "GRANT %s ON %s TO %s", rights, object, user));
    }
    item_is(p, item, CHECK_FAILED, "user \"%s\" may not write %s on the target already", p->target_facts.user,
            counted(p->a, common.n_rows, "schema or table that is", "schemas or tables that are"));
    item_fix(p, item, ON_TARGET, buffer_text(fix));
    return NULL;
}
