#include "support/fake_worker.h"

#include "control/status.h"
#include "worker/compare.h"
#include "worker/cutover.h"

struct fake_worker fake_worker;

static struct error *outcome(void)
{
    return fake_worker.outcome == ERROR_KIND_COUNT ? NULL : error_new(fake_worker.outcome, "%s", fake_worker.message);
}

static void called(const struct sync_options *options)
{
    fake_worker.n_calls++;
    if (options == NULL)
        return;
    fake_worker.options = *options;
    snprintf(fake_worker.state_dir, sizeof fake_worker.state_dir, "%s", options->state_dir);
    fake_worker.options.state_dir = fake_worker.state_dir; /* that of the caller ends with its command */
}

struct error *worker_sync(const struct sync_options *options, struct progress *progress, struct stop *stop,
                          struct worker_hooks hooks)
{
    called(options);
    hooks.checked(hooks.self, fake_worker.items, fake_worker.n_items);
    if (fake_worker.work != NULL)
        fake_worker.work(progress, stop);
    return outcome();
}

struct error *worker_check(const struct sync_options *options, bool fix, struct arena *a, struct stop *stop,
                           struct check_findings *out)
{
    (void)stop;
    called(options);
    fake_worker.has_fix = fix;
    out->items = arena_alloc(a, (fake_worker.n_items + 1) * sizeof *out->items);
    memcpy(out->items, fake_worker.items, fake_worker.n_items * sizeof *out->items);
    out->n_items = fake_worker.n_items;
    out->repairs = fake_worker.repairs;
    out->n_repairs = fix ? fake_worker.n_repairs : 0;
    return outcome();
}

struct error *worker_status(const struct sync_options *options, struct stop *stop, json_t **out_document)
{
    struct error *err = outcome();

    (void)stop;
    called(options);
    if (err == NULL)
        *out_document = status_document(&(struct status_facts){.state = STATUS_NONE}, NULL, NULL);
    return err;
}

struct error *worker_wait(const struct sync_options *options, enum wait_for what, int timeout_ms, struct stop *stop)
{
    (void)stop;
    called(options);
    fake_worker.wait_for = what;
    fake_worker.timeout_ms = timeout_ms;
    return outcome();
}

struct error *worker_stop(const struct sync_options *options, bool force, struct progress *progress, struct stop *stop,
                          struct worker_hooks hooks)
{
    (void)hooks;
    called(options);
    fake_worker.has_force = force;
    if (fake_worker.work != NULL)
        fake_worker.work(progress, stop);
    return outcome();
}

struct error *worker_resume(const struct sync_options *options, struct resume_decision decision,
                            struct progress *progress, struct stop *stop, struct worker_hooks hooks)
{
    (void)progress;
    (void)stop;
    (void)hooks;
    called(options);
    fake_worker.choice = decision.choice;
    snprintf(fake_worker.instead, sizeof fake_worker.instead, "%s", decision.instead == NULL ? "" : decision.instead);
    return outcome();
}

struct error *worker_speed(const struct sync_options *options, struct arena *a, struct stop *stop,
                           const char **out_text)
{
    struct error *err = outcome();

    (void)stop;
    called(options);
    if (err == NULL)
        *out_text = rate_plan_format(a, &options->max_rate);
    return err;
}

struct error *worker_conflicts(const struct sync_options *options, const char *table, struct stop *stop,
                               json_t **out_document)
{
    (void)stop;
    called(options);
    fake_worker.table = table;
    *out_document = json_deep_copy(fake_worker.conflicts);
    return outcome();
}

struct error *worker_slots(const char *conninfo, struct slots_options options, struct arena *a, struct stop *stop,
                           struct leftover **out_leftovers, unsigned *out_n)
{
    (void)a;
    (void)stop;
    called(NULL);
    fake_worker.server = conninfo;
    fake_worker.is_gc = options.gc;
    fake_worker.has_force = options.force;
    *out_leftovers = fake_worker.leftovers;
    *out_n = fake_worker.n_leftovers;
    return outcome();
}

/* NOLINTNEXTLINE(readability-function-size): as the one it stands for */
struct error *worker_compare(const struct sync_options *options, const struct compare_options *compare,
                             struct compare_sink sink, struct compare_progress *progress, struct arena *a,
                             struct stop *stop, struct compare_result *out)
{
    struct compare_collector *collector = compare_collector_new(a, sink, progress);

    (void)stop;
    called(options);
    fake_worker.compare = *compare;
    if (fake_worker.difference != NULL)
        compare_entry_differs(collector, compare_entry_begin(collector, COMPARE_VALUES, fake_worker.difference->what),
                              fake_worker.difference);
    *out = (struct compare_result){0};
    compare_result_close(collector, out);
    return outcome();
}

struct error *worker_cutover(const struct sync_options *sync, const struct cutover_options *options,
                             struct cutover_hooks hooks, struct arena *a, struct stop *stop, struct cutover_report *out)
{
    (void)a;
    (void)stop;
    called(sync);
    fake_worker.cutover = *options;
    *out = (struct cutover_report){.outcome = CUTOVER_COMPLETED};
    if (hooks.stepped != NULL)
        hooks.stepped(hooks.self, out, CUTOVER_MARKER);
    return outcome();
}

struct error *worker_pause(const struct sync_options *options, struct stop *stop)
{
    (void)stop;
    called(options);
    return outcome();
}

struct error *worker_go_on(const struct sync_options *options, struct resume_decision decision, struct stop *stop,
                           enum went_on *out)
{
    (void)options;
    (void)decision;
    (void)stop;
    *out = WENT_ON_NOTHING;
    return NULL;
}
