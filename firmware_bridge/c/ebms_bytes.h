/* Little-endian fields of a payload, read and written one after the other. For the library's own files. */
#ifndef EBMS_BYTES_H
#define EBMS_BYTES_H

#include <stdint.h>

uint64_t ebms_take(const uint8_t **at, uint8_t bytes);
void ebms_put(uint8_t **at, uint64_t value, uint8_t bytes);

#endif
