/*
 * pg/test_decoding: a session's messages, one a line. The book answers by the name's first letter.
 *
 * Any input gives messages that pgoutput's decoder takes without exception, or ERROR_DATA.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "pg/pgoutput.h"
#include "pg/test_decoding.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct session {
    struct arena *scratch;
    struct decoder decoder;
};

/* A relation has one name at a time. */
static uint32_t oid_of(const char *schema, const char *name)
{
    uint64_t h = hash_bytes(name, strlen(name), hash_bytes(schema, strlen(schema), 0));

    return (uint32_t)(h | 1);
}

static struct error *describe(void *self, struct arena *a, const char *schema, const char *name, bool *out_exists,
                              struct described_relation *out)
{
    static struct described_column columns[] = {{.name = "id", .type = 23, .in_identity = true},
                                                {.name = "gen", .is_generated = true},
                                                {.name = "b", .type = 25}};

    (void)self, (void)a;
    *out_exists = name[0] != 'x';
    *out = (struct described_relation){.oid = oid_of(schema, name),
                                       .is_carried = name[0] != 'p',
                                       .identity = (enum replica_identity)((uint8_t)name[0] % 4),
                                       .n_columns = 3,
                                       .columns = columns};
    return NULL;
}

/* What is emitted is well-formed: an error here is ours, not the input's. */
static struct error *check(void *self, const char *bytes, size_t length)
{
    struct session *s = self;
    struct event event;

    if (s->decoder.ops->decode(s->decoder.self, s->scratch, bytes, length, &event) != NULL)
        abort();
    arena_reset(s->scratch);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "session");
    struct session s = {.scratch = arena_new(a, "event"), .decoder = pgoutput_decoder(a)};
    struct test_decoding *t = test_decoding_new(a, (struct relation_book){.describe = describe});
    const char *at = (const char *)bytes, *end = at + length;

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline == NULL ? end : newline;
        struct translated what;
        struct error *err = test_decoding_translate(t, at, (size_t)(stop - at), (struct lsn){1},
                                                    (struct translation_sink){.take = check, .self = &s}, &what);

        if (err != NULL && error_kind(err) != ERROR_DATA)
            abort();
        error_free(err);
        at = stop + 1;
    }
    test_decoding_end(t);
    return 0;
}
