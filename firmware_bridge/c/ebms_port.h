/* What the firmware gives the library. */
#ifndef EBMS_PORT_H
#define EBMS_PORT_H

#include <stdbool.h>
#include <stdint.h>

/* Called when an argument breaks a function's contract: a defect of the caller. It must not return: reset, contactors open. */
void ebms_assert_failed(const char *file, uint32_t line);

/* A function and not the macro alone, so that a check is no branch of the function it stands in. */
void ebms_require(bool holds, const char *file, uint32_t line);
#define EBMS_REQUIRE(condition) ebms_require((condition), __FILE__, (uint32_t)__LINE__)

/* AES-128 of one block. ebms_aes.c has it in plain C; leave that file out and link the vendor's instead where there is one. */
void ebms_aes128_encrypt(const uint8_t key[16], const uint8_t in[16], uint8_t out[16]);

#endif
