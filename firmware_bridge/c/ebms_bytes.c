#include "ebms_bytes.h"

#include <stddef.h>

#include "ebms_port.h"

uint64_t ebms_take(const uint8_t **at, uint8_t bytes)
{
    uint64_t value = 0u;
    EBMS_REQUIRE(at != NULL);
    EBMS_REQUIRE(bytes <= 8u);
    for (uint8_t i = 0u; i < bytes; i++) {
        value |= (uint64_t)(*at)[i] << (8u * i);
    }
    *at += bytes;
    return value;
}

void ebms_put(uint8_t **at, uint64_t value, uint8_t bytes)
{
    EBMS_REQUIRE(at != NULL);
    EBMS_REQUIRE(bytes <= 8u);
    for (uint8_t i = 0u; i < bytes; i++) {
        (*at)[i] = (uint8_t)(value >> (8u * i));
    }
    *at += bytes;
}
