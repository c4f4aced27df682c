/*
 * Row security that is forced on a table's owner (FORCE ROW LEVEL SECURITY), on a target whose user is no superuser and has not BYPASSRLS.
 *
 * That user owns the tables that it writes, or is a member of their owners, and would be held to their policies: rows would be refused, a foreign
 * key could not be checked. So the tables are not forced there until the synchronization is stopped; policies hold for everybody
 * else all the time. For other users nothing is done.
 */
#pragma once

#include "pg/chosen.h"
#include "pg/conn.h"
#include "pg/left_out.h"

/* Of the tables that the source has (of those chosen): not forced on the target from here on. May be repeated. */
MUST_USE struct error *forced_security_lift(struct pg_conn *source, struct pg_conn *target,
                                            const struct chosen *chosen);

/* As the source has it by now. What the user may not is left out. May be repeated. */
MUST_USE struct error *forced_security_restore(struct pg_conn *source, struct pg_conn *target,
                                               const struct chosen *chosen, struct left_out *left_out);

/* Around a statement of the source. *out_before, in `a`: for the second call, in the same transaction; NULL: nothing to be done. */
MUST_USE struct error *forced_security_before(struct pg_conn *target, struct arena *a, const char **out_before);
MUST_USE struct error *forced_security_after(struct pg_conn *target, struct arena *a, const char *before);
