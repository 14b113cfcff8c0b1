#include "ebms_frame.h"

#include <string.h>

#include "ebms_bytes.h"
#include "ebms_port.h"

uint32_t ebms_crc32(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xFFFFFFFFu;
    EBMS_REQUIRE(bytes != NULL);
    for (size_t i = 0u; i < count; i++) {
        crc ^= bytes[i];
        for (uint32_t bit = 0u; bit < 8u; bit++) {
            crc = (crc >> 1u) ^ ((crc & 1u) * 0xEDB88320u);
        }
    }
    return ~crc;
}

void ebms_receiver_init(ebms_receiver *receiver)
{
    EBMS_REQUIRE(receiver != NULL);
    receiver->count = 0u;
    receiver->overrun = false;
}

/* Decodes in place. False when the code is broken. */
static bool unstuff(uint8_t *bytes, size_t count, size_t *message_bytes)
{
    size_t from = 0u;
    size_t to = 0u;
    while (from < count) {
        const size_t run = (size_t)bytes[from] - 1u;
        from++;
        if (run > (count - from)) {
            return false;
        }
        (void)memmove(&bytes[to], &bytes[from], run);
        from += run;
        to += run;
        /* the last run has no zero after it; one of 254, which has none either, is longer than the receiver holds */
        if (from < count) {
            bytes[to] = 0u;
            to++;
        }
    }
    *message_bytes = to;
    return true;
}

static uint8_t judge(uint8_t *bytes, size_t frame_bytes, ebms_message *message)
{
    const uint8_t *at = bytes;
    size_t count = 0u;
    if (!unstuff(bytes, frame_bytes, &count)) {
        return EBMS_VERDICT_BAD_COBS;
    }
    if (count < (EBMS_HEADER_BYTES + EBMS_CRC_BYTES)) {
        return EBMS_VERDICT_BAD_FRAME_LENGTH;
    }
    const uint8_t *crc_at = &bytes[count - EBMS_CRC_BYTES];
    if (ebms_crc32(bytes, count - EBMS_CRC_BYTES) != (uint32_t)ebms_take(&crc_at, EBMS_CRC_BYTES)) {
        return EBMS_VERDICT_BAD_CRC;
    }
    if (ebms_take(&at, 1u) != EBMS_VERSION) {
        return EBMS_VERDICT_BAD_VERSION;
    }
    message->type = (uint8_t)ebms_take(&at, 1u);
    message->flags = (uint8_t)ebms_take(&at, 1u);
    message->sequence = (uint16_t)ebms_take(&at, 2u);
    message->payload_bytes = (uint8_t)(count - EBMS_HEADER_BYTES - EBMS_CRC_BYTES);
    message->payload = at;
    return EBMS_VERDICT_ACCEPTED;
}

ebms_frame_event ebms_receiver_byte(ebms_receiver *receiver, uint8_t byte, ebms_message *message, uint8_t *verdict)
{
    EBMS_REQUIRE(receiver != NULL);
    EBMS_REQUIRE(message != NULL);
    EBMS_REQUIRE(verdict != NULL);
    if (byte != 0u) {
        if (receiver->count < sizeof receiver->bytes) {
            receiver->bytes[receiver->count] = byte;
            receiver->count++;
        } else {
            receiver->overrun = true;
        }
        return EBMS_FRAME_NONE;
    }
    const bool overrun = receiver->overrun;
    const size_t count = receiver->count;
    ebms_receiver_init(receiver);
    if (count == 0u) {
        return EBMS_FRAME_NONE;
    }
    *verdict = overrun ? EBMS_VERDICT_BAD_FRAME_LENGTH : judge(receiver->bytes, count, message);
    return (*verdict == EBMS_VERDICT_ACCEPTED) ? EBMS_FRAME_MESSAGE : EBMS_FRAME_REFUSED;
}

size_t ebms_frame_encode(uint8_t type, uint8_t flags, uint16_t sequence, const uint8_t *payload, uint8_t payload_bytes,
                         uint8_t frame[EBMS_FRAME_BYTES_MAX])
{
    EBMS_REQUIRE(frame != NULL);
    EBMS_REQUIRE(payload_bytes <= EBMS_PAYLOAD_BYTES_MAX);
    /* the message is built one byte into the frame and stuffed where it stands */
    uint8_t *at = &frame[1];
    ebms_put(&at, EBMS_VERSION, 1u);
    ebms_put(&at, type, 1u);
    ebms_put(&at, flags, 1u);
    ebms_put(&at, sequence, 2u);
    if (payload_bytes > 0u) {
        EBMS_REQUIRE(payload != NULL);
        (void)memmove(at, payload, payload_bytes);
        at += payload_bytes;
    }
    const size_t before_crc = EBMS_HEADER_BYTES + (size_t)payload_bytes;
    ebms_put(&at, ebms_crc32(&frame[1], before_crc), EBMS_CRC_BYTES);
    const size_t end = 1u + before_crc + EBMS_CRC_BYTES;
    size_t code_at = 0u;
    for (size_t i = 1u; i < end; i++) {
        if (frame[i] == 0u) {
            frame[code_at] = (uint8_t)(i - code_at);
            code_at = i;
        }
    }
    /* at most 249 bytes: no run reaches 254 */
    frame[code_at] = (uint8_t)(end - code_at);
    frame[end] = 0u;
    return end + 1u;
}
