/* ADVICE over CAN: protocol.md, "Over CAN". The same authority as the serial line may be given, so that both share one freshness. */
#ifndef EBMS_CAN_H
#define EBMS_CAN_H

#include <stdbool.h>
#include <stdint.h>

#include "ebms_advice.h"

#define EBMS_CAN_ADVICE_BYTES (2u + EBMS_LENGTH_ADVICE_BYTES)
#define EBMS_CAN_SEGMENTS ((EBMS_CAN_ADVICE_BYTES + 6u) / 7u)

typedef struct {
    uint8_t bytes[EBMS_CAN_SEGMENTS * 7u];
    uint32_t started_ms;
    uint8_t number;
    uint8_t next_segment; /* 0: none gathered */
} ebms_can;

void ebms_can_init(ebms_can *can);

/* One frame of EBMS_CAN_ID_ADVICE, classic or FD. True when it ends an ADVICE or breaks one off: *verdict then says what became of it and
 * answer holds the 8 bytes of EBMS_CAN_ID_ACK, to be sent unless the verdict is BAD_FRAME_LENGTH. */
bool ebms_can_advice(ebms_can *can, ebms_authority *authority, const uint8_t *data, uint8_t data_bytes, uint32_t now_ms, uint8_t *verdict,
                     uint8_t answer[8]);

/* One frame of EBMS_CAN_ID_GATEWAY_HEARTBEAT. It makes the link too: there is no HELLO on CAN. */
void ebms_can_heartbeat(ebms_authority *authority, const uint8_t data[8], uint32_t now_ms);

#endif
