/*
 * The spool's segments as files of a folder: "000000000042.spool", 0600.
 *
 * Plain POSIX files: appended with write, read with pread from the page cache, made durable with fdatasync. One thread
 * calls append, sync, truncate and remove; another may call read at the same time. Errors name the file.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "ports/store.h"

/* Makes the folder when missing. The store lives in `a` and is closed after the spool that uses it. */
MUST_USE struct error *spool_folder_open(struct arena *a, const char *path, struct segment_store *out_store);
void spool_folder_close(struct segment_store store);
