/*
 * The spool's segments as files of a folder: "000000000042.spool", 0600.
 *
 * Plain POSIX files: appended with write, read with pread from the page cache, made durable with fdatasync. One thread
 * calls append, sync, truncate and remove; another may call read and a third spool_folder_pack at the same time. Errors name the
 * file.
 *
 * A segment that waits for long is packed: "000000000042.spool.zst" (worker/spool_pack) takes its place. To the spool it is the same
 * segment with the same bytes.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "ports/store.h"

/* Makes the folder when missing. The store lives in `a` and is closed after the spool that uses it. */
MUST_USE struct error *spool_folder_open(struct arena *a, const char *path, struct segment_store *out_store);
void spool_folder_close(struct segment_store store);

/*
 * Packs one segment that nobody will read soon: not among the oldest or the newest. *out_packed is false when there was none. On an
 * error the segment stays as it was. The store must not be closed meanwhile.
 */
MUST_USE struct error *spool_folder_pack(struct segment_store store, bool *out_packed);
