/*
 * Which settings the target's user may give to roles and databases (ALTER ROLE … SET, ALTER DATABASE … SET).
 *
 * Read once; lives in the arena; immutable. Manual: pg_settings.context, GRANT … ON PARAMETER (15 on), "Customized Options".
 */
#pragma once

#include "pg/conn.h"

struct setting_rights {
    bool is_superuser;
    struct pg_rows rows; /* by name, bytewise: name, whether it may be set */
};

MUST_USE struct error *setting_rights_read(struct pg_conn *target, struct arena *a, struct setting_rights *out);

/* NULL: it may be set. Else why not, for people. */
const char *setting_refusal(const struct setting_rights *r, const char *setting);
