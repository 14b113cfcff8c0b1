#include "ebms_link.h"

#include <string.h>

#include "ebms_bytes.h"
#include "ebms_port.h"

void ebms_link_init(ebms_link *link, ebms_identity identity, const ebms_authority *authority, ebms_send send, void *send_context,
                    uint32_t now_ms)
{
    EBMS_REQUIRE(link != NULL);
    EBMS_REQUIRE(authority != NULL);
    EBMS_REQUIRE(send != NULL);
    (void)memset(link, 0, sizeof *link);
    ebms_receiver_init(&link->receiver);
    link->authority = *authority;
    link->identity = identity;
    link->send = send;
    link->send_context = send_context;
    link->utc_ms = EBMS_UTC_INVALID_MS;
    link->heartbeat_sent_ms = now_ms;
    link->hello_sent_ms = now_ms;
    link->counters_sent_ms = now_ms;
    link->state = EBMS_MCU_STATE_STARTING;
}

static void send_message(ebms_link *link, uint8_t type, const uint8_t *payload, size_t payload_bytes)
{
    uint8_t frame[EBMS_FRAME_BYTES_MAX];
    const size_t count = ebms_frame_encode(type, 0u, link->sequence, payload, (uint8_t)payload_bytes, frame);
    link->sequence++;
    link->send(link->send_context, frame, count);
}

static void send_hello(ebms_link *link, uint32_t now_ms)
{
    uint8_t payload[EBMS_LENGTH_HELLO_BYTES];
    uint8_t *at = payload;
    const ebms_key_slot *slot = &link->authority.slots[link->authority.slot_in_use];
    ebms_put(&at, EBMS_ROLE_MCU, 1u);
    ebms_put(&at, link->authority.mcu_id, 2u);
    ebms_put(&at, EBMS_VERSION, 1u);
    ebms_put(&at, EBMS_VERSION, 1u);
    ebms_put(&at, link->identity.firmware_major, 1u);
    ebms_put(&at, link->identity.firmware_minor, 1u);
    ebms_put(&at, link->identity.firmware_patch, 1u);
    ebms_put(&at, link->identity.profile, 4u);
    ebms_put(&at, link->authority.session, 4u);
    ebms_put(&at, link->identity.cells, 2u);
    ebms_put(&at, link->identity.probes, 2u);
    ebms_put(&at, EBMS_ACTION_COUNT, 1u);
    ebms_put(&at, slot->freshness_last, 6u);
    ebms_put(&at, slot->key_id, 1u);
    send_message(link, EBMS_TYPE_HELLO, payload, sizeof payload);
    link->hello_sent_ms = now_ms;
}

static void send_heartbeat(ebms_link *link, uint32_t now_ms)
{
    uint8_t payload[EBMS_LENGTH_HEARTBEAT_BYTES];
    uint8_t *at = payload;
    ebms_put(&at, now_ms, 4u);
    ebms_put(&at, link->authority.session, 4u);
    ebms_put(&at, link->state, 1u);
    ebms_put(&at, link->authority.linked ? 1u : 0u, 1u);
    send_message(link, EBMS_TYPE_HEARTBEAT, payload, sizeof payload);
    link->heartbeat_sent_ms = now_ms;
}

static void send_counters(ebms_link *link, uint32_t now_ms)
{
    uint8_t payload[8u + (4u * EBMS_VERDICT_COUNT)];
    uint8_t *at = payload;
    ebms_put(&at, now_ms, 4u);
    ebms_put(&at, link->authority.session, 4u);
    for (uint32_t i = 0u; i < EBMS_VERDICT_COUNT; i++) {
        ebms_put(&at, link->counters[i], 4u);
    }
    send_message(link, EBMS_TYPE_COUNTERS, payload, sizeof payload);
    link->counters_sent_ms = now_ms;
}

static void tally(ebms_link *link, uint8_t verdict)
{
    if (link->counters[verdict] < UINT32_MAX) {
        link->counters[verdict]++;
    }
}

static uint8_t take_hello(ebms_link *link, const uint8_t *payload, uint32_t now_ms)
{
    const uint8_t *at = payload;
    const uint8_t role = (uint8_t)ebms_take(&at, 1u);
    const uint16_t gateway_id = (uint16_t)ebms_take(&at, 2u);
    const uint8_t version_min = (uint8_t)ebms_take(&at, 1u);
    const uint8_t version_max = (uint8_t)ebms_take(&at, 1u);
    at = &payload[12];
    const uint32_t session = (uint32_t)ebms_take(&at, 4u);
    if (role != EBMS_ROLE_GATEWAY) {
        return EBMS_VERDICT_BAD_VALUE;
    }
    if ((version_min > EBMS_VERSION) || (version_max < EBMS_VERSION)) {
        return EBMS_VERDICT_BAD_VERSION;
    }
    if (gateway_id != link->authority.gateway_id) {
        return EBMS_VERDICT_OTHER_GATEWAY;
    }
    if (session != link->gateway_session) {
        ebms_authority_drop(&link->authority);
        link->gateway_session = session;
    }
    ebms_authority_heard(&link->authority, true, now_ms);
    send_hello(link, now_ms);
    return EBMS_VERDICT_ACCEPTED;
}

static uint8_t take_heartbeat(ebms_link *link, const uint8_t *payload, uint32_t now_ms)
{
    const uint8_t *at = &payload[4];
    const uint32_t session = (uint32_t)ebms_take(&at, 4u);
    const uint8_t state = (uint8_t)ebms_take(&at, 1u);
    if ((state > 1u) || (*at > 1u)) {
        return EBMS_VERDICT_BAD_VALUE;
    }
    ebms_authority_tick(&link->authority, now_ms);
    if ((!link->authority.linked) || (session != link->gateway_session)) {
        return EBMS_VERDICT_NOT_LINKED;
    }
    if (state == 1u) {
        ebms_authority_heard(&link->authority, false, now_ms);
    }
    return EBMS_VERDICT_ACCEPTED;
}

static uint8_t take_time(ebms_link *link, const uint8_t *payload, uint32_t now_ms)
{
    uint8_t reply[EBMS_LENGTH_TIME_REPLY_BYTES];
    uint8_t *to = reply;
    const uint8_t *at = payload;
    const uint32_t gateway_ms = (uint32_t)ebms_take(&at, 4u);
    const uint64_t utc_ms = ebms_take(&at, 8u);
    if (*at > 1u) {
        return EBMS_VERDICT_BAD_VALUE;
    }
    link->utc_ms = (*at == 1u) ? utc_ms : EBMS_UTC_INVALID_MS;
    link->utc_at_ms = now_ms;
    ebms_put(&to, gateway_ms, 4u);
    ebms_put(&to, now_ms, 4u);
    send_message(link, EBMS_TYPE_TIME_REPLY, reply, sizeof reply);
    return EBMS_VERDICT_ACCEPTED;
}

/* The payload's bytes of a type that a gateway sends; 0 for any other. */
static uint8_t length_of(uint8_t type)
{
    switch (type) {
    case EBMS_TYPE_HELLO:
        return EBMS_LENGTH_HELLO_BYTES;
    case EBMS_TYPE_HEARTBEAT:
        return EBMS_LENGTH_HEARTBEAT_BYTES;
    case EBMS_TYPE_ACK:
        return EBMS_LENGTH_ACK_BYTES;
    case EBMS_TYPE_TIME_SYNC:
        return EBMS_LENGTH_TIME_SYNC_BYTES;
    case EBMS_TYPE_ADVICE:
        return EBMS_LENGTH_ADVICE_BYTES;
    default:
        return 0u;
    }
}

static uint8_t take(ebms_link *link, const ebms_message *message, uint32_t now_ms)
{
    const uint8_t length = length_of(message->type);
    if (length == 0u) {
        return EBMS_VERDICT_UNKNOWN_TYPE;
    }
    if ((message->flags & (uint8_t)~EBMS_FLAG_ACK_WANTED) != 0u) {
        return EBMS_VERDICT_BAD_VALUE;
    }
    if (message->payload_bytes != length) {
        return EBMS_VERDICT_BAD_LENGTH;
    }
    switch (message->type) {
    case EBMS_TYPE_HELLO:
        return take_hello(link, message->payload, now_ms);
    case EBMS_TYPE_HEARTBEAT:
        return take_heartbeat(link, message->payload, now_ms);
    case EBMS_TYPE_TIME_SYNC:
        return take_time(link, message->payload, now_ms);
    case EBMS_TYPE_ADVICE:
        return ebms_authority_judge(&link->authority, message->payload, now_ms);
    default: /* ACK: we ask for none */
        return EBMS_VERDICT_ACCEPTED;
    }
}

void ebms_link_byte(ebms_link *link, uint8_t byte, uint32_t now_ms)
{
    ebms_message message;
    uint8_t verdict = EBMS_VERDICT_ACCEPTED;
    EBMS_REQUIRE(link != NULL);
    const ebms_frame_event event = ebms_receiver_byte(&link->receiver, byte, &message, &verdict);
    if (event == EBMS_FRAME_NONE) {
        return;
    }
    if (event == EBMS_FRAME_MESSAGE) {
        verdict = take(link, &message, now_ms);
        if (((message.flags & EBMS_FLAG_ACK_WANTED) != 0u) && (message.type != EBMS_TYPE_ACK)) {
            uint8_t payload[EBMS_LENGTH_ACK_BYTES];
            uint8_t *at = payload;
            ebms_put(&at, message.sequence, 2u);
            ebms_put(&at, message.type, 1u);
            ebms_put(&at, verdict, 1u);
            send_message(link, EBMS_TYPE_ACK, payload, sizeof payload);
        }
    }
    tally(link, verdict);
}

void ebms_link_tick(ebms_link *link, uint32_t now_ms)
{
    EBMS_REQUIRE(link != NULL);
    ebms_authority_tick(&link->authority, now_ms);
    if ((!link->authority.linked) && ((now_ms - link->hello_sent_ms) >= EBMS_HELLO_PERIOD_MS)) {
        send_hello(link, now_ms);
    }
    if ((now_ms - link->heartbeat_sent_ms) >= EBMS_HEARTBEAT_PERIOD_MS) {
        send_heartbeat(link, now_ms);
    }
    if ((now_ms - link->counters_sent_ms) >= EBMS_HELLO_PERIOD_MS) {
        send_counters(link, now_ms);
    }
}

static uint8_t *put_page(uint8_t *payload, uint32_t time_ms, uint16_t sweep, uint16_t first, uint8_t values)
{
    uint8_t *at = payload;
    ebms_put(&at, time_ms, 4u);
    ebms_put(&at, sweep, 2u);
    ebms_put(&at, first, 2u);
    ebms_put(&at, values, 1u);
    return at;
}

void ebms_link_send_cells(ebms_link *link, uint32_t time_ms, uint16_t sweep, uint16_t first, const uint16_t *voltage_100uv, uint8_t count)
{
    uint8_t payload[EBMS_LENGTH_CELLS_BYTES + (2u * EBMS_CELLS_PER_PAGE)];
    EBMS_REQUIRE(link != NULL);
    EBMS_REQUIRE(voltage_100uv != NULL);
    EBMS_REQUIRE(count <= EBMS_CELLS_PER_PAGE);
    uint8_t *at = put_page(payload, time_ms, sweep, first, count);
    for (uint8_t i = 0u; i < count; i++) {
        ebms_put(&at, voltage_100uv[i], 2u);
    }
    send_message(link, EBMS_TYPE_CELLS, payload, (size_t)(at - payload));
}

void ebms_link_send_probes(ebms_link *link, uint32_t time_ms, uint16_t sweep, uint16_t first, const int16_t *temperature_dc, uint8_t count)
{
    uint8_t payload[EBMS_LENGTH_PROBES_BYTES + (2u * EBMS_PROBES_PER_PAGE)];
    EBMS_REQUIRE(link != NULL);
    EBMS_REQUIRE(temperature_dc != NULL);
    EBMS_REQUIRE(count <= EBMS_PROBES_PER_PAGE);
    uint8_t *at = put_page(payload, time_ms, sweep, first, count);
    for (uint8_t i = 0u; i < count; i++) {
        ebms_put(&at, (uint16_t)temperature_dc[i], 2u);
    }
    send_message(link, EBMS_TYPE_PROBES, payload, (size_t)(at - payload));
}

void ebms_link_send_pack(ebms_link *link, const ebms_pack *pack, uint32_t now_ms)
{
    uint8_t payload[EBMS_LENGTH_PACK_BYTES];
    uint8_t *at = payload;
    EBMS_REQUIRE(link != NULL);
    EBMS_REQUIRE(pack != NULL);
    ebms_put(&at, pack->time_ms, 4u);
    ebms_put(&at, pack->sweep, 2u);
    ebms_put(&at, (uint32_t)pack->current_ma, 4u);
    ebms_put(&at, pack->voltage_mv, 4u);
    ebms_put(&at, pack->contactor, 1u);
    ebms_put(&at, pack->state, 1u);
    ebms_put(&at, pack->faults, 2u);
    ebms_put(&at, link->identity.cells, 2u);
    ebms_put(&at, link->identity.probes, 2u);
    ebms_put(&at, pack->limits.charge_da, 2u);
    ebms_put(&at, pack->limits.discharge_da, 2u);
    ebms_put(&at, ebms_authority_left_ms(&link->authority, now_ms), 4u);
    send_message(link, EBMS_TYPE_PACK, payload, sizeof payload);
}
