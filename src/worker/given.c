#include "worker/given.h"

#include <string.h>

#include "pg/cells.h"
#include "pg/publication.h"
#include "pg/slot.h"

enum { SLOT_NAME_MAX = 63, SHOWN_TABLES = 5 };

/* ---- the slot ---- */

/* As the server's ReplicationSlotValidateName. */
static bool is_slot_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= SLOT_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

/* Whether changes can be had from it. A publication of ours would be younger than they are, so that the server did not find it. */
MUST_USE static struct error *check_taken_slot(const struct task *t, struct pg_conn *source, struct arena *a,
                                               const struct pg_slot_facts *s)
{
    static const char about_sql[] =
        "SELECT current_database(), coalesce(to_jsonb(s) ->> 'two_phase', 'false'), s.temporary::text "
        "FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1";
    struct pg_rows about;

    TRY(pg_query(source, a, "reading the slot", about_sql, &s->name, 1, &about));
    if (about.n_rows == 0)
        return error_new(ERROR_TRANSIENT, "replication slot \"%s\" was dropped just now", s->name);
    if (s->database == NULL || strcmp(s->database, about.rows[0][0]) != 0)
        return error_new(ERROR_CONFIG, "replication slot \"%s\" is %s%s%s, not one of database \"%s\"", s->name,
                         s->database == NULL ? "a physical one" : "of database \"",
                         s->database == NULL ? "" : s->database, s->database == NULL ? "" : "\"", about.rows[0][0]);
    if (s->active_pid != 0)
        return error_new(ERROR_CONFIG, "replication slot \"%s\" is read by process %d of the source already", s->name,
                         s->active_pid);
    if (strcmp(s->plugin, "pgoutput") != 0 && strcmp(s->plugin, "test_decoding") != 0)
        return error_new(ERROR_CONFIG, "replication slot \"%s\" has the plugin %s, which pgtide does not read", s->name,
                         s->plugin);
    if (cell_bool(about.rows[0][1]) || cell_bool(about.rows[0][2]) || strcmp(s->wal_status, "lost") == 0)
        return error_new(ERROR_CONFIG, "replication slot \"%s\" %s", s->name,
                         cell_bool(about.rows[0][1])
                             ? "sends prepared transactions (two_phase), which pgtide does not take from it"
                         : cell_bool(about.rows[0][2]) ? "is a temporary one"
                                                       : "is lost: the source has removed its WAL");
    if (strcmp(s->plugin, "pgoutput") == 0 && t->options->publication == NULL)
        return error_hint(
            error_new(ERROR_CONFIG, "replication slot \"%s\" has changes from before now, and no publication is given",
                      s->name),
            "Name the one that was there when the slot was made: --publication NAME. The server does not find one "
            "that is made later in what it decodes.");
    return NULL;
}

MUST_USE static struct error *check_slot(const struct task *t, struct pg_conn *source, struct arena *a,
                                         const char *name, bool *out_is_taken)
{
    struct pg_slot_facts facts;
    bool exists = false;

    *out_is_taken = false;

    if (!is_slot_name(name))
        return error_hint(error_new(ERROR_USAGE, "\"%s\" cannot be the name of a replication slot", name),
                          "Take at most 63 lower-case letters, digits and underscores.");
    TRY(pg_slot_read(source, a, name, &exists, &facts));
    if (!exists)
        return NULL;
    *out_is_taken = t->options->type == SYNC_INCREMENTAL;
    if (*out_is_taken)
        return check_taken_slot(t, source, a, &facts);
    return error_hint(
        error_new(ERROR_CONFIG, "replication slot \"%s\" exists on the source already", name),
        "A copy needs the snapshot that is made together with a slot, so the slot is made by pgtide: give a "
        "name that is free, or drop that slot if nobody needs it.");
}

/* ---- the publication ---- */

MUST_USE static struct error *check_operations(const char *name, const struct pg_publication_facts *facts)
{
    if (!facts->exists)
        return error_hint(error_new(ERROR_CONFIG, "publication \"%s\" does not exist on the source", name),
                          "Make it there, as superuser: CREATE PUBLICATION %s FOR ALL TABLES;", name);
    if (!facts->has_insert || !facts->has_update || !facts->has_delete || !facts->has_truncate)
        return error_hint(error_new(ERROR_CONFIG, "publication \"%s\" does not publish all kinds of changes", name),
                          "ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate');", name);
    if (facts->via_root)
        return error_hint(
            error_new(ERROR_CONFIG,
                      "publication \"%s\" publishes partitions as their root, whose rows are not told apart", name),
            "ALTER PUBLICATION %s SET (publish_via_partition_root = false);", name);
    return NULL;
}

MUST_USE static struct error *check_publication(struct pg_conn *source, struct arena *a, const char *name,
                                                const struct chosen *chosen)
{
    struct pg_publication_facts facts;
    char **lacking = NULL;
    unsigned n = 0;

    TRY(pg_publication_read(source, name, &facts));
    TRY(check_operations(name, &facts));
    TRY(pg_publication_lacks(source, a, name, chosen, &lacking, &n));
    if (n == 0)
        return NULL;
    const char *shown = lacking[0];
    for (unsigned i = 1; i < n && i < SHOWN_TABLES; i++)
        shown = arena_printf(a, "%s, %s", shown, lacking[i]);
    return error_hint(error_new(ERROR_CONFIG, "publication \"%s\" does not hold %u table%s in whole: %s%s", name, n,
                                n == 1 ? "" : "s", shown, n > SHOWN_TABLES ? ", …" : ""),
                      "Changes of these would be lost. Add them: ALTER PUBLICATION %s ADD TABLE …; or make one FOR ALL "
                      "TABLES.",
                      name);
}

/* ---- both ---- */

struct error *given_take(struct task *t)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "given names");
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;

    if (t->options->slot == NULL && t->options->publication == NULL)
        return NULL;
    TRY(pg_connect(t->source, (struct pg_connect_options){.application_name = "pgtide given names", .stop = t->stop},
                   &source));
    if (t->options->slot != NULL) {
        bool is_taken;

        TRY(check_slot(t, source, scratch, t->options->slot, &is_taken));
        t->record->slot = t->options->slot;
        t->record->owns_slot = !is_taken;
    }
    if (t->options->publication != NULL) {
        TRY(check_publication(source, scratch, t->options->publication, t->chosen));
        t->record->publication = t->options->publication;
        t->record->owns_publication = false;
    }
    return NULL;
}

MUST_USE static struct error *same(const char *option, const char *given, const char *begun_with)
{
    if (given == NULL || strcmp(given, begun_with) == 0)
        return NULL;
    return error_hint(error_new(ERROR_CONFIG, "this synchronization was begun with --%s \"%s\", not \"%s\"", option,
                                begun_with, given),
                      "Leave the option out to go on. Another one needs a \"pgtide stop\" and a new start.");
}

struct error *given_compare(const struct task *t)
{
    TRY(same("slot", t->options->slot, t->record->slot));
    return same("publication", t->options->publication, t->record->publication);
}
