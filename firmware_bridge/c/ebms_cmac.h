/* AES-128-CMAC (RFC 4493). */
#ifndef EBMS_CMAC_H
#define EBMS_CMAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void ebms_cmac(const uint8_t key[16], const uint8_t *message, size_t message_bytes, uint8_t mac[16]);

/* Whether the first `bytes` (1..16) of both are the same, in a time that does not depend on where they differ. */
bool ebms_cmac_same(const uint8_t *a, const uint8_t *b, size_t bytes);

#endif
