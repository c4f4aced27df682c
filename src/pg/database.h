/*
 * What belongs to a database and is in no dump of its objects: its own properties, rows of extensions' configuration tables, and the
 * contents of materialized views.
 *
 * One thread, ordinary sessions. Where a role is missing on the target, or a statement needs rights that we have not, it is left
 * out with a warning. Manual: ALTER DATABASE, pg_db_role_setting, pg_extension, REFRESH MATERIALIZED VIEW.
 */
#pragma once

#include "pg/accounts.h"
#include "pg/chosen.h"
#include "pg/conn.h"
#include "pg/left_out.h"

struct database_property {
    const char *statement;
    const char *left_out;        /* why; NULL: it is run */
    bool lacks_role;             /* that is why */
    const char *not_in_its_name; /* it is run as the owner would; NULL */
};

struct database_properties {
    unsigned n;
    struct database_property *properties;
};

/*
 * What database_properties_copy would do with a database of this name, which may be missing. `made`: roles that are about to be made;
 * NULL for none. `target` may be a session on another database of the server.
 */
MUST_USE struct error *database_properties_read(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                                const char *database, const struct account_list *made,
                                                struct database_properties *out);

/*
 * Comment, connection limit, settings (also of roles in this database) and grants of the source's database, for the target's. Not its
 * owner: database_give does that when the database is made, because a user who gives it away may lose rights. May be repeated.
 */
MUST_USE struct error *database_properties_copy(struct pg_conn *source, struct pg_conn *target,
                                                struct left_out *left_out);

/* The database just made gets the owner that the source's has. `maintenance` is a session on another database of the target. */
MUST_USE struct error *database_give(struct pg_conn *source, struct pg_conn *maintenance, const char *database,
                                     struct left_out *left_out);

/* What database_give would do. `target` may be a session on any database; `made` as above. */
MUST_USE struct error *database_owner_read(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                           const char *database, const struct account_list *made,
                                           struct database_property *out);

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
                                                  const struct chosen *chosen, struct left_out *left_out);
