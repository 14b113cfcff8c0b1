#include "ebms_cmac.h"

#include <string.h>

#include "ebms_port.h"

#define BLOCK_BYTES 16u

/* RFC 4493, 2.3: times x in GF(2^128) */
static void double_block(uint8_t block[BLOCK_BYTES])
{
    const uint8_t carry = (uint8_t)(block[0] >> 7u);
    for (uint32_t i = 0u; i < (BLOCK_BYTES - 1u); i++) {
        block[i] = (uint8_t)(((uint32_t)block[i] << 1u) | ((uint32_t)block[i + 1u] >> 7u));
    }
    block[BLOCK_BYTES - 1u] = (uint8_t)(((uint32_t)block[BLOCK_BYTES - 1u] << 1u) ^ ((uint32_t)carry * 0x87u));
}

void ebms_cmac(const uint8_t key[16], const uint8_t *message, size_t message_bytes, uint8_t mac[16])
{
    uint8_t subkey[BLOCK_BYTES] = {0u};
    size_t done = 0u;
    EBMS_REQUIRE(key != NULL);
    EBMS_REQUIRE(message != NULL);
    EBMS_REQUIRE(mac != NULL);
    (void)memset(mac, 0, BLOCK_BYTES);
    while ((message_bytes - done) > BLOCK_BYTES) {
        for (uint32_t i = 0u; i < BLOCK_BYTES; i++) {
            mac[i] = (uint8_t)(mac[i] ^ message[done + i]);
        }
        ebms_aes128_encrypt(key, mac, mac);
        done += BLOCK_BYTES;
    }
    ebms_aes128_encrypt(key, subkey, subkey);
    double_block(subkey);
    const size_t rest = message_bytes - done;
    for (size_t i = 0u; i < rest; i++) {
        mac[i] = (uint8_t)(mac[i] ^ message[done + i]);
    }
    if (rest < BLOCK_BYTES) {
        mac[rest] = (uint8_t)(mac[rest] ^ 0x80u);
        double_block(subkey);
    }
    for (uint32_t i = 0u; i < BLOCK_BYTES; i++) {
        mac[i] = (uint8_t)(mac[i] ^ subkey[i]);
    }
    ebms_aes128_encrypt(key, mac, mac);
}

bool ebms_cmac_same(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    uint8_t difference = 0u;
    EBMS_REQUIRE(a != NULL);
    EBMS_REQUIRE(b != NULL);
    EBMS_REQUIRE(bytes > 0u);
    for (size_t i = 0u; i < bytes; i++) {
        difference = (uint8_t)(difference | (a[i] ^ b[i]));
    }
    return difference == 0u;
}
