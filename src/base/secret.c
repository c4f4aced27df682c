#include "base/secret.h"

#include <sys/mman.h>

#include "base/memory.h"

struct secret {
    size_t size;
    char text[];
};

struct secret *secret_new(const char *text)
{
    size_t size = strlen(text) + 1;
    struct secret *s = memory_new(sizeof *s + size, "secret");

    s->size = size;
    memcpy(s->text, text, size);
    (void)mlock(s, sizeof *s + size); /* best effort: the limit may be zero */
    return s;
}

void secret_free(struct secret *s)
{
    if (s == NULL)
        return;
    explicit_bzero(s->text, s->size);
    free(s);
}

const char *secret_reveal(const struct secret *s)
{
    return s->text;
}
