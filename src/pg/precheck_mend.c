#include "pg/precheck_context.h"

/* A lock that is not there at once is not worth making the application wait behind us. */
#define LOCK_TIMEOUT "3s"

struct mending {
    struct arena *a;
    const struct precheck_options *options;
    struct pg_conn *sides[2]; /* by enum check_side; NULL until needed */
};

static struct error *side_of(struct mending *m, enum check_side side, struct pg_conn **out)
{
    static const char *const settings[] = {"lock_timeout", LOCK_TIMEOUT, NULL};
    const struct pg_endpoint *e = side == ON_SOURCE ? m->options->source : m->options->target;

    if (m->sides[side] == NULL)
        TRY(pg_connect(e,
                       (struct pg_connect_options){
                           .application_name = "pgtide check --fix", .settings = settings, .stop = m->options->stop},
                       &m->sides[side]));
    *out = m->sides[side];
    return NULL;
}

/* Each in a transaction of its own. What fails is told with its repair; only a request to stop ends all. */
static struct error *run_repair(struct mending *m, const char *id, const struct check_repair *wanted,
                                struct check_repair *done)
{
    struct pg_conn *c = NULL;

    *done = *wanted;
    done->id = id;
    struct error *err = side_of(m, wanted->on_source ? ON_SOURCE : ON_TARGET, &c);
    if (err == NULL)
        err = pg_execute(c, "mending", wanted->sql);
    if (err != NULL && error_kind(err) == ERROR_CANCELLED)
        return err;
    done->is_done = err == NULL;
    done->problem = err == NULL ? NULL : arena_strdup(m->a, error_message(err));
    error_free(err);
    return NULL;
}

static bool is_to_be_mended(const struct check_item *item)
{
    return item->result == CHECK_FAILED || (item->result == CHECK_ALARM && !item->is_accepted);
}

static struct error *run_repairs(struct mending *m, const struct precheck_report *report, struct check_repair *done)
{
    for (unsigned i = 0; i < report->n_items; i++)
        for (unsigned r = 0; is_to_be_mended(&report->items[i]) && r < report->items[i].n_repairs; r++)
            TRY(run_repair(m, report->items[i].id, &report->items[i].repairs[r], done++));
    return NULL;
}

struct error *precheck_mend(struct arena *a, struct precheck_options options, const struct precheck_report *report,
                            struct check_repair **out_repairs, unsigned *out_n)
{
    struct mending m = {.a = a, .options = &options};
    unsigned n = 0;

    for (unsigned i = 0; i < report->n_items; i++)
        n += is_to_be_mended(&report->items[i]) ? report->items[i].n_repairs : 0;
    struct check_repair *done = arena_alloc(a, (n + 1U) * sizeof *done);
    struct error *err = run_repairs(&m, report, done);
    pg_conn_close(m.sides[ON_SOURCE]);
    pg_conn_close(m.sides[ON_TARGET]);
    if (err != NULL)
        return err;
    *out_repairs = done;
    *out_n = n;
    return NULL;
}
