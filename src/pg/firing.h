/*
 * Triggers and rules that fire also for replicas (ENABLE ALWAYS, ENABLE REPLICA), as our sessions on the target are.
 *
 * What they do on the source comes with the changes; done once more on the target it would be there twice, or change what is written. So
 * those that the source has are enabled in the ordinary way there, in which they do not fire for us, until the synchronization is
 * stopped. What only the target has is somebody's wish and fires.
 */
#pragma once

#include "pg/chosen.h"
#include "pg/conn.h"
#include "pg/left_out.h"
#include "pg/schema_script.h"

/* The structure's triggers and rules are made without the statements that let them fire. */
void firing_leave_out(struct script *script);

/* Of those that the source has (on the tables chosen): on the target they do not fire for us from here on. May be repeated. */
MUST_USE struct error *firing_lift(struct pg_conn *source, struct pg_conn *target, const struct chosen *chosen);

/* As the source has them by now. What the user may not is left out. May be repeated. */
MUST_USE struct error *firing_restore(struct pg_conn *source, struct pg_conn *target, const struct chosen *chosen,
                                      struct left_out *left_out);

/* Whether the source has any. */
MUST_USE struct error *firing_is_there(struct pg_conn *source, bool *out_is);
