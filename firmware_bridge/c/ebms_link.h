/* The microcontroller's end of the line: bytes in, verdicts, answers, heartbeat, telemetry. protocol.md says what and when. */
#ifndef EBMS_LINK_H
#define EBMS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ebms_advice.h"
#include "ebms_codes.h"
#include "ebms_frame.h"

/* Gives bytes to the UART. May drop them when it is full: the other side counts what is missing. */
typedef void (*ebms_send)(void *context, const uint8_t *bytes, size_t count);

typedef struct {
    uint32_t profile;
    uint16_t cells;
    uint16_t probes;
    uint8_t firmware_major;
    uint8_t firmware_minor;
    uint8_t firmware_patch;
} ebms_identity;

/* What PACK says besides the limits and the life of the advice. */
typedef struct {
    uint32_t time_ms;
    int32_t current_ma;
    uint32_t voltage_mv;
    uint16_t sweep;
    uint16_t faults;
    uint8_t contactor; /* EBMS_CONTACTOR_ */
    uint8_t state;     /* EBMS_MCU_STATE_ */
    ebms_limits limits;
} ebms_pack;

typedef struct {
    ebms_receiver receiver;
    ebms_authority authority;
    ebms_identity identity;
    ebms_send send;
    void *send_context;
    uint32_t counters[EBMS_VERDICT_COUNT];
    uint32_t gateway_session;
    uint32_t heartbeat_sent_ms;
    uint32_t hello_sent_ms;
    uint32_t counters_sent_ms;
    uint64_t utc_ms;        /* of the last TIME_SYNC; EBMS_UTC_INVALID_MS before */
    uint32_t utc_at_ms;     /* when that came, on our clock */
    uint16_t sequence;
    uint8_t state;          /* EBMS_MCU_STATE_: the firmware sets it, the heartbeat says it */
} ebms_link;

/* authority: initialised. */
void ebms_link_init(ebms_link *link, ebms_identity identity, const ebms_authority *authority, ebms_send send, void *send_context,
                    uint32_t now_ms);

/* One byte of the line. */
void ebms_link_byte(ebms_link *link, uint8_t byte, uint32_t now_ms);

/* Sends what is due and ends what is over. Call it at least every 100 ms. */
void ebms_link_tick(ebms_link *link, uint32_t now_ms);

/* A sweep goes out as cells, probes, pack. first: index of the first value. count: 1 .. EBMS_CELLS_PER_PAGE, EBMS_PROBES_PER_PAGE. */
void ebms_link_send_cells(ebms_link *link, uint32_t time_ms, uint16_t sweep, uint16_t first, const uint16_t *voltage_100uv, uint8_t count);
void ebms_link_send_probes(ebms_link *link, uint32_t time_ms, uint16_t sweep, uint16_t first, const int16_t *temperature_dc, uint8_t count);
void ebms_link_send_pack(ebms_link *link, const ebms_pack *pack, uint32_t now_ms);

#endif
