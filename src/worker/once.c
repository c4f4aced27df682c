#include "worker/once.h"

#include <inttypes.h>

#include "base/fault.h"
#include "base/log.h"
#include "worker/begin.h"
#include "worker/compare.h"
#include "worker/finish.h"
#include "worker/full.h"

enum { NAMES_MAX = 5 };

/* Numbers of rows and definitions, of now: on a source that goes on being written to they may have moved since the snapshot. */
MUST_USE static struct error *compare(struct task *t, struct arena *a, struct compare_result *out)
{
    const struct compare_options options = {
        .kinds = {[COMPARE_OBJECTS] = true, [COMPARE_ROWS] = true}, .jobs = t->options->jobs, .is_alone = true};
    struct compare_progress progress = {0};

    log_info("comparing the definitions of objects and the numbers of rows");
    return worker_compare(t->options, &options, (struct compare_sink){.self = NULL}, &progress, a, t->stop, out);
}

static const char *names_of(struct arena *a, const struct compare_result *r, enum verdict verdict, unsigned *out_n)
{
    const char *names = "";

    *out_n = 0;
    for (unsigned i = 0; i < r->n_entries; i++) {
        const struct compare_entry *e = r->entries[i];

        if (e->verdict != verdict)
            continue;
        if (*out_n < NAMES_MAX)
            names = arena_printf(a, "%s%s%s (%" PRIu64 " and %" PRIu64 ")", names, *out_n == 0 ? "" : ", ", e->name,
                                 e->source_count, e->target_count);
        ++*out_n;
    }
    return *out_n > NAMES_MAX ? arena_printf(a, "%s, …", names) : names;
}

/* (C1) Said of two snapshots of now; the copy itself is right when as many rows were written as were read (G4). */
static void tell(struct task *t, struct arena *a, const struct compare_result *r)
{
    unsigned n_different = 0, n_open = 0;
    const char *different = names_of(a, r, VERDICT_DIFFERENT, &n_different);
    const char *open = names_of(a, r, VERDICT_NOT_COMPARED, &n_open);
    const char *moved = r->alignment.source_has_moved ? "; the source was written to meanwhile" : "";

    atomic_store(&t->counters->compared_entries, r->n_entries);
    atomic_store(&t->counters->compared_different, n_different + n_open);
    if (n_different == 0 && n_open == 0)
        log_info("compared: %u kinds of objects and tables are equal on both sides", r->n_entries);
    if (n_different > 0)
        log_warn("compared: %u of %u kinds of objects and tables differ, source and target count: %s%s", n_different,
                 r->n_entries, different, moved);
    if (n_open > 0)
        log_warn("compared: %u of %u could not be compared: %s", n_open, r->n_entries, open);
}

MUST_USE static struct error *compare_and_tell(struct task *t)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "comparison");
    struct compare_result result = {0};

    TRY(compare(t, scratch, &result));
    tell(t, scratch, &result);
    return NULL;
}

struct error *once_run(struct task *t)
{
    TRY(begin_and_copy(t));
    FAULT_POINT("once.copied");
    TRY(full_objects(t));
    TRY(full_finish(t));
    progress_set_phase(t->progress, PHASE_STOPPING);
    TRY(finish_sequences(t));
    TRY(compare_and_tell(t));
    FAULT_POINT("once.compared");
    return finish_run(t);
}
