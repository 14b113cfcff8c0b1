/* What a test gives the library in place of firmware. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

#ifdef EBMS_COVERAGE
extern void __gcov_dump(void);
#endif

uint8_t shim_sent[SHIM_SENT_BYTES];
size_t shim_sent_count;
ebms_key_slot shim_stored[EBMS_KEY_SLOTS];
uint32_t shim_stores;
bool shim_store_works = true;
void *shim_store_context;

uint8_t shim_kept[512];
uint32_t shim_power = UINT32_MAX;

void store_put(size_t at, uint8_t byte)
{
    if (shim_power == 0u) {
        return;
    }
    shim_power--;
    shim_kept[at] = (shim_power == 0u) ? (uint8_t)(byte ^ 0x5Au) : byte;
}

uint8_t store_get(size_t at)
{
    return shim_kept[at];
}

void ebms_assert_failed(const char *file, uint32_t line)
{
    (void)fprintf(stderr, "EBMS_REQUIRE %s:%u\n", file, (unsigned)line);
#ifdef EBMS_COVERAGE
    __gcov_dump();
#endif
    _Exit(77);
}

void shim_send(void *context, const uint8_t *bytes, size_t count)
{
    (void)context;
    if (shim_sent_count + count <= sizeof shim_sent) {
        (void)memcpy(&shim_sent[shim_sent_count], bytes, count);
        shim_sent_count += count;
    }
}

bool shim_store(void *context, const ebms_key_slot slots[EBMS_KEY_SLOTS])
{
    shim_store_context = context;
    shim_stores++;
    if (shim_store_works) {
        (void)memcpy(shim_stored, slots, sizeof shim_stored);
    }
    return shim_store_works;
}

#ifdef EBMS_COVERAGE
void shim_coverage(void)
{
    __gcov_dump();
}
#else
void shim_coverage(void)
{
}
#endif
