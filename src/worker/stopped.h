/*
 * Where apply stopped at a change it could not apply, and what the operator decided: the file `stopped` of the state folder.
 *
 * The sync writes where it stopped; `pgtide resume` adds a decision; the next sync reads the decisions and removes the file
 * when the target is past all of them. A transaction may stop several times, at one change after the other, and each time
 * none of it is applied: so decisions are kept until the whole transaction is committed. Written as a whole and synced.
 *
 * Whoever holds the state folder's lock may write.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/options.h"
#include "sync/apply.h"

struct stopped {
    bool is_stopped; /* else only the decisions mean something */
    struct apply_stop stop;
    const char *cause; /* the whole error */
    const char *at;    /* when, by our clock, ISO 8601 */
    struct apply_decision *decisions;
    unsigned n_decisions;
};

/* Texts live in `a`. Empty when there is no file; ERROR_DATA for one that cannot be read. */
MUST_USE struct error *stopped_read(struct arena *a, const char *folder, struct stopped *out);

/* Keeps the decisions that the file has. */
MUST_USE struct error *stopped_note(const char *folder, const struct apply_stop *stop, const char *cause);

/*
 * Adds the operator's decision about the change that the file names; when it has been decided about and the sync has not stopped at
 * another change since, instead of the decision before. ERROR_CONFIG when nothing is stopped, or the choice is not one for such a change.
 */
MUST_USE struct error *stopped_decide(const char *folder, struct resume_decision decision);

/* Removes the file; a missing one is fine. */
MUST_USE struct error *stopped_forget(const char *folder);

/*
 * Why the last run ended, in a file of its own, for whoever asks later: nothing when it was interrupted or died. A run that begins forgets it. What
 * cannot be written is only said in the log.
 */
void ended_note(const char *folder, const char *why);
MUST_USE struct error *ended_read(struct arena *a, const char *folder, char **out_why); /* NULL: nothing is known */
MUST_USE struct error *ended_forget(const char *folder);

/* As the file and the control socket say it: "skip-change". */
const char *stopped_choice_name(enum resume_choice choice);
bool stopped_choice_parse(const char *name, enum resume_choice *out);

/* Whether the target, at `position`, is past everything that the file speaks of. */
bool stopped_is_past(const struct stopped *s, struct lsn position);
