/* COBS frames with a header and a CRC-32: protocol.md, "Frame". */
#ifndef EBMS_FRAME_H
#define EBMS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebms_codes.h"

#define EBMS_MESSAGE_BYTES_MAX (EBMS_HEADER_BYTES + EBMS_PAYLOAD_BYTES_MAX + EBMS_CRC_BYTES)
#define EBMS_FRAME_BYTES_MAX (EBMS_MESSAGE_BYTES_MAX + 2u)

/* payload points into the receiver: it holds until the next byte is given to it. */
typedef struct {
    uint8_t type;
    uint8_t flags;
    uint16_t sequence;
    uint8_t payload_bytes;
    const uint8_t *payload;
} ebms_message;

typedef struct {
    uint8_t bytes[EBMS_MESSAGE_BYTES_MAX + 1u];
    uint16_t count;
    bool overrun;
} ebms_receiver;

/* What a byte made of the receiver: nothing yet, a message, or a refusal. */
typedef enum { EBMS_FRAME_NONE, EBMS_FRAME_MESSAGE, EBMS_FRAME_REFUSED } ebms_frame_event;

void ebms_receiver_init(ebms_receiver *receiver);

/* One byte of the line. *message is written on EBMS_FRAME_MESSAGE; *verdict, an EBMS_VERDICT_, on EBMS_FRAME_REFUSED. */
ebms_frame_event ebms_receiver_byte(ebms_receiver *receiver, uint8_t byte, ebms_message *message, uint8_t *verdict);

/* Writes one frame with its 0x00 and returns its bytes, at most EBMS_FRAME_BYTES_MAX. payload may be NULL when it has 0 bytes. */
size_t ebms_frame_encode(uint8_t type, uint8_t flags, uint16_t sequence, const uint8_t *payload, uint8_t payload_bytes,
                         uint8_t frame[EBMS_FRAME_BYTES_MAX]);

/* CRC-32/ISO-HDLC, bit by bit: no table of 1 KB. */
uint32_t ebms_crc32(const uint8_t *bytes, size_t count);

#endif
