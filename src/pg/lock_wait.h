/*
 * Whom a statement of ours waits for. The server says nothing while it does, and neither would we: a check, a copy or the applying of changes
 * would seem to hang for as long as somebody keeps a table locked.
 */
#pragma once

#include "pg/conn.h"

/*
 * `c` is in a statement and has had no answer for a while. When it waits for a lock, a warning in the log says what waits and who is in the way.
 * Asked by a session of its own, as the same user; where none comes about, nothing is said.
 */
void lock_wait_tell(const struct pg_conn *c);
