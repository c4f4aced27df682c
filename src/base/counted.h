/* Numbers in texts, with words that agree with them. */
#pragma once

#include <stdint.h>

#include "base/arena.h"

/* "1 table has", "3 tables have", "0 tables have": n, a space, and one of both. Good for as long as `a`. */
char *counted(struct arena *a, uint64_t n, const char *one, const char *many);

/* The word alone. */
const char *agreeing(uint64_t n, const char *one, const char *many);
