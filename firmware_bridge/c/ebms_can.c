#include "ebms_can.h"

#include <stddef.h>
#include <string.h>

#include "ebms_bytes.h"
#include "ebms_port.h"

#define CLASSIC_BYTES 8u
#define FD_BYTES 48u
#define FRESHNESS_AT 7u

void ebms_can_init(ebms_can *can)
{
    EBMS_REQUIRE(can != NULL);
    (void)memset(can, 0, sizeof *can);
}

/* Gathers a segment. True when it fits. */
static bool gathered(ebms_can *can, const uint8_t *data, uint32_t now_ms)
{
    const uint8_t number = (uint8_t)(data[0] >> 4u);
    const uint8_t segment = (uint8_t)(data[0] & 15u);
    if (segment == 0u) {
        can->number = number;
        can->started_ms = now_ms;
        can->next_segment = 0u;
    }
    const bool late = (now_ms - can->started_ms) > EBMS_CAN_SEGMENT_TIMEOUT_MS;
    if ((segment != can->next_segment) || (number != can->number) || late) {
        can->next_segment = 0u;
        return false;
    }
    (void)memcpy(&can->bytes[7u * segment], &data[1], 7u);
    can->next_segment++;
    return true;
}

static uint8_t judge(ebms_authority *authority, const uint8_t *bytes, uint32_t now_ms)
{
    if (bytes[0] != EBMS_VERSION) {
        return EBMS_VERDICT_BAD_VERSION;
    }
    if (bytes[1] != EBMS_TYPE_ADVICE) {
        return EBMS_VERDICT_UNKNOWN_TYPE;
    }
    return ebms_authority_judge(authority, &bytes[2], now_ms);
}

bool ebms_can_advice(ebms_can *can, ebms_authority *authority, const uint8_t *data, uint8_t data_bytes, uint32_t now_ms, uint8_t *verdict,
                     uint8_t answer[8])
{
    EBMS_REQUIRE(can != NULL);
    EBMS_REQUIRE(authority != NULL);
    EBMS_REQUIRE(data != NULL);
    EBMS_REQUIRE(verdict != NULL);
    EBMS_REQUIRE(answer != NULL);
    const uint8_t *advice = data;
    if (data_bytes != FD_BYTES) {
        if ((data_bytes != CLASSIC_BYTES) || (!gathered(can, data, now_ms))) {
            *verdict = EBMS_VERDICT_BAD_FRAME_LENGTH;
            return true;
        }
        if (can->next_segment < EBMS_CAN_SEGMENTS) {
            return false;
        }
        can->next_segment = 0u;
        advice = can->bytes;
    }
    *verdict = judge(authority, advice, now_ms);
    answer[0] = EBMS_TYPE_ADVICE;
    answer[1] = *verdict;
    (void)memcpy(&answer[2], &advice[FRESHNESS_AT], 6u);
    return true;
}

void ebms_can_heartbeat(ebms_authority *authority, const uint8_t data[8], uint32_t now_ms)
{
    EBMS_REQUIRE(authority != NULL);
    EBMS_REQUIRE(data != NULL);
    const uint8_t *at = &data[4];
    const uint16_t gateway_id = (uint16_t)ebms_take(&at, 2u);
    if ((gateway_id == authority->gateway_id) && (data[6] == 1u)) {
        ebms_authority_heard(authority, true, now_ms);
    }
}
