/*
 * Which statements of a script a target can take, as far as roles are concerned: roles are not part of a database,
 * so a dump may name some that the target does not have. Pure but for schema_roles_read; immutable, may be read by
 * several threads.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/conn.h"

struct role {
    const char *name;
    bool is_ours;        /* we may give objects to it */
    bool may_be_granted; /* by us */
    bool may_be_altered; /* we may give it settings */
};

struct role_list {
    unsigned n;
    const struct role *roles; /* by name */
    bool user_is_superuser;
};

MUST_USE struct error *schema_roles_read(struct pg_conn *target, struct arena *a, struct role_list *out);

const struct role *role_find(const struct role_list *l, const char *name);

/* What of a run of statements is to be left out from here on. */
struct role_filter {
    const struct role_list *roles;
    bool is_skipping; /* between SET SESSION AUTHORIZATION of a missing role and its RESET */
};

/*
 * NULL when the statement can run, else why not, in `a`: "role \"bob\" does not exist on the target". Statements of
 * one entry are asked for in their order.
 */
const char *role_filter_reason(struct role_filter *f, struct arena *a, const char *statement);
