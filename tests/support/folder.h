/*
 * A folder of its own for each test: `cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)`; its path is
 * *state. Removed afterwards with what is in it.
 *
 * Included after <cmocka.h>.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "sys/file.h"

static inline int folder_setup(void **state)
{
    char path[] = "/tmp/pgtide_test_XXXXXX";

    if (mkdtemp(path) == NULL)
        return -1;
    *state = strdup(path);
    return *state == NULL;
}

static inline int folder_teardown(void **state)
{
    struct error *err = folder_remove(*state);

    free(*state);
    if (err == NULL)
        return 0;
    print_error("%s\n", error_message(err));
    error_free(err);
    return -1;
}
