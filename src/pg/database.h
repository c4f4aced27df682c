/*
 * What belongs to a database and is in no dump of its objects: its own properties, rows of extensions' configuration tables, and the
 * contents of materialized views.
 *
 * One thread, ordinary sessions. Where a role is missing on the target, or a statement needs rights that we have not, it is left
 * out with a warning. Manual: ALTER DATABASE, pg_db_role_setting, pg_extension, REFRESH MATERIALIZED VIEW.
 */
#pragma once

#include "pg/chosen.h"
#include "pg/conn.h"

/*
 * Comment, connection limit, settings (also of roles in this database) and grants of the source's database, for the target's. Not its
 * owner: database_give does that when the database is made, because a user who gives it away may lose rights. May be repeated.
 */
MUST_USE struct error *database_properties_copy(struct pg_conn *source, struct pg_conn *target);

/* The database just made gets the owner that the source's has. `maintenance` is a session on another database of the target. */
MUST_USE struct error *database_give(struct pg_conn *source, struct pg_conn *maintenance, const char *database);

/*
 * Rows of extensions' configuration tables (pg_extension_config_dump), each table in one transaction: what its condition says is emptied
 * and copied; sequences are set. The target must have the extensions. May be repeated.
 */
MUST_USE struct error *database_config_tables_copy(struct pg_conn *source, struct pg_conn *target);

/*
 * The same for some extensions on a target that others use, too: tables that have such rows already, and sequences, are left as they are.
 */
MUST_USE struct error *database_config_tables_fill(struct pg_conn *source, struct pg_conn *target,
                                                   const char *const *extensions, unsigned n);

/*
 * Fills those (that are chosen, and) that are populated on the source and not on the target, in the order in which they read each other. Leaves row_security
 * on in the target session.
 */
MUST_USE struct error *database_matviews_populate(struct pg_conn *source, struct pg_conn *target,
                                                  const struct chosen *chosen);
