#include "worker/given.h"

#include <string.h>

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

MUST_USE static struct error *check_slot(struct pg_conn *source, struct arena *a, const char *name)
{
    struct pg_slot_facts facts;
    bool exists = false;

    if (!is_slot_name(name))
        return error_hint(error_new(ERROR_USAGE, "\"%s\" cannot be the name of a replication slot", name),
                          "Take at most 63 lower-case letters, digits and underscores.");
    TRY(pg_slot_read(source, a, name, &exists, &facts));
    if (!exists)
        return NULL;
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
        TRY(check_slot(source, scratch, t->options->slot));
        t->record->slot = t->options->slot;
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
