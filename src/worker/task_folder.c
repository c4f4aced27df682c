#include "worker/task_folder.h"

#include <inttypes.h>
#include <sys/random.h>
#include <unistd.h>

#include <jansson.h>

#include "base/hash.h"
#include "model/options.h"

enum { FORMAT_VERSION = 1, ID_BYTES = 6 };

static void json_release_cleanup_(json_t **j)
{
    json_decref(*j);
}

char *task_folder_path(struct arena *a, const char *root, const char *source_key, const char *target_key)
{
    char *pair = arena_printf(a, "%s\n%s", source_key, target_key);

    return arena_printf(a, "%s/%016" PRIx64, root, hash_bytes(pair, strlen(pair), 0));
}

static char *record_path(struct arena *a, const char *folder)
{
    return arena_printf(a, "%s/task", folder);
}

/* NULL when the member is missing or no string. */
static const char *member(struct arena *a, const json_t *document, const char *name)
{
    const char *text = json_string_value(json_object_get(document, name));

    return text == NULL ? NULL : arena_strdup(a, text);
}

MUST_USE static struct error *record_parse(struct arena *a, const json_t *document, struct task_record *out)
{
    *out = (struct task_record){
        .id = member(a, document, "id"),
        .source = member(a, document, "source"),
        .target = member(a, document, "target"),
        .slot = member(a, document, "slot"),
        .publication = member(a, document, "publication"),
        .owns_slot = json_is_true(json_object_get(document, "owns_slot")),
        .owns_publication = json_is_true(json_object_get(document, "owns_publication")),
        .has_publications = json_is_true(json_object_get(document, "has_publications")),
        .is_selected = json_is_true(json_object_get(document, "is_selected")),
        .is_once = json_is_true(json_object_get(document, "is_once")),
        .has_no_copy = json_is_true(json_object_get(document, "has_no_copy")),
        .has_ddl = json_is_true(json_object_get(document, "has_ddl")),
        .counts_are_lost = json_is_true(json_object_get(document, "counts_are_lost")),
        .reset_reason = member(a, document, "reset_reason"),
        .is_stopping = json_is_true(json_object_get(document, "is_stopping")),
        .is_completed = json_is_true(json_object_get(document, "is_completed")),
        .completed_at = member(a, document, "completed_at"),
        .dml = (unsigned)json_integer_value(json_object_get(document, "dml")),
    };
    if (out->dml == 0) /* not written by earlier versions */
        out->dml = DML_ALL;
    if (json_integer_value(json_object_get(document, "version")) != FORMAT_VERSION)
        return error_new(ERROR_DATA, "it has format version %" JSON_INTEGER_FORMAT ", this program reads version %d",
                         json_integer_value(json_object_get(document, "version")), FORMAT_VERSION);
    if (out->id == NULL || out->slot == NULL || out->publication == NULL || out->source == NULL || out->target == NULL)
        return error_new(ERROR_DATA, "a member is missing");
    return NULL;
}

struct error *task_record_read(struct arena *a, const char *folder, struct task_record **out_record)
{
    const char *path = record_path(a, folder);
    char *text = NULL;
    size_t length = 0;
    json_error_t where;
    struct task_record *record = ARENA_NEW(a, struct task_record);

    TRY(file_read(a, path, &text, &length));
    if (text == NULL) {
        *out_record = NULL;
        return NULL;
    }
    CLEANUP(json_release) json_t *document = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
    struct error *err = document == NULL ? error_new(ERROR_DATA, "line %d: %s", where.line, where.text)
                                         : record_parse(a, document, record);
    if (err != NULL)
        return error_hint(
            error_wrap(err, "could not read task file \"%s\"", path),
            "The file was damaged or written by another version. Without it pgtide does not know its slot "
            "on the source: look with \"pgtide slots list\", then remove the folder and start anew.");
    *out_record = record;
    return NULL;
}

struct error *task_record_write(const char *folder, const struct task_record *record)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "task record");
    CLEANUP(json_release)
    json_t *document = json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:i, s:b, s:b, s:b, s:s*, s:b, s:b, s:s*}", "version",
        FORMAT_VERSION, "id", record->id, "source", record->source, "target", record->target, "slot", record->slot,
        "publication", record->publication, "owns_slot", record->owns_slot, "owns_publication",
        record->owns_publication, "is_once", record->is_once, "has_no_copy", record->has_no_copy, "has_publications",
        record->has_publications, "dml", (int)record->dml, "is_selected", record->is_selected, "has_ddl",
        record->has_ddl, "counts_are_lost", record->counts_are_lost, "reset_reason", record->reset_reason,
        "is_stopping", record->is_stopping, "is_completed", record->is_completed, "completed_at", record->completed_at);

    if (document == NULL)
        return error_new(ERROR_CONFIG, "could not write task file: a name in it is not valid UTF-8");
    char *text = json_dumps(document, JSON_INDENT(2));
    if (text == NULL)
        return error_new(ERROR_TRANSIENT, "out of memory");
    struct error *err = file_replace(record_path(scratch, folder), text, strlen(text));
    free(text);
    return err;
}

struct error *task_record_new(struct arena *a, const char *source, const char *target, struct task_record **out_record)
{
    unsigned char random[ID_BYTES];
    char id[2 * ID_BYTES + 1];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return error_new(ERROR_TRANSIENT, "could not get random bytes for the task's id: %m");
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(id + 2 * i, 3, "%02x", random[i]);

    struct task_record *record = ARENA_NEW(a, struct task_record);
    *record = (struct task_record){
        .id = arena_strdup(a, id),
        .source = source,
        .target = target,
        .slot = arena_printf(a, "pgtide_%s", id),
        .publication = arena_printf(a, "pgtide_%s", id),
        .owns_slot = true,
        .owns_publication = true,
        .dml = DML_ALL,
    };
    *out_record = record;
    return NULL;
}

struct error *task_folder_lock(struct arena *a, const char *folder, const char *pair, struct file_lock **out_lock)
{
    char *holder = NULL;

    TRY(folder_make(folder));
    TRY(file_lock_take(a, arena_printf(a, "%s/lock", folder), arena_printf(a, "pid %d", (int)getpid()), out_lock,
                       &holder));
    if (*out_lock == NULL)
        return error_hint(error_new(ERROR_CONFIG, "a sync of %s runs already: %s", pair, holder),
                          "Look at it with \"pgtide status\", end it with \"pgtide stop\" or Ctrl-C in its terminal.");
    return NULL;
}
