/*
 * The selection of a task and of a comparison: read from the options, kept in the state folder, compared when the task goes on.
 *
 * The file `selection` of the state folder is written before the task's record, which says that there is one: the rules as they were
 * said, and which relations they chose when the task began. It is these that are synchronized from then on, whatever is made
 * or renamed later, with the partitions that chosen tables get. It stays after a normal stop, for comparisons.
 *
 * One thread; everything lives in the arena given.
 */
#pragma once

#include "model/options.h"
#include "model/selection.h"
#include "pg/chosen.h"
#include "worker/task.h"

/* The rules of --select and --select-from; NULL when neither is given. ERROR_USAGE. */
MUST_USE struct error *selecting_parse(struct arena *a, const struct sync_options *options, struct selection **out);

/* What the file says. */
struct selected {
    const char *rules; /* one a line */
    bool with_dependencies;
    unsigned n;
    uint32_t *oids;                /* ascending */
    const char **schemas, **names; /* when the task began */
};

/* ERROR_DATA when it is missing or damaged: without it nobody knows what the task is about. */
MUST_USE struct error *selecting_read(struct arena *a, const char *folder, struct selected **out);

/* Whether the rules given are those of the task (NULL: of none). */
bool selecting_is_same(struct arena *a, const struct sync_options *options, const struct selection *selection,
                       const struct selected *selected);

/* A task begins, with what the precheck resolved (NULL: the whole database). Sets t->chosen and the record, which is still to be written. */
MUST_USE struct error *selecting_begin(struct task *t, const struct selection *selection, struct chosen *chosen);

/* A task goes on: the options say the same or nothing. ERROR_CONFIG otherwise. */
MUST_USE struct error *selecting_compare(struct task *t);

/* Sets t->chosen of a task that goes on, as the source is now. Nothing to do at its beginning. */
MUST_USE struct error *selecting_restore(struct task *t, struct pg_conn *source);

/*
 * As of the first snapshot, while nothing is copied: what the rules choose there and the task does not know was made since the precheck.
 * Then it is the task's, too, and *out_has_grown: the publication and the slot are older than it.
 */
MUST_USE struct error *selecting_grow(struct task *t, struct pg_conn *source, bool *out_has_grown);

/* The rules that it began with. */
MUST_USE struct error *selecting_rules(const struct task *t, struct arena *a, struct selection **out);

/* Writes down what was chosen since, before the capture that knows of it is removed. */
MUST_USE struct error *selecting_save(const struct task *t, struct pg_conn *source);

/* What is chosen as the source is now; NULL: the whole database. In `a`. */
MUST_USE struct error *selecting_now(const struct task *t, struct pg_conn *source, struct arena *a,
                                     struct chosen **out);

/* Likewise for a task that is seen from outside. */
MUST_USE struct error *selecting_of(const struct task_record *record, const char *folder, struct pg_conn *source,
                                    struct arena *a, struct chosen **out);

/* Whether changes of a table in the stream are the task's. */
MUST_USE struct error *selecting_takes(const struct task *t, uint32_t oid, bool *out_takes);

/* A set of names. NULL is all names. */
struct name_set;

RETURNS_NONNULL struct name_set *name_set_new(struct arena *a);
void name_set_add(struct name_set *s, const char *schema, const char *name);
void name_set_close(struct name_set *s); /* after the last name, before the first question */
bool name_set_has(const struct name_set *s, const char *schema, const char *name);
struct relation_filter name_set_filter(const struct name_set *s);

/* As arrays for a statement's parameters; NULL and NULL for NULL. */
struct name_arrays {
    const char *schemas;
    const char *names;
};
struct name_arrays name_set_arrays(struct arena *a, const struct name_set *s);
