#include "store.h"

#include <string.h>

#include "ebms_frame.h"
#include "ebms_port.h"

typedef struct {
    kept values;
    uint32_t number;
    uint32_t crc;
} copy;

typedef char copy_has_its_size[(sizeof(copy) == STORE_COPY_BYTES) ? 1 : -1];

/* Fetches a copy. True when it holds. */
static bool fetch(uint32_t which, copy *one)
{
    uint8_t *to = (uint8_t *)one;
    for (size_t i = 0u; i < sizeof *one; i++) {
        to[i] = store_get((which * sizeof *one) + i);
    }
    return ebms_crc32(to, offsetof(copy, crc)) == one->crc;
}

/* Fetches the newest copy that holds. False: none does. */
static bool newest(uint32_t *which, copy *one)
{
    copy other;
    *which = 0u;
    const bool first = fetch(0u, one);
    if (!fetch(1u, &other)) {
        return first;
    }
    if ((!first) || ((int32_t)(other.number - one->number) > 0)) {
        *which = 1u;
        *one = other;
    }
    return true;
}

bool store_read(kept *values)
{
    uint32_t which;
    copy one;
    EBMS_REQUIRE(values != NULL);
    if (!newest(&which, &one)) {
        return false;
    }
    *values = one.values;
    return true;
}

bool store_write(const kept *values)
{
    uint32_t last;
    copy one;
    copy back;
    EBMS_REQUIRE(values != NULL);
    const uint32_t number = newest(&last, &one) ? (one.number + 1u) : 1u;
    (void)memset(&one, 0, sizeof one);
    one.values = *values;
    one.number = number;
    one.crc = ebms_crc32((const uint8_t *)&one, offsetof(copy, crc));
    const uint8_t *bytes = (const uint8_t *)&one;
    for (size_t i = 0u; i < sizeof one; i++) {
        store_put(((1u - last) * sizeof one) + i, bytes[i]);
    }
    return newest(&last, &back) && (memcmp(&back, &one, sizeof one) == 0);
}
