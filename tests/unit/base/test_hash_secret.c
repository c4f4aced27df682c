/* base/hash and base/secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/secret.h"

static void the_hash_is_the_one_that_spools_on_disk_were_written_with(void **state)
{
    (void)state;
    assert_true(hash_bytes("", 0, 0) == UINT64_C(0x2D06800538D394C2)); /* XXH3_64bits("") */
    assert_true(hash_bytes("pgtide", 6, 0) == hash_bytes("pgtide", 6, 0));
}

static void seed_and_every_byte_matter(void **state)
{
    (void)state;
    char text[] = "some bytes of a record";
    uint64_t whole = hash_bytes(text, sizeof text, 0);

    assert_true(hash_bytes(text, sizeof text, 1) != whole);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] ^= 1;
        assert_true(hash_bytes(text, sizeof text, 0) != whole);
        text[i] ^= 1;
    }
}

static void a_secret_is_revealed_as_it_was_given(void **state)
{
    (void)state;
    char password[] = "it's s3cret";
    CLEANUP(secret_free) struct secret *s = secret_new(password);

    memset(password, 'x', sizeof password - 1); /* a copy is kept */
    assert_string_equal(secret_reveal(s), "it's s3cret");
}

static void a_secret_may_be_empty(void **state)
{
    (void)state;
    CLEANUP(secret_free) struct secret *s = secret_new("");

    assert_string_equal(secret_reveal(s), "");
    secret_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_the_one_that_spools_on_disk_were_written_with),
        cmocka_unit_test(seed_and_every_byte_matter),
        cmocka_unit_test(a_secret_is_revealed_as_it_was_given),
        cmocka_unit_test(a_secret_may_be_empty),
    };

    return cmocka_run_group_tests_name("base/hash_secret", tests, NULL, NULL);
}
