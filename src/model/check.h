/*
 * What the precheck found: plain values, filled by pg/precheck, judged by worker, shown by cli.
 *
 * Everything a check_item points to lives as long as the arena the items were asked with.
 */
#pragma once

#include <stdbool.h>

/* In the order in which a report shows them (SPEC section 4). */
enum check_group {
    CHECK_NETWORK,
    CHECK_VERSION,
    CHECK_PRIVILEGE,
    CHECK_PARAMETER,
    CHECK_DISK,
    CHECK_TARGET_STATE,
    CHECK_OBJECT_CONFLICT,
    CHECK_OBJECT_DEPENDENCY,
    CHECK_SOURCE_FACTS,
    CHECK_GROUP_COUNT,
};

enum check_result {
    CHECK_PASSED,
    CHECK_ALARM,   /* needs an acknowledgement: --accept ID */
    CHECK_FAILED,  /* must be mended */
    CHECK_SKIPPED, /* --skip-check, or what it depends on failed; `reason` says which */
    CHECK_RESULT_COUNT,
};

/* A statement that mends a finding, is safe to run, and what came of it. */
struct check_repair {
    const char *id; /* of the item; NULL until it was run */
    bool on_source; /* else on the target */
    const char *sql;
    bool is_done;
    const char *problem; /* why not; NULL when it is done or was not run */
};

/* A role of the source, with --accounts. */
struct check_account {
    const char *name;
    bool is_carried;
    const char *remark; /* why it is not, or what of it is not; NULL */
};

struct check_item {
    const char *id; /* kebab-case, what --accept and --skip-check name: "replica-identity" */
    enum check_group group;
    enum check_result result;
    bool is_accepted;           /* an ALARM that --accept named */
    const char *title;          /* what is checked: "every table has a replica identity" */
    const char *reason;         /* what was found, lower case, no full stop; NULL when there is nothing to add */
    const char *const *objects; /* names of what it concerns, as the user would write them; NULL when n_objects is 0 */
    unsigned n_objects;
    const struct check_account *accounts; /* of item "accounts" with --accounts; NULL elsewhere */
    unsigned n_accounts;
    struct check_repair *repairs; /* what --fix runs: the part of `fix` that is safe; NULL when n_repairs is 0 */
    unsigned n_repairs;
    const char *fix; /* the exact SQL or setting that mends it, may have several lines; NULL when there is none */
};

/* What `pgtide check` has to tell. */
struct check_findings {
    struct check_item *items;
    unsigned n_items;
    struct check_repair *repairs; /* that --fix ran, before the items were asked again; NULL when n_repairs is 0 */
    unsigned n_repairs;
};

struct check_counts {
    unsigned passed;
    unsigned alarms; /* not accepted */
    unsigned accepted;
    unsigned failed;
    unsigned skipped;
};

struct check_counts check_count(const struct check_item *items, unsigned n);

/* A sync may begin: nothing failed and every alarm is accepted. */
bool check_allows_start(const struct check_item *items, unsigned n);

const char *check_group_name(enum check_group group);    /* "target state" */
const char *check_result_name(enum check_result result); /* "PASSED" */
