#include "model/check.h"

static const char *const group_names[CHECK_GROUP_COUNT] = {
    /* clang-format off */
    [CHECK_NETWORK] = "network",
    [CHECK_VERSION] = "version",
    [CHECK_PRIVILEGE] = "privilege",
    [CHECK_PARAMETER] = "parameter",
    [CHECK_DISK] = "disk",
    [CHECK_TARGET_STATE] = "target state",
    [CHECK_OBJECT_CONFLICT] = "object conflict",
    [CHECK_OBJECT_DEPENDENCY] = "object dependency",
    [CHECK_SOURCE_FACTS] = "source facts",
    /* clang-format on */
};

static const char *const result_names[CHECK_RESULT_COUNT] = {
    /* clang-format off */
    [CHECK_PASSED] = "PASSED",
    [CHECK_ALARM] = "ALARM",
    [CHECK_FAILED] = "FAILED",
    [CHECK_SKIPPED] = "SKIPPED",
    /* clang-format on */
};

struct check_counts check_count(const struct check_item *items, unsigned n)
{
    struct check_counts counts = {0};
    unsigned *const of_result[CHECK_RESULT_COUNT] = {&counts.passed, &counts.alarms, &counts.failed, &counts.skipped};

    for (unsigned i = 0; i < n; i++) {
        bool is_accepted_alarm = items[i].result == CHECK_ALARM && items[i].is_accepted;

        *(is_accepted_alarm ? &counts.accepted : of_result[items[i].result]) += 1;
    }
    return counts;
}

bool check_allows_start(const struct check_item *items, unsigned n)
{
    struct check_counts counts = check_count(items, n);

    return counts.failed == 0 && counts.alarms == 0;
}

const char *check_group_name(enum check_group group)
{
    return group_names[group];
}

const char *check_result_name(enum check_result result)
{
    return result_names[result];
}
