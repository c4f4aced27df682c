#include "sync/decision.h"

#include <inttypes.h>

static bool concerns(const struct apply_decision *d, struct apply_place place)
{
    return lsn_equal(d->place.commit, place.commit) &&
           (d->what.choice == RESUME_SKIP_TRANSACTION || d->place.ordinal == place.ordinal);
}

struct resume_decision decision_at(struct decisions d, struct apply_place place)
{
    struct resume_decision decision = {.choice = RESUME_AS_IS};

    for (unsigned i = 0; i < d.n; i++)
        if (concerns(&d.items[i], place))
            decision = d.items[i].what;
    return decision;
}

bool decisions_concern(struct decisions d, struct lsn commit)
{
    for (unsigned i = 0; i < d.n; i++)
        if (lsn_equal(d.items[i].place.commit, commit))
            return true;
    return false;
}

static const char choices_about_row[] = "Nothing is lost. Mend the cause and run \"pgtide resume\", or decide about "
                                        "this change: pgtide resume with --skip-change, "
                                        "--skip-transaction or --overwrite (take the source's row). For all conflicts "
                                        "to come: --on-conflict ignore or overwrite.";
static const char choices_about_ddl[] =
    "Nothing is lost. Mend the cause and run \"pgtide resume\", or decide about this statement: pgtide resume with "
    "--skip-change, "
    "--skip-transaction, or --replace-with FILE or SQL that the target can run in its place.";

struct error *decision_needed(struct arena *a, const struct decision_place *at, struct error *err,
                              struct apply_stop *out, bool *out_is_stopped)
{
    const struct change *change = at->change;

    if (error_kind(err) == ERROR_DATA) {
        *out = (struct apply_stop){
            .place = at->place,
            .xid = at->transaction->xid,
            .statement = change == NULL ? "the end of the transaction" : change_describe_whole(a, change),
            .is_ddl = change != NULL && change->table != NULL && change->table->mode == TABLE_DDL,
        };
        *out_is_stopped = true;
        if (error_hint_text(err) == NULL)
            err = error_hint(err, "%s", out->is_ddl ? choices_about_ddl : choices_about_row);
    }
    return error_wrap(err, "applying source transaction %" PRIu32 ", committed at %s (%s)", at->transaction->xid,
                      lsn_format(at->transaction->commit).text, at->so_far);
}
