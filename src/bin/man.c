/* Prints the manual page; run when it is built, not installed. */
#include <stdio.h>

#include "cli/man.h"

int main(void)
{
    CLEANUP(buffer_free) struct buffer *page = buffer_new();

    man_page(page);
    return fwrite(page->bytes, 1, page->length, stdout) == page->length && fflush(stdout) == 0 ? 0 : 1;
}
