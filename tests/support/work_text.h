/*
 * The work of a closed window in one line: "t.delete(1) t.insert(2|a 3|b) truncate(t u)".
 *
 * Batches show keys of deletes, key>row of updates that change the key, and rows otherwise. In `a`.
 */
#pragma once

#include "base/arena.h"
#include "sync/window.h"

const char *work_text(struct arena *a, const struct window *w, enum window_part_kind kind);
