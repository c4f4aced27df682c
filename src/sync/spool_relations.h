/*
 * The RELATION and TYPE messages in force, as they came (internal to the spool). One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "model/lsn.h"

struct held_relation {
    uint64_t key;
    struct buffer bytes;
    struct lsn wal;
};

struct spool_relations {
    struct held_relation *held; /* in the order of their first message */
    size_t n;
    size_t capacity;
    uint32_t *slots; /* hash table of 1 + index in `held`; 0 is free */
    size_t n_slots;  /* a power of two */
};

/* Forgets all and frees the memory. */
void relations_drop(struct spool_relations *r);

/* The newest message of an oid replaces the one before. Relations and types have oids of their own. */
void relations_hold(struct spool_relations *r, uint32_t oid, bool is_type, const char *bytes, size_t length,
                    struct lsn wal);
