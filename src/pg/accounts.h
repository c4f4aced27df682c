/*
 * Roles of the source that are made on the target (`--accounts`), and why others are not.
 *
 * A role that the target has is left as it is. SUPERUSER, REPLICATION and BYPASSRLS are raised on no target. A password comes as its
 * stored verifier where the source's user may read pg_authid; else the role comes without LOGIN. Memberships, settings and comments come
 * along for the roles that are made; settings in the database come with the database (pg/database.h).
 *
 * One thread, ordinary sessions, on any database of the servers: roles belong to the server. Manual: CREATE ROLE, GRANT, pg_auth_members,
 * pg_db_role_setting.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/conn.h"
#include "pg/left_out.h"

struct account {
    const char *name;
    bool is_carried;
    bool has_password;      /* it may log in, and its verifier can be read */
    bool loses_login;       /* it may log in on the source, and will not on the target */
    const char *remark;     /* why it is not carried, or what of it is not; NULL */
    const char *attributes; /* what stands behind CREATE ROLE name */
};

/* What belongs to a role that is carried: a membership, a setting, a comment. */
struct account_statement {
    const char *text;
    const char *left_out; /* why; NULL: it is run */
};

/* By name, bytewise. */
struct account_list {
    unsigned n;
    struct account *accounts;
    unsigned n_carried, n_without_login;
    bool may_create; /* the target's user may make roles */
    unsigned n_statements;
    struct account_statement *statements; /* in their order; what is left out is in the role's remark */
};

MUST_USE struct error *accounts_read(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                     struct account_list *out);

/* NULL when it is not there. */
const struct account *account_find(const struct account_list *l, const char *name);

/*
 * Makes those that are carried, in one transaction: all of it or nothing. What the target's user may not do is left out and told.
 * May be repeated; then there is nothing to do. `out_n`: how many were made.
 */
MUST_USE struct error *accounts_carry(struct pg_conn *source, struct pg_conn *target, struct left_out *left_out,
                                      unsigned *out_n);
