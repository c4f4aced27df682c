/*
 * What a server knows of roles, read once and in one way: by what carries them (pg/accounts) and by what compares them
 * (pg/compare_objects).
 *
 * The rows live in the arena. One thread, an ordinary session; settings in a database are those of the session's. Passwords are no part
 * of it. Manual: pg_roles, pg_auth_members, pg_db_role_setting.
 */
#pragma once

#include <stdbool.h>

#include "pg/conn.h"

/* What each row has; NULL where it means nothing for its kind. */
enum account_cell {
    ACCOUNT_KIND, /* "role", "membership", "setting", "comment", "parameter" */
    ACCOUNT_IDENTITY,
    ACCOUNT_DEFINITION,
    ACCOUNT_ROLE,      /* that it is about: of a membership the member; NULL for what everybody may set */
    ACCOUNT_STATEMENT, /* that makes it; NULL for a role, and for a setting in the database, which comes with that */
    ACCOUNT_SUBJECT,   /* the group of a membership, the name of a setting or parameter */
    ACCOUNT_SUPERUSER,
    ACCOUNT_REPLICATION,
    ACCOUNT_BYPASSRLS,
    ACCOUNT_LOGIN,
    ACCOUNT_CREATEDB,
    ACCOUNT_ATTRIBUTES, /* what stands behind CREATE ROLE name, but for LOGIN and CREATEDB */
};

enum account_order {
    ACCOUNTS_TO_COMPARE, /* by kind, identity and definition, bytewise */
    ACCOUNTS_TO_MAKE,    /* by kind and role, bytewise; settings of a role as they were made */
};

/* `other`: INHERIT and SET of memberships, and rights on parameters, are told when both servers know them. Roles of PostgreSQL itself are among the rows. */
MUST_USE struct error *accounts_of(struct pg_conn *server, const struct pg_conn *other, struct arena *a,
                                   enum account_order order, struct pg_rows *out);

/* "pg_…": of PostgreSQL itself. */
bool account_is_systems(const char *role);
