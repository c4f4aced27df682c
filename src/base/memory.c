#include "base/memory.h"

#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

NORETURN COLD static void out_of_memory(size_t size, const char *what)
{
    fprintf(stderr, "out of memory: %zu more bytes for \"%s\"\n", size, what);
    abort();
}

void *memory_new(size_t size, const char *what)
{
    void *p = calloc(1, size == 0 ? 1 : size);

    if (p == NULL)
        out_of_memory(size, what);
    return p;
}

void *memory_resize(void *p, size_t size, const char *what)
{
    void *resized = realloc(p, size == 0 ? 1 : size);

    if (resized == NULL)
        out_of_memory(size, what);
    return resized;
}

void memory_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
